import math

import msgspec
import pytest
from hypothesis import given, strategies as st

from ctemplate.core.model import Answer, Doubt, Instance, Server, ServerSet, Service, Status
from ctemplate.guard import Cause, Guard, GuardPolicy, Memory, Policies, described
from ctemplate.queries import PreparedQuery, ServiceQuery, ServicesQuery

WEB, API, ALL = ServiceQuery(name="web"), ServiceQuery(name="api"), ServicesQuery()
CRITICAL, MAINTENANCE = Status.CRITICAL, Status.MAINTENANCE


def instance(number, status=Status.PASSING, *, port=None, node="n", node_id="id", created=None):
    return Instance(
        id=f"i{number}",
        name="web",
        node=node,
        address=f"10.0.0.{number}",
        port=8000 + number if port is None else port,
        status=status,
        node_id=node_id,
        created=number if created is None else created,
    )


def web(*numbers, index=10, query=WEB, **fields):
    """An answer with instances: numbers for passing ones, or instances."""
    value = tuple(number if isinstance(number, Instance) else instance(number) for number in numbers)
    return Answer(query=query, value=value, index=index, **fields)


def services(*names, index=10, **fields):
    return Answer(query=ALL, value=tuple(Service(name=name) for name in names), index=index, **fields)


def guard(**policy):
    return Guard(Policies(default=GuardPolicy(**policy)))


def ids(answer):
    return [getattr(entry, "id", "") or entry.name for entry in answer.value]


def held(guard, before, new, now=0.0):
    """Return what is shown after two answers, and why entries are doubted."""
    guard.take(before, now)
    shown = guard.take(new, now)
    guard.reports(now + 1000)
    return ids(shown), [hold.cause for hold in guard.holds]


@pytest.mark.parametrize(
    ("before", "new", "shown", "causes"),
    [
        pytest.param(web(1, 2), web(1, 2, index=9), ["i1", "i2"], [], id="index fell without a loss"),
        pytest.param(web(1), web(index=11), ["i1"], [Cause.LOSS], id="the last one vanished"),
        pytest.param(web(1, 2), web(1, index=11), ["i1"], [], id="one of two"),
        pytest.param(web(1, 2, 3, 4), web(1, 2, index=11), ["i1", "i2"], [], id="half of four"),
        pytest.param(web(1, 2, 3), web(1, index=11), ["i1", "i2", "i3"], [Cause.LOSS], id="two of three"),
        pytest.param(
            web(1, 2, 3), web(instance(1, CRITICAL), index=11), ["i1", "i2", "i3"], [Cause.LOSS], id="one fails, two go"
        ),
        pytest.param(
            web(1, 2),
            web(instance(1, CRITICAL), instance(2, CRITICAL), index=11),
            ["i1", "i2"],
            [],
            id="all checks fail",
        ),
        pytest.param(
            web(1, 2),
            web(instance(1, MAINTENANCE), instance(2, MAINTENANCE), index=11),
            ["i1", "i2"],
            [],
            id="maintenance",
        ),
        pytest.param(web(instance(1, CRITICAL)), web(index=11), [], [], id="a failing one is reaped"),
        pytest.param(web(instance(1, MAINTENANCE)), web(index=11), [], [], id="one in maintenance goes"),
        pytest.param(web(1, 2, 3), web(4, 5, 6, index=11), ["i4", "i5", "i6"], [], id="all replaced"),
        pytest.param(web(1), web(instance(9, port=8001), index=11), ["i9"], [], id="replaced by one"),
        pytest.param(
            web(1), web(instance(9, CRITICAL), index=11), ["i1", "i9"], [Cause.LOSS], id="replaced by a failing one"
        ),
        pytest.param(
            web(1, 2),
            web(instance(1, CRITICAL), instance(2, CRITICAL), index=11, session=5.0),
            ["i1", "i2"],
            [Cause.MASS_FAILURE],
            id="all checks fail after a break",
        ),
        pytest.param(
            web(1, 2),
            web(instance(1, CRITICAL), 2, index=11, session=5.0),
            ["i1", "i2"],
            [],
            id="one check fails after a break",
        ),
        pytest.param(web(1, 2, 3), web(4, index=11), ["i1", "i2", "i3", "i4"], [Cause.LOSS], id="three for one"),
        pytest.param(
            web(1, 2, 3, 4), web(1, 2, 3, index=9), ["i1", "i2", "i3", "i4"], [Cause.INDEX_FELL], id="index fell"
        ),
        pytest.param(
            web(1, 2, 3, 4), web(1, 2, 3), ["i1", "i2", "i3", "i4"], [Cause.INDEX_UNCHANGED], id="index did not move"
        ),
        pytest.param(
            web(1, 2, 3, 4),
            web(1, 2, 3, index=11, filtered=True),
            ["i1", "i2", "i3", "i4"],
            [Cause.FILTERED],
            id="filtered by ACLs",
        ),
        pytest.param(
            web(1, 2, 3, 4, filtered=True),
            web(1, 2, 3, index=11, filtered=True),
            ["i1", "i2", "i3"],
            [],
            id="filtered as ever",
        ),
        pytest.param(
            web(1, 2, 3),
            web(1, 2, index=11, known_leader=False),
            ["i1", "i2", "i3"],
            [Cause.LEADERLESS],
            id="no leader",
        ),
        pytest.param(
            services("a", "b", "c"), services("a", "b", index=11), ["a", "b", "c"], [Cause.LOSS], id="a service"
        ),
        pytest.param(services("a"), services("a", "b", index=11), ["a", "b"], [], id="a new service"),
    ],
)
def test_losses_that_look_like_trouble_are_held(before, new, shown, causes):
    assert held(guard(), before, new) == (shown, causes)


def test_a_floor_is_one_more_reason_for_doubt():
    assert held(guard(min_instances=2), web(1, 2), web(1, index=11)) == (["i1", "i2"], [Cause.LOSS])


def test_without_a_hold_there_is_no_guard():
    assert held(guard(hold=0.0), web(1), web(index=9)) == ([], [])


def test_what_is_held_is_described_query_by_query():
    guard = Guard(Policies())
    for query in (WEB, API):
        held(guard, web(3, query=query), web(index=5, query=query))
    assert described(guard.holds) == tuple(
        f"{query}: 1 instance vanished as Consul's index went back" for query in (API, WEB)
    )


def test_without_policies_everything_passes():
    assert held(Guard(), web(1), web(index=9)) == ([], [])


def test_services_have_policies_of_their_own():
    policies = Policies(services={"web": GuardPolicy(hold=0.0)})
    assert held(Guard(policies), web(1), web(index=11)) == ([], [])
    assert held(Guard(policies), web(1, query=API), web(index=11, query=API)) == (["i1"], [Cause.LOSS])


def test_a_replacement_at_the_same_place_is_not_shown_beside_the_old_one():
    it = guard()
    it.take(web(1, 2, 3), 0.0)
    assert ids(it.take(web(instance(9, port=8001), index=11), 0.0)) == ["i1", "i2", "i3", "i9"]
    moved = msgspec.structs.replace(instance(9, port=8001), address="10.0.0.1")
    assert ids(it.take(web(moved, index=12), 0.0)) == ["i2", "i3", "i9"]


def test_what_came_passes_while_a_loss_is_held():
    it = guard()
    it.take(web(1, 2, 3), 0.0)
    it.take(web(1, index=11), 0.0)
    assert ids(it.take(web(instance(1, CRITICAL), 4, index=12), 0.0)) == ["i1", "i2", "i3", "i4"]


def test_near_order_is_kept_with_the_held_ones_last():
    near = ServiceQuery(name="web", near="_agent")
    it = guard()
    it.take(web(3, 1, 2, 4, query=near), 0.0)
    assert ids(it.take(web(4, index=11, query=near), 0.0)) == ["i4", "i3", "i1", "i2"]


LIVE = PreparedQuery(name="live")
NEAR = PreparedQuery(name="live", near="_agent")


def live(*numbers, query=LIVE, **fields):
    """An answer of a prepared query, which has no index."""
    return web(*numbers, query=query, index=0, **fields)


def test_lots_drawn_among_the_nearest_change_nothing():
    it = guard()
    it.take(live(3, 1, 2, query=NEAR), 0.0)
    assert ids(it.take(live(1, 2, 3, query=NEAR), 1.0)) == ["i3", "i1", "i2"]
    assert ids(it.take(live(2, 4, 3, 1, query=NEAR), 2.0)) == ["i2", "i4", "i3", "i1"]


def test_the_order_that_an_earlier_process_knew_stays():
    it = guard()
    it.remember([Memory(answer=live(3, 1, 2, query=NEAR, session=1.0))], ahead=0.0)
    assert ids(it.take(live(1, 2, 3, query=NEAR, session=5.0), 0.0)) == ["i3", "i1", "i2"]


def test_a_small_loss_of_a_prepared_query_passes_though_it_has_no_index():
    assert held(guard(), live(1, 2, 3), live(1, 2)) == (["i1", "i2"], [])


@pytest.mark.parametrize(
    ("confirmation", "may_read", "cause"),
    [
        pytest.param(live(), True, None, id="deregistered"),
        pytest.param(live(), False, Cause.DENIED, id="no right"),
        pytest.param(live(), None, Cause.LOSS, id="rights unknown"),
        pytest.param(live(filtered=True), True, Cause.FILTERED, id="filtered"),
        pytest.param(live(session=5.0), True, Cause.CONNECTION_GAP, id="nobody saw it"),
    ],
)
def test_a_loss_of_a_prepared_query_is_confirmed_by_rights_and_history(confirmation, may_read, cause):
    it = guard()
    it.take(live(1), 0.0)
    it.take(msgspec.structs.replace(confirmation, filtered=False), 0.0)
    assert it.doubts() == (Doubt(query=LIVE, services=("web",), nodes=("n",)),)
    it.confirm(confirmation, 0.1, may_read=may_read)
    it.reports(0.1)
    assert [hold.cause for hold in it.holds] == ([] if cause is None else [cause])


def test_a_prepared_query_speaks_for_the_data_after_a_break():
    it = guard()
    it.take(live(1, 2, 3), 0.0)
    it.take(live(1, session=5.0), 1.0)
    assert ids(it.confirm(live(1, session=5.0), 1.1, may_read=True)) == ["i1"]


@pytest.mark.parametrize("name", ["web", "live", None])
def test_a_prepared_query_is_released_by_its_name_or_its_services(name):
    it = guard()
    it.take(live(1), 0.0)
    it.take(live(), 0.0)
    assert [ids_of(hold) for hold in it.release(name)] == [["i1"]]


@pytest.mark.parametrize(
    ("confirmation", "may_read", "cause"),
    [
        pytest.param(web(index=11), True, None, id="deregistered"),
        pytest.param(web(index=11), False, Cause.DENIED, id="no right"),
        pytest.param(web(index=11), None, Cause.LOSS, id="rights unknown"),
        pytest.param(web(index=10), True, Cause.INDEX_UNCHANGED, id="index did not move"),
        pytest.param(web(index=11, filtered=True), True, Cause.FILTERED, id="filtered"),
        pytest.param(web(index=11, known_leader=False), True, Cause.LEADERLESS, id="no leader"),
        pytest.param(web(index=11, session=5.0), True, Cause.CONNECTION_GAP, id="nobody saw it"),
    ],
)
def test_a_consistent_read_confirms_only_what_nothing_else_explains(confirmation, may_read, cause):
    it = guard()
    it.take(web(1, index=10), 0.0)
    it.take(msgspec.structs.replace(confirmation, filtered=False), 0.0)
    it.confirm(confirmation, 0.1, may_read=may_read)
    it.reports(0.1)
    assert [hold.cause for hold in it.holds] == ([] if cause is None else [cause])


def test_an_index_that_fell_is_not_believed_once_it_has_grown_again():
    it = guard()
    it.take(web(1, index=10), 0.0)
    it.take(web(index=4), 0.0)
    assert ids(it.confirm(web(index=12), 0.1, may_read=True)) == ["i1"]


@pytest.mark.parametrize("session", [0.0, 5.0], ids=["by a change", "by a break and a change"])
def test_a_read_that_was_overtaken_judges_nothing(session):
    it = guard()
    it.take(web(1, index=10), 0.0)
    it.take(web(2, index=12, session=session), 0.0)
    it.take(web(index=13, session=session), 0.0)
    (doubt,) = it.doubts()
    assert doubt == Doubt(query=WEB, services=("web",), nodes=("n",))
    assert it.confirm(web(index=11), 0.1, may_read=True) is None
    assert it.doubts() == (doubt,)


def test_no_read_of_before_a_break_replaces_an_answer_of_after_it():
    it = guard()
    it.take(web(1, 2, index=10), 0.0)
    it.take(web(index=11), 0.0)
    newest = web(1, 2, 3, index=13, session=5.0)
    assert it.take(newest, 0.1) == newest
    assert it.confirm(web(index=12), 0.2, may_read=True) is None
    assert it.holds == ()
    assert [each.answer for each in it.memories([WEB], ahead=0.0) if isinstance(each, Memory)] == [newest]


def test_what_the_token_may_not_read_is_held_for_ever_and_forgotten_with_the_right():
    it = guard(hold=10.0)
    it.take(web(1, index=10), 0.0)
    it.take(web(index=11), 0.0)
    it.confirm(web(index=11), 0.1, may_read=False)
    it.review(1e9)
    assert ids(it.take(web(index=12), 1e9)) == ["i1"]
    assert ids(it.confirm(web(index=12), 1e9, may_read=True)) == []


def observe_servers(session, **fields):
    return web(7, query=API, session=session, **fields)


@pytest.mark.parametrize(
    ("seen_again", "shown"),
    [
        pytest.param(observe_servers(5.0), [], id="the same registration"),
        pytest.param(web(instance(7, created=99), query=API, session=5.0), ["i1"], id="registered anew"),
        pytest.param(web(instance(7, node_id="other"), query=API, session=5.0), ["i1"], id="another node by that name"),
        pytest.param(observe_servers(5.0, index=3), ["i1"], id="its index fell"),
    ],
)
def test_after_a_break_one_that_was_seen_before_speaks_for_the_data(seen_again, shown):
    it = guard()
    it.take(web(1, index=10), 0.0)
    before = seen_again.value[0]
    old = msgspec.structs.replace(before, node_id="", created=0) if before.node_id == "" else instance(7)
    it.take(Answer(query=API, value=(old,), index=10), 0.0)
    it.take(web(index=11, session=5.0), 1.0)
    assert ids(it.confirm(web(index=11, session=5.0), 1.0, may_read=True)) == ["i1"]
    it.take(seen_again, 1.1)
    assert bool(it.doubts()) == (shown == [])
    assert ids(it.confirm(web(index=11, session=5.0), 1.2, may_read=True)) == shown


def test_a_witness_of_a_later_history_does_not_speak_for_an_earlier_one():
    it = guard()
    it.take(web(1, index=10), 0.0)
    it.take(web(index=11, session=5.0), 1.0)  # data lost
    it.take(observe_servers(5.0), 1.0)
    it.take(observe_servers(9.0), 2.0)  # a harmless break
    assert ids(it.confirm(web(index=12, session=9.0), 2.0, may_read=True)) == ["i1"]


def test_other_datacenters_do_not_speak_for_ours():
    it, east = guard(), ServiceQuery(name="api", dc="east")
    it.take(web(1, index=10), 0.0)
    it.take(web(7, query=east), 0.0)
    it.take(web(index=11, session=5.0), 1.0)
    it.take(web(7, query=east, session=5.0), 1.0)
    assert ids(it.confirm(web(index=11, session=5.0), 1.0, may_read=True)) == ["i1"]


# Who answers


def servers(*pairs):
    return frozenset(Server(node_id=node_id, created=created) for node_id, created in pairs)


OURS, THEIRS = servers(("a", 6), ("b", 8)), servers(("c", 6))


def roll(seen, **fields):
    return ServerSet(servers=seen, **fields)


def after_loss(it, seen, *, session=0.0, index=11, now=1.0, query=WEB):
    """Return what is shown once a consistent read has shown that all is gone, and who says so."""
    gone = web(index=index, session=session, query=query)
    it.take(gone, now)
    shown = it.confirm(gone, now, may_read=True, servers=seen)
    it.reports(now)
    return ids(shown), [hold.cause for hold in it.holds]


@pytest.mark.parametrize(
    ("known", "seen", "held"),
    [
        pytest.param(OURS, OURS, False, id="the same servers"),
        pytest.param(OURS, servers(("b", 8), ("c", 6)), False, id="one of them"),
        pytest.param(OURS, THEIRS, True, id="others"),
        pytest.param(OURS, servers(("a", 9), ("b", 6)), True, id="registered anew"),
        pytest.param(OURS, servers(), False, id="no right to see them"),
        pytest.param(servers(), THEIRS, False, id="nothing known"),
    ],
)
def test_a_loss_within_a_session_is_held_where_another_consul_answers(known, seen, held):
    it = guard()
    it.take(web(1), 0.0)
    it.observe_servers(roll(known), 0.0)
    assert after_loss(it, seen) == ((["i1"], [Cause.DIFFERENT_CLUSTER]) if held else ([], []))


def test_that_another_consul_answers_is_said_plainly():
    it = guard()
    it.take(web(1), 0.0)
    it.observe_servers(roll(OURS), 0.0)
    it.take(web(index=11), 1.0)
    it.confirm(web(index=11), 1.0, may_read=True, servers=THEIRS)
    (report,) = it.reports(1.0)
    assert report.text == (
        "held: service(web): 1 instance vanished; another Consul answers here: none of its servers was there before; "
        "kept for up to 5m, or until 'ctemplate release'"
    )


def test_what_another_consul_lacks_stays_held_once_its_servers_cannot_be_seen():
    it = guard()
    it.take(web(1), 0.0)
    it.observe_servers(roll(OURS), 0.0)
    after_loss(it, THEIRS)
    assert after_loss(it, servers(), index=12, now=40.0) == (["i1"], [Cause.DIFFERENT_CLUSTER])
    assert after_loss(it, OURS, index=13, now=80.0) == ([], [])


@pytest.mark.parametrize(
    ("known", "seen", "index", "held"),
    [
        pytest.param(roll(OURS), servers(("b", 8)), 31, False, id="one was there before"),
        pytest.param(roll(OURS), servers(("b", 8)), 30, True, id="the index is no farther than it was"),
        pytest.param(roll(OURS), servers(("b", 8)), 0, True, id="no index"),
        pytest.param(roll(OURS, session=1.0), servers(("b", 8)), 31, True, id="known since the break alone"),
        pytest.param(roll(OURS), servers(), 31, True, id="nobody to be seen"),
        pytest.param(roll(servers()), OURS, 31, True, id="nobody was known"),
    ],
)
def test_after_a_break_one_of_the_servers_speaks_for_the_data(known, seen, index, held):
    it, query = guard(), PreparedQuery(name="web") if index == 0 else WEB
    it.take(web(1, query=query, index=min(index, 10)), 0.0)
    it.take(observe_servers(0.0, index=30), 0.0)
    it.observe_servers(known, 0.0)
    assert after_loss(it, seen, session=5.0, index=index, query=query) == (
        (["i1"], [Cause.CONNECTION_GAP]) if held else ([], [])
    )


def test_servers_that_are_exchanged_one_by_one_stay_ours():
    it = guard()
    it.take(web(1), 0.0)
    for first in range(9):
        it.observe_servers(roll(servers(*((f"s{number}", number) for number in range(first, first + 3)))), float(first))
    assert after_loss(it, servers(("s10", 10)), session=5.0) == ([], [])


def test_strangers_are_ours_after_the_longest_hold_and_prove_nothing_of_before():
    policies = Policies(default=GuardPolicy(hold=60.0), services={"api": GuardPolicy(hold=100.0)})
    it = Guard(policies)
    it.take(web(1), 0.0)
    it.observe_servers(roll(OURS), 0.0)
    assert [it.observe_servers(roll(THEIRS), now) for now in (1.0, 100.9)] == [False, False]
    assert it.observe_servers(roll(OURS), 101.0) is False
    assert [it.observe_servers(roll(THEIRS), now) for now in (102.0, 202.0)] == [False, True]
    assert after_loss(it, THEIRS, session=5.0, now=203.0) == (["i1"], [Cause.CONNECTION_GAP])


def test_the_operator_takes_another_consul_for_ours():
    it = guard()
    for query in (WEB, API):
        it.take(web(1, query=query), 0.0)
    it.observe_servers(roll(OURS), 0.0)
    after_loss(it, THEIRS)
    after_loss(it, THEIRS, query=API)
    it.release("api")
    assert [hold.cause for hold in it.holds] == [Cause.DIFFERENT_CLUSTER]
    it.take(web(2, query=API, index=12), 2.0)
    assert after_loss(it, THEIRS, query=API, index=13, now=3.0)[0] == ["i2"]
    it.release(None)
    it.take(web(2, query=API, index=14), 4.0)
    assert after_loss(it, THEIRS, query=API, index=15, now=5.0) == ([], [])


def test_a_release_of_all_that_is_held_takes_another_consul_for_ours_whatever_the_cause_was():
    it = guard()
    it.take(web(1), 0.0)
    it.observe_servers(roll(OURS), 0.0)
    it.observe_servers(roll(THEIRS), 1.0)
    assert after_loss(it, servers(), index=5) == (["i1"], [Cause.INDEX_FELL])
    it.release(None)
    it.take(web(2, index=6), 4.0)
    assert after_loss(it, THEIRS, index=7, now=5.0) == ([], [])


def test_each_datacenter_has_its_own_servers():
    it, east = guard(), ServiceQuery(name="web", dc="east")
    for query, seen in ((WEB, OURS), (east, THEIRS)):
        it.take(web(1, query=query), 0.0)
        it.observe_servers(roll(seen, dc=query.dc), 0.0)
    assert after_loss(it, THEIRS, query=east) == ([], [])
    assert after_loss(it, THEIRS) == (["i1"], [Cause.DIFFERENT_CLUSTER])


def test_servers_are_known_to_a_later_process():
    it = guard()
    it.take(web(1), 0.0)
    it.take(observe_servers(0.0), 0.0)
    for dc in (None, "east"):
        it.observe_servers(roll(OURS, dc=dc), 0.0)
    memories = it.memories([WEB, API], ahead=0.0)
    assert [each for each in memories if isinstance(each, ServerSet)] == [roll(OURS)]
    for seen, expected in ((OURS, ([], [])), (THEIRS, (["i1"], [Cause.DIFFERENT_CLUSTER]))):
        later = guard()
        later.remember(memories, ahead=0.0)
        assert after_loss(later, seen, session=5.0) == expected


def test_a_confirmation_that_never_comes_is_told_after_a_grace_and_ends_in_its_time():
    it = guard(hold=60.0)
    it.take(web(1, 2, index=10), 0.0)
    it.take(web(index=11), 100.0)
    assert (it.reports(101.0), it.holds, it.due_at(101.0)) == ([], (), 103.0)
    (report,) = it.reports(103.0)
    assert report.is_warning
    assert report.text == (
        "held: service(web): 2 instances vanished at once, and Consul has not confirmed it; "
        "kept for up to 1m, or until 'ctemplate release'"
    )
    assert (it.reports(104.0), it.due_at(104.0)) == ([], 160.0)
    assert [ids(answer) for answer in it.review(160.0)] == [[]]
    (report,) = it.reports(160.0)
    assert (report.is_warning, report.text) == (
        True,
        "no longer held after 1m: service(web): the time is over; the newest answer is accepted",
    )
    assert (it.holds, it.due_at(161.0)) == ((), math.inf)


def test_a_loss_that_is_confirmed_within_the_grace_is_not_told():
    it = guard()
    it.take(web(1), 0.0)
    it.take(web(index=11), 0.0)
    it.confirm(web(index=11), 0.1, may_read=True)
    assert it.reports(10.0) == []


def test_thousands_of_holds_are_one_line():
    it = guard()
    for number in range(3000):
        query = ServiceQuery(name=f"s{number:04}")
        it.take(web(1, query=query), 0.0)
        it.take(web(query=query, index=5), 0.0)
    (report,) = it.reports(5.0)
    assert report.text == (
        "held: service(s0000), service(s0001), service(s0002), service(s0003), service(s0004) and 2995 more: "
        "3000 instances vanished as Consul's index went back; kept for up to 5m, or until 'ctemplate release'"
    )
    assert len(it.release(None)) == 3000
    it.review(6.0)
    assert [report.text.partition(":")[0] for report in it.reports(6.0)] == ["no longer held after 6s"]


def test_release_of_a_service_leaves_others_held():
    it = guard()
    for before, new in ((web(1), web(index=5)), (services("web", "api"), services(index=5))):
        it.take(before, 0.0)
        it.take(new, 0.0)
    assert sorted((str(hold.query), ids_of(hold)) for hold in it.release("web")) == [
        ("service(web)", ["i1"]),
        ("services()", ["web"]),
    ]
    assert sorted((answer.query == ALL, ids(answer)) for answer in it.review(1.0)) == [(False, []), (True, ["api"])]
    assert it.release("web") == ()


def ids_of(hold):
    return [getattr(entry, "id", "") or entry.name for entry in hold.entries]


def test_a_first_answer_is_judged_by_what_an_earlier_process_knew():
    it = guard()
    it.remember([Memory(answer=web(1, 2, index=10, session=1.0))], ahead=0.0)
    assert it.recall(WEB, 0.0).value == web(1, 2).value
    assert it.take(web(index=11, session=5.0), 0.0) is None  # a confirmation may come in a moment
    assert ids(it.confirm(web(index=11, session=5.0), 0.1, may_read=True)) == ["i1", "i2"]


def test_an_unconfirmed_first_answer_is_shown_with_what_it_lacks():
    it = guard()
    it.remember([Memory(answer=web(1, 2, index=10, session=1.0))], ahead=0.0)
    it.take(web(index=11, session=5.0), 0.0)
    assert it.review(2.9) == ()
    assert [ids(answer) for answer in it.review(3.0)] == [["i1", "i2"]]


def test_holds_outlive_the_process_and_their_time_goes_on():
    it = guard(hold=60.0)
    it.take(web(1, index=10), 0.0)
    it.take(web(index=5), 0.0)
    memories = it.memories([WEB, API], ahead=1000.0)
    later = guard(hold=60.0)
    later.remember(memories, ahead=1010.0)  # ten seconds later by the wall clock, on a clock that starts at 20
    assert later.recall(WEB, 20.0).value == (instance(1),)
    later.take(web(index=6, session=9.0), 20.0)
    assert [ids(answer) for answer in later.review(20.0)] == [["i1"]]
    assert [ids(answer) for answer in later.review(49.9)] == [["i1"]]
    assert [ids(answer) for answer in later.review(50.0)] == [[]]


def test_unneeded_state_is_forgotten():
    it = guard()
    it.take(web(1), 0.0)
    it.take(web(index=5), 0.0)
    it.forget(WEB)
    assert (it.holds, it.doubts(), it.take(web(2, index=5), 1.0)) == ((), (), web(2, index=5))


def test_what_fails_together_after_a_break_is_kept_until_it_passes_or_a_minute_is_over():
    it, one, two = guard(), instance(1, CRITICAL), instance(2, CRITICAL)
    it.take(web(1, 2), 0.0)
    assert shown_status(it.take(web(one, two, index=11, session=5.0), 0.0)) == ["passing", "passing"]
    assert it.doubts() == ()
    assert shown_status(it.take(web(1, two, index=12, session=5.0), 1.0)) == ["passing", "passing"]
    assert shown_status(it.take(web(one, two, index=13, session=5.0), 2.0)) == ["passing", "passing"]
    assert [shown_status(answer) for answer in it.review(60.0)] == [["passing", "critical"]]
    assert [shown_status(answer) for answer in it.review(62.0)] == [["critical", "critical"]]


def test_what_fails_one_after_the_other_after_a_break_is_counted_together():
    it, one, two, three = guard(), *(instance(number, CRITICAL) for number in (1, 2, 3))
    it.take(web(1, 2, 3), 0.0)
    assert shown_status(it.take(web(one, 2, 3, index=11, session=5.0), 0.0)) == ["critical", "passing", "passing"]
    assert shown_status(it.take(web(one, two, 3, index=12, session=6.0), 1.0)) == ["passing"] * 3
    assert shown_status(it.take(web(one, two, three, index=13, session=6.0), 2.0)) == ["passing"] * 3
    it.release("web")
    assert [shown_status(answer) for answer in it.review(2.0)] == [["critical"] * 3]
    assert shown_status(it.take(web(one, two, three, index=14, session=6.0), 3.0)) == ["critical"] * 3


def test_what_fails_together_long_after_a_break_passes():
    it = guard()
    it.take(web(1), 0.0)
    it.take(web(1, session=5.0), 0.0)
    assert shown_status(it.take(web(instance(1, CRITICAL), index=11, session=5.0), 60.0)) == ["critical"]


def test_what_comes_back_failing_is_kept_until_it_passes():
    it, failing = guard(), web(instance(1, CRITICAL, created=90), index=6, session=5.0)
    it.take(web(1), 0.0)
    it.take(web(index=5, session=5.0), 0.0)
    assert shown_status(it.take(failing, 1.0)) == ["passing"]
    moved = web(instance(9, CRITICAL, port=8001, created=90), index=7, session=5.0)
    moved = msgspec.structs.replace(
        moved, value=tuple(msgspec.structs.replace(each, address="10.0.0.1") for each in moved.value)
    )
    assert ids(it.take(moved, 2.0)) == ["i1"]
    assert ids(it.take(web(msgspec.structs.replace(moved.value[0], status=Status.PASSING), index=8), 3.0)) == ["i9"]
    assert it.holds == ()


# Panic


def shown_status(answer):
    return [str(each.status) for each in answer.value]


def test_panic_keeps_the_instances_of_a_service_that_all_fail():
    it = guard(panic=True)
    it.take(web(1, 2), 0.0)
    assert shown_status(it.take(web(instance(1, CRITICAL), 2, index=11), 0.0)) == ["critical", "passing"]
    both = web(instance(1, CRITICAL), instance(2, CRITICAL), index=12)
    assert shown_status(it.take(both, 0.0)) == ["passing", "passing"]
    assert shown_status(it.take(msgspec.structs.replace(both, index=13), 1.0)) == ["passing", "passing"]
    (report,) = it.reports(1.0)
    assert report.text == (
        "held: service(web): 2 instances failed, and no instance of the service is left; "
        "kept until that changes, or until 'ctemplate release'"
    )
    assert shown_status(it.take(web(1, instance(2, CRITICAL), index=14), 2.0)) == ["passing", "critical"]
    assert [report.is_warning for report in it.reports(2.0)] == [False]


@pytest.mark.parametrize(
    ("before", "new"),
    [
        pytest.param(web(1), web(instance(1, MAINTENANCE), index=11), id="maintenance is meant"),
        pytest.param(web(instance(1, CRITICAL)), web(instance(1, CRITICAL), index=11), id="never worked"),
    ],
)
def test_panic_keeps_nothing_that_was_meant_or_never_worked(before, new):
    it = guard(panic=True)
    it.take(before, 0.0)
    assert it.take(new, 0.0).value == new.value


def test_what_panic_keeps_is_guarded_too():
    it = guard(panic=True)
    it.take(web(1), 0.0)
    it.take(web(instance(1, CRITICAL), index=11), 0.0)
    assert shown_status(it.take(web(index=5), 1.0)) == ["passing"]


def test_panic_ends_by_release_until_something_works_again():
    it, failing = guard(panic=True), instance(1, CRITICAL)
    it.take(web(1), 0.0)
    it.take(web(failing, index=11), 0.0)
    it.release("web")
    assert [shown_status(answer) for answer in it.review(0.0)] == [["critical"]]
    assert shown_status(it.take(web(failing, index=12), 1.0)) == ["critical"]
    it.take(web(1, index=13), 2.0)
    assert shown_status(it.take(web(failing, index=14), 3.0)) == ["passing"]


# Policies that change


def followed(it, now, **policy):
    """What a guard shows of the service at a moment after another policy, without a new answer."""
    it.follow(Policies(default=GuardPolicy(**policy)))
    assert it.due_at(now) <= now
    return [shown_status(answer) for answer in it.review(now)]


def test_panic_follows_its_setting_without_a_new_answer():
    it = guard(panic=True)
    it.take(web(1), 0.0)
    it.take(web(instance(1, CRITICAL), index=11), 0.0)
    it.reports(0.0)
    assert followed(it, 1.0, panic=False) == [["critical"]]
    assert [report.text.partition("s: ")[2] for report in it.reports(1.0)] == ["service(web): panic is switched off"]
    assert followed(it, 2.0, panic=True) == [["passing"]]


@pytest.mark.parametrize("hold", [600.0, 20.0])
def test_what_is_held_follows_a_new_limit(hold):
    it = guard(hold=60.0)
    it.take(web(1), 0.0)
    it.take(web(index=5), 0.0)
    followed(it, 10.0, hold=hold)
    assert [each.until for each in it.holds] == [hold]
    assert [answer.value for answer in it.review(hold)] == [()]


def test_an_empty_first_answer_is_accepted_once_nothing_is_held():
    it = guard(hold=60.0)
    assert it.take(web(), 0.0) is None
    it.follow(Policies(default=GuardPolicy(hold=0.0)))
    assert [answer.value for answer in it.review(0.0)] == [()]


def test_endless_holds_end_once_nothing_is_held():
    it = guard()
    it.take(web(1), 0.0)
    it.take(web(index=11, filtered=True), 0.0)
    it.confirm(web(index=12, filtered=True), 0.0, may_read=False)
    assert [hold.until for hold in it.holds] == [math.inf]
    assert followed(it, 1.0, hold=30.0) == [["passing"]]
    assert followed(it, 2.0, hold=0.0) == [[]]


# Flapping


def flap(it, now, *, index):
    """Let the first of two instances fail; a second later it passes again."""
    it.take(web(instance(1, CRITICAL), 2, index=index), now)
    return it.take(web(1, 2, index=index + 1), now + 1.0)


def test_an_instance_that_failed_waits_before_it_is_used_again():
    it = guard(readd=10.0)
    it.take(web(1, 2), 0.0)
    assert shown_status(flap(it, 0.0, index=11)) == ["critical", "passing"]
    assert [it.due_at(1.0), it.due_at(12.0)] == [pytest.approx(11.0, abs=0.1)] * 2  # also if that is past
    assert [shown_status(answer) for answer in it.review(10.9)] == [["critical", "passing"]]
    assert [shown_status(answer) for answer in it.review(11.0)] == [["passing", "passing"]]
    assert it.due_at(11.0) == math.inf


def test_the_wait_grows_with_each_failure_and_the_penalty_decays():
    def wait(it, now, index):
        flap(it, now, index=index)
        return it.due_at(now + 1.0) - (now + 1.0)

    it = guard(readd=10.0)
    it.take(web(1, 2), 0.0)
    waits = [wait(it, 2.0 * number, 10 + 3 * number) for number in range(8)]
    assert waits == sorted(waits)
    assert (round(waits[0]), round(waits[1]), round(waits[-1])) == (10, 20, 160)
    assert round(wait(it, 10_000.0, 90)) == 10


def test_without_readd_an_instance_is_used_at_once():
    it = guard()
    it.take(web(1, 2), 0.0)
    assert shown_status(flap(it, 0.0, index=11)) == ["passing", "passing"]


def test_a_wait_never_empties_a_service():
    it = guard(readd=10.0)
    it.take(web(1), 0.0)
    assert shown_status(it.take(web(instance(1, CRITICAL), index=11), 0.0)) == ["critical"]
    assert shown_status(it.take(web(1, index=12), 1.0)) == ["passing"]
    it.take(web(1, 2, index=13), 2.0)
    assert shown_status(it.take(web(1, instance(2, CRITICAL), index=14), 2.0)) == ["passing", "critical"]
    assert shown_status(it.take(web(instance(1, CRITICAL), 2, index=15), 3.0)) == ["critical", "passing"]


# Properties

ANSWERS = st.builds(
    lambda rows, index, session, leader, filtered: web(
        *(instance(number, status) for number, status in sorted(rows.items())),
        index=index,
        session=session,
        known_leader=leader,
        filtered=filtered,
    ),
    st.dictionaries(st.integers(1, 5), st.sampled_from(Status), max_size=5),
    st.integers(1, 6),
    st.sampled_from([0.0, 5.0, 9.0]),
    st.booleans(),
    st.booleans(),
)
POLICIES = st.builds(
    GuardPolicy,
    min_instances=st.integers(0, 3),
    max_loss=st.floats(0, 1),
    hold=st.just(60.0),
    panic=st.booleans(),
    readd=st.sampled_from([0.0, 10.0]),
)


def used(answer):
    """The ids of what an answer shows in use; nothing where it is not shown yet."""
    return (
        set()
        if answer is None
        else {each.id for each in answer.value if each.status in {Status.PASSING, Status.WARNING}}
    )


@given(POLICIES, st.lists(ANSWERS, min_size=2))
def test_nothing_vanishing_ever_empties_a_service_without_a_confirmation(policy, answers):
    it = Guard(Policies(default=policy))
    shown = it.take(answers[0], 0.0)
    for answer in answers[1:]:
        was, shown = used(shown), it.take(answer, 0.0)
        there = {each.id for each in answer.value}
        if was - there and not used(shown):
            assert was & there, "all that were in use vanished, and nothing is left"


ACTS = st.tuples(ANSWERS, st.sampled_from([0.0, 1.0, 10.0, 60.0, 300.0]), st.sampled_from(["take", "read", "release"]))


@given(POLICIES, st.lists(ACTS))
def test_once_nothing_is_due_what_was_returned_last_is_shown(policy, acts):
    it, now, last = Guard(Policies(default=policy)), 0.0, None
    for answer, pause, act in acts:
        now += pause
        if act == "release":
            it.release(None)
        else:
            last = (it.take(answer, now) if act == "take" else it.confirm(answer, now, may_read=True)) or last
        for _ in range(3):
            if it.due_at(now) <= now:
                last = next(iter(it.review(now)), last)
                it.reports(now)
        assert it.due_at(now) > now
        state = it._states.get(WEB)
        assert (
            state is None or state.unverified is not None or not state.is_shown or last.value == state.show(now).value
        )


@given(POLICIES, st.lists(ANSWERS, min_size=1), st.lists(st.sampled_from([True, None]), min_size=1))
def test_every_hold_ends(policy, answers, rights):
    it = Guard(Policies(default=policy))
    for moment, answer in enumerate(answers):
        it.take(answer, float(moment))
        it.confirm(answer, float(moment), may_read=rights[moment % len(rights)])
    end = len(answers) + 60.0
    it.review(end)
    assert [hold for hold in it.holds if hold.cause is not Cause.PANIC] == []
    assert [doubt for doubt in it.doubts() if not doubt.is_first] == []
    it.release(None)
    it.review(end + 1000.0)
    assert it.take(answers[-1], end + 1000.0) == answers[-1]


@given(POLICIES, st.lists(ANSWERS, min_size=1))
def test_an_answer_that_comes_again_changes_nothing(policy, answers):
    it = Guard(Policies(default=policy))
    for answer in answers:
        shown = it.take(answer, 0.0)
    held_before, doubts = it.holds, it.doubts()
    assert it.take(answers[-1], 0.0) == shown
    assert (it.holds, it.doubts()) == (held_before, doubts)


@given(st.lists(ANSWERS, min_size=1))
def test_a_later_process_goes_on_where_an_earlier_one_ended(answers):
    it = guard()
    for answer in answers:
        shown = it.take(answer, 0.0)
    later = guard()
    later.remember(it.memories([WEB], ahead=0.0), ahead=0.0)
    recalled = later.recall(WEB, 0.0)
    assert (recalled and recalled.value) == (shown and shown.value)


# First answers


BLIND = (
    "the first answer is empty, as for a token without rights; it is not taken before something can be seen; "
    "give a token with service:read and node:read, or run 'ctemplate release' where Consul is really empty"
)


def told(it, now):
    return [(report.is_warning, report.text) for report in it.reports(now)]


@pytest.mark.parametrize("first", [services(), services(filtered=True), web(filtered=True)])
def test_an_empty_first_answer_that_shows_lack_of_rights_is_not_taken(first):
    it = guard()
    assert (it.take(first, 0.0), it.doubts(), told(it, 1.0)) == (None, (), [])
    assert it.due_at(1.0) == 3.0
    assert it.review(3.0) == ()
    assert told(it, 3.0) == [(True, f"{first.query}: {BLIND}")]
    assert (it.take(first, 4.0), told(it, 9.0), it.memories([first.query], ahead=0.0)) == (None, [], ())
    seen = services("web") if first.query == ServicesQuery() else web(1)
    assert it.take(seen, 10.0) == seen
    assert told(it, 10.0) == [(False, f"{first.query}: can be seen now")]


def test_what_consul_filtered_is_taken_where_anything_is_left():
    assert guard().take(services("web", filtered=True), 0.0) == services("web", filtered=True)


@pytest.mark.parametrize(("may_read", "is_shown"), [(True, True), (None, True), (False, False)])
def test_a_service_without_instances_is_shown_once_it_is_known_that_we_may_see_it(may_read, is_shown):
    it = guard()
    assert it.take(web(), 0.0) is None
    assert it.doubts() == (Doubt(query=WEB, services=("web",), is_first=True),)
    assert it.confirm(web(), 1.0, may_read=may_read) == (web() if is_shown else None)
    assert it.doubts() == ()
    assert [text for _, text in told(it, 9.0)] == ([] if is_shown else [f"service(web): {BLIND}"])


def test_an_empty_first_answer_is_released_by_the_operator():
    it = guard()
    it.take(services(), 0.0)
    it.release(None)
    assert it.due_at(1.0) <= 1.0
    assert it.review(1.0) == (services(),)
    assert it.due_at(1.0) == math.inf


@pytest.mark.parametrize("policies", [Policies(is_scoped=True), Policies(default=GuardPolicy(hold=0.0)), None])
def test_an_empty_catalog_is_taken_where_it_may_be_true_or_nothing_is_guarded(policies):
    assert Guard(policies).take(services(), 0.0) == services()


# Over breaks and restarts


def test_what_vanishes_while_it_fails_after_a_break_is_held_as_any_loss():
    it, one, two = guard(hold=300.0), instance(1, CRITICAL), instance(2, CRITICAL)
    it.take(web(1, 2), 0.0)
    it.take(web(one, two, index=11, session=5.0), 1.0)
    assert ids(it.take(web(index=12, session=5.0), 4.0)) == ["i1", "i2"]
    it.confirm(web(index=12, session=5.0), 4.0, may_read=None)
    assert [ids(answer) for answer in it.review(100.0)] == [["i1", "i2"]]


def test_panic_outlives_the_process():
    it = guard(panic=True)
    it.take(web(1), 0.0)
    it.take(web(instance(1, CRITICAL), index=11), 1.0)
    later = guard(panic=True)
    later.remember(it.memories([WEB], ahead=0.0), ahead=0.0)
    assert shown_status(later.recall(WEB, 2.0)) == ["passing"]
    assert shown_status(later.take(web(instance(1, CRITICAL), index=12, session=9.0), 3.0)) == ["passing"]
    assert [hold.cause for hold in later.holds] == [Cause.PANIC]


def test_lost_rights_are_looked_at_again():
    it = guard()
    it.take(web(1), 0.0)
    it.take(web(index=11), 1.0)
    it.confirm(web(index=11), 1.0, may_read=False)
    it.reports(1.0)
    assert (it.doubts(), it.due_at(2.0)) == ((), 11.0)
    it.review(10.9)
    assert it.doubts() == ()
    it.review(11.0)
    assert it.doubts() == (Doubt(query=WEB, services=("web",), nodes=("n",)),)
    assert ids(it.confirm(web(1, index=12), 11.0, may_read=True)) == ["i1"]
    assert it.holds == ()
