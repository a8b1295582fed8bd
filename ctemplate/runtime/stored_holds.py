"""Release what the last process stored as held, where none runs any more: with ``-once`` none ever does.

The next start then finds nothing to hold. Must not know how a hold is decided.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ctemplate.apply import StateFolder, group_folder
from ctemplate.config.groups import GroupPlan
from ctemplate.core.model import Instance, ServerSet, Service
from ctemplate.guard import Hold, Memory
from ctemplate.runtime.answer_store import load_answers, memory_path, newest_answers, save_answers, written_at
from ctemplate.runtime.group_files import group_targets, restorable_sink
from ctemplate.runtime.last_good import LastRendered

OVER = 1e9  # seconds for which last good data were in use, so that their time is over


def release_stored(
    plans: Sequence[GroupPlan], configuration: str, *, state_dir: Path, service: str | None
) -> tuple[str, ...]:
    """Release what is stored as held of a service, or of all; return a line for each.

    Raises StateError where a process holds the files: it would write the same state.
    """
    with contextlib.ExitStack() as held:
        for plan in plans:
            restorable_sink(plan, group_targets(plan), StateFolder(state_dir), held, nginx=None, templates="")
        paths = tuple(tuple(each.destination for each in plan.templates) for plan in plans)
        answers = newest_answers(memory_path(state_dir, (path for group in paths for path in group)), configuration)
        words = [f"{hold.query}: {len(hold.entries)}" for hold in _release_answers(answers, configuration, service)]
        for group in paths:
            words += [f"service({name}): its last good data" for name in _release_last_good(state_dir, group, service)]
    return tuple(sorted(words))


def _release_answers(path: Path, configuration: str, service: str | None) -> list[Hold]:
    """Drop the held entries from the file of the last answers; return them. The age of other holds stays."""
    released: list[Hold] = []
    rest: list[Memory | ServerSet] = []
    for memory in load_answers(path):
        if not isinstance(memory, Memory):
            rest.append(memory)
            continue
        holds = [(hold, hold.entries_of(service)) for hold in memory.holds]
        released += [replace(hold, entries=gone) for hold, gone in holds if gone]
        rest.append(replace(memory, holds=tuple(_without(holds))))
    if released and not save_answers(path, rest, wall=written_at(path), configuration=configuration):
        return []
    return released


def _without(holds: list[tuple[Hold, tuple[Service | Instance, ...]]]) -> Iterator[Hold]:
    for hold, gone in holds:
        if entries := tuple(entry for entry in hold.entries if entry not in gone):
            yield replace(hold, entries=entries)


def _release_last_good(state_dir: Path, destinations: Sequence[Path], service: str | None) -> tuple[str, ...]:
    """End the time of last good data in use; return the names of their services and keys."""
    stored = LastRendered(folder=group_folder(state_dir, destinations))
    known = stored.services()
    names = tuple(sorted(name for name in {*known.spent, *known.things} if service in {None, name}))
    if names:
        spent, things = (
            {name: OVER if name in names else seconds for name, seconds in ages.items()}
            for ages in (known.spent, known.things)
        )
        stored.save_services(replace(known, spent=spent, things=things), with_ages=True)
    return names
