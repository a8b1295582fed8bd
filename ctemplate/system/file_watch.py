"""Notice edited files: templates, configuration, catalog files, secrets; and live files that another program wrote.

Folders are watched rather than files, to notice editors that save by renaming and Kubernetes' swapped ``..data`` links.
Level-triggered: whatever the notification, a file counts as edited when its identity, size or time changed. Live files
are polled instead: we write them ourselves, and nearly every notification would be of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pkgutil
import signal
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping
from pathlib import Path

from ctemplate.system.inputs import real_path

SETTLE_MS = 50  # editors write in steps; wait this long for the next one
NOTICE_MS = 200  # between two looks at what the kernel reported; each costs the idle process a turn of a thread
LOOK_SECONDS = 1.0
WRITING_LIMIT = 30.0  # seconds to wait, at most, for a program that has a file open for writing

Signature = tuple[int, int, int, int]


def signature(path: Path) -> Signature | None:
    """Return what identifies the file's present content (device, inode, size, time), or None when it does not exist."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _mode(path: Path, *, is_link: bool = False) -> int:
    """Return a file's mode, of a link itself with ``is_link``; 0 for a path that leads nowhere or cannot be one."""
    try:
        return path.stat(follow_symlinks=not is_link).st_mode
    except (OSError, ValueError):
        return 0


def watched_folders(paths: Iterable[Path]) -> frozenset[Path]:
    """Return the existing folders in which a change to one of the paths, or to a link on its way, is visible.

    A missing folder is replaced by the nearest existing one above it.
    """
    absolutes = [path.absolute() for path in paths]
    folders = {absolute.parent for absolute in absolutes}
    folders |= {real_path(folder) for folder in folders}
    folders |= {real_path(absolute).parent for absolute in absolutes if stat.S_ISLNK(_mode(absolute, is_link=True))}
    return frozenset(
        next(each for each in (folder, *folder.parents) if stat.S_ISDIR(_mode(each))) for folder in folders
    )


def signatures(paths: Iterable[Path]) -> dict[Path, Signature | None]:
    """Return each path with its signature."""
    return {path: signature(path) for path in paths}


async def file_edits(
    paths: Iterable[Path],
    *,
    known: Mapping[Path, Signature | None] | None = None,
    more: Callable[[], Mapping[Path, Signature | None]] = dict,
    quiet: float = SETTLE_MS / 1000,
) -> AsyncGenerator[frozenset[Path], None]:
    """Yield the paths whose files were edited, created or removed, without end; each after its writers have finished.

    ``known`` are the signatures from when the files were read; edits since then come first. ``more`` returns files that
    may be read later, with theirs: it is asked at each change in the folders, and once a minute. ``quiet`` is for how
    many seconds a file that is written in place must stay unchanged.
    """
    watched = frozenset(paths)
    known = signatures(watched) if known is None else known
    writers = _Writers(watched, quiet)
    while True:
        folders = watched_folders(watched)
        async with contextlib.aclosing(_fs_events(folders)) as stirs:
            async for _ in stirs:
                known = {**more(), **known}
                watched = watched.union(known)
                now = signatures(watched)
                if any(now[path] != known.get(path) for path in watched):
                    now = await writers.ended(known, now)
                edited = frozenset(path for path in watched if now[path] != known.get(path))
                known = now
                if edited:
                    yield edited
                if watched_folders(watched) != folders:
                    break


def write_detectable(paths: Iterable[Path]) -> frozenset[Path]:
    """Return the files whose writers can be detected, except those that seem to be written now."""
    return frozenset(path for path in paths if stat.S_ISREG(_mode(path)) and not is_being_written(path))


async def closed(paths: Collection[Path]) -> None:
    """Wait until no process has one of the files open for writing, for a limited time."""
    for _ in range(int(1000 * WRITING_LIMIT / SETTLE_MS)):
        if not any(map(is_being_written, paths)):
            break
        await asyncio.sleep(SETTLE_MS / 1000)


class _Writers:
    """Waits for the files' writers: a file that is first truncated is complete only at the end."""

    def __init__(self, paths: Iterable[Path], quiet: float) -> None:
        """Find the files whose writers can be detected: some network file systems report every file as written."""
        self._quiet = quiet
        self._write_detectable = write_detectable(paths)

    async def ended(
        self, known: Mapping[Path, Signature | None], found: dict[Path, Signature | None]
    ) -> dict[Path, Signature | None]:
        """Return the signatures once nothing changes and no process has a file open for writing; gives up after a time.

        A file that was replaced as a whole is quiet after a moment, one that was written in place after ``quiet``.
        """
        clock = asyncio.get_running_loop().time
        started = since = clock()
        while clock() - started < WRITING_LIMIT:
            await asyncio.sleep(SETTLE_MS / 1000)
            before, found = found, signatures(found)
            since = clock() if found != before else since
            quiet = self._quiet if any(map(_is_in_place, map(known.get, found), found.values())) else 0.0
            if clock() - since >= quiet and not any(map(is_being_written, self._write_detectable)):
                break
        return found


def _is_in_place(before: Signature | None, now: Signature | None) -> bool:
    """Return whether the same file has other content."""
    return before is not None and now is not None and before != now and before[:2] == now[:2]


def is_being_written(path: Path) -> bool:
    """Return whether a process has the file open for writing; False where that is unknown.

    The kernel grants a read lease on a file only while no process writes it; the caller must own the file or be root.
    It ends with the descriptor. If a process opens the file meanwhile, the signal for that is an ignored one.
    """
    if not stat.S_ISREG(_mode(path)):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


async def poll_modified(
    paths: Callable[[], Iterable[Path]], *, every: float = LOOK_SECONDS
) -> AsyncIterator[frozenset[Path]]:
    """Yield the paths whose files any process wrote, created or removed since the last poll, without end.

    The paths are read again for each poll.
    """
    known = signatures(paths())
    while True:
        await asyncio.sleep(every)
        now = signatures(paths())
        written = frozenset(path for path in known.keys() & now.keys() if now[path] != known[path])
        known = now
        if written:
            yield written


async def _fs_events(folders: frozenset[Path]) -> AsyncGenerator[None, None]:
    """Yield once for the past, then whenever something in one of the folders may have changed or a minute is over.

    The watch is set up before the first yield, so that no edit falls between a look at the files and the watch.
    """
    awatch = pkgutil.resolve_name("watchfiles:awatch")  # a single run follows no files
    events = awatch(
        *folders,
        watch_filter=None,
        recursive=False,
        step=NOTICE_MS,
        debounce=2 * NOTICE_MS,
        rust_timeout=60_000,
        yield_on_timeout=True,
    )
    coming = asyncio.ensure_future(anext(events))
    try:
        await asyncio.sleep(0)  # the first step of the iterator sets up the watch, and then waits
        while True:
            yield
            await coming
            coming = asyncio.ensure_future(anext(events))
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        await events.aclose()
