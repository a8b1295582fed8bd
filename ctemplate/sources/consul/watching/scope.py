"""One scope under its sentinels: its swept queries, its nodes, and the reads that its wake-ups require.

Pure; every method takes ``now``. Knows nothing of budgets, connections or other scopes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

import msgspec

from ctemplate.core.model import Query, Service
from ctemplate.core.values import dataclass
from ctemplate.queries import AlarmsQuery, CensusQuery, NodeContentQuery, ServicesQuery
from ctemplate.sources.consul.endpoints.checks import StateRow
from ctemplate.sources.consul.endpoints.nodes import NodeEntry, PlacedService
from ctemplate.sources.consul.watching.nodes import INSTANCES_PER_READ, Nodes
from ctemplate.sources.consul.watching.plan import NewestAnswers
from ctemplate.sources.consul.watching.sentinel import (
    PARKED,
    ChangedNames,
    KnownIndexes,
    Wake,
    changed_checks,
    changed_services,
    counted,
    number_of_checks,
    reads_whole_service,
)
from ctemplate.sources.consul.watching.sweep import Sweep, SweepPace

READ_GRACE = 0.02  # seconds for long polls and named reads to explain a wake-up before a search begins
CENSUS_GRACE = 0.005  # the same before a census: its cost is limited, and long polls that explain answer at once
WAKEUP_PATIENCE = 0.5  # seconds at most to wait for named reads, or for a census, before a round is run anyway
CHECKS_PER_READ = 24  # checks in a census that cost as much as one request for a service
CENSUS_REST = 1.0  # seconds between two censuses
CHECKS_REST = 5.0  # seconds between two long polls of all checks, where others name what turns, comes and goes


@dataclass(frozen=True, slots=True)
class Suspects:
    """The services that have changed according to an answer.

    Each comes with the index from which on its answers show the change, 0 for unknown; ``since`` is an index before
    the change, 0 for unknown. ``fresh`` are new nodes; ``is_change``: one of the services changed on the node since its
    last answer.
    """

    reach: Mapping[Query, int] = field(default_factory=dict)
    since: int = 0
    fresh: tuple[NodeContentQuery, ...] = ()
    is_change: bool = False


class Scope:
    """A datacenter, namespace and partition that sentinels watch."""

    def __init__(self, services: ServicesQuery, pace: SweepPace) -> None:
        self.services = services
        self.alarms = AlarmsQuery(dc=services.dc, ns=services.ns, partition=services.partition)
        self.turns = (
            msgspec.structs.replace(self.alarms, status="critical"),
            msgspec.structs.replace(self.alarms, status="warning"),
        )
        self.census = CensusQuery(dc=services.dc, ns=services.ns, partition=services.partition)
        self.sweep = Sweep(pace)
        self.nodes = Nodes(services, pace)
        self.watches_nodes = False
        self._pace = pace
        self._queries: dict[str, tuple[Query, ...]] = {}
        self._unread: set[Query] = set()
        self._instances = 0
        self._checks = 0
        self._explanations = KnownIndexes()
        self._placed = KnownIndexes()  # of what was registered or removed on nodes, and of checks that turned
        self._services: tuple[Service, ...] = ()
        self._alarms: dict[Query, tuple[StateRow, ...]] = {}
        self._services_index = 0
        self._alarms_indexes: dict[Query, int] = {}
        self._rest_until = -math.inf
        self._nodes_index = 0
        self._wakes: list[Wake] = []
        self._nameless: list[tuple[Wake, float]] = []  # of the checks sentinel, which may not have named all changes
        self._woken_at = -math.inf
        self._settle_at = math.inf
        self._patient_until = math.inf
        self._awaited: set[Query] = set()
        self._census_due = False
        self._census_at = -math.inf
        self.degraded_sentinels: set[Query] = set()

    @property
    def sentinels(self) -> tuple[Query, ...]:
        """The long polls that watch the scope, except those of single nodes."""
        return (self.services, self.alarms, *(self.helpers if self.watches_nodes else ()))

    @property
    def helpers(self) -> tuple[Query, ...]:
        """The sentinels that a scope has where there are connections enough: they name more, and name it sooner."""
        return (*self.turns, self.nodes.list_query)

    @property
    def is_read(self) -> bool:
        """Whether each of the scope's services was read, or could not be."""
        return not self._unread

    def add(self, query: Query, name: str, value: tuple[Any, ...] | None) -> None:
        """Add a wanted query about the service of that name, with its newest value if there is one."""
        known = self._queries.get(name, ())
        if query in known:
            return
        self._queries[name] = (*known, query)
        if value is None:
            self._unread.add(query)
        else:
            self.has_value(query, (), value)

    def discard(self, query: Query, name: str, value: tuple[Any, ...]) -> None:
        """Remove a query that is no longer wanted, with this newest value."""
        self.sweep.discard(query)
        self._awaited.discard(query)
        self._unread.discard(query)
        self.has_value(query, value, ())
        rest = tuple(other for other in self._queries.get(name, ()) if other != query)
        if rest:
            self._queries[name] = rest
        else:
            self._queries.pop(name, None)

    def has_value(self, query: Query, before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
        """Note that a query has another value."""
        self._instances += len(after) - len(before)
        self.nodes.carry(query, before, after)

    def sentinel_failed(self, sentinel: Query) -> None:
        """Record that a sentinel fails: until it answers again, everything is swept at the leisure rate."""
        self.degraded_sentinels.add(sentinel)

    def read_failed(self, query: Query) -> None:
        """Note that a service cannot be read at the moment."""
        self._unread.discard(query)

    def sentinel_woke(
        self, query: Query, value: tuple[Any, ...] | None, index: int, *, waited: float, now: float
    ) -> Suspects:
        """Take an answer of the sentinel of the checks or of the nodes, ``value`` None when equal."""
        if query == self.nodes.list_query:
            return self._nodes_listed(value, index, now)
        return self._alarms_woke(query, value, index, waited, now)

    def services_woke(self, value: tuple[Service, ...] | None, index: int, waited: float, now: float) -> Suspects:
        """Take an answer of the services sentinel, ``value`` None when equal; return the services it names."""
        since, self._services_index = self._services_index, index
        before, self._services = self._services, self._services if value is None else value
        if self._is_first_sight(self.services, since, index, now) or index == since:
            return Suspects()
        named = ChangedNames() if value is None else changed_services(before, value)
        wake = Wake(since=since, index=index, was_parked=waited >= PARKED, was_named=bool(named.services))
        self._note(now)
        self._wakes.append(wake)
        self._hasten(now)
        return self._suspects(named, since, index)

    def _alarms_woke(
        self, query: Query, value: tuple[StateRow, ...] | None, index: int, waited: float, now: float
    ) -> Suspects:
        since, self._alarms_indexes[query] = self._alarms_indexes.get(query, 0), index
        before = self._alarms.get(query, ())
        after = self._alarms[query] = before if value is None else value
        if query in self.turns and not since:
            return Suspects()  # the sentinel of all checks has seen what was before
        if self._is_first_sight(query, since, index, now) or index == since:
            return Suspects()
        named = changed_checks(before, after)
        is_named = bool(named.services or named.nodes)
        if query == self.alarms:
            self._note_checks(Wake(since=since, index=index, was_parked=waited >= PARKED, was_named=is_named), now)
            self._hasten(now)
        elif is_named and (waited >= PARKED or index == since + 1):
            self._placed.add(index)
        elif is_named:
            for row in {*after} - {*before}:
                self._placed.add(row.modified)
        return self._suspects(named, since, index)

    def _note_checks(self, wake: Wake, now: float) -> None:
        """Take a wake-up of the sentinel of all checks, which then rests, if others name what it would.

        After a pause it covers many changes, of which those that matter were named; what is left, such as what a
        passing check said last, is looked for if the last of them was not.
        """
        is_single, has_rested = wake.was_parked or wake.index == wake.since + 1, now - self._rest_until < PARKED
        if has_rested or not (wake.was_named and is_single):
            self._nameless.append((replace(wake, was_parked=is_single or has_rested, was_named=False), now))
        has_sight = all(query in self._alarms_indexes for query in self.turns)
        self._rest_until = now + CHECKS_REST if has_sight and self.sees_all_nodes else -math.inf

    def rests(self, now: float) -> bool:
        """Whether the sentinel of all checks rests, since others name what it would."""
        return now < self._rest_until and self.sees_all_nodes

    def _nodes_listed(self, value: tuple[NodeEntry, ...] | None, index: int, now: float) -> Suspects:
        since, self._nodes_index = self._nodes_index, index
        self.degraded_sentinels.discard(self.nodes.list_query)
        if value is None:
            self.nodes.retry()
            return Suspects()
        is_first = not since
        changed, fresh = self.nodes.list_answered(value, now)
        named = dict.fromkeys(self.nodes.carried_by(changed), 0)
        if named:
            self._placed.add(index)
        return Suspects(named, since, () if is_first else tuple(fresh))

    def node_answered(
        self, query: NodeContentQuery, rows: tuple[PlacedService, ...] | None, index: int, newest: NewestAnswers
    ) -> Suspects:
        """Take a node's answer, ``rows`` None when equal to its last one; return the services it names."""
        named, since = self.nodes.answered(query, rows, index, self._queries, newest)
        is_change = bool(named)
        unexplained = self._unexplained_since()
        for row in rows or ():
            if row.modified > unexplained:
                self._explanations.add(row.modified)
                self._placed.add(row.modified)
            is_change = is_change or (0 < since < row.modified and row.service in self._queries)
        if 0 in named.values() or index in named.values():
            self._explanations.add(index)
            self._placed.add(index)
        return Suspects(named, since, is_change=is_change)

    def _unexplained_since(self) -> int:
        return min((wake.since for wake in self._wakes), default=self._services_index)

    def _is_first_sight(self, sentinel: Query, since: int, index: int, now: float) -> bool:
        """Whether earlier answers no longer count as evidence; then everything is read again."""
        was_blind = sentinel in self.degraded_sentinels
        self.degraded_sentinels.discard(sentinel)
        if since and index >= since and not was_blind:
            return False
        self.sweep.demand(now)
        return True

    def _note(self, now: float) -> None:
        if not self._wakes:
            self._patient_until = now + WAKEUP_PATIENCE
        self._woken_at = now
        self._settle_at = now + READ_GRACE

    def _hasten(self, now: float) -> None:
        """Wait less for an explanation if a search would be a census."""
        if self._wakes and not self.sees_all_nodes and self._cheapest(now) is self.census:
            self._settle_at = min(self._settle_at, self._woken_at + CENSUS_GRACE)

    def census_answered(self, rows: tuple[StateRow, ...], index: int, newest: NewestAnswers, now: float) -> Suspects:
        """Take a census; return the services it names, given the newest answers."""
        self._settle_at = now + READ_GRACE
        self._checks = len(rows)
        expected = {
            name: number_of_checks(newest.values[query])
            for name, queries in self._queries.items()
            for query in queries
            if reads_whole_service(query) and query in newest.values
        }
        for row in rows:
            if row.service not in self._queries:
                self._explanations.add(row.modified)
        since = self._unexplained_since()
        return self._suspects(counted(rows, expected, since), since, index)

    def _suspects(self, named: ChangedNames, since: int, index: int) -> Suspects:
        """Return the wanted queries of the named services, and of those with an instance on a named node."""
        queries = [query for name in named.services for query in self._queries.get(name, ())]
        queries += self.nodes.carried_by(named.nodes)
        return Suspects(dict.fromkeys(queries, index), since)

    def await_read(self, query: Query) -> None:
        """Note that a named query is about to be read, which may explain a wake-up."""
        self._awaited.add(query)

    def was_read(self, query: Query, index: int | None) -> None:
        """Note that a query was read, with its index if that is a new one, which may explain a wake-up."""
        self._awaited.discard(query)
        self._unread.discard(query)
        if index is not None:
            self._explanations.add(index)

    @property
    def sees_all_nodes(self) -> bool:
        """Whether a node's long poll names everything that is registered, changed or removed."""
        return self.watches_nodes and not self.degraded_sentinels and self.nodes.sees_all

    def is_poll_worthwhile(self, node: Query) -> bool:
        """Whether a long poll of a node gains more than it costs; not if the node is gone."""
        return self.watches_nodes and node in self.nodes and self.nodes.is_light(node, self.census_cost)

    def settle(self, now: float) -> None:
        """Decide what to read for wake-ups that are still unexplained after their grace time."""
        if self.degraded_sentinels:
            self.sweep.hint(now)
        self._settle_nameless(now)
        if not self._wakes or now < self._settled_at():
            return
        if self.sees_all_nodes:
            pass
        elif all(self._explanations.cover(wake) for wake in self._wakes):
            self.sweep.hint(self._woken_at)
        elif self._look(now) is self.census:
            self._census_due, self._census_at = True, now
            self._settle_at = self._patient_until = now + WAKEUP_PATIENCE
            return
        self._wakes.clear()
        self._awaited.clear()

    def _settle_nameless(self, now: float) -> None:
        """Sweep at the leisure rate after changes of checks that name no service, or not all.

        Nodes name instances that came or went, some later than others; a leisurely sweep can wait for them.
        """
        while self._nameless and self._nameless_settled_at() <= now:
            wake, woken_at = self._nameless.pop(0)
            if not self._placed.cover(wake):
                self.sweep.hint(woken_at)

    def _nameless_settled_at(self) -> float:
        if not self._nameless:
            return math.inf
        return self._nameless[0][1] + (WAKEUP_PATIENCE if self.watches_nodes else 0.0)

    def _settled_at(self) -> float:
        return self._patient_until if self._awaited else min(self._settle_at, self._patient_until)

    def _look(self, now: float) -> Sweep | CensusQuery:
        """Search for an unnamed change where that costs least."""
        where = self._cheapest(now)
        if isinstance(where, Sweep):
            where.demand(self._woken_at)
        return where

    def _cheapest(self, now: float) -> Sweep | CensusQuery:
        """Return where a search for an unnamed change costs least: all checks, the nodes, or all services."""
        costs: list[tuple[float, Sweep | CensusQuery]] = [
            (len(self.sweep) + self._instances / INSTANCES_PER_READ, self.sweep),
        ]
        if self.watches_nodes and not self.degraded_sentinels and self.nodes.is_readable:
            costs.append((self.nodes.cost, self.nodes.sweep))
        if self._is_census_possible(now):
            costs.append((self.census_cost, self.census))
        return min(costs, key=lambda each: each[0])[1]

    def _is_census_possible(self, now: float) -> bool:
        """Whether the change is one of instances with checks, and there was no census lately."""
        return (
            self._alarms_indexes.get(self.alarms, 0) >= self._wakes[-1].index
            and len(self.sweep) >= self._pace.census_least
            and now >= self._census_at + CENSUS_REST
        )

    @property
    def census_cost(self) -> float:
        """The cost of reading all checks, in requests: as last measured, else estimated from the wanted services."""
        expected = self._instances * len(self._services) / max(1, len(self._queries))
        return (self._checks or expected) / CHECKS_PER_READ

    def take(self, now: float) -> Query | None:
        """Return what to read now, if anything."""
        self.settle(now)
        if self._census_due:
            self._census_due = False
            return self.census
        return self.nodes.sweep.take(now) or self.sweep.take(now)

    def next_at(self, now: float) -> float:
        """Return the moment at which there is something to read or to decide."""
        self.settle(now)
        if self._census_due:
            return now
        settled_at = self._settled_at() if self._wakes else math.inf
        rested_at = self._rest_until if self.rests(now) else math.inf
        swept_at = min(self.sweep.next_at(now), self.nodes.sweep.next_at(now))
        return min(settled_at, self._nameless_settled_at(), swept_at, rested_at)
