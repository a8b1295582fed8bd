"""Progress at a terminal: how many of the needed answers have arrived. Silent in pipes, in logs and with -quiet."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine
from typing import Any

from ctemplate.cli.log_writer import log_writer
from ctemplate.core.errors import printable
from ctemplate.runtime.daemon import Daemon

PROGRESS_DELAY = 0.4  # seconds before the first line: shorter work needs no progress
INTERVAL = 0.2
CLEAR = "\r\x1b[K"
NAMED = 3  # how many missing queries the line names


def run_with_progress(daemon: Daemon, work: Coroutine[Any, Any, None], *, is_quiet: bool) -> None:
    """Run the work to its end, with progress on stderr if that is a terminal and ``-quiet`` is not given.

    Raises KeyboardInterrupt when a signal ended the work early.
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
    """Show which answers are missing until all have arrived."""
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
