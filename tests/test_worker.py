"""A group's worker: its reaction to errors."""

import asyncio
import contextlib
import logging
from types import SimpleNamespace

import pytest

from ctemplate.catalog import Catalog
from ctemplate.core.errors import InternalError, SwapFailed, TemplateError
from ctemplate.core.model import Answer, Instance
from ctemplate.core.timing import Backoff, Wait
from ctemplate.guard import CONFIRM_GRACE, GuardPolicy, Policies
from ctemplate.queries import ServiceQuery
from ctemplate.runtime.group_worker import GroupWorker


class Defective:
    """A pipeline with a defect of the kind that nobody foresaw."""

    name = subject = "nginx.conf"
    sink = SimpleNamespace(wrote=lambda _: False)
    targets = ()

    def due_at(self):
        return None

    async def places(self):
        return ()

    async def render(self, snapshot, _places):
        raise KeyError(len(snapshot))


def worker_of(pipeline):
    return GroupWorker(pipeline=pipeline, catalog=Catalog(), wait=Wait(min=0.0, max=0.0))


async def test_a_defect_costs_one_group_a_turn_and_ends_nothing(caplog):
    worker = worker_of(Defective())
    with caplog.at_level(logging.INFO):
        await worker.step()
        await worker.step()
    assert isinstance(worker.error, InternalError)
    assert worker.answered.is_set()
    assert caplog.messages == ["nginx.conf: a defect of ctemplate's own, please report it: KeyError: 0"]


class Failing(Defective):
    """A pipeline that fails, and tells when it was tried twice."""

    def __init__(self, error):
        self._error = error
        self.tried = []
        self.second = asyncio.Event()

    async def render(self, snapshot, _places):
        self.tried.append(snapshot)
        if len(self.tried) > 1:
            self.second.set()
        raise self._error


def out_of_time():
    error = TemplateError("t.j2:1", "still rendering after 10s")
    error.is_transient = True
    return error


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        pytest.param(KeyError(0), 2, id="defect"),
        pytest.param(out_of_time(), 2, id="out-of-time"),
        pytest.param(SwapFailed("nginx.conf", "no space left"), 2, id="no-space"),
        pytest.param(TemplateError("t.j2:1", "'x' is undefined"), 1, id="template"),
    ],
)
async def test_what_may_go_by_itself_is_tried_again_without_a_change(monkeypatch, error, tries):
    monkeypatch.setattr("ctemplate.runtime.group_worker.RETRY", Backoff(first=0.01, ceiling=0.01))
    pipeline = Failing(error)
    worker = worker_of(pipeline)
    running = asyncio.create_task(worker.run())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(pipeline.second.wait(), 10.0 if tries > 1 else 0.2)
    worker.stop()
    await running
    assert min(len(pipeline.tried), 2) == tries


@pytest.mark.looptime
@pytest.mark.parametrize("is_confirmed", [True, False])
async def test_a_run_once_waits_for_the_confirmation_of_a_loss_and_never_for_ever(is_confirmed):
    """A doubt may open again with the last answer: what is confirmed a moment later must not go into the file."""
    clock = asyncio.get_running_loop().time
    query = ServiceQuery(name="web")
    catalog = Catalog(Policies(default=GuardPolicy()), clock=clock)
    catalog.want("g", frozenset({query}))
    one = Instance(id="a", name="web", node="n", address="10.0.0.1", port=80)
    catalog.put(Answer(query=query, value=(one,), index=10, session=1.0))
    gone = Answer(query=query, value=(), index=11, session=1.0)
    catalog.put(gone)
    pipeline = Failing(TemplateError("t.j2:1", "ends the run"))
    settling = asyncio.create_task(
        GroupWorker(pipeline=pipeline, catalog=catalog, wait=Wait(min=0.0, max=0.0)).settle()
    )
    await asyncio.sleep(1.0)
    assert not pipeline.tried
    if is_confirmed:
        catalog.confirm(gone, may_read=True)
    await settling
    assert [answer.value for answer in pipeline.tried[0]] == [() if is_confirmed else (one,)]
    assert clock() == pytest.approx(1.0 if is_confirmed else CONFIRM_GRACE)


class Surrounded(Failing):
    """A pipeline whose files stand among others."""

    quarantined = ()
    is_new = False

    async def are_surroundings_new(self):
        return self.is_new


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("has_failed", [True, False])
async def test_a_group_that_failed_is_due_when_the_files_around_it_have_changed(is_new, has_failed):
    async def is_due():
        return False

    pipeline = Surrounded(TemplateError("t.j2:1", "names no upstream"))
    pipeline.is_new, pipeline.sink = is_new, SimpleNamespace(is_due=is_due)
    worker = worker_of(pipeline)
    if has_failed:
        await worker.step()
    worker._forget_dues()
    await worker.look()
    assert (worker._next_due() is not None) is (is_new and has_failed)
