"""The paced sweep: which query to read next when no sentinel can name one.

Always the query with the oldest read; at full speed after an unnamed change, at the leisure rate after a hint, slowly
otherwise. Pure; knows no sentinels, connections or answers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator

from ctemplate.core.model import Query
from ctemplate.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPace:
    """How fast a sweep may go. Times in seconds.

    ``duty`` is the largest share of the time that rounds at full speed may take under steady change. At leisure, all
    queries are read within ``leisure`` seconds, but no more than ``leisure_rate`` a second; in quiet times, within
    ``background`` seconds; both ``batch`` at a time, which costs less than one by one. With fewer than
    ``census_least`` queries a round is over before a census would be.
    """

    duty: float = 0.4
    leisure: float = 10.0
    leisure_rate: float = 200.0
    background: float = 300.0
    batch: int = 16
    census_least: int = 200


class Sweep:
    """The queries to sweep, each with the start of its last read."""

    def __init__(self, pace: SweepPace) -> None:
        self._pace = pace
        self._ages: OrderedDict[Query, float] = OrderedDict()
        self._demand = -math.inf  # everything read before this moment is to be read at full speed
        self._hint = -math.inf  # everything read before this moment is to be read at leisure
        self._round: float | None = None  # the demand that the running round serves
        self._began = 0.0
        self._rest_until = -math.inf
        self._left = 0  # of a batch at leisure
        self._latest = -math.inf

    def __len__(self) -> int:
        return len(self._ages)

    def __contains__(self, query: Query) -> bool:
        return query in self._ages

    def __iter__(self) -> Iterator[Query]:
        return iter(self._ages)

    def mark_read(self, query: Query, began: float) -> None:
        """Record that a read of the query begins at this moment; adds an unknown query."""
        self._ages[query] = began
        self._ages.move_to_end(query)
        if self._latest == -math.inf:
            self._latest = began

    def discard(self, query: Query) -> None:
        """Stop sweeping the query."""
        self._ages.pop(query, None)

    def demand(self, moment: float) -> None:
        """Request a round at full speed over the queries last read before the moment."""
        self._demand = max(self._demand, moment)

    def hint(self, moment: float) -> None:
        """Request a round at the leisure rate over the queries last read before the moment."""
        self._hint = max(self._hint, moment)

    def next_at(self, now: float) -> float:
        """Return the moment of the next read, infinity when none is due."""
        if not self._ages:
            return math.inf
        oldest = self._oldest()
        self._settle(oldest, now)
        if self._round is not None or self._left:
            return now
        rounds_at = self._rest_until if oldest < self._demand else math.inf
        return min(rounds_at, self._latest + self._gap(oldest) * len(self._ages) / self._batches)

    def take(self, now: float) -> Query | None:
        """Return the query to read now, if any; it counts as read from now on."""
        if self.next_at(now) > now:
            return None
        if self._round is None:
            self._left = (self._left or self._batch) - 1
        query = next(iter(self._ages))
        self.mark_read(query, now)
        self._latest = now
        return query

    @property
    def _batches(self) -> int:
        return math.ceil(len(self._ages) / self._pace.batch)

    @property
    def _batch(self) -> int:
        """Queries of one batch; the batches of a round are alike, so that no query waits for the next round."""
        return math.ceil(len(self._ages) / self._batches)

    @property
    def background_rate(self) -> float:
        """Reads per second in quiet times."""
        return len(self._ages) / self._pace.background

    def _oldest(self) -> float:
        return next(iter(self._ages.values()))

    def _settle(self, oldest: float, now: float) -> None:
        if self._round is not None and oldest >= self._round:
            self._round = None
            self._rest_until = now + (now - self._began) * (1 / self._pace.duty - 1)
        if self._round is None and oldest < self._demand and now >= self._rest_until:
            self._round, self._began = self._demand, now

    def _gap(self, oldest: float) -> float:
        if oldest < self._hint:
            return min(1.0, max(self._pace.leisure / len(self._ages), 1 / self._pace.leisure_rate))
        return self._pace.background / len(self._ages)
