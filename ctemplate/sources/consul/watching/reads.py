"""Single reads: which query is read next, which later, and which once more.

Named queries come first. Pure; every method takes ``now`` where time matters. Knows no scopes, long polls or
connections.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable

from ctemplate.core.model import Query
from ctemplate.core.timing import TokenBucket, jittered
from ctemplate.queries import NodeContentQuery
from ctemplate.sources.consul.watching.plan import Policy
from ctemplate.sources.consul.watching.retries import Agenda


class Reads:
    """The queries that are to be read one by one, and those that are being read."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.under_way: set[Query] = set()
        self._urgent: OrderedDict[Query, None] = OrderedDict()
        self._later = Agenda()
        self._again: dict[Query, int] = {}
        self._named: dict[Query, TokenBucket] = {}
        self._named_since: dict[Query, int] = {}
        self._failures: dict[Query, int] = {}

    def put(self, *queries: Query) -> None:
        """Schedule queries to be read after those that wait already."""
        self._urgent.update(dict.fromkeys(queries))

    def is_delayed(self, query: Query) -> bool:
        """Whether the query is scheduled for later, and not before."""
        return query in self._later

    def cancel(self, queries: Iterable[Query]) -> None:
        """Cancel scheduled reads of these queries; reads under way are finished."""
        for query in queries:
            self._urgent.pop(query, None)
            self._later.discard(query)

    def forget(self, query: Query) -> None:
        """Remove a query."""
        self.cancel([query])
        for kept in (self._again, self._named, self._named_since, self._failures):
            kept.pop(query, None)

    def name(self, query: Query, *, reach: int, since: int, now: float) -> None:
        """Schedule a named query before all others, but no more often than the policy allows.

        Answers from the index ``reach`` on show the change, 0 for unknown; at ``since`` there was none yet.
        """
        self._named_since[query] = since
        if query in self.under_way:
            known = self._again.get(query, reach)
            self._again[query] = max(known, reach) if known and reach else 0
        else:
            self._put_first(query, now)

    def _put_first(self, query: Query, now: float) -> None:
        if query not in self._urgent and (delay := self._bucket(query).delay(now)) > 0:
            self._later.put(query, now + delay)
            return
        self._urgent[query] = None
        self._urgent.move_to_end(query, last=False)

    def _bucket(self, query: Query) -> TokenBucket:
        bucket = self._named.get(query)
        if bucket is None:
            policy = self._policy
            bucket = self._named[query] = TokenBucket(interval=policy.min_interval, burst=policy.named_burst)
        return bucket

    def answered(self, query: Query, index: int, *, is_read: bool, blocks: bool, now: float) -> None:
        """Record an answer; read the query again if it changed during the read, or if the answer shows an older state.

        The second happens where one of several servers lags behind. What does not block is read again in any case.
        """
        self._failures.pop(query, None)
        if not blocks:
            self._later.put(query, now + jittered(self._policy.interval))
        if not is_read:
            return
        since = self._named_since.pop(query, 0)
        if query in self._again:
            reach = self._again.pop(query)
            if not reach or index < reach:
                self._put_first(query, now)
        elif index <= since and query not in self._later:
            self._later.put(query, now + self._policy.min_interval)

    def node_answered(self, query: NodeContentQuery) -> None:
        """Record a node's answer; read the node again if that was requested during the read."""
        if self._again.pop(query, None) is not None:
            self._urgent[query] = None

    def failed(self, query: Query, now: float, least_delay: float, *, blocks: bool) -> None:
        """Retry a query after a growing delay."""
        failures = self._failures[query] = self._failures.get(query, 0) + 1
        delay = self._policy.backoff.delay(failures)
        if not blocks:
            delay = min(delay, jittered(self._policy.interval))  # asked no more often than without failures
        self._later.put(query, now + max(delay, least_delay))

    def resume(self) -> None:
        """Read now everything that was scheduled for later."""
        while (query := self._later.take(math.inf)) is not None:
            self._urgent[query] = None

    def next_at(self, now: float) -> float:
        """Return the moment of the next read, infinity when none is scheduled."""
        return now if self._urgent else self._later.next_at()

    def take(self, now: float) -> Query | None:
        """Return the query to read now, if any."""
        while (query := self._later.take(now)) is not None:
            self._urgent[query] = None
        return self._urgent.popitem(last=False)[0] if self._urgent else None

    def begin(self, query: Query) -> bool:
        """Count a query as being read from now on; one that is read already is read once more."""
        if query in self.under_way:
            self._again[query] = 0
            return False
        self.under_way.add(query)
        return True
