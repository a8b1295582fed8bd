import logging

import pytest

from ctemplate.sources.consul.endpoints.paths import FailureKind, RequestFailed
from ctemplate.sources.consul.http.address import Address
from ctemplate.sources.consul.http.outages import OutageLog


@pytest.fixture
def lines(caplog):
    """What an operator sees at the default level."""
    caplog.set_level(logging.INFO)
    return lambda: [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def refused(name="web"):
    return RequestFailed("http://a:8500", f"/v1/health/service/{name}", "connection refused", FailureKind.UNREACHABLE)


def denied(name="web"):
    return RequestFailed("http://a:8500", f"/v1/health/service/{name}", "status 403: no", FailureKind.DENIED)


BEGAN = "WARNING http://a:8500: connection refused, first for q0; the last answers stay in use while it is retried"


def test_trouble_of_the_agent_is_one_line_for_all_queries(lines):
    outages = OutageLog()
    for now in range(10):
        for number in range(100):
            outages.note(f"q{number}", refused(), float(now))
    for number in range(100):
        outages.over(f"q{number}", 12.5)
    assert lines() == [BEGAN, "INFO http://a:8500: outage over after 12.5s"]
    assert outages.current == {}


def test_trouble_lasts_until_the_last_query_is_answered(lines):
    outages = OutageLog()
    outages.note("q0", refused(), 0.0)
    outages.note("q1", refused(), 1.0)
    outages.over("q0", 2.0)
    assert lines() == [BEGAN]
    assert outages.current == {"http://a:8500": frozenset({"q1"})}


def test_trouble_of_a_query_names_it_once(lines):
    outages = OutageLog()
    for now in range(5):
        outages.note("service(web)", denied(), float(now))
    outages.note("service(api)", denied("api"), 15.0)
    outages.over("service(web)", 16.0)
    outages.over("service(api)", 17.0)
    began = "http://a:8500/v1/health/service/{0}: status 403: no; its last answer stays in use while it is retried"
    assert lines() == [
        f"WARNING service(web): {began.format('web')}",
        f"WARNING service(api): {began.format('api')}",
        "INFO Consul: queries denied: outage over after 17.0s",
    ]


def test_those_who_join_a_trouble_are_told_together_ever_more_rarely(lines):
    outages = OutageLog()
    for now in range(0, 100, 5):
        for number in range(100 + now):
            outages.note(f"q{number:03}", denied(), float(now))
    began, *joined = lines()
    assert began.startswith("WARNING q000: http://a:8500/v1/health/service/web: status 403: no; ")
    told = [line.partition(", for example")[0] for line in joined]
    assert told == [
        "WARNING Consul: queries denied: q001, q002, q003, q004, q005 and 99 more",
        "WARNING Consul: queries denied: q105, q106, q107, q108, q109 and 15 more",
        "WARNING Consul: queries denied: q125, q126, q127, q128, q129 and 35 more",
    ]
    assert joined[0].endswith("status 403: no; they are retried, what they last answered stays in use")


def test_a_trouble_before_the_first_answer_promises_none(lines):
    outages = OutageLog()
    outages.note("q0", refused(), 0.0, is_answered=False)
    outages.note("q1", denied(), 0.0, is_answered=False)
    assert lines() == [
        "WARNING http://a:8500: connection refused, first for q0; it is retried until it answers",
        "WARNING q1: http://a:8500/v1/health/service/web: status 403: no; it is retried until it answers",
    ]


def test_trouble_that_keeps_coming_back_does_not_fill_the_log(lines):
    outages = OutageLog()
    for now in range(0, 600, 2):
        outages.note("q0", refused(), float(now))
        outages.over("q0", now + 1.0)
    assert len(lines()) == 2


def test_trouble_that_comes_back_and_lasts_is_told(lines):
    outages = OutageLog()
    outages.note("q0", refused(), 0.0)
    outages.over("q0", 1.0)
    for now in range(10, 30):
        outages.note("q0", refused(), float(now))
    outages.over("q0", 30.0)
    assert lines() == [
        BEGAN,
        "INFO http://a:8500: outage over after 1.0s",
        BEGAN,
        "INFO http://a:8500: outage over after 20.0s",
    ]


def test_a_query_whose_trouble_changes_leaves_the_first_one(lines):
    outages = OutageLog()
    outages.note("q0", refused(), 0.0)
    outages.note("q0", denied(), 3.0)
    assert outages.current == {"Consul: queries denied": frozenset({"q0"})}
    assert lines()[1] == "INFO http://a:8500: outage over after 3.0s"


def test_names_cannot_forge_a_line(lines):
    OutageLog().note("service(a\nERROR forged)", denied(), 0.0)
    assert "\n" not in lines()[0]


def test_each_break_begins_a_later_session_though_the_clock_is_set_back(monkeypatch):
    clock = iter([9000.0, 5000.0, 5001.0, 5000.0, 9500.0])
    monkeypatch.setattr("time.time", lambda: next(clock))
    outages = OutageLog()
    sessions = [(outages.session(None), outages.session("east"))]
    for dc in ("east", None, "east", None):
        outages.broke(dc)
        sessions.append((outages.session(None), outages.session("east")))
    ours, easts = zip(*sessions, strict=True)
    assert ours == tuple(sorted(ours))
    assert len(set(ours)) == 3
    assert list(easts) == sorted(set(easts))


def test_a_session_ends_with_the_agent_out_of_sight():
    outages = OutageLog()
    first = outages.session(None)
    outages.note("q0", denied(), 0.0)
    assert (outages.session(None), outages.session("east")) == (first, first)
    outages.broke("east")
    east = outages.session("east")
    assert (outages.session(None), east > first) == (first, True)
    outages.note("q0", refused(), 1.0)
    assert outages.session(None) > east
    assert outages.session("east") == outages.session(None)


def test_the_agent_that_answers_in_place_of_another_is_named(lines):
    outages = OutageLog(2)
    outages.note("q0", refused(), 0.0)
    outages.over("q0", 0.1, Address(scheme="http", host="b"))
    assert lines() == [BEGAN, "INFO http://b:8500: answers in place of http://a:8500, after 0.1s"]


def test_that_none_of_several_agents_answers_is_told_once(lines):
    outages = OutageLog(2)
    other = RequestFailed("http://b:8500", "/", "timed out", FailureKind.UNREACHABLE)
    for now in range(3):
        outages.note("q0", refused(), float(now))
        outages.note("q0", other, now + 0.5)
    causes = "http://a:8500: connection refused; http://b:8500: timed out"
    assert lines() == [BEGAN, f"WARNING Consul: none of 2 addresses answers: {causes}"]
