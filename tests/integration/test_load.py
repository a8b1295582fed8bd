"""Clients that send requests while nginx is reloaded: the short form of `python -m bench.reloads`."""

from bench.reloads import measured

RELOADS = 15
WORKERS = 2


def test_no_request_fails_that_nginx_did_not_drop(tmp_path):
    counts, _, reloads = measured(tmp_path, reloads=RELOADS, rate=200)
    assert reloads == RELOADS, "one change, one reload"
    assert {name: (count.failed, count.faults) for name, count in counts.items()} == {
        "no keep-alive": (0, []),
        "keep-alive": (0, []),
    }
    assert counts["no keep-alive"].dropped == 0
    # A kept connection is dropped by the worker that leaves; the next one may be taken by another that leaves, too.
    assert counts["keep-alive"].dropped <= WORKERS * RELOADS
    assert min(count.requests for count in counts.values()) > RELOADS
