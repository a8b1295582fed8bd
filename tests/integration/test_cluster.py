"""Elections, cut-off servers and lost majorities: nginx's clients notice none of them. Long form: `bench.faults`."""

import pytest
from harness.island import Island

from bench import faults

OPTIONS = faults.Options(times=1, cut=8.0)


@pytest.mark.parametrize("trouble", [pytest.param(trouble, id=trouble.__name__) for trouble in faults.CLUSTER])
def test_trouble_of_a_cluster_never_reaches_nginx(trouble):
    (seen,) = faults.seen(trouble, OPTIONS)
    assert faults.verdict(seen) == []
    assert seen.requests > 100


@pytest.mark.skipif(not Island.is_allowed(), reason="only root may make network namespaces")
@pytest.mark.parametrize("trouble", [pytest.param(trouble, id=trouble.__name__) for trouble in faults.CUT_OFF])
def test_a_server_without_the_others_never_reaches_nginx(trouble):
    (seen,) = faults.seen(trouble, OPTIONS)
    assert faults.verdict(seen) == []
    assert seen.requests > 100
