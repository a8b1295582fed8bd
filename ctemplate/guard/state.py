"""The state of one query: its newest answer as it arrived, and one rule of each kind that decides what to show."""

from __future__ import annotations

import math

import msgspec

from ctemplate.core.model import Answer, Doubt, Instance, Query, Service
from ctemplate.core.settings import GuardPolicy
from ctemplate.guard.evidence.entries import EntryValue, replaced_entries
from ctemplate.guard.evidence.hold import Hold
from ctemplate.guard.rules import Change, Rule
from ctemplate.guard.rules.first_answer import UnverifiedEmpty, doubt_of_first
from ctemplate.guard.rules.flapping import FlappingRule
from ctemplate.guard.rules.holding import Holding, renewed
from ctemplate.guard.rules.loss import LATER, RIGHTS_RECHECK, LossRule
from ctemplate.guard.rules.panic import PanicRule
from ctemplate.guard.rules.restored import RestoredRule
from ctemplate.guard.rules.settling import SettlingRule
from ctemplate.guard.rules.tags import TagsRule
from ctemplate.guard.rules.unreachable import NodeHealth, UnreachableRule
from ctemplate.guard.rules.unrun import UnrunRule
from ctemplate.queries import Losses, ServiceQuery, kind_of


class QueryState:
    """A query's newest answer, and its rules in the order in which they are applied.

    ``is_fresh`` is False for an answer of an earlier process, ``is_shown`` while nothing of it may be shown yet. With
    ``policy`` None nothing is guarded. ``unverified`` is set while an empty first answer may be due to lacking rights:
    nothing of it is shown. ``is_narrow``: the token had fewer rights when the answer came, so it is to be read again.
    ``hidden_at`` is when the catalog last listed the service of an empty answer; infinity if it does not.
    """

    def __init__(
        self,
        raw: Answer,
        nodes: NodeHealth,
        now: float,
        *,
        policy: GuardPolicy | None = None,
        unverified: UnverifiedEmpty | None = None,
    ) -> None:
        self.raw = raw
        self.unverified = unverified
        self.is_fresh = self.is_shown = True
        self.is_narrow, self.hidden_at = False, math.inf
        self.is_guarded = policy is not None
        self.loss = LossRule()
        self._flapping, self._panic, self._settling = (
            FlappingRule(),
            PanicRule(query=raw.query, policy=policy),
            SettlingRule(),
        )
        self.unreachable = UnreachableRule(nodes=nodes)
        self._in_place: tuple[Holding, ...] = (TagsRule(),)
        self.rules: tuple[Rule, ...] = (self.loss, *self._in_place)
        has_instances = kind_of(raw.query).losses is Losses.INSTANCES
        if has_instances:
            self._in_place = (RestoredRule(), UnrunRule(), self.unreachable, self._settling)
            self.rules = (self.loss, *self._in_place, self._flapping, self._panic)
        waits = tuple(rule for rule in self.rules if rule is self._flapping)  # they apply to new entries
        self._shown_by = (*waits, *(rule for rule in self.rules if rule is not self._flapping))
        if self.is_guarded and has_instances:
            self.unreachable.start(raw, now)

    def restore(self, holds: tuple[Hold, ...]) -> None:
        """Continue with an earlier process's holds on the answer that it stored."""
        again = tuple(map(renewed, holds))
        for rule in self.rules:
            rule.restore(again)
        self._panic.start(self.raw)
        self.is_fresh = False

    def used(self) -> Answer:
        """Return the newest answer with kept entries in place of failing ones: those are in use, and can be lost."""
        kept = [entry for rule in self._in_place for hold in rule.holds for entry in hold.entries]
        value = self._panic.used(replaced_entries(self.raw.value, kept))
        return self.raw if value is self.raw.value else msgspec.structs.replace(self.raw, value=value)

    def nodes(self) -> dict[str, str]:
        """Return the nodes of all instances and their ids, including those of vanished ones that are held."""
        entries = (*self.raw.value, *(entry for hold in self.loss.holds for entry in hold.entries))
        return {entry.node: entry.node_id for entry in entries if isinstance(entry, Instance)}

    def follow(self, before: GuardPolicy, policy: GuardPolicy) -> None:
        """Judge by another policy what is known already."""
        if policy.hold <= 0:
            self.unverified = None
        for rule in self.rules:
            if isinstance(rule, Holding):
                rule.follow(before, policy)

    def observe(self, change: Change) -> None:
        """Take a new answer."""
        self.raw, self.is_guarded = change.new, True
        self.is_shown, self.is_fresh = self.is_fresh, True
        self.hidden_at = math.inf if change.new.value else self.hidden_at
        for rule in self.rules:
            rule.observe(change)
            self._flapping.settles_at = self._settling.settles_at
        self.is_shown = self.is_shown or not self.loss.has_doubts

    def show(self, now: float) -> Answer:
        """Return the answer to show."""
        value: EntryValue = self.raw.value
        if self.is_guarded:
            for rule in self._shown_by:
                value = rule.show(value, now)
        return self.raw if value is self.raw.value else msgspec.structs.replace(self.raw, value=value)

    @property
    def is_active(self) -> bool:
        """Whether time, the operator or a confirmation may change anything."""
        is_waiting = self.unverified is not None or self.is_narrow or self.hidden_at < math.inf
        return is_waiting or (self.is_fresh and any(rule.is_active for rule in self.rules))

    def doubts(self) -> list[Doubt]:
        """Return what a consistent read has to confirm."""
        query, loss = self.raw.query, self.loss.doubt()
        if self.is_narrow and loss is None:
            return [doubt_of_first(query) if self.hidden_at < math.inf else Doubt(query=query, services=())]
        is_open = self.unverified is not None and self.unverified.is_open
        return [*([doubt_of_first(query)] if is_open else []), *([] if loss is None else [loss])]

    def was_read_again(self, now: float, *, is_hidden: bool) -> None:
        """Note that a consistent read came, and whether it shows no instance of a service that the catalog lists."""
        self.is_narrow = False
        self.hidden_at = now if is_hidden else math.inf

    def due_at(self, now: float) -> float:
        """Return when something has to be reviewed or reported, infinity for never."""
        unverified = math.inf if self.unverified is None else self.unverified.due_at()
        hidden = math.inf if self.is_narrow else self.hidden_at + RIGHTS_RECHECK
        return min(unverified, hidden, *(rule.due_at(now) for rule in self.rules))

    def recheck(self, now: float, *, is_late: bool) -> bool:
        """Have lost rights confirmed again, if it is time, or later with others; return whether it is."""
        is_due = self.unverified is not None and self.unverified.recheck(now, is_late=is_late)
        if not self.is_narrow and self.hidden_at + RIGHTS_RECHECK <= now:
            is_due, self.is_narrow = True, not is_late
            self.hidden_at = now - RIGHTS_RECHECK + LATER if is_late else now
        return self.loss.recheck(now, is_late=is_late) or is_due

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End the holds on a service, or all; return them."""
        if self.unverified is not None and service in {None, kind_of(self.raw.query).service_name(self.raw.query)}:
            self.unverified = None
        return tuple(hold for rule in self.rules for hold in rule.release(service))

    def dump(self) -> tuple[Hold, ...]:
        """Return the holds of all rules."""
        return tuple(hold for rule in self.rules for hold in rule.dump())

    def forget(self) -> list[tuple[Hold, str]]:
        """Drop everything; return what to report of it."""
        self.unreachable.forget(self.raw.query.dc)
        return [ended for rule in self.rules if isinstance(rule, Holding) for ended in rule.end_all()]


class QueryStates(dict[Query, QueryState]):
    """The states of all queries; those for one service are found by it, whatever they select of its instances."""

    def __init__(self) -> None:
        super().__init__()
        self._of_service: dict[ServiceQuery, dict[Query, None]] = {}

    def __setitem__(self, query: Query, state: QueryState) -> None:
        """Take the state of a query."""
        super().__setitem__(query, state)
        if (whole := _whole_service(query)) is not None:
            self._of_service.setdefault(whole, {})[query] = None

    def drop(self, query: Query) -> QueryState | None:
        """Drop the state of a query; return it, None where there is none."""
        whole = _whole_service(query)
        if whole is not None and query in self:
            del self._of_service[whole][query]
            if not self._of_service[whole]:
                del self._of_service[whole]
        return self.pop(query, None)

    def of_service(self, service: Service, query: Query) -> list[QueryState]:
        """Return the states of the queries for the instances of a service that the answer to ``query`` lists."""
        whole = ServiceQuery(name=service.name, dc=query.dc, ns=query.ns, partition=query.partition)
        return [self[each] for each in self._of_service.get(whole, ())]


def _whole_service(query: Query) -> ServiceQuery | None:
    """Return the query for all instances of the service of which a query returns some, None for another cluster's."""
    kind = kind_of(query)
    name = kind.service_name(query) if kind.blocks else None  # a prepared query may choose another service
    if name is None or query.peer or getattr(query, "sameness_group", None):
        return None
    return ServiceQuery(name=name, dc=query.dc, ns=query.ns, partition=query.partition)
