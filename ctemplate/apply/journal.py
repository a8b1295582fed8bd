"""The journal: the old files of a transaction, durable before the first live byte changes.

One binary file with the bytes, mode and owner of every file that the transaction changes, or a note of its absence. It
is valid only while its serial is above the ledger's, so a journal that outlives its transaction does no harm.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ctemplate.core.errors import reason_of
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import StateUnusable
from ctemplate.system.files import Live, write_private
from ctemplate.system.ownership import read_private

UNKNOWN_CONTENT = -1


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction: its serial and the files as they were before it."""

    serial: int
    files: tuple[Live, ...]


class Journal:
    """At most one open transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, entry: JournalEntry) -> None:
        """Open a transaction; durable when the call returns."""
        write_private(self.path, msgspec.msgpack.encode(entry))

    def read(self) -> JournalEntry | None:
        """Return the transaction that was left open, if any.

        An unreadable one is returned with serial UNKNOWN and no files: it is unknown what was in progress.
        """
        try:
            return msgspec.msgpack.decode(read_private(self.path), type=JournalEntry)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as exc:
            then = "the live files stay, one reload is pending"
            emit(StateUnusable(path=str(self.path), reason=f"cannot be read: {reason_of(exc)}", consequence=then))
            return JournalEntry(serial=UNKNOWN_CONTENT, files=())

    def read_open(self, ended: int) -> JournalEntry | None:
        """Return the transaction that was left open, if its serial is above that of the last one that ended."""
        entry = self.read()
        return entry if entry and (entry.serial == UNKNOWN_CONTENT or entry.serial > ended) else None

    def remove(self) -> None:
        """Drop the journal of a transaction that has ended; the ledger's serial outdates one that stays."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as exc:
            if os.path.lexists(self.path):  # a read-only file system refuses to remove what is not there, too
                emit(StateUnusable(path=str(self.path), reason=f"cannot be removed: {exc.strerror or exc}"))
