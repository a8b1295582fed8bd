"""A group across edits and refusals: the templates that stay in use, and the answers that it watches."""

import sys
import threading
from pathlib import Path

import pytest

from ctemplate.catalog import Catalog
from ctemplate.core.errors import CheckRefused
from ctemplate.core.model import Answer, Outcome, Snapshot, Target
from ctemplate.core.timing import Wait
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.runtime.pipeline import Pipeline
from ctemplate.sinks.dry_run import DryRunSink

sys.path.insert(0, str(Path(__file__).parent / "template"))
from rendering import answers, load, web  # services for the tests of templates

EACH = "{{% for s in services() %}}{{% for i in service(s.name) %}}\n{}\n{{% endfor %}}{{% endfor %}}"
FALLBACK = EACH.format("{{ s.name }} {{ i.port }}") + (
    '{% if not service("web") %}{% for i in service("spare") %}{{ i.port }}{% endfor %}{% endif %}'
)


class Choosy(DryRunSink):
    """A sink that refuses texts with a word, as a program would."""

    def __init__(self, word):
        super().__init__()
        self.word = word.encode()

    async def apply(self, outputs):
        await self.check(outputs)
        return await super().apply(outputs)

    async def check(self, outputs):
        if any(self.word in output.content for output in outputs):
            raise CheckRefused("/srv/out", "refused")


def pipeline(text, *, word="refused", before=None):
    target = Target(destination=Path("/srv/out"))
    return Pipeline(name="g", templates=[load(text)], targets=[target], sink=Choosy(word), before=before)


class Group:
    """A worker, and the answers that it wants from the services that there are."""

    def __init__(self, text, *services, **options):
        self.catalog = Catalog()
        self.services = services
        self.worker = self._working(pipeline(text, **options))

    def _working(self, made):
        return GroupWorker(pipeline=made, catalog=self.catalog, wait=Wait(min=0.0, max=0.0))

    def edit(self, text, **options):
        self.worker = self._working(pipeline(text, before=self.worker.pipeline, **options))

    async def step(self, *services):
        """Give the answers for these services and step until nothing is missing."""
        self.services = services or self.services
        known = answers(*self.services)
        for _ in range(5):
            for query in self.catalog.wanted:
                self.catalog.put(known.get(query, Answer(query=query, value=())))
            await self.worker.step()
            if self.worker.error is not None or self.worker.result.outcome is not Outcome.WAITING:
                return
        raise AssertionError(self.worker.missing)

    @property
    def text(self):
        return self.worker.pipeline.sink.outputs[0].content.decode()

    def is_due_for(self, name, now=1e9):
        """Whether news of a service make the group due."""
        worker, query = self.worker, ServiceQuery(name=name)
        worker._forget_dues()
        if query not in self.catalog.wanted:
            return False
        (_, _, instances) = web(name=name, count=9)
        self.catalog.put(Answer(query=query, value=instances))
        worker.flag({query}, now)
        return worker._next_due() is not None


async def test_queries_read_only_after_a_service_is_left_out_are_watched():
    group = Group(FALLBACK, web(name="a"), word="web 8000")
    await group.step()
    await group.step(web(name="a"), web(name="web"))
    assert group.worker.error is None
    assert [rejection.service for rejection in group.worker.pipeline.quarantined] == ["web"]
    assert group.is_due_for("spare")


async def test_a_render_leaves_the_event_loop_free(monkeypatch):
    """The first one too, of little data: what a template does with them is unknown."""
    made, threads = pipeline(EACH.format("{{ i.port }}")), []
    render = made.renderer.render

    def recorded(*given):
        threads.append(threading.current_thread())
        return render(*given)

    monkeypatch.setattr(made.renderer, "render", recorded)
    await made.render(Snapshot(answers(web())), ())
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param('{% for i in service("new") %}{{ i.port }}{% endfor %}{{ nobody }}', id="cannot-be-rendered"),
        pytest.param('{% for i in service("new") %}{{ i.port }}{% endfor %} refused', id="is-refused"),
    ],
)
async def test_an_edit_that_cannot_be_used_lets_the_templates_before_go_on_with_new_data(edit, caplog):
    group = Group(EACH.format("{{ s.name }} {{ i.port }}"), web(name="a"), web(name="b"))
    await group.step()
    group.edit(edit)
    for count in (1, 2, 3):
        await group.step(web(name="a", count=count), web(name="b"))
        assert group.worker.error is None
        assert group.text.splitlines() == [*(f"a {8000 + number}" for number in range(count)), "b 8000"]
        assert {ServicesQuery(), ServiceQuery(name="a"), ServiceQuery(name="new")} <= group.catalog.wanted
        assert group.is_due_for("a")
        assert group.is_due_for("new")
    assert caplog.text.count("the templates from before the edit stay in use") == 1


async def test_while_an_edit_is_refused_the_services_that_the_program_refuses_are_left_out_as_before():
    text, word = EACH.format("{{ s.name }} {{ i.port }}"), "web 800"
    group = Group(text, web(name="a"), word=word)
    await group.step()
    await group.step(web(name="a"), web(name="web"))
    assert group.worker.error is None
    group.edit(f"{text} {word}", word=word)
    for count in (1, 2, 3):
        await group.step(web(name="a", count=count), web(name="web", count=count))
        assert group.worker.error is None
        assert group.text.splitlines() == [f"a {8000 + number}" for number in range(count)]
        assert [rejection.service for rejection in group.worker.pipeline.quarantined] == ["web"]


@pytest.mark.parametrize("busy", range(1, 9))
async def test_no_service_is_blamed_for_a_program_that_is_busy_for_a_while(busy):
    group = Group(EACH.format("{{ s.name }} {{ i.port }}"), web(name="a"))
    await group.step()
    sink, services = group.worker.pipeline.sink, [web(name=name, count=2) for name in "abcd"]
    check, asked = sink.check, 0

    async def check_when_free(outputs):
        nonlocal asked
        asked += 1
        if asked <= busy:
            raise CheckRefused("/srv/out", "timed out")
        await check(outputs)

    sink.check = check_when_free
    await group.step(*services)
    for _ in range(busy):
        assert group.worker.pipeline.quarantined == ()
        if group.worker.error is not None:  # it was busy also for the first question of the search
            await group.worker.step()
    assert group.worker.error is None
    assert len(group.text.splitlines()) == 8


@pytest.mark.parametrize("steps", [pytest.param(0, id="not-begun"), pytest.param(1, id="waits-for-answers")])
async def test_edits_in_a_row_that_cannot_be_used_let_the_last_used_templates_go_on(steps):
    broken = '{% for i in service("new") %}{{ i.port }}{% endfor %}{{ nobody }}'
    group = Group(EACH.format("{{ s.name }} {{ i.port }}"), web(name="a"))
    await group.step()
    group.edit(broken)
    for _ in range(steps):
        await group.worker.step()
    group.edit(broken)
    await group.step(web(name="a", count=2))
    assert group.worker.error is None
    assert group.text.splitlines() == ["a 8000", "a 8001"]


async def test_an_edit_in_use_watches_no_longer_what_only_those_before_read():
    group = Group(EACH.format("{{ s.name }} {{ i.port }}"), web(name="a"))
    await group.step()
    group.edit('{% for i in service("new") %}{{ i.port }}{% endfor %}')
    await group.step()
    await group.step()
    assert group.catalog.wanted == {ServiceQuery(name="new")}
