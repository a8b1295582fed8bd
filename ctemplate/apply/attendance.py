"""Compare the process that runs a group's files with those proven to run them, and record a reload that is owed.

The files that a program has loaded belong to its process. A new process has read the current files if it started after
they were put in place, which its start time shows; else it may run older ones, and a reload is owed. Nothing is owed
where the process cannot be distinguished from a proven one, has ended meanwhile, or does not exist.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from ctemplate.apply.group import Program
from ctemplate.apply.state import GroupState
from ctemplate.core.errors import ApplyError
from ctemplate.core.event_stream import emit
from ctemplate.core.model import Outcome
from ctemplate.core.program_events import ProcessProven, ProcessUnproven
from ctemplate.system.threads import run_uncancellable
from ctemplate.system.uptime import Moment, RunningProcess, at_wall_clock

log = logging.getLogger(__name__)


async def is_another(state: GroupState, program: Program | None) -> bool:
    """Whether a process runs that was never proven to run the files; False where none runs. Only reads."""
    if program is None:
        return False
    try:
        found = await program.running()
    except ApplyError as error:
        log.debug("%s; which process runs cannot be known", error)
        return False
    return found is not None and found[0] not in state.ledger.page.proven


async def attended(state: GroupState, program: Program | None) -> bool:
    """Record whether the current process runs the files; a reload is owed where it may run older ones.

    Return whether it was newly shown to run them, so that no reload is owed any more. Raises nothing.
    """
    if program is None:
        return False
    try:
        found = await program.running()
    except ApplyError as error:
        log.debug("%s; which process runs cannot be known", error)
        return False
    page = state.ledger.page
    if found is None or found[0] in page.proven:
        return False
    process, reads_since = found
    about = {"group": state.group.name, "subject": state.group.subject, "path": str(state.group.destinations[0])}
    if all(reads_since.is_after(moment) for moment in _written(state)):
        if any(destination.exists() for destination in state.files):
            emit(ProcessProven(**about, pid=process.pid))
        await run_uncancellable(_settle, state, process)
        return True
    if not page.owes_reload:
        emit(ProcessUnproven(**about, pid=process.pid))
        await run_uncancellable(_owe, state)
    return False


def _settle(state: GroupState, process: RunningProcess) -> None:
    state.ledger.settle(Outcome.APPLIED.value, owes_reload=False, proven=process)


def _owe(state: GroupState) -> None:
    state.ledger.settle("another process", owes_reload=True)


def _written(state: GroupState) -> Iterator[Moment]:
    """Yield when we put the files in place, and when each was last changed by any process, by the wall clock."""
    if state.ledger.page.placed is not None:
        yield state.ledger.page.placed
    for destination in state.files:
        with contextlib.suppress(OSError):
            yield at_wall_clock(destination.stat().st_ctime)
