"""Find the nginx of a reload command, and notice when it becomes another one.

Must not know checks, masters' workers or logs.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import field
from pathlib import Path

from ctemplate.core.values import dataclass
from ctemplate.nginx.command import Installation, NginxCommand
from ctemplate.nginx.named_master import named_command
from ctemplate.nginx.unread import unread_live_files


@dataclass(slots=True, kw_only=True)
class Lookup:
    """Finds a command's nginx, and runs `nginx -V` again only when the executable or the arguments have changed.

    A command that names a master by its pid file has that master's arguments, if its configuration reads a file of the
    group: those of the last such master stay while none is named, and the defaults of the build count before the first
    one. ``foreign`` is the configuration of the named master if it reads none of these files: that master is not ours.
    """

    command: NginxCommand
    foreign: Path | None = field(default=None, init=False)
    _reader: NginxCommand | None = field(default=None, init=False)
    _known: Installation | None = field(default=None, init=False)
    _identity: tuple[int, ...] = field(default=(), init=False)

    async def installation(self) -> Installation:
        """Return the installed nginx; raises CommandFailed when it cannot be run."""
        if self.command.follows is None:
            return await self._found(self.command)
        named = await asyncio.to_thread(named_command, self.command)
        self.foreign = None
        if named is not None and named != self._reader:
            found = await self._found(named)
            if await asyncio.to_thread(_reads, found, self.command.files):
                self._reader = named
            else:
                self.foreign = found.conf
                return found if self._reader is None else await self._found(self._reader)
        return await self._found(self._reader or self.command)

    async def _found(self, command: NginxCommand) -> Installation:
        identity = _identity(command.program)
        if self._known is None or not identity or (command, identity) != (self._known.command, self._identity):
            self._known = await Installation.find(command)
            self._identity = identity
        return self._known


def _reads(installation: Installation, files: tuple[Path, ...]) -> bool:
    """Whether a configuration reads one of the files, would read it if it existed, or cannot be read by us."""
    return not files or len(unread_live_files(installation, files)) < len(files)


def _identity(program: str) -> tuple[int, ...]:
    """Return what identifies the executable at its path, nothing when it does not exist."""
    try:
        found = Path(shutil.which(program) or program).stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
