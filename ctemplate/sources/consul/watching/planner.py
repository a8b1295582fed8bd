"""The watch planner: what to long-poll, what to read and when, so that a few connections see every change.

Few queries get a long poll each. More queries are watched by sentinels: long polls per scope report that something
changed, and mostly which service; the named queries are read at once over a few kept connections. Nodes have long
polls as well, which name everything registered, changed or removed there; where connections are too few, only the
nodes that changed last have them. A change that nothing names is searched for on the other nodes, among the checks,
or by a paced sweep of the services, whichever costs least. Services that changed lately get long polls of their own
where connections are left.

Prepared queries cannot block, so they are polled every ``interval``; a failed one no later. So are single queries that
the caller asks only to learn what an answer to many lacks.

Consul counts the connection of an abandoned long poll until its wait is over, so a long poll passes to another query
only between two rounds.

Pure: no await, no clock, no I/O; every method takes ``now``, seconds on one monotonic clock. The caller runs exactly
the long polls of ``plan``, reads whatever ``take`` returns over ``plan.readers`` connections, and reports each end.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, cast

from ctemplate.core.model import Query
from ctemplate.core.settings import CONSUL_DEFAULTS
from ctemplate.queries import NodeContentQuery, ServicesQuery, WatchRole, kind_of, named_service
from ctemplate.sources.consul.watching.budget import ConnectionBudget
from ctemplate.sources.consul.watching.plan import NewestAnswers, Policy, WatchPlan
from ctemplate.sources.consul.watching.reads import Reads
from ctemplate.sources.consul.watching.retries import OutageProbe
from ctemplate.sources.consul.watching.scope import Scope, Suspects
from ctemplate.sources.consul.watching.sentinel import scope_of
from ctemplate.sources.consul.watching.slots import SharedSlots, is_node
from ctemplate.sources.consul.watching.sweep import Sweep

SLOTS_FOR_NODES = 8  # per scope; with fewer long polls available, the list of nodes would cost more than it gains


class Planner:
    """Decides for one source how its wanted queries are watched."""

    def __init__(self, *, max_connections: int = CONSUL_DEFAULTS.max_connections, policy: Policy | None = None) -> None:
        self._policy = Policy() if policy is None else policy
        self._budget = ConnectionBudget(max_connections)
        self._readers = 0
        self._lonely = 0
        self._wanted: frozenset[Query] = frozenset()
        self._unblocking = 0
        self._unpolled: frozenset[Query] = frozenset()
        self._groups: dict[ServicesQuery, dict[Query, None]] = {}
        self._scopes: dict[ServicesQuery, Scope] = {}
        self._unscoped = Sweep(self._policy.pace)
        self._newest = NewestAnswers()
        self._polls: dict[Query, None] = {}
        self._slots = SharedSlots()
        self._reads = Reads(self._policy)
        self._outage = OutageProbe(self._policy.probe)

    # Wanted queries, and how they share the connections

    def want(self, queries: Iterable[Query], now: float, *, unpolled: frozenset[Query] = frozenset()) -> None:
        """Replace the wanted queries; those that stay keep their long polls and their place.

        Those that are ``unpolled`` get no long poll, though they could.
        """
        wanted = frozenset(queries)
        kept = (self._wanted & wanted) - (self._unpolled ^ unpolled)
        for query in self._wanted - kept:
            self._forget(query)
        added, self._wanted, self._unpolled = wanted - kept, wanted, unpolled
        self._unblocking = sum(not self._is_polled_kind(query) for query in wanted)
        for query in added:
            key = scope_of(query)
            if key is not None:
                self._groups.setdefault(key, {})[query] = None
        self._arrange(now)
        for query in added:
            if query not in self._sweep_of(query):
                self._place(query, now)
        self._fill(now)

    def _is_polled_kind(self, query: Query) -> bool:
        """Whether a query may have a long poll: Consul can hold its answer back, and the caller wants that."""
        return kind_of(query).blocks and query not in self._unpolled

    def _forget(self, query: Query) -> None:
        scope, name, key = self._scope_of(query), named_service(query), scope_of(query)
        if scope is not None and name is not None:
            scope.discard(query, name, self._newest.values.get(query, ()))
        if key is not None:
            group = self._groups.get(key, {})
            group.pop(query, None)
            if not group:
                self._groups.pop(key, None)
        self._unscoped.discard(query)
        self._slots.wanted.discard(query)
        self._reads.forget(query)
        if query not in self._scopes:
            self._polls.pop(query, None)
            self._newest.discard(query)

    def _arrange(self, now: float) -> None:
        """Distribute the connections among sentinels, readers, and long polls of nodes and of single queries."""
        room = max(1, self._budget.connections - self._policy.spare)
        most = max(1, min(self._policy.readers, room // 4))
        few = min(most, self._unblocking)
        is_direct = len(self._wanted) - self._unblocking + few <= room
        self._readers = few if is_direct else most
        guarded = frozenset() if is_direct else self._worth_guarding((room - self._readers) // 4)
        for key in self._scopes.keys() - guarded:
            self._unguard(key, now)
        for key in guarded - self._scopes.keys():
            self._guard(key, now)
        watched = sum(len(self._groups[key]) for key in self._scopes)
        self._lonely = len(self._wanted) - self._unblocking - watched
        slots = room - self._readers - 2 * len(self._scopes)
        watches_nodes = slots >= SLOTS_FOR_NODES * len(self._scopes)
        for scope in self._scopes.values():
            self._watch_nodes(scope, now, is_on=watches_nodes)
        self._slots.total = slots - watches_nodes * sum(len(scope.helpers) for scope in self._scopes.values())
        while (query := self._slots.excess()) is not None:
            self._stop_polling(query, now)
        self._share_slots()
        for scope in self._scopes.values():
            self._poll_nodes(scope)

    def _worth_guarding(self, most: int) -> frozenset[ServicesQuery]:
        """Return the scopes with the most queries, at most ``limit``. What a peer exports has no sentinels."""
        groups = [key for key, group in self._groups.items() if key.peer is None and len(group) > 2]  # noqa: PLR2004
        return frozenset(sorted(groups, key=lambda key: (-len(self._groups[key]), str(key)))[:most])

    def _guard(self, key: ServicesQuery, now: float) -> None:
        scope = self._scopes[key] = Scope(key, self._policy.pace)
        self._slots.wanted.discard(key)
        for sentinel in scope.sentinels:
            self._polls.setdefault(sentinel)
        if key in self._newest.values:
            scope.services_woke(self._newest.values[key], self._newest.indexes[key], 0.0, now)
        for query in self._groups[key]:
            self._unscoped.discard(query)
            self._place(query, now)

    def _unguard(self, key: ServicesQuery, now: float) -> None:
        scope = self._scopes[key]
        self._watch_nodes(scope, now, is_on=False)
        del self._scopes[key]
        for sentinel in scope.sentinels:
            self._polls.pop(sentinel, None)
        if key not in self._wanted:
            self._newest.discard(key)
        for query in self._groups.get(key, ()):
            self._place(query, now)

    def _watch_nodes(self, scope: Scope, now: float, *, is_on: bool) -> None:
        """Start or stop watching the nodes of a scope."""
        if is_on:
            self._polls.update(dict.fromkeys(scope.helpers))
        elif scope.watches_nodes:
            for helper in scope.helpers:
                del self._polls[helper]
            for polled in tuple(scope.nodes.polled):
                self._stop_polling(polled, now)
            self._reads.cancel(scope.nodes.sweep)
        scope.watches_nodes = is_on

    def _share_slots(self) -> None:
        nodes = sum(len(scope.nodes) for scope in self._scopes.values() if scope.watches_nodes)
        self._slots.share(nodes=nodes, lonely=self._lonely)

    def _poll_nodes(self, scope: Scope) -> None:
        """Give long polls to the nodes of a scope whose services have been read, as far as there are any left."""
        if not scope.watches_nodes or not scope.is_read:
            return
        for query in scope.nodes.candidates(scope.census_cost):
            if query not in self._slots and self._slots.nodes.has_room:
                self._promote(query, -math.inf)

    def _place(self, query: Query, now: float) -> None:
        """Schedule a query without a long poll to be read at once, and swept from then on."""
        scope, name = self._scope_of(query), named_service(query)
        if scope is not None and name is not None:
            scope.add(query, name, self._newest.values.get(query))
        if query in self._slots or query in self._scopes:
            return
        if self._is_polled_kind(query):
            self._sweep_of(query).mark_read(query, now)
        self._reads.put(query)

    def _fill(self, now: float) -> None:
        """Give long polls to queries that no sentinel watches, before services that changed lately."""
        for query in tuple(self._unscoped):
            if not self._slots.may_start(query):
                if (seen := next(filter(self._scope_of, self._slots.wanted), None)) is None:
                    return
                self._stop_polling(seen, now)
            if self._slots.may_start(query):
                self._start_polling(query)

    def _scope_of(self, query: Query) -> Scope | None:
        """Return the scope under sentinels that sees the query's changes, None where there is none."""
        key = scope_of(query)
        return None if key is None else self._scopes.get(key)

    def _sweep_of(self, query: Query) -> Sweep:
        scope = self._scope_of(query)
        if scope is None:
            return self._unscoped
        return scope.nodes.sweep if is_node(query) else scope.sweep

    def _promote(self, query: Query, now: float) -> None:
        """Give a query that changed a long poll of its own, now or when another's round ends without a change."""
        self._slots.of(query).changed(query, now)
        if self._slots.may_start(query):
            self._start_polling(query)

    def _hand_over(self, query: Query, now: float) -> None:
        """Pass the long poll of a query without news to another query that needs it more."""
        next_waiting = self._slots.next_waiting(query)
        if next_waiting is None:
            return
        scope = self._scope_of(next_waiting)
        if scope is not None and not is_node(next_waiting) and self._scope_of(query) is None:
            return  # sentinels see the changes of the waiting query alone
        if is_node(next_waiting) and (scope is None or not scope.is_poll_worthwhile(next_waiting)):
            self._slots.nodes.discard(next_waiting)
            return
        self._stop_polling(query, now)
        self._start_polling(next_waiting)

    def _start_polling(self, query: Query) -> None:
        self._slots.of(query).start(query)
        self._polls[query] = None
        self._sweep_of(query).discard(query)
        self._reads.cancel([query])
        scope = self._scope_of(query)
        if scope is not None and is_node(query):
            scope.nodes.polled.add(query)

    def _stop_polling(self, query: Query, now: float) -> None:
        """Take a query's long poll away; one more read ensures that nothing is lost between poll and sweep."""
        self._slots.of(query).stop(query)
        del self._polls[query]
        scope = self._scope_of(query)
        if scope is None or not is_node(query):
            self._place(query, now)
            return
        scope.nodes.polled.discard(query)
        if query in scope.nodes:
            scope.nodes.sweep.mark_read(query, now)
            self._reads.put(query)

    # Results

    def answered(
        self,
        query: Query,
        *,
        index: int,
        value: tuple[Any, ...] | None,
        waited: float | None,
        now: float,
    ) -> None:
        """Record the answer to a long poll that ``waited`` so many seconds for it or, with None, to a read.

        ``value`` is None when it equals the query's last one; a query neither wanted nor polled has no last one.
        """
        if self._outage.answered():
            self._reads.resume()
        if waited is None:
            self._reads.under_way.discard(query)
        if kind_of(query).role is not WatchRole.WANTED:
            scope = self._scope_of(query)
            if scope is not None:
                self._take_names(scope, query, value, index, waited=waited, now=now)
            return
        watched = self._scopes.get(cast("ServicesQuery", query))
        if watched is not None:
            self._request(watched, watched.services_woke(value, index, waited or 0.0, now), now)
        if query in self._wanted or watched is not None:
            self._note(query, index, value, now, is_read=waited is None)
        if query in self._slots and value is None and waited is not None:
            self._hand_over(query, now)

    def _take_names(
        self, scope: Scope, query: Query, value: tuple[Any, ...] | None, index: int, *, waited: float | None, now: float
    ) -> None:
        """Process an answer that no template wants: schedule the queries it names, and give long polls to nodes."""
        match kind_of(query).role:
            case WatchRole.CENSUS:
                self._request(scope, scope.census_answered(value or (), index, self._newest, now), now)
            case WatchRole.NODE:
                node = cast("NodeContentQuery", query)
                suspects = scope.node_answered(node, value, index, self._newest)
                self._request(scope, suspects, now)
                self._reads.node_answered(node)
                self._settle_node(scope, node, now, is_vain=value is None and waited is not None)
                if suspects.is_change and scope.is_poll_worthwhile(node):
                    self._promote(node, now)
            case _:
                suspects = scope.sentinel_woke(query, value, index, waited=waited or 0.0, now=now)
                self._request(scope, suspects, now)
                if query == scope.nodes.list_query:
                    self._meet(scope, suspects.fresh, now)
                elif query == scope.alarms and scope.rests(now):
                    self._polls.pop(query, None)

    def _settle_node(self, scope: Scope, query: NodeContentQuery, now: float, *, is_vain: bool) -> None:
        """Take the long poll from a node that is gone, too large for one, or unchanged while another node changed."""
        if query in self._slots:
            if not scope.is_poll_worthwhile(query):
                self._stop_polling(query, now)
            elif is_vain:
                self._hand_over(query, now)

    def _meet(self, scope: Scope, fresh: tuple[NodeContentQuery, ...], now: float) -> None:
        """Poll new nodes or read them at once; read the services instead, if they are fewer."""
        self._share_slots()
        self._poll_nodes(scope)
        unpolled = [query for query in fresh if query not in self._slots]
        if len(unpolled) > len(scope.sweep):
            scope.sweep.demand(now)
        else:
            self._reads.put(*unpolled)

    def _note(self, query: Query, index: int, value: tuple[Any, ...] | None, now: float, *, is_read: bool) -> None:
        is_first, has_moved = query not in self._newest.values, self._newest.indexes.get(query) != index
        scope, blocks = self._scope_of(query), self._is_polled_kind(query)
        self._newest.indexes[query] = index
        if value is not None or is_first:
            before, self._newest.values[query] = self._newest.values.get(query, ()), value or ()
            if scope is not None and named_service(query) is not None:
                scope.has_value(query, before, value or ())
        if blocks and scope is not None and query not in self._scopes:
            scope.was_read(query, index if has_moved else None)
            if is_first:
                self._poll_nodes(scope)
        if value is not None and not is_first and blocks and query not in self._scopes:
            self._promote(query, now)
        self._reads.answered(query, index, is_read=is_read, blocks=blocks, now=now)

    def _request(self, scope: Scope, suspects: Suspects, now: float) -> None:
        """Schedule reads of the named services, except those whose answers show the change already."""
        for query, reach in suspects.reach.items():
            is_shown = 0 < reach <= self._newest.indexes.get(query, 0)
            if not is_shown and query not in self._slots and not self._reads.is_delayed(query):
                scope.await_read(query)
                self._reads.name(query, reach=reach, since=suspects.since, now=now)

    def failed(self, query: Query, now: float, *, is_read: bool, least_delay: float = 0.0) -> None:
        """Record that a long poll's round or a read failed.

        A read is retried after a growing delay; the caller decides when to retry a long poll.
        """
        kind = kind_of(query)
        if kind.blocks:  # an unknown query or an unreachable datacenter does not mean that Consul is unreachable
            self._outage.failed(query, now)
        scope = self._scope_of(query)
        if scope is not None and query in scope.sentinels:
            scope.sentinel_failed(query)
        if scope is not None and kind.role is WatchRole.NODE:
            self._node_failed(scope, cast("NodeContentQuery", query), now)
        if not is_read or kind.role is WatchRole.SENTINEL:
            return
        self._reads.under_way.discard(query)
        if query in self._wanted and query not in self._slots:
            if scope is not None:
                scope.read_failed(query)
            self._reads.failed(query, now, least_delay, blocks=self._is_polled_kind(query))

    def _node_failed(self, scope: Scope, query: NodeContentQuery, now: float) -> None:
        scope.nodes.failed(query)
        if query in self._slots and query not in scope.nodes:
            self._stop_polling(query, now)

    def refused(self, now: float) -> None:
        """Record that Consul refused a connection because there are too many: use half as many for some time."""
        if self._budget.halve(now):
            self._lay_out(now)

    def _lay_out(self, now: float) -> None:
        self._arrange(now)
        self._fill(now)

    # Decisions

    def is_polled(self, query: Query) -> bool:
        """Whether the query is to be long-polled for another round."""
        return query in self._polls

    def plan(self, now: float) -> WatchPlan:
        """Return what should run now."""
        if self._budget.grow(now):
            self._lay_out(now)
        self._polls.update({scope.alarms: None for scope in self._scopes.values() if not scope.rests(now)})
        reads = sum((scope.sweep.background_rate for scope in self._scopes.values()), self._unscoped.background_rate)
        readers = max(self._readers, len(self._reads.under_way))  # reads that were begun are finished
        return WatchPlan(
            polls=frozenset(itertools.islice(self._polls, max(0, self._budget.connections - readers))),
            sentinels=frozenset[Query]().union(
                *(each for scope in self._scopes.values() for each in (scope.sentinels, scope.nodes.polled))
            ),
            readers=readers,
            wake_at=min(self._budget.grow_at, self._reads_at(now)),
            requests_per_second=self._unblocking / self._policy.interval + reads + len(self._polls) / self._policy.wait,
        )

    def _reads_at(self, now: float) -> float:
        if not self._may_read():
            return math.inf
        if len(self._unscoped):  # what no sentinel watches is swept at leisure, always
            self._unscoped.hint(now)
        scopes = (scope.next_at(now) for scope in self._scopes.values())
        due = min(self._reads.next_at(now), self._unscoped.next_at(now), *scopes)
        return max(due, self._outage.probe_at)

    def _may_read(self) -> bool:
        return len(self._reads.under_way) < (1 if self._outage.is_on else self._readers)

    def take(self, now: float) -> Query | None:
        """Return the next query to read over a free reader connection, if any is due.

        It counts as being read until ``answered`` or ``failed`` is called for it.
        """
        if not self._may_read() or now < self._outage.probe_at:
            return None
        while (query := self._reads.take(now)) is not None:
            if self._begin(query, now):
                return query
        sweeps: tuple[Scope | Sweep, ...] = (*self._scopes.values(), self._unscoped)
        for sweep in sweeps:
            while (swept := sweep.take(now)) is not None:
                if self._begin(swept, now):
                    return swept
        return None

    def _begin(self, query: Query, now: float) -> bool:
        """Count the query as being read from now on, unless a long poll has it."""
        if kind_of(query).role is WatchRole.CENSUS:
            return self._reads.begin(query)
        if query in self._polls or self._reads.is_delayed(query) or not self._reads.begin(query):
            return False
        sweep = self._sweep_of(query)
        if query in sweep:
            sweep.mark_read(query, now)
        return True
