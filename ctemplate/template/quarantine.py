"""Whose fault it is: the service that a forbidden text came from, and those that lose what another holds.

Pure: reads runs, renders nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ctemplate.errors import printable
from ctemplate.model import Answer, AnyQuery, Check, Fault, Instance, Service, ServiceQuery, Snapshot, reads_alike
from ctemplate.nginx.surroundings import Place
from ctemplate.template.run import Run, Violation
from ctemplate.template.trust import is_token

SHOWN = 80

MANY_TEXTS = 50
"""Texts that are looked for in all the data of one pass; others have to wait for the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A text that is no plain token, in lower case, and the service (and instance) that registered it."""

    service: str
    field: str
    text: str
    instance: str = ""

    def fault(self, violation: Violation) -> Fault:
        """Return what becomes known of the service that is left out."""
        return Fault(service=self.service, field=self.field, instance=self.instance, reason=sentence(violation))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why a service is left out, and what the verdict rests on besides the service's own answers.

    ``rivals`` are the services whose answers it rests on as well, None for all there are. ``line`` is the template's
    line that cannot hold its value, and in which way, for it may be the line that is at fault.
    """

    fault: Fault
    rivals: frozenset[str] | None = frozenset()
    line: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A service left out, and what that rests on: while it is the same, so is the verdict."""

    verdict: Verdict
    evidence: dict[AnyQuery, Answer | None]
    places: tuple[Place | None, ...]

    def holds(self, snapshot: Snapshot, places: tuple[Place | None, ...]) -> bool:
        """Whether nothing has changed that could clear the service."""
        return places == self.places and all(
            reads_alike(snapshot.get(query), answer) for query, answer in self.evidence.items()
        )

    def awaited(self, snapshot: Snapshot) -> Iterator[AnyQuery]:
        """Yield the queries without answer that may clear the service; of all there are some may be spare."""
        for query, answer in self.evidence.items():
            if snapshot.get(query) is None and (answer is not None or self.verdict.rivals is not None):
                yield query


def upheld(held: Mapping[str, Held]) -> dict[str, Held]:
    """Return the verdicts but for those in favour of a service that is left out itself."""
    return {name: one for name, one in held.items() if not (one.verdict.rivals or frozenset()) & held.keys()}


def held_by_line(held: Mapping[str, Held]) -> dict[tuple[str, str], set[str]]:
    """Return the services left out for each line that cannot hold their values."""
    lines: dict[tuple[str, str], set[str]] = {}
    for name, one in held.items():
        lines.setdefault(one.verdict.line, set()).add(name)
    return lines


def sentence(violation: Violation) -> str:
    """Return why a value may not be printed, safe to print itself."""
    return f"{violation.where}: {printable(violation.text, SHOWN)!r} {violation.reason}"


def holders(run: Run, is_plain: Callable[[str], bool] = is_token) -> tuple[Holder, ...]:
    """Return every text in the answers that the run used which could not be printed as it stands."""
    return tuple(dict.fromkeys(holder for holder in texts(run) if not is_plain(holder.text)))


def texts(run: Run) -> Iterator[Holder]:
    """Yield every text in the answers that the run used, and whose it is."""
    for answer in run.used.values():
        for item in answer.value if answer is not None else ():
            yield from _held_by(item)


def _held_by(item: object) -> Iterator[Holder]:
    if not isinstance(item, Service | Instance):
        return
    instance = item.id if isinstance(item, Instance) else ""
    for name in item.__struct_fields__:
        for field, text in _texts(name, getattr(item, name)):
            yield Holder(service=item.name, field=field, text=text.casefold(), instance=instance)


def _texts(field: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield the texts in a field's value, with the field's name as it may be shown."""
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, Mapping):
        for key, text in value.items():
            yield f"{field} key", key
            yield f"{field} {printable(key, SHOWN)!r}", text
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(field, item)
    elif isinstance(value, Check):
        for name in value.__struct_fields__:
            yield from _texts(field, getattr(value, name))


def read_last(violations: Sequence[Violation], known: Sequence[Holder]) -> list[tuple[Violation, Holder]]:
    """Return the violations whose very text the service read last holds: there is nothing more to find out."""
    held = {(holder.service, holder.text): holder for holder in reversed(known)}
    found = ((violation, held.get((violation.service or "", violation.text.casefold()))) for violation in violations)
    return [(violation, holder) for violation, holder in found if holder is not None]


def told_by_text(violations: Sequence[Violation], known: Sequence[Holder]) -> list[tuple[Violation, Holder]]:
    """Return the violations with a piece that one service alone holds, and that service."""
    told: list[tuple[Violation, Holder]] = []
    for violation in list(dict.fromkeys(violations))[:MANY_TEXTS]:
        found = owners(violation, known)
        services: dict[str, set[str]] = {}
        for holder in found:
            services.setdefault(holder.text, set()).add(holder.service)
        told += [(violation, holder) for holder in found if len(services[holder.text]) == 1]
    return told


def owners(violation: Violation, known: Sequence[Holder]) -> tuple[Holder, ...]:
    """Return who may own the text: those who hold it, or pieces of it that are not part of longer pieces.

    Case does not count, since a template may have changed it. Where the service read last is among them, it alone.
    """
    text = violation.text.casefold()
    within = [holder for holder in known if holder.text in text and (holder.text or not text)]
    pieces = {holder.text for holder in within}
    longest = {piece for piece in pieces if not any(piece in other for other in pieces - {piece})}
    found = tuple(holder for holder in within if holder.text in longest)
    return tuple(holder for holder in found if holder.service == violation.service) or found


def lost_claims(runs: Iterable[Run]) -> dict[str, Verdict]:
    """Return who has to go because another service holds what it claims.

    Services that were registered first hold their claims first; where that is unknown the name decides.
    """
    runs = tuple(runs)
    claims: dict[str, set[tuple[str, str]]] = {}
    for run in runs:
        for claim in run.claims:
            claims.setdefault(claim.service, set()).add((claim.kind, claim.value))
    if len(set().union(*claims.values())) == sum(map(len, claims.values())):
        return {}
    taken: dict[tuple[str, str], str] = {}
    lost_by: dict[str, Verdict] = {}
    for service in sorted(claims, key=lambda name: (_registered(runs, name), name)):
        lost = sorted(claims[service] & taken.keys())
        if lost:
            winners = frozenset(taken[claim] for claim in lost)
            lost_by[service] = Verdict(fault=_lost(service, *lost[-1], taken[lost[-1]]), rivals=winners)
        else:
            taken |= dict.fromkeys(claims[service], service)
    return lost_by


def _lost(service: str, kind: str, value: str, winner: str) -> Fault:
    what = f"{printable(value, SHOWN)} belongs to service {printable(winner, SHOWN)!r}, which came first"
    return Fault(service=service, field=printable(kind, SHOWN), reason=what)


def _registered(runs: Iterable[Run], service: str) -> float:
    known = [created for run in runs if (created := run.registered(service)) is not None]
    return min(known, default=float("inf"))


def evidence(verdict: Verdict, runs: Iterable[Run]) -> dict[AnyQuery, Answer | None]:
    """Return the answers that a verdict rests on: all, or all but those about services that have no part in it."""
    about = None if verdict.rivals is None else verdict.rivals | {verdict.fault.service}
    return {
        query: answer
        for run in runs
        for query, answer in run.used.items()
        if about is None or not isinstance(query, ServiceQuery) or query.name in about
    }
