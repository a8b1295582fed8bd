"""Progress for a person at a terminal: how many of the needed answers are in. Nothing in pipes, logs or with -quiet."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine
from typing import Any

from ctemplate.cli.log_writer import log_writer
from ctemplate.core.errors import printable
from ctemplate.runtime.daemon import Daemon

PROGRESS_DELAY = 0.4  # seconds of silence: what is done by then needs no progress
INTERVAL = 0.2
CLEAR = "\r\x1b[K"
NAMED = 3  # of the missing queries


def run_with_progress(daemon: Daemon, work: Coroutine[Any, Any, None], *, is_quiet: bool) -> None:
    """Run the work to its end, with progress on a terminal's stderr; without on anything else, or when quiet.

    Raises KeyboardInterrupt when a signal ended it before it was done.
    """
    is_shown = not is_quiet and sys.stderr.isatty()
    try:
        asyncio.run(_with_progress(daemon, work) if is_shown else work)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _with_progress(daemon: Daemon, work: Coroutine[Any, Any, None]) -> None:
    showing = asyncio.create_task(_show(daemon), name="progress")
    try:
        await work
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing
        log_writer(sys.stderr).put(CLEAR)


async def _show(daemon: Daemon) -> None:
    """Show what is missing until everything is there."""
    await asyncio.sleep(PROGRESS_DELAY)
    while True:
        log_writer(sys.stderr).put(CLEAR + line(daemon))
        await asyncio.sleep(INTERVAL)
        if not any(worker.missing for worker in daemon.workers) and daemon.catalog.wanted:
            log_writer(sys.stderr).put(CLEAR)
            return


def line(daemon: Daemon) -> str:
    """Return the progress in one line: ``12 of 40 answers; waiting for service(web), service(db) and 26 more``."""
    wanted, missing = daemon.catalog.wanted, sorted(map(str, daemon.catalog.missing()))
    named = ", ".join(printable(query, 40) for query in missing[:NAMED])
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    waiting = f"; waiting for {named}{more}" if missing else ""
    return f"{len(wanted) - len(missing)} of {len(wanted)} answers{waiting}"
