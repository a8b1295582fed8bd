"""Events of the surroundings: the status address, the state folder, the log and hooks; see ``events``."""

from __future__ import annotations

import logging
from typing import ClassVar

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import UNLOGGED, Event, OngoingEvent


class StatusServed(Event, frozen=True, kw_only=True):
    """Status and metrics are served at ``address``."""

    address: str

    def __str__(self) -> str:
        return f"status: served at {self.address}"


class StatusUnavailable(OngoingEvent, frozen=True, kw_only=True):
    """Status cannot be served at ``address``; ctemplate retries, and everything else continues."""

    LEVEL: ClassVar[int] = logging.ERROR
    address: str
    reason: str

    def __str__(self) -> str:
        what = f"status: cannot be served at {self.address}: {self.reason}"
        return f"{what}; ctemplate retries, everything else continues"


class ReleaseRefused(OngoingEvent, frozen=True, kw_only=True):
    """A client asked the status page for a release without the right token.

    ``is_repeated``: another such request was logged less than a minute ago.
    """

    LEVEL: ClassVar[int] = logging.WARNING
    reason: str

    def __str__(self) -> str:
        return f"status: a release was refused: {self.reason}"


class StateUnusable(Event, frozen=True, kw_only=True):
    """A file in the state folder is gone, or cannot be read or written; ``consequence`` says how ctemplate continues.

    ``is_error``: a later start may repeat or miss a change. ``is_repeated``: an attempt that is made again failed too.
    """

    path: str
    reason: str
    consequence: str = ""
    is_error: bool = False
    is_repeated: bool = False

    @property
    def severity(self) -> int:
        """The level."""
        if self.is_repeated:
            return logging.DEBUG
        return logging.ERROR if self.is_error else logging.WARNING

    def __str__(self) -> str:
        then = f"; {self.consequence}" if self.consequence else ""
        return f"{self.path}: {self.reason}{then}"


class ReleaseUnavailable(Event, frozen=True, kw_only=True):
    """``ctemplate release`` cannot reach this process; ``is_error``: an operator must act."""

    reason: str
    is_error: bool = False

    @property
    def severity(self) -> int:
        """The level."""
        return logging.ERROR if self.is_error else logging.WARNING

    def __str__(self) -> str:
        return f"{self.reason}; 'ctemplate release' will not work"


class ServiceManagerUnreachable(Event, frozen=True, kw_only=True):
    """The service manager that started ctemplate cannot be notified."""

    LEVEL: ClassVar[int] = logging.WARNING
    address: str
    reason: str

    def __str__(self) -> str:
        return self.reason


class ExecReplaced(Event, frozen=True, kw_only=True):
    """With ``-once``: ctemplate replaces itself with the program of ``[exec]``."""

    command: str

    def __str__(self) -> str:
        return f"{self.command}: everything is rendered; ctemplate becomes this program"


class CaptureInexact(Event, frozen=True, kw_only=True):
    """Rendering from the capture gives a different output than the answers from which it was made."""

    LEVEL: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return "rendering from the capture gives a different output: a template prints data that a capture cannot hold"


class StopForced(Event, frozen=True, kw_only=True):
    """ctemplate did not stop in time after a signal and exits at once; ``[on_event]`` does not run for this event."""

    LEVEL: ClassVar[int] = logging.ERROR
    seconds: float

    def __str__(self) -> str:
        after = f"not ended {format_duration(self.seconds)} after the signal: exiting at once"
        return f"{after}; the next start repairs an interrupted change"


class HookFailed(OngoingEvent, frozen=True, kw_only=True):
    """The command or URL of ``[on_event]`` failed for an event; ``is_repeated``: also for the previous one."""

    LEVEL: ClassVar[int] = logging.WARNING
    event_name: str
    reason: str

    def __str__(self) -> str:
        return f"on_event: {self.event_name}: {printable(self.reason)}; not retried for this event"


class HookDropped(Event, frozen=True, kw_only=True):
    """Events were dropped: the queue of ``[on_event]`` was full, or ctemplate had to stop, as ``reason`` says."""

    LEVEL: ClassVar[int] = logging.WARNING
    count: int
    reason: str = "the queue was full"

    def __str__(self) -> str:
        what = "1 event was" if self.count == 1 else f"{self.count} events were"
        return f"on_event: {what} dropped, since {self.reason}"


class GroupUnchanged(Event, frozen=True, kw_only=True):
    """With ``-once``: a group was up to date."""

    group: str
    subject: str

    def __str__(self) -> str:
        return f"{self.subject}: unchanged, as rendered"


class RunEnded(Event, frozen=True, kw_only=True):
    """The result of ``-once``, in numbers of groups; a single group is reported by its own event instead."""

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
