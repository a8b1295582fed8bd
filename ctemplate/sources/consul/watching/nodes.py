"""The nodes of a scope: which services an answer of a node names, and whether long polls see every node.

A long poll of a node wakes for everything that is registered, changed or removed there. So where each node that the
token may read has one, a wake-up of the services sentinel needs no search: the node names the service.

A node's answer is compared with the services' answers, not with its previous one: it names every service that was
written after the service's own answer, and every service that lacks an instance now. So nothing is lost between two
polls or reads.

Pure; every method takes ``now`` where time matters. Knows nothing of budgets or connections.
"""

from __future__ import annotations

import dataclasses
import math
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any, cast

from ctemplate.core.model import Query
from ctemplate.queries import NodeContentQuery, NodeListQuery, ServicesQuery
from ctemplate.sources.consul.endpoints.nodes import NodeEntry, PlacedService
from ctemplate.sources.consul.watching.plan import NewestAnswers
from ctemplate.sources.consul.watching.sweep import Sweep, SweepPace

NODE_READ = 2  # requests for a service that one for a node costs, and the read of a service that it then names
INSTANCES_PER_READ = 20  # instances in an answer that cost as much as one more request
LIGHT_NODE = 200  # instances; a node's answer with at most as many is always cheap
SMALL_SHARE = 4  # a heavier node gets a long poll if its answer costs at most this fraction (1/n) of a census
NO_SUCH_NODE = 1  # the index of the answer of a node that is not there


class Nodes:
    """The nodes of a scope, known from their list, their answers and the services' answers."""

    def __init__(self, services: ServicesQuery, pace: SweepPace) -> None:
        self.list_query = NodeListQuery(dc=services.dc, ns=services.ns, partition=services.partition)
        self.sweep = Sweep(dataclasses.replace(pace, background=math.inf))
        self.polled: set[Query] = set()
        self._present: frozenset[Query] = frozenset()
        self._listed: dict[str, NodeEntry] = {}
        self._queries: dict[str, NodeContentQuery] = {}
        self._carried: dict[str, dict[Query, None]] = {}
        self._sizes: dict[str, int] = {}
        self._indexes: dict[str, int] = {}
        self._unreadable: set[str] = set()

    def __len__(self) -> int:
        return len(self._listed)

    def __contains__(self, query: object) -> bool:
        return query in self._present

    # What carries the services' instances

    def carry(self, query: Query, before: Iterable[Any], after: Iterable[Any]) -> None:
        """Record the nodes of a service's instances, in place of the earlier ones."""
        now_on = {instance.node for instance in after}
        for node in {instance.node for instance in before} - now_on:
            carried = self._carried.get(node, {})
            carried.pop(query, None)
            if not carried:
                self._carried.pop(node, None)
        for node in now_on:
            self._carried.setdefault(node, {})[query] = None

    def carried_by(self, names: Iterable[str]) -> dict[Query, None]:
        """Return the services that have an instance on one of these nodes."""
        return {query: None for name in names for query in self._carried.get(name, ())}

    # What Consul answers

    def list_answered(self, entries: Iterable[NodeEntry], now: float) -> tuple[frozenset[str], list[NodeContentQuery]]:
        """Take the list of nodes; return the names of those that changed or went, and the queries of new ones."""
        listed = {entry.name: entry for entry in entries}
        gone = self._listed.keys() - listed.keys()
        changed = {name for name in self._listed.keys() & listed.keys() if listed[name] != self._listed[name]}
        fresh = [self._query(name) for name in listed if name not in self._listed]
        self._listed = listed
        self._present = frozenset(map(self._query, listed))
        for name in gone:
            self.sweep.discard(self._query(name))
            for known in (self._queries, self._sizes, self._indexes):
                known.pop(name, None)
        for query in fresh:
            if query not in self.polled:
                self.sweep.mark_read(query, now)
        self.retry()
        return frozenset(gone | changed), fresh

    def retry(self) -> None:
        """Consider nodes that could not be read as readable again, until a read fails."""
        polled = {name for name, query in self._queries.items() if query in self.polled}
        self._unreadable &= polled
        self._unreadable |= {name for name in self._listed if not _is_queryable(name)}

    def _query(self, name: str) -> NodeContentQuery:
        query = self._queries.get(name)
        if query is None:
            scope = self.list_query
            query = self._queries[name] = NodeContentQuery(
                name=name, dc=scope.dc, ns=scope.ns, partition=scope.partition
            )
        return query

    def failed(self, query: NodeContentQuery) -> None:
        """Note that a node cannot be read at the moment."""
        self._unreadable.add(query.name)

    def answered(
        self,
        query: NodeContentQuery,
        rows: Iterable[PlacedService] | None,
        index: int,
        wanted: Mapping[str, tuple[Query, ...]],
        newest: NewestAnswers,
    ) -> tuple[dict[Query, int], int]:
        """Take a node's answer, ``rows`` None when equal to its last one; return the services it names, and since when.

        Each service comes with the index from which on its answers show the change, 0 for unknown.
        """
        self._unreadable.discard(query.name)
        since, self._indexes[query.name] = self._indexes.get(query.name, 0), index
        if rows is None:
            return {}, since
        there, named = set(), dict[Query, int]()
        for row in rows:
            there.add(row.id)
            for service in wanted.get(row.service, ()):
                if newest.indexes.get(service, 0) < row.modified:
                    named[service] = max(named.get(service, 0), row.modified)
        self._sizes[query.name] = len(there)
        for service in self._carried.get(query.name, ()):
            if any(one.node == query.name and one.id not in there for one in newest.values.get(service, ())):
                named[service] = index if index > NO_SUCH_NODE else 0
        return named, since

    # What the long polls cover, and the cost of reading the rest

    @property
    def is_readable(self) -> bool:
        """Whether everything that the token may read is on known nodes."""
        return bool(self._listed) and not self._unreadable and self._carried.keys() <= self._listed.keys()

    @property
    def sees_all(self) -> bool:
        """Whether each node has a long poll that works."""
        return self.is_readable and not len(self.sweep)

    @property
    def cost(self) -> float:
        """The cost of reading the nodes without a long poll, in requests."""
        return sum(self._cost(cast("NodeContentQuery", query).name) for query in self.sweep)

    def _cost(self, name: str) -> float:
        return NODE_READ + self._size(name) / INSTANCES_PER_READ

    def _size(self, name: str) -> int:
        return self._sizes.get(name, len(self._carried.get(name, ())))

    def is_light(self, query: Query, census_cost: float) -> bool:
        """Whether a long poll of the node costs less per change than reading all checks."""
        name = cast("NodeContentQuery", query).name
        return _is_queryable(name) and (self._size(name) <= LIGHT_NODE or self._cost(name) * SMALL_SHARE <= census_cost)

    def candidates(self, census_cost: float) -> list[NodeContentQuery]:
        """Return the nodes that a long poll suits, those with most of the services first."""
        queries = [query for query in map(self._query, self._listed) if self.is_light(query, census_cost)]
        return sorted(queries, key=lambda query: -len(self._carried.get(query.name, ())))


def _is_queryable(name: str) -> bool:
    """Whether Consul can be asked for a node of this name; some are refused or read as another path."""
    return bool(name) and name.isprintable() and posixpath.normpath(path := f"/node/{name}") == path
