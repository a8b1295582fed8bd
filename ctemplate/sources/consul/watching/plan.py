"""What the planner may spend, and what it decides: plain values."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from ctemplate.core.model import Query
from ctemplate.core.settings import CONSUL_DEFAULTS
from ctemplate.core.timing import Backoff
from ctemplate.core.values import dataclass
from ctemplate.sources.consul.watching.sweep import SweepPace


@dataclass(slots=True)
class NewestAnswers:
    """The newest answers to the queries that are wanted, and their indexes."""

    values: dict[Query, tuple[Any, ...]] = field(default_factory=dict)
    indexes: dict[Query, int] = field(default_factory=dict)

    def discard(self, query: Query) -> None:
        """Forget a query's answer."""
        self.values.pop(query, None)
        self.indexes.pop(query, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the planner may spend. Times in seconds.

    ``spare`` connections are left for the caller's other requests. A query that is named repeatedly is read
    ``named_burst`` times at once, then once per ``min_interval``. ``wait`` is how long a long poll waits for a change,
    ``interval`` the time between two reads of a query that does not block.
    """

    spare: int = 2
    readers: int = 16
    min_interval: float = 1.0
    named_burst: int = 4
    wait: float = CONSUL_DEFAULTS.wait
    interval: float = CONSUL_DEFAULTS.query_interval
    backoff: Backoff = field(default_factory=lambda: Backoff(ceiling=15.0))
    probe: Backoff = field(default_factory=lambda: Backoff(ceiling=5.0))
    pace: SweepPace = field(default_factory=SweepPace)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """What should run now.

    ``polls`` are the queries to long-poll as long as they are listed here, ``sentinels`` those of them whose wake-ups
    matter even without a new value. ``readers`` is the number of connections for reads. ``wake_at`` is when to plan
    again if nothing happens before; infinity for never. ``requests_per_second`` is the cost while nothing changes.
    """

    polls: frozenset[Query]
    sentinels: frozenset[Query]
    readers: int
    wake_at: float
    requests_per_second: float

    @property
    def connections(self) -> int:
        """The number of connections in use at most."""
        return len(self.polls) + self.readers
