"""Notice edited files: templates, configuration, catalog files, secrets; and live files that somebody wrote.

Folders are watched rather than files, so that editors which save by renaming and Kubernetes' swapped ``..data`` links
are seen. Level-triggered: whatever was notified, a file counts as edited when its identity, size or time changed.
Live files are looked at instead: we write them ourselves, and nearly every notice would be of that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from pathlib import Path

from watchfiles import awatch

SETTLE_MS = 50  # editors write in steps; wait this long for the next one
LOOK_SECONDS = 1.0

Signature = tuple[int, int, int, int]


def signature(path: Path) -> Signature | None:
    """Return what identifies the file's present content (device, inode, size, time), or None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def watched_folders(paths: Iterable[Path]) -> frozenset[Path]:
    """Return the existing folders where a change to one of the paths, or to a link on its way, shows.

    In place of a folder that is missing stands the nearest above it that is there.
    """
    absolutes = [path.absolute() for path in paths]
    folders = {absolute.parent for absolute in absolutes}
    folders |= {folder.resolve() for folder in folders}
    folders |= {absolute.resolve().parent for absolute in absolutes if absolute.is_symlink()}
    return frozenset(next(each for each in (folder, *folder.parents) if each.is_dir()) for folder in folders)


def signatures(paths: Iterable[Path]) -> dict[Path, Signature | None]:
    """Return each path with its signature."""
    return {path: signature(path) for path in paths}


async def edits(
    paths: Iterable[Path], *, known: Mapping[Path, Signature | None] | None = None
) -> AsyncIterator[frozenset[Path]]:
    """Yield the paths whose files were edited, created or removed, for ever.

    ``known`` are the signatures from when the files were read; what was edited since then comes first.
    """
    watched = frozenset(paths)
    known = signatures(watched) if known is None else known
    while True:
        folders = watched_folders(watched)
        async with contextlib.aclosing(_stirs(folders)) as stirs:
            async for _ in stirs:
                now = signatures(watched)
                edited = frozenset(path for path in watched if now[path] != known.get(path))
                known = now
                if edited:
                    yield edited
                if watched_folders(watched) != folders:
                    break


async def writes(paths: Iterable[Path], *, every: float = LOOK_SECONDS) -> AsyncIterator[frozenset[Path]]:
    """Yield the paths whose files were written, created or removed by anybody since the last look, for ever."""
    known = signatures(paths)
    while True:
        await asyncio.sleep(every)
        now = signatures(known)
        written = frozenset(path for path in known if now[path] != known[path])
        known = now
        if written:
            yield written


async def _stirs(folders: frozenset[Path]) -> AsyncGenerator[None, None]:
    """Yield once for the past, then whenever something in one of the folders may have changed or a minute is over."""
    yield
    async for _ in awatch(
        *folders,
        watch_filter=None,
        recursive=False,
        step=SETTLE_MS,
        debounce=4 * SETTLE_MS,
        rust_timeout=60_000,
        yield_on_timeout=True,
    ):
        yield
