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


@dataclass(slots=True, kw_only=True)
class Lookup:
    """Finds a command's nginx, and runs `nginx -V` again only when the executable or the arguments have changed.

    A command that names a master by its pid file has that master's arguments; those that it had last while none runs,
    and the defaults of the build before the first one is seen.
    """

    command: NginxCommand
    _named: NginxCommand | None = field(default=None, init=False)
    _known: Installation | None = field(default=None, init=False)
    _identity: tuple[int, ...] = field(default=(), init=False)

    async def installation(self) -> Installation:
        """Return the installed nginx; raises CommandFailed when it cannot be run."""
        if self.command.follows is not None:
            self._named = await asyncio.to_thread(named_command, self.command) or self._named
        command = self._named or self.command
        identity = _identity(command.program)
        if self._known is None or not identity or (command, identity) != (self._known.command, self._identity):
            self._known = await Installation.find(command)
            self._identity = identity
        return self._known


def _identity(program: str) -> tuple[int, ...]:
    """Return what identifies the executable at its path, nothing when it does not exist."""
    try:
        found = Path(shutil.which(program) or program).stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
