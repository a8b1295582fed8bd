"""Files and nginx of this host as answers: read when a template asks for them, and again when they change.

Beside whatever source answers the other queries. Knows neither Consul nor templates.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import Iterable
from pathlib import Path

from ctemplate.catalog import Catalog
from ctemplate.core.defects import PAUSE, Defects, kept_running
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import emit
from ctemplate.core.events import InputRefused
from ctemplate.core.model import Answer, Query
from ctemplate.queries import LocalFile, WatchRole, kind_of
from ctemplate.sources.local_nginx import follow_nginx
from ctemplate.system.file_watch import file_edits, signatures
from ctemplate.system.inputs import read_plain_file, real_path

HOST_ROLES = frozenset({WatchRole.LOCAL, WatchRole.NGINX})
LOCAL_FILE_LIMIT_BYTES = 16 * 1024 * 1024


def is_local(query: Query) -> bool:
    """Return whether this host answers the query: one of its files, or its nginx."""
    return kind_of(query).role in HOST_ROLES


def answered_by_file(query: Query) -> bool:
    """Return whether a file of this host answers the query."""
    return kind_of(query).role is WatchRole.LOCAL


def read_local(query: Query, folders: Iterable[str]) -> tuple[LocalFile, ...]:
    """Return the file that a query asks for, none where there is none; it must be in one of the folders.

    Links on the way are followed, and count where they lead to. Raises OSError with a sentence.
    """
    path = str(query.argument)
    real = real_path(Path(path))
    if not any(real.is_relative_to(real_path(Path(folder))) for folder in folders):
        raise PermissionError(0, "lies in no folder of data.file_folders", path)
    try:
        return (LocalFile(path=path, data=read_plain_file(real, limit_bytes=LOCAL_FILE_LIMIT_BYTES)),)
    except FileNotFoundError:
        return ()


class LocalFiles:
    """Answers the queries that this host answers, for as long as they are wanted."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders = tuple(folders)
        self._wanted: frozenset[Query] = frozenset()
        self._has_changed = asyncio.Event()
        self._refused: dict[Query, str] = {}
        self._defects = Defects()
        self._retries: dict[Query, asyncio.Task[None]] = {}

    def take(self, queries: frozenset[Query]) -> frozenset[Query]:
        """Answer those of the wanted queries that this host answers from now on; return the others."""
        own = frozenset(filter(is_local, queries))
        if own != self._wanted:
            self._wanted = own
            self._has_changed.set()
        return queries - own

    async def run(self, catalog: Catalog) -> None:
        """Answer until cancelled."""
        while True:
            self._has_changed.clear()
            if not self._wanted:
                await self._has_changed.wait()
                continue
            following = asyncio.create_task(self._follow(catalog, self._wanted), name="local-files")
            changed = asyncio.create_task(self._has_changed.wait(), name="local-files-wishes")
            try:
                await asyncio.wait({following, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                following.cancel()
                changed.cancel()
                await asyncio.wait({following, changed})
            if not following.cancelled() and (defect := following.exception()) is not None:
                raise defect

    async def _follow(self, catalog: Catalog, queries: frozenset[Query]) -> None:
        """Answer from files and programs, and again when these are edited or replaced, until cancelled."""
        files = frozenset(filter(answered_by_file, queries))
        async with asyncio.TaskGroup() as tasks:
            if files:
                tasks.create_task(self._follow_files(catalog, files, tasks), name="local-files-edits")
            for query in queries - files:
                following = kept_running(str(query), functools.partial(follow_nginx, catalog, query))
                tasks.create_task(following, name=f"local-{query}")

    async def _follow_files(self, catalog: Catalog, files: frozenset[Query], tasks: asyncio.TaskGroup) -> None:
        """Read files, and read edited files again, until cancelled; a defect costs one file, which is read again."""
        by_path = {Path(str(query.argument)): query for query in files}
        known = signatures(by_path)
        for query in by_path.values():
            await self._read_or_retry(catalog, query, tasks)
        async for edited in file_edits(by_path, known=known):
            for path in edited:
                await self._read_or_retry(catalog, by_path[path], tasks)

    async def _read_or_retry(self, catalog: Catalog, query: Query, tasks: asyncio.TaskGroup) -> None:
        if (retry := self._retries.pop(query, None)) is not None:
            retry.cancel()
        if not await self._is_read(catalog, query):
            self._retries[query] = tasks.create_task(self._retry(catalog, query), name=f"local-{query}")

    async def _retry(self, catalog: Catalog, query: Query) -> None:
        """Read a file after pauses that grow, until no defect occurs."""
        for failures in itertools.count(1):
            await asyncio.sleep(PAUSE.delay(failures))
            if await self._is_read(catalog, query):
                return

    async def _is_read(self, catalog: Catalog, query: Query) -> bool:
        """Read a file; report a defect and return False if one occurred."""
        try:
            await self._read(catalog, query)
        except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this file a while
            self._defects.report(str(query), exc)
            return False
        self._defects.over(str(query))
        return True

    async def _read(self, catalog: Catalog, query: Query) -> None:
        """Read a file; one that can no longer be used is named once, and its last content stays in use.

        Without such content the answer is the refusal: it concerns only what the path was made from.
        """
        try:
            value = await asyncio.to_thread(read_local, query, self._folders)
        except OSError as exc:
            refusal = (exc.strerror or str(exc)).lower()
            known = catalog.get(query)
            if known is None or all(one.refusal for one in known.value):
                refused = LocalFile(path=str(query.argument), refusal=refusal)
                catalog.put(Answer(query=query, value=(refused,), seen_at=time.time()))
            elif self._refused.get(query) != refusal:
                self._refused[query] = refusal
                reason = f"file {printable(query.argument)}: {refusal}"
                emit(InputRefused(reason=reason, consequence="its last content stays in use", is_error=True))
            return
        self._refused.pop(query, None)
        catalog.put(Answer(query=query, value=value, seen_at=time.time()))
