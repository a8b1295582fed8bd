import itertools

import pytest
from hypothesis import given, strategies as st

from ctemplate.sources.consul.endpoints.blocking import (
    IndexPosition,
    PollPace,
    is_abandoned,
    is_too_old,
    next_index,
    read_timeout,
)
from ctemplate.sources.consul.endpoints.paths import Meta
from ctemplate.sources.consul.endpoints.settings import Pacing

INDEX = st.integers(min_value=0, max_value=2**64 - 1)


@pytest.mark.parametrize(
    ("current", "received", "expected"),
    [
        pytest.param(0, 7, 7, id="first"),
        pytest.param(7, 9, 9, id="forward"),
        pytest.param(7, 7, 7, id="same"),
        pytest.param(7, 3, 0, id="backwards starts over"),
        pytest.param(0, 0, 1, id="zero would never block"),
        pytest.param(0, None, 1, id="missing"),
        pytest.param(7, 0, 0, id="fell to zero"),
        pytest.param(7, None, 0, id="went missing"),
        pytest.param(1, 0, 1, id="one stays one"),
    ],
)
def test_next_index(current, received, expected):
    assert next_index(current, received) == expected


@given(INDEX, st.none() | INDEX)
def test_next_index_is_the_received_one_or_a_new_start(current, received):
    index = next_index(current, received)
    assert index in {0, max(received or 0, 1)}
    assert (index == 0) == (max(received or 0, 1) < current)


@given(st.lists(INDEX | st.none()))
def test_an_index_of_zero_is_never_asked_for_twice_in_a_row(received):
    indexes = [0]
    for number in received:
        indexes.append(next_index(indexes[-1], number))
    assert all(later for earlier, later in itertools.pairwise(indexes) if earlier == 0)


@given(st.floats(min_value=0, max_value=600))
def test_read_timeout_is_above_the_wait_and_the_agents_jitter(wait):
    assert read_timeout(wait) > wait * 17 / 16 + 1


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        pytest.param(Meta(last_contact=0.0), False, id="fresh"),
        pytest.param(Meta(last_contact=2.0), False, id="at the bound"),
        pytest.param(Meta(last_contact=2.001), True, id="beyond the bound"),
        pytest.param(Meta(last_contact=0.0, known_leader=False), True, id="no leader"),
        pytest.param(Meta(), False, id="not told"),
        pytest.param(Meta(query_backend="streaming", known_leader=False), False, id="streaming tells neither"),
        pytest.param(Meta(query_backend="blocking-query", last_contact=9.0), True, id="blocking query tells"),
    ],
)
def test_an_answer_is_too_old(meta, expected):
    assert is_too_old(meta, max_stale=2.0) == expected


def test_a_position_moves_on_with_good_answers():
    position = IndexPosition()
    assert position.accepts(5, was_stale=True, is_too_old=False)
    assert position.accepts(8, was_stale=True, is_too_old=False)
    assert position == IndexPosition(index=8)


@pytest.mark.parametrize(
    ("received", "is_too_old"), [pytest.param(3, False, id="backwards"), pytest.param(9, True, id="too old")]
)
def test_a_suspicious_stale_answer_is_confirmed_by_the_leader(received, is_too_old):
    position = IndexPosition(index=5)
    assert not position.accepts(received, was_stale=True, is_too_old=is_too_old)
    assert position == IndexPosition(index=0, must_confirm=True)
    assert position.accepts(3, was_stale=False, is_too_old=False)
    assert position == IndexPosition(index=3)


def test_the_leader_is_believed_when_it_says_twice_that_the_index_fell():
    position = IndexPosition(index=5)
    assert not position.accepts(3, was_stale=False, is_too_old=False)  # a newer answer may have overtaken this one
    assert position.accepts(3, was_stale=False, is_too_old=False)
    assert position == IndexPosition(index=3)


def test_a_restart_does_not_forget_that_the_leader_is_to_confirm():
    position = IndexPosition(index=5, must_confirm=True)
    position.restart()
    assert position == IndexPosition(index=0, must_confirm=True)


PACING = Pacing(interval=0.1, burst=3, idle_interval=2.0, idle_burst=2)


def test_changes_that_come_alone_are_not_delayed():
    pace = PollPace(PACING)
    assert [pace.delay(now, is_news=True) for now in range(10)] == [0.0] * 10


def test_answers_without_news_are_slowed_down():
    pace = PollPace(PACING)
    assert [pace.delay(10.0, is_news=False) for _ in range(4)] == pytest.approx([0.0, 0.0, 2.0, 4.0])


@given(st.lists(st.booleans(), min_size=30, max_size=200))
def test_a_server_that_answers_at_once_never_makes_a_busy_loop(news):
    pace, now = PollPace(PACING), 0.0
    for is_news in news:
        now += pace.delay(now, is_news=is_news)
    assert now >= (len(news) - PACING.burst) * PACING.interval - 1e-6
    assert now >= (news.count(False) - PACING.idle_burst) * PACING.idle_interval - 1e-6


@pytest.mark.parametrize(
    ("index", "received", "waited", "expected"),
    [
        pytest.param(9, 9, 0.5, True, id="early and unmoved"),
        pytest.param(9, 9, 2.0, False, id="the wait is over"),
        pytest.param(9, 10, 0.5, False, id="moved"),
        pytest.param(9, 8, 0.5, False, id="fell: seen anyway"),
        pytest.param(9, None, 0.5, False, id="without an index"),
        pytest.param(0, 9, 0.5, False, id="not a long poll"),
    ],
)
def test_a_poll_is_abandoned(index, received, waited, expected):
    assert is_abandoned(index, received, waited=waited, wait=2.0) == expected


@pytest.mark.parametrize(
    ("size", "delay"),
    [
        pytest.param(4_000, 0.0, id="small"),
        pytest.param(400_000, 0.1, id="a list of ten thousand services"),
        pytest.param(8_000_000, 2.0, id="every check of a big cluster"),
    ],
)
def test_large_answers_are_paced_by_their_size(size, delay):
    assert PollPace(Pacing()).delay(0.0, is_news=True, size=size) == pytest.approx(delay)
