"""A catalog file as a source: services and instances in a file instead of Consul.

Editing the file takes the same path as a change in Consul. ``contents`` reads the file's format.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from ctemplate.catalog import Catalog
from ctemplate.core.defects import Defects, kept_running
from ctemplate.core.errors import ConfigError
from ctemplate.core.event_stream import emit
from ctemplate.core.events import DataLeftOut, InputRead, InputRefused
from ctemplate.core.model import Answer, Query, Rejection
from ctemplate.sources.contents import Contents, answer, parse_catalog
from ctemplate.sources.local_files import LocalFiles, answered_by_file
from ctemplate.sources.source import Cost, SourceHealth
from ctemplate.system.file_watch import file_edits, signatures
from ctemplate.system.inputs import NotUtf8Error, read_input, text_in

QUIET = 1.0  # seconds without a change to a file that is written in place: half a catalog may look complete
CATALOG_LIMIT_BYTES = 128 * 1024 * 1024  # a hundred thousand instances


def read_catalog(path: Path, *, is_edit: bool = False) -> Contents:
    """Read the catalog file; raises ConfigError naming the file and the key's path.

    ``/dev/null`` is an empty catalog, unless a file in use became it.
    """
    try:
        text = text_in(read_input(path, limit_bytes=CATALOG_LIMIT_BYTES))
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {(exc.strerror or str(exc)).lower()}") from exc
    except NotUtf8Error as exc:
        raise ConfigError(f"{path}:{exc.line}:{exc.column}", str(exc)) from exc
    if path.is_char_device():  # empty on purpose; an empty regular file is still being written
        if is_edit:
            raise ConfigError(str(path), "cannot be read: is a device, not a file")
        return Contents()
    return parse_catalog(text, name=str(path))


class CatalogFile:
    """Answers every query from one file, and again after edits; after a broken edit the last good content stays."""

    def __init__(self, path: Path, *, allow_hostnames: bool = False, file_folders: Iterable[str] = ()) -> None:
        """Read the file at once, so that a broken one prevents the start; raises ConfigError."""
        self.path = path
        self._allow_hostnames = allow_hostnames
        self._reported: frozenset[Rejection] = frozenset()
        self._known = signatures([path])
        self._contents = read_catalog(path)
        self._defects = Defects()
        self._files = LocalFiles(file_folders)

    async def run(self, catalog: Catalog) -> None:
        """Answer the catalog's wanted queries until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_wishes(catalog), name="catalog-file-wishes")
            tasks.create_task(self._follow_edits(catalog), name="catalog-file-edits")
            tasks.create_task(kept_running("local files", lambda: self._files.run(catalog)), name="local files")

    @property
    def health(self) -> SourceHealth:
        """A file has no connections, and its last content is always current."""
        return SourceHealth()

    def cost(self, queries: Iterable[Query]) -> Cost:
        """Return the cost of watching: none for a file."""
        return Cost(queries=len(frozenset(queries)))

    def answer(self, query: Query) -> Answer:
        """Return the file's answer to a query."""
        return answer(self._contents, query, now=time.time(), allow_hostnames=self._allow_hostnames)

    async def _follow_wishes(self, catalog: Catalog) -> None:
        while True:
            self._answer_all(catalog, await catalog.wishes())

    def _left_to_host(self, queries: frozenset[Query]) -> frozenset[Query]:
        """Return the queries that files of this host answer, since the catalog file does not hold these."""
        return frozenset(query for query in queries if answered_by_file(query) and not self.answer(query).value)

    async def _follow_edits(self, catalog: Catalog) -> None:
        async for _ in file_edits([self.path], known=self._known, quiet=QUIET):
            try:
                self._contents = await asyncio.to_thread(read_catalog, self.path, is_edit=True)
            except ConfigError as exc:
                emit(InputRefused(reason=str(exc), consequence="keeping what was read last", is_error=True))
                continue
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this edit
                self._defects.report(str(self.path), exc)
                continue
            emit(InputRead(subject=str(self.path)))
            self._reported = frozenset()
            self._answer_all(catalog, catalog.wanted)

    def _answer_all(self, catalog: Catalog, queries: frozenset[Query]) -> None:
        of_host = self._left_to_host(queries)
        self._files.take(of_host)
        queries -= of_host
        left_out: dict[Rejection, None] = {}
        for query in queries:
            try:
                found = self.answer(query)
                catalog.put(found)
                left_out |= dict.fromkeys(found.rejections)
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this query an answer
                self._defects.report(f"{self.path}: {query}", exc)
        self._report(left_out)

    def _report(self, rejections: Iterable[Rejection]) -> None:
        """Report each instance that is left out, once."""
        for rejection in rejections:
            if rejection not in self._reported:
                emit(DataLeftOut(where=str(self.path), text=f"{rejection}; it is left out"))
        self._reported |= frozenset(rejections)
