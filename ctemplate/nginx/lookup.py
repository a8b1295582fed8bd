"""Find the nginx of a reload command, and notice when it becomes another one.

Must not know checks, masters' workers or logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import field
from pathlib import Path

from ctemplate.core.errors import ApplyError
from ctemplate.core.values import dataclass
from ctemplate.nginx.command import Installation, NginxCommand
from ctemplate.nginx.language.includes import TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.master import Process, process_of
from ctemplate.nginx.named_master import named_command, service_commands
from ctemplate.nginx.unread import unread_files

SCAN_INTERVAL = 5.0  # seconds between two searches for the master of a service


@dataclass(slots=True, kw_only=True)
class Lookup:
    """Finds a command's nginx, and runs `nginx -V` again only when the executable or the arguments have changed.

    A command that names a master by its pid file has that master's arguments, if its configuration reads a file of the
    group: those of the last such master stay while none is named, and the defaults of the build count before the first
    one. ``foreign`` is the configuration of the named master if it reads none of these files: that master is not ours.
    Likewise for a command that names a service, with the only running master that reads a file of the group; one whose
    configuration cannot be read counts only where no other master is known to read one.
    """

    command: NginxCommand
    foreign: Path | None = field(default=None, init=False)
    _reader: NginxCommand | None = field(default=None, init=False)
    _master: Process | None = field(default=None, init=False)
    _scan_at: float = field(default=0.0, init=False)
    _known: Installation | None = field(default=None, init=False)
    _identity: tuple[int, ...] = field(default=(), init=False)

    async def installation(self) -> Installation:
        """Return the installed nginx; raises CommandFailed when it cannot be run."""
        if self.command.is_service:
            await self._follow_service()
            return await self._found(self._reader or self.command)
        if self.command.follows is None:
            return await self._found(self.command)
        named = await asyncio.to_thread(named_command, self.command)
        self.foreign = None
        if named is not None and named != self._reader:
            found = await self._found(named)
            if await asyncio.to_thread(_reads, found, self.command.files) is not False:
                self._reader = named
            else:
                self.foreign = found.conf
                return found if self._reader is None else await self._found(self._reader)
        return await self._found(self._reader or self.command)

    async def _follow_service(self) -> None:
        """Take the arguments of the service's master; the process table is searched while none is known to run."""
        now = asyncio.get_running_loop().time()
        if now < self._scan_at or (self._master is not None and process_of(self._master.pid) == self._master):
            return
        self._scan_at = now + SCAN_INTERVAL
        found: dict[bool | None, list[tuple[Process, NginxCommand]]] = {True: [], None: [], False: []}
        for master, command in await asyncio.to_thread(service_commands, self.command):
            with contextlib.suppress(ApplyError):
                reads = await asyncio.to_thread(_reads, await Installation.find(command), self.command.files)
                found[reads].append((master, command))
        readers = found[True] or found[None]
        if len({command for _, command in readers}) == 1:
            self._master, self._reader = readers[-1]

    async def _found(self, command: NginxCommand) -> Installation:
        identity = _identity(command.program)
        if self._known is None or not identity or (command, identity) != (self._known.command, self._identity):
            self._known = await Installation.find(command)
            self._identity = identity
        return self._known


def _reads(installation: Installation, files: tuple[Path, ...]) -> bool | None:
    """Whether a configuration reads one of the files, or would if it existed; None where it cannot be read by us."""
    try:
        return not files or len(unread_files(load_tree(installation.conf), installation, files)) < len(files)
    except (TreeError, NginxSyntaxError):
        return None


def _identity(program: str) -> tuple[int, ...]:
    """Return what identifies the executable at its path, nothing when it does not exist."""
    try:
        found = Path(shutil.which(program) or program).stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
