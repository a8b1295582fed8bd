import pytest
from hypothesis import given, strategies as st

from ctemplate.core.timing import LONGEST_GAP, READ_EVERY, Backoff, Debounce, RunningClock, TokenBucket, Wait, jittered


@pytest.mark.parametrize(
    ("failures", "draw", "delay"),
    [
        pytest.param(1, 0.0, 0.5, id="first-lowest"),
        pytest.param(1, 0.999999, 1.0, id="first-highest"),
        pytest.param(4, 0.0, 4.0, id="doubles"),
        pytest.param(5000, 0.0, 5.0, id="never-above-the-ceiling"),
    ],
)
def test_backoff_doubles_with_jitter_up_to_its_ceiling(failures, draw, delay):
    assert Backoff(first=1.0, ceiling=10.0).delay(failures, draw=draw) == pytest.approx(delay, rel=1e-4)


@given(st.integers(min_value=-3, max_value=10_000))
def test_backoff_is_never_zero_and_never_above_the_ceiling(failures):
    assert 0 < Backoff().delay(failures) <= 60.0


@pytest.mark.parametrize(("draw", "delay"), [(0.0, 10.0), (0.5, 9.5), (1.0, 9.0)])
def test_an_interval_is_up_to_a_tenth_shorter(draw, delay):
    assert jittered(10.0, draw) == pytest.approx(delay)


def test_debounce_without_a_change_is_never_due():
    debounce = Debounce(wait=Wait())
    assert (debounce.due_at(), debounce.take(1e9)) == (None, False)


def test_debounce_is_due_after_quiet():
    debounce = Debounce(wait=Wait(min=1.0, max=10.0))
    debounce.note(0.0)
    debounce.note(0.5)
    assert (debounce.take(1.4), debounce.take(1.5), debounce.is_pending) == (False, True, False)


def test_debounce_steady_stream_is_capped():
    debounce = Debounce(wait=Wait(min=1.0, max=3.0))
    for tenth in range(100):
        debounce.note(tenth / 10)
    assert debounce.due_at() == 3.0


@given(st.lists(st.floats(min_value=0, max_value=50), min_size=1, max_size=30))
def test_debounce_never_loses_a_change_and_never_waits_longer_than_max(moments):
    debounce = Debounce(wait=Wait(min=1.0, max=4.0))
    first, runs = None, 0
    for now in sorted(moments):
        if debounce.take(now):
            runs, first = runs + 1, None
        debounce.note(now)
        first = now if first is None else first
        assert now <= debounce.due_at() <= first + 4.0 or debounce.due_at() <= now
    assert debounce.take(max(moments) + 4.0)
    assert not debounce.is_pending


def test_token_bucket_lets_a_burst_through_then_spaces_events():
    bucket = TokenBucket(interval=2.0, burst=2)
    assert [bucket.delay(0.0) for _ in range(4)] == [0.0, 0.0, 2.0, 4.0]


def test_token_bucket_fills_again_but_not_beyond_its_burst():
    bucket = TokenBucket(interval=1.0, burst=2)
    bucket.delay(0.0)
    assert [bucket.delay(100.0) for _ in range(3)] == [0.0, 0.0, 1.0]


def test_token_bucket_without_an_interval_never_delays():
    assert TokenBucket(interval=0.0).delay(0.0) == 0.0


@pytest.mark.parametrize(
    ("moments", "seconds"),
    [
        pytest.param([100.0], 0.0, id="once"),
        pytest.param([100.0, 104.0, 109.0], 9.0, id="runs"),
        pytest.param([100.0, 100.0 + LONGEST_GAP], LONGEST_GAP, id="slow"),
        pytest.param([100.0, 101.0, 401.0, 402.0], 2.0 + READ_EVERY, id="stopped"),
        pytest.param([100.0, 400.0, 700.0], 2 * READ_EVERY, id="stopped twice"),
    ],
)
def test_a_running_clock_stands_still_while_the_process_does(moments, seconds):
    now = iter(moments)
    clock = RunningClock(clock=lambda: next(now))
    read = [clock() for _ in moments]
    assert read == sorted(read)
    assert read[-1] - read[0] == seconds
