"""Daemons that start quickly, one after the other, for tests that kill them: `tests/integration/doomed.py`."""

import os
import signal
import sys
from pathlib import Path
from typing import Protocol

from harness.ctemplate import ForkedModule
from harness.programs import ROOT

DAEMON = ROOT / "tests" / "integration" / "doomed.py"
LAST = 60  # seconds that anything may take


class Nursed(Protocol):
    """What a nursery needs to know of the daemons' place."""

    config: Path
    catalog_file: Path
    state: Path


class Nursery:
    """Starts daemons for one place; each appends to the same log."""

    def __init__(self, site: Nursed, folder: Path):
        self._argv = [sys.executable, "-m", DAEMON.stem, str(site.config), str(site.catalog_file)]
        self._env = os.environ | {"PYTHONPATH": str(ROOT), "STATE_DIRECTORY": str(site.state), "TMPDIR": str(folder)}
        self._folder = folder
        self._daemon = self._described("")
        self.log = self._daemon.err_file
        self.log.touch()

    def bear(self, step: str = "") -> None:
        """Start a daemon; it kills itself at that step of its transaction."""
        self._daemon = self._described(step)
        self._daemon.start()

    def kill(self) -> None:
        """Kill the daemon alone: the commands that it has started go on."""
        self._daemon.signal(signal.SIGKILL)
        self.wait_dead()

    def wait_dead(self) -> None:
        self._daemon.wait()

    def close(self) -> None:
        self._daemon.kill()

    def _described(self, step: str) -> ForkedModule:
        return ForkedModule("nursery", [*self._argv, step], self._folder, env=self._env, cwd=DAEMON.parent)
