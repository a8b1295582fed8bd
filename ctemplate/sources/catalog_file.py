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
from ctemplate.edits import edits, signatures
from ctemplate.errors import ConfigError
from ctemplate.model import AnyQuery, Fault
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

    def __init__(self, path: Path, *, allow_hostnames: bool = False) -> None:
        """Read the file at once, so that a broken one is an error of the start; raises ConfigError."""
        self.path = path
        self._allow_hostnames = allow_hostnames
        self._told: frozenset[Fault] = frozenset()
        self._known = signatures([path])
        self._contents = read(path)

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
            self._told = frozenset()
            self._answer_all(catalog, catalog.wanted)

    def _answer_all(self, catalog: Catalog, queries: frozenset[AnyQuery]) -> None:
        now = time.time()
        found = [answer(self._contents, query, now=now, allow_hostnames=self._allow_hostnames) for query in queries]
        for each in found:
            catalog.put(each)
        self._tell({fault: None for each in found for fault in each.faults})

    def _tell(self, faults: Iterable[Fault]) -> None:
        """Say once of each instance that it is left out."""
        for fault in faults:
            if fault not in self._told:
                logger.warning("%s: %s; it is left out", self.path, fault)
        self._told |= frozenset(faults)
