"""Find the nginx of a reload command, and notice when it becomes another one.

Must not know checks, masters' workers or logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import field, replace
from pathlib import Path

from ctemplate.core.errors import ApplyError
from ctemplate.core.values import dataclass
from ctemplate.nginx.command import Installation, NginxCommand
from ctemplate.nginx.language.includes import TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.last_master import LastMaster
from ctemplate.nginx.master import Process, process_of
from ctemplate.nginx.named_master import is_run_by, named_command, other_commands, service_commands
from ctemplate.nginx.unread import unread_files

SCAN_INTERVAL = 5.0  # seconds between two searches for the master of a service

_CHOICE = (
    "process {} is the newest of {} masters with different arguments that read a file of the group; "
    "if the reload command means another one, name its configuration in the group's nginx key"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedNginx:
    """An nginx on this host; ``foreign`` is the configuration of the master that the command names, if not ours.

    ``choice`` says why this master counts, where the command may mean another one.
    """

    installation: Installation
    foreign: Path | None = None
    choice: str = ""


@dataclass(slots=True, kw_only=True)
class Lookup:
    """Finds a group's nginx, for its check, reload and surroundings alike; runs `nginx -V` only when it has changed.

    A command that names a master by its pid file has that master's arguments, if its configuration reads a file of the
    group: those of the last such master stay while none is named, and the defaults of the build count before the first
    one. A master whose configuration reads none of these files is not ours. Likewise for a command that names a
    service, with the running master that reads a file of the group; one whose configuration cannot be read counts only
    where no other master is known to read one. A master whose executable has another name, such as that of its version,
    counts where none of the service's name reads a file of the group. ``last`` stores the arguments for later
    processes.
    """

    command: NginxCommand
    last: LastMaster | None = None
    _reader: NginxCommand | None = field(default=None, init=False)
    _master: Process | None = field(default=None, init=False)
    _choice: str = field(default="", init=False)
    _scan_at: float = field(default=0.0, init=False)
    _has_recalled: bool = field(default=False, init=False)
    _known: Installation | None = field(default=None, init=False)
    _identity: tuple[int, ...] = field(default=(), init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def installation(self) -> Installation:
        """Return the installed nginx; raises CommandFailed when it cannot be run."""
        return (await self.located()).installation

    async def located(self) -> LocatedNginx:
        """Return the installed nginx, and whether another one is named; raises CommandFailed when it cannot be run."""
        async with self._turn:  # the status asks while a change is being checked
            if not self._has_recalled:
                self._has_recalled = True
                await self._recall()
            if self.command.is_service:
                await self._follow_service()
            elif self.command.follows is not None:
                return await self._followed()
            return LocatedNginx(installation=await self._found(self._reader or self.command), choice=self._choice)

    async def _followed(self) -> LocatedNginx:
        """Return the nginx whose master is in the pid file, or else was, unless that one reads no file of the group."""
        named = await asyncio.to_thread(named_command, self.command)
        foreign = None
        if named is not None and named != self._reader:
            found = await self._found(named)
            if await asyncio.to_thread(_reads, found, self.command.files) is not False:
                self._reader = named
            elif self._reader is None:
                return LocatedNginx(installation=found, foreign=found.conf)
            else:
                foreign = found.conf
        if named is not None and foreign is None:
            await self._store(named)
        return LocatedNginx(installation=await self._found(self._reader or self.command), foreign=foreign)

    async def _follow_service(self) -> None:
        """Take the arguments of the service's master; the process table is searched while none is known to run.

        Of several masters with different arguments that read a file of the group, the one with those of the last master
        counts, else the newest: a check by another configuration would say nothing about the files.
        """
        now = asyncio.get_running_loop().time()
        if self._master is None and now < self._scan_at:
            return
        if self._master is not None and process_of(self._master.pid) == self._master:
            return
        self._master, self._choice, self._scan_at = None, "", now + SCAN_INTERVAL
        found = await self._by_reading(await asyncio.to_thread(service_commands, self.command))
        sure = found[True]
        if not sure:
            reader = self._reader if self._reader is not None and await self._still_reads(self._reader) else None
            if reader is None or not is_run_by(reader.program, self.command.program):
                others = await self._by_reading(await asyncio.to_thread(other_commands, self.command))
                sure = others[True]
            if reader is not None and not sure:
                return
        readers = sure or found[None]
        is_clear = len({command for _, command in readers}) == 1
        if is_clear or sure:
            alike = [reader for reader in readers if reader[1] == self._reader]
            self._master, self._reader = max(alike or readers, key=lambda reader: (reader[0].started, reader[0].pid))
            self._choice = "" if is_clear or alike else _CHOICE.format(self._master.pid, len(readers))
        if is_clear and self._reader is not None:
            await self._store(self._reader)

    async def _by_reading(
        self, masters: list[tuple[Process, NginxCommand]]
    ) -> dict[bool | None, list[tuple[Process, NginxCommand]]]:
        """Divide masters by whether their configuration reads a file of the group."""
        found: dict[bool | None, list[tuple[Process, NginxCommand]]] = {True: [], None: [], False: []}
        for master, command in masters:
            with contextlib.suppress(ApplyError):
                found[await self._is_reader(command)].append((master, command))
        return found

    async def _still_reads(self, command: NginxCommand) -> bool:
        try:
            return bool(await self._is_reader(command))
        except ApplyError:  # its executable has gone
            return False

    async def _recall(self) -> None:
        """Take the arguments of the last master that an earlier process found.

        If its configuration reads no file of the group any more, that of the build counts, provided that it does.
        """
        if self.last is None:
            return
        found = await asyncio.to_thread(self.last.read, self.command)
        if found is None or not (self.command.is_service or self.command.follows):
            return
        if shutil.which(found.program) is None:
            found = replace(found, program=self.command.program)
        with contextlib.suppress(ApplyError):
            if await self._is_reader(found) is not False or not await self._is_reader(self.command):
                self._reader = found

    async def _store(self, reader: NginxCommand) -> None:
        if self.last is not None:
            await asyncio.to_thread(self.last.write, reader)

    async def _is_reader(self, command: NginxCommand) -> bool | None:
        return await asyncio.to_thread(_reads, await Installation.find(command), self.command.files)

    async def _found(self, command: NginxCommand) -> Installation:
        identity = _identity(command.program)
        if self._known is None or not identity or (command, identity) != (self._known.command, self._identity):
            self._known = await Installation.find(command)
            self._identity = identity
        return self._known


def _reads(installation: Installation, files: tuple[Path, ...]) -> bool | None:
    """Whether a configuration reads one of the files, or would if it existed; None where it cannot be read by us.

    One that is gone, such as that of a master that outlives its folder, reads none, unless it is itself such a file.
    """
    try:
        return not files or len(unread_files(load_tree(installation.conf), installation, files)) < len(files)
    except (TreeError, NginxSyntaxError):
        conf = installation.conf
        return True if conf in files else None if _may_exist(conf) else False


def _may_exist(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _identity(program: str) -> tuple[int, ...]:
    """Return what identifies the executable at its path, nothing when it does not exist."""
    try:
        found = Path(shutil.which(program) or program).stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
