"""Daemons that are forked quickly, for tests that kill them; ``tests/integration/nursery.py`` forks them."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from harness.programs import ROOT
from harness.waiting import wait_for

NURSERY = Path(__file__).parents[1] / "integration" / "nursery.py"
LAST = 60  # seconds that anything may take


class Nursed(Protocol):
    """What a nursery needs to know of the daemons' place."""

    config: Path
    catalog_file: Path
    state: Path


class Nursery:
    """The program that forks daemons, and the daemon that lives."""

    def __init__(self, site: Nursed, log: Path):
        self.log = log
        self._popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, NURSERY, site.config, site.catalog_file, log],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "STATE_DIRECTORY": str(site.state), "TMPDIR": str(log.parent)},
            process_group=0,
        )
        self.pid = 0

    def bear(self, step: str = "") -> None:
        self._popen.stdin.write(f"{step}\n")
        self._popen.stdin.flush()
        self.pid = int(self._popen.stdout.readline())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait_dead()

    def wait_dead(self) -> None:
        wait_for(lambda: not Path(f"/proc/{self.pid}").exists(), LAST, "end of the daemon", log=self.log.read_text)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.communicate()
