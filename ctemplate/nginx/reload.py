"""Tell nginx to take its new configuration, and prove whether it did.

HUP goes to the verified master. Taken means: it has new workers, every old one finishes or is gone, and it logged
nothing that refuses. nginx itself tells nobody how a reload ended. Files and templates must not be known here.
https://nginx.org/en/docs/control.html
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import fcntl
import logging
import re
import signal
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ctemplate.errors import CommandFailed, ReloadRejected, ReloadTimedOut
from ctemplate.model import Outcome
from ctemplate.nginx.command import Installation, Lookup, NginxCommand
from ctemplate.nginx.errorlog import Mark, mark, written_since
from ctemplate.nginx.master import (
    PROC,
    Absence,
    DrainingWorker,
    Process,
    Worker,
    draining,
    find_master,
    is_pending,
    process_of,
    send,
    workers,
)
from ctemplate.nginx.settings import Settings, settings
from ctemplate.nginx.syntax import NginxSyntaxError
from ctemplate.nginx.tree import TreeError, load
from ctemplate.nginx.verdict import Message, safe

log = logging.getLogger(__name__)

FIRST_SECONDS, SECONDS_PER_MIB = 6.0, 5.0  # a bind that fails takes nginx 2.5 s
SETTLE = 0.3  # a master waits 0.1 s between starting new workers and ending the old ones
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.05
_RETRIED = re.compile(r"bind\(\) to .* failed ")
_EXITED = re.compile(r"worker process (\d+) exited on signal ")


class Sign(enum.Enum):
    """What workers and messages say of a reload so far."""

    NONE = "neither new workers nor a refusal"
    TAKEN = "new workers run and the old ones finish"
    KEPT = "nginx refused and its old workers go on"
    BROKEN = "the old workers are gone and nginx reported a failure"


def time_limit(size_bytes: int) -> float:
    """Return how long the proof of a reload of a configuration of this size may take, in seconds."""
    return FIRST_SECONDS + SECONDS_PER_MIB * size_bytes / 2**20


def sign(before: Collection[Process], now: Collection[Worker], said: Collection[Message]) -> Sign:
    """Read the signs: the workers before, those now, and what the master logged since.

    A bind that nginx will try again says nothing yet; neither does the end of a worker that ran before, nor a refusal
    while old and new workers run side by side.
    """
    pids = {process.pid for process in before}
    refusals = [message for message in said if not _is_passing(message, pids)]
    active = {worker.process for worker in now if not worker.is_draining}
    has_old, has_new = not active.isdisjoint(before), not active.issubset(before)
    if refusals and not has_old:
        return Sign.BROKEN
    if refusals:
        return Sign.NONE if has_new else Sign.KEPT
    return Sign.TAKEN if has_new and not has_old else Sign.NONE


def _is_passing(message: Message, pids: Collection[int]) -> bool:
    exited = _EXITED.match(message.text)
    return bool(_RETRIED.match(message.text)) or (exited is not None and int(exited[1]) in pids)


@dataclass(slots=True, kw_only=True)
class NginxReload:
    """Reloads the nginx of a reload command; `timeout` is seconds, by default according to size."""

    command: NginxCommand
    timeout: float | None = None
    _nginx: Lookup = field(init=False)
    _pid_file: Path | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._nginx = Lookup(command=self.command)

    async def reload(self, files: tuple[Path, ...]) -> Outcome:
        """Have the running master take the configuration: APPLIED when proven, PENDING_START when no master runs.

        Raises ReloadRejected when nginx goes on with its old configuration: then no further reload is needed to undo.
        Raises ReloadTimedOut when nothing is proven, CommandFailed when nginx cannot be asked. nginx is never started.
        """
        installation, found = await self._settings()
        master = self._master(installation, found)
        if isinstance(master, Absence):
            log.debug("%s: no master runs: %s", installation.conf, master.reason)
            return Outcome.PENDING_START
        limit = self.timeout or time_limit(found.size_bytes)
        attempt = _Attempt(master=master, logs=logs_of(master, found), conf=installation.conf, files=files, limit=limit)
        async with _turn(self._pid_file or found.pid_file, limit):
            return await attempt.proven()

    async def draining(self) -> tuple[DrainingWorker, ...]:
        """Return the master's workers that only finish their last connections; none when no master runs."""
        master = await self._known_master()
        return () if isinstance(master, Absence) else await asyncio.to_thread(draining, master)

    async def _known_master(self) -> Process | Absence:
        """Find the master where it was last found, without reading the configuration, else as a reload does."""
        if self._pid_file is not None:
            installation = await self._nginx.installation()
            master = find_master(self._pid_file, installation.executable)
            if isinstance(master, Process):
                return master
        return self._master(*await self._settings())

    async def _settings(self) -> tuple[Installation, Settings]:
        installation = await self._nginx.installation()
        try:
            return installation, await asyncio.to_thread(lambda: settings(load(installation.conf), installation))
        except (TreeError, NginxSyntaxError) as exc:
            raise CommandFailed(exc.where, f"{exc.what}; the pid file cannot be known") from exc

    def _master(self, installation: Installation, found: Settings) -> Process | Absence:
        """Find the master by the pid file of the configuration, else by the one where it was last found.

        A configuration that moves the pid file is not taken yet when the reload begins.
        """
        absence = None
        for pid_file in dict.fromkeys(
            (found.pid_file, self._pid_file or found.pid_file, installation.default_pid_file)
        ):
            master = find_master(pid_file, installation.executable)
            if isinstance(master, Process):
                self._pid_file = pid_file
                return master
            absence = absence or master
        return absence or Absence(reason="no pid file")


def logs_of(master: Process, found: Settings) -> tuple[Path, ...]:
    """Return the error logs to watch: those of the new configuration, and the one that the master writes to now."""
    with contextlib.suppress(OSError):
        stderr = (PROC / str(master.pid) / "fd" / "2").readlink()  # nginx leads its stderr to its first error log
        if stderr.is_file():
            return tuple(dict.fromkeys((*found.error_logs, stderr)))
    return found.error_logs


@contextlib.asynccontextmanager
async def _turn(pid_file: Path, limit: float) -> AsyncIterator[None]:
    """Hold the pid file's lock: one proof at a time for each master, also between several ctemplates."""
    clock = asyncio.get_running_loop().time
    until = clock() + limit
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(pid_file.open("rb"))
        except OSError as exc:
            raise CommandFailed(str(pid_file), f"cannot be opened: {exc.strerror}") from exc
        while not _is_locked(file.fileno()):  # a file lock tells nobody when it is free
            if clock() >= until:
                raise ReloadTimedOut(str(pid_file), f"locked by another program for {limit:.1f}s; HUP was not sent")
            await asyncio.sleep(LONGEST_PAUSE)
        yield


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One reload on its way: what was there before, and what is seen since."""

    master: Process
    logs: tuple[Path, ...]
    conf: Path
    files: tuple[Path, ...]
    limit: float
    before: frozenset[Process] = frozenset()
    marks: Mapping[Path, Mark] = field(default_factory=dict)
    said: tuple[Message, ...] = ()

    async def proven(self) -> Outcome:
        """Send HUP and watch until the signs are clear."""
        clock = asyncio.get_running_loop().time
        self.before, self.marks = self._present(), mark(self.logs)
        if not send(self.master, signal.SIGHUP):
            log.info("%s: the master ended before the reload", self.conf)
            return Outcome.PENDING_START
        began, pause, seen, since = clock(), FIRST_PAUSE, Sign.NONE, clock()
        while clock() - began < self.limit:
            found = self._look()
            if found is not seen:
                seen, since = found, clock()
            if seen is Sign.TAKEN:
                log.debug("%s: taken after %.3f s", self.conf, clock() - began)
                return Outcome.APPLIED
            if seen is not Sign.NONE and clock() - since >= SETTLE:
                break
            if process_of(self.master.pid) != self.master:
                raise ReloadTimedOut(str(self.conf), "the master ended during the reload", output=self._words())
            await asyncio.sleep(pause)
            pause = FIRST_PAUSE if is_pending(self.master, signal.SIGHUP) else min(pause * 1.5, LONGEST_PAUSE)
        raise self._failure(seen)

    def _look(self) -> Sign:
        """Look at workers and logs; while HUP still waits, what is seen belongs to an earlier reload."""
        marks, now = mark(self.logs), workers(self.master)
        if is_pending(self.master, signal.SIGHUP):
            self.before, self.marks = self.before | {worker.process for worker in now}, marks
            return Sign.NONE
        self.said = written_since(self.marks, self.master.pid)
        return sign(self.before, now, self.said)

    def _present(self) -> frozenset[Process]:
        return frozenset(worker.process for worker in workers(self.master))

    def _failure(self, seen: Sign) -> ReloadRejected | ReloadTimedOut:
        if seen is Sign.KEPT:
            return ReloadRejected(str(self.conf), "nginx kept its old configuration", output=self._words())
        what = seen.value if seen is Sign.BROKEN else f"no proof within {self.limit:.1f}s that nginx took it"
        return ReloadTimedOut(str(self.conf), what, output=self._words())

    def _words(self) -> tuple[str, ...]:
        return tuple(str(safe(message, self.files)) for message in self.said)
