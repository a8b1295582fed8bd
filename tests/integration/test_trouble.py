"""Failures of one agent, and answers that no real Consul can be made to give: nginx's clients notice nothing.

Long form: `python -m bench.faults`.
"""

import pytest

from bench import faults

OPTIONS = faults.Options(pause=5.0, cut=3.0)


TROUBLES = (*faults.AGENT, *faults.ACCESS)


@pytest.mark.parametrize("trouble", [pytest.param(trouble, id=trouble.__name__) for trouble in TROUBLES])
def test_trouble_of_an_agent_never_reaches_nginx(trouble):
    (seen,) = faults.seen(trouble, OPTIONS)
    assert faults.verdict(seen) == []
    assert seen.requests > 20


@pytest.mark.parametrize("trouble", [pytest.param(trouble, id=trouble.__name__) for trouble in faults.MEDDLED])
def test_strange_answers_never_reach_nginx(trouble):
    (seen,) = faults.seen(trouble, OPTIONS)
    assert faults.verdict(seen) == []
    assert seen.requests > 20
