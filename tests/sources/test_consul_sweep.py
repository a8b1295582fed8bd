"""The paced sweep of queries that no sentinel watches."""

import pytest

from ctemplate.queries import ServiceQuery
from ctemplate.sources.consul.watching.sweep import Sweep, SweepPace

PACE = SweepPace()
STEP = 0.002  # seconds


def longest_wait(queries, hinted_until):
    """Run a sweep at leisure and return the longest time between two reads of one query."""
    sweep, now, longest, read_at = Sweep(PACE), 0.0, 0.0, {}
    for number in range(queries):
        sweep.mark_read(ServiceQuery(name=f"s{number}"), now)
        read_at[ServiceQuery(name=f"s{number}")] = now
    while now < hinted_until:
        sweep.hint(now)
        query = sweep.take(now)
        if query is None:
            now += STEP
            continue
        longest = max(longest, now - read_at[query])
        read_at[query] = now
    return longest


@pytest.mark.parametrize("queries", [1, 2, 15, 16, 17, 31, 32, 33, 100, 500, 2000])
def test_at_leisure_every_query_is_read_within_the_time_of_a_round(queries):
    limit = min(queries * 1.0, max(PACE.leisure, queries / PACE.leisure_rate))
    assert 0 < longest_wait(queries, 5 * PACE.leisure) < 1.1 * limit
