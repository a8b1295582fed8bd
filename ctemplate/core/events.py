"""Events of ctemplate itself, of answers and of Consul, with their log lines; those of groups are in ``group_events``.

Names and fields are stable, for programs; sentences may change. ``UNLOGGED`` events are only counted, or are a part of
another event's line.
"""

from __future__ import annotations

import logging
from typing import ClassVar

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import UNLOGGED, Event, OngoingEvent

# ctemplate itself


class Started(Event, frozen=True, kw_only=True):
    """The daemon is running."""

    summary: str

    def __str__(self) -> str:
        return f"started: {self.summary}"


class Stopping(Event, frozen=True, kw_only=True):
    """The daemon received a signal to stop."""

    def __str__(self) -> str:
        return "stopping after the current work; a second signal stops at once"


class Stopped(Event, frozen=True, kw_only=True):
    """The daemon has ended."""

    def __str__(self) -> str:
        return "stopped"


class ExecStarted(Event, frozen=True, kw_only=True):
    """The program of ``[exec]`` was started."""

    command: str
    pid: int

    def __str__(self) -> str:
        return f"{self.command}: started, process {self.pid}"


class ExecNotified(Event, frozen=True, kw_only=True):
    """Files of the program have changed: ctemplate sent it ``signal``, or restarts it if that is empty."""

    command: str
    signal: str

    def __str__(self) -> str:
        what = f"sent {self.signal}" if self.signal else "it is restarted"
        return f"{self.command}: its files have changed; {what}"


class ExecEnded(Event, frozen=True, kw_only=True):
    """The program ended without a request from ctemplate; ctemplate ends with its status."""

    command: str
    status: int

    def __str__(self) -> str:
        return f"{self.command}: ended with status {self.status}; ctemplate ends as well"


class ExecKilled(Event, frozen=True, kw_only=True):
    """The program did not end within ``kill_timeout`` and was killed."""

    LEVEL: ClassVar[int] = logging.WARNING
    command: str
    seconds: float

    def __str__(self) -> str:
        after = format_duration(self.seconds)
        return f"{self.command}: still running after {after}; its process group was killed"


class ExecRestartFailed(Event, frozen=True, kw_only=True):
    """The program cannot be restarted; ctemplate ends."""

    LEVEL: ClassVar[int] = logging.ERROR
    command: str
    reason: str

    def __str__(self) -> str:
        return f"{self.command}: {self.reason}; ctemplate ends as well"


class FilesEdited(Event, frozen=True, kw_only=True):
    """Templates, or modules that they import, were edited."""

    LEVEL: ClassVar[int] = logging.DEBUG
    files: tuple[str, ...]

    def __str__(self) -> str:
        return f"edited: {', '.join(self.files)}"


class ConfigurationReloading(Event, frozen=True, kw_only=True):
    """ctemplate starts to read configuration and templates again; ``is_over``: that has ended, successfully or not."""

    LEVEL: ClassVar[int] = UNLOGGED
    is_over: bool = False


class ConfigurationReloaded(Event, frozen=True, kw_only=True):
    """Configuration and templates were read again and are in use."""

    summary: str

    def __str__(self) -> str:
        return f"configuration reloaded: {self.summary}"


class ConfigurationRefused(Event, frozen=True, kw_only=True):
    """The newly read configuration cannot be used."""

    LEVEL: ClassVar[int] = logging.ERROR
    reason: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.consequence}"


class ConfigurationNotice(Event, frozen=True, kw_only=True):
    """A notice about the configuration; ``is_loss``: a part of it has no effect."""

    text: str
    is_loss: bool

    @property
    def severity(self) -> int:
        """The level."""
        return logging.WARNING if self.is_loss else logging.INFO

    def __str__(self) -> str:
        return self.text


class GroupUnchecked(Event, frozen=True, kw_only=True):
    """A group's files look like nginx configuration, but no check or reload is configured that proves them."""

    LEVEL: ClassVar[int] = logging.WARNING
    warning: str

    def __str__(self) -> str:
        return self.warning


class DefectFound(OngoingEvent, frozen=True, kw_only=True):
    """A bug in ctemplate affects something; ``is_repeated``: the same one was reported before."""

    LEVEL: ClassVar[int] = logging.ERROR
    where: str
    what: str

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.what}")


class DefectResolved(Event, frozen=True, kw_only=True):
    """What a bug affected works again."""

    where: str

    def __str__(self) -> str:
        return f"{self.where}: works again"


class LoopStalled(Event, frozen=True, kw_only=True):
    """The event loop is blocked."""

    LEVEL: ClassVar[int] = logging.WARNING
    seconds: float
    where: str

    def __str__(self) -> str:
        lasted = format_duration(self.seconds)
        return f"the event loop has been blocked for {lasted}, {self.where}; changes wait"


class LoopResumed(Event, frozen=True, kw_only=True):
    """The event loop runs again."""

    seconds: float

    def __str__(self) -> str:
        return f"the event loop runs again after {format_duration(self.seconds)}"


class LoopMeasured(Event, frozen=True, kw_only=True):
    """How many seconds late the event loop ran; measured once a second."""

    LEVEL: ClassVar[int] = UNLOGGED
    lag: float


# Answers


class AnswerChanged(Event, frozen=True, kw_only=True):
    """A query has a different answer, or its first one."""

    LEVEL: ClassVar[int] = UNLOGGED
    query: str
    kind: str


class AnswersMissing(Event, frozen=True, kw_only=True):
    """Groups wait for answers that have not arrived since the start, or for keys that do not exist."""

    LEVEL: ClassVar[int] = logging.WARNING
    source: str
    queries: str
    absent: str = ""

    def __str__(self) -> str:
        parts = (("no answer to", self.queries), ("missing:", self.absent))
        return f"{self.source}: still {'; '.join(f'{what} {queries}' for what, queries in parts if queries)}"


class StoredAnswersUsed(Event, frozen=True, kw_only=True):
    """The source gives no answers; the last good answers of an earlier process are in use."""

    LEVEL: ClassVar[int] = logging.WARNING
    source: str
    age: float

    def __str__(self) -> str:
        age = format_duration(self.age)
        return f"{self.source}: no answer yet; using the last good answers, up to {age} old"


class AnswersRefreshed(Event, frozen=True, kw_only=True):
    """The source has answered all queries for which stored answers were in use."""

    source: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.source}: all answers are current again after {format_duration(self.seconds)}"


class GuardReport(Event, frozen=True, kw_only=True):
    """A report of the guard: its sentence, and the queries that it is about."""

    IS_LIMITED: ClassVar[bool] = True
    text: str
    queries: tuple[str, ...] = ()

    @property
    def is_warning(self) -> bool:
        """Return whether something is held, or held entries are lost."""
        return self.severity >= logging.WARNING

    def __str__(self) -> str:
        return self.text


class HoldBegan(GuardReport, frozen=True, kw_only=True):
    """The guard holds entries that vanished."""

    LEVEL: ClassVar[int] = logging.WARNING


class HoldEnded(GuardReport, frozen=True, kw_only=True):
    """Held entries came back, or their loss is confirmed."""


class HoldExpired(GuardReport, frozen=True, kw_only=True):
    """A hold has expired; the newest answer is accepted."""

    LEVEL: ClassVar[int] = logging.WARNING


class AnswerUnverified(GuardReport, frozen=True, kw_only=True):
    """An empty first answer is not accepted, or is accepted although the catalog lists the service."""

    LEVEL: ClassVar[int] = logging.WARNING


class AnswerVerified(GuardReport, frozen=True, kw_only=True):
    """A query whose first answer was empty has entries now."""


class Released(Event, frozen=True, kw_only=True):
    """An operator ended holds; an empty ``service`` means all services."""

    by: str
    holds: int
    service: str = ""

    def __str__(self) -> str:
        count = f"{self.holds} hold{'' if self.holds == 1 else 's'}"
        if self.by not in {"request", "page"}:
            return f"released by {self.by}: {self.holds} holds"
        subject = f"service {printable(repr(self.service), 80)}" if self.service else "everything"
        return f"released by {self.by}: {subject}, {count}"


# Consul


class RequestEnded(Event, frozen=True, kw_only=True):
    """A request to Consul was answered, or failed for a cause."""

    LEVEL: ClassVar[int] = UNLOGGED
    result: str


class OutageBegan(Event, frozen=True, kw_only=True):
    """Consul, or some queries, fail; ``text`` says what fails and how ctemplate continues."""

    IS_LIMITED: ClassVar[bool] = True
    LEVEL: ClassVar[int] = logging.WARNING
    cause: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


class OutageSpread(Event, frozen=True, kw_only=True):
    """More queries fail for a cause, or none of several addresses answers."""

    IS_LIMITED: ClassVar[bool] = True
    LEVEL: ClassVar[int] = logging.WARNING
    cause: str
    text: str

    def __str__(self) -> str:
        return self.text


class OutageEnded(Event, frozen=True, kw_only=True):
    """All queries that failed for a cause are answered again; ``was_reported``: the beginning was logged."""

    IS_LIMITED: ClassVar[bool] = True
    cause: str
    subject: str
    seconds: float
    was_reported: bool = True

    @property
    def severity(self) -> int:
        """The level: the end of an outage that was not logged is not logged either."""
        return logging.INFO if self.was_reported else logging.DEBUG

    def __str__(self) -> str:
        return f"{self.subject} after {self.seconds:.1f}s"


class AddressChanged(Event, frozen=True, kw_only=True):
    """The client switched to another address of Consul; ``has_served``: the former one gave answers."""

    IS_LIMITED: ClassVar[bool] = True
    address: str
    before: str
    has_served: bool

    @property
    def severity(self) -> int:
        """The level: lower for an address that never answered."""
        return logging.INFO if self.has_served else logging.DEBUG

    def __str__(self) -> str:
        return f"Consul: {self.address} is in use now instead of {self.before}"


class DatacenterAbsent(Event, frozen=True, kw_only=True):
    """A datacenter that has never answered is treated as absent; the other datacenters are used."""

    IS_LIMITED: ClassVar[bool] = True
    LEVEL: ClassVar[int] = logging.WARNING
    datacenter: str
    query: str

    def __str__(self) -> str:
        what = f"is unavailable and has never answered {printable(self.query)}"
        return f"datacenter {printable(self.datacenter)}: {what}; the other datacenters are used without it"


class DataLeftOut(Event, frozen=True, kw_only=True):
    """A registered value is invalid and left out of an answer; ``where`` is the file or the query, if known."""

    IS_LIMITED: ClassVar[bool] = True
    LEVEL: ClassVar[int] = logging.WARNING
    text: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


class InputRead(Event, frozen=True, kw_only=True):
    """A token file, the TLS files or the catalog file were read again."""

    subject: str

    def __str__(self) -> str:
        return f"{self.subject}: read again"


class InputRefused(Event, frozen=True, kw_only=True):
    """A token file, the TLS files or the catalog file cannot be used; ``is_error``: an operator must act."""

    reason: str
    consequence: str
    is_error: bool = False

    @property
    def severity(self) -> int:
        """The level."""
        return logging.ERROR if self.is_error else logging.WARNING

    def __str__(self) -> str:
        return f"{self.reason}; {self.consequence}"
