import pytest

from ctemplate.cli.logs import LINE_LIMIT
from ctemplate.runtime.daemon import query_list


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
