"""A catalog file as a source: services and instances written down instead of kept in Consul.

Editing the file drives the same path as a change in Consul. What the file says is told by ``contents``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from pathlib import Path

from ctemplate.catalog import Catalog
from ctemplate.defects import Defects
from ctemplate.edits import edits, signatures
from ctemplate.errors import ConfigError
from ctemplate.model import AnyQuery
from ctemplate.sources import Cost
from ctemplate.sources.contents import Contents, answer, parse

logger = logging.getLogger(__name__)


def read(path: Path) -> Contents:
    """Return what the catalog file says; raises ConfigError naming the file and the key's path."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {(exc.strerror or str(exc)).lower()}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(str(path), f"is not UTF-8 text: byte {exc.start}") from exc
    return parse(text, name=str(path))


class CatalogFile:
    """Answers every query from one file, and again when the file is edited; a broken edit keeps what was read last."""

    def __init__(self, path: Path) -> None:
        """Read the file at once, so that a broken one is an error of the start; raises ConfigError."""
        self.path = path
        self._known = signatures([path])
        self._contents = read(path)
        self._defects = Defects()

    async def run(self, catalog: Catalog) -> None:
        """Answer the catalog's wanted queries until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_wishes(catalog), name="catalog-file-wishes")
            tasks.create_task(self._follow_edits(catalog), name="catalog-file-edits")

    def cost(self, queries: Iterable[AnyQuery]) -> Cost:
        """Return what watching costs: a file asks nothing of anybody."""
        return Cost(queries=len(frozenset(queries)))

    async def _follow_wishes(self, catalog: Catalog) -> None:
        while True:
            self._answer_all(catalog, await catalog.wishes())

    async def _follow_edits(self, catalog: Catalog) -> None:
        async for _ in edits([self.path], known=self._known):
            try:
                self._contents = read(self.path)
            except ConfigError as exc:
                logger.error("%s; keeping what was read before", exc)  # noqa: TRY400 - a sentence, not a traceback
                continue
            logger.info("%s: read again", self.path)
            self._answer_all(catalog, catalog.wanted)

    def _answer_all(self, catalog: Catalog, queries: frozenset[AnyQuery]) -> None:
        now = time.time()
        for query in queries:
            try:
                catalog.put(answer(self._contents, query, now=now))
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this query an answer
                self._defects.report(f"{self.path}: {query}", exc)
