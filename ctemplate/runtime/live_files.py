"""Notify group workers when another program writes one of their live files. Must not know why a file is live."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ctemplate.core.defects import Defects
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.system.file_watch import poll_modified


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
