"""The guard's rules about checks that have not run, nodes that lost contact, impossible answers, and time."""

import math

import msgspec
import pytest
from hypothesis import given, strategies as st

from ctemplate.core.model import Answer, CheckState, Doubt, Instance, Rejection, Service, Status
from ctemplate.guard import Cause, Guard, GuardPolicy, Memory, Policies
from ctemplate.queries import ConnectQuery, PreparedQuery, ServiceQuery, ServicesQuery

WEB, API, ALL = ServiceQuery(name="web"), ServiceQuery(name="api"), ServicesQuery()


def instance(number, *, check="passing", has_run=True, node_check="passing", node=None, node_id="", name="web"):
    """An instance with a check of its own, on a node of its own unless that is given."""
    checks = (
        CheckState(id="serfHealth", status=node_check),
        CheckState(id="http", status=check, service_id=f"i{number}", has_run=has_run),
    )
    is_failing = "critical" in {check, node_check}
    return Instance(
        id=f"i{number}",
        name=name,
        node=node or f"n{number}",
        node_id=node_id,
        address=f"10.0.0.{number}",
        port=8000 + number,
        status=Status.CRITICAL if is_failing else Status.PASSING,
        checks=checks,
        created=number,
    )


def unrun(number, **fields):
    return instance(number, check="critical", has_run=False, **fields)


def failed(number, **fields):
    return instance(number, check="critical", **fields)


def lost(number, **fields):
    return instance(number, node_check="critical", **fields)


def as_instance(each):
    return instance(each) if isinstance(each, int) else each


class Story:
    """A guard that is told one answer after the other, each a change in Consul."""

    def __init__(self, policies=None, **policy):
        self.guard = Guard(policies or Policies(default=GuardPolicy(**policy)))
        self.index = 10

    def sees(self, *instances, now=0.0, query=WEB, **fields):
        """Return the numbers of the instances in use once an answer has come, None where nothing is shown."""
        self.index += 1
        value = tuple(map(as_instance, instances))
        return in_use(self.guard.take(Answer(query=query, value=value, **({"index": self.index} | fields)), now))

    def later(self, now):
        """Return what is in use of each query that is reviewed."""
        return {answer.query.name: in_use(answer) for answer in self.guard.review(now)}

    def told(self, now):
        return [report.text for report in self.guard.reports(now)]

    def causes(self):
        return [hold.cause for hold in self.guard.holds]


def in_use(answer):
    return None if answer is None else [int(each.id[1:]) for each in answer.value if each.status is Status.PASSING]


# Checks that have not run


def test_instances_whose_checks_have_not_run_yet_stay_in_use():
    it = Story()
    it.sees(1, 2, 3)
    assert it.sees(unrun(1), unrun(2), unrun(3), now=1.0) == [1, 2, 3]
    assert it.causes() == [Cause.CHECKS_NOT_RUN]
    assert it.sees(1, failed(2), unrun(3), now=2.0) == [1, 3]
    assert it.sees(1, failed(2), 3, now=3.0) == [1, 3]
    assert (it.causes(), it.told(9.0)) == ([], [])


def test_checks_that_never_run_keep_nothing_longer_than_a_minute():
    it = Story()
    it.sees(1)
    it.sees(unrun(1), now=1.0)
    assert (it.told(3.9), it.guard.due_at(3.9)) == ([], 4.0)
    (line,) = it.told(4.0)
    assert line == (
        "held: service(web): 1 instance failed only for checks without a result, as after a start of their agent; "
        "kept for up to 1m, or until 'ctemplate release'"
    )
    assert it.later(60.9) == {"web": [1]}
    assert it.later(61.0) == {"web": []}
    assert it.told(61.0) == ["no longer held after 1m: service(web): the time is over; the newest answer is accepted"]
    assert it.sees(unrun(1), now=62.0) == []


def test_an_instance_that_was_registered_as_passing_stays_where_each_result_of_its_check_has_an_output():
    def telling(each):
        checks = tuple(msgspec.structs.replace(check, always_has_output=True) for check in each.checks)
        return msgspec.structs.replace(each, checks=checks)

    it = Story()
    it.sees(telling(instance(1, has_run=False)), telling(instance(2, has_run=False)))
    assert it.sees(telling(unrun(1)), telling(unrun(2)), now=1.0) == [1, 2]
    assert it.sees(telling(failed(1)), telling(unrun(2)), now=2.0) == [2]
    assert it.later(61.0) == {"web": []}


@pytest.mark.parametrize(
    ("before", "new"),
    [
        pytest.param(failed(1), unrun(1), id="it failed before"),
        pytest.param(instance(1, has_run=False), unrun(1), id="no output is ever shown"),
        pytest.param(instance(1), failed(1), id="it has run"),
        pytest.param(instance(2), unrun(1), id="it is new"),
        pytest.param(instance(1), unrun(1, node_check="critical"), id="its node is lost, alone of two"),
    ],
)
def test_nothing_else_keeps_an_instance_whose_check_is_critical(before, new):
    it = Story()
    it.sees(before, 8, 9)
    assert it.sees(new, 8, 9, now=1.0) == [8, 9]
    assert it.causes() == []


def test_agents_that_leave_as_they_stop_and_register_again_are_known_for_a_minute():
    it = Story()
    it.sees(1, 2)
    it.sees(2, now=1.0)
    assert it.sees(unrun(1), 2, now=5.0) == [1, 2]
    it.sees(2, now=10.0)
    assert it.sees(unrun(1), 2, now=71.0) == [2]


def silent(number, **fields):
    """An instance whose check never has an output."""
    return instance(number, has_run=False, **fields)


def out(number, **fields):
    return silent(number, node_check="critical", **fields)


AWAY = {
    "out of contact": [[out(1), out(2)]],
    "out of contact, and restarted before they were heard": [
        [out(1), out(2)],
        [unrun(1, node_check="critical"), unrun(2, node_check="critical")],
    ],
    "restarted and out of contact in one answer": [[unrun(1, node_check="critical"), unrun(2, node_check="critical")]],
    "back, with the old results at first": [[out(1), out(2)], [silent(1), silent(2)]],
}


@pytest.mark.parametrize("between", AWAY.values(), ids=AWAY)
def test_checks_without_outputs_are_known_not_to_have_run_once_their_agents_were_away(between):
    it = Story(hold=300.0)
    it.sees(silent(1), silent(2))
    for now, answer in enumerate(between, 1):
        assert it.sees(*answer, now=float(now)) == [1, 2]
    assert it.sees(unrun(1), unrun(2), now=9.0) == [1, 2]
    assert it.causes() == [Cause.CHECKS_NOT_RUN]
    assert it.sees(silent(1), unrun(2), now=10.0) == [1, 2]
    assert it.later(69.0) == {"web": [1]}


def test_however_long_agents_were_away_their_checks_without_outputs_have_not_run():
    it = Story(hold=300.0)
    it.sees(silent(1), silent(2))
    it.sees(out(1), out(2), now=1.0)
    assert it.sees(unrun(1), unrun(2), now=200.0) == [1, 2]


def test_a_check_without_an_output_that_fails_later_is_believed_at_once():
    it = Story(hold=300.0)
    it.sees(silent(1), silent(2), silent(3))
    it.sees(out(1), out(2), out(3), now=1.0)
    it.sees(silent(1), silent(2), silent(3), now=2.0)
    assert it.sees(unrun(1), silent(2), silent(3), now=62.0) == [2, 3]


IN_SILENCE = {
    "all of two": ([silent(1), silent(2)], [unrun(1), unrun(2)], [1, 2]),
    "most": ([silent(1), silent(2), silent(3)], [unrun(1), unrun(2), silent(3)], [1, 2, 3]),
    "half": ([silent(1), silent(2), silent(3), silent(4)], [unrun(1), unrun(2), silent(3), silent(4)], [3, 4]),
    "the only one": ([silent(1)], [unrun(1)], []),
    "all, on one node": ([silent(1, node="n"), silent(2, node="n")], [unrun(1, node="n"), unrun(2, node="n")], []),
    "some have an output": ([silent(1), silent(2)], [unrun(1), failed(2)], []),
}


@pytest.mark.parametrize(("before", "new", "shown"), IN_SILENCE.values(), ids=IN_SILENCE)
def test_checks_without_outputs_have_not_run_if_those_of_most_instances_fail_together(before, new, shown):
    it = Story()
    it.sees(*before)
    assert it.sees(*new, now=1.0) == shown
    assert it.later(61.0) in ({}, {"web": [each for each in shown if silent(each) in new]})


def test_the_first_checks_without_outputs_to_fail_are_restored_once_others_follow():
    it = Story()
    it.sees(silent(1), silent(2), silent(3))
    assert it.sees(unrun(1), silent(2), silent(3), now=1.0) == [2, 3]
    assert it.sees(unrun(1), unrun(2), silent(3), now=20.0) == [1, 2, 3]
    assert it.sees(unrun(1), unrun(2), unrun(3), now=22.0) == [1, 2, 3]
    assert it.sees(silent(1), unrun(2), unrun(3), now=25.0) == [1, 2, 3]
    assert it.sees(silent(1), silent(2), silent(3), now=26.0) == [1, 2, 3]
    assert it.causes() == []


def test_checks_without_outputs_that_fail_minutes_apart_have_failed():
    it = Story()
    it.sees(silent(1), silent(2), silent(3))
    it.sees(unrun(1), silent(2), silent(3), now=1.0)
    assert it.sees(unrun(1), unrun(2), silent(3), now=61.0) == [3]


def test_checks_without_outputs_that_were_released_have_failed():
    it = Story()
    it.sees(silent(1), silent(2))
    it.sees(unrun(1), unrun(2), now=1.0)
    it.guard.release("web")
    assert it.later(2.0) == {"web": []}
    assert it.sees(unrun(1), unrun(2), 3, now=3.0) == [3]


def test_a_node_that_died_alone_comes_back_once_its_check_without_an_output_has_run():
    it = Story()
    it.sees(silent(1), 2, 3)
    assert it.sees(out(1), 2, 3, now=1.0) == [2, 3]
    assert it.sees(unrun(1), 2, 3, now=9.0) == [2, 3]
    assert it.sees(silent(1), 2, 3, now=12.0) == [1, 2, 3]


def test_checks_without_outputs_of_agents_that_left_are_known_not_to_have_run():
    it = Story()
    it.sees(silent(1), 2)
    it.sees(2, now=1.0)
    assert it.sees(unrun(1), 2, now=5.0) == [1, 2]


def test_an_earlier_process_saw_that_agents_were_away():
    it, again = Story(hold=300.0), Story(hold=300.0)
    it.sees(silent(1), silent(2))
    it.sees(out(1), out(2), now=1.0)
    again.guard.remember(it.guard.memories([WEB], ahead=0.0), ahead=0.0)
    assert again.sees(unrun(1), unrun(2), now=2.0, index=99) == [1, 2]


def test_an_earlier_process_knew_that_the_checks_had_run():
    it = Story()
    it.guard.remember([Memory(answer=Answer(query=WEB, value=(instance(1),), index=9, session=1.0))], ahead=0.0)
    assert it.sees(unrun(1), session=5.0) == [1]


def test_what_waits_for_its_checks_is_released():
    it = Story()
    it.sees(1, 2)
    it.sees(unrun(1), unrun(2), now=1.0)
    assert [len(hold.entries) for hold in it.guard.release("web")] == [2]
    assert it.later(2.0) == {"web": []}
    assert it.sees(unrun(1), unrun(2), now=3.0) == []


def test_what_waits_for_its_checks_can_be_lost_like_all_in_use():
    it = Story()
    it.sees(1, 2, 3)
    it.sees(unrun(1), unrun(2), unrun(3), now=1.0)
    assert it.sees(now=2.0) == [1, 2, 3]
    assert it.guard.doubts() == (Doubt(query=WEB, services=("web",), nodes=("n1", "n2", "n3")),)


def test_no_failure_is_counted_while_checks_have_not_run():
    it = Story(readd=10.0)
    it.sees(1, 2)
    it.sees(unrun(1), 2, now=1.0)
    assert it.sees(1, 2, now=2.0) == [1, 2]


# Nodes that lost contact


def test_nodes_that_fail_together_stay_in_use_with_those_that_went_first():
    it = Story(hold=300.0)
    it.sees(1, 2, 3)
    assert it.sees(lost(1), 2, 3, now=1.0) == [2, 3]
    assert it.sees(lost(1), lost(2), 3, now=9.0) == [1, 2, 3]
    assert it.sees(lost(1), lost(2), lost(3), now=17.0) == [1, 2, 3]
    (line,) = it.told(17.0)
    assert line == (
        "held: service(web): 3 instances failed as Consul lost contact with most nodes at once; "
        "kept for up to 5m, or until 'ctemplate release'"
    )
    assert it.sees(1, 2, 3, now=40.0) == [1, 2, 3]
    assert it.told(40.0) == ["no longer held after 31s: service(web): all is back"]


def test_nodes_that_fail_together_are_believed_after_the_hold():
    it = Story(hold=100.0)
    it.sees(1, 2)
    it.sees(lost(1), lost(2), now=1.0)
    assert it.later(100.9) == {"web": [1, 2]}
    assert it.later(101.0) == {"web": []}
    assert len(it.told(101.0)) == 1
    assert it.sees(lost(1), lost(2), now=102.0) == []


def test_a_node_that_stays_away_a_minute_after_most_came_back_is_dead():
    it = Story(hold=300.0)
    it.sees(1, 2, 3)
    it.sees(lost(1), lost(2), lost(3), now=1.0)
    it.told(1.0)
    assert it.sees(lost(1), lost(2), 3, now=20.0) == [1, 2, 3]
    assert it.later(100.0) == {"web": [1, 2, 3]}, "most are still out of contact"
    assert it.sees(lost(1), 2, 3, now=101.0) == [1, 2, 3]
    assert it.guard.due_at(101.0) == 161.0
    assert it.later(160.9) == {"web": [1, 2, 3]}
    assert it.later(161.0) == {"web": [2, 3]}
    (line,) = it.told(161.0)
    assert line == (
        "no longer held after 2m40s: service(web): "
        "most nodes are back in contact, and these are not; they are accepted as failed"
    )
    assert it.sees(lost(1), 2, 3, now=162.0) == [2, 3]
    assert it.guard.due_at(162.0) == math.inf


def test_a_service_whose_only_node_stays_away_after_most_came_back_is_dead():
    it = Story(hold=300.0)
    it.sees(1, query=API)
    it.sees(2, 3)
    it.sees(lost(1), now=1.0, query=API)
    it.sees(lost(2), lost(3), now=1.0)
    assert it.later(1.0) == {"api": [1], "web": [2, 3]}
    it.sees(2, 3, now=10.0)
    assert it.guard.due_at(10.0) <= 70.0
    assert it.later(69.9)["api"] == [1]
    assert it.later(70.0)["api"] == []


def test_a_gossip_that_is_cut_again_keeps_what_had_not_come_back():
    it = Story(hold=300.0)
    it.sees(1, 2, 3)
    it.sees(lost(1), lost(2), lost(3), now=1.0)
    it.sees(lost(1), 2, 3, now=10.0)
    assert it.sees(lost(1), lost(2), lost(3), now=20.0) == [1, 2, 3]
    assert it.later(90.0) == {"web": [1, 2, 3]}
    assert it.sees(1, 2, 3, now=91.0) == [1, 2, 3]


@pytest.mark.parametrize(
    ("before", "new", "shown"),
    [
        pytest.param([1, 2, 3], [lost(1), 2, 3], [2, 3], id="one node of three"),
        pytest.param([1, 2], [lost(1), 2], [2], id="one node of two"),
        pytest.param([1, 2, 3, 4], [lost(1), lost(2), 3, 4], [3, 4], id="half of them"),
        pytest.param([1, 2, 3, 4], [lost(1), lost(2), lost(3), 4], [1, 2, 3, 4], id="most of them"),
        pytest.param([1, 2], [lost(1), lost(2)], [1, 2], id="all of two"),
        pytest.param([1], [lost(1)], [1], id="the only node in sight"),
        pytest.param([1, 2, 3], [lost(1), failed(2), failed(3)], [], id="others fail by themselves"),
        pytest.param(
            [1, 2, 3],
            [lost(1), lost(2), instance(3, node_check="critical", check="critical")],
            [1, 2],
            id="one fails too",
        ),
        pytest.param([1, 2, 3], [lost(1), lost(2), unrun(3, node_check="critical")], [1, 2, 3], id="and has restarted"),
    ],
)
def test_most_nodes_at_once_are_trouble_and_one_alone_is_dead(before, new, shown):
    it = Story()
    it.sees(*before)
    assert it.sees(*new, now=1.0) == shown


def test_a_service_on_one_node_dies_with_it_where_other_nodes_live():
    it = Story()
    it.sees(1, query=API)
    it.sees(2, 3)
    assert it.sees(lost(1), now=1.0, query=API) == []


def test_a_service_on_one_node_is_kept_once_most_nodes_have_failed():
    it = Story()
    it.sees(1, query=API)
    it.sees(2, 3)
    it.sees(lost(1), now=1.0, query=API)
    it.sees(lost(2), 3, now=2.0)
    assert it.guard.due_at(2.0) == 2.0
    assert it.later(2.0) == {"api": [1], "web": [2, 3]}
    assert it.guard.due_at(2.0) > 2.0 or it.told(2.0)


def test_nodes_that_fail_one_by_one_over_minutes_are_dead():
    it = Story()
    it.sees(1, 2, 3, 4)
    it.sees(lost(1), 2, 3, 4, now=0.0)
    it.sees(lost(1), lost(2), 3, 4, now=61.0)
    assert it.sees(lost(1), lost(2), lost(3), 4, now=122.0) == [4]


def test_without_a_hold_lost_nodes_are_believed():
    it = Story(hold=0.0)
    it.sees(1, 2)
    assert it.sees(lost(1), lost(2), now=1.0) == []


def test_what_is_deregistered_while_its_node_is_lost_is_judged_as_any_loss():
    it = Story()
    it.sees(1, 2)
    it.sees(lost(1), lost(2), now=1.0)
    assert it.sees(lost(2), now=2.0) == [2]
    assert it.sees(now=3.0) == [2]
    it.guard.confirm(Answer(query=WEB, value=(), index=it.index), 3.0, may_read=True)
    assert it.later(3.0) in ({"web": []}, {})
    assert it.causes() == []


ALL_LOST = (lost(1), lost(2), lost(3))


@pytest.mark.parametrize(
    ("answers", "shown", "until"),
    [
        pytest.param([()], [1, 2, 3], [301.0] * 3, id="all at once"),
        pytest.param([ALL_LOST[1:], ALL_LOST[2:], ()], [1, 2, 3], [301.0] * 3, id="one after the other"),
        pytest.param([ALL_LOST[1:], ALL_LOST[2:]], [1, 2, 3], [301.0] * 3, id="most of them"),
        pytest.param([ALL_LOST[1:]], [2, 3], [301.0] * 2, id="one alone"),
    ],
)
def test_nodes_that_are_removed_while_out_of_contact_stay_for_the_rest_of_the_hold(answers, shown, until):
    it = Story(hold=300.0)
    it.sees(1, 2, 3)
    it.sees(*ALL_LOST, now=1.0)
    for answer in answers:
        it.sees(*answer, now=33.0)
        if it.guard.doubts():
            nodes = {"server", *(each.node for each in map(as_instance, answer))}
            value = tuple(map(as_instance, answer))
            it.guard.confirm(
                Answer(query=WEB, value=value, index=it.index), 33.0, may_read=True, nodes=dict.fromkeys(nodes, "")
            )
    assert it.later(300.9) == {"web": shown}
    assert sorted(hold.until for hold in it.guard.holds for _ in hold.entries) == until
    assert it.later(301.0)["web"] == [each for each in answers[-1] if isinstance(each, int)]


BACK = dict.fromkeys(("server", "n1", "n2", "n3"), "")


def removed_while_out_of_contact(**policy):
    """All nodes out of contact, and then removed from Consul."""
    it = Story(hold=300.0, **policy)
    it.sees(1, 2, 3)
    it.sees(*ALL_LOST, now=1.0)
    it.told(1.0)
    it.sees(now=100.0)
    assert confirmed(it, {"server"}, now=100.0) == [1, 2, 3]
    return it


def test_the_removal_of_nodes_out_of_contact_is_reported_with_the_time_that_is_left():
    it = removed_while_out_of_contact()
    line, _ = it.told(103.0)
    assert line == (
        "held: service(web): 3 instances vanished with their nodes, with which Consul had lost contact together "
        "before; kept for up to 3m21s, or until 'ctemplate release'"
    )
    assert it.sees(1, 2, 3, now=200.0) == [1, 2, 3]
    assert it.told(200.0) == ["no longer held after 1m40s: service(web): all is back"]


def test_a_removed_node_that_is_back_has_the_rest_of_the_hold_to_register_its_services():
    it = removed_while_out_of_contact()
    assert it.sees(1, now=140.0) == [1, 2, 3]
    it.guard.confirm(Answer(query=WEB, value=(instance(1),), index=it.index), 140.0, may_read=True, nodes=BACK)
    assert it.later(300.9) == {"web": [1, 2, 3]}
    assert it.later(301.0) == {"web": [1]}


def test_a_later_process_knows_how_long_removed_nodes_stay():
    it = removed_while_out_of_contact()
    memories = it.guard.memories([WEB], ahead=0.0)
    it.guard = Guard(Policies(default=GuardPolicy(hold=300.0)))
    it.guard.remember(memories, ahead=0.0, since=0.0)
    it.sees(now=110.0)
    confirmed(it, {"server"}, now=110.0)
    assert it.later(300.9) == {"web": [1, 2, 3]}
    assert it.later(301.0) == {"web": []}


def test_what_lost_contact_later_is_held_as_long_as_the_first_also_by_a_new_limit():
    it = Story(hold=300.0)
    it.sees(1, 2, 3)
    it.sees(lost(1), lost(2), 3, now=1.0)
    it.sees(lost(1), lost(2), lost(3), now=20.0)
    it.guard.follow(Policies(default=GuardPolicy(hold=600.0)))
    assert it.later(600.9) == {"web": [1, 2, 3]}
    assert it.later(601.0) == {"web": []}


def test_nodes_that_only_stored_answers_to_unwanted_queries_show_do_not_count():
    it = Story()
    stored = {WEB: [1], API: [2], ServiceQuery(name="old"): range(3, 20)}
    answers = (Answer(query=each, value=tuple(map(instance, numbers))) for each, numbers in stored.items())
    it.guard.remember([Memory(answer=answer) for answer in answers], ahead=0.0)
    it.sees(1)
    it.sees(2, query=API)
    it.guard.count_nodes_of({WEB, API})
    it.sees(lost(1), now=10.0)
    assert it.sees(lost(2), now=10.0, query=API) == [2]
    assert it.later(10.0) == {"web": [1], "api": [2]}


def test_nodes_are_counted_once_though_nothing_was_guarded_in_between():
    it = Story()
    policies = it.guard.policies
    it.sees(1)
    it.sees(2, query=API)
    it.guard.policies = None
    it.sees(1)
    it.sees(2, query=API)
    it.guard.policies = policies
    it.sees(2, query=API, now=1.0)
    it.sees(1, now=1.0)
    assert it.guard._nodes.in_contact(None) == {"n1", "n2"}
    it.guard.forget(WEB)
    assert it.guard._nodes.in_contact(None) == {"n2"}


def test_a_service_whose_removed_nodes_are_out_of_contact_stays_listed():
    it = Story(hold=300.0)
    it.guard.take(services("consul", "web"), 0.0)
    it.sees(1, 2)
    it.sees(lost(1), lost(2), now=1.0)
    it.guard.take(services("consul", index=20), 33.0)
    listed = it.guard.confirm(services("consul", index=20), 33.0, may_read=True, nodes={"server": ""})
    assert sorted(shown(listed)) == ["consul", "web"]
    assert [hold.until for hold in it.guard.holds if hold.query == ALL] == [301.0]


# Prepared queries, which return no failing instances

CHOSEN = PreparedQuery(name="web-here")


def confirm_chosen(it, *registered, left=(), now=1.0):
    """Confirm what a prepared query returns; ``registered`` is what it chose from."""
    answer = Answer(query=CHOSEN, value=tuple(map(instance, left)))
    return in_use(it.guard.confirm(answer, now, may_read=True, registered=registered))


@pytest.mark.parametrize(
    ("before", "registered", "shown"),
    [
        pytest.param([1, 2, 3], [lost(1), lost(2), lost(3)], [1, 2, 3], id="all nodes"),
        pytest.param([1, 2, 3], [lost(1), lost(2)], [1, 2], id="one was deregistered"),
        pytest.param([1, 2, 3], [lost(1), lost(2), failed(3)], [1, 2], id="one fails by itself"),
        pytest.param([1], [lost(1)], [1], id="the only node in sight"),
        pytest.param([1], [lost(1), 2], [], id="another node is in contact"),
        pytest.param([1, 2, 3], [failed(1), failed(2), failed(3)], [], id="all fail by themselves"),
        pytest.param([1, 2, 3], [], [], id="all were deregistered"),
    ],
)
def test_what_a_prepared_query_loses_with_the_nodes_contact_stays_in_use(before, registered, shown):
    it = Story()
    it.sees(*before, query=CHOSEN, index=0)
    it.sees(query=CHOSEN, now=1.0, index=0)
    assert confirm_chosen(it, *(instance(each) if isinstance(each, int) else each for each in registered)) == shown


def test_a_prepared_query_gets_back_what_left_first_and_gives_it_up_after_the_hold():
    it = Story(hold=300.0)
    it.sees(1, 2, 3, query=CHOSEN, index=0)
    assert it.sees(2, 3, query=CHOSEN, now=1.0, index=0) == [2, 3]
    it.sees(3, query=CHOSEN, now=11.0, index=0)
    assert confirm_chosen(it, lost(1), lost(2), instance(3), left=[3], now=11.0) == [1, 2, 3]
    (line,) = it.told(20.0)
    assert line.startswith(
        "held: query(web-here): 2 instances vanished from a prepared query's answer as Consul lost contact"
    )
    assert it.sees(3, query=CHOSEN, now=300.0, index=0) == [1, 2, 3]
    assert it.later(312.0) == {"web-here": [3]}


def test_what_is_removed_while_a_prepared_query_holds_it_stays_for_the_rest_of_the_hold():
    it = Story(hold=300.0)
    it.sees(1, 2, 3, query=CHOSEN, index=0)
    it.sees(query=CHOSEN, now=1.0, index=0)
    confirm_chosen(it, lost(1), lost(2), lost(3))
    assert it.sees(1, query=CHOSEN, now=100.0, index=0) == [1, 2, 3]
    assert confirm_chosen(it, instance(1), left=[1], now=100.0) == [1, 2, 3]
    assert it.later(301.0) == {"web-here": [1]}


def test_what_a_prepared_query_lost_is_back_with_contact():
    it = Story()
    it.sees(1, 2, query=CHOSEN, index=0)
    it.sees(query=CHOSEN, now=1.0, index=0)
    confirm_chosen(it, lost(1), lost(2))
    assert it.sees(1, 2, query=CHOSEN, now=11.0, index=0) == [1, 2]
    assert it.causes() == []


# Data that were restored


def maintained(number):
    return msgspec.structs.replace(instance(number), status=Status.MAINTENANCE)


def failed_twice(number):
    checks = (CheckState(id="http", status="critical"), CheckState(id="tcp", status="critical"))
    return msgspec.structs.replace(failed(number), checks=checks)


@pytest.mark.parametrize("old", [failed, unrun, lost, maintained])
def test_a_restored_status_is_not_used_before_the_agents_report_again(old):
    it = Story()
    it.sees(1, 2, 3, failed(4))
    assert it.sees(old(1), old(2), 3, failed(4), now=1.0, index=5) == [1, 2, 3]
    assert it.causes() == [Cause.RESTORED_STATUS]
    (line,) = it.told(1.0)
    assert line == (
        "held: service(web): 2 instances failed as Consul's index went back to restored data; "
        "kept for up to 5m, or until 'ctemplate release'"
    )
    assert it.sees(1, old(2), 3, failed(4), now=90.0, index=6) == [1, 2, 3]
    assert it.sees(1, failed_twice(2), failed(3), now=95.0, index=7) == [1]
    assert it.told(95.0) == ["no longer held after 1m34s: service(web): their agents have reported again"]


def test_a_restored_status_is_believed_after_the_hold():
    it = Story(hold=300.0)
    it.sees(1)
    it.sees(failed(1), now=1.0, index=5)
    assert it.later(300.9) == {"web": [1]}
    assert it.later(301.0) == {"web": []}


def test_a_restored_status_is_kept_over_a_restart_of_ours():
    it = Story()
    it.guard.remember([Memory(answer=Answer(query=WEB, value=(instance(1),), index=9, session=1.0))], ahead=0.0)
    assert it.sees(failed(1), now=1.0, index=5, session=2.0) == [1]
    again = Story()
    again.guard.remember(it.guard.memories([WEB], ahead=0.0), ahead=0.0)
    assert again.sees(failed(1), now=9.0, index=5, session=3.0) == [1]
    assert again.sees(1, now=10.0, index=6, session=3.0) == [1]
    assert again.causes() == []


# Agents that leave


def confirmed(it, nodes, *, query=WEB, now=1.0, left=()):
    answer = Answer(query=query, value=tuple(map(instance, left)), index=it.index)
    return in_use(it.guard.confirm(answer, now, may_read=True, nodes=dict.fromkeys(nodes, "")))


def test_agents_that_leave_together_have_a_minute_to_be_back():
    it = Story()
    it.sees(1, 2, 3)
    it.sees(now=1.0)
    assert confirmed(it, {"server"}) == [1, 2, 3]
    (line,) = it.told(4.0)
    assert line == (
        "held: service(web): 3 instances vanished with their nodes, several of which left Consul at once; "
        "kept for up to 1m, or until 'ctemplate release'"
    )
    assert it.sees(unrun(1), 2, now=8.0) == [1, 2, 3]
    assert it.later(61.0) == {"web": [2]}


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        pytest.param({"n1", "n2", "n3"}, [], id="the nodes are there"),
        pytest.param({"n2", "n3"}, [], id="one node left"),
        pytest.param({"n3"}, [1, 2], id="two of three"),
    ],
)
def test_what_is_deregistered_is_told_from_what_left_with_its_node(nodes, left):
    it = Story()
    it.sees(1, 2, 3)
    it.sees(now=1.0)
    assert confirmed(it, nodes) == left


def renamed(number, **fields):
    return instance(number, node_id="id-of-one-node", **fields)


@pytest.mark.parametrize(
    ("nodes", "used"),
    [
        pytest.param({"server": "s", "new-name": "id-of-one-node"}, [1, 2], id="the id is there"),
        pytest.param({"server": "s", "other": "other-id"}, [], id="the id is gone"),
        pytest.param({"server": "s", "n1": "id-of-one-node"}, [], id="the name is there"),
    ],
)
def test_the_only_node_has_a_minute_to_register_again_under_another_name(nodes, used):
    it = Story()
    it.sees(renamed(1, node="n1"), renamed(2, node="n1"))
    it.sees(now=1.0)
    answer = Answer(query=WEB, value=(), index=it.index)
    assert in_use(it.guard.confirm(answer, 1.0, may_read=True, nodes=nodes)) == used
    assert it.causes() == [Cause.NODE_RENAMED] * bool(used)
    assert it.sees(renamed(1, node="new-name"), renamed(2, node="new-name"), now=30.0) == [1, 2]
    assert it.causes() == []


def test_a_node_that_was_renamed_and_registers_nothing_is_taken_as_gone():
    it = Story()
    it.sees(renamed(1))
    it.sees(now=1.0)
    it.guard.confirm(Answer(query=WEB, value=(), index=it.index), 1.0, may_read=True, nodes={"b": "id-of-one-node"})
    assert it.later(60.9) == {"web": [1]}
    assert it.later(61.0) == {"web": []}


WAYS_TO_ASK = pytest.mark.parametrize(
    "query",
    [
        pytest.param(WEB, id="all"),
        pytest.param(ServiceQuery(name="web", details=True), id="details"),
        pytest.param(ServiceQuery(name="web", near="_agent"), id="near"),
        pytest.param(ServiceQuery(name="web", filter="Service.Port == 80"), id="filter"),
        pytest.param(ConnectQuery(name="web"), id="connect"),
    ],
)


@WAYS_TO_ASK
def test_a_service_whose_nodes_left_stays_in_the_catalog(query):
    it = Guard(Policies())
    it.take(services("consul", "old", "web"), 0.0)
    for each, numbers in ((query, (1, 2)), (ServiceQuery(name="old"), (3,))):
        it.take(Answer(query=each, value=tuple(map(instance, numbers)), index=11), 0.0)
    it.take(services("consul", index=12), 1.0)
    left = it.confirm(services("consul", index=12), 1.0, may_read=True, nodes={"n3": ""})
    assert sorted(shown(left)) == ["consul", "web"]


@WAYS_TO_ASK
def test_a_query_that_is_not_wanted_any_more_keeps_no_service_in_the_catalog(query):
    it = Guard(Policies())
    it.take(services("consul", "web"), 0.0)
    it.take(Answer(query=query, value=tuple(map(instance, (1, 2))), index=11), 0.0)
    it.forget(query)
    it.take(services("consul", index=12), 1.0)
    assert shown(it.confirm(services("consul", index=12), 1.0, may_read=True, nodes={"n3": ""})) == {"consul": ""}


def test_services_on_one_node_each_stay_where_several_nodes_left():
    it = Story()
    it.sees(1)
    it.sees(2, query=API)
    it.sees(now=1.0)
    it.sees(now=1.0, query=API)
    assert [confirmed(it, {"server"}), confirmed(it, {"server"}, query=API)] == [[1], [2]]


def test_the_first_of_several_agents_that_leave_in_order_is_taken_back():
    it = Story()
    it.sees(1, 2, 3)
    it.sees(4, 5, query=API)
    assert it.sees(5, query=API, now=0.5) == [5]  # node 4 leaves alone, as far as anyone can tell
    assert it.sees(2, 3, now=1.0) == [2, 3]
    it.sees(3, now=3.0)
    assert confirmed(it, {"server", "n3", "n5"}, now=3.0, left=[3]) == [1, 2, 3]
    assert it.guard.due_at(3.0) <= 3.0
    assert it.later(3.0) == {"api": [4, 5], "web": [1, 2, 3]}
    assert it.later(60.7) == {"api": [5], "web": [1, 2, 3]}  # a minute from when each left
    assert it.later(61.1)["web"] == [2, 3]
    assert it.later(63.1)["web"] == [3]


def test_what_left_before_a_read_that_still_listed_its_node_is_taken_back_by_a_later_one():
    it = Story()
    it.sees(1, 2, 3)
    it.sees(4, 5, query=API)
    assert it.sees(5, query=API, now=0.5) == [5]
    it.sees(3, now=1.0)
    assert confirmed(it, {"server", "n3", "n4", "n5"}, now=1.0, left=[3]) == [1, 2, 3]
    it.sees(now=3.0)
    assert confirmed(it, {"server", "n5"}, now=3.0) == [1, 2, 3]
    assert it.later(3.0) == {"api": [4, 5], "web": [1, 2, 3]}
    it.guard.release("api")
    assert it.later(4.0)["api"] == [5]
    it.sees(now=5.0)
    confirmed(it, {"server"}, now=5.0)
    assert it.later(5.0).get("api", [5]) == [5]


def test_what_was_deregistered_or_is_back_is_not_taken_back():
    it = Story()
    it.sees(1, 2, 3, 4)
    assert it.sees(2, 3, 4, now=0.5) == [2, 3, 4]  # deregistered: its node stays
    assert it.sees(3, 4, now=1.0) == [3, 4]
    it.sees(now=3.0)
    assert confirmed(it, {"server", "n1"}, now=3.0) == [2, 3, 4]


def test_what_left_more_than_a_minute_before_is_not_taken_back():
    it = Story()
    it.sees(1, 2, 3)
    assert it.sees(2, 3, now=1.0) == [2, 3]
    it.sees(now=62.0)
    assert confirmed(it, {"server"}, now=62.0) == [2, 3]


# After a start


def test_what_changes_in_the_first_minute_after_a_start_is_believed():
    it = Story()
    remembered = Answer(query=WEB, value=(instance(1), instance(2)), index=9, session=1.0)
    it.guard.remember([Memory(answer=remembered)], ahead=0.0, since=100.0)
    it.sees(1, 2, session=99.0)
    assert it.sees(failed(1), failed(2), session=99.0, now=5.0) == []
    assert it.told(9.0) == []


def test_a_source_that_comes_up_after_us_has_a_minute():
    it = Story()
    remembered = Answer(query=WEB, value=(instance(1), instance(2)), index=9, session=1.0)
    it.guard.remember([Memory(answer=remembered)], ahead=0.0, since=100.0)
    assert it.sees(failed(1), failed(2), session=104.0) == [1, 2]
    (line,) = it.told(0.0)
    assert line == (
        "held: service(web): 2 instances failed as Consul came back in sight; "
        "kept for up to 1m, or until 'ctemplate release'"
    )


def test_a_hold_that_runs_out_before_it_is_told_is_reported():
    it = Story(hold=1.0)
    it.sees(1, 2)
    it.sees(now=1.0)
    it.later(2.0)
    assert it.told(2.0) == ["no longer held after 1s: service(web): the time is over; the newest answer is accepted"]


# Answers that cannot be


def services(*names, index=11, **tags):
    value = tuple(Service(name=name, tags=tuple(tags.get(name, "").split())) for name in names)
    return Answer(query=ALL, value=value, index=index)


def shown(answer):
    return {service.name: " ".join(service.tags) for service in answer.value}


@pytest.mark.parametrize("left", [(), ("api",)])
def test_a_catalog_without_consul_where_it_was_takes_nothing_away(left):
    it = Guard(Policies())
    it.take(services("api", "consul", "web"), 0.0)
    all_there = dict.fromkeys(("api", "consul", "web"), "")
    assert shown(it.take(services(*left, index=12), 1.0)) == all_there
    assert shown(it.confirm(services(*left, index=12), 1.1, may_read=True)) == all_there
    assert [shown(answer) for answer in it.review(1e6)] == [all_there]
    (report,) = it.reports(1e6)
    assert report.text.endswith(
        "vanished together with Consul's own service, which is always there; "
        "kept until that changes, or until 'ctemplate release'"
    )
    assert shown(it.take(services("consul", index=13), 1e6)) == all_there
    assert shown(it.confirm(services("consul", index=13), 1e6, may_read=True)) == {"consul": ""}


def test_a_catalog_that_goes_on_shrinking_without_consul_takes_nothing_away():
    it = Guard(Policies())
    it.take(services("api", "consul", "web"), 0.0)
    for index, left in ((12, ("api",)), (13, ())):
        it.take(services(*left, index=index), 1.0)
        found = it.confirm(services(*left, index=index), 1.0, may_read=True)
    assert sorted(shown(found)) == ["api", "consul", "web"]


def test_a_token_that_may_not_read_consul_any_more_hinders_nothing():
    it = Guard(Policies())
    it.take(services("api", "consul", "web"), 0.0)
    it.take(services("api", "web", index=12), 1.0)
    it.confirm(services("api", "web", index=12), 1.0, may_read=False)
    it.take(services("web", index=13), 2.0)
    assert sorted(shown(it.confirm(services("web", index=13), 2.0, may_read=True))) == ["consul", "web"]


INVALID = Rejection(service="web", instance="i1", field="address", reason="'x' is not an IP address")


def test_an_answer_of_which_no_entry_is_valid_takes_nothing_away_for_the_hold():
    it = Story(hold=100.0)
    it.sees(1, 2)
    assert it.sees(now=1.0, rejections=(INVALID,)) == [1, 2]
    invalid = Answer(query=WEB, value=(), index=it.index, rejections=(INVALID,))
    assert in_use(it.guard.confirm(invalid, 1.0, may_read=True)) == [1, 2]
    assert it.causes() == [Cause.INVALID_ENTRIES]
    assert it.later(101.0) == {"web": []}


def test_entries_of_another_name_do_not_count_as_invalid():
    it = Story()
    it.sees(1)
    other = Rejection(service="WEB", field="name", reason="differs in case")
    it.sees(now=1.0, rejections=(other,))
    gone = Answer(query=WEB, value=(), index=it.index, rejections=(other,))
    assert in_use(it.guard.confirm(gone, 1.0, may_read=True)) == []


def test_tags_that_vanish_from_every_service_at_once_are_kept():
    it = Guard(Policies(default=GuardPolicy(hold=100.0)))
    it.take(services("api", "consul", "web", api="http", web="http tcp"), 0.0)
    bare = services("api", "consul", "web", index=12)
    tagged = {"api": "http", "consul": "", "web": "http tcp"}
    assert shown(it.take(bare, 1.0)) == tagged
    assert [hold.cause for hold in it.holds] == [Cause.TAGS_GONE]
    assert [shown(answer) for answer in it.review(100.9)] == [tagged]
    assert [shown(answer) for answer in it.review(101.0)] == [dict.fromkeys(tagged, "")]


@pytest.mark.parametrize(
    "new",
    [
        pytest.param({"api": "http"}, id="one keeps its tags"),
        pytest.param({"web": "udp"}, id="one has others"),
    ],
)
def test_tags_that_change_are_believed(new):
    it = Guard(Policies())
    it.take(services("api", "web", api="http", web="http"), 0.0)
    assert shown(it.take(services("api", "web", index=12, **new), 1.0)) == {"api": "", "web": ""} | new


def test_the_only_service_with_tags_may_lose_them():
    it = Guard(Policies())
    it.take(services("api", "web", web="http"), 0.0)
    assert shown(it.take(services("api", "web", index=12), 1.0)) == {"api": "", "web": ""}


# Losses that add up


def test_one_instance_less_each_second_is_held_before_most_are_gone():
    it = Story()
    it.sees(*range(1, 10))
    seen = [it.sees(*range(1, 10 - gone), now=float(gone)) for gone in range(1, 10)]
    assert seen[3] == [1, 2, 3, 4, 5]
    assert seen[4:] == [[1, 2, 3, 4, 5]] * 5


def test_losses_that_are_minutes_apart_do_not_add_up():
    it = Story()
    it.sees(*range(1, 10))
    seen = [it.sees(*range(1, 10 - gone), now=31.0 * gone) for gone in range(1, 7)]
    assert [len(numbers) for numbers in seen] == [8, 7, 6, 5, 4, 3]
    assert it.guard.doubts() == ()


def test_a_confirmed_loss_begins_the_count_anew():
    it = Story()
    it.sees(*range(1, 10))
    for gone in range(1, 6):
        it.sees(*range(1, 10 - gone), now=float(gone))
    four = Answer(query=WEB, value=tuple(map(instance, range(1, 5))), index=it.index)
    assert in_use(it.guard.confirm(four, 6.0, may_read=True)) == [1, 2, 3, 4]
    assert it.sees(1, 2, 3, now=7.0) == [1, 2, 3]


@pytest.mark.parametrize("first", ["old goes", "new comes"])
def test_a_rolling_deployment_is_no_loss(first):
    it, there = Story(), set(range(1, 7))
    it.sees(*there)
    for number in range(1, 7):
        steps = [lambda number=number: there.discard(number), lambda number=number: there.add(number + 10)]
        for step in steps if first == "old goes" else reversed(steps):
            step()
            assert it.sees(*sorted(there), now=2.0 * number) == sorted(there)
    assert it.guard.doubts() == ()


# Services that the catalog lists and of which nothing is shown


RIGHT = 'the token lacks the right node:read (node_prefix "" { policy = "read" })'


def listed(guard, query, now, *, may_read=True):
    return guard.confirm(Answer(query=query, value=(), index=99), now, may_read=may_read, is_listed=True)


def test_a_listed_service_without_any_instance_is_no_answer_and_asked_for_again():
    it = Story()
    it.guard.take(services("api", "consul", "web"), 0.0)
    assert (it.sees(), it.sees(query=API)) == (None, None)
    assert [listed(it.guard, query, 0.1) for query in (WEB, API)] == [None, None]
    assert (it.guard.doubts(), it.told(2.9)) == ((), [])
    (line,) = it.told(3.0)
    assert line == (
        f"service(api), service(web): listed in Consul's catalog, and no instance is shown: {RIGHT}; "
        "asked again every 10s, and not taken as empty before 'ctemplate release'"
    )
    assert it.guard.due_at(3.0) == pytest.approx(10.1)
    it.guard.review(10.1)
    assert {doubt.query for doubt in it.guard.doubts()} == {WEB, API}


def test_one_that_can_be_seen_at_last_has_the_others_asked_for_at_once():
    it = Story()
    it.guard.take(services("api", "consul", "web"), 0.0)
    for query in (WEB, API):
        it.sees(query=query)
        listed(it.guard, query, 0.1)
    it.told(3.0)
    assert it.sees(1, now=5.0) == [1]
    assert {doubt.query for doubt in it.guard.doubts()} == {ALL, API}
    assert it.told(5.0) == ["service(web): can be seen now"]


def test_a_right_that_is_granted_has_what_came_with_fewer_rights_read_again_once():
    it = Story()
    it.guard.take(services("api", "consul", "web"), 0.0)
    it.sees(2, query=API)
    it.sees()
    listed(it.guard, WEB, 0.1)
    assert it.guard.doubts() == ()
    assert it.sees(1, now=10.1) == [1]
    assert {doubt.query for doubt in it.guard.doubts()} == {ALL, API}
    read = Answer(query=API, value=(instance(1), instance(2)), index=it.index)
    assert in_use(it.guard.confirm(read, 10.2, may_read=True)) == [1, 2]
    assert [doubt.query for doubt in it.guard.doubts()] == [ALL]
    it.guard.confirm(services("api", "consul", "web"), 10.3, may_read=True)
    assert (it.guard.doubts(), it.guard.is_busy) == ((), False)


def new_and_hidden():
    it = Story()
    it.guard.take(services("consul"), 0.0)
    it.guard.take(services("consul", "web", index=12), 1.0)
    it.sees(now=1.0)
    assert listed(it.guard, WEB, 1.1).value == ()
    it.told(1.1)
    return it


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_new_service_that_shows_no_instance_is_asked_for_again_as_long_as_it_is_listed(is_listed):
    it = new_and_hidden()
    for now in (11.1, 21.1):
        assert (it.guard.doubts(), it.guard.due_at(now - 1.0)) == ((), now)
        it.later(now)
        assert [doubt.is_first for doubt in it.guard.doubts()] == [True]
        assert it.guard.due_at(now) == math.inf
        assert listed(it.guard, WEB, now).value == ()
    it.later(31.1)
    it.guard.confirm(Answer(query=WEB, value=(), index=99), 31.1, may_read=True, is_listed=is_listed)
    assert it.guard.is_busy == is_listed


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_new_service_that_shows_its_instances_is_not_asked_for_again(is_asked):
    it = new_and_hidden()
    if is_asked:
        it.later(11.1)
    assert it.sees(1, now=11.2, index=100) == [1]
    if is_asked:
        shown = Answer(query=WEB, value=(instance(1),), index=100)
        it.guard.confirm(shown, 11.3, may_read=True, is_listed=True)
    assert (it.guard.doubts(), it.guard.is_busy) == ((), False)


def test_a_service_that_is_new_in_the_catalog_delays_no_other():
    it = Story()
    it.guard.take(services("consul"), 0.0)
    it.guard.take(services("consul", "web", index=12), 1.0)
    assert it.sees(now=1.0) is None
    assert listed(it.guard, WEB, 1.1).value == ()
    assert it.told(1.1) == [
        f"service(web): listed in Consul's catalog, and no instance is shown: {RIGHT}; taken as empty, since it is new"
    ]


def test_a_service_that_is_not_listed_is_empty():
    it = Story()
    it.sees()
    shown = it.guard.confirm(Answer(query=WEB, value=(), index=11), 1.0, may_read=True)
    assert (shown.value, it.guard.due_at(1.0)) == ((), math.inf)


def test_a_first_answer_whose_entries_are_invalid_is_one():
    assert Story().sees(rejections=(INVALID,)) == []


def test_of_very_many_first_answers_a_few_are_asked_for_each_second():
    it = Story()
    queries = [ServiceQuery(name=f"s{number}") for number in range(50)]
    for query in queries:
        it.sees(query=query)
        listed(it.guard, query, 0.0)
    it.told(3.0)
    counts = []
    for now in (10.0, 11.0, 12.0):
        it.guard.review(now)
        assert it.guard.due_at(now) > now
        counts.append(len(it.guard.doubts()))
    assert counts == [20, 40, 50]


def test_while_a_first_answer_is_confirmed_nothing_is_due():
    it = Story()
    it.sees()
    assert it.guard.due_at(1e6) == math.inf


# Properties

ROWS = st.builds(
    instance,
    st.integers(1, 4),
    check=st.sampled_from(["passing", "critical"]),
    has_run=st.booleans(),
    node_check=st.sampled_from(["passing", "critical"]),
)
STEPS = st.tuples(
    st.sampled_from([WEB, API]), st.lists(ROWS, max_size=4, unique_by=lambda row: row.id), st.floats(0.1, 40.0)
)


@given(st.lists(STEPS, min_size=1), st.booleans())
def test_what_is_due_is_done_by_a_review_and_its_report(steps, panic):
    it, now = Story(panic=panic, hold=50.0, readd=5.0), 0.0
    for query, rows, pause in steps:
        it.sees(*rows, query=query, now=now)
        it.guard.review(now)
        it.guard.reports(now)
        assert it.guard.due_at(now) > now
        now += pause


@given(st.lists(STEPS, min_size=1))
def test_whatever_fails_is_believed_after_the_hold(steps):
    it, now = Story(hold=50.0), 0.0
    for query, rows, pause in steps:
        it.sees(*rows, query=query, now=now)
        now += pause
    for later in (60.0, 120.0):
        it.guard.review(now + later)
        it.guard.reports(now + later)
    assert it.causes() == []
