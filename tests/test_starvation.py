"""No loop of ours starves the event loop: each helper task beside a source that never answers, for ten minutes."""

import asyncio
from types import SimpleNamespace

import looptime
import pytest

from ctemplate.catalog import Catalog
from ctemplate.core.model import Answer, Instance
from ctemplate.guard import Policies
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.runtime.control_socket import serve
from ctemplate.runtime.daemon import Daemon
from ctemplate.runtime.group_worker import distribute
from ctemplate.runtime.guard_tasks import Keeper, follow_guard, recall_late
from ctemplate.sources.consul.confirm import confirm
from ctemplate.sources.consul.endpoints.paths import FailureKind, RequestFailed

TEN_MINUTES = 600.0
TICK = 1e-6  # seconds, of virtual time; what is due between two ticks counts as due
LOOK = 1e-7  # seconds that a look at the clock takes, so that a moment between two ticks passes
MANY = 300_000  # turns; the loop of virtual time takes some forty for each second that passes
BLIND, LOST = ServiceQuery(name="blind"), ServiceQuery(name="lost")


async def no_report():
    raise AssertionError("nobody asked for a report")


class Turns:
    """Counts what a starving loop does without end: looks at the clock, and turns of the event loop."""

    def __init__(self, loop):
        self._loop, self.count = loop, 0
        self._run_once = loop._run_once
        loop._run_once = self._turn
        loop._clock_resolution = TICK

    def _turn(self):
        self._note()
        self._run_once()

    def now(self):
        self._note()
        return self._loop.time() + self.count * LOOK

    def _note(self):
        self.count += 1
        if self.count > MANY:
            raise AssertionError(f"more than {MANY} turns within {self._loop.time():.0f}s")


def doubtful(clock):
    """A catalog with an empty first answer and a loss, both of which only a confirmation would settle."""
    catalog = Catalog(Policies(), clock=clock)
    catalog.want("g", frozenset({BLIND, LOST, ServicesQuery()}))
    one = Instance(id="a", name="lost", node="n", address="10.0.0.1", port=80)
    catalog.put(Answer(query=BLIND, value=()))
    catalog.put(Answer(query=LOST, value=(one,), index=10, session=1.0))
    catalog.put(Answer(query=LOST, value=(), index=11, session=1.0))
    return catalog


class Silent:
    """A client of a Consul whose answers never come, come too late, or are refusals."""

    def __init__(self, manner):
        self.manner, self.address = manner, "127.0.0.1:8500"
        self.settings = SimpleNamespace(datacenter="", namespace="", partition="")

    def connect(self):
        return SimpleNamespace(close=lambda: None)

    async def allows(self, *_, **__):
        if self.manner == "late":
            await asyncio.sleep(6.0)
        elif self.manner == "silent":
            await asyncio.Event().wait()
        kind = FailureKind.DENIED if self.manner == "denied" else FailureKind.UNREACHABLE
        raise RequestFailed("agent", "/path", "cannot be reached", kind)

    read = allows


def idle_daemon(catalog, folder):
    assembly = SimpleNamespace(policies=None, memory_path=folder / "answers", configuration="", source_name="Consul")
    daemon = Daemon(assembler=SimpleNamespace(environ={}), assembly=assembly)
    daemon.catalog = catalog
    daemon.workers = (SimpleNamespace(missing=frozenset({BLIND})),)
    return daemon


HELPERS = {
    "follow-guard": lambda catalog, _: follow_guard(catalog),
    "recall-late": lambda catalog, _: recall_late(catalog, "Consul"),
    "keep-answers": lambda catalog, folder: Keeper(catalog, folder / "answers").run(),
    "name-missing": lambda catalog, folder: idle_daemon(catalog, folder)._name_missing(),
    "distribute": lambda catalog, folder: distribute(catalog, lambda: idle_daemon(catalog, folder).workers[:0]),
    "control": lambda catalog, folder: serve(folder / "control" / "sock", catalog, no_report),
} | {
    f"confirm, {manner}": lambda catalog, _, manner=manner: confirm(
        catalog, Silent(manner), None, SimpleNamespace(session=lambda _: 1.0)
    )
    for manner in ("silent", "late", "refused", "denied")
}


def ten_minutes_of(*names, folder):
    """Run helpers for ten minutes that pass at once; return how many turns that took."""
    loop = looptime.new_event_loop(start=0)
    turns = Turns(loop)

    async def scenario():
        catalog = doubtful(turns.now)
        tasks = [asyncio.create_task(HELPERS[name](catalog, folder), name=name) for name in names]
        seconds = 0
        while seconds < TEN_MINUTES:
            await asyncio.sleep(1.0)
            seconds += 1
        assert not [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)
        assert all(task.cancelled() for task in tasks)

    try:
        loop.run_until_complete(scenario())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    return turns.count


@pytest.mark.parametrize("name", HELPERS)
def test_a_helper_goes_on_and_takes_a_bounded_number_of_turns(name, tmp_path):
    assert ten_minutes_of(name, folder=tmp_path) < MANY


def test_the_guard_s_helpers_together_take_a_bounded_number_of_turns(tmp_path):
    assert ten_minutes_of("follow-guard", "confirm, late", "distribute", folder=tmp_path) < MANY
