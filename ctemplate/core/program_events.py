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
    """Candidates can be checked only once they are live; a refusal puts the old files back."""

    LEVEL: ClassVar[int] = logging.WARNING
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}; swapped to be judged where it stands, and put back at once when refused"


class MountFailed(Event, frozen=True, kw_only=True):
    """A candidate cannot be mounted over its live file; it is checked in the ``way`` that needs no mount."""

    LEVEL: ClassVar[int] = logging.WARNING
    way: str
    output: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = f"mount: a candidate cannot be bound over its live file; judged {self.way}"
        return f"{what}{indented(self.output)}"


class MountForbidden(Event, frozen=True, kw_only=True):
    """This user may not mount; candidates are checked in the ``way`` that needs no mount."""

    way: str

    def __str__(self) -> str:
        return f"no right to mount: candidates are judged {self.way}"


class FileUnreadable(Event, frozen=True, kw_only=True):
    """A file that nginx reads may not be read by this user; the check has a stand-in for it."""

    path: str

    def __str__(self) -> str:
        return f"{self.path}: may not be read by this user; candidates are judged with a stand-in for it"


class FileNotIncluded(Event, frozen=True, kw_only=True):
    """The configuration that starts at ``main`` does not read a file of a group, so the check says nothing about it."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str
    main: str

    def __str__(self) -> str:
        what = f"is not read by {self.main}: no include and no other directive names it; it is not checked"
        return f"{self.path}: {what}"


# Reloads


class ReloadCommandDone(Event, frozen=True, kw_only=True):
    """The command that reloads a program succeeded."""

    command: str
    seconds: float
    output: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.command}: done in {self.seconds:.3f}s{indented(self.output)}"


class ReloadStillOwed(GroupEvent, frozen=True, kw_only=True):
    """New files were refused, and the reload that the live ones need failed as well."""

    LEVEL: ClassVar[int] = logging.WARNING
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}; the reload of the live files stays owed"


class ProcessProven(GroupEvent, frozen=True, kw_only=True):
    """A process that started after a file was written runs it."""

    path: str
    pid: int

    def __str__(self) -> str:
        return f"{self.path}: process {self.pid} started after it was written and runs it"


class ProcessUnproven(GroupEvent, frozen=True, kw_only=True):
    """Nothing shows that the running process has loaded a file; a reload follows."""

    path: str
    pid: int

    def __str__(self) -> str:
        return f"{self.path}: process {self.pid} was never seen to take it; reloading"


class MasterFound(Event, frozen=True, kw_only=True):
    """The master process of an nginx was found; ``how`` says by what."""

    main: str
    how: str

    def __str__(self) -> str:
        return f"{self.main}: {self.how}"


class MasterNotFound(Event, frozen=True, kw_only=True):
    """Processes may be the master of an nginx, and none is shown to be it."""

    LEVEL: ClassVar[int] = logging.WARNING
    main: str
    reason: str

    def __str__(self) -> str:
        return f"{self.main}: its master is not found: {self.reason}"


class MasterEnded(Event, frozen=True, kw_only=True):
    """The master process of an nginx ended before its reload."""

    main: str

    def __str__(self) -> str:
        return f"{self.main}: the master ended before the reload"


class WorkerStuck(Event, frozen=True, kw_only=True):
    """A worker of an nginx does not end after a reload."""

    LEVEL: ClassVar[int] = logging.WARNING
    main: str
    pid: int

    def __str__(self) -> str:
        return f"{self.main}: worker {self.pid} does not finish and keeps its old configuration"
