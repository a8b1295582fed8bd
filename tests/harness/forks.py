"""Start ctemplate by a fork of a process that has loaded it: most of a start's time is loading, and tests start many.

All that a program can see of its start is as with exec: arguments, environment, folder, streams, group, signals.
"""

import functools
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from harness.programs import ROOT

PROGRAM = Path(__file__).with_name("fork_program.py")
AT_EXEC = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "COV")
"""What environment variables begin with that only the start of an interpreter heeds."""


OURS = ("PYTHONPATH", "PYTHONUNBUFFERED")  # as the server has them


class Fork:
    """A process that a fork server started, as `subprocess.Popen` would show it."""

    def __init__(self, server: "ForkServer", pid: int):
        self.pid = pid
        self.returncode: int | None = None
        self._server = server
        self._ends = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self._seen(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, negative for a signal; raise `subprocess.TimeoutExpired`."""
        status = self._seen(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(["ctemplate"], timeout or 0)
        return status

    def _seen(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._ends, select.POLLIN)
            if poll.poll(None if timeout is None else timeout * 1000):
                self.returncode = self._server.ask({"reap": self.pid})["status"]
                os.close(self._ends)
        return self.returncode


class ForkServer:
    """A process with ctemplate loaded; it ends with this one."""

    def __init__(self):
        self.owner = os.getpid()
        self.environ = _at_exec(os.environ)
        self._turn = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-P", PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=dict(os.environ) | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                pass_fds=[theirs.fileno()],
                process_group=0,
            )

    def start(
        self,
        module: str,
        argv: Sequence[str],
        *,
        out: BinaryIO,
        err: BinaryIO,
        env: Mapping[str, str],
        cwd: Path,
        death_signal: str = "KILL",
    ) -> Fork:
        """Run `python -m MODULE ARGV`; its standard input is empty."""
        os.umask(umask := os.umask(0))
        request = {
            "module": module,
            "argv": argv,
            "env": dict(env),
            "cwd": str(cwd),
            "umask": umask,
            "death_signal": death_signal,
        }
        return Fork(self, self.ask(request, (out, err))["pid"])

    def ask(self, request: Mapping[str, object], streams: Sequence[BinaryIO] = ()) -> dict[str, int]:
        with self._turn:
            text = json.dumps(request).encode()
            socket.send_fds(self._socket, [text], [stream.fileno() for stream in streams])
            answer = self._socket.recv(1 << 16)
        assert answer, f"the process that forks ctemplate has ended with {self._popen.wait()}"
        return json.loads(answer)


def fork_server(env: Mapping[str, str]) -> ForkServer | None:
    """Return this process's server; None where a process with that environment has to be started by exec.

    `CTEMPLATE_BY_EXEC=1 make test` has all of them started so.
    """
    if os.environ.get("CTEMPLATE_BY_EXEC"):
        return None
    server = _server()
    return server if server.owner == os.getpid() and _at_exec(env) == server.environ else None


@functools.cache
def _server() -> ForkServer:
    return ForkServer()


def _at_exec(env: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment only the start of an interpreter heeds; an empty value is as none."""
    found = {name: value for name, value in env.items() if value and name.startswith(AT_EXEC)}
    return {name: value for name, value in found.items() if name not in OURS}
