"""One guard for all queries: takes answers as they come, returns what may be shown.

What came is taken at once; what vanished is kept, beside it, until its loss is confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from ctemplate.guard.flaps import Flaps
from ctemplate.guard.hold import STUBBORN, Cause, Entry, Hold
from ctemplate.guard.losses import Histories, absent, is_in_use, is_large, key, missed, suspicion, verdict
from ctemplate.guard.policy import GuardPolicy, Policies
from ctemplate.guard.reports import EXPIRED, Report, begun, blinded, ended, seen
from ctemplate.guard.rights import is_blind, may_be_blind
from ctemplate.guard.servers import Rolls
from ctemplate.model import (
    Answer,
    AnyQuery,
    Doubt,
    Instance,
    InstancesQuery,
    PreparedQuery,
    Query,
    Roll,
    Servers,
    ServiceQuery,
    Status,
)

GRACE = 3.0  # seconds for a confirmation to come before a doubted loss counts as held and is told
RIGHTS_RECHECK = 10.0  # seconds between two looks whether lost rights are back …
RIGHTS_RECHECKED = 20  # … at so many holds at most
RECHECK = 30.0  # seconds after a confirmation failed until the next answer asks for another one
SETTLING = 60.0  # seconds after a break: an agent that starts takes every check for failed until it has run
MANY_NODES = 48  # of a doubted loss whose rights are asked for

BACK = "all is back"
CONFIRMED = "the loss is confirmed"
RELEASED = "released by the operator"
UNWANTED = "nobody needs it any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What outlives the process: a query's newest answer and its holds, their moments on the wall clock."""

    answer: Answer
    holds: tuple[Hold, ...] = ()


@dataclass(slots=True)
class Blind:
    """Since when a query has had none but empty first answers, and whether our rights to more are in question."""

    since: float
    is_open: bool
    is_told: bool = False


@dataclass(slots=True)
class Known:
    """A query's newest answer as it came, and what the guard made of it.

    ``is_fresh`` is False while the answer is a remembered one, ``is_shown`` while nothing of it may be shown yet.
    ``blind`` is a first answer that may be empty for lack of rights alone: nothing of it is shown, ever. Until
    ``settles_at``, what of the ``baseline``, the last answer before a break, fails together is a sign of trouble.
    """

    raw: Answer
    holds: tuple[Hold, ...] = ()
    flaps: Flaps = field(default_factory=Flaps)
    panic: Hold | None = None
    may_panic: bool = False
    is_fresh: bool = True
    is_shown: bool = True
    blind: Blind | None = None
    settles_at: float = -math.inf
    baseline: Answer | None = None


class Guard:
    """Holds or accepts. Without ``policies`` everything passes, as for a source that cannot be wrong."""

    def __init__(self, policies: Policies | None = None) -> None:
        self.policies = policies
        self._known: dict[AnyQuery, Known] = {}
        self._active: dict[AnyQuery, None] = {}  # those with holds or waits
        self._histories = Histories()
        self._rolls = Rolls()
        self._ended: list[tuple[Hold, str]] = []
        self._sighted: list[AnyQuery] = []

    # Answers

    def take(self, new: Answer, now: float) -> Answer | None:
        """Take a query's newest answer; return what may be shown, None where that must wait for a confirmation."""
        known = self._known.get(new.query)
        self._histories.reach(new)
        if self.policies is None:
            known = self._known[new.query] = Known(new)
        elif known is None or known.blind is not None:
            known = self._known[new.query] = self._first(new, None if known is None else known.blind, now)
        else:
            self._compare(known, _in_known_order(known.raw, new), self.policies.of(new.query), now)
        return self._show(known, now)

    def _first(self, new: Answer, blind: Blind | None, now: float) -> Known:
        """Return what is known with a first answer; one that is empty may be so because our token sees nothing."""
        if self.policies is None or self.policies.of(new.query).hold <= 0 or not may_be_blind(new, self.policies):
            self._sighted += [new.query] if blind is not None and blind.is_told else []
            return Known(new)
        return Known(new, blind=blind or Blind(now, is_open=not is_blind(new)))

    def _compare(self, known: Known, new: Answer, policy: GuardPolicy, now: float) -> None:
        before, shown, known.raw = _in_panic(known.raw, known.panic), _as_used(known), new
        known.is_shown, known.is_fresh = known.is_fresh, True
        if self._histories.note(before, new):
            self._reopen(Cause.UNSEEN)
        if before.session != new.session:
            known.baseline = before if now >= known.settles_at else known.baseline
            known.settles_at = now + min(SETTLING, policy.hold)
        self._expire(known, now)
        known.holds = tuple(self._still(hold, new, now) for hold in known.holds if self._is_missing(hold, new))
        if before.value is not new.value:
            is_settling = now < known.settles_at
            known.holds += _doubted(shown, new, policy, now)
            if isinstance(new.query, InstancesQuery):
                known.holds += _flipped(known, new, policy, now) if is_settling else ()
                known.flaps.note(before.value, new.value, 0.0 if is_settling else policy.readd, now)
                known.may_panic = known.may_panic or any(map(is_in_use, before.value))
        if not known.is_shown and not any(hold.is_open for hold in known.holds):
            known.is_shown = True

    def _expire(self, known: Known, now: float) -> None:
        self._ended += [(hold, EXPIRED) for hold in known.holds if hold.until <= now]
        known.holds = tuple(hold for hold in known.holds if hold.until > now)

    def _is_missing(self, hold: Hold, new: Answer) -> bool:
        is_missing = bool(missed(hold.entries, new.value))
        if not is_missing:
            self._ended.append((hold, BACK))
        return is_missing

    def _still(self, hold: Hold, new: Answer, now: float) -> Hold:
        is_open = hold.is_open or (hold.cause not in STUBBORN and now >= hold.judged_at + RECHECK)
        return replace(hold, entries=missed(hold.entries, new.value), is_open=is_open)

    def _reopen(self, cause: Cause) -> None:
        for query in self._active:
            known = self._known[query]
            known.holds = tuple(replace(hold, is_open=True) if hold.cause is cause else hold for hold in known.holds)

    def confirm(
        self, answer: Answer, now: float, *, may_read: bool | None, servers: Servers = frozenset()
    ) -> Answer | None:
        """Take a consistent read and judge the query's open holds by it; return what may be shown.

        ``may_read``: whether the token has the rights that the doubt named, None where Consul did not say. ``servers``:
        who answered, as far as that can be seen. A read that was overtaken by a newer answer judges nothing.
        """
        self.witness(Roll(dc=answer.query.dc, servers=servers, session=answer.session), now)
        known = self._known.get(answer.query)
        if known is None or (answer.session == known.raw.session and answer.index < known.raw.index):
            return None
        if known.blind is not None and known.blind.is_open and may_read is not False and not answer.filtered:
            known = self._known[answer.query] = Known(answer)
            return self._show(known, now)
        self.take(answer, now)
        known = self._known[answer.query]
        if known.blind is not None:
            known.blind.is_open = False
            return None
        judged = [(hold, self._judge(hold, answer, now, may_read=may_read, servers=servers)) for hold in known.holds]
        self._ended += [(hold, CONFIRMED) for hold, left in judged if left is None]
        known.holds = tuple(left for _, left in judged if left is not None)
        known.is_shown = True
        return self._show(known, now)

    def witness(self, seen: Roll, now: float) -> bool:
        """Take note of who answers for a datacenter; answer whether a later process should know."""
        holds = () if self.policies is None else (self.policies.default, *self.policies.services.values())
        return self._rolls.note(seen, now, patience=max((policy.hold for policy in holds), default=0.0))

    def _judge(self, hold: Hold, answer: Answer, now: float, *, may_read: bool | None, servers: Servers) -> Hold | None:
        if not hold.is_open:
            return hold
        cause = verdict(hold, answer, self._histories, self._rolls, may_read=may_read, servers=servers)
        if cause is None:
            return None
        limit = self.policies.of(hold.query).hold if self.policies else 0.0
        until = math.inf if cause is Cause.DENIED else hold.since + limit
        return replace(hold, cause=cause, until=until, is_open=False, judged_at=now)

    # What is shown

    def _show(self, known: Known, now: float) -> Answer | None:
        query, value = known.raw.query, known.raw.value
        if isinstance(query, InstancesQuery) and self.policies is not None:
            waiting = known.flaps.shown(value, now)
            value = _with_status(value, waiting) if waiting else value
        for hold in known.holds:
            value = _merged(value, hold.entries, query)
        if isinstance(query, InstancesQuery) and self.policies is not None:
            value = self._panicked(known, value, self.policies.of(query), now)
        if known.blind is not None:
            self._active[query] = None
            return None
        if known.is_fresh and (known.holds or known.panic or known.flaps.due_at(now) < math.inf):
            self._active[query] = None
        else:
            self._active.pop(query, None)
        if not known.is_shown:
            return None
        return known.raw if value is known.raw.value else msgspec.structs.replace(known.raw, value=value)

    def _panicked(self, known: Known, value: tuple[Any, ...], policy: GuardPolicy, now: float) -> tuple[Any, ...]:
        """Show the failing instances as passing, when all of them fail and the policy says so."""
        failing = tuple(instance for instance in value if instance.status is Status.CRITICAL)
        if not policy.panic or not failing or any(map(is_in_use, value)):
            if known.panic is not None:
                self._ended.append((known.panic, "not all fail any more" if value else "all are gone"))
            known.panic, known.may_panic = None, known.may_panic and not any(map(is_in_use, value))
            return value
        if not known.may_panic:
            return value
        begun_at = known.panic.since if known.panic else now
        hold = known.panic or Hold(
            query=known.raw.query, entries=failing, cause=Cause.PANIC, since=begun_at, until=math.inf, is_open=False
        )
        known.panic = replace(hold, entries=failing)
        return _with_status(value, dict.fromkeys(map(key, failing), Status.PASSING))

    # Time and the operator

    def due_at(self, now: float) -> float:
        """Return the moment at which ``review`` has something to do, infinity for never."""
        due = math.inf
        for query in self._active:
            known = self._known[query]
            due = min(due, known.flaps.due_at(now))
            if known.blind is not None and not known.blind.is_told and not known.blind.is_open:
                due = min(due, known.blind.since + GRACE)
            for hold in (*known.holds, *([known.panic] if known.panic else [])):
                due = min(due, hold.until, math.inf if hold.is_told else _told_at(hold), _rechecked_at(hold))
        return 0.0 if self._ended or self._sighted else due

    def review(self, now: float) -> tuple[Answer, ...]:
        """End the holds whose time is over; return what is to be shown of the queries with holds or waits."""
        shown = []
        self._recheck(now)
        for query in tuple(self._active):
            known = self._known[query]
            self._expire(known, now)
            if not any(hold.is_open and now < hold.since + GRACE for hold in known.holds):
                known.is_shown = True
            answer = self._show(known, now)
            if answer is not None:
                shown.append(answer)
        return tuple(shown)

    def _recheck(self, now: float) -> None:
        """Have it confirmed anew, a few at a time, that our token still lacks the rights whose loss holds entries."""
        left = RIGHTS_RECHECKED
        for query in self._active:
            known = self._known[query]
            due = [hold for hold in known.holds if _rechecked_at(hold) <= now]
            if due and left > 0:
                left -= 1
                known.holds = tuple(replace(hold, is_open=True) if hold in due else hold for hold in known.holds)

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End the holds on a service, or all of them; ``review`` then returns what is to be shown."""
        released: list[Hold] = []
        for query in self._active:
            known = self._known[query]
            taken = tuple((hold, _of_service(hold, service)) for hold in known.holds)
            released += [replace(hold, entries=part) for hold, part in taken if part]
            left = ((hold, absent(hold.entries, part)) for hold, part in taken)
            known.holds = tuple(replace(hold, entries=rest) for hold, rest in left if rest)
            if any(part for _, part in taken):
                known.settles_at = -math.inf
            if known.blind is not None and service in {None, getattr(query, "name", None)}:
                known.blind = None
            if known.panic is not None and _of_service(known.panic, service):
                released.append(known.panic)
                known.panic, known.may_panic = None, False
        self._ended += [(replace(hold, is_told=True), RELEASED) for hold in released]
        for dc in _estranged(released) - _estranged(
            hold for query in self._active for hold in self._known[query].holds
        ):
            self._rolls.accept(dc)
        return tuple(released)

    def reports(self, now: float) -> list[Report]:
        """Return what the operator is to be told since the last call."""
        fresh: list[Hold] = []
        for query in self._active:
            known = self._known[query]
            fresh += [hold for hold in known.holds if not hold.is_told and _told_at(hold) <= now]
            known.holds = tuple(replace(hold, is_told=hold.is_told or _told_at(hold) <= now) for hold in known.holds)
            if known.panic is not None and not known.panic.is_told:
                fresh.append(known.panic)
                known.panic = replace(known.panic, is_told=True)
        over, self._ended = [(hold, how) for hold, how in self._ended if hold.is_told], []
        sighted, self._sighted = self._sighted, []
        return begun(fresh) + blinded(self._newly_blind(now)) + ended(over, now) + seen(sighted)

    def _newly_blind(self, now: float) -> list[AnyQuery]:
        found = []
        for query in self._active:
            blind = self._known[query].blind
            if blind is not None and not blind.is_told and not blind.is_open and blind.since + GRACE <= now:
                blind.is_told = True
                found.append(query)
        return found

    @property
    def holds(self) -> tuple[Hold, ...]:
        """What is held now, doubts that are not decided yet left out."""
        known = [self._known[query] for query in self._active]
        kept = [hold for each in known for hold in each.holds if hold.is_told or not hold.is_open]
        return tuple(kept) + tuple(each.panic for each in known if each.panic is not None)

    @property
    def blind(self) -> frozenset[AnyQuery]:
        """The queries whose first answers are not taken, since they may be empty for lack of rights alone."""
        return frozenset(query for query in self._active if self._known[query].blind is not None)

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to confirm, to review or to tell."""
        return bool(self._active or self._ended or self._sighted)

    def doubts(self) -> tuple[Doubt, ...]:
        """Return what a source is to confirm."""
        found = []
        for query in self._active:
            blind = self._known[query].blind
            if blind is not None and blind.is_open and isinstance(query, ServiceQuery):
                found.append(Doubt(query=query, services=(query.name,), nodes=()))
            entries = [entry for hold in self._known[query].holds if hold.is_open for entry in hold.entries]
            if entries:
                found.append(_doubt(query, entries))
        return tuple(found)

    # Memory

    def forget(self, query: AnyQuery) -> None:
        """Drop what is known of a query that nobody needs any more."""
        known = self._known.pop(query, None)
        self._active.pop(query, None)
        if known is not None:
            self._ended += [(hold, UNWANTED) for hold in known.holds]

    def recall(self, query: AnyQuery, now: float) -> Answer | None:
        """Return the remembered answer of a query that its source has not answered yet."""
        known = self._known.get(query)
        return None if known is None or known.is_fresh else self._show(known, now)

    def remember(self, memories: Iterable[Memory | Roll], *, ahead: float) -> None:
        """Start from what an earlier process knew; ``ahead`` is wall-clock time minus the caller's clock."""
        for memory in memories:
            if isinstance(memory, Roll):
                self._rolls.remember([memory])
                continue
            self._histories.reach(memory.answer)
            holds = tuple(_moved(hold, -ahead) for hold in memory.holds)
            lost = tuple(hold for hold in holds if hold.cause is not Cause.PANIC)
            known = Known(memory.answer, lost, is_fresh=False)
            known.panic = next((hold for hold in holds if hold.cause is Cause.PANIC), None)
            known.may_panic = known.panic is not None or any(map(is_in_use, memory.answer.value))
            self._known[memory.answer.query] = known

    def memories(self, queries: Iterable[Query], *, ahead: float) -> tuple[Memory | Roll, ...]:
        """Return what a later process needs of these queries."""
        wanted = tuple(queries)
        found = (self._known[query] for query in wanted if query in self._known)
        known = [each for each in found if each.blind is None]
        dcs = {query.dc for query in wanted}
        return (
            *(Memory(answer=each.raw, holds=tuple(_moved(hold, ahead) for hold in _all(each))) for each in known),
            *(roll for roll in self._rolls if roll.dc in dcs),
        )


def _in_known_order(before: Answer, new: Answer) -> Answer:
    """Return the answer in the order of the one before where nothing else differs: a prepared query draws lots."""
    if not isinstance(new.query, PreparedQuery) or sorted(before.value, key=key) != sorted(new.value, key=key):
        return new
    return msgspec.structs.replace(new, value=before.value)


def _all(known: Known) -> tuple[Hold, ...]:
    return known.holds if known.panic is None else (*known.holds, known.panic)


def _as_used(known: Known) -> Answer:
    """Return the newest answer with what failed and is used all the same, after a break or in panic."""
    answer = _in_panic(known.raw, known.panic)
    flipped = {key(entry): entry for hold in known.holds if hold.cause is Cause.FLIPPED for entry in hold.entries}
    if not flipped:
        return answer
    return msgspec.structs.replace(answer, value=tuple(flipped.get(key(entry), entry) for entry in answer.value))


def _in_panic(answer: Answer, panic: Hold | None) -> Answer:
    """Return the answer as it is shown in panic: what is used although it fails can be lost, too."""
    if panic is None:
        return answer
    value = _with_status(answer.value, dict.fromkeys(map(key, panic.entries), Status.PASSING))
    return msgspec.structs.replace(answer, value=value)


def _doubted(before: Answer, new: Answer, policy: GuardPolicy, now: float) -> tuple[Hold, ...]:
    """Return a hold on what the new answer lacks, if that is doubted."""
    gone = absent(filter(is_in_use, before.value), new.value)
    cause = suspicion(before, new, gone, policy)
    return () if cause is None else (_hold(before, gone, cause, policy.hold, now),)


def _flipped(known: Known, new: Answer, policy: GuardPolicy, now: float) -> tuple[Hold, ...]:
    """Return a hold on what was in use before the break and fails now, if that is much."""
    before = known.baseline
    if before is None or policy.hold <= 0:
        return ()
    lost = missed(filter(is_in_use, before.value), new.value)
    others = {key(entry) for hold in _all(known) for entry in hold.entries}  # held already
    others.update(map(key, absent(lost, new.value)))  # gone, which is judged by itself
    fresh = tuple(entry for entry in lost if key(entry) not in others)
    if not fresh or not is_large(before, new, len(lost), policy):
        return ()
    return (_hold(before, fresh, Cause.FLIPPED, min(policy.hold, SETTLING), now),)


def _hold(before: Answer, entries: tuple[Entry, ...], cause: Cause, limit: float, now: float) -> Hold:
    return Hold(
        query=before.query,
        entries=entries,
        cause=cause,
        since=now,
        until=now + limit,
        is_open=cause not in STUBBORN,
        index=before.index,
        session=before.session,
        was_filtered=before.filtered,
    )


def _merged(value: tuple[Any, ...], kept: tuple[Entry, ...], query: AnyQuery) -> tuple[Any, ...]:
    """Put what is kept in, in the order of the query's answers; after the others where that order is the source's."""
    merged = (*absent(value, kept), *kept)
    return merged if isinstance(query, InstancesQuery) and query.near else tuple(sorted(merged, key=key))


def _with_status(value: tuple[Any, ...], statuses: dict[tuple[str, str], Status]) -> tuple[Any, ...]:
    return tuple(
        msgspec.structs.replace(instance, status=statuses[key(instance)]) if key(instance) in statuses else instance
        for instance in value
    )


def _rechecked_at(hold: Hold) -> float:
    """Return when to look whether rights are back; infinity where the hold is not about rights."""
    is_about_rights = hold.cause in {Cause.DENIED, Cause.FILTERED} and not hold.is_open
    return hold.judged_at + RIGHTS_RECHECK if is_about_rights else math.inf


def _told_at(hold: Hold) -> float:
    return hold.since + GRACE if hold.is_open else hold.since


def _estranged(holds: Iterable[Hold]) -> set[str | None]:
    """Return the datacenters of which entries are held because another Consul answers."""
    return {hold.query.dc for hold in holds if hold.cause is Cause.ANOTHER}


def _of_service(hold: Hold, service: str | None) -> tuple[Entry, ...]:
    """Return the hold's entries that belong to a service, or all of them."""
    if service is None or (isinstance(hold.query, InstancesQuery) and hold.query.name == service):
        return hold.entries
    return tuple(entry for entry in hold.entries if entry.name == service)


def _doubt(query: AnyQuery, entries: Iterable[Entry]) -> Doubt:
    services, nodes = set(), set()
    for entry in entries:
        services.add(entry.name)
        if isinstance(entry, Instance):
            nodes.add(entry.node)
    return Doubt(query=query, services=tuple(sorted(services)), nodes=tuple(sorted(nodes)[:MANY_NODES]))


def _moved(hold: Hold, by: float) -> Hold:
    return replace(
        hold,
        since=hold.since + by,
        until=hold.until + by,
        judged_at=-math.inf,
        is_open=hold.cause not in STUBBORN,
        is_told=False,
    )
