"""Events of checks, reloads and the processes that they concern; see ``events``."""

from __future__ import annotations

import logging
from typing import ClassVar

from ctemplate.core.errors import indented, printable
from ctemplate.core.event_stream import Event
from ctemplate.core.group_events import GroupEvent

# Checks


class CheckWarned(GroupEvent, frozen=True, kw_only=True):
    """The check accepted the candidates with a warning."""

    LEVEL: ClassVar[int] = logging.WARNING
    warning: str

    def __str__(self) -> str:
        return f"{self.group}: {printable(self.warning)}"


class CheckDeferred(GroupEvent, frozen=True, kw_only=True):
    """Candidates can be checked only once they are live; if they are refused, the old files are restored."""

    LEVEL: ClassVar[int] = logging.WARNING
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}; swapped in to be checked live; a refusal restores the old file at once"


class MountFailed(Event, frozen=True, kw_only=True):
    """A candidate cannot be mounted over its live file; it is checked without a mount, in the way that ``way`` says."""

    LEVEL: ClassVar[int] = logging.WARNING
    way: str
    output: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = f"mount: a candidate cannot be mounted over its live file; checked {self.way}"
        return f"{what}{indented(self.output)}"


class MountForbidden(Event, frozen=True, kw_only=True):
    """This user may not mount; candidates are checked without a mount, in the way that ``way`` says."""

    way: str

    def __str__(self) -> str:
        return f"no right to mount: candidates are checked {self.way}"


class FileUnreadable(Event, frozen=True, kw_only=True):
    """This user may not read a file that nginx reads; the check uses a placeholder file."""

    path: str

    def __str__(self) -> str:
        return f"{self.path}: this user may not read it; candidates are checked with a placeholder for it"


UNREAD_FIX = "write it where an include finds it, or name the configuration that reads it in the group's nginx key"


class FileNotIncluded(Event, frozen=True, kw_only=True):
    """The configuration that starts at ``main`` does not read a file of a group, so the check says nothing about it."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str
    main: str

    def __str__(self) -> str:
        unread = f"{self.main} does not read it: no include and no other directive names it; it is not checked"
        return f"{self.path}: {unread}; {UNREAD_FIX}"


# Reloads


class ReloadCommandDone(Event, frozen=True, kw_only=True):
    """The reload command of a program succeeded."""

    command: str
    seconds: float
    output: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.command}: done in {self.seconds:.3f}s{indented(self.output)}"


class ReloadStillOwed(GroupEvent, frozen=True, kw_only=True):
    """New files were refused, and the reload that the live files still need failed as well."""

    LEVEL: ClassVar[int] = logging.WARNING
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}; the reload of the live files stays owed"


class ProcessProven(GroupEvent, frozen=True, kw_only=True):
    """The running process started after the file was written, so it has loaded it."""

    path: str
    pid: int

    def __str__(self) -> str:
        return f"{self.path}: process {self.pid} started after it was written and runs it"


class ProcessUnproven(GroupEvent, frozen=True, kw_only=True):
    """Nothing shows that the running process has loaded the file; a reload follows."""

    path: str
    pid: int

    def __str__(self) -> str:
        return f"{self.path}: process {self.pid} is not known to have loaded it; reloading"


class MasterFound(Event, frozen=True, kw_only=True):
    """The master process of an nginx was found; ``how`` says how."""

    main: str
    how: str

    def __str__(self) -> str:
        return f"{self.main}: {self.how}"


class MasterNotFound(Event, frozen=True, kw_only=True):
    """None of the running processes can be identified as the master of an nginx."""

    LEVEL: ClassVar[int] = logging.WARNING
    main: str
    reason: str

    def __str__(self) -> str:
        return f"{self.main}: its master is not found: {self.reason}"


class MasterStopped(Event, frozen=True, kw_only=True):
    """The master process of an nginx was running, and is no longer; ``reason`` says how that is known."""

    LEVEL: ClassVar[int] = logging.WARNING
    main: str
    reason: str

    def __str__(self) -> str:
        return f"{self.main}: nginx has stopped: {self.reason}; it loads the files when it starts"


class MasterEnded(Event, frozen=True, kw_only=True):
    """The master process of an nginx ended before it was reloaded."""

    main: str

    def __str__(self) -> str:
        return f"{self.main}: the master ended before the reload"


class WorkerStuck(Event, frozen=True, kw_only=True):
    """A worker of an nginx did not end after a reload."""

    LEVEL: ClassVar[int] = logging.WARNING
    main: str
    pid: int

    def __str__(self) -> str:
        return f"{self.main}: worker {self.pid} does not end and keeps its old configuration"
