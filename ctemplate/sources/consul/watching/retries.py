"""When to retry: each failed query after its own delay, an unreachable source with single probes.

Pure; every method takes ``now``.
"""

from __future__ import annotations

import heapq
import itertools
import math

from ctemplate.core.model import Query
from ctemplate.core.timing import Backoff

OUTAGE = 3  # different queries that fail in a row, with no success between, mean that the source is unavailable


class Agenda:
    """Queries to read later, each at its time."""

    def __init__(self) -> None:
        self._due: dict[Query, float] = {}
        self._heap: list[tuple[float, int, Query]] = []
        self._order = itertools.count()

    def __contains__(self, query: object) -> bool:
        return query in self._due

    def put(self, query: Query, due: float) -> None:
        """Schedule the query for that moment, replacing an earlier schedule."""
        self._due[query] = due
        heapq.heappush(self._heap, (due, next(self._order), query))

    def discard(self, query: Query) -> None:
        """Take the query off the agenda."""
        self._due.pop(query, None)

    def next_at(self) -> float:
        """Return the earliest moment on the agenda, infinity when it is empty."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def take(self, now: float) -> Query | None:
        """Return a query whose moment has come, if any, and take it off."""
        if not math.isfinite(due := self.next_at()) or due > now:
            return None
        query = heapq.heappop(self._heap)[2]
        del self._due[query]
        return query


class OutageProbe:
    """Decides when the whole source fails rather than one query, and when to retry it with a single read."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failing: set[Query] = set()
        self._probes = 0
        self.probe_at = -math.inf

    @property
    def is_on(self) -> bool:
        """Whether several queries failed with no success between."""
        return self._probes > 0

    def failed(self, query: Query, now: float) -> None:
        """Note a failure."""
        self._failing.add(query)
        if len(self._failing) >= OUTAGE and now >= self.probe_at:
            self._probes += 1
            self.probe_at = now + self._backoff.delay(self._probes)

    def answered(self) -> bool:
        """Note a success; answer whether it ended an outage."""
        was_on = self.is_on
        self._failing.clear()
        self._probes, self.probe_at = 0, -math.inf
        return was_on
