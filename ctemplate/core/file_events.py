"""Events of single files: foreign files, backups, locks and interrupted changes; see ``events``."""

from __future__ import annotations

import logging
from typing import ClassVar

from ctemplate.core.errors import printable
from ctemplate.core.event_stream import Event, OngoingEvent
from ctemplate.core.group_events import GroupEvent

FOREIGN = "replaces a file that ctemplate did not write"
LOSSES_LENGTH = 2000  # characters
FILES_NAMED = 10  # in one line


class ForeignFileReplaced(Event, frozen=True, kw_only=True):
    """A file that ctemplate did not write is replaced: ``losses`` vanish with it, and ``unnamed`` more."""

    path: str
    losses: tuple[str, ...] = ()
    unnamed: int = 0

    @property
    def severity(self) -> int:
        """The level: WARNING if something vanishes."""
        return logging.WARNING if self.losses else logging.INFO

    def __str__(self) -> str:
        if not self.losses:
            return f"{self.path}: {FOREIGN}"
        more = f" and {self.unnamed} more" if self.unnamed else ""
        return f"{self.path}: {FOREIGN}; these vanish: {printable(', '.join(self.losses), LOSSES_LENGTH)}{more}"


class OriginalSaved(Event, frozen=True, kw_only=True):
    """A file that existed before ctemplate first wrote it is stored in a folder and never deleted."""

    path: str
    folder: str

    def __str__(self) -> str:
        return f"{self.path}: the original, which ctemplate did not write, is saved in {self.folder}"


class OriginalNotSaved(Event, frozen=True, kw_only=True):
    """A file that existed before ctemplate first wrote it cannot be stored."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: the original cannot be saved: {self.reason}"


class BackupFailed(Event, frozen=True, kw_only=True):
    """The former content of a file cannot be saved as ``NAME.bak``."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: cannot be made: {self.reason}; continuing without it"


class WrittenInPlace(OngoingEvent, frozen=True, kw_only=True):
    """A file cannot be replaced atomically and is overwritten instead, such as a bind-mounted file."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: cannot be renamed over ({self.reason}); written in place"


class LiveFileEdited(GroupEvent, frozen=True, kw_only=True):
    """Another program changed or removed a live file; ``is_left``: ctemplate leaves it so."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str
    is_removed: bool
    is_left: bool

    def __str__(self) -> str:
        what = "was removed by another program" if self.is_removed else "was changed by another program"
        then = "left as it is" if self.is_left else "overwritten with the rendered file"
        return f"{self.path}: {what}; {then}"


class ItemFileRemoved(GroupEvent, frozen=True, kw_only=True):
    """The file of an item was removed, since the item no longer exists."""

    path: str

    def __str__(self) -> str:
        return f"{self.path}: removed, since its item is gone"


class ItemFileLeft(Event, frozen=True, kw_only=True):
    """Another program wrote or changed the file of an item; ctemplate leaves it unchanged."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class FormerFilesLeft(Event, frozen=True, kw_only=True):
    """Files that ctemplate wrote and no longer writes, as their destination was changed or removed; they stay.

    ``included`` are those of them that nginx's configuration still includes.
    """

    files: tuple[str, ...]
    included: tuple[str, ...] = ()

    @property
    def severity(self) -> int:
        """The level: WARNING if nginx reads one of the files."""
        return logging.WARNING if self.included else logging.INFO

    def __str__(self) -> str:
        what = f"{_list(self.files)}: written earlier and no longer in the configuration; left in place"
        if not self.included:
            return what
        which = "it" if len(self.files) == 1 else _list(self.included)
        return f"{what}; nginx's configuration still includes {which}: remove what is not meant to stay"


def _list(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - FILES_NAMED} more" if len(paths) > FILES_NAMED else ""
    return ", ".join(paths[:FILES_NAMED]) + more


class CandidateSaved(GroupEvent, frozen=True, kw_only=True):
    """Refused candidates were saved in a folder for inspection."""

    folder: str

    def __str__(self) -> str:
        return f"rejected candidate saved to {self.folder}"


class InterruptedChangeUndone(GroupEvent, frozen=True, kw_only=True):
    """A process was killed during a change; the file has its old content again."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str

    def __str__(self) -> str:
        return f"{self.path}: an interrupted change was rolled back; its reload is pending"


class RecoveryFailed(GroupEvent, frozen=True, kw_only=True):
    """The files that a killed process left behind cannot be repaired yet."""

    LEVEL: ClassVar[int] = logging.ERROR
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}; retried with the next rendering"


class LockUnavailable(Event, frozen=True, kw_only=True):
    """The file system of a destination does not support locks."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: cannot be locked: {self.reason}; a second ctemplate would not be detected"
