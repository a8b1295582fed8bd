"""What answers queries: Consul, or a catalog file."""

from __future__ import annotations

from typing import Protocol

from ctemplate.catalog import Catalog


class Source(Protocol):
    """Answers whatever the catalog wants, for as long as it runs."""

    async def run(self, catalog: Catalog) -> None:
        """Answer the catalog's wanted queries with ``catalog.put`` until cancelled.

        Follows ``catalog.wishes()``: a query that stays wanted keeps its index and connection. Trouble is retried for
        ever and logged once at its start and once at its end; only what no retry can mend raises.
        """
