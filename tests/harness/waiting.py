"""Wait for a condition with a time limit, and report what was missing."""

import time
from collections.abc import Callable
from typing import TypeVar

PAUSE = 0.02
PATIENCE = 60.0
"""Seconds that nothing takes on any machine, however busy: no wait that is to succeed is given up before."""

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T], timeout: float, what: str, *, log: Callable[[], str] = str, exactly: bool = False
) -> T:
    """Return the condition's first true value; fail with `what` and the log's tail after `timeout` seconds.

    With `exactly` not later than that, where the condition is expected to stay false; else not before PATIENCE. The
    condition is asked at least once, and once more after the time is up.
    """
    timeout = timeout if exactly else max(timeout, PATIENCE)
    deadline = time.monotonic() + timeout
    while True:
        is_last = time.monotonic() >= deadline
        value = condition()
        if value:
            return value
        if is_last:
            message = f"no {what} within {timeout:g}s; last seen: {value!r}\n{tail(log())}"
            raise AssertionError(message)
        time.sleep(PAUSE)


def tail(text: str, lines: int = 30) -> str:
    """Return the last lines of a log, indented."""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
