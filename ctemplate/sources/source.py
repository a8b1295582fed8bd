"""What a source is, and what watching costs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from ctemplate.catalog import Catalog
from ctemplate.core.model import Query


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What watching costs a source's server: connections held, and requests per second while nothing changes."""

    queries: int
    connections: int = 0
    requests_per_second: float = 0.0


class OngoingOutage(msgspec.Struct, frozen=True, kw_only=True):
    """A current failure: its cause as a word, its duration in seconds, and the number of queries it affects."""

    cause: str
    subject: str
    seconds: float
    queries: int


class SourceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a source: its open connections, and what fails."""

    connections: int = 0
    outages: tuple[OngoingOutage, ...] = ()


class Source(Protocol):
    """Answers the catalog's wanted queries as long as it runs."""

    async def run(self, catalog: Catalog) -> None:
        """Answer the catalog's wanted queries with ``catalog.put`` until cancelled.

        Follows ``catalog.wishes()``: a query that stays wanted keeps its index and connection. Failures are retried for
        ever, and logged once when they begin and once when they end; only what no retry can repair is raised.
        """

    @property
    def health(self) -> SourceHealth:
        """The source's current state."""

    def cost(self, queries: Iterable[Query]) -> Cost:
        """Return what watching these queries would cost."""
