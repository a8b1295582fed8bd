"""The latest events for a person to read: a bounded list of entries, each an event in words.

Knows nothing of files; the code that stores the history across a restart reads ``entries`` and passes them back.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Literal

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.event_stream import Event
from ctemplate.core.events import LoopMeasured, RequestEnded
from ctemplate.core.group_events import Applied, FilesReplaced, GroupEvent, QuarantineEvent, Readmitted, ReloadOwed

CHANGES_KEPT = 50  # entries about changed files, which are the most valuable,
OTHERS_KEPT = 150  # and others; separate limits keep many other entries from displacing changes
TEXT_LENGTH = 600  # characters
DIFF_LENGTH = 16_000  # characters of all lines of one entry

EntryLevel = Literal["info", "warning", "error"]


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A past event: its time, its name, its sentence and, for a change, the diff and the causes."""

    id: int
    at: float
    event: str
    level: EntryLevel
    text: str
    group: str = ""
    lines: int = 0
    diff: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()

    @property
    def is_change(self) -> bool:
        """Return whether files of a group changed."""
        return bool(self.diff)


class History:
    """The last entries; ``take`` subscribes to events, in any thread."""

    def __init__(self) -> None:
        self._changes: deque[HistoryEntry] = deque(maxlen=CHANGES_KEPT)
        self._others: deque[HistoryEntry] = deque(maxlen=OTHERS_KEPT)
        self._replaced: dict[str, FilesReplaced] = {}
        self._last_id = 0
        self._has_earlier = False
        self.version = 0  # counts all changes that a viewer may want to see
        self.revision = 0  # counts new entries

    def take(self, event: Event) -> None:
        """Store an event that is worth reading later."""
        if not isinstance(event, RequestEnded | LoopMeasured):
            self.version += 1
        if isinstance(event, FilesReplaced):
            self._replaced[event.group] = event
        elif event.severity >= logging.INFO:
            self._add(event)

    def _add(self, event: Event) -> None:
        group = event.group if isinstance(event, GroupEvent | QuarantineEvent | Readmitted) else ""
        replaced = self._replaced.pop(group, None) if isinstance(event, Applied | ReloadOwed) else None
        self._last_id += 1
        entry = HistoryEntry(
            id=self._last_id,
            at=time.time(),
            event=event.name,
            level=level_word(event.severity),
            text="\n".join(printable(line) for line in str(event).split("\n"))[:TEXT_LENGTH],
            group=group,
            lines=len(replaced.diff) if replaced else 0,
            diff=_cut(replaced.diff) if replaced else (),
            causes=replaced.causes if replaced else (),
        )
        (self._changes if entry.is_change else self._others).append(entry)
        self.revision += 1

    @property
    def entries(self) -> tuple[HistoryEntry, ...]:
        """Return all entries, the newest first."""
        return tuple(sorted((*self._changes.copy(), *self._others.copy()), key=lambda entry: entry.id, reverse=True))

    def remember(self, earlier: Iterable[HistoryEntry]) -> None:
        """Insert the entries of an earlier process before those of this one; only once."""
        if self._has_earlier:
            return
        self._has_earlier = True
        own = sorted((*self._changes, *self._others), key=lambda entry: entry.id)
        self._changes.clear()
        self._others.clear()
        before = sorted(earlier, key=lambda entry: entry.id)
        for number, entry in enumerate((*before, *own), start=1):
            known = msgspec.structs.replace(entry, id=number)
            (self._changes if known.is_change else self._others).append(known)
        self._last_id = len(before) + len(own)


def level_word(severity: int) -> EntryLevel:
    """Return the name of a level."""
    return "error" if severity >= logging.ERROR else "warning" if severity >= logging.WARNING else "info"


def _cut(diff: tuple[str, ...]) -> tuple[str, ...]:
    length = 0
    for number, line in enumerate(diff):
        length += len(line) + 1
        if length > DIFF_LENGTH:
            return (*diff[:number], f"… and {len(diff) - number} more lines")
    return diff
