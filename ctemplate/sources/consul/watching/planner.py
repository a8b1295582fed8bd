"""The watch planner: what to long-poll, what to read and when, so that a few connections see every change.

Few queries get a long poll each. More are watched by sentinels: two long polls per scope tell that something moved and
mostly who; the named queries are read at once over a few kept connections, those that changed lately have long polls
of their own, and a paced sweep finds what nobody can name. An address of a node itself wakes none of them: the sweep
finds it within ``Pace.background`` seconds.

Prepared queries cannot block, so they are polled every ``interval``; a failed one no later.

Consul counts the connection of a long poll that was given up until its wait is over, so a long poll changes hands only
between two rounds.

Pure: no await, no clock, no I/O; every method takes ``now``, seconds on one monotonic clock. The caller runs exactly
the long polls of ``plan``, reads whatever ``take`` returns over ``plan.readers`` connections, and reports each end.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import field
from typing import Any, cast

from ctemplate.core.model import AnyQuery, Query
from ctemplate.core.settings import CONSUL_DEFAULTS
from ctemplate.core.timing import Backoff, jittered
from ctemplate.core.values import dataclass
from ctemplate.queries import ServicesQuery, WatchRole, kind_of, named_service
from ctemplate.sources.consul.endpoints.checks import StateRow
from ctemplate.sources.consul.watching.retries import Agenda, OutageProbe
from ctemplate.sources.consul.watching.scope import Scope
from ctemplate.sources.consul.watching.sentinel import ChangedNames, scope_of
from ctemplate.sources.consul.watching.sweep import Sweep, SweepPace

PollQuery = Query
ReadQuery = Query

SHED_REST = 60.0  # seconds before connections that Consul refused are tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the planner may spend. Times in seconds.

    ``spare`` connections are left for the caller's other requests. A query named again and again is read once per
    ``min_interval``. ``wait`` is how long a long poll waits for a change, ``interval`` what lies between two reads of a
    query that does not block.
    """

    spare: int = 2
    readers: int = 16
    min_interval: float = 1.0
    wait: float = CONSUL_DEFAULTS.wait
    interval: float = CONSUL_DEFAULTS.query_interval
    backoff: Backoff = field(default_factory=lambda: Backoff(ceiling=15.0))
    probe: Backoff = field(default_factory=lambda: Backoff(ceiling=5.0))
    pace: SweepPace = field(default_factory=SweepPace)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """What should run now.

    ``polls`` are the queries to long-poll for as long as they stay here, ``sentinels`` those of them whose wake-ups
    matter even without news. ``readers`` is the number of connections for
    reads. ``wake_at`` is when to ask again if nothing happens before; infinity for never. ``requests_per_second`` is
    what all this costs while nothing changes.
    """

    polls: frozenset[PollQuery]
    sentinels: frozenset[PollQuery]
    readers: int
    wake_at: float
    requests_per_second: float

    @property
    def connections(self) -> int:
        """The number of connections in use at most."""
        return len(self.polls) + self.readers


class Planner:
    """Decides for one source how its wanted queries are watched."""

    def __init__(self, *, max_connections: int = CONSUL_DEFAULTS.max_connections, policy: Policy | None = None) -> None:
        self._policy = Policy() if policy is None else policy
        self._limit = self._budget = max_connections
        self._shed_until = -math.inf
        self._readers = 0
        self._slots = 0
        self._wanted: frozenset[AnyQuery] = frozenset()
        self._unblocking = 0
        self._groups: dict[ServicesQuery, dict[AnyQuery, None]] = {}
        self._scopes: dict[ServicesQuery, Scope] = {}
        self._unscoped = Sweep(self._policy.pace)
        self._values: dict[AnyQuery, tuple[Any, ...]] = {}
        self._indexes: dict[AnyQuery, int] = {}
        self._polls: dict[PollQuery, None] = {}
        self._polled: OrderedDict[AnyQuery, float] = OrderedDict()
        self._poll_waitlist: OrderedDict[AnyQuery, float] = OrderedDict()
        self._urgent: OrderedDict[AnyQuery, None] = OrderedDict()
        self._later = Agenda()
        self._named_at: dict[AnyQuery, float] = {}
        self._reading: set[ReadQuery] = set()
        self._again: set[AnyQuery] = set()
        self._failures: dict[AnyQuery, int] = {}
        self._outage = OutageProbe(self._policy.probe)

    # What is wanted, and how that is laid out over the connections

    def want(self, queries: Iterable[AnyQuery], now: float) -> None:
        """Replace the wanted queries; those that stay keep their long polls and their place."""
        wanted = frozenset(queries)
        for query in self._wanted - wanted:
            self._forget(query)
        added, self._wanted = wanted - self._wanted, wanted
        self._unblocking = sum(not kind_of(query).blocks for query in wanted)
        for query in added:
            key = scope_of(query)
            if key is not None:
                self._groups.setdefault(key, {})[query] = None
        self._arrange(now)
        for query in added:
            self._place(query, now)
        self._fill()

    def _forget(self, query: AnyQuery) -> None:
        scope, name, key = self._scope_of(query), named_service(query), scope_of(query)
        if scope is not None and name is not None:
            scope.discard(query, name)
        if key is not None:
            group = self._groups.get(key, {})
            group.pop(query, None)
            if not group:
                self._groups.pop(key, None)
        self._unscoped.discard(query)
        self._later.discard(query)
        self._again.discard(query)
        for kept in (self._polled, self._poll_waitlist, self._urgent, self._named_at, self._failures):
            kept.pop(query, None)
        if query not in self._scopes:
            self._polls.pop(query, None)
            self._forget_answer(query)

    def _scope_of(self, query: Query) -> Scope | None:
        """Return the scope under sentinels that sees the query's changes, None where there is none."""
        key = scope_of(query)
        return None if key is None else self._scopes.get(key)

    def _forget_answer(self, query: AnyQuery) -> None:
        self._values.pop(query, None)
        self._indexes.pop(query, None)

    def _arrange(self, now: float) -> None:
        """Share the connections out between sentinels, readers and long polls of single queries."""
        room = max(1, self._budget - self._policy.spare)
        most = max(1, min(self._policy.readers, room // 4))
        few = min(most, self._unblocking)
        is_direct = len(self._wanted) - self._unblocking + few <= room
        self._readers = few if is_direct else most
        guarded = frozenset() if is_direct else self._worth_guarding((room - self._readers) // 4)
        for key in self._scopes.keys() - guarded:
            self._unguard(key, now)
        for key in guarded - self._scopes.keys():
            self._guard(key, now)
        self._slots = room - self._readers - 2 * len(self._scopes)
        while len(self._polled) > self._slots:
            self._stop_polling(next(iter(self._polled)), now)

    def _worth_guarding(self, most: int) -> frozenset[ServicesQuery]:
        """Return the scopes with the most queries, at most so many. What a peer exports has no sentinels."""
        groups = [key for key, group in self._groups.items() if key.peer is None and len(group) > 2]  # noqa: PLR2004
        return frozenset(sorted(groups, key=lambda key: (-len(self._groups[key]), str(key)))[:most])

    def _guard(self, key: ServicesQuery, now: float) -> None:
        scope = self._scopes[key] = Scope(key, self._policy.pace)
        self._polled.pop(key, None)
        for sentinel in scope.sentinels:
            self._polls.setdefault(sentinel)
        if key in self._values:
            scope.services_woke(self._values[key], self._indexes[key], 0.0, now)
        for query in self._groups[key]:
            self._unscoped.discard(query)
            self._place(query, now)

    def _unguard(self, key: ServicesQuery, now: float) -> None:
        for sentinel in self._scopes.pop(key).sentinels:
            self._polls.pop(sentinel, None)
        if key not in self._wanted:
            self._forget_answer(key)
        for query in self._groups.get(key, ()):
            self._place(query, now)

    def _place(self, query: AnyQuery, now: float) -> None:
        """Have a query without a long poll read at once, and swept from then on."""
        scope, name = self._scope_of(query), named_service(query)
        if scope is not None and name is not None:
            scope.add(query, name)
        if query in self._polled or query in self._scopes:
            return
        if kind_of(query).blocks:
            self._sweep_of(query).touch(query, now)
        self._urgent[query] = None

    def _fill(self) -> None:
        """Give the long polls that are free to queries that no sentinel watches."""
        free = self._slots - len(self._polled)
        for query in tuple(itertools.islice(self._unscoped, max(free, 0))):
            self._start_polling(query, -math.inf)

    def _sweep_of(self, query: AnyQuery) -> Sweep:
        scope = self._scope_of(query)
        return self._unscoped if scope is None else scope.sweep

    def _promote(self, query: AnyQuery, now: float) -> None:
        """Give a query that changed a long poll of its own, now or when another's has waited in vain."""
        if query in self._polled:
            self._polled[query] = now
            self._polled.move_to_end(query)
        elif len(self._polled) < self._slots:
            self._start_polling(query, now)
        elif self._slots > 0:
            self._poll_waitlist[query] = now
            self._poll_waitlist.move_to_end(query)
            if len(self._poll_waitlist) > self._slots:
                self._poll_waitlist.popitem(last=False)

    def _hand_over(self, query: AnyQuery, now: float) -> None:
        """Let a query whose long poll brought no news give it to the one that changed last, if that was later."""
        heir = next(reversed(self._poll_waitlist), None)
        if heir is not None and self._poll_waitlist[heir] > self._polled[query]:
            changed_at = self._poll_waitlist[heir]
            self._stop_polling(query, now)
            self._start_polling(heir, changed_at)

    def _start_polling(self, query: AnyQuery, changed_at: float) -> None:
        self._polled[query] = changed_at
        self._polled.move_to_end(query, last=changed_at > -math.inf)
        self._polls[query] = None
        self._sweep_of(query).discard(query)
        self._poll_waitlist.pop(query, None)
        self._urgent.pop(query, None)
        self._later.discard(query)

    def _stop_polling(self, query: AnyQuery, now: float) -> None:
        """Take a query's long poll away; one more read makes sure that nothing is lost between poll and sweep."""
        del self._polled[query]
        del self._polls[query]
        self._place(query, now)

    # What came of it

    def answered(
        self,
        query: PollQuery | ReadQuery,
        *,
        index: int,
        value: tuple[Any, ...] | None,
        waited: float | None,
        now: float,
    ) -> None:
        """Note the answer to a long poll that ``waited`` so many seconds for it, or, with None, to a read.

        ``value`` is None when it equals the query's last one; what is neither wanted nor polled has no last one.
        """
        if self._outage.answered():
            self._resume()
        role = kind_of(query).role
        if role is WatchRole.CENSUS:
            self._take_census(query, value or (), now)
            return
        if waited is None:
            self._reading.discard(query)
        if role is WatchRole.SENTINEL:
            scope = self._scope_of(query)
            if scope is not None:
                self._request(scope, scope.alarms_woke(value, index, now), now)
            return
        watched = self._scopes.get(cast("ServicesQuery", query))
        if watched is not None:
            self._request(watched, watched.services_woke(value, index, waited or 0.0, now), now)
        if query in self._wanted or query in self._scopes:
            self._note(query, index, value, now)
        if query in self._polled and value is None and waited is not None:
            self._hand_over(query, now)

    def _note(self, query: AnyQuery, index: int, value: tuple[Any, ...] | None, now: float) -> None:
        is_first, has_moved = query not in self._values, self._indexes.get(query) != index
        self._indexes[query] = index
        self._failures.pop(query, None)
        if value is not None or is_first:
            self._values[query] = value or ()
        scope = self._scope_of(query)
        kind = kind_of(query)
        if not kind.blocks:
            self._later.put(query, now + jittered(self._policy.interval))
        elif scope is not None and query not in self._scopes:
            scope.was_read(query, index if has_moved else None)
        if value is not None and not is_first and kind.blocks and query not in self._scopes:
            self._promote(query, now)
        if query in self._again:
            self._again.discard(query)
            self._urgent[query] = None

    def _take_census(self, query: Query, rows: tuple[StateRow, ...], now: float) -> None:
        self._reading.discard(query)
        scope = self._scope_of(query)
        if scope is not None:
            self._request(scope, scope.census_answered(rows, self._values, now), now)

    def _request(self, scope: Scope, named: ChangedNames, now: float) -> None:
        """Have the named services read before all others, none oftener than the policy allows."""
        for query in scope.queries_of(named, self._values):
            if query in self._later or query in self._polled:
                continue
            earliest = self._named_at.get(query, -math.inf) + self._policy.min_interval
            if now < earliest:
                self._later.put(query, earliest)
                continue
            scope.await_read(query)
            self._named_at[query] = now
            self._urgent[query] = None
            self._urgent.move_to_end(query, last=False)

    def failed(self, query: PollQuery | ReadQuery, now: float, *, is_read: bool, least_delay: float = 0.0) -> None:
        """Note that a long poll's round or a read failed.

        A read is tried again after a delay that grows; when to try a long poll again is the caller's to say.
        """
        kind = kind_of(query)
        if kind.blocks:  # what Consul does not know, or cannot reach, is no sign that it is away itself
            self._outage.failed(query, now)
        scope = self._scope_of(query)
        if scope is not None and query in scope.sentinels:
            scope.sentinel_failed(query)
        if not is_read or kind.role is WatchRole.SENTINEL:
            return
        self._reading.discard(query)
        if query in self._wanted and query not in self._polled and kind.role is not WatchRole.CENSUS:
            failures = self._failures[query] = self._failures.get(query, 0) + 1
            delay = self._policy.backoff.delay(failures)
            if not kind.blocks:
                delay = min(delay, jittered(self._policy.interval))  # asked no oftener than when all is well
            self._later.put(query, now + max(delay, least_delay))

    def _resume(self) -> None:
        """Read everything again that failed while the source was away."""
        while (query := self._later.take(math.inf)) is not None:
            self._urgent[query] = None

    def refused(self, now: float) -> None:
        """Note that Consul refused a connection because there are too many: use half as many for a while."""
        if now < self._shed_until - SHED_REST + 1:
            return
        self._rebudget(max(1, self._budget // 2), now)

    def _rebudget(self, connections: int, now: float) -> None:
        self._budget = min(connections, self._limit)
        self._shed_until = now + SHED_REST
        self._arrange(now)
        self._fill()

    # What to do

    def is_polled(self, query: PollQuery) -> bool:
        """Whether the query is to be long-polled for another round."""
        return query in self._polls

    def plan(self, now: float) -> WatchPlan:
        """Return what should run now."""
        if self._budget < self._limit and now >= self._shed_until:
            self._rebudget(self._budget * 2, now)
        polled = self._unblocking / self._policy.interval
        reads = sum((scope.sweep.background_rate for scope in self._scopes.values()), self._unscoped.background_rate)
        readers = max(self._readers, len(self._reading))  # after a change of layout, reads are seen to their end
        return WatchPlan(
            polls=frozenset(itertools.islice(self._polls, max(0, self._budget - readers))),
            sentinels=frozenset(sentinel for scope in self._scopes.values() for sentinel in scope.sentinels),
            readers=readers,
            wake_at=self._wake_at(now),
            requests_per_second=polled + reads + len(self._polls) / self._policy.wait,
        )

    def _wake_at(self, now: float) -> float:
        grow_at = self._shed_until if self._budget < self._limit else math.inf
        return min(grow_at, self._reads_at(now))

    def _reads_at(self, now: float) -> float:
        if not self._may_read():
            return math.inf
        self._hint_strays(now)
        scopes = (scope.next_at(now) for scope in self._scopes.values())
        due = min(now if self._urgent else math.inf, self._later.next_at(), self._unscoped.next_at(now), *scopes)
        return max(due, self._outage.probe_at)

    def _may_read(self) -> bool:
        return len(self._reading) < (1 if self._outage.is_on else self._readers)

    def _hint_strays(self, now: float) -> None:
        """Have the queries that no sentinel watches swept at leisure, always."""
        if len(self._unscoped):
            self._unscoped.hint(now)

    def take(self, now: float) -> ReadQuery | None:
        """Return the next query to read over a free reader connection, if any is due.

        It counts as being read until ``answered`` or ``failed`` is called for it.
        """
        if not self._may_read() or now < self._outage.probe_at:
            return None
        while (query := self._later.take(now)) is not None:
            self._urgent[query] = None
        while self._urgent:
            if self._begin(named := self._urgent.popitem(last=False)[0], now):
                return named
        sweeps: tuple[Scope | Sweep, ...] = (*self._scopes.values(), self._unscoped)
        for sweep in sweeps:
            while (swept := sweep.take(now)) is not None:
                if self._begin(swept, now):
                    return swept
        return None

    def _begin(self, query: ReadQuery, now: float) -> bool:
        """Count the query as being read from now on, unless something else sees to it."""
        if kind_of(query).role is WatchRole.CENSUS:
            self._reading.add(query)
            return True
        if query in self._polled or query in self._later:
            return False
        if query in self._reading:
            self._again.add(query)
            return False
        sweep = self._sweep_of(query)
        if query in sweep:
            sweep.touch(query, now)
        self._reading.add(query)
        return True
