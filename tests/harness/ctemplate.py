"""The ctemplate command as its users run it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.processes import Process
from harness.programs import ROOT


class Ctemplate(Process):
    """`python -m ctemplate ARGS` with a state folder of its own and nothing of Consul's in its environment."""

    def __init__(self, folder: Path, *args: str | Path, env: Mapping[str, str] | None = None, name: str = "ctemplate"):
        """Describe the command; `env` is added to the environment. Runs in the folder."""
        super().__init__(
            name,
            [sys.executable, "-m", "ctemplate", *args],
            folder,
            env=_environment(folder / "state") | dict(env or {}),
        )


def _environment(state: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CONSUL_", "CTEMPLATE_"))}
    return inherited | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "STATE_DIRECTORY": str(state)}
