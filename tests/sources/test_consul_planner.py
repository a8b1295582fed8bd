"""The planner against a simulated Consul: few connections, no change missed, few requests, no busy loop."""

import math

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st
from simulated_consul import LATENCY, POLL_BURST, POLL_INTERVAL, WAIT, Client, World

from ctemplate.core.model import Instance
from ctemplate.core.timing import Backoff
from ctemplate.queries import (
    AlarmsQuery,
    KeyQuery,
    NodeContentQuery,
    NodeListQuery,
    PreparedQuery,
    ServiceQuery,
    ServicesQuery,
)
from ctemplate.sources.consul.endpoints.checks import StateRow
from ctemplate.sources.consul.watching.plan import Policy, WatchPlan
from ctemplate.sources.consul.watching.planner import Planner
from ctemplate.sources.consul.watching.scope import CHECKS_REST, READ_GRACE
from ctemplate.sources.consul.watching.sweep import SweepPace

SERVICES = ServicesQuery()
ALARMS = AlarmsQuery()
TURNS = {AlarmsQuery(status=status) for status in ("critical", "warning")}
NODES = NodeListQuery()
SETTLED = 16.0  # seconds after which a sweep at leisure has come round
SWEPT = 2 * SweepPace().background + SETTLED  # the same for what nothing tells of, batch by batch
MENDED = 60.0  # the same after failures, with their delays


def service(number, **scope):
    return ServiceQuery(name=f"s{number}", **scope)


def prepared(number, **scope):
    return PreparedQuery(name=f"s{number}", **scope)


def filled(services, instances=3, nodes=None):
    """Services with an instance on each of a few nodes, or spread evenly over so many."""
    world = World()
    for number in range(services):
        for instance in range(instances):
            node = instance if nodes is None else (number * instances + instance) % nodes
            world.register(f"s{number}", f"s{number}-{instance}", node=f"n{node}", port=8000, status="passing")
    return world


def watching(services, *, max_connections=64, policy=None, instances=3, nodes=None, hidden=(), **options):
    """A client that has its first answers to the services and all their instances."""
    world = filled(services, instances, nodes)
    world.hidden.update(hidden)
    planner = Planner(max_connections=max_connections, policy=policy)
    client = Client(planner, world, connections_allowed=max_connections, **options)
    client.want([SERVICES])
    client.run(0.1)
    client.want([SERVICES, *map(service, range(services))])
    client.run(30.0)
    return client


def latency(client, query, limit):
    """Seconds of simulated time until the answer to the query is the truth."""
    start = client.now
    while client.now - start < limit:
        if client.values.get(query) == client.world.value_of(query):
            return client.now - start
        client.run(LATENCY / 2)
    return limit


@pytest.mark.parametrize(
    ("services", "max_connections", "polls", "readers"),
    [
        pytest.param(0, 64, 1, 0, id="services-alone"),
        pytest.param(10, 64, 11, 0, id="few-have-a-poll-each"),
        pytest.param(61, 64, 62, 0, id="as-many-as-the-budget-without-its-spare"),
        pytest.param(62, 64, 5, 15, id="one-more-are-watched-by-sentinels"),
        pytest.param(500, 64, 5, 15, id="many-are-watched-by-sentinels"),
        pytest.param(500, 8, 2, 1, id="small-budget"),
        pytest.param(20, 4, 1, 1, id="budget-too-small-for-sentinels"),
        pytest.param(20, 1, 0, 1, id="one-connection"),
    ],
)
def test_connections_follow_from_queries_and_budget(services, max_connections, polls, readers):
    planner = Planner(max_connections=max_connections)
    planner.want([SERVICES, *map(service, range(services))], 0.0)
    plan = planner.plan(0.0)
    assert (len(plan.polls), plan.readers) == (polls, readers)


@pytest.mark.parametrize(
    ("services", "queries", "max_connections", "polls", "readers"),
    [
        pytest.param(0, 1, 64, 1, 1, id="one-needs-a-reader"),
        pytest.param(10, 3, 64, 11, 3, id="a-few-have-a-reader-each"),
        pytest.param(10, 300, 64, 11, 15, id="many-share-the-readers"),
        pytest.param(60, 1, 64, 61, 1, id="as-many-as-the-budget-without-its-spare"),
        pytest.param(61, 1, 64, 5, 15, id="one-more-and-the-services-are-watched-by-sentinels"),
        pytest.param(500, 5, 64, 5, 15, id="they-share-the-readers-of-the-sweep"),
        pytest.param(2, 1, 8, 3, 1, id="small-budget"),
        pytest.param(0, 1, 1, 0, 1, id="one-connection"),
    ],
)
def test_prepared_queries_are_read_within_the_budget(services, queries, max_connections, polls, readers):
    planner = Planner(max_connections=max_connections)
    planner.want([SERVICES, *map(service, range(services)), *map(prepared, range(queries))], 0.0)
    plan = planner.plan(0.0)
    assert (len(plan.polls), plan.readers) == (polls, readers)
    assert plan.connections <= max_connections


def test_prepared_queries_make_no_scope_worth_guarding():
    planner = Planner(max_connections=8)
    planner.want([prepared(number, dc=dc) for dc in ("east", "west") for number in range(9)], 0.0)
    assert planner.plan(0.0).polls == frozenset()


def placed(query, port):
    return (Instance(id=query.name, name=query.name, node="n1", address="10.0.0.1", port=port),)


@pytest.mark.parametrize(("keys", "polled"), [(1, 1), (40, 40), (100, 42)])
def test_keys_have_long_polls_before_services_that_sentinels_see(keys, polled):
    planner = Planner(max_connections=64)
    services, wanted = list(map(service, range(200))), [KeyQuery(path=f"k{number}") for number in range(keys)]
    planner.want([SERVICES, *services], 0.0)
    for query in services:
        for port in (1, 2):  # a service that changed has a long poll of its own while there is room
            planner.answered(query, index=port, value=placed(query, port), waited=None, now=1.0)
    assert len(planner.plan(1.0).polls) > 42
    planner.want([SERVICES, *services, *wanted], 2.0)
    assert len(planner.plan(2.0).polls & frozenset(wanted)) == polled
    for query in services:
        planner.answered(query, index=3, value=placed(query, 3), waited=None, now=3.0)
    for query in wanted:
        planner.answered(query, index=1, value=(), waited=1.0, now=4.0)
        planner.answered(query, index=1, value=None, waited=60.0, now=5.0)
    plan = planner.plan(5.0)
    assert len(plan.polls & frozenset(wanted)) == polled
    assert plan.connections <= 64


@pytest.mark.parametrize("services", [3, 200], ids=["all-have-polls", "under-sentinels"])
def test_a_change_of_a_prepared_query_is_seen_within_the_interval(services):
    client = watching(services)
    wanted = list(map(prepared, range(3)))
    client.want([*client.wanted, *wanted])
    assert latency(client, wanted[2], 5.0) <= 5 * LATENCY
    for port in (1, 2, 3):
        client.run(port * 3.3)
        client.change("register", "s2", "s2-1", port=port)
        assert latency(client, wanted[2], 20.0) <= 10.0 + 5 * LATENCY


def test_a_prepared_query_costs_what_the_plan_says_and_no_poll_when_it_changes():
    client = watching(3)
    client.want(map(prepared, range(3)))
    client.run(20.0)
    before = client.requests
    for port in range(60):
        client.change("register", "s1", "s1-1", port=port)
        client.run(10.0)
    plan = client.planner.plan(client.now)
    assert (plan.polls, plan.readers, plan.requests_per_second) == (frozenset(), 3, pytest.approx(0.3))
    assert 180 <= client.requests - before <= 200  # up to a tenth more often


def test_a_prepared_query_that_fails_is_tried_again_sooner_than_it_would_be_read():
    planner = Planner(policy=Policy(backoff=Backoff(first=1.0, ceiling=60.0)))
    planner.want([prepared(1)], 0.0)
    now, pauses = 0.0, []
    for _ in range(8):
        assert planner.take(now) == prepared(1)
        planner.failed(prepared(1), now, is_read=True)
        due = planner.plan(now).wake_at
        pauses.append(due - now)
        now = due
    assert pauses[0] <= 1.0
    assert max(pauses) <= 10.0
    assert min(pauses[6:]) >= 9.0


def test_undefined_prepared_queries_are_no_outage():
    planner = Planner()
    planner.want([SERVICES, *map(service, range(100)), *map(prepared, range(5))], 0.0)
    taken = []
    while (query := planner.take(0.0)) is not None:
        taken.append(query)
        if query in map(prepared, range(5)):
            planner.failed(query, 0.0, is_read=True)
        else:
            planner.answered(query, index=1, value=(), waited=None, now=0.0)
    assert {*map(service, range(100)), *map(prepared, range(5))} <= set(taken)


def test_a_prepared_query_dropped_while_it_is_read_and_wanted_again_goes_on():
    planner = Planner()
    planner.want([prepared(1)], 0.0)
    assert planner.take(0.0) == prepared(1)
    planner.want([], 0.1)
    planner.want([prepared(1)], 0.2)
    assert planner.take(0.2) is None
    planner.answered(prepared(1), index=0, value=(), waited=None, now=0.3)
    assert planner.take(0.3) is None
    due = planner.plan(0.3).wake_at
    assert 9.0 < due <= 10.3
    assert planner.take(due) == prepared(1)


def test_one_poll_serves_the_wanted_services_and_the_sentinel():
    planner = Planner()
    planner.want([SERVICES, *map(service, range(100))], 0.0)
    assert planner.plan(0.0).polls == {SERVICES, ALARMS, NODES, *TURNS}


def test_scopes_have_sentinels_of_their_own_and_lonely_queries_long_polls():
    planner = Planner()
    east = [service(number, dc="east") for number in range(80)]
    west = [service(number, dc="west") for number in range(40)]
    lonely = service(1, dc="north")
    planner.want([*east, *west, lonely], 0.0)
    sentinels = {kind(dc=dc) for kind in (ServicesQuery, AlarmsQuery, NodeListQuery) for dc in ("east", "west")}
    sentinels |= {AlarmsQuery(dc=dc, status=turn.status) for turn in TURNS for dc in ("east", "west")}
    assert planner.plan(0.0).polls == {*sentinels, lonely}


def test_what_a_peer_exports_is_swept_without_sentinels():
    planner = Planner(max_connections=16)
    planner.want([service(number, peer="other") for number in range(40)], 0.0)
    assert all(isinstance(query, ServiceQuery) for query in planner.plan(0.0).polls)


def test_start_reads_everything_once():
    client = watching(1000)
    assert not client.stale()
    assert client.requests < 1000 + 1000 * 30 / 300 + 25


def test_quiet_time_costs_what_the_plan_says():
    client = watching(1000)
    plan = client.planner.plan(client.now)
    before = client.requests
    client.run(600.0)
    assert plan.requests_per_second == pytest.approx((client.requests - before) / 600.0, rel=0.1)
    assert plan.requests_per_second < 4


def test_plan_counts_its_connections():
    polls = frozenset({SERVICES, ALARMS})
    plan = WatchPlan(polls=polls, sentinels=frozenset(), readers=8, wake_at=0.0, requests_per_second=0.0)
    assert plan.connections == 10


@pytest.mark.parametrize(
    ("change", "within"),
    [
        pytest.param(("turn", "s7", "s7-1", "critical"), 5 * LATENCY, id="check-turns"),
        pytest.param(("turn_node", "n1", "critical"), 1000 / 15 * 3 * LATENCY, id="check-of-a-node-turns"),
        pytest.param(("register", "s7", "s7-9"), 0.5, id="new-instance"),
        pytest.param(("deregister", "s7", "s7-1"), 0.5, id="instance-removed"),
    ],
)
def test_change_is_seen_soon(change, within):
    client = watching(1000)
    client.change(*change)
    assert latency(client, service(7), 10.0) <= within


@pytest.mark.parametrize("fields", [{"port": 9}, {"tags": ("new",)}, {"status": "passing", "port": 9}], ids=str)
def test_new_port_or_tag_is_seen_soon(fields):
    client = watching(1000)
    client.change("register", "s7", "s7-1", **fields)
    assert latency(client, service(7), 10.0) <= 0.5


def test_service_that_changed_lately_has_a_poll_of_its_own():
    client = watching(1000)
    client.change("register", "s7", "s7-1", port=9)
    client.run(2.0)
    assert service(7) in client.planner.plan(client.now).polls
    client.change("register", "s7", "s7-1", port=10)
    assert latency(client, service(7), 10.0) <= 3 * LATENCY


def test_latest_changes_take_over_the_polls_that_waited_in_vain():
    client = watching(100, max_connections=12)
    for number in range(12):
        client.change("register", f"s{number}", f"s{number}-1", port=9)
        client.run(1.0)
    assert client.planner.plan(client.now).polls == {SERVICES, ALARMS, *map(service, range(6))}
    client.run(WAIT + 1.0)
    assert client.planner.plan(client.now).polls == {SERVICES, ALARMS, *map(service, range(6, 12))}


def test_long_polls_are_never_given_up_while_they_wait():
    client = watching(100, max_connections=12)
    before = client.abandoned
    for number in range(100):
        client.change("register", f"s{number}", f"s{number}-1", port=9)
        client.run(3.0)
    assert client.abandoned == before


def test_change_of_a_polled_service_does_not_start_a_round():
    client = watching(1000)
    client.change("register", "s7", "s7-1", port=9)
    client.run(60.0)
    before = client.requests
    client.change("register", "s7", "s7-1", port=10)
    client.run(0.5)
    assert client.requests - before < 60


def test_named_instance_with_a_check_costs_a_census_instead_of_a_round():
    client = watching(1000, hidden="*")
    before = client.requests
    client.change("register", "s7", "s7-9", status="passing")
    client.run(0.5)
    assert not client.stale()
    assert client.requests - before < 100


def test_unnamed_change_costs_one_round_where_no_node_can_be_read():
    client = watching(1000, hidden="*")
    before = client.requests
    client.change("register", "s7", "s7-1", port=9)
    client.run(3.0)
    assert 1000 <= client.requests - before < 1100


def test_steady_unnamed_changes_leave_rest_between_rounds():
    policy = Policy()
    client = watching(1000, policy=policy, hidden="*")
    before, began = client.requests, client.now
    for number in range(200):
        client.change("register", f"s{number}", f"s{number}-1", port=9)
        client.run(0.05)
    full_speed = policy.readers / (2 * LATENCY)
    assert (client.requests - before) / (client.now - began) < full_speed * (policy.pace.duty + 0.15)
    client.run(SETTLED)
    assert not client.stale()


def test_wake_during_a_round_makes_another_round_due():
    client = watching(1000, hidden="*")
    client.change("register", "s7", "s7-1", port=9)
    client.run(READ_GRACE + 0.1)
    client.change("register", "s8", "s8-1", port=9)
    client.run(1.5)
    assert not client.stale()


def test_flapping_service_beyond_the_polls_is_read_once_a_second():
    client = watching(100, max_connections=8)
    for number in range(10, 20):
        client.change("turn", f"s{number}", f"s{number}-1", "critical")
    client.run(1.0)
    before = client.requests
    for turn in range(40):
        client.change("turn", "s7", "s7-1", "passing" if turn % 2 else "critical")
        client.run(0.05)
    rounds_of_the_sentinel, reads_at_leisure = 40, 2 * SweepPace().batch  # in two seconds, two batches
    assert client.requests - before <= rounds_of_the_sentinel + reads_at_leisure + 5
    client.run(2.0)
    assert not client.stale()


def test_polled_service_that_never_rests_is_asked_at_a_bounded_rate():
    client = watching(10)
    before = client.requests
    for turn in range(1000):
        client.change("register", "s7", "s7-1", port=turn)
        client.run(0.01)
    assert client.requests - before <= 2 * (10 / POLL_INTERVAL + POLL_BURST)
    client.run(1.0)
    assert not client.stale()


def test_index_that_starts_over_makes_everything_be_read_again():
    client = watching(200)
    client.change("restart")
    client.world.services["s7"]["s7-1"] = client.world.services["s7"]["s7-0"]
    client.run(5.0)
    assert not client.stale()


def test_outage_is_probed_and_its_end_found_at_once():
    client = watching(200)
    client.is_away = True
    client.change("register", "s7", "s7-1", port=9)
    client.run(600.0)
    before = client.requests
    client.run(60.0)
    assert client.requests - before < 60
    client.is_away = False
    client.change("register", "s8", "s8-1", port=9)
    client.run(20.0)
    assert not client.stale()


def test_refused_connections_are_halved_and_grow_back():
    client = watching(200)
    client.planner.refused(client.now)
    client.planner.refused(client.now + 0.1)
    assert client.planner.plan(client.now).connections <= 32
    client.run(130.0)
    for number in range(60):
        client.change("turn", f"s{number}", f"s{number}-1", "critical")
    client.run(5.0 + 2 * CHECKS_REST)
    assert client.planner.plan(client.now).connections == 62


def test_query_wanted_during_a_round_is_read_before_it_goes_on():
    client = watching(1000)
    client.change("register", "s7", "s7-1", port=9)
    client.change("register", "late", "late-1", port=9)
    client.run(READ_GRACE + 0.05)
    late = ServiceQuery(name="late")
    client.want({*client.wanted, late})
    assert latency(client, late, 10.0) <= 5 * LATENCY


def test_query_named_while_it_is_read_is_read_once_more():
    planner = Planner()
    planner.want(map(service, range(100)), 0.0)
    planner.answered(ALARMS, index=1, value=(), waited=0.0, now=0.0)
    under_way = planner.take(0.0)
    alarm = StateRow(node="n1", check_id="c", service=under_way.name, status="critical")
    planner.answered(ALARMS, index=2, value=(alarm,), waited=1.0, now=1.0)
    others = [planner.take(1.0) for _ in range(14)]
    assert under_way not in others
    planner.answered(under_way, index=1, value=(), waited=None, now=1.0)
    taken = set()
    while (query := planner.take(1.0)) is not None:
        taken.add(query)
        planner.answered(query, index=1, value=(), waited=None, now=1.0)
    assert under_way in taken


def test_queries_no_longer_wanted_are_neither_read_nor_polled():
    client = watching(200)
    client.want([SERVICES, *map(service, range(5))])
    assert client.planner.plan(client.now).polls == {SERVICES, *map(service, range(5))}
    client.want([])
    nothing = WatchPlan(polls=frozenset(), sentinels=frozenset(), readers=0, wake_at=math.inf, requests_per_second=0.0)
    assert client.planner.plan(client.now) == nothing


# Nodes


NODE_CHANGES = [
    pytest.param(("register", "s7", "s7-1"), {"port": 9}, id="port"),
    pytest.param(("register", "s7", "s7-1"), {"tags": ("new",)}, id="tags"),
    pytest.param(("register", "s7", "s7-9"), {"node": "n5"}, id="new-instance"),
    pytest.param(("register", "s7", "s7-9"), {"node": "n5", "status": None}, id="new-instance-without-a-check"),
    pytest.param(("register", "s7", "s7-9"), {"node": "new"}, id="new-instance-on-a-new-node"),
    pytest.param(("register", "s7", "s7-1"), {"node": "n1"}, id="instance-on-another-node"),
    pytest.param(("deregister", "s7", "s7-1"), {}, id="instance-removed"),
    pytest.param(("turn", "s7", "s7-1", "critical"), {}, id="check"),
    pytest.param(("change_node", "n22"), {"address": "10.9.9.9"}, id="address-of-a-node"),
    pytest.param(("change_node", "n22"), {"id": "other"}, id="id-of-a-node"),
    pytest.param(("remove_node", "n22"), {}, id="node-removed"),
    pytest.param(("rename_node", "n22", "other"), {}, id="node-renamed"),
]


@pytest.mark.parametrize(("change", "fields"), NODE_CHANGES)
def test_nodes_that_all_have_long_polls_name_every_change_at_once(change, fields):
    client = watching(400, nodes=40)
    assert sum(isinstance(query, NodeContentQuery) for query in client.planner.plan(client.now).polls) == 40
    before = client.requests
    client.change(*change, **fields)
    on_node = 400 * 3 / 40
    while client.stale() and client.requests < before + 400:
        client.run(LATENCY)
    limit = 3 * on_node + 20 if "node" in change[0] else 10
    assert client.requests - before <= limit
    assert not client.stale()
    client.run(30.0)
    if change[0] not in {"remove_node", "rename_node"}:  # many changes of checks, at indexes that no node's answer has
        assert client.requests - before <= limit + 30 * (400 / 300 + 1), "nothing is swept but in the background"


def test_turned_checks_are_seen_at_once_while_the_sentinel_of_all_checks_rests():
    client = watching(1000, nodes=40)
    asked = 0
    for number in range(40):
        asked += ALARMS in client.planner.plan(client.now).polls
        client.change("turn", f"s{number}", f"s{number}-1", "critical" if number % 2 else "warning")
        assert latency(client, service(number), 10.0) <= 5 * LATENCY
        client.run(0.5)
    assert asked <= 40 * 0.5 / CHECKS_REST + 1
    before = client.requests
    client.run(SETTLED)
    assert ALARMS in client.planner.plan(client.now).polls
    assert client.requests - before <= 200, "nothing is swept but in the background"


def test_a_check_that_passes_and_says_something_else_while_the_sentinel_rests_has_services_swept():
    client = watching(1000, nodes=40)
    client.change("turn", "s7", "s7-1", "critical")
    client.run(1.0)
    assert ALARMS not in client.planner.plan(client.now).polls
    client.change("turn_node", "n3", "passing")
    client.run(CHECKS_REST + SETTLED)
    assert not client.stale()


@pytest.mark.parametrize(("change", "fields"), NODE_CHANGES)
def test_change_is_seen_soon_with_more_nodes_than_connections(change, fields):
    client = watching(400, nodes=160)
    client.change(*change, **fields)
    client.run(1.0)
    assert not client.stale()


@pytest.mark.parametrize(("change", "fields"), NODE_CHANGES)
def test_change_is_seen_soon_where_no_node_can_be_read(change, fields):
    client = watching(400, nodes=40, hidden="*")
    assert client.planner.plan(client.now).polls == {SERVICES, ALARMS, NODES, *TURNS}
    client.change(*change, **fields)
    client.run(SETTLED)
    if change[0] == "change_node":  # wakes nothing that our token may read
        client.run(300.0)
    assert not client.stale()


def test_nodes_that_changed_last_have_the_long_polls():
    client = watching(1000, nodes=400)
    client.change("register", "s7", "s7-1", port=9)
    client.run(WAIT * 1.2)
    assert NodeContentQuery(name="n22") in client.planner.plan(client.now).polls
    before = client.requests
    client.change("register", "s140", "s140-2", port=9)
    assert client.world.services["s140"]["s140-2"].node == "n22"
    assert latency(client, service(140), 10.0) <= 5 * LATENCY
    client.run(0.1)
    assert client.requests - before < 50, "neither all nodes are read nor all services, but some at leisure"


def test_a_census_waits_less_for_an_explanation_than_a_round():
    client = watching(1000, nodes=400)
    client.change("register", "s7", "s7-9", status="passing")
    node = NodeContentQuery(name=client.world.services["s7"]["s7-9"].node)
    assert node not in client.planner.plan(client.now).polls
    assert latency(client, service(7), 10.0) < READ_GRACE


def test_unnamed_change_on_many_nodes_costs_their_reads_where_services_are_more():
    client = watching(2000, nodes=200)
    before = client.requests
    client.change("register", "s150", "s150-1", port=9)
    assert client.world.services["s150"]["s150-1"].node == "n51"
    client.run(2.0)
    assert not client.stale()
    assert client.requests - before < 250


def test_unnamed_change_on_very_many_nodes_costs_a_round_of_the_few_services():
    client = watching(100, instances=10, nodes=1000)
    before = client.requests
    client.change("register", "s77", "s77-7", port=9)
    client.run(2.0)
    assert not client.stale()
    assert client.requests - before < 150


def test_node_with_thousands_of_instances_has_no_long_poll_and_is_read_instead_of_a_round():
    client = watching(1000, nodes=1)
    assert client.planner.plan(client.now).polls == {SERVICES, ALARMS, NODES, *TURNS}
    before = client.requests
    client.change("register", "s7", "s7-1", port=9)
    client.run(READ_GRACE + 10 * LATENCY)
    assert not client.stale()
    assert client.requests - before < 20


def test_rights_to_nodes_that_are_lost_and_given_back_change_the_way_only():
    client = watching(400, nodes=40)
    client.change("hide_node", "n3")
    client.change("hide_node", "n4")
    client.run(2 * WAIT)
    assert NodeContentQuery(name="n3") not in client.planner.plan(client.now).polls
    client.change("register", "s1", "s1-0", port=9)
    assert client.world.services["s1"]["s1-0"].node == "n3"
    client.run(2.0)
    assert not client.stale()
    client.change("show_nodes")
    client.run(2 * WAIT)
    assert NodeContentQuery(name="n3") in client.planner.plan(client.now).polls
    client.change("register", "s1", "s1-0", port=10)
    assert latency(client, service(1), 10.0) <= 5 * LATENCY


def test_node_that_cannot_be_read_has_its_services_swept_as_without_nodes():
    client = watching(400, nodes=40, broken={NodeContentQuery(name="n3")})
    before = client.requests
    client.change("register", "s1", "s1-0", port=9)
    assert client.world.services["s1"]["s1-0"].node == "n3"
    client.run(2.0)
    assert not client.stale()
    assert client.requests - before >= 400


def test_list_of_nodes_that_cannot_be_read_has_services_swept_as_without_nodes():
    client = watching(400, nodes=40, broken={NODES})
    assert client.planner.plan(client.now).polls == {SERVICES, ALARMS, NODES, *TURNS}
    before = client.requests
    client.change("register", "s7", "s7-9", node="new", status=None)
    client.run(2.0)
    assert not client.stale()
    assert client.requests - before >= 400


def test_datacenter_that_was_away_is_read_again_whatever_its_nodes_say():
    client = watching(200, nodes=40)
    client.is_away = True
    client.change("register", "s7", "s7-1", port=9)
    client.change("remove_node", "n3")
    client.run(300.0)
    client.is_away = False
    client.run(MENDED)
    assert not client.stale()
    client.change("register", "s8", "s8-1", port=9)
    assert latency(client, service(8), 10.0) <= 5 * LATENCY


def test_long_polls_of_nodes_are_never_given_up_while_they_wait():
    client = watching(400, nodes=40)
    before = client.abandoned
    for number in range(30):
        client.change("register", f"s{number}", f"s{number}-1", node=f"new{number}")
        client.change("remove_node", f"n{number}")
        client.run(5.0)
    client.run(2 * WAIT)
    assert client.abandoned == before
    assert not client.stale()


def test_node_of_an_unprintable_name_is_not_asked_for():
    client = watching(200, nodes=10)
    client.change("register", "s7", "s7-9", node="a/../b")
    client.run(WAIT)
    assert not client.stale()
    assert NodeContentQuery(name="a/../b") not in client.planner.plan(client.now).polls


def test_instances_named_late_by_large_nodes_have_nothing_swept():
    client = watching(1000, nodes=40, node_delay=0.2)
    before = client.requests
    client.change("register", "s7", "s7-9", status="passing")
    client.change("deregister", "s8", "s8-1")
    client.run(1.0)
    assert not client.stale()
    client.run(29.0)
    assert client.requests - before <= 20 + 30 * (1000 / 300 + 1)


def test_a_change_that_names_nothing_is_not_hidden_by_one_that_names_a_service():
    client = watching(200, nodes=40)
    client.change("turn_node", "n3", "passing")
    client.run(30.0)
    client.change("turn", "s7", "s7-1", "warning")  # the sentinel asks again while the next two happen
    client.change("turn", "s8", "s8-1", "warning")
    client.change("turn_node", "n4", "passing")
    client.run(SETTLED)
    assert not client.stale()


def test_service_with_many_changes_in_a_second_is_read_at_once_a_few_times():
    client = watching(1000, nodes=40)
    for port in (1, 2, 3):
        client.change("register", "s7", "s7-1", port=port)
        assert latency(client, service(7), 10.0) <= 5 * LATENCY


numbers = st.integers(0, 39)
instances = st.integers(0, 3)
statuses = st.sampled_from(["passing", "warning", "critical"])
changes = st.one_of(
    st.tuples(st.just("register"), numbers, instances, st.fixed_dictionaries({"port": st.integers(1, 5)})),
    st.tuples(st.just("register"), numbers, instances, st.fixed_dictionaries({"status": statuses, "port": st.just(7)})),
    st.tuples(st.just("register"), numbers, instances, st.just({"tags": ("http",)})),
    st.tuples(st.just("deregister"), numbers, instances),
    st.tuples(st.just("turn"), numbers, instances, statuses),
    st.tuples(st.just("turn_node"), instances, statuses),
    st.just(("restart",)),
)
node_numbers = st.integers(0, 11)
node_changes = st.one_of(
    st.tuples(st.just("register"), numbers, instances, st.builds(lambda node: {"node": f"n{node}"}, node_numbers)),
    st.tuples(st.just("remove_node"), node_numbers),
    st.tuples(st.just("rename_node"), node_numbers, node_numbers),
)
wishes = st.builds(lambda least, most: ("want", range(least, most)), st.integers(0, 20), st.integers(0, 40))
node_fields = st.sampled_from([{"address": "10.1.1.1"}, {"id": "other"}])
silent_changes = st.tuples(st.just("change_node"), node_numbers, node_fields)  # only the list of nodes tells of them
pauses = st.floats(0.0, 3.0).map(lambda seconds: ("pause", seconds))
stories = st.lists(st.one_of(changes, changes, node_changes, pauses, wishes), max_size=40)
loud_stories = st.lists(st.one_of(changes, changes, node_changes, silent_changes, pauses, wishes), max_size=40)


def play(client, story):
    for step in story:
        match step:
            case ("pause", seconds):
                client.run(seconds)
            case ("want", wanted):
                client.want([SERVICES, *map(service, wanted), *map(prepared, wanted[::7])])
            case ("register", number, instance, fields):
                client.change("register", f"s{number}", f"s{number}-{instance}", **fields)
            case ("turn" | "deregister" as method, number, instance, *status):
                client.change(method, f"s{number}", f"s{number}-{instance}", *status)
            case ("turn_node", number, status):
                client.change("turn_node", f"n{number}", status)
            case ("change_node", number, fields):
                client.change("change_node", f"n{number}", **fields)
            case ("remove_node" | "rename_node" as method, *nodes):
                client.change(method, *(f"n{node}" for node in nodes))
            case ("restart",):
                client.change("restart")
        client.run(2 * LATENCY)


FEW_CONNECTIONS = [1, 4, 8, 12]
WATCHING_NODES = [18, 26, 64]  # none of them with a long poll, a few of them, all that is asked for


@pytest.mark.parametrize("census_least", [200, 1], ids=["sweeps", "censuses"])
@pytest.mark.parametrize("max_connections", [*FEW_CONNECTIONS, *WATCHING_NODES])
@settings(max_examples=examples(40))
@given(data=st.data(), seed=st.integers(0, 1000))
def test_whatever_happens_every_answer_becomes_the_truth(max_connections, census_least, data, seed):
    policy = Policy(pace=SweepPace(census_least=census_least))
    client = watching(30, max_connections=max_connections, policy=policy, jitter=10, seed=seed, nodes=7)
    play(client, data.draw(loud_stories if max_connections in WATCHING_NODES else stories))
    client.run(SETTLED)
    assert client.unhealthy() == set()
    if client.stale():  # checks that pass, written while the sentinel of all checks rested
        client.run(SWEPT)
    assert client.stale() == set()
    before = client.requests
    client.run(SETTLED)
    assert client.requests - before < 40 * 3 + 64 + 6 * SETTLED / 9


@pytest.mark.parametrize("max_connections", [12, 18, 26])
@settings(max_examples=examples(40))
@given(data=st.data(), rate=st.sampled_from([0.05, 0.5, 0.9]), seed=st.integers(0, 1000))
def test_whatever_fails_every_answer_becomes_the_truth(max_connections, data, rate, seed):
    client = watching(30, max_connections=max_connections, jitter=10, seed=seed, nodes=7)
    client.failure_rate = rate
    play(client, data.draw(loud_stories if max_connections in WATCHING_NODES else stories))
    client.run(5.0)
    client.failure_rate = 0.0
    client.run(MENDED)
    assert client.unhealthy() == set()
    if client.stale():
        client.run(SWEPT)
    assert client.stale() == set()


def test_what_is_asked_only_once_gets_no_long_poll_and_keeps_none():
    planner = Planner(max_connections=8)
    one, other = KeyQuery(path="a/one"), KeyQuery(path="a/other")
    planner.want({one, other}, 0.0, unpolled=frozenset({one}))
    assert planner.plan(0.0).polls == {other}
    assert planner.take(0.0) == one
    planner.answered(one, index=5, value=(), waited=None, now=1.0)
    assert planner.take(1.0) is None
    assert planner.plan(1.0).wake_at < 1.0 + 2 * Policy().interval
    planner.want({one, other}, 2.0)
    assert planner.plan(2.0).polls == {one, other}
    planner.want({one, other}, 3.0, unpolled=frozenset({one}))
    assert planner.plan(3.0).polls == {other}
    assert planner.take(3.0) == one
