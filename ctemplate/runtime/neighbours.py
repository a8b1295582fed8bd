"""Groups whose files need each other's: one names an upstream, say, that another one defines.

What such a group is allowed to print, and what nginx accepts, changes with the files around it and without any new
answer. Must not know what files contain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from ctemplate.core.event_stream import Event, HoldingStream, emit
from ctemplate.core.file_events import CandidateSaved
from ctemplate.core.group_events import Applied, ReloadOwed
from ctemplate.runtime.group_worker import GroupWorker

LOOK = 60.0  # seconds between looks at the processes that run the files, and at the files around them


async def follow_surroundings(workers: Callable[[], Iterable[GroupWorker]]) -> None:
    """Have the workers check at intervals which process runs their files, and what stands around them."""
    while True:
        await asyncio.sleep(LOOK)
        for worker in workers():
            await worker.look()


def rouse_others(event: Event, workers: Iterable[GroupWorker]) -> None:
    """Give the groups that failed, or left something out, another turn when the files of another group change."""
    if not isinstance(event, Applied | ReloadOwed):
        return
    now = asyncio.get_running_loop().time()
    for worker in workers:
        if worker.pipeline.name != event.group and worker.is_incomplete:
            worker.rouse(now)


async def settle_all(workers: Sequence[GroupWorker]) -> None:
    """Run each group until it was applied once, or failed; incomplete ones again as long as others make progress.

    Errors, and where rejected candidates are saved, are logged once no other group can mend the errors; also if this is
    cancelled.
    """
    linked = [worker for worker in workers if worker.pipeline.is_for_nginx]
    for worker in linked:
        worker.is_tentative = len(linked) > 1
    saved: dict[str, list[Event]] = {worker.pipeline.name: [] for worker in workers}
    try:
        await _settle_each(workers, saved)
        active = {worker.pipeline.name for worker in linked if worker.has_replaced_files}
        for _ in linked:  # a chain of groups that mend each other is no longer than that
            again = [each for each in linked if active - {each.pipeline.name} and await _may_be_mended(each)]
            if not again or len(linked) == 1:
                return
            earlier = [worker.try_again() for worker in again]
            await _settle_each(again, saved)
            both = zip(again, earlier, strict=True)
            active = {worker.pipeline.name for worker, result in both if worker.has_news_since(result)}
    finally:
        for worker in linked:
            _emit_all(saved[worker.pipeline.name])
            worker.report_tentative()


async def _may_be_mended(worker: GroupWorker) -> bool:
    """Return whether a group failed, or left something out and other files are around it now."""
    return worker.error is not None or (worker.is_incomplete and await worker.pipeline.are_surroundings_new())


async def _settle_each(workers: Sequence[GroupWorker], saved: Mapping[str, list[Event]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for worker in workers:
            name = worker.pipeline.name
            tasks.create_task(_settle(worker, saved[name]) if worker.is_tentative else worker.settle(), name=name)


async def _settle(worker: GroupWorker, saved: list[Event]) -> None:
    """Settle a group; what it reports of saved candidates is added to ``saved`` while its error may be mended.

    Without an error, candidates saved before are of no interest, unlike those of a group that left data out just now.
    """
    stream = HoldingStream(CandidateSaved)
    with stream.entered():
        await worker.settle()
    if worker.error is None:
        saved.clear()
        _emit_all(stream.held)
    else:
        saved += stream.held


def _emit_all(events: Iterable[Event]) -> None:
    for event in events:
        emit(event)
