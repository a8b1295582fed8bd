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
from dataclasses import field
from pathlib import Path
from typing import Self

from ctemplate.core.errors import CommandFailed, printable
from ctemplate.core.values import dataclass

SHELL_CHARACTERS = frozenset("|&;<>()$`\\\"'*?[#~=%{}!\n")
SHELL_WORDS = frozenset({".", ":", "cd", "command", "eval", "exec", "exit", "export", "for", "if", "set", "source"}) | {
    "trap", "type", "ulimit", "umask", "unset", "until", "wait", "while"
}  # fmt: skip
OUTPUT_LIMIT_BYTES = 64 * 1024
PIPE_BYTES = 64 * 1024
KILL_GRACE = 3.0
OWN_CHILD_SECONDS = 0.05  # until asyncio has taken note of a process of its own that ended
SECRET_VARIABLES = frozenset({"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH", "CONSUL_TOKEN"})

__all__ = [
    "Completed",
    "argv_of",
    "child_environment",
    "format_command",
    "kill_running",
    "reap_orphans",
    "run_program",
    "start_attached",
    "wait_ended",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a command ended: its exit status (negative: minus the signal that ended it) and its output's lines."""

    status: int
    output: tuple[str, ...]
    duration: float


def argv_of(command: str | Sequence[str]) -> tuple[str, ...]:
    """Return a command's argument list: a list unchanged, a string split on spaces, or a shell's if it needs one.

    A string needs a shell if it contains a character with a meaning for shells, or begins with a shell's own word.
    """
    if not isinstance(command, str):
        return tuple(command)
    words = command.split()
    if SHELL_CHARACTERS & set(command) or (words and words[0] in SHELL_WORDS):
        return ("sh", "-c", command)
    return tuple(words)


def format_command(command: str | Sequence[str]) -> str:
    """Return the command in one line, as its operator would type it."""
    return printable(command if isinstance(command, str) else shlex.join(command))


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child: everything but Consul's credentials."""
    return {name: value for name, value in environ.items() if name not in SECRET_VARIABLES}


async def run_program(
    command: str | Sequence[str],
    *,
    timeout: float,
    pass_fds: tuple[int, ...] = (),
    environ: Mapping[str, str] | None = None,
) -> Completed:
    """Run the command to its end and return how it ended, whatever its exit status.

    ``environ`` is its whole environment, by default ours without Consul's credentials.

    Programs that it leaves running in the background may keep its output open; this function does not wait for them.
    Raises CommandFailed when the command cannot be started or runs longer than ``timeout`` seconds; then its whole
    process group gets SIGTERM, and SIGKILL after a short grace. Cancelling kills the group at once.
    """
    clock = asyncio.get_running_loop().time
    started = clock()
    with _Output() as output:
        process = await _started(command, output, pass_fds, environ)
        try:
            async with asyncio.timeout(timeout):
                status = await process.wait()
        except TimeoutError:
            await _end(process)
            what = f"still running after {timeout:g}s; its process group was killed"
            raise CommandFailed(format_command(command), what, output=output.lines()) from None
        finally:
            if process.returncode is None:
                await _kill(process)
            if process.returncode is not None:
                _awaited.pids.discard(process.pid)
        return Completed(status=status, output=output.lines(), duration=clock() - started)


async def start_attached(argv: Sequence[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a program with our own input, output and errors, in its own process group; raises OSError.

    The caller waits for it with ``wait_ended``.
    """
    _awaited.starting += 1
    try:
        process = await asyncio.create_subprocess_exec(*argv, env=env, process_group=0)
    finally:
        _awaited.starting -= 1
    _awaited.pids.add(process.pid)
    return process


async def wait_ended(process: asyncio.subprocess.Process) -> int:
    """Return the exit status of a program from ``start_attached``, negative for the signal that ended it."""
    status = await process.wait()
    _awaited.pids.discard(process.pid)
    return status


@dataclass(slots=True)
class _Awaited:
    """The processes that asyncio waits for: those that are starting, and those that run."""

    starting: int = 0
    pids: set[int] = field(default_factory=set)


_awaited = _Awaited()


def kill_running() -> None:
    """Kill the process groups of all programs that run; any thread may call it, also while the event loop is stuck."""
    for pid in tuple(_awaited.pids):
        if _is_child_or_gone(pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def _is_child_or_gone(pid: int) -> bool:
    """Whether a process is ours or does not exist; another one may have the pid of one of ours that has ended.

    While a group has members, the kernel gives its number to no other process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return True
    return int(fields[1]) == os.getpid()


async def reap_orphans() -> None:
    """Wait for child processes that ended but were not started here, until cancelled.

    Process 1 of a container becomes the parent of programs that commands leave in the background; no other process
    waits for their end.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGCHLD, ended.set)
    ended.set()
    try:
        while True:
            await ended.wait()
            ended.clear()
            while (pid := _ended_child()) is not None:
                if _awaited.starting or pid in _awaited.pids:
                    await asyncio.sleep(OWN_CHILD_SECONDS)
                    continue
                _reap(pid)
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _ended_child() -> int | None:
    """Return a child that has ended and that no code has waited for yet."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


async def _started(
    command: str | Sequence[str], output: _Output, pass_fds: tuple[int, ...], environ: Mapping[str, str] | None
) -> asyncio.subprocess.Process:
    argv = argv_of(command)
    if not argv:
        raise CommandFailed("command", "is empty")
    _awaited.starting += 1
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output.writer,
            stderr=output.writer,
            start_new_session=True,
            pass_fds=pass_fds,
            env=child_environment(os.environ) if environ is None else environ,
        )
    except FileNotFoundError as exc:
        what = "cannot be started: no such program; install it, or write its full path"
        raise CommandFailed(format_command(command), what) from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL character
        raise CommandFailed(
            format_command(command), f"cannot be started: {getattr(exc, 'strerror', None) or exc}"
        ) from exc
    finally:
        _awaited.starting -= 1
        output.close_writer()
    _awaited.pids.add(process.pid)
    return process


class _Output:
    """The reading end of a command's output, read as it arrives; data beyond the limit is dropped.

    The pipe is ours, not the process's: its end does not show whether the process has ended.
    """

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._loop = asyncio.get_running_loop()
        self._kept = bytearray()

    def __enter__(self) -> Self:
        self._loop.add_reader(self._reader, self._read)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._loop.remove_reader(self._reader)
        os.close(self._reader)

    def close_writer(self) -> None:
        """Close the writing end here; the process has its own copy."""
        os.close(self.writer)

    def lines(self) -> tuple[str, ...]:
        """Read the rest of the pipe; return the lines that are not blank."""
        self._read()
        return tuple(line for line in self._kept.decode(errors="replace").splitlines() if line.strip())

    def _read(self) -> None:
        """Read once, at most all that a pipe holds, so that an endless writer cannot keep the loop busy."""
        try:
            data = os.read(self._reader, PIPE_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._reader)
        self._kept += data[: OUTPUT_LIMIT_BYTES - len(self._kept)]


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process group: SIGTERM, a short grace, SIGKILL."""
    _signal_group(process, signal.SIGTERM)
    try:
        await _wait_briefly(process)
    finally:
        await _kill(process)


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the process group and reap the process; a process that we may not signal is left running."""
    _signal_group(process, signal.SIGKILL)
    await _wait_briefly(process)


async def _wait_briefly(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_GRACE):
            await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
