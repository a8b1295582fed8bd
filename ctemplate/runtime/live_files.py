"""Notify group workers when another program writes one of their live files, or frees the place of an item's file.

Must not know why a file is live.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from ctemplate.core.defects import Defects
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.system.file_watch import LOOK_SECONDS, poll_modified


async def follow_live_files(workers: Iterable[GroupWorker], defects: Defects) -> None:
    """Notify each worker when one of its live files was written, until cancelled."""
    workers = tuple(workers)
    async for written in poll_modified(lambda: (path for worker in workers for path in worker.pipeline.files)):
        for worker, path in ((worker, path) for worker in workers for path in written):
            try:
                worker.live_file_changed(path)
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind
                defects.report(str(path), exc)
                worker.rouse(asyncio.get_running_loop().time())


async def follow_foreign_files(workers: Iterable[GroupWorker]) -> None:
    """Give a worker a turn when a foreign file in the place of an item's file is gone, until cancelled."""
    workers = tuple(workers)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for worker in workers:
            if not all(map(os.path.lexists, worker.pipeline.sink.foreign_files)):
                worker.rouse(asyncio.get_running_loop().time())
