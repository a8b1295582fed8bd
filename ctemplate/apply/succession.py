"""Take over a destination's state when the set of destinations that it belongs to has changed.

A template added to a group changes the set of destinations, and so the sub-folder. A shared destination's state moves
to the new one: its record, a reload that is owed, the old bytes of a transaction that a killed process left open.
The move can be repeated: the new folder is written first, the old one cleared afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import field
from pathlib import Path

from msgspec.structs import replace

from ctemplate.apply.journal import Journal, JournalEntry
from ctemplate.apply.ledger import Ledger
from ctemplate.core.values import dataclass


@dataclass(slots=True)
class Predecessor:
    """The state of an earlier set of destinations, read once; ``entry`` is the transaction that it left open."""

    ledger: Ledger
    journal: Journal
    entry: JournalEntry | None = field(init=False)

    def __post_init__(self) -> None:
        self.entry = self.journal.read_open(self.ledger.page.serial)

    def leave(self, files: Collection[str]) -> None:
        """Drop the journaled files of these real paths."""
        if self.entry is None:
            return
        rest = tuple(file for file in self.entry.files if file.path not in files)
        self.entry = JournalEntry(serial=self.entry.serial, files=rest) if rest else None
        if self.entry:
            self.journal.write(self.entry)
        else:
            self.journal.remove()


def migrate_state(
    ledger: Ledger,
    journal: Journal,
    *,
    predecessors: Iterable[Predecessor],
    destinations: frozenset[str],
    reals: frozenset[str],
    may_make: Callable[[Path], bool],
) -> None:
    """Move records of the destinations and journaled files of the real paths from the predecessors' folders.

    So are those of files that the group may make for items of lists.
    """
    for other in predecessors:
        files = other.entry.files if other.entry else ()
        old = tuple(file for file in files if file.path in reals or may_make(Path(file.path)))
        known = [
            (path, replace(one, is_item=False) if path in destinations else one)
            for path, one in other.ledger.page.files.items()
        ]
        records = {path: one for path, one in known if path in destinations or (one.is_item and may_make(Path(path)))}
        if not old and not records:
            continue
        mine = journal.read_open(ledger.page.serial)
        if old:
            journal.write(JournalEntry(serial=ledger.page.serial + 1, files=(*(mine.files if mine else ()), *old)))
        owes_reload = ledger.page.owes_reload or other.ledger.page.owes_reload
        ledger.settle("inherited", owes_reload=owes_reload, records=records, serial=ledger.page.serial)
        if old:
            other.leave({file.path for file in old})
        other.ledger.forget(frozenset(records))
