import pytest

from ctemplate.core.durations import format_duration, parse_duration, parse_wait


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("250ms", 0.25, id="milliseconds"),
        pytest.param("5s", 5.0, id="seconds"),
        pytest.param("1m30s", 90.0, id="compound"),
        pytest.param("1.5h", 5400.0, id="fraction"),
        pytest.param("10us", 1e-5, id="microseconds"),
        pytest.param(" 2s ", 2.0, id="spaces-around"),
        pytest.param("0", 0.0, id="zero-needs-no-unit"),
    ],
)
def test_duration_is_read_as_go_writes_it(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("5", "needs a unit, got '5'; write 5s for seconds", id="no-unit"),
        pytest.param("", "must be a duration like 250ms, 5s or 1m30s, got ''", id="empty"),
        pytest.param("-5s", "must be a duration like 250ms, 5s or 1m30s, got '-5s'", id="negative"),
        pytest.param("5 s", "must be a duration like 250ms, 5s or 1m30s, got '5 s'", id="space-inside"),
        pytest.param("5d", "must be a duration like 250ms, 5s or 1m30s, got '5d'", id="unknown-unit"),
    ],
)
def test_malformed_duration_is_explained(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        parse_duration(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        pytest.param("100ms:2s", (0.1, 2.0), id="both"),
        pytest.param("1s", (1.0, 4.0), id="max-defaults-to-four-times-min"),
        pytest.param("0", (0.0, 0.0), id="none"),
        pytest.param("2s:2s", (2.0, 2.0), id="equal"),
    ],
)
def test_wait_is_min_and_max(text, wait):
    assert parse_wait(text) == pytest.approx(wait)


def test_wait_whose_max_is_below_min_is_refused():
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        parse_wait("10s:2s")
    assert str(caught.value) == "max must be at least min (10s), got '2s'"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "100ms"), (1.0, "1s"), (1.25, "1.2s"), (59.94, "59.9s"), (60, "1m"), (125, "2m5s"), (3600, "1h")],
)
def test_seconds_are_shown_as_operators_write_them(seconds, text):
    assert format_duration(seconds) == text
