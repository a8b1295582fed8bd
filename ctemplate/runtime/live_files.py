"""Notify group workers when another program writes one of their live files, or a file that stands in an item's place.

Must not know why a file is live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from ctemplate.core.defects import Defects
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.system.file_watch import poll_modified


async def follow_live_files(workers: Iterable[GroupWorker], defects: Defects) -> None:
    """Notify each worker when one of these files was written or removed, until cancelled."""
    workers = tuple(workers)
    async for written in poll_modified(lambda: (path for worker in workers for path in _files(worker))):
        for worker, path in ((worker, path) for worker in workers for path in written):
            try:
                worker.live_file_changed(path)
                is_foreign = path in worker.pipeline.sink.foreign_files
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind
                defects.report(str(path), exc)
                is_foreign = True
            if is_foreign:
                worker.rouse(asyncio.get_running_loop().time())


def _files(worker: GroupWorker) -> Iterator[Path]:
    yield from worker.pipeline.files
    yield from worker.pipeline.sink.foreign_files
