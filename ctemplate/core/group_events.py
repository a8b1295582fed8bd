"""Events of groups: rendered, checked, reloaded, applied, and what is left out; see ``events``."""

from __future__ import annotations

import logging
from typing import ClassVar

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import indented, printable
from ctemplate.core.event_stream import UNLOGGED, Event


class GroupEvent(Event, frozen=True, kw_only=True):
    """Something that happened to a group; ``subject`` names its files."""

    group: str
    subject: str = ""


class Rendered(GroupEvent, frozen=True, kw_only=True):
    """A group was rendered: ``result`` is ok, waiting (answers are missing) or failed."""

    LEVEL: ClassVar[int] = UNLOGGED
    result: str
    seconds: float


class CheckEnded(GroupEvent, frozen=True, kw_only=True):
    """Candidates were checked: ``result`` is accepted, unread, refused, impossible or failed.

    Unread means that the program reads none of the files, impossible that they cannot be checked before they are live.
    """

    LEVEL: ClassVar[int] = UNLOGGED
    result: str
    seconds: float


class ReloadEnded(GroupEvent, frozen=True, kw_only=True):
    """A program was reloaded: ``result`` is applied, pending (it is not running), rejected, unproven or failed."""

    LEVEL: ClassVar[int] = UNLOGGED
    result: str
    seconds: float


class Applied(GroupEvent, frozen=True, kw_only=True):
    """A group's files are live and, where that can be proven, the program has loaded them.

    ``waited`` is how many seconds ago the first change of data in it arrived; None where no data changed. The others
    count lines, and ``server`` lines of upstreams among them; all are 0 where the live files were reloaded as they are.
    """

    waited: float | None = None
    lines_added: int = 0
    lines_removed: int = 0
    servers_added: int = 0
    servers_removed: int = 0

    def __str__(self) -> str:
        if not self.lines_added and not self.lines_removed:
            return f"{self.subject}: applied"
        counts = f"+{self.lines_added} -{self.lines_removed} lines"
        if self.servers_added or self.servers_removed:
            counts += f", +{self.servers_added} -{self.servers_removed} servers"
        return f"{self.subject}: applied, {counts}"


class FilesReplaced(GroupEvent, frozen=True, kw_only=True):
    """Files of a group got new content: a bounded ``diff`` without secrets, and ``causes``, the data that changed."""

    LEVEL: ClassVar[int] = UNLOGGED
    diff: tuple[str, ...]
    causes: tuple[str, ...]


class ReloadOwed(GroupEvent, frozen=True, kw_only=True):
    """A group's files are live; the program is not running, so the reload is deferred."""

    def __str__(self) -> str:
        return f"{self.subject}: written; the reload is deferred until its program runs"


class RolledBack(GroupEvent, frozen=True, kw_only=True):
    """A group's old files were restored after a swap; the following failure event says why."""

    LEVEL: ClassVar[int] = UNLOGGED


class FilesRestored(GroupEvent, frozen=True, kw_only=True):
    """An operator restored an earlier state of a group's files."""

    label: str

    def __str__(self) -> str:
        return f"{self.subject}: restored from {self.label}"


class FilesHeld(GroupEvent, frozen=True, kw_only=True):
    """A group's files stay as restored; nothing is applied."""

    LEVEL: ClassVar[int] = logging.WARNING
    label: str

    def __str__(self) -> str:
        until = "until 'ctemplate release' or a change of its templates"
        return f"{self.subject}: held as restored from {self.label}; nothing is applied {until}"


class RestorationEnded(GroupEvent, frozen=True, kw_only=True):
    """A group's files are no longer held as restored and are rendered again."""

    reason: str

    def __str__(self) -> str:
        return f"{self.subject}: no longer held as restored: {self.reason}"


class GroupRecovered(GroupEvent, frozen=True, kw_only=True):
    """A group that had failed succeeded."""

    def __str__(self) -> str:
        return f"{self.subject}: works again"


class GroupFailed(GroupEvent, frozen=True, kw_only=True):
    """A group could not be rendered or applied: ``where`` and ``what`` of the error, ``output`` of a program.

    ``is_repeated``: it failed with the same sentence before.
    """

    where: str
    what: str
    output: tuple[str, ...] = ()
    is_repeated: bool = False

    @property
    def severity(self) -> int:
        """The level: a repeated event is logged as ERROR only the first time."""
        return logging.DEBUG if self.is_repeated else logging.ERROR

    def __str__(self) -> str:
        return f"{self.where}: {self.what}{indented(self.output)}"


class RenderFailed(GroupFailed, frozen=True, kw_only=True):
    """A template cannot be rendered."""


class CandidateRejected(GroupFailed, frozen=True, kw_only=True):
    """The check refused the candidates; the live files are untouched."""


class ReloadFailed(GroupFailed, frozen=True, kw_only=True):
    """The program refused the files, or nothing proves that it has loaded them."""


class FilesFailed(GroupFailed, frozen=True, kw_only=True):
    """Files could not be read, staged or put in place."""


class EditRefused(GroupEvent, frozen=True, kw_only=True):
    """Edited templates cannot be used; the previous version stays in use."""

    LEVEL: ClassVar[int] = logging.ERROR
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}; the templates from before the edit stay in use"


class EditRemovedServices(GroupEvent, frozen=True, kw_only=True):
    """An edit of the templates removes every server of services that are registered and healthy."""

    LEVEL: ClassVar[int] = logging.WARNING
    services: tuple[str, ...]
    unnamed: int = 0

    def __str__(self) -> str:
        more = f" and {self.unnamed} more" if self.unnamed else ""
        return f"{self.subject}: the edit removes every server of healthy services: {', '.join(self.services)}{more}"


class TemplatesRefused(GroupEvent, frozen=True, kw_only=True):
    """Templates cannot be used at the start; the version that was last live is in use."""

    LEVEL: ClassVar[int] = logging.ERROR
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}; the templates that were last live stay in use until this is fixed"


class RetryPlanned(GroupEvent, frozen=True, kw_only=True):
    """A group that failed is retried without a change."""

    seconds: float

    def __str__(self) -> str:
        return f"{self.subject}: next try in {format_duration(self.seconds)}"


class GroupCancelled(GroupEvent, frozen=True, kw_only=True):
    """A step of a group did not end in time during a stop and was cancelled."""

    LEVEL: ClassVar[int] = logging.WARNING
    seconds: float

    def __str__(self) -> str:
        return f"{self.group}: cancelled after {format_duration(self.seconds)}"


class ReloadDelayed(Event, frozen=True, kw_only=True):
    """A reload waits for old workers to end, for ``seconds`` at most."""

    generations: int
    seconds: float

    def __str__(self) -> str:
        draining = f"{self.generations} old generations of workers still drain"
        return f"{draining}; the next reload waits, at most {format_duration(self.seconds)}"


class ReloadForced(Event, frozen=True, kw_only=True):
    """Old workers did not end within the limit; the reload no longer waits for them."""

    LEVEL: ClassVar[int] = logging.WARNING
    generations: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.generations} old generations of workers drain after {format_duration(self.seconds)}; reloading"


# What a group leaves out


class QuarantineEvent(Event, frozen=True, kw_only=True):
    """A service, or one instance of it, and why it is not rendered as it is registered."""

    IS_LIMITED: ClassVar[bool] = True
    group: str
    service: str
    instance: str = ""
    thing: str = ""
    text: str


class Quarantined(QuarantineEvent, frozen=True, kw_only=True):
    """A service or instance is left out of the rendered file."""

    LEVEL: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return f"{self.text}; left out; everything else continues"


class LastGoodDataUsed(QuarantineEvent, frozen=True, kw_only=True):
    """The last good data of a service or key is rendered instead of the newest."""

    LEVEL: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return f"{self.text}; its last good data stay in use for now"


class Readmitted(Event, frozen=True, kw_only=True):
    """A service or key is rendered as registered again."""

    IS_LIMITED: ClassVar[bool] = True
    group: str
    service: str
    thing: str = ""

    def __str__(self) -> str:
        if self.thing:
            return f"{self.thing}: its newest data are in use again"
        return f"service {printable(repr(self.service))}: no longer left out"


class TemplateWarned(Event, frozen=True, kw_only=True):
    """A template asks for something that does not exist."""

    IS_LIMITED: ClassVar[bool] = True
    LEVEL: ClassVar[int] = logging.WARNING
    group: str
    text: str

    def __str__(self) -> str:
        return self.text


class TemplateWarningResolved(Event, frozen=True, kw_only=True):
    """What a template asked for exists now."""

    IS_LIMITED: ClassVar[bool] = True
    group: str
    text: str

    def __str__(self) -> str:
        return f"{self.text}: no longer so"
