"""One child program that runs as long as ctemplate does: its start, its signals, and its end.

Must not know files, or why the program is restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Self

from ctemplate.core.errors import CommandFailed
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.system.programs import (
    SHELL_WORDS,
    argv_of,
    child_environment,
    format_command,
    start_attached,
    wait_ended,
)

SIGNALLED = 128  # a shell's exit status for a program that a signal ended is this and the signal's number
KILL_PATIENCE = 5.0  # seconds for a killed program to end; one that is stuck in the kernel is left behind

REST_LOOK = 0.05  # seconds between two looks at a process group
_SIMPLE = lazy_pattern(
    r"""(?P<assignments>\s*(?:[A-Za-z_]\w*=(?:[\w./+@:,=%-]|\$\w+|"[^"`\\\n]*"|'[^'\n]*')*[ \t]+)*)"""
    r"""(?P<program>[\w./+@:-]+)(?P<arguments>(?:[ \t][^\n]*)?)"""
)
_REDIRECTIONS = frozenset({"<", ">", ">>", ">&", "<&"})

LAUNCH = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]))
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
if sys.argv[3] == "0":
    os.environ.pop("LC_CTYPE", None)
for name in ("SIGPIPE", "SIGXFSZ"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execvp(sys.argv[4], sys.argv[4:])
"""
"""Replaces itself by the program, after it has asked the kernel for a signal at its parent's death.

Python ignores two signals and may set LC_CTYPE; this is undone for the program.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCommand:
    """What to start: a command, its complete environment, and the signal that it gets when we are killed."""

    command: str | Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    death_signal: signal.Signals = signal.SIGTERM

    def __str__(self) -> str:
        return format_command(self.command)

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the program and its arguments; those of a shell for a command that needs one."""
        return argv_of(self.command) if self._replacing is None else ("sh", "-c", self._replacing)

    @property
    def is_group(self) -> bool:
        """Whether a shell stays as the program's parent: then signals go to the whole process group."""
        return isinstance(self.command, str) and argv_of(self.command)[:1] == ("sh",) and self._replacing is None

    @property
    def _replacing(self) -> str | None:
        """Return the line with which a simple command replaces its shell; None for all others."""
        if not isinstance(self.command, str) or argv_of(self.command)[:2] != ("sh", "-c"):
            return None
        found = _SIMPLE.fullmatch(self.command)
        if found is None or found["program"] in SHELL_WORDS or _has_operators(found["arguments"]):
            return None
        if shutil.which(found["program"], path=self.environ.get("PATH", os.defpath)) is None:
            return None  # a shell's own word, or it depends on the assignments
        return f"{found['assignments']}exec {found['program']}{found['arguments']}"

    def check(self) -> None:
        """Raise CommandFailed if there is no such program."""
        program = self.argv[0] if self.argv else ""
        if shutil.which(program, path=self.environ.get("PATH", os.defpath)) is None:
            what = "cannot be started: no such program; install it, or write its full path"
            raise CommandFailed(str(self) or "exec", what)


class ChildProgram:
    """A running program. If a shell stays as its parent, signals go to the whole process group."""

    def __init__(self, process: asyncio.subprocess.Process, *, is_group: bool) -> None:
        self.pid = process.pid
        self._is_group = is_group
        self.ended = asyncio.create_task(wait_ended(process), name="exec-wait")

    @classmethod
    async def start(cls, given: ChildCommand) -> Self:
        """Start a program; raises CommandFailed if that is impossible."""
        given.check()
        facts = (str(os.getpid()), str(int(given.death_signal)), str(int("LC_CTYPE" in given.environ)))
        launch = (sys.executable, "-I", "-S", "-c", LAUNCH, *facts, *given.argv)
        try:
            process = await start_attached(launch, given.environ)
        except (OSError, ValueError) as exc:
            raise CommandFailed(str(given), f"cannot be started: {getattr(exc, 'strerror', None) or exc}") from exc
        return cls(process, is_group=given.is_group)

    @property
    def status(self) -> int:
        """Return the exit status in a shell's form; 0 while the program runs."""
        if not self.ended.done():
            return 0
        status = self.ended.result()
        return status if status >= 0 else SIGNALLED - status

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program; has no effect if it has ended."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number) if self._is_group else os.kill(self.pid, number)

    async def ended_within(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for the program's end; return whether it has ended."""
        await asyncio.wait([self.ended], timeout=timeout)
        return self.ended.done()

    async def end_rest(self, number: signal.Signals | None, timeout: float) -> None:
        """End what a shell that has ended left of its process group, as ``end`` does."""
        if not self._is_group:
            return
        clock = asyncio.get_running_loop().time
        until = clock() + timeout
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number or 0)
            while clock() < until:
                await asyncio.sleep(REST_LOOK)
                os.killpg(self.pid, 0)
            os.killpg(self.pid, signal.SIGKILL)

    async def end(self, number: signal.Signals | None, timeout: float) -> bool:
        """End it by a signal, kill its process group after ``timeout`` seconds; return whether that was needed."""
        try:
            if number is not None:
                self.send(number)
            await self.ended_within(timeout)
        finally:
            is_killed = not self.ended.done()
            if is_killed:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
        if is_killed:
            await self.ended_within(KILL_PATIENCE)
        return is_killed


def exec_environment(
    environ: Mapping[str, str],
    *,
    pristine: bool = False,
    custom: Iterable[str] = (),
    allowlist: Sequence[str] = (),
    denylist: Sequence[str] = (),
) -> dict[str, str]:
    """Return a program's environment: ours without Consul's credentials, filtered by the lists, and ``custom``.

    Patterns match names, with a shell's syntax; a name that both lists match is left out.
    """
    inherited = {} if pristine else child_environment(environ)
    kept = {
        name: value
        for name, value in inherited.items()
        if (not allowlist or _matches(name, allowlist)) and not _matches(name, denylist)
    }
    return kept | dict(_pair(each) for each in custom)


def _has_operators(arguments: str) -> bool:
    """Whether arguments may contain more than a simple command's words and redirections."""
    words = shlex.shlex(arguments, posix=True, punctuation_chars=True)
    words.commenters = ""
    try:
        return any(set(word) <= set("();<>|&") and word not in _REDIRECTIONS for word in words)
    except ValueError:
        return True


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
