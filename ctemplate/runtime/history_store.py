"""The history on disk, so that a restart does not forget what happened before it: one private, bounded file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import field
from pathlib import Path

import msgspec

from ctemplate.config.groups import GroupPlan
from ctemplate.core.errors import reason_of
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import StateUnusable
from ctemplate.core.values import dataclass
from ctemplate.runtime.answer_store import writer_name
from ctemplate.status.history import History, HistoryEntry
from ctemplate.system.files import make_folder, write_private
from ctemplate.system.ownership import open_private

HISTORY_VERSION = 1
HISTORY_LIMIT_BYTES = 16 * 1024 * 1024
HISTORY_FOLDER_MODE = 0o700
WRITE_INTERVAL = 5.0  # seconds between two writings


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    version: int = HISTORY_VERSION
    entries: tuple[HistoryEntry, ...] = ()


def history_path(state_dir: Path, plans: Iterable[GroupPlan]) -> Path:
    """Return the history file of the process that writes the files of these groups."""
    destinations = (template.destination for plan in plans for template in plan.templates)
    return state_dir / f"history-{writer_name(destinations)}.json"


def load_history(path: Path) -> tuple[HistoryEntry, ...]:
    """Return the entries in a file, none where there is none or, with a warning, where it is unfit. Blocks."""
    try:
        with open_private(path) as file:
            page = msgspec.json.decode(file.read(HISTORY_LIMIT_BYTES), type=HistoryPage)
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        emit(StateUnusable(path=str(path), reason=reason_of(exc), consequence="starting without the earlier history"))
        return ()
    return page.entries if page.version == HISTORY_VERSION else ()


@dataclass(slots=True, kw_only=True)
class HistoryKeeper:
    """Reads the history once, and writes it when it grew, off the event loop, and not too often."""

    history: History
    path: Path
    _written: int = 0
    _has_failed: bool = field(default=False)

    async def run(self) -> None:
        """Store the history until cancelled, and once more at the end."""
        self.history.remember(await asyncio.to_thread(load_history, self.path))
        try:
            while True:
                await asyncio.sleep(WRITE_INTERVAL)
                if self.history.revision != self._written:
                    await asyncio.to_thread(self.save)
        finally:
            if self.history.revision != self._written:
                self.save()

    def save(self) -> None:
        """Replace the file; say once where that does not work. Blocks on the disk."""
        revision = self.history.revision
        content = msgspec.json.encode(HistoryPage(entries=self.history.entries))
        try:
            make_folder(self.path.parent, HISTORY_FOLDER_MODE)
            write_private(self.path, content, durable=False)
        except OSError as exc:
            if not self._has_failed:
                reason = f"cannot be written: {(exc.strerror or str(exc)).lower()}"
                emit(StateUnusable(path=str(self.path), reason=reason, consequence="a restart forgets the history"))
            self._has_failed = True
            return
        self._written, self._has_failed = revision, False
