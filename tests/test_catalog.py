import asyncio

import pytest

from ctemplate.catalog import UNANSWERED, Catalog
from ctemplate.core.model import Answer, Doubt, Instance, Service, reads_alike
from ctemplate.core.timing import READ_EVERY
from ctemplate.guard import Cause, GuardPolicy, Policies
from ctemplate.queries import ServiceQuery, ServicesQuery

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
    known = catalog.get(SERVICES)
    assert not catalog.put(services("web", index=7))
    assert catalog.get(SERVICES).index == 7
    assert reads_alike(catalog.get(SERVICES), known)
    assert await is_quiet(catalog)


def test_answer_to_an_unwanted_query_is_dropped():
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


def test_a_catalog_is_settled_once_no_groups_last_step_lacked_answers():
    catalog = Catalog()
    catalog.want("a", frozenset({WEB}), is_growing=True)
    catalog.want("b", frozenset({DB}), is_growing=True)
    catalog.want("a", frozenset({WEB}))
    catalog.note_step_end()
    assert not catalog.settled.is_set()
    catalog.want("b", frozenset({DB}))
    assert not catalog.settled.is_set()
    catalog.note_step_end()
    assert catalog.settled.is_set()


def test_a_group_that_is_gone_does_not_keep_a_catalog_from_being_settled():
    catalog = Catalog()
    catalog.want("a", frozenset({WEB}), is_growing=True)
    catalog.keep_groups(["b"])
    assert catalog.settled.is_set()


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


def web(*ids, index=10, session=1.0):
    value = tuple(Instance(id=each, name="web", node="n", address="10.0.0.1", port=80) for each in ids)
    return Answer(query=WEB, value=value, index=index, session=session)


def guarded(clock=lambda: 0.0, **policy):
    catalog = Catalog(Policies(default=GuardPolicy(**policy)), clock=clock)
    catalog.want("g", frozenset({WEB}))
    return catalog


async def test_a_doubted_loss_is_no_news_until_it_is_confirmed():
    catalog = guarded()
    catalog.put(web("a"))
    await catalog.news()
    assert not catalog.put(web(index=11))
    assert catalog.get(WEB).value == web("a").value
    assert await catalog.doubts() == (Doubt(query=WEB, services=("web",), nodes=("n",)),)
    catalog.confirm(web(index=11), may_read=True)
    assert await catalog.news() == {WEB}
    assert catalog.get(WEB).value == ()


@pytest.mark.looptime
async def test_a_doubt_is_handed_out_again_only_after_it_was_tried_and_a_while():
    clock = asyncio.get_running_loop().time
    catalog = guarded(clock)
    catalog.put(web("a"))
    catalog.put(web(index=11))
    (doubt,) = await catalog.doubts()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(catalog.doubts(), 50.0)
    for pause in (0.05, 0.1, 0.2, 0.4):
        tried = clock()
        catalog.unconfirmed(WEB)
        assert await catalog.doubts() == (doubt,)
        assert pause <= clock() - tried <= 2 * pause


@pytest.mark.looptime
async def test_a_doubt_whose_confirmation_never_came_back_is_handed_out_again():
    clock = asyncio.get_running_loop().time
    catalog = guarded(clock)
    catalog.put(web("a"))
    catalog.put(web(index=11))
    doubts = await catalog.doubts()
    assert await catalog.doubts() == doubts
    assert clock() >= UNANSWERED
    catalog.ask_again()
    assert await asyncio.wait_for(catalog.doubts(), 1.0) == doubts


@pytest.mark.looptime
async def test_a_doubt_that_opens_while_another_is_tried_is_handed_out_at_once():
    catalog = guarded(asyncio.get_running_loop().time)
    catalog.want("h", frozenset({DB}))
    catalog.put(web("a"))
    catalog.put(web(index=11))
    assert [doubt.query for doubt in await catalog.doubts()] == [WEB]
    waiting = asyncio.create_task(catalog.doubts())
    await asyncio.sleep(1.0)
    catalog.put(Answer(query=DB, value=()))
    assert [doubt.query for doubt in await asyncio.wait_for(waiting, 1.0)] == [DB]


async def test_a_hold_that_ends_in_its_time_is_news():
    now = [0.0]
    catalog = guarded(lambda: now[0], hold=60.0)
    catalog.put(web("a"))
    catalog.put(web(index=5))
    await catalog.news()
    now[0] = 3.0
    await asyncio.wait_for(catalog.guard_due(), 60)
    assert [report.is_warning for report in catalog.review()] == [True]
    assert [hold.cause for hold in catalog.holds] == [Cause.INDEX_FELL]
    now[0] = 60.0
    await asyncio.wait_for(catalog.guard_due(), 60)
    assert [report.is_warning for report in catalog.review()] == [True]
    assert await catalog.news() == {WEB}


async def test_the_clock_is_read_while_nothing_is_due(leap):
    read = []
    catalog = Catalog(Policies(), clock=lambda: read.append(0) or 0.0)
    waiting = asyncio.create_task(catalog.guard_due())
    for reading in range(1, 4):
        for _ in range(6000):
            if len(read) >= 2 * reading:
                break
            leap(READ_EVERY)
            await asyncio.sleep(0.01)
        assert len(read) >= 2 * reading
    waiting.cancel()


async def test_policies_can_change_while_running():
    catalog = guarded()
    catalog.put(web("a"))
    catalog.put(web(index=5))
    assert catalog.get(WEB).value == web("a").value
    catalog.follow_policies(None)
    await asyncio.wait_for(catalog.guard_due(), 60)
    catalog.review()
    assert catalog.get(WEB).value == ()


async def test_remembered_answers_are_shown_on_recall_until_new_ones_come():
    before = guarded()
    before.put(web("a", "b"))
    catalog = Catalog(Policies(), clock=lambda: 0.0)
    catalog.remember(before.memories(wall=5.0), wall=9.0)
    assert (catalog.recall(), catalog.missing()) == (frozenset(), frozenset())
    catalog.want("g", frozenset({WEB, DB}))
    assert catalog.missing() == {WEB, DB}
    assert (catalog.recall(), catalog.stale, catalog.missing()) == ({WEB}, {WEB}, {DB})
    assert catalog.get(WEB).value == web("a", "b").value
    assert not catalog.renewed.is_set()
    catalog.put(web("a", index=11, session=2.0))
    assert (catalog.stale, catalog.renewed.is_set()) == (frozenset(), True)
    assert catalog.get(WEB).value == web("a").value


async def test_wishes_that_come_while_stale_answers_are_shown_are_served_at_once():
    before = Catalog(Policies(), clock=lambda: 0.0)
    before.want("g", frozenset({SERVICES, WEB}))
    before.put(services("web"))
    before.put(web("a"))
    catalog = Catalog(Policies(), clock=lambda: 0.0)
    catalog.remember(before.memories(wall=0.0), wall=0.0)
    catalog.want("g", frozenset({SERVICES}))
    catalog.recall()
    catalog.want("g", frozenset({SERVICES, WEB}))
    assert (catalog.stale, catalog.missing()) == ({SERVICES, WEB}, frozenset())


async def test_an_absent_datacenter_is_news_once_and_its_first_answer_too():
    catalog = Catalog()
    catalog.presumes = True
    catalog.want("g", frozenset({SERVICES}))
    assert catalog.presume_absent(SERVICES)
    assert await catalog.news() == {SERVICES}
    assert not catalog.presume_absent(SERVICES)
    assert catalog.missing() == {SERVICES}
    assert catalog.put(services())
    assert (catalog.get(SERVICES).absent, catalog.missing()) == (False, frozenset())


def test_nothing_is_presumed_where_it_is_not_allowed_or_an_answer_is_there():
    catalog = Catalog()
    catalog.want("g", frozenset({SERVICES}))
    assert not catalog.presume_absent(SERVICES)
    catalog.presumes = True
    catalog.put(services("web"))
    assert not catalog.presume_absent(SERVICES)
    assert not catalog.presume_absent(WEB)
