import asyncio

import pytest

from ctemplate.cli.logs import LINE_LIMIT
from ctemplate.config.layers import Layer
from ctemplate.core.model import Answer, Instance
from ctemplate.guard import Memory
from ctemplate.queries import ServiceQuery
from ctemplate.runtime.assembly import Assembler
from ctemplate.runtime.daemon import Daemon, query_list


def services(count, *, name="s{:03d}"):
    return {f"service({name.format(number)})" for number in range(count)}


@pytest.mark.parametrize(
    ("queries", "said"),
    [
        pytest.param({"service(b)", "service(a)"}, "service(a), service(b)", id="few"),
        pytest.param(services(8), ", ".join(sorted(services(8))), id="the most that are not counted"),
        pytest.param(services(30), "30 queries: " + ", ".join(sorted(services(30))), id="many"),
        pytest.param(
            services(130), "130 queries: " + ", ".join(sorted(services(130))[:100]) + " and 30 more", id="too many"
        ),
        pytest.param({"service(\n)"}, "service(\\n)", id="hostile"),
    ],
)
def test_queries_without_answer_are_named(queries, said):
    assert query_list(queries) == said


def test_long_names_leave_room_for_the_number_of_the_others():
    said = query_list(services(100, name="x" * 80 + "{:03d}"))
    assert len(said) < LINE_LIMIT - 500
    assert said.startswith("100 queries: service(xxx")
    assert said.endswith(" and 64 more")


async def test_nodes_that_only_unwanted_stored_answers_show_stop_counting_after_the_first_answers(tmp_path):
    values = {
        "state_dir": str(tmp_path / "state"),
        "template": [{"contents": "", "destination": str(tmp_path / "out")}],
    }
    assembler = Assembler(paths=(), flags=Layer(where="test", values=values), environ={})
    daemon = Daemon(assembler=assembler, assembly=assembler.assemble())
    queries = [ServiceQuery(name=name) for name in ("web", "old")]
    answers = [
        Answer(query=each, value=(Instance(id=each.name, name=each.name, node=each.name, address="10.0.0.1", port=1),))
        for each in queries
    ]
    daemon.catalog.remember([Memory(answer=each) for each in answers], wall=0.0)
    with daemon._held:
        daemon._hold_workers()
        (worker,) = daemon.workers
        daemon.catalog.want(worker.pipeline.name, frozenset(queries[:1]))
        worker.answered.set()
        (service,) = [each for each in daemon._wanted() if each.name == "forget-old-groups"]
        await asyncio.wait_for(service.run(), 60)
    assert daemon.catalog._guard._nodes.in_contact(None) == {"web"}
