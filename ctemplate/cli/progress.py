"""Progress for a person at a terminal: how many of the needed answers are in. Nothing in pipes, logs or with -quiet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Coroutine
from typing import Any

from ctemplate.daemon import Daemon
from ctemplate.errors import printable

PATIENCE = 0.4  # seconds of silence: what is done by then needs no progress
INTERVAL = 0.2
CLEAR = "\r\x1b[K"
NAMED = 3  # of the missing queries


class TerminalHandler(logging.StreamHandler[Any]):
    """Writes log lines over the progress line instead of behind it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Clear the line, then write the record."""
        self.stream.write(CLEAR)
        super().emit(record)


def run_with_progress(daemon: Daemon, work: Coroutine[Any, Any, None], *, is_quiet: bool) -> None:
    """Run the work to its end, with progress on a terminal's stderr; without on anything else, or when quiet."""
    if is_quiet or not sys.stderr.isatty():
        asyncio.run(work)
        return
    asyncio.run(_with_progress(daemon, work))


async def _with_progress(daemon: Daemon, work: Coroutine[Any, Any, None]) -> None:
    showing = asyncio.create_task(_show(daemon), name="progress")
    try:
        await work
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing
        sys.stderr.write(CLEAR)
        sys.stderr.flush()


async def _show(daemon: Daemon) -> None:
    """Show what is missing until everything is there."""
    await asyncio.sleep(PATIENCE)
    while True:
        sys.stderr.write(CLEAR + line(daemon))
        sys.stderr.flush()
        await asyncio.sleep(INTERVAL)
        if not any(worker.missing for worker in daemon.workers) and daemon.catalog.wanted:
            sys.stderr.write(CLEAR)
            return


def line(daemon: Daemon) -> str:
    """Return the progress in one line: ``12 of 40 answers; waiting for service(web), service(db) and 26 more``."""
    wanted, missing = daemon.catalog.wanted, sorted(map(str, daemon.catalog.missing()))
    named = ", ".join(printable(query, 40) for query in missing[:NAMED])
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    waiting = f"; waiting for {named}{more}" if missing else ""
    return f"{len(wanted) - len(missing)} of {len(wanted)} answers{waiting}"
