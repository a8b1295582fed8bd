"""Events of ctemplate itself, of answers and of Consul, with their log lines; those of groups are in ``group_events``.

Names and fields are for machines and stay stable; the sentences are for people. ``UNLOGGED`` events are only counted,
or are a part of another event's line.
"""

from __future__ import annotations

import logging
from typing import ClassVar

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import UNLOGGED, Event, OngoingEvent

# ctemplate itself


class Started(Event, frozen=True, kw_only=True):
    """The daemon runs."""

    summary: str

    def __str__(self) -> str:
        return f"started: {self.summary}"


class Stopping(Event, frozen=True, kw_only=True):
    """The daemon received a signal to stop."""

    def __str__(self) -> str:
        return "stopping, after what is under way; a second signal does not wait for that"


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


class ExecTold(Event, frozen=True, kw_only=True):
    """Files of the program have changed: it got ``signal``, or is restarted if that is empty."""

    command: str
    signal: str

    def __str__(self) -> str:
        what = f"sent {self.signal}" if self.signal else "it is started anew"
        return f"{self.command}: its files have changed; {what}"


class ExecEnded(Event, frozen=True, kw_only=True):
    """The program ended by itself; ctemplate ends with its status."""

    command: str
    status: int

    def __str__(self) -> str:
        return f"{self.command}: ended with status {self.status}; ctemplate ends as well"


class ExecKilled(Event, frozen=True, kw_only=True):
    """The program did not end in time, and was killed."""

    LEVEL: ClassVar[int] = logging.WARNING
    command: str
    seconds: float

    def __str__(self) -> str:
        after = format_duration(self.seconds)
        return f"{self.command}: still running after {after}; its process group was killed"


class ExecUnstarted(Event, frozen=True, kw_only=True):
    """The program cannot be started any more."""

    LEVEL: ClassVar[int] = logging.ERROR
    command: str
    reason: str

    def __str__(self) -> str:
        return f"{self.command}: {self.reason}; ctemplate ends as well"


class FilesEdited(Event, frozen=True, kw_only=True):
    """Templates or modules that they read were edited."""

    LEVEL: ClassVar[int] = logging.DEBUG
    files: tuple[str, ...]

    def __str__(self) -> str:
        return f"edited: {', '.join(self.files)}"


class ConfigurationReading(Event, frozen=True, kw_only=True):
    """Reading configuration and templates again begins; with ``is_over`` it has ended, successfully or not."""

    LEVEL: ClassVar[int] = UNLOGGED
    is_over: bool = False


class ConfigurationRead(Event, frozen=True, kw_only=True):
    """Configuration and templates were read again and are in use."""

    summary: str

    def __str__(self) -> str:
        return f"reloaded: {self.summary}"


class ConfigurationRefused(Event, frozen=True, kw_only=True):
    """The newly read configuration cannot be used."""

    LEVEL: ClassVar[int] = logging.ERROR
    reason: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.consequence}"


class ConfigurationNoticed(Event, frozen=True, kw_only=True):
    """A notice about the configuration; ``is_loss``: something in it has no effect."""

    text: str
    is_loss: bool

    @property
    def severity(self) -> int:
        """The level."""
        return logging.WARNING if self.is_loss else logging.INFO

    def __str__(self) -> str:
        return self.text


class GroupUnproven(Event, frozen=True, kw_only=True):
    """A group's files look like nginx's, but nothing checks or proves them."""

    LEVEL: ClassVar[int] = logging.WARNING
    warning: str

    def __str__(self) -> str:
        return self.warning


class DefectFound(OngoingEvent, frozen=True, kw_only=True):
    """A defect of ctemplate's own affects something; ``is_repeated``: the same one was reported before."""

    LEVEL: ClassVar[int] = logging.ERROR
    where: str
    what: str

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.what}")


class DefectOver(Event, frozen=True, kw_only=True):
    """What a defect affected works again."""

    where: str

    def __str__(self) -> str:
        return f"{self.where}: works again"


class LoopStalled(Event, frozen=True, kw_only=True):
    """The event loop is stuck."""

    LEVEL: ClassVar[int] = logging.WARNING
    seconds: float
    where: str

    def __str__(self) -> str:
        lasted = format_duration(self.seconds)
        return f"the event loop has stood still for {lasted}, {self.where}; no change is taken meanwhile"


class LoopResumed(Event, frozen=True, kw_only=True):
    """The event loop continues."""

    seconds: float

    def __str__(self) -> str:
        return f"the event loop goes on after {format_duration(self.seconds)}"


class LoopMeasured(Event, frozen=True, kw_only=True):
    """By how many seconds the event loop was late for a turn; measured once a second."""

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
        parts = (("no answer to", self.queries), ("not there:", self.absent))
        return f"{self.source}: still {'; '.join(f'{what} {queries}' for what, queries in parts if queries)}"


class AnswersRecalled(Event, frozen=True, kw_only=True):
    """The last good answers of an earlier process are in use, since the source gives none."""

    LEVEL: ClassVar[int] = logging.WARNING
    source: str
    age: float

    def __str__(self) -> str:
        age = format_duration(self.age)
        return f"{self.source}: no answer yet; going on with the last good answers, up to {age} old"


class AnswersRenewed(Event, frozen=True, kw_only=True):
    """The source has answered all recalled queries."""

    source: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.source}: all answers are new again after {format_duration(self.seconds)}"


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
    """The guard keeps entries that vanished."""

    LEVEL: ClassVar[int] = logging.WARNING


class HoldEnded(GuardReport, frozen=True, kw_only=True):
    """What the guard kept came back, or its loss is confirmed."""


class HoldExpired(GuardReport, frozen=True, kw_only=True):
    """A hold has expired; the newest answer is accepted."""

    LEVEL: ClassVar[int] = logging.WARNING


class AnswerUnverified(GuardReport, frozen=True, kw_only=True):
    """An empty first answer is not accepted, or accepted although the catalog lists the service."""

    LEVEL: ClassVar[int] = logging.WARNING


class AnswerVerified(GuardReport, frozen=True, kw_only=True):
    """A query whose first answer was empty has entries."""


class Released(Event, frozen=True, kw_only=True):
    """The operator ended holds; ``service`` is empty for all of them."""

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
    """Consul, or some queries, fail; ``text`` says what fails and what follows."""

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
    """All queries that failed for a cause are answered again; ``was_reported``: its beginning was logged."""

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
        return f"Consul: {self.address} is asked now, in place of {self.before}"


class DatacenterAbsent(Event, frozen=True, kw_only=True):
    """A datacenter that never answered counts as absent beside others."""

    IS_LIMITED: ClassVar[bool] = True
    LEVEL: ClassVar[int] = logging.WARNING
    datacenter: str
    query: str

    def __str__(self) -> str:
        what = f"is away, and {printable(self.query)} was never answered; it is left out beside other datacenters"
        return f"datacenter {printable(self.datacenter)}: {what}"


class DataLeftOut(Event, frozen=True, kw_only=True):
    """Something registered is invalid and left out of an answer; ``where`` is the file or the query, if it is named."""

    IS_LIMITED: ClassVar[bool] = True
    LEVEL: ClassVar[int] = logging.WARNING
    text: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


class InputRead(Event, frozen=True, kw_only=True):
    """A token file, TLS files or the catalog file were read again."""

    subject: str

    def __str__(self) -> str:
        return f"{self.subject}: reloaded"


class InputRefused(Event, frozen=True, kw_only=True):
    """A token file, TLS files or the catalog file cannot be used; ``is_error``: a person must act."""

    reason: str
    consequence: str
    is_error: bool = False

    @property
    def severity(self) -> int:
        """The level."""
        return logging.ERROR if self.is_error else logging.WARNING

    def __str__(self) -> str:
        return f"{self.reason}; {self.consequence}"
