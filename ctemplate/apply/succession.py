"""Take over what is known about a destination when the set that it belongs to has changed.

A template added to a group makes another set of destinations, and so another sub-folder. What the old one knew about a
shared destination moves to the new one: its record, a reload that is owed, the old bytes of a transaction that a killed
process left open. Moving is repeatable: written here first, taken away there afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ctemplate.apply.journal import Entry, Journal
from ctemplate.apply.ledger import Ledger


def inherit(
    ledger: Ledger,
    journal: Journal,
    *,
    predecessors: Iterable[Path],
    destinations: frozenset[str],
    reals: frozenset[str],
) -> None:
    """Move records of the destinations and journaled files of the real paths from the predecessors' folders."""
    for folder in predecessors:
        theirs, open_entry = Ledger(folder / ledger.path.name), Journal(folder / journal.path.name)
        entry = open_entry.read_open(theirs.page.serial)
        old = tuple(file for file in entry.files if file.path in reals) if entry else ()
        records = {path: record for path, record in theirs.page.files.items() if path in destinations}
        if not old and not records:
            continue
        mine = journal.read_open(ledger.page.serial)
        if old:
            journal.write(Entry(serial=ledger.page.serial + 1, files=(*(mine.files if mine else ()), *old)))
        owes_reload = ledger.page.owes_reload or theirs.page.owes_reload
        ledger.settle("inherited", owes_reload=owes_reload, records=records, serial=ledger.page.serial)
        if entry and old:
            _leave(open_entry, entry, reals)
        theirs.forget(destinations)


def _leave(journal: Journal, entry: Entry, reals: frozenset[str]) -> None:
    rest = tuple(file for file in entry.files if file.path not in reals)
    if rest:
        journal.write(Entry(serial=entry.serial, files=rest))
    else:
        journal.remove()
