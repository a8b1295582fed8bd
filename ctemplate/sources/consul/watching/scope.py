"""One scope under two sentinels: its swept queries, and what its wake-ups ask to be read.

Pure; every method takes ``now``. Knows nothing of budgets, connections or other scopes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ctemplate.core.model import AnyQuery, Query, Service
from ctemplate.queries import AlarmsQuery, CensusQuery, ServicesQuery
from ctemplate.sources.consul.endpoints.checks import StateRow
from ctemplate.sources.consul.watching.sentinel import (
    PARKED,
    ChangedNames,
    KnownIndexes,
    Wake,
    changed_services,
    counted,
    number_of_checks,
    reads_whole_service,
    turned,
)
from ctemplate.sources.consul.watching.sweep import Sweep, SweepPace

READ_GRACE = 0.02  # seconds for long polls and named reads to explain a wake-up before a round is run for it
WAKEUP_PATIENCE = 0.5  # seconds at most to wait for named reads, or for a census, before a round is run all the same
CENSUS_SHARE = 8  # a census costs as much as reading one in this many of the scope's services
CENSUS_REST = 1.0  # seconds between two censuses


class Scope:
    """A datacenter, namespace and partition that two sentinels watch."""

    def __init__(self, services: ServicesQuery, pace: SweepPace) -> None:
        self.services = services
        self.alarms = AlarmsQuery(dc=services.dc, ns=services.ns, partition=services.partition)
        self.census = CensusQuery(dc=services.dc, ns=services.ns, partition=services.partition)
        self.sweep = Sweep(pace)
        self._pace = pace
        self._queries: dict[str, tuple[Query, ...]] = {}
        self._explanations = KnownIndexes()
        self._services: tuple[Service, ...] = ()
        self._alarms: tuple[StateRow, ...] = ()
        self._services_index = 0
        self._alarms_index = 0
        self._wakes: list[Wake] = []
        self._woken_at = -math.inf
        self._settle_at = math.inf
        self._patient_until = math.inf
        self._awaited: set[AnyQuery] = set()
        self._census_due = False
        self._census_at = -math.inf
        self.degraded_sentinels: set[Query] = set()

    @property
    def sentinels(self) -> tuple[ServicesQuery, AlarmsQuery]:
        """The two long polls that watch the scope."""
        return self.services, self.alarms

    def add(self, query: Query, name: str) -> None:
        """Take on a wanted query about the service of that name."""
        known = self._queries.get(name, ())
        if query not in known:
            self._queries[name] = (*known, query)

    def discard(self, query: Query, name: str) -> None:
        """Let go of a query that is no longer wanted."""
        self.sweep.discard(query)
        self._awaited.discard(query)
        rest = tuple(other for other in self._queries.get(name, ()) if other != query)
        if rest:
            self._queries[name] = rest
        else:
            self._queries.pop(name, None)

    def sentinel_failed(self, sentinel: Query) -> None:
        """Note that a sentinel has no sight: until it answers again, everything is swept at leisure."""
        self.degraded_sentinels.add(sentinel)

    def services_woke(self, value: tuple[Service, ...] | None, index: int, waited: float, now: float) -> ChangedNames:
        """Take an answer of the services sentinel, ``value`` None when equal; return whom it names."""
        since, self._services_index = self._services_index, index
        before, self._services = self._services, self._services if value is None else value
        if self._is_first_sight(self.services, since, index, now):
            return ChangedNames()
        if index == since:
            return ChangedNames()
        named = ChangedNames() if value is None else changed_services(before, value)
        wake = Wake(since=since, index=index, was_parked=waited >= PARKED, was_named=bool(named.services))
        self._note(wake, now)
        return named

    def alarms_woke(self, value: tuple[StateRow, ...] | None, index: int, now: float) -> ChangedNames:
        """Take an answer of the alarms sentinel, ``value`` None when equal; return whom it names."""
        since, self._alarms_index = self._alarms_index, index
        before, self._alarms = self._alarms, self._alarms if value is None else value
        if self._is_first_sight(self.alarms, since, index, now) or index == since:
            return ChangedNames()
        named = ChangedNames() if value is None else turned(before, value)
        if not (named.services or named.nodes):
            self.sweep.hint(now)
        return named

    def _is_first_sight(self, sentinel: ServicesQuery | AlarmsQuery, since: int, index: int, now: float) -> bool:
        """Whether nothing can be concluded from what was seen before; then all that was read before is read again."""
        was_blind = sentinel in self.degraded_sentinels
        self.degraded_sentinels.discard(sentinel)
        if since and index >= since and not was_blind:
            return False
        self.sweep.demand(now)
        return True

    def _note(self, wake: Wake, now: float) -> None:
        if not self._wakes:
            self._patient_until = now + WAKEUP_PATIENCE
        self._wakes.append(wake)
        self._woken_at = now
        self._settle_at = now + READ_GRACE

    def census_answered(
        self, rows: tuple[StateRow, ...], values: Mapping[AnyQuery, tuple[Any, ...]], now: float
    ) -> ChangedNames:
        """Take a census; return whom it names, given the newest values."""
        self._settle_at = now + READ_GRACE
        expected = {
            name: number_of_checks(values[query])
            for name, queries in self._queries.items()
            for query in queries
            if reads_whole_service(query) and query in values
        }
        for row in rows:
            if row.service not in self._queries:
                self._explanations.add(row.modified)
        return counted(rows, expected, min((wake.since for wake in self._wakes), default=self._services_index))

    def queries_of(self, named: ChangedNames, values: Mapping[AnyQuery, tuple[Any, ...]]) -> tuple[Query, ...]:
        """Return the wanted queries of the named services, and of those with an instance on a named node."""
        queries = [query for name in named.services for query in self._queries.get(name, ())]
        if named.nodes:
            queries += [query for query in self._all() if _is_on(values.get(query, ()), named.nodes)]
        return tuple(dict.fromkeys(queries))

    def _all(self) -> Iterable[Query]:
        return (query for queries in self._queries.values() for query in queries)

    def await_read(self, query: AnyQuery) -> None:
        """Note that a named query is about to be read, which may explain a wake-up."""
        self._awaited.add(query)

    def was_read(self, query: AnyQuery, index: int | None) -> None:
        """Note that a query was read, with its index if that is a new one, which may explain a wake-up."""
        self._awaited.discard(query)
        if index is not None:
            self._explanations.add(index)

    def settle(self, now: float) -> None:
        """Decide what is due for the wake-ups that have had their time to be explained."""
        if self.degraded_sentinels:
            self.sweep.hint(now)
        if not self._wakes or now < self._settled_at():
            return
        if all(self._explanations.cover(wake) for wake in self._wakes):
            self.sweep.hint(self._woken_at)
        elif self._is_census_worthwhile(now):
            self._census_due, self._census_at = True, now
            self._settle_at = self._patient_until = now + WAKEUP_PATIENCE
            return
        else:
            self.sweep.demand(self._woken_at)
        self._wakes.clear()
        self._awaited.clear()

    def _settled_at(self) -> float:
        return self._patient_until if self._awaited else min(self._settle_at, self._patient_until)

    def _is_census_worthwhile(self, now: float) -> bool:
        """Whether the change is one of instances with checks, and a census cheaper than a round."""
        queries = len(self.sweep)
        return (
            self._alarms_index >= self._wakes[-1].index
            and queries >= self._pace.census_least
            and queries * CENSUS_SHARE >= len(self._services)
            and now >= self._census_at + CENSUS_REST
        )

    def take(self, now: float) -> Query | None:
        """Return what to read now, if anything."""
        self.settle(now)
        if self._census_due:
            self._census_due = False
            return self.census
        return self.sweep.take(now)

    def next_at(self, now: float) -> float:
        """Return the moment at which there is something to read or to decide."""
        self.settle(now)
        if self._census_due:
            return now
        return min(self._settled_at() if self._wakes else math.inf, self.sweep.next_at(now))


def _is_on(instances: Iterable[Any], nodes: frozenset[str]) -> bool:
    return any(instance.node in nodes for instance in instances)
