"""Events of what surrounds the work: the address for status, the state folder, the log and hooks; see ``events``."""

from __future__ import annotations

import logging
from typing import ClassVar

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import UNLOGGED, Event, OngoingEvent


class StatusServed(Event, frozen=True, kw_only=True):
    """Status and metrics are served at an address."""

    address: str

    def __str__(self) -> str:
        return f"status: served at {self.address}"


class StatusUnavailable(OngoingEvent, frozen=True, kw_only=True):
    """Status cannot be served at its address; this is retried, and everything else continues."""

    LEVEL: ClassVar[int] = logging.ERROR
    address: str
    reason: str

    def __str__(self) -> str:
        return f"status: cannot be served at {self.address}: {self.reason}; it is tried again, the rest goes on"


class ReleaseRefused(OngoingEvent, frozen=True, kw_only=True):
    """Someone asked the page to release without the right token; ``is_repeated``: it was so less than a minute ago."""

    LEVEL: ClassVar[int] = logging.WARNING
    reason: str

    def __str__(self) -> str:
        return f"status: a release was refused: {self.reason}"


class StateUnusable(Event, frozen=True, kw_only=True):
    """A file of the state folder cannot be read or written; ``consequence`` says what is done without it.

    ``is_error``: a later start may do too much or too little.
    """

    path: str
    reason: str
    consequence: str = ""
    is_error: bool = False

    @property
    def severity(self) -> int:
        """The level."""
        return logging.ERROR if self.is_error else logging.WARNING

    def __str__(self) -> str:
        then = f"; {self.consequence}" if self.consequence else ""
        return f"{self.path}: {self.reason}{then}"


class ReleaseUnavailable(Event, frozen=True, kw_only=True):
    """``ctemplate release`` cannot reach this process; ``is_error``: a person must act."""

    reason: str
    is_error: bool = False

    @property
    def severity(self) -> int:
        """The level."""
        return logging.ERROR if self.is_error else logging.WARNING

    def __str__(self) -> str:
        return f"{self.reason}; 'ctemplate release' will not work"


class ServiceManagerUntold(Event, frozen=True, kw_only=True):
    """The service manager that started ctemplate, at an address, cannot be notified."""

    LEVEL: ClassVar[int] = logging.WARNING
    address: str
    reason: str

    def __str__(self) -> str:
        return self.reason


class ExecReplaced(Event, frozen=True, kw_only=True):
    """With ``-once``: ctemplate becomes the program of ``[exec]``."""

    command: str

    def __str__(self) -> str:
        return f"{self.command}: everything is rendered; ctemplate becomes this program"


class CaptureInexact(Event, frozen=True, kw_only=True):
    """A capture does not render to the same output as the answers that it holds."""

    LEVEL: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return "the capture does not give the same output again: a template prints more than it can hold"


class StopForced(Event, frozen=True, kw_only=True):
    """ctemplate did not end in the time that it has after a signal, and ends itself by force."""

    LEVEL: ClassVar[int] = logging.ERROR
    seconds: float

    def __str__(self) -> str:
        after = f"not ended {format_duration(self.seconds)} after the signal: ended by force"
        return f"{after}; the next start puts right what was under way"


class HookFailed(OngoingEvent, frozen=True, kw_only=True):
    """The command or URL of ``[on_event]`` failed for an event; ``is_repeated``: as for the one before."""

    LEVEL: ClassVar[int] = logging.WARNING
    event_name: str
    reason: str

    def __str__(self) -> str:
        return f"on_event: {self.event_name}: {printable(self.reason)}; it is not tried again for this event"


class HookDropped(Event, frozen=True, kw_only=True):
    """Events found no room in the queue of ``[on_event]``."""

    LEVEL: ClassVar[int] = logging.WARNING
    count: int

    def __str__(self) -> str:
        return f"on_event: {self.count} events found no room in the queue and were not handed out"


class GroupUnchanged(Event, frozen=True, kw_only=True):
    """With ``-once``: there was nothing to do for a group."""

    group: str
    subject: str

    def __str__(self) -> str:
        return f"{self.subject}: unchanged, as rendered"


class RunEnded(Event, frozen=True, kw_only=True):
    """What ``-once`` came to, in numbers of groups; of one group its own line says that."""

    changed: int
    unchanged: int
    failed: int
    owed: int

    @property
    def severity(self) -> int:
        """The level: one group needs no sum."""
        return logging.INFO if self.changed + self.unchanged + self.failed + self.owed > 1 else UNLOGGED

    def __str__(self) -> str:
        counts = ((self.changed, "applied"), (self.owed, "written, their reload owed"), (self.failed, "failed"))
        parts = [f"{count} {what}" for count, what in counts if count]
        done = ", ".join(parts) if parts else "nothing to do"
        unchanged = f", {self.unchanged} unchanged" if self.unchanged else ""
        return f"once: {done}{unchanged}"
