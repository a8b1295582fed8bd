"""Waiting for a condition with a limit, and saying what was missing."""

import time
from collections.abc import Callable
from typing import TypeVar

PAUSE = 0.02

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout: float, what: str, *, log: Callable[[], str] = str) -> T:
    """Return the condition's first true value; fail with `what` and the log's tail after `timeout` seconds.

    The condition is asked at least once, and once more after the time is up.
    """
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
