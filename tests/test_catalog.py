import asyncio

import pytest

from ctemplate.catalog import Catalog
from ctemplate.model import Answer, Service, ServiceQuery, ServicesQuery

SERVICES, WEB, DB = ServicesQuery(), ServiceQuery(name="web"), ServiceQuery(name="db")


def services(*names, index=1):
    return Answer(query=SERVICES, value=tuple(Service(name=name) for name in names), index=index)


async def is_quiet(catalog):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(catalog.news(), 0.01)
    return True


async def test_first_answer_and_changed_answer_are_news():
    catalog = Catalog()
    catalog.want("g", frozenset({SERVICES}))
    assert catalog.put(services("web"))
    assert await catalog.news() == {SERVICES}
    assert catalog.put(services("web", "db"))
    assert await catalog.news() == {SERVICES}


async def test_equal_answer_is_no_news_but_moves_the_index():
    catalog = Catalog()
    catalog.want("g", frozenset({SERVICES}))
    catalog.put(services("web"))
    await catalog.news()
    assert not catalog.put(services("web", index=7))
    assert catalog.get(SERVICES).index == 7
    assert await is_quiet(catalog)


def test_answer_to_a_query_that_nobody_wants_is_dropped():
    catalog = Catalog()
    assert not catalog.put(services("web"))
    assert catalog.get(SERVICES) is None


async def test_wishes_of_all_groups_add_up_and_wake_the_source():
    catalog = Catalog()
    catalog.want("a", frozenset({SERVICES, WEB}))
    catalog.want("b", frozenset({SERVICES, DB}))
    assert await catalog.wishes() == {SERVICES, WEB, DB}
    catalog.want("b", frozenset({SERVICES}))
    assert await catalog.wishes() == {SERVICES, WEB}


def test_growing_wishes_keep_the_earlier_ones_until_they_are_complete():
    catalog = Catalog()
    catalog.want("a", frozenset({SERVICES, WEB}))
    catalog.want("a", frozenset({SERVICES}), is_growing=True)
    assert catalog.wanted == {SERVICES, WEB}
    catalog.want("a", frozenset({SERVICES, DB}))
    assert catalog.wanted == {SERVICES, DB}


def test_unwanted_answer_is_forgotten():
    catalog = Catalog()
    catalog.want("a", frozenset({SERVICES}))
    catalog.put(services("web"))
    catalog.want("a", frozenset({WEB}))
    assert catalog.get(SERVICES) is None
    assert catalog.missing() == {WEB}


def test_wishes_of_groups_that_are_gone_are_dropped():
    catalog = Catalog()
    catalog.want("a", frozenset({WEB}))
    catalog.want("b", frozenset({DB}))
    catalog.keep_groups(["b"])
    assert catalog.wanted == {DB}


def test_snapshot_does_not_see_later_answers():
    catalog = Catalog()
    catalog.want("g", frozenset({SERVICES}))
    catalog.put(services("web"))
    snapshot = catalog.snapshot()
    catalog.put(services("web", "db"))
    assert snapshot.get(SERVICES) == services("web")


def test_query_shows_as_it_stands_in_a_template():
    assert str(ServicesQuery(dc="east")) == "services(dc=east)"
    assert str(ServiceQuery(name="web", near="_agent")) == "service(web, near=_agent)"


def test_queries_with_equal_fields_are_one_query():
    assert {ServiceQuery(name="web"), ServiceQuery(name="web"), ServiceQuery(name="web", dc="x")} == {
        ServiceQuery(name="web"),
        ServiceQuery(name="web", dc="x"),
    }
