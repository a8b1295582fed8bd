import pytest

from ctemplate.sources.consul.http.address_health import COOLDOWN, AddressHealth, FailoverLimiter


def judged(*events):
    """What a standing says of failures: `+a` is a good answer to a, `-a` a failure."""
    standing = AddressHealth()
    verdicts = []
    for event in events:
        if event[0] == "+":
            standing.answered(event[1:])
        else:
            verdicts.append(standing.failed(event[1:]))
    return verdicts


@pytest.mark.parametrize(
    ("events", "verdicts"),
    [
        pytest.param(["-a", "-b", "-c"], [False, False, True], id="several that never went well"),
        pytest.param(["+a", "+b", "+c", "-a", "-b", "-c"], [False, False, True], id="several that went well"),
        pytest.param(["-a", "-a", "-a"], [False, False, True], id="the only one"),
        pytest.param(["+a", "-a", "-a", "-a"], [False, False, True], id="the only one, that went well"),
        pytest.param(["+a", "+b", "-a", "-a", "-a", "-a"], [False] * 4, id="one of several"),
        pytest.param(["+a", "-b", "-c", "-d", "-e"], [False] * 4, id="what is denied for ever"),
        pytest.param(["+a", "+b", "+c", "-a", "-b", "+c", "-a"], [False] * 3, id="an answer between"),
    ],
)
def test_an_address_is_left_where_question_after_question_fails(events, verdicts):
    assert judged(*events) == verdicts


def test_all_addresses_are_tried_once_and_then_in_peace():
    tour = FailoverLimiter(3)
    assert [tour.may_turn(now) for now in (0.0, 1.0, 2.0, 1.0 + COOLDOWN, 2.0 + COOLDOWN)] == [
        True,
        True,
        False,
        True,
        True,
    ]
    tour.served()
    assert tour.may_turn(3.0 + COOLDOWN)
