"""Reload nginx, and prove whether it runs the new configuration.

HUP is sent to the verified master, or the operator's own command is run. The proof: the master has new workers, started
by a reload that began after the files were in place, and logged no refusal. An old worker that does not finish does not
matter. nginx itself does not report how a reload ended. Must not know files or templates.
https://nginx.org/en/docs/control.html
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import field
from pathlib import Path

from ctemplate.apply.group import LiveChange
from ctemplate.core.errors import CommandFailed, ReloadLost, ReloadRejected, ReloadTimedOut
from ctemplate.core.event_stream import Event, emit
from ctemplate.core.model import Outcome
from ctemplate.core.program_events import MasterEnded, MasterFound, MasterNotFound, MasterStopped, WorkerStuck
from ctemplate.core.settings import COMMAND_TIMEOUT
from ctemplate.core.values import dataclass
from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.errorlog import LogTail, log_tails, read_on
from ctemplate.nginx.identity import FoundMaster, find_master, has_workers
from ctemplate.nginx.language.includes import TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.lookup import LocatedNginx, Lookup
from ctemplate.nginx.master import (
    PROC,
    DrainingWorker,
    NoMaster,
    Process,
    draining,
    forming,
    is_idle,
    is_unreaped,
    process_of,
    send,
    uid_of,
    workers,
)
from ctemplate.nginx.settings import Settings, settings
from ctemplate.nginx.signs import ReloadState, active, sign
from ctemplate.nginx.titles import pid_in
from ctemplate.nginx.verdict import NginxMessage, safe
from ctemplate.system.file_locks import lock_holders
from ctemplate.system.programs import format_command, run_program
from ctemplate.system.uptime import Moment, RunningProcess

log = logging.getLogger(__name__)

FIRST_SECONDS, SECONDS_PER_MIB = 6.0, 5.0  # a bind that fails takes nginx 2.5 s
WORKER_SETTLE = 0.3  # a master waits 0.1 s between starting new workers and ending the old ones
PATIENCE = 1.0  # an old worker that has to finish shows that by then, unless it is stuck
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.05
APART = 0.08  # a master waits 0.1 s after starting workers before it handles the next signal
IDLE_LOOKS = 2  # one observation may fall between a signal's arrival and its handling

NO_LOG = Path(os.devnull)
_OUT_OF_SIGHT = "start nginx; if it runs in another container, set proof = false in the group's nginx key"


def proof_time_limit(size_bytes: int) -> float:
    """Return how long the proof of a reload of a configuration of this size may take, in seconds."""
    return FIRST_SECONDS + SECONDS_PER_MIB * size_bytes / 2**20


@dataclass(slots=True, kw_only=True)
class NginxReload:
    """Reloads the nginx of a reload command; `timeout` is seconds, by default according to size.

    ``proven`` is the master that did the last reload, ``taken`` the last change that it loaded, ``pending`` what
    no master has loaded yet. `command_timeout` and `environ` apply to the operator's command.
    """

    nginx: Lookup
    timeout: float | None = None
    command_timeout: float = COMMAND_TIMEOUT
    environ: Mapping[str, str] | None = None
    proven: RunningProcess | None = field(default=None, init=False)
    taken: LiveChange | None = field(default=None, init=False)
    pending: LiveChange | None = field(default=None, init=False)
    _pid_file: Path | None = field(default=None, init=False)
    _limit: float = field(default=FIRST_SECONDS, init=False)
    _stuck: frozenset[Process] = field(default=frozenset(), init=False)
    _said: str = field(default="", init=False)

    async def reload(self, change: LiveChange) -> Outcome:
        """Have the running master load the configuration: APPLIED when proven, PENDING_START when no master runs.

        Raises ReloadRejected when nginx keeps its old configuration: then undoing needs no further reload. Raises
        ReloadTimedOut when nothing is proven, CommandFailed when nginx cannot be reloaded. nginx is never started.
        """
        located, found = await self._settings()
        installation = located.installation
        master = await asyncio.to_thread(self._master, located, found)
        if isinstance(master, NoMaster):
            return self._postponed(change)
        self._limit = limit = self.timeout or proof_time_limit(found.size_bytes)
        attempt = _Attempt(
            master=master.process,
            command=self.nginx.command,
            command_timeout=self.command_timeout,
            environ=self.environ,
            logs=logs_of(master.process, found),
            conf=installation.conf,
            files=change.files,
            limit=limit,
            stuck=self._stuck,
        )
        async with _turn(master.pid_file or installation.conf, limit):
            outcome = await attempt.proven()
        self._stuck = attempt.stuck
        if outcome is Outcome.PENDING_START:
            return self._postponed(change)
        self.proven = master.process.running
        whole = change.after_another(self.pending)
        self.taken, self.pending = whole if whole.before else self.taken, None
        return outcome

    def loaded_pending(self) -> None:
        """Note that a master has loaded the pending change at its own start."""
        self.taken, self.pending = self.pending or self.taken, None

    def _postponed(self, change: LiveChange) -> Outcome:
        whole = change.after_another(self.pending)
        self.pending = whole if whole.before else None
        return Outcome.PENDING_START

    async def running(self) -> tuple[RunningProcess, Moment] | None:
        """Return the serving master, and a moment before which it did not read its configuration at its start.

        None when there is none, or it is still starting. A master that daemonises does so after reading, so its process
        starts later than its reading by as much as reading and binding may take. Raises CommandFailed.
        """
        master = await self.master()
        if isinstance(master, NoMaster) or not await asyncio.to_thread(has_workers, master):
            return None
        return master.running, master.running.started.earlier(self._limit)

    async def draining(self) -> tuple[DrainingWorker, ...]:
        """Return the master's draining workers; none when no master runs."""
        master = await self.master()
        return () if isinstance(master, NoMaster) else await asyncio.to_thread(draining, master)

    async def master(self) -> Process | NoMaster:
        """Find the master by the last known pid file, without reading the configuration, else as a reload does.

        Raises CommandFailed if that cannot be determined.
        """
        located = await self.nginx.located()
        if self._pid_file is not None and located.foreign is None:
            named = await asyncio.to_thread(find_master, located.installation, (self._pid_file,))
            if isinstance(named, FoundMaster) and named.pid_file is not None:
                self._said = ""
                return named.process
        found = await asyncio.to_thread(self._master, *await self._settings())
        return found.process if isinstance(found, FoundMaster) else found

    async def _settings(self) -> tuple[LocatedNginx, Settings]:
        located = await self.nginx.located()
        installation = located.installation
        try:
            found = await asyncio.to_thread(lambda: settings(load_tree(installation.conf), installation))
        except (TreeError, NginxSyntaxError) as exc:
            raise CommandFailed(exc.where, f"{exc.what}; the pid file cannot be known") from exc
        self._limit = self.timeout or proof_time_limit(found.size_bytes)
        return located, found

    def _master(self, located: LocatedNginx, found: Settings) -> FoundMaster | NoMaster:
        """Find the master by the configuration's pid file, by the last known one, or in the process table.

        A configuration that moves the pid file is not loaded yet when the reload begins.
        """
        installation, command = located.installation, self.nginx.command
        known = (found.pid_file, self._pid_file, command.pid_file, installation.default_pid_file)
        master: FoundMaster | NoMaster
        if located.foreign is not None:
            reason = f"{command.pid_file} names a master that runs with {located.foreign}"
            what = (
                "this configuration reads no file of the group; its master is not signalled, and the reload is pending"
            )
            master = NoMaster(reason=reason, suspects=(what,))
        else:
            master = find_master(installation, [path for path in known if path is not None])
        if isinstance(master, FoundMaster):
            self._pid_file = master.pid_file
            how = "; ".join(filter(None, (located.choice, master.how)))
            self._say(MasterFound(main=str(installation.conf), how=how), about=how)
        elif master.suspects:
            self._say(MasterNotFound(main=str(installation.conf), reason=str(master)), about=master.reason)
        elif self._pid_file is not None:
            self._say(MasterStopped(main=str(installation.conf), reason=str(master)), about=master.reason)
        elif master.misnamed:
            reason = f"{master.misnamed}; {_OUT_OF_SIGHT}"
            self._say(MasterNotFound(main=str(installation.conf), reason=reason), about=master.reason)
        else:
            log.debug("%s: no master runs: %s", installation.conf, master)
            self._said = ""
        return master

    def _say(self, event: Event, *, about: str) -> None:
        """Report the master once, until its reason changes: other nginxes come and go."""
        if about and about != self._said:
            emit(event)
        self._said = about


def logs_of(master: Process, found: Settings) -> tuple[Path, ...]:
    """Return the error logs to watch: those of the new configuration, and the one that the master writes to now."""
    with contextlib.suppress(OSError):
        stderr = (PROC / str(master.pid) / "fd" / "2").readlink()  # nginx redirects its stderr to its first error log
        if stderr.is_file():
            return tuple(dict.fromkeys((*found.error_logs, stderr)))
    return found.error_logs


@contextlib.asynccontextmanager
async def _turn(pid_file: Path, limit: float) -> AsyncIterator[None]:
    """Hold the pid file's lock: one proof at a time for each master, also among several ctemplates.

    Every user may read that file, and so lock it: only a lock of root's or our own user's processes is waited for.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + limit
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(pid_file.open("rb"))
        except OSError as exc:
            raise CommandFailed(str(pid_file), f"cannot be opened: {exc.strerror}") from exc
        while not _is_locked(file.fileno()):  # a file lock does not notify waiters
            if not await asyncio.to_thread(_is_held_by_us, file.fileno()):
                log.debug("%s: locked by another user's process, which is ignored", pid_file)
                break
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


def _is_held_by_us(descriptor: int) -> bool:
    """Whether a process of root or of our own user holds the lock of a file, or nobody does any more."""
    if _is_locked(descriptor):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return True
    for pid in lock_holders(descriptor):
        with contextlib.suppress(OSError):
            if uid_of(pid) in {0, os.geteuid()}:
                return True
    return False


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One reload under way: the state before it, and the observations since.

    ``stuck`` are old workers that did not finish at an earlier reload, and later also those of this one.
    """

    master: Process
    command: NginxCommand
    command_timeout: float
    environ: Mapping[str, str] | None
    logs: tuple[Path, ...]
    conf: Path
    files: tuple[Path, ...]
    limit: float
    stuck: frozenset[Process]
    before: frozenset[Process] = frozenset()
    forming: int = 0
    tails: tuple[LogTail, ...] = ()
    said: tuple[NginxMessage, ...] = ()

    async def proven(self) -> Outcome:
        """Announce the reload once no other is under way, and watch its effect."""
        await self._until_quiet()
        self.tails, self.forming = log_tails(self.logs, self.master.pid), forming(self.master)
        self.before = active(workers(self.master)) - self.stuck
        try:
            if not await self._announce():
                emit(MasterEnded(main=str(self.conf)))
                return Outcome.PENDING_START
        except CommandFailed as exc:
            return await self._watched(WORKER_SETTLE, failure=exc)
        return await self._watched(self.limit)

    async def _watched(self, limit: float, *, failure: CommandFailed | None = None) -> Outcome:
        """Watch until the result is clear; a command that failed may have reloaded nginx nevertheless."""
        clock = asyncio.get_running_loop().time
        began, pause, seen, since = clock(), FIRST_PAUSE, ReloadState.NONE, clock()
        while clock() - began < limit:
            found = self._look()
            if found is not seen:
                seen, since = found, clock()
            if seen is ReloadState.TAKEN or (seen is ReloadState.BESIDE and clock() - since >= PATIENCE):
                log.debug("%s: taken after %.3f s", self.conf, clock() - began)
                return self._taken()
            if seen in {ReloadState.REFUSED, ReloadState.BROKEN} and clock() - since >= WORKER_SETTLE:
                break
            if process_of(self.master.pid) != self.master:
                raise ReloadTimedOut(str(self.conf), "the master ended during the reload", output=self._words())
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        if seen is ReloadState.BESIDE or (
            seen is ReloadState.NONE and self._has_new and not self.said and self._is_log_seen
        ):
            return self._taken()
        raise failure or self._failure(seen)

    async def _until_quiet(self) -> None:
        """Wait until no reload is under way that may have read the files before they were in place.

        A master that handles signals again has none under way. Where others reload without a break it never does; then
        a generation started meanwhile is good enough: every later one reads the files after it.
        """
        clock = asyncio.get_running_loop().time
        began = since = clock()
        first = seen = active(workers(self.master))
        idle = 0
        while process_of(self.master.pid) == self.master:
            idle = idle + 1 if is_idle(self.master, signal.SIGHUP) else 0
            if idle == IDLE_LOOKS:
                return
            now = active(workers(self.master))
            if now != seen:
                seen, since = now, clock()
            if not now.issubset(first) and clock() - since >= APART:
                return
            if clock() - began >= self.limit:
                what = f"nginx was busy with another reload for {self.limit:.1f}s; this one was not begun"
                raise ReloadTimedOut(str(self.conf), what)
            await asyncio.sleep(FIRST_PAUSE)

    async def _announce(self) -> bool:
        """Send HUP, or run the operator's command; return whether the master still existed."""
        if self.command.announce is None:
            return send(self.master, signal.SIGHUP)
        if (pid_file := self.command.pid_file) is not None:
            _verify(pid_file, self.master)
        completed = await run_program(self.command.announce, timeout=self.command_timeout, environ=self.environ)
        if completed.status:
            ended = (
                f"exit status {completed.status}" if completed.status > 0 else f"killed by signal {-completed.status}"
            )
            raise CommandFailed(format_command(self.command.announce), ended, output=completed.output)
        return True

    def _look(self) -> ReloadState:
        """Read workers and logs."""
        is_done = self._is_log_seen and is_idle(self.master, signal.SIGHUP)
        now = tuple(worker for worker in workers(self.master) if worker.process not in self.stuck)
        self.said, is_read = read_on(self.tails)
        unreaped = frozenset(process for process in self.before if is_unreaped(process))
        return sign(self.before, now, self.said, is_done=is_done and is_read, unreaped=unreaped, forming=self.forming)

    @property
    def _has_new(self) -> bool:
        return not active(workers(self.master)).issubset(self.before | self.stuck)

    @property
    def _is_log_seen(self) -> bool:
        """Whether a refusal would be noticed: it is written to a log that we can read."""
        return any(log_file.is_file() and os.access(log_file, os.R_OK) for log_file in self.logs)

    def _taken(self) -> Outcome:
        """Log which old workers do not finish."""
        late = active(workers(self.master)) & self.before
        for worker in sorted(late, key=lambda process: process.pid):
            emit(WorkerStuck(main=str(self.conf), pid=worker.pid))
        self.stuck = frozenset(worker for worker in self.stuck | late if process_of(worker.pid) == worker)
        return Outcome.APPLIED

    def _failure(self, seen: ReloadState) -> ReloadRejected | ReloadTimedOut:
        if seen is ReloadState.REFUSED:
            return ReloadRejected(str(self.conf), "nginx kept its old configuration", output=self._words())
        if seen is ReloadState.BROKEN:
            return ReloadLost(str(self.conf), seen.value, output=self._words())
        unread = "" if self._is_log_seen else f"; {_unread(self.logs)}"
        what = f"no proof within {self.limit:.1f}s that nginx took it{unread}"
        return ReloadTimedOut(str(self.conf), what, output=self._words())

    def _words(self) -> tuple[str, ...]:
        return tuple(str(safe(message, self.files)) for message in self.said)


def _unread(logs: tuple[Path, ...]) -> str:
    """Return where a refusal would be found, if none of a master's error logs can be read."""
    if named := " and ".join(str(log_file) for log_file in logs if log_file != NO_LOG):
        return f"nginx would say why in {named}, not readable here"
    return "nginx has no error log that is readable here"


def _verify(pid_file: Path, master: Process) -> None:
    """Raise CommandFailed unless the pid file that a command signals names the master."""
    named = pid_in(pid_file)
    if isinstance(named, str):
        raise CommandFailed(str(pid_file), f"{named.removeprefix(f'{pid_file} ')}; no signal was sent")
    if named != master.pid:
        raise CommandFailed(str(pid_file), f"does not name the master, process {master.pid}; no signal was sent")
