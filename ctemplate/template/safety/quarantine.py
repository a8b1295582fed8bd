"""Attribution: the service that a forbidden text came from, and services that claim what another one holds.

Pure: reads runs, renders nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from ctemplate.core.errors import TemplateError, printable
from ctemplate.core.model import (
    Answer,
    Instance,
    OwnedEntry,
    Query,
    Rejection,
    Service,
    Snapshot,
    Status,
    reads_alike,
)
from ctemplate.core.values import dataclass
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import named_service
from ctemplate.template.safety.precedence import LastLive, rank
from ctemplate.template.safety.render_pass import Claim, Owner, Partly, Run, Violation
from ctemplate.template.safety.tainted_text import NO_TEXT, is_token

SHOWN_LENGTH = 80

PORT_KINDS = {"tcp port": "tcp", "udp port": "udp"}
"""The tag by which templates list services with such a port, by the rejection's field."""
REFUSED = "refused"
"""The field of a rejection for data that a program refused."""

BROKEN = "template"
"""The field of a fault that means that the template itself failed."""

SIZE = "size"
"""The field of a rejection for a service that uses up a shared limit."""

MANY_TEXTS = 50
"""Texts, at most, that are searched for in all data of one pass; others wait for the next pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A text that is no plain token, in lower case, and the service (and instance), or thing, that owns it."""

    service: str
    field: str
    text: str
    node: str = ""
    instance: str = ""
    thing: str = ""

    @property
    def owner(self) -> Owner:
        """The owner of the text."""
        return Owner(self.service, self.node, self.instance, thing=self.thing)

    def rejection(self, violation: Violation) -> Rejection:
        """Return the rejection of the service that is left out."""
        return Rejection(service=self.service, field=self.field, instance=self.instance, reason=sentence(violation))


class Passing(enum.Enum):
    """The evidence that a service succeeds at a line for which another was left out."""

    PRINTS = "it prints there"
    ANYWHERE = "it prints anywhere"
    READS = "it is read there"
    NEVER = "no value may stand there"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineVerdict:
    """Why a service, or a part of it, is left out, and what that depends on besides the service's own answers.

    ``rivals`` are the services on whose answers it depends as well, None for all. ``line`` is the template's line that
    cannot print the value, since the line itself may be wrong; empty where another service's claim decides. ``passing``
    is the evidence required of services that succeed there. ``line_fits``: a program that refused it accepts the line
    with other data.
    """

    rejection: Rejection
    rivals: frozenset[str] | None = frozenset()
    line: str = ""
    passing: Passing = Passing.PRINTS
    line_fits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One that is left out, and what that depends on: while that is unchanged, so is the verdict.

    ``is_refused``: by a program that reads the texts; the refusal decides how long that lasts. ``despite`` are rivals
    that had what it wants although a part of them was left out already: only the whole rival leaves that to it.
    """

    verdict: QuarantineVerdict
    evidence: dict[Query, Answer | None]
    places: tuple[ConfigPlace | None, ...]
    is_refused: bool = False
    despite: frozenset[str] = frozenset()

    def lasts(self, snapshot: Snapshot, places: tuple[ConfigPlace | None, ...]) -> bool:
        """Whether nothing has changed that could clear a service whose data cannot be printed."""
        return not self.is_refused and self.holds(snapshot, places)

    def holds(self, snapshot: Snapshot, places: tuple[ConfigPlace | None, ...]) -> bool:
        """Whether nothing has changed that could clear the service."""
        return places == self.places and all(
            reads_alike(snapshot.get(query), answer) for query, answer in self.evidence.items()
        )

    def awaited(self, snapshot: Snapshot) -> Iterator[Query]:
        """Yield the queries without an answer that may clear the service; some may not be needed."""
        for query, answer in self.evidence.items():
            if snapshot.get(query) is None and (answer is not None or self.verdict.rivals is not None):
                yield query


def still_valid(held: Mapping[Owner, Held]) -> dict[Owner, Held]:
    """Return the verdicts, except those in favour of a service that is left out itself, or has lost the same port.

    A service that is left out entirely needs no verdict on a part.
    """
    whole = {owner: one for owner, one in held.items() if owner.is_whole or owner.whole not in held}
    return {owner: one for owner, one in whole.items() if not any(_is_out(rival, one, held) for rival in _rivals(one))}


def _rivals(held: Held) -> frozenset[str]:
    return held.verdict.rivals or frozenset()


def _is_out(rival: str, one: Held, held: Mapping[Owner, Held]) -> bool:
    return Owner(rival) in held or (rival not in one.despite and _lost_part(rival, one.verdict, held))


def _lost_part(rival: str, verdict: QuarantineVerdict, held: Container[Owner]) -> bool:
    """Whether a rival is left out of what is listed by the tag of the port that a verdict is about."""
    tag = PORT_KINDS.get(verdict.rejection.field)
    return tag is not None and Owner(rival, tag=tag) in held


def narrowed(found: Mapping[Owner, QuarantineVerdict], held: Mapping[Owner, Held]) -> dict[Owner, QuarantineVerdict]:
    """Return the verdicts by what they leave out.

    A service without a claim to its port is left out of listings by the protocol's tag, and entirely if that is not
    enough: another template, or another loop, may render it without the port.
    """
    return dict(_narrowed(owner, verdict, held) for owner, verdict in found.items())


def _narrowed(owner: Owner, verdict: QuarantineVerdict, held: Mapping[Owner, Held]) -> tuple[Owner, QuarantineVerdict]:
    tag = PORT_KINDS.get(verdict.rejection.field)
    if tag is None or not owner.is_whole:
        return owner, verdict
    part, of_part = owner._replace(tag=tag), f" (of what is listed by tag {tag!r} alone)"
    if (known := held.get(part)) is not None:
        rejection = known.verdict.rejection
        return owner, _with_reason(known.verdict, rejection.reason.removesuffix(of_part))
    return part, _with_reason(verdict, verdict.rejection.reason + of_part)


def owner_of_claim(claim: Claim) -> Owner | None:
    """Return the part that is left out first where a claim is lost, if that is not the whole service."""
    tag = PORT_KINDS.get(claim.kind)
    return None if tag is None else Owner(claim.service, tag=tag)


def _with_reason(verdict: QuarantineVerdict, reason: str) -> QuarantineVerdict:
    return replace(verdict, rejection=msgspec.structs.replace(verdict.rejection, reason=reason))


def partly(held: Mapping[Owner, Held]) -> Partly:
    """Return what is left out of services that stay: single instances, and what is listed by a tag."""
    instances = frozenset(owner for owner in held if owner.is_instance)
    tags: set[tuple[str, str]] = set()
    for service in {owner.service for owner in instances}:
        known = _instances(service, (one.evidence for owner, one in held.items() if owner.service == service))
        kept = {tag for one in known if Owner.of(one) not in instances for tag in one.tags}
        tags.update((service, tag) for one in known for tag in one.tags if tag not in kept)
    return Partly(
        instances=instances,
        tags=frozenset(tags),
        services=frozenset(owner.service for owner in instances),
        unlisted=frozenset((owner.service, owner.tag) for owner in held if owner.tag),
    )


def widened(held: Mapping[Owner, Held]) -> dict[Owner, Held]:
    """Return the verdicts; a service without any usable instance left is left out entirely."""
    found = {owner: one for owner, one in held.items() if owner.is_whole or owner.whole not in held}
    for service in {owner.service for owner in found if owner.is_instance}:
        own = sorted(owner for owner in found if owner.service == service and owner.is_instance)
        known = _instances(service, (found[owner].evidence for owner in own))
        if all(Owner.of(one) in found for one in known if one.status is not Status.CRITICAL):
            first = found[min(own, key=lambda owner: not found[owner].is_refused)]  # the refusal decides how long
            found = {owner: one for owner, one in found.items() if owner.service != service}
            found[Owner(service)] = first
    return found


def _instances(service: str, evidence: Iterable[Mapping[Query, Answer | None]]) -> list[Instance]:
    """Return the instances of a service in the answers that verdicts rest on."""
    return [
        item
        for answers in evidence
        for answer in answers.values()
        if answer is not None
        for item in answer.value
        if isinstance(item, Instance) and item.name == service
    ]


def sentence(violation: Violation) -> str:
    """Return why a value may not be printed, safe to print itself."""
    return f"{violation.where}: {printable(violation.text, SHOWN_LENGTH)!r} {violation.reason}"


def holders(run: Run, is_plain: Callable[[str], bool] = is_token) -> tuple[Holder, ...]:
    """Return every text in the run's answers that cannot be printed unquoted."""
    return tuple(dict.fromkeys(holder for holder in texts(run) if not is_plain(holder.text)))


def texts(run: Run, service: str | None = None) -> Iterator[Holder]:
    """Yield every text in the run's answers, or those of one service, with its owner."""
    for answer in run.used.values():
        for item in answer.value if answer is not None else ():
            if service is None or (isinstance(item, Service | Instance) and item.name == service):
                yield from _held_by(item)


def _held_by(item: object) -> Iterator[Holder]:
    if isinstance(item, OwnedEntry):
        for field, text in item.texts():
            yield Holder(service="", field=field, text=text.casefold(), thing=item.owner_name())
    if not isinstance(item, Service | Instance):
        return
    for name in item.__struct_fields__:
        own = Owner(item.name) if name == "name" else Owner.of(item)
        for field, text in _texts(name, getattr(item, name)):
            yield Holder(service=item.name, field=field, text=text.casefold(), node=own.node, instance=own.instance)


def _texts(field: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield the texts in a field's value, with the field's name as it may be shown."""
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, Mapping):
        for key, text in value.items():
            yield f"{field} key", key
            yield from _texts(f"{field} {printable(key, SHOWN_LENGTH)!r}", text)
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(field, item)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _texts(field, getattr(value, name))


def read_last(violations: Sequence[Violation], known: Sequence[Holder]) -> list[tuple[Violation, Holder]]:
    """Return the violations whose exact text the service read last holds: these need no search."""
    held: dict[tuple[str, str], list[Holder]] = {}
    for holder in known:
        held.setdefault((holder.service, holder.text), []).append(holder)
    return [
        (violation, holder)
        for violation in violations
        for holder in nearest(violation.owner, held.get((violation.service or "", violation.text.casefold()), ()))
    ]


def nearest(read: Owner | None, found: Sequence[Holder]) -> Sequence[Holder]:
    """Return which of a text's holders, all of one service, printed it: the one read last, if it is among them.

    A service gets its tags from its instances, so these are the owners. Its name is its own.
    """
    own = [holder for holder in found if holder.owner == read and (holder.instance or holder.thing)]
    if own:
        return own[:1]
    if any(holder.field == "name" for holder in found):
        return [holder for holder in found if holder.field == "name"][:1]
    return [holder for holder in found if holder.instance] or found


def made_from(violation: Violation, run: Run) -> Owner | None:
    """Return the thing of no service that a text most likely came from; None where there is none."""
    if violation.owner is not None and violation.owner.thing:
        return violation.owner
    text = violation.text.casefold()
    found = (holder.owner for holder in texts(run) if holder.thing and text and text in holder.text)
    return next(found, None)


def attribute_by_text(violations: Sequence[Violation], known: Sequence[Holder]) -> list[tuple[Violation, Holder]]:
    """Return the violations with a piece that one service alone holds, and that service."""
    attributed: list[tuple[Violation, Holder]] = []
    for violation in list(dict.fromkeys(violations))[:MANY_TEXTS]:
        found = owners(violation, known)
        by_text: dict[str, list[Holder]] = {}
        for holder in found:
            by_text.setdefault(holder.text, []).append(holder)
        for holders_of in by_text.values():
            if len({holder.service for holder in holders_of}) == 1:
                attributed += [(violation, holder) for holder in nearest(violation.owner, holders_of)]
    return attributed


def owners(violation: Violation, known: Sequence[Holder]) -> tuple[Holder, ...]:
    """Return the possible owners of the text: those that hold it, or pieces of it that are not part of longer pieces.

    Case is ignored, since a template may have changed it. If the service read last is among them, only that one.
    """
    text = violation.text.casefold()
    within = [holder for holder in known if holder.text in text and (holder.text or not text)]
    pieces = {holder.text for holder in within}
    longest = {piece for piece in pieces if not any(piece in other for other in pieces - {piece})}
    found = tuple(holder for holder in within if holder.text in longest)
    return tuple(holder for holder in found if holder.service == violation.service) or found


def lost_claims(runs: Iterable[Run], before: LastLive | None = None) -> dict[Owner, QuarantineVerdict]:
    """Return the services to leave out because another service holds what they claim.

    The service that had it in the last good rendering keeps it; else what is live precedes what is not, and the
    service registered first holds a claim; where that is unknown the name decides.
    """
    runs = tuple(runs)
    claims: dict[str, set[tuple[str, str]]] = {}
    for run in runs:
        for claim in run.claims:
            claims.setdefault(claim.service, set()).add((claim.kind, claim.value))
    if len(set().union(*claims.values())) == sum(map(len, claims.values())):
        return {}
    taken = _kept_claims(claims, before)
    lost_by: dict[Owner, QuarantineVerdict] = {}
    for service in sorted(claims, key=lambda name: rank(name, _registered(runs, name), before)):
        others = (claim for claim in claims[service] & taken.keys() if taken[claim] != service)
        lost = sorted(claim for claim in others if Owner(taken[claim]) not in lost_by)
        if lost:
            winners = frozenset(taken[claim] for claim in lost)
            lost_by[Owner(service)] = QuarantineVerdict(
                rejection=_lost(service, *lost[-1], taken[lost[-1]]), rivals=winners
            )
        else:
            taken |= dict.fromkeys(claims[service], service)
    return lost_by


def _kept_claims(claims: Mapping[str, set[tuple[str, str]]], before: LastLive | None) -> dict[tuple[str, str], str]:
    """Return who keeps a claim, because the last good rendering contained it as that service's own."""
    if before is None:
        return {}
    return {
        claim: service
        for service, own in claims.items()
        for claim in own
        if before.had(Claim(kind=claim[0], value=claim[1], service=service))
    }


def _lost(service: str, kind: str, value: str, winner: str) -> Rejection:
    what = f"{printable(value, SHOWN_LENGTH)} belongs to service {printable(winner, SHOWN_LENGTH)!r}, which came first"
    return Rejection(service=service, field=printable(kind, SHOWN_LENGTH), reason=what)


def _registered(runs: Iterable[Run], service: str) -> float:
    known = [created for run in runs if (created := run.registered(service)) is not None]
    return min(known, default=float("inf"))


def evidence(verdict: QuarantineVerdict, runs: Iterable[Run]) -> dict[Query, Answer | None]:
    """Return the answers that a verdict depends on: all, or all except those about unrelated services."""
    about = None if verdict.rivals is None else verdict.rivals | {verdict.rejection.service}
    return {
        query: answer
        for run in runs
        for query, answer in run.used.items()
        if about is None or (name := named_service(query)) is None or name in about
    }


def held_by(
    verdict: QuarantineVerdict,
    runs: Sequence[Run],
    snapshot: Snapshot,
    places: tuple[ConfigPlace | None, ...],
    held: Container[Owner],
) -> Held:
    """Return one left out for a verdict, with what it rests on; ``held`` was left out of these passes already."""
    rests_on = {query: snapshot.get(query) for query in evidence(verdict, runs)}
    despite = frozenset(rival for rival in verdict.rivals or () if _lost_part(rival, verdict, held))
    return Held(verdict=verdict, evidence=rests_on, places=places, despite=despite)


def thing_error(thing: str, verdict: QuarantineVerdict, where: str) -> TemplateError:
    """Return the error for a thing that cannot be left out; it is named unless the template broke by itself."""
    reason = verdict.rejection.reason.removeprefix(f"{verdict.line}: ")
    is_named = verdict.rejection.field != BROKEN or NO_TEXT in reason
    return TemplateError(verdict.line or where, f"{thing}: {reason}" if is_named else reason)
