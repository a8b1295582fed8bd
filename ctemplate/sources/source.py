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
    """What fails at the moment: its cause in a word, for how many seconds, and how many queries it concerns."""

    cause: str
    subject: str
    seconds: float
    queries: int


class SourceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a source is doing: the connections that stand, and what fails."""

    connections: int = 0
    outages: tuple[OngoingOutage, ...] = ()


class Source(Protocol):
    """Answers whatever the catalog wants, for as long as it runs."""

    async def run(self, catalog: Catalog) -> None:
        """Answer the catalog's wanted queries with ``catalog.put`` until cancelled.

        Follows ``catalog.wishes()``: a query that stays wanted keeps its index and connection. Trouble is retried for
        ever and logged once at its start and once at its end; only what no retry can mend raises.
        """

    @property
    def health(self) -> SourceHealth:
        """How the source is doing at this moment."""

    def cost(self, queries: Iterable[Query]) -> Cost:
        """Return what watching these queries would cost."""
