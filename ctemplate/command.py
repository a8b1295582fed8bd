"""Run the operator's programs: no shell unless one is needed, own process group, time limit, output captured.

Knows nothing of nginx, groups or templates.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ctemplate.errors import CommandFailed

SHELL_CHARACTERS = frozenset("|&;<>()$`\\\"'*?[#~=%{}!\n")
OUTPUT_LIMIT_BYTES = 64 * 1024
KILL_GRACE = 3.0
SECRET_VARIABLES = frozenset({"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH", "CONSUL_TOKEN"})

__all__ = ["Completed", "argv_of", "child_environment", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a command ended: its exit status (negative: minus the signal that ended it) and its output's lines."""

    status: int
    output: tuple[str, ...]
    duration: float


def argv_of(command: str | Sequence[str]) -> tuple[str, ...]:
    """Return the argument list of a command: a list as it is, a string split on spaces or, if it needs one, a shell."""
    if not isinstance(command, str):
        return tuple(command)
    if SHELL_CHARACTERS & set(command):
        return ("sh", "-c", command)
    return tuple(shlex.split(command))


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child: everything but Consul's credentials."""
    return {name: value for name, value in environ.items() if name not in SECRET_VARIABLES}


async def run(command: str | Sequence[str], *, timeout: float, pass_fds: tuple[int, ...] = ()) -> Completed:
    """Run the command to its end and return how it ended, whatever its exit status.

    Raises CommandFailed when it cannot be started or runs longer than ``timeout`` seconds; then its whole process group
    gets SIGTERM, and SIGKILL after a short grace. Cancelling kills the group as well.
    """
    argv = argv_of(command)
    shown = command if isinstance(command, str) else shlex.join(argv)
    if not argv:
        raise CommandFailed("command", "is empty")
    clock = asyncio.get_running_loop().time
    started = clock()
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
            env=child_environment(os.environ),
        )
    except OSError as exc:
        raise CommandFailed(shown, f"cannot be started: {exc.strerror or exc}") from exc
    output = bytearray()
    try:
        async with asyncio.timeout(timeout):
            await _collect(process, output)
            status = await process.wait()
    except TimeoutError:
        await _end(process)
        what = f"still running after {timeout:g}s; its process group was killed"
        raise CommandFailed(shown, what, output=_lines(output)) from None
    except asyncio.CancelledError:
        _signal_group(process, signal.SIGKILL)
        raise
    return Completed(status=status, output=_lines(output), duration=clock() - started)


async def _collect(process: asyncio.subprocess.Process, output: bytearray) -> None:
    """Read the output as it comes; what lies beyond the limit is read and dropped.

    Ends with the process: a daemon that it leaves behind may hold the pipe open.
    """
    stream = process.stdout
    if stream is None:
        return
    ended = asyncio.ensure_future(process.wait())
    try:
        while True:
            chunk = asyncio.ensure_future(stream.read(8192))
            await asyncio.wait({chunk, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not chunk.done():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await chunk
            if chunk.cancelled() or not chunk.done() or not (data := chunk.result()):
                return
            output += data[: OUTPUT_LIMIT_BYTES - len(output)]
    finally:
        ended.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process group: SIGTERM, a short grace, SIGKILL."""
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_GRACE):
            await process.wait()
    _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _lines(output: bytearray) -> tuple[str, ...]:
    return tuple(line for line in output.decode(errors="replace").splitlines() if line.strip())
