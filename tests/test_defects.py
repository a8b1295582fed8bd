"""A defect of ours at each seam costs one query, one turn or one part for a while, with one ERROR."""

import asyncio
import contextlib
import dataclasses
import errno
import logging
import math
import os
import signal

import msgspec
import pytest
from consul_fakes import entries, entry
from werkzeug import Response

from ctemplate.catalog import Catalog
from ctemplate.config.layers import Layer
from ctemplate.core import defects
from ctemplate.core.defects import Defects, kept_running
from ctemplate.core.errors import ConfigError
from ctemplate.core.model import Answer, Instance
from ctemplate.core.timing import Backoff
from ctemplate.guard import Guard, GuardPolicy, Policies
from ctemplate.guard.rules.loss import LossRule
from ctemplate.queries import ServiceQuery
from ctemplate.runtime.answer_store import load_answers
from ctemplate.runtime.assembly import Assembler
from ctemplate.runtime.control_socket import Request, ask, serve
from ctemplate.runtime.daemon import Daemon
from ctemplate.runtime.group_worker import distribute
from ctemplate.runtime.guard_tasks import Keeper
from ctemplate.sources.consul import source as consul_source
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.source import ConsulSource
from ctemplate.sources.consul.watching.planner import Planner

WEB, DB = ServiceQuery(name="web"), ServiceQuery(name="db")
SENTENCE = "a defect of ctemplate's own, please report it: KeyError: 'defect'"
QUICK = Backoff(first=0.02, ceiling=0.05)


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what happens on a socket or a disk sets no event of ours
            await asyncio.sleep(0.005)


async def no_report():
    raise AssertionError("nobody asked for a report")


@contextlib.asynccontextmanager
async def running(*works):
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
        assert not [task for task in tasks if task.done()], "a defect ended what was to go on"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Faulty:
    """Fails with a defect as often as it is told to, and does its work from then on."""

    def __init__(self, times, error=None):
        self.left, self.error, self.began = times, error or KeyError("defect"), 0
        self.works = asyncio.Event()

    async def __call__(self):
        self.began += 1
        if self.left:
            self.left -= 1
            raise self.error
        self.works.set()
        await asyncio.Event().wait()


# What is no defect


@pytest.mark.parametrize(
    ("cause", "what"),
    [
        pytest.param(OSError(errno.EMFILE, "Too many open files", "/proc"), "too many open files", id="descriptors"),
        pytest.param(OSError(errno.ENOMEM, "Cannot allocate memory"), "cannot allocate memory", id="memory to fork"),
        pytest.param(BlockingIOError(errno.EAGAIN, "…"), "resource temporarily unavailable", id="processes"),
        pytest.param(RuntimeError("Error creating watcher: … (os error 24)"), "too many open files", id="in Rust"),
        pytest.param(MemoryError(), "out of memory", id="memory"),
        pytest.param(RuntimeError("can't start new thread"), "can't start new thread", id="threads"),
    ],
)
def test_a_shortage_of_the_host_is_no_defect(cause, what, caplog):
    Defects().report("web", cause)
    assert errors(caplog) == [f"web: this host has a shortage: {what}"]


def test_a_number_alone_is_no_shortage(caplog):
    Defects().report("web", ValueError("24"))
    assert errors(caplog) == ["web: a defect of ctemplate's own, please report it: ValueError: 24"]


# A part


@pytest.mark.looptime
async def test_a_part_is_begun_again_after_pauses_that_grow_and_reported_once(caplog):
    part, clock = Faulty(5), asyncio.get_running_loop().time
    started = clock()
    async with running(kept_running("keep-answers", part)):
        await part.works.wait()
    assert (part.began, errors(caplog)) == (6, [f"keep-answers: {SENTENCE}"])
    assert clock() - started >= 0.5 + 1 + 2 + 4 + 8


@pytest.mark.looptime
async def test_a_defect_within_a_group_of_tasks_is_the_part_s_own(caplog):
    part = Faulty(1, ExceptionGroup("tasks", [ExceptionGroup("more", [KeyError("defect")])]))
    async with running(kept_running("source", part)):
        await part.works.wait()
    assert errors(caplog) == [f"source: {SENTENCE}"]


async def test_a_part_that_fails_as_it_is_cancelled_has_ended(caplog):
    began = asyncio.Event()

    async def part():
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            raise KeyError("defect")

    task = asyncio.ensure_future(kept_running("control", part))
    await began.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=60)
    assert (done, errors(caplog)) == ({task}, [f"control: {SENTENCE}"])
    assert task.cancelled()


async def test_what_the_operator_is_to_mend_ends_a_part(caplog):
    with pytest.raises(ConfigError, match="token"):
        await kept_running("source", Faulty(1, ExceptionGroup("tasks", [ConfigError("token", "is wrong")])))
    assert errors(caplog) == []


def test_another_defect_at_the_same_place_is_reported_and_so_is_its_end(caplog):
    caplog.set_level(logging.INFO)
    reported = Defects()
    for cause in (KeyError("defect"), KeyError("defect"), ValueError("other")):
        reported.report("web", cause)
    reported.over("web")
    reported.over("web")
    assert errors(caplog) == [
        f"web: {SENTENCE}",
        "web: a defect of ctemplate's own, please report it: ValueError: other",
    ]
    assert caplog.messages[-1] == "web: works again"


# The guard, by its policies, and the source


class FaultyPolicies(Policies):
    """Policies that cannot tell what holds for one service, until they are mended."""

    is_mended = False

    def of(self, query):
        if query == WEB and not FaultyPolicies.is_mended:
            raise KeyError("defect")
        return super().of(query)


@pytest.fixture
def faulty_policies():
    FaultyPolicies.is_mended = False
    return FaultyPolicies(default=GuardPolicy())


@pytest.fixture
def agent(httpserver):
    """A Consul with one instance of each service; what does not block is asked for again soon."""

    def answer(request):
        name = request.path.rsplit("/", 1)[-1]
        body = b"{}" if name == "services" else b"[]" if name == "consul" else entries(entry(Service=name))
        return Response(body, 200, {"X-Consul-Index": "10", "Content-Type": "application/json"})

    for path in ("web", "db", "consul"):
        httpserver.expect_request(f"/v1/health/service/{path}").respond_with_handler(answer)
    httpserver.expect_request("/v1/catalog/services").respond_with_handler(answer)
    return httpserver.url_for("/")


@pytest.mark.parametrize("connections", [pytest.param(64, id="long polls"), pytest.param(3, id="readers")])
async def test_a_defect_of_the_guard_costs_one_query(agent, faulty_policies, caplog, monkeypatch, connections):
    monkeypatch.setattr(consul_source, "DEFECT_PAUSE", QUICK)
    settings = ConsulSettings(
        addresses=(agent,), wait=0.05, query_interval=0.05, backoff=QUICK, max_connections=connections
    )
    source, catalog = ConsulSource(settings), Catalog(faulty_policies)
    catalog.want("g", frozenset({WEB, DB}))
    async with running(source.run(catalog)):
        await until(lambda: catalog.get(DB) is not None and errors(caplog))
        assert catalog.get(WEB) is None
        FaultyPolicies.is_mended = True
        await until(lambda: catalog.get(WEB) is not None)
    assert errors(caplog) == [f"service(web): {SENTENCE}"]


class FaultyRule(LossRule):
    """Keeps what vanished, and breaks once time is to end that."""

    def review(self, now):
        if now > NEVER:
            raise KeyError("defect")
        return super().review(now)


NEVER = 1000.0


def test_a_defect_of_a_rule_in_a_review_costs_one_query(caplog):
    def taken(query, *names, now=0.0):
        value = tuple(
            Instance(id=name, name=query.name, node=f"n{name}", address="10.0.0.1", port=80) for name in names
        )
        return guard.take(Answer(query=query, value=value), now)

    def lengths(answers):
        return {answer.query.name: len(answer.value) for answer in answers}

    guard = Guard(Policies(default=GuardPolicy(hold=60.0)))
    for query in (WEB, DB):
        taken(query, "a", "b", "c")
    state = guard._states[WEB]
    state.loss = FaultyRule()
    state.rules = (state.loss, *state.rules[1:])
    state._shown_by = (state.loss, *state._shown_by[1:])
    for query in (WEB, DB):
        taken(query, now=NEVER - 1)
    assert guard.due_at(NEVER) <= NEVER + 60
    assert lengths(guard.review(NEVER + 120)) == {"db": 0}
    assert [hold.query for hold in guard.holds] == []
    assert errors(caplog) == [f"service(web): what is held of it stays as it is: {SENTENCE}"]
    assert guard.due_at(NEVER + 120) <= NEVER  # what there is to report of the other one
    guard.reports(NEVER + 120)
    assert guard.due_at(NEVER + 120) == math.inf  # the broken one keeps nobody busy
    assert len(taken(WEB, "a", "b", "c", now=NEVER - 1).value) == 3


# The planner


class FaultyPlanner(Planner):
    """Breaks at its first plan, as often as it is told to."""

    left = 0

    def plan(self, now):
        if FaultyPlanner.left:
            FaultyPlanner.left -= 1
            raise KeyError("defect")
        return super().plan(now)


class PlannedBadly(ConsulSource):
    """Plans with a faulty planner."""

    def _new_planner(self):
        return FaultyPlanner(max_connections=self._settings.max_connections)


async def test_a_defect_of_the_planner_costs_a_while(agent, caplog, monkeypatch):
    monkeypatch.setattr(defects, "PAUSE", QUICK)
    source, catalog = PlannedBadly(ConsulSettings(addresses=(agent,), wait=0.05, backoff=QUICK)), Catalog()
    catalog.want("g", frozenset({WEB, DB}))
    FaultyPlanner.left = 3

    def follow():
        catalog.ask_again()
        return source.run(catalog)

    async with running(kept_running("Consul", follow)):
        await until(lambda: catalog.get(WEB) is not None and catalog.get(DB) is not None)
    assert (FaultyPlanner.left, errors(caplog)) == (0, [f"Consul: {SENTENCE}"])


# The workers


async def test_a_defect_of_one_worker_hides_nothing_from_the_others(caplog):
    class Worker:
        def __init__(self, error=None):
            self.error, self.flagged, self.roused = error, asyncio.Event(), asyncio.Event()
            self.pipeline = type("Pipeline", (), {"subject": "nginx.conf"})

        def flag(self, _changed, _now):
            if self.error:
                raise self.error
            self.flagged.set()

        def rouse(self, _now):
            self.roused.set()

    faulty, sound = Worker(KeyError("defect")), Worker()
    catalog = Catalog()
    catalog.want("g", frozenset({WEB}))
    async with running(distribute(catalog, lambda: (faulty, sound))):
        catalog.put(Answer(query=WEB, value=()))
        await asyncio.wait_for(sound.flagged.wait(), 60)
        await asyncio.wait_for(faulty.roused.wait(), 60)
    assert errors(caplog) == [f"nginx.conf: {SENTENCE}"]


# The control socket


async def test_a_defect_of_a_request_costs_that_request(tmp_path, caplog):
    class FaultyCatalog(Catalog):
        def release(self, service=None):
            if service == "web":
                raise KeyError("defect")
            return super().release(service)

    path = tmp_path / "control" / "a.sock"
    async with running(serve(path, FaultyCatalog(Policies()), no_report)):
        await until(path.exists)
        with pytest.raises(msgspec.MsgspecError):  # the line ends without a reply
            await asyncio.to_thread(ask, path, Request(release="web"))
        assert (await asyncio.to_thread(ask, path, Request(release="db"))).released == ()
    assert errors(caplog) == [f"{path}: a request: {SENTENCE}"]


# The answer store


async def test_an_answer_store_that_breaks_the_reader_is_not_used(tmp_path, caplog):
    path = tmp_path / "answers.json"
    path.write_bytes(b'{"version":1,"services":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    await Keeper(Catalog(Policies()), path).load()
    (said,) = caplog.messages
    assert said.startswith(f"{path}: ")


async def test_a_defect_of_the_answer_store_costs_one_writing(tmp_path, caplog):
    class FaultyCatalog(Catalog):
        is_mended = False

        def memories(self, *, wall):
            if not self.is_mended:
                raise KeyError("defect")
            return super().memories(wall=wall)

    catalog, path = FaultyCatalog(Policies()), tmp_path / "answers.json"
    catalog.want("g", frozenset({WEB}))
    catalog.put(Answer(query=WEB, value=(Instance(id="a", name="web", node="n", address="10.0.0.1", port=80),)))
    keeper = Keeper(catalog, path)
    await keeper.save()
    assert errors(caplog) == [f"{path}: the last good answers are not kept: {SENTENCE}"]
    catalog.is_mended = True
    await keeper.save()
    assert [known.answer.query for known in load_answers(path)] == [WEB]


@pytest.mark.parametrize("is_folder_there", [True, False])
async def test_an_answer_store_that_was_removed_is_written_again_where_its_folder_is(tmp_path, is_folder_there):
    catalog, path = Catalog(Policies()), tmp_path / "state" / "answers.json"
    catalog.want("g", frozenset({WEB}))
    catalog.put(Answer(query=WEB, value=(Instance(id="a", name="web", node="n", address="10.0.0.1", port=80),)))
    keeper = Keeper(catalog, path)
    await keeper.save()
    path.unlink()
    if not is_folder_there:
        path.parent.rmdir()
    await keeper.save()
    assert path.exists() == is_folder_there


async def test_answers_that_could_not_be_written_are_written_later_without_a_change(tmp_path, caplog):
    catalog, path = Catalog(Policies()), tmp_path / "answers.json"
    catalog.want("g", frozenset({WEB}))
    catalog.put(Answer(query=WEB, value=(Instance(id="a", name="web", node="n", address="10.0.0.1", port=80),)))
    keeper = Keeper(catalog, path)
    path.mkdir()
    for _ in range(3):
        await keeper.save()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    path.rmdir()
    await keeper.save(with_ages=False)
    assert not path.exists()
    await keeper.save()
    assert [known.answer.query for known in load_answers(path)] == [WEB]


# The whole daemon


class FaultyAssembler(Assembler):
    """Reads everything well the first time, with a defect the second time."""

    times = 0

    def assemble(self, previous=None):
        FaultyAssembler.times += 1
        if FaultyAssembler.times == 2:  # the first SIGHUP
            raise KeyError("defect")
        return super().assemble(previous)


class FaultySource:
    """Dies over a defect twice, then does what the catalog file does."""

    def __init__(self, sound):
        self.sound, self.left = sound, 2

    async def run(self, catalog):
        if self.left:
            self.left -= 1
            raise KeyError("defect")
        await self.sound.run(catalog)


async def test_a_daemon_outlives_defects_of_its_source_and_of_an_edit(tmp_path, caplog):
    caplog.set_level(logging.INFO, "ctemplate")
    (tmp_path / "catalog.yaml").write_text("services: {web: {instances: [{address: 10.0.0.1, port: 80}]}}")
    template, output = tmp_path / "t.j2", tmp_path / "out"
    template.write_text('{% for i in service("web") %}{{ i.port }}{% endfor %}')
    values = {
        "catalog": str(tmp_path / "catalog.yaml"),
        "state_dir": str(tmp_path / "state"),
        "template": [{"source": str(template), "destination": str(output)}],
    }
    FaultyAssembler.times = 0
    assembler = FaultyAssembler(paths=(), flags=Layer(where="test", values=values), environ={})
    assembly = assembler.assemble()
    daemon = Daemon(assembler=assembler, assembly=dataclasses.replace(assembly, source=FaultySource(assembly.source)))
    running_daemon = asyncio.create_task(daemon.run())
    await until(output.exists)
    assert output.read_text() == "80"
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: len(errors(caplog)) > 1)
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: any("reloaded" in message for message in caplog.messages))
    daemon._is_stopping = True
    daemon._wake.set()
    await asyncio.wait_for(running_daemon, 60)
    assert errors(caplog) == [
        f"{values['catalog']}: {SENTENCE}",
        f"keeping the running configuration: {SENTENCE}",
    ]
