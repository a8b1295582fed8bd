"""Services whose data a program refused: left out until their data change, or retried later.

Must not know the program, or how it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace

from ctemplate.core.model import Answer, Query, Rejection, Service, Snapshot, Status
from ctemplate.core.values import dataclass
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import Losses, kind_of
from ctemplate.template.safety.quarantine import REFUSED, Held, QuarantineVerdict
from ctemplate.template.safety.render_pass import Owner
from ctemplate.template.safety.substitute_entries import things_in
from ctemplate.template.safety.substitutes import about, entry

__all__ = ["REFUSED", "Refusal", "Refusals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A refused service or instance, the reason, and its data then.

    ``line`` is the template's line, where known; ``line_fits``: with other data the program accepts it.
    ``is_needed``: without the service the program refuses the texts as well. ``is_outright``: its last good data are
    refused as well, beside others. ``is_unjudged``: it changed with those that are refused, and no search has judged it
    yet. ``retry_at``, on the monotonic clock, is when the cause may have disappeared.
    """

    owner: Owner
    rejection: Rejection
    line: str
    answers: Mapping[Query, Answer | None]
    entries: Mapping[Query, Service | None]
    line_fits: bool = False
    is_needed: bool = False
    is_outright: bool = False
    is_unjudged: bool = False
    retry_at: float = float("inf")
    failures: int = 0

    def lasts(self, snapshot: Snapshot) -> bool:
        """Whether the data are still the same."""
        return all(_value(snapshot.get(query)) is _value(answer) for query, answer in self.answers.items()) and all(
            entry(snapshot.get(query), self.owner.service) == one for query, one in self.entries.items()
        )

    def after(self, *, failures: int, retry_at: float, is_needed: bool | None = None) -> Refusal:
        """Return the refusal after so many failures, with the moment of the next try."""
        needed = self.is_needed if is_needed is None else is_needed
        return replace(self, failures=failures, retry_at=retry_at, is_needed=needed)

    def held(self, places: tuple[ConfigPlace | None, ...]) -> Held:
        """Return it as one that is left out."""
        verdict = QuarantineVerdict(rejection=self.rejection, line=self.line, line_fits=self.line_fits)
        return Held(verdict=verdict, evidence=dict(self.answers), places=places, is_refused=True)


def _usable(service: str, snapshot: Snapshot) -> Iterator[Owner]:
    """Yield the instances of a service that a template may show."""
    for answer in snapshot:
        if kind_of(answer.query).losses is Losses.INSTANCES:
            for one in answer.value:
                if one.name == service and one.status is not Status.CRITICAL:
                    yield Owner.of(one)


def _value(answer: Answer | None) -> object:
    return None if answer is None else answer.value


@dataclass(slots=True)
class Refusals:
    """All current refusals, and those that are being retried."""

    by_owner: dict[Owner, Refusal] = field(default_factory=dict)
    trying: dict[Owner, Refusal] = field(default_factory=dict)

    def retry_due(self, now: float) -> None:
        """Retry those whose time has come."""
        for owner, one in list(self.by_owner.items()):
            if one.retry_at <= now:
                self.trying[owner] = self.by_owner.pop(owner)

    def forget_changed(self, snapshot: Snapshot) -> None:
        """Retry those with new data."""
        self.by_owner = {one.owner: one for one in self.current(snapshot)}

    def current(self, snapshot: Snapshot) -> Iterator[Refusal]:
        """Yield those with the same data, which stay refused."""
        return (one for one in self.by_owner.values() if one.lasts(snapshot))

    def trial(self, owner: Owner, snapshot: Snapshot, *, line: str = "", line_fits: bool = False) -> Refusal:
        """Return a new refusal."""
        rejection = Rejection(
            service=owner.service, field=REFUSED, reason="", instance=owner.instance, thing=owner.thing
        )
        return self.made(owner, rejection, snapshot, line=line, line_fits=line_fits)

    def made(
        self, owner: Owner, rejection: Rejection, snapshot: Snapshot, *, line: str = "", line_fits: bool = False
    ) -> Refusal:
        """Return the refusal of an owner's data in a snapshot."""
        answers: dict[Query, Answer | None] = {}
        entries: dict[Query, Service | None] = {}
        for answer in snapshot:
            losses = kind_of(answer.query).losses
            if owner.thing:
                if owner.thing in things_in(answer):
                    answers[answer.query] = answer
            elif losses is Losses.INSTANCES:
                if about(answer.query, answer) == owner.service:
                    answers[answer.query] = answer
            elif losses is Losses.NAMES:
                entries[answer.query] = entry(answer, owner.service)
        return Refusal(
            owner=owner, rejection=rejection, line=line, line_fits=line_fits, answers=answers, entries=entries
        )

    def widened(self, owners: Iterable[Owner], snapshot: Snapshot) -> frozenset[Owner]:
        """Return the owners; in place of all usable instances of a service, the service itself."""
        found = set(owners)
        for service in {owner.service for owner in found if not owner.is_whole}:
            gone = found | self.by_owner.keys()
            if all(owner in gone for owner in _usable(service, snapshot)):
                found = {owner for owner in found if owner.service != service} | {Owner(service)}
        return frozenset(found)

    def add(self, refusals: Iterable[Refusal]) -> None:
        """Record these as refused; an owner that was being retried has failed again."""
        for one in refusals:
            if one.owner.is_whole:
                self.by_owner = {
                    owner: old for owner, old in self.by_owner.items() if owner.service != one.owner.service
                }
            self.by_owner[one.owner] = one
        self.trying.clear()

    def clear_trying(self) -> None:
        """Remove those that were retried with success."""
        self.trying.clear()

    def dues(self) -> list[float]:
        """Return the moments when some are to be retried."""
        return [one.retry_at for one in self.by_owner.values() if one.retry_at < float("inf")]
