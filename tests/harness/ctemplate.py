"""The ctemplate command as its users run it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from harness.forks import Fork, fork_server
from harness.processes import Process
from harness.programs import ROOT
from harness.waiting import PATIENCE

COMMAND = (sys.executable, "-m", "ctemplate")


class Ctemplate(Process):
    """`python -m ctemplate ARGS` with a state folder of its own and nothing of Consul's in its environment.

    It is a fork of a process that has loaded ctemplate, which costs a tenth. Tests marked `by_exec`, and those that put
    something around the command, start it as it is started elsewhere.
    """

    def __init__(self, folder: Path, *args: str | Path, env: Mapping[str, str] | None = None, name: str = "ctemplate"):
        """Describe the command; `env` is added to the environment. Runs in the folder."""
        super().__init__(
            name,
            [*COMMAND, *args],
            folder,
            env=_environment(folder / "state") | dict(env or {}),
        )

    def _started(self, out: BinaryIO, err: BinaryIO) -> subprocess.Popen[bytes] | Fork:
        assert self.env is not None
        start = len(COMMAND)
        server = fork_server(self.env)
        if server is None or tuple(self.argv[:start]) != COMMAND:
            return super()._started(out, err)
        return server.start(
            "ctemplate",
            self.argv[start:],
            out=out,
            err=err,
            env=self.env,
            cwd=self.cwd,
            death_signal=self.death_signal,
        )


def run_ctemplate(
    *args: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ctemplate ARGS` to its end; `env` is its whole environment, else that of `Ctemplate`."""
    environ = _environment(cwd / "state") if env is None else env
    argv = [str(arg) for arg in args]
    server = fork_server(environ)
    if server is None:
        return subprocess.run(
            [*COMMAND, *argv],
            env=environ,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = server.start("ctemplate", argv, out=out, err=err, env=environ, cwd=cwd)
        try:
            status = process.wait(timeout)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(argv, status, out.read().decode(), err.read().decode())


def _environment(state: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CONSUL_", "CTEMPLATE_"))}
    return inherited | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "STATE_DIRECTORY": str(state)}
