"""Report the files that ctemplate wrote and no longer writes: nginx may still read them beside the new ones.

Reads only; what is left stays until the operator removes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ctemplate import apply
from ctemplate.core.errors import ApplyError
from ctemplate.core.event_stream import emit
from ctemplate.core.file_events import FormerFilesLeft
from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.included import IncludedFiles
from ctemplate.nginx.lookup import Lookup
from ctemplate.runtime.assembly import Assembly, RunMode
from ctemplate.runtime.group_worker import GroupWorker

SETTLE_LOOK = 0.5  # seconds between looks at groups that are not settled yet


class FormerFiles:
    """The files that the process reported last, so that each state is reported once."""

    def __init__(self) -> None:
        self._reported = FormerFilesLeft(files=())

    async def follow(self, assembly: Assembly, workers: Sequence[GroupWorker]) -> None:
        """Report once every group was applied or failed: a group's new file may be the one that includes the others."""
        while True:
            await asyncio.sleep(SETTLE_LOOK)
            if all(worker.is_settled for worker in workers):
                return await self.report(assembly, workers)

    async def report(self, assembly: Assembly, workers: Sequence[GroupWorker]) -> None:
        """Report what is left, unless that was reported already."""
        if assembly.mode is not RunMode.LIVE:
            return
        current = tuple(path for worker in workers for path in worker.pipeline.files)
        left = await asyncio.to_thread(apply.former_files, assembly.state_dir, assembly.configuration, current)
        included = await _included(left, [worker.pipeline.nginx for worker in workers]) if left else frozenset()
        event = FormerFilesLeft(
            files=tuple(map(str, left)), included=tuple(str(path) for path in left if path in included)
        )
        if left and event != self._reported:
            emit(event)
        self._reported = event


async def _included(files: Sequence[Path], known: Sequence[Lookup | None]) -> frozenset[Path]:
    """Return those that the nginx of a group reads, or this host's where no group has one."""
    found: set[Path] = set()
    for nginx in {id(each): each for each in known if each is not None}.values() or (_default(),):
        try:
            conf = (await nginx.installation()).conf
        except ApplyError:
            continue
        found |= await asyncio.to_thread(IncludedFiles().among, files, conf)
    return frozenset(found)


def _default() -> Lookup:
    return Lookup(command=NginxCommand(program="nginx"))
