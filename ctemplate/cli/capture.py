"""``ctemplate capture``: save the data that the templates read as a small, readable catalog file in a stable order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctemplate.cli.interruptible import run_interruptible
from ctemplate.cli.output import write_output
from ctemplate.cli.run import prepared, run_once
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import CaptureInexact
from ctemplate.core.model import Answer, Query, Snapshot
from ctemplate.runtime.assembly import RunMode
from ctemplate.runtime.pipeline import Pipeline
from ctemplate.sources.contents import Contents, answer, dump, recorded


def capture(given: Mapping[str, Any]) -> int:
    """Write the capture to ``-o FILE`` or to the terminal; return 1 when a template failed, else 0.

    The command renders from the capture before it writes it, so the file holds only what is needed to render the same
    bytes.
    """
    daemon = prepared(given, RunMode.DRY)
    run_once(given, daemon)
    pipelines = tuple(worker.pipeline for worker in daemon.workers)
    snapshot = daemon.catalog.snapshot()
    is_failed = any(worker.error for worker in daemon.workers)
    contents = recorded(snapshot, masks=given["mask"])
    if not is_failed and not given["mask"] and not run_interruptible(_gives_the_same(contents, snapshot, pipelines)):
        contents = recorded(snapshot, is_full=True)
        if not run_interruptible(_gives_the_same(contents, snapshot, pipelines)):
            emit(CaptureInexact())
    write_output(dump(contents), given["o"])
    return 1 if is_failed else 0


async def _gives_the_same(contents: Contents, snapshot: Snapshot, pipelines: tuple[Pipeline, ...]) -> bool:
    """Return whether every group renders the same texts from the capture as from the answers."""
    again: dict[Query, Answer] = {
        given.query: answer(contents, given.query, allow_hostnames=True) for given in snapshot
    }
    for pipeline in pipelines:
        places = await pipeline.places()
        texts = (await pipeline.render(snapshot, places)).texts
        if (await pipeline.render(Snapshot(again), places)).texts != texts:
            return False
    return True
