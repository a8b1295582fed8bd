"""The ctemplate command as its users run it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from harness.forks import Fork, fork_server
from harness.processes import Process
from harness.programs import ROOT
from harness.waiting import PATIENCE, tail

COMMAND = (sys.executable, "-m", "ctemplate")
ONCE_TIMEOUTS = ("2s", "10s", "60s")


class ForkedModule(Process):
    """`python -m MODULE ARGS`, for modules that import ctemplate: a fork of a process that has loaded it.

    That costs a tenth. Tests marked `by_exec`, and those that put something around the command, start it as it is
    started elsewhere.
    """

    def _started(self, out: BinaryIO, err: BinaryIO) -> subprocess.Popen[bytes] | Fork:
        assert self.env is not None
        server = fork_server(self.env)
        if server is None or self.argv[:2] != list(COMMAND[:2]):
            return super()._started(out, err)
        _, _, module, *argv = self.argv
        return server.start(module, argv, out=out, err=err, env=self.env, cwd=self.cwd, death_signal=self.death_signal)


class Ctemplate(ForkedModule):
    """`python -m ctemplate ARGS` with a state folder of its own and nothing of Consul's in its environment."""

    def __init__(self, folder: Path, *args: str | Path, env: Mapping[str, str] | None = None, name: str = "ctemplate"):
        """Describe the command; `env` is added to the environment. Runs in the folder."""
        super().__init__(
            name,
            [*COMMAND, *args],
            folder,
            env=_environment(folder / "state") | dict(env or {}),
        )


def once_that_says(text: str, start: Callable[..., Ctemplate]) -> tuple[Ctemplate, str]:
    """Return the run of `start("-once", "-timeout", timeout)` that says the text and gives up, and its timeout.

    How far a run comes before its timeout depends on the machine: one that says too little is followed by a longer one.
    """
    for timeout in ONCE_TIMEOUTS:
        process = start("-once", "-timeout", timeout)
        assert process.wait() == 3, process.output()
        if text in process.output():
            return process, timeout
    raise AssertionError(f"no {text!r} within {timeout}\n{tail(process.output())}")


def run_ctemplate(
    *args: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ctemplate ARGS` to its end; `env` is its whole environment, else that of `Ctemplate`."""
    return run_module(
        "ctemplate", *args, cwd=cwd, env=_environment(cwd / "state") if env is None else env, timeout=timeout
    )


def run_module(
    module: str, *args: str | Path, cwd: Path, env: Mapping[str, str], timeout: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ARGS` to its end, as `ForkedModule` does."""
    argv = [str(arg) for arg in args]
    server = fork_server(env)
    if server is None:
        return subprocess.run(
            [*COMMAND[:2], module, *argv],
            env=env,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = server.start(module, argv, out=out, err=err, env=env, cwd=cwd)
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
