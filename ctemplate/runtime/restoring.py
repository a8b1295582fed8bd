"""Bring a group's files back to a past state: by the daemon that holds them, or where none runs, by ourselves.

Both go the way of any change: check, swap, reload, proof. Knows nothing of how it is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ctemplate.apply import StateFolder
from ctemplate.apply.history import PastState, history
from ctemplate.config.groups import GroupPlan
from ctemplate.core.errors import ApplyError, printable
from ctemplate.core.model import Outcome
from ctemplate.runtime.group_files import group_targets, restorable_sink
from ctemplate.runtime.group_nginx import group_nginx
from ctemplate.runtime.group_worker import GroupWorker

RESTORE_TIMEOUT = 300.0  # seconds that who asks a daemon waits: a step that is under way ends first


class RestoreRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The group that has these destinations is to be as it was; ``only`` are the files that are meant, all without."""

    destinations: tuple[str, ...]
    label: str
    only: tuple[str, ...] = ()


class RestoreReply(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended; ``error`` is why nothing was done, with the program's own words in ``output``."""

    outcome: str = ""
    where: str = ""
    error: str = ""
    output: tuple[str, ...] = ()


async def restored_by(workers: Iterable[GroupWorker], request: RestoreRequest, *, state_dir: Path) -> RestoreReply:
    """Have the worker of a group restore it; whatever speaks against it is in the reply."""
    try:
        worker = _worker(workers, request)
        past = await asyncio.to_thread(past_state, state_dir, worker.pipeline.destinations, request)
        outcome = await worker.restore(past)
    except ApplyError as exc:
        return RestoreReply(where=exc.where, error=exc.what, output=exc.output)
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        return RestoreReply(where=request.destinations[0], error="ctemplate stopped meanwhile; nothing was done")
    return RestoreReply(outcome=outcome.value)


def _worker(workers: Iterable[GroupWorker], request: RestoreRequest) -> GroupWorker:
    for worker in workers:
        if names_of(worker.pipeline.destinations) == request.destinations:
            return worker
    raise ApplyError(" ".join(request.destinations), "no group of the running ctemplate has just these files")


def past_state(state_dir: Path, destinations: Iterable[Path], request: RestoreRequest) -> PastState:
    """Return the past state that is asked for; raises ApplyError where it is not kept."""
    paths = tuple(destinations)
    try:
        known = history(state_dir, paths)
    except OSError as exc:
        raise ApplyError(exc.filename or str(state_dir), f"cannot be read: {exc.strerror or exc}") from exc
    found = next((past for past in known if past.label == request.label), None)
    if found is not None and request.only:
        found = found.only(map(Path, request.only))
    if found is None or not found.files:
        where = " ".join(request.only or names_of(paths))
        kept = ", ".join(past.label for past in known)
        what = f"kept are: {kept}" if kept else "no earlier state of this is kept yet"
        raise ApplyError(where, f"{printable(request.label)} is not kept; {what}")
    return found


async def restore_here(plan: GroupPlan, past: PastState, *, state_dir: Path, templates: str) -> Outcome:
    """Restore a group that no process holds; raises StateError where one does, ApplyError where nothing was done."""
    nginx = group_nginx(plan, state_dir, is_written=True)
    with contextlib.ExitStack() as held:
        sink = restorable_sink(
            plan, group_targets(plan), StateFolder(state_dir), held, nginx=nginx, templates=templates
        )
        return await sink.restore(past)


def unrestore_here(plan: GroupPlan, *, state_dir: Path) -> bool:
    """Let a group that no process holds be rendered again; return whether it was held as restored."""
    with contextlib.ExitStack() as held:
        sink = restorable_sink(plan, group_targets(plan), StateFolder(state_dir), held, nginx=None, templates="")
        return sink.release()


def names_of(destinations: Iterable[Path]) -> tuple[str, ...]:
    """Return destinations as a request names them."""
    return tuple(str(path.absolute()) for path in destinations)
