"""Tasks beside the answers: they end and report holds, store the last good answers, and show them when needed.

Coroutines for the daemon to run; each ends when it is cancelled.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import field
from pathlib import Path

from ctemplate.catalog import Catalog
from ctemplate.core.defects import Defects
from ctemplate.core.event_stream import emit
from ctemplate.core.events import AnswersRefreshed, StoredAnswersUsed
from ctemplate.core.model import Answer, ServerSet
from ctemplate.core.values import dataclass
from ctemplate.guard import Memory
from ctemplate.runtime import answer_store as memory

KEEP_INTERVAL = 5.0  # seconds between two writes of the last good answers
AGE_INTERVAL = 30.0  # seconds between two writes that only update the age of holds, and until a failed one is repeated
KEEP_SHARE = 50.0  # after a write, pause at least this many times its duration
LATENESS = 5.0  # seconds without an answer until the stored one is rendered


async def follow_guard(catalog: Catalog) -> None:
    """End holds in time, and report those that begin and end."""
    while True:
        await catalog.guard_due()
        for report in catalog.review():
            emit(report)


def report_holds(catalog: Catalog) -> None:
    """Report what is held at the end of a run that is too short to report it by itself."""
    for report in catalog.unreported():
        emit(report)


async def recall_late(catalog: Catalog, source_name: str) -> None:
    """Show stored answers while the source gives none, and report when it has given them all."""
    while True:
        await asyncio.sleep(LATENESS)
        if not catalog.recall():
            continue
        since, age = time.monotonic(), max(time.time() - catalog.oldest(), 1.0)
        emit(StoredAnswersUsed(source=source_name, age=age))
        await catalog.renewed.wait()
        emit(AnswersRefreshed(source=source_name, seconds=time.monotonic() - since))


@dataclass(slots=True)
class Keeper:
    """Writes the last good answers when they have changed, off the event loop and not too often."""

    catalog: Catalog
    path: Path
    configuration: str = ""
    _only: Path | None = None  # the file beside which this configuration has no other
    _kept: int = 0
    _kept_at: float = field(default_factory=time.monotonic)
    _has_failed: bool = False
    _defects: Defects = field(default_factory=Defects)

    async def load(self, *, is_once: bool = False) -> tuple[Answer, ...]:
        """Compare the first answers with those that an earlier process stored; return its newest answers.

        Time between two daemons does not count for holds. Between runs with ``-once`` it does, or they would never end.
        """
        wall = time.time()
        memories: tuple[Memory | ServerSet, ...] = ()
        try:
            path = await asyncio.to_thread(memory.newest_answers, self.path, self.configuration)
            memories = await asyncio.to_thread(memory.load_answers, path, wall=None if is_once else wall)
            self.catalog.remember(memories, wall=wall)
        except Exception as exc:  # noqa: BLE001 - a defect, of any kind
            self._defects.report(f"{self.path}: the last good answers are not used", exc)
        self._kept = self.catalog.changes
        return tuple(memory.answer for memory in memories if isinstance(memory, Memory))

    async def run(self) -> None:
        """Write the answers until cancelled."""
        pause = KEEP_INTERVAL
        while True:
            await asyncio.sleep(pause)
            started = time.monotonic()
            await self.save(with_ages=started >= self._kept_at + AGE_INTERVAL)
            pause = max(KEEP_INTERVAL, KEEP_SHARE * (time.monotonic() - started))

    async def save(self, *, with_ages: bool = True) -> None:
        """Write the answers now, if they changed or holds have aged, or if the file is gone or could not be written."""
        changes, has_aged = self.catalog.changes, bool(self.catalog.holds) or self._has_failed
        if changes == self._kept and not (with_ages and has_aged) and not self._is_lost():
            return
        wall = time.time()
        try:
            if memories := self.catalog.memories(wall=wall):
                await asyncio.to_thread(self._save, self.path, memories, wall)
                self._kept, self._kept_at = changes, time.monotonic()
        except Exception as exc:  # noqa: BLE001 - a defect, of any kind
            self._defects.report(f"{self.path}: the last good answers are not kept", exc)

    def _save(self, path: Path, memories: tuple[Memory | ServerSet, ...], wall: float) -> None:
        """Write the file; the first time, remove those of the configuration's earlier destinations."""
        is_saved = memory.save_answers(
            path, memories, wall=wall, configuration=self.configuration, is_repeated=self._has_failed
        )
        if is_saved and path != self._only:
            memory.forget_others(path, self.configuration)
        self._only, self._has_failed = path if is_saved else None, not is_saved

    def _is_lost(self) -> bool:
        """Whether the file is gone that this process wrote, though its folder is there."""
        return self._only == self.path and not self.path.exists() and self.path.parent.is_dir()
