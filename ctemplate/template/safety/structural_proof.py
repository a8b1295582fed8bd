"""The proof that a rendered text contains data only as values; else the owners of the data that violate it.

Reads passes and their texts, and makes no pass but by the trial that it is given. Must not know where the text goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import replace

from ctemplate.core.errors import TemplateError, printable
from ctemplate.core.model import Rejection
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.authority import KnownRoutes
from ctemplate.nginx.language.scoped_names import Name, are_alike, beginning
from ctemplate.nginx.language.unique_names import Clash, Uses, format_use, is_address, is_refused_twice
from ctemplate.nginx.language.value_check import MisplacedValue, UnreadableText, examine, names_used
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template.safety.precedence import LastLive, Party, Rank, rank_of_party
from ctemplate.template.safety.print_owners import PrintOwners, Trial, first_registered
from ctemplate.template.safety.proven_parts import Parts, as_bytes
from ctemplate.template.safety.quarantine import (
    SHOWN_LENGTH,
    Passing,
    QuarantineVerdict,
)
from ctemplate.template.safety.render_pass import Owner, Run
from ctemplate.template.safety.tainted_text import TaintedText, pieces, shadow_of

Had = Callable[[Collection[Name]], Mapping[Name, AbstractSet[str]]]
"""Returns which services had each of some names in the last good rendering, where that is known."""


def unproven(
    text: str,
    run: Run,
    parts: Parts,
    *,
    source: str,
    place: ConfigPlace,
    known: KnownRoutes,
    trial: Trial,
    before: LastLive | None = None,
    had: Had = lambda _names: {},
    is_alone: bool = True,
) -> dict[Owner, QuarantineVerdict]:
    """Return the owners of values that change the structure of a pass's text, or that claim others' names.

    Unless the text ``is_alone`` in its group, ``silent_conflicts`` decides about names that nginx does not refuse.

    ``parts`` are those of the template's last text: parts that are unchanged are not proven again. ``known`` are the
    targets of nginx that are permitted besides the text's own upstreams, ``before`` is what was live, and ``had`` tells
    who had a name then. ``trial`` makes the pass again with more services left out. Raises TemplateError where a value
    has no owner, or where nothing can be proven and the text is certainly nginx's.
    """
    shadow = shadow_of(text)
    if not isinstance(text, TaintedText) or parts.are_valid(str(text), shadow, place, known):
        return {}  # text without placeholders contains no data
    whole = pieces(str(text), shadow)
    if whole is None:
        if not place.is_certain:
            return {}
        raise TemplateError(source, "cannot tell values from its own text, which holds control characters")
    try:
        report = parts.report or examine(as_bytes(whole), inside=place.inside, taken=place.taken, known=known)
    except UnreadableText as exc:
        if not place.is_certain:
            return {}  # another format, whose text resembles nginx's
        what = f"not nginx's language with plain values ({exc}); a value within quotes needs no filter quote"
        raise TemplateError(source, what) from exc
    clashes = [clash for clash in report.clashes if is_alone or clash.is_refused]
    if not report.findings and not clashes:
        return {}
    author = PrintOwners(run, before, trial)
    unknown = author.confirm(
        {finding.data for finding in report.findings}.union(*(data for one in clashes for data in one.data))
    )
    findings = [one for one in report.findings if one.data not in unknown]
    found = _verdicts(findings, _of_known(clashes, unknown), author, place, had)
    return found or _verdicts(report.findings, clashes, author, place, had)


def _of_known(clashes: Sequence[Clash], unknown: frozenset[int]) -> list[Clash]:
    """Return the clashes between uses whose owners are known."""
    uses = ((clash, tuple(data for data in clash.data if not data & unknown)) for clash in clashes)
    return [replace(clash, data=data) for clash, data in uses if len(data) > 1]


def _verdicts(
    findings: Sequence[MisplacedValue], clashes: Sequence[Clash], author: PrintOwners, place: ConfigPlace, had: Had
) -> dict[Owner, QuarantineVerdict]:
    return _misplaced_values(findings, author) or _name_conflicts(clashes, author, place, had)


def _misplaced_values(findings: Sequence[MisplacedValue], author: PrintOwners) -> dict[Owner, QuarantineVerdict]:
    verdicts: dict[Owner, QuarantineVerdict] = {}
    for finding in findings:
        violation, holder = author.violation(finding.data, finding.reason), author.holder(finding.data)
        rivals = None if finding.rests_on_others else frozenset[str]()
        verdict = QuarantineVerdict(
            rejection=holder.rejection(violation), rivals=rivals, line=violation.where, passing=_passing(finding)
        )
        verdicts.setdefault(holder.owner, verdict)
    return verdicts


def _passing(finding: MisplacedValue) -> Passing:
    """Return the evidence that other services succeed at a line; where their values decide, few may print there."""
    if finding.rests_on_others:
        return Passing.ANYWHERE
    return Passing.NEVER if finding.is_misplaced else Passing.PRINTS


class _Contest:
    """A name with the parties of each use, none for a template's own text; ``why`` none of them has the name.

    ``line`` is the template's line where the fault is that of a single party. ``is_own_fault``: one service may not use
    the name twice either. ``things`` are keys and nodes that use the name, and count as the template's own text unless
    a service had the name before.
    """

    def __init__(
        self,
        name: Name,
        uses: Sequence[AbstractSet[Party]],
        why: str,
        line: str = "",
        *,
        is_own_fault: bool = False,
        things: AbstractSet[str] = frozenset(),
    ) -> None:
        self.name, self.uses, self.why, self.line, self.things = name, uses, why, line, things
        self.parties: AbstractSet[Party] = frozenset().union(*uses)
        self._is_own_fault = is_own_fault
        self._sharing: AbstractSet[Party] = frozenset().union(*(use for use in uses if len(use) > 1))

    @property
    def is_taken(self) -> bool:
        """Whether no service may have the name."""
        return bool(self.line) or not all(self.uses)

    def are_rivals(self, party: Party, other: Party) -> bool:
        """Whether only one of two parties may have the name: a port of ``http`` is one use that several share."""
        if party == other or (party.service == other.service and not self._is_own_fault):
            return False
        return not {party, other} <= self._sharing or sum(party in use or other in use for use in self.uses) > 1


def _name_conflicts(
    clashes: Sequence[Clash], author: PrintOwners, place: ConfigPlace, had: Had
) -> dict[Owner, QuarantineVerdict]:
    """Return who loses a name; a service that uses an upstream or a port twice itself loses it."""
    contests: list[_Contest] = []
    for clash in clashes:
        uses = [author.parties(data) for data in clash.data]
        parties = frozenset[Party]().union(*uses)
        is_own_fault = clash.is_own_fault
        if not all(uses) or len({party if is_own_fault else party.service for party in parties}) > 1:
            things, why = _things((data, author) for data in clash.data), _taken_by(clash, place)
            contests.append(_Contest(clash.name, uses, why, is_own_fault=is_own_fault, things=things))
        elif (
            is_own_fault
            and all(party.instances for party in parties)
            and _are_apart(readers := _readers(clash, author))
        ):
            why = _taken_by(clash, place)
            contests.append(_Contest(clash.name, readers, why, is_own_fault=True))
        elif is_own_fault:
            why = "is there twice"
            contests.append(_Contest(clash.name, uses, why, author.violation(next(iter(clash.data[0])), why).where))
    return _losers(contests, author.rank, had)


def _readers(clash: Clash, author: PrintOwners) -> list[AbstractSet[Party]]:
    return [author.readers(data) for data in clash.data]


def _are_apart(uses: Sequence[AbstractSet[Party]]) -> bool:
    """Whether each use has parties, and none has those of another."""
    return all(uses) and len(set(map(frozenset, uses))) == len(uses)


def _losers(contests: Sequence[_Contest], rank_of: Callable[[Party], Rank], had: Had) -> dict[Owner, QuarantineVerdict]:
    """Return who loses a name: all to the configuration itself, else all but the one that had it, or but the first.

    Live services precede, then age decides. A service that loses one name leaves all its other names to the others.
    Keys and nodes are the configuration itself, but lose a name that a service had.
    """
    kept = had(frozenset(one.name for one in contests if one.things or not one.is_taken))
    if taking := {thing: found for one in contests for thing, found in _taken_from_service(one, kept)}:
        return taking
    by_party: dict[Party, list[_Contest]] = {}
    for contest in contests:
        for party in contest.parties:
            by_party.setdefault(party, []).append(contest)
    winners: dict[Name, Party] = {}
    losers: set[Party] = set()
    verdicts: dict[Owner, QuarantineVerdict] = {}
    for party in sorted(by_party, key=lambda one: (rank_of(one), one)):
        own = by_party[party]
        rivals = {one.name: _rival(one, party, kept, losers) or _winner(one, party, winners) for one in own}
        lost = next((one for one in own if one.is_taken or rivals[one.name]), None)
        if lost is None:
            winners |= dict.fromkeys(rivals, party)
            continue
        losers.add(party)
        for owner in party.owners:
            verdicts[owner] = _lost(lost, owner, None if lost.is_taken else rivals[lost.name])
    return verdicts


def _taken_from_service(
    contest: _Contest, kept: Mapping[Name, AbstractSet[str]]
) -> Iterator[tuple[Owner, QuarantineVerdict]]:
    """Yield the keys and nodes that use a name which a service had, and still uses."""
    holders = [party for party in contest.parties if party.service in kept.get(contest.name, ())]
    for thing in contest.things if holders else ():
        yield Owner("", thing=thing), _lost(contest, Owner("", thing=thing), min(holders))


def _rival(
    contest: _Contest, party: Party, kept: Mapping[Name, AbstractSet[str]], lost: Collection[Party]
) -> Party | None:
    """Return one of another service that had a name, still uses it and has not lost another; None if there is none."""
    holders = kept.get(contest.name, frozenset())
    if party.service in holders:
        return None
    others = (one for one in contest.parties if one.service in holders and one not in lost)
    return min((one for one in others if contest.are_rivals(party, one)), default=None)


def _winner(contest: _Contest, party: Party, winners: Mapping[Name, Party]) -> Party | None:
    """Return another party that has got a name already, which the party may not share with it."""
    winner = winners.get(contest.name)
    return winner if winner is not None and contest.are_rivals(party, winner) else None


def _lost(contest: _Contest, owner: Owner, winner: Party | None) -> QuarantineVerdict:
    rivals: frozenset[str] | None = frozenset() if contest.line else None
    why = contest.why
    if winner is not None:
        name = winner.service
        rivals, why = frozenset({name}), f"belongs to service {printable(name, SHOWN_LENGTH)!r}, which came first"
    reason = f"{printable(format_use(contest.name), SHOWN_LENGTH)} {why}"
    rejection = Rejection(service=owner.service, instance=owner.instance, field=contest.name[0], reason=reason)
    return QuarantineVerdict(rejection=rejection, rivals=rivals, line=contest.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenText:
    """A proven text of a group: the pass that made it, with a trial of it, its place, and the names in its parts."""

    run: Run
    trial: Trial
    place: ConfigPlace
    uses: Sequence[Uses]


def silent_conflicts(
    texts: Sequence[ProvenText], before: LastLive | None = None, had: Had = lambda _names: {}
) -> dict[Owner, QuarantineVerdict]:
    """Return who loses a name that is used twice in a group's texts without being refused by nginx.

    Among servers of one name the first in the order of the files counts, of a variable's values the last.
    """
    found: dict[Name, list[tuple[int, frozenset[int]]]] = {}
    for at, text in enumerate(texts):
        for name, data in (use for part in text.uses for use in part.names if not is_refused_twice(use[0])):
            found.setdefault(name, []).append((at, data))
    clashes = {name: uses for name, uses in found.items() if len(uses) > 1 and any(data for _, data in uses)}
    if not clashes:
        return {}
    authors = [PrintOwners(text.run, before, text.trial) for text in texts]
    for at, author in enumerate(authors):
        author.confirm({number for uses in clashes.values() for of, data in uses if of == at for number in data})

    def rank_of(party: Party) -> Rank:
        return rank_of_party(party, first_registered((text.run for text in texts), party), before)

    contests: list[_Contest] = []
    for name, used in clashes.items():
        uses = [authors[at].parties(data) for at, data in used]
        if not all(uses) or len({party.service for party in frozenset[Party]().union(*uses)}) > 1:
            why = _taken_by(Clash(name=name, data=()), texts[used[0][0]].place)
            contests.append(_Contest(name, uses, why, things=_things((data, authors[at]) for at, data in used)))
    return _losers(contests, rank_of, had)


def name_owners(
    text: str, names: Collection[Name], run: Run, place: ConfigPlace, *, known: KnownRoutes, trial: Trial
) -> dict[Name, AbstractSet[str]]:
    """Return which services have each of some names in a pass's text; a path in any server that shares a host."""
    whole = pieces(str(text), shadow_of(text)) if isinstance(text, TaintedText) else None
    if whole is None:
        return {}
    alike: dict[Name, list[Name]] = {}
    for name in names:
        alike.setdefault(beginning(name), []).append(name)
    found: dict[Name, set[int]] = {}
    for name, data in names_used(as_bytes(whole), alike, inside=place.inside, known=known):
        for one in alike.get(beginning(name), ()):
            if are_alike(one, name):
                found.setdefault(one, set()).update(data)
    author = PrintOwners(run, None, trial)
    author.confirm(frozenset().union(*found.values()))
    return {name: _services(data, author) for name, data in found.items()}


def _services(data: Collection[int], author: PrintOwners) -> AbstractSet[str]:
    """Return the services that values belong to; see ``_things`` for those of keys and nodes."""
    return frozenset(author.holder(number).service for number in data) - {""}


def _things(uses: Iterable[tuple[Collection[int], PrintOwners]]) -> AbstractSet[str]:
    """Return the keys and nodes that alone make a use of a name; none if the template's own text uses it as well."""
    found: set[str] = set()
    for data, author in uses:
        holders = [author.holder(number) for number in data]
        if not any(holder.service for holder in holders):
            if not all(holder.thing for holder in holders) or not holders:
                return frozenset()
            found.update(holder.thing for holder in holders)
    return found


def _taken_by(clash: Clash, place: ConfigPlace) -> str:
    if is_address(clash.name):
        return "is an address, which may not be the name of an upstream"
    file = place.files.get(clash.name)
    return "belongs to the configuration itself" if file is None else f"is used in {file}"
