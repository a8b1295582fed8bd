"""The record of the master that a group's reload command reached last: its arguments count while none is known to run.

One small file in the group's part of the state folder. Its program is run, so it is only trusted if no user but root
and our own could have written it. Must not know how a master is found.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path

import msgspec

from ctemplate.core.errors import reason_of
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import StateUnusable
from ctemplate.core.values import dataclass
from ctemplate.nginx.command import NginxCommand
from ctemplate.system.files import write_private
from ctemplate.system.inputs import MIB, read_plain_file
from ctemplate.system.ownership import weakness
from ctemplate.system.programs import format_command

log = logging.getLogger(__name__)

LAST_MASTER = "master.json"
RECORD_VERSION = 1
UNKNOWN_MASTER = "the arguments of nginx's last master are unknown until one runs"


class MasterRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A master's arguments, the reload command that meant it, and the files of the group; ``at`` is wall-clock time."""

    version: int = RECORD_VERSION
    reload: str
    files: tuple[str, ...]
    at: float
    program: str
    prefix: str | None = None
    conf: str | None = None
    globals: str = ""
    error_log: str | None = None

    @classmethod
    def of(cls, found: NginxCommand) -> MasterRecord:
        """Return the record of a command with the arguments of its master."""
        return cls(
            reload=_reload_of(found),
            files=tuple(map(str, found.files)),
            at=time.time(),
            program=found.program,
            prefix=found.prefix,
            conf=found.conf,
            globals=found.globals,
            error_log=found.error_log,
        )

    def arguments_for(self, command: NginxCommand) -> NginxCommand | None:
        """Return a command with the recorded arguments; None if they are those of another reload command."""
        if self.version != RECORD_VERSION or self.reload != _reload_of(command):
            return None
        return replace(
            command,
            program=self.program,
            prefix=self.prefix,
            conf=self.conf,
            globals=self.globals,
            error_log=self.error_log,
        )


@dataclass(slots=True, kw_only=True)
class LastMaster:
    """The record of one group, in ``folder``; ``is_written`` is False for a process that only reads."""

    folder: Path
    is_written: bool = False
    _stored: NginxCommand | None = field(default=None, init=False)
    _is_failing: bool = field(default=False, init=False)

    def read(self, command: NginxCommand) -> NginxCommand | None:
        """Return a command with the arguments of its last master, None if there is no record of this command.

        Where the group has no record of its own, as after a file was added to it, the newest one counts of a group that
        had one of its files. The record of another reload command is removed.
        """
        own = self._load(self.folder / LAST_MASTER)
        if own is None:
            other = max(self._others(command), key=lambda record: record.at, default=None)
            return None if other is None else other.arguments_for(command)
        self._stored = own.arguments_for(command)
        if self._stored is None and self.is_written:
            (self.folder / LAST_MASTER).unlink(missing_ok=True)
        return self._stored

    def write(self, found: NginxCommand) -> None:
        """Store the arguments of a master unless they are stored; a write error is reported once."""
        path = self.folder / LAST_MASTER
        if not self.is_written or not self.folder.is_dir() or (found == self._stored and path.exists()):
            return
        try:
            write_private(path, msgspec.json.format(msgspec.json.encode(MasterRecord.of(found))))
        except OSError as exc:
            if not self._is_failing:
                reason = f"cannot be written: {exc.strerror or exc}"
                emit(StateUnusable(path=str(path), reason=reason, consequence="known to this process only"))
            self._is_failing = True
            return
        self._stored, self._is_failing = found, False

    def _others(self, command: NginxCommand) -> Iterator[MasterRecord]:
        files = set(map(str, command.files))
        for path in self.folder.parent.glob(f"*/{LAST_MASTER}"):
            record = self._load(path) if path.parent != self.folder else None
            if record is not None and not files.isdisjoint(record.files):
                yield record

    def _load(self, path: Path) -> MasterRecord | None:
        try:
            content = read_plain_file(path, limit_bytes=MIB)
            if (found := weakness(path.absolute())) is not None:
                reason = f"is not used: {'it' if found[0] == path.absolute() else found[0]} {found[1]}"
            else:
                return msgspec.json.decode(content, type=MasterRecord)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            reason = f"cannot be read: {reason_of(exc)}"
        if self.is_written:
            emit(StateUnusable(path=str(path), reason=reason, consequence=UNKNOWN_MASTER))
        else:
            log.debug("%s: %s; %s", path, reason, UNKNOWN_MASTER)
        return None


def _reload_of(command: NginxCommand) -> str:
    return "" if command.announce is None else format_command(command.announce)
