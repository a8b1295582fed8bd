"""The limits of a render: time, steps, output, and the size of single results.

A template, or a registered number, can ask for more than any machine has: nested loops, a text repeated a billion
times. Each such operation is measured here before it is done. Must not know Consul.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from itertools import chain, islice
from typing import Any

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.settings import RenderSection
from ctemplate.template.safety.registered_numbers import REGISTERED_NUMBERS, RegisteredRange

MAX_WIDTH = 10_000
"""The largest width, precision or count of one operation."""

MAX_TEXT = 16 * 1024 * 1024
"""Characters that one operation may build; a template's output has a limit of its own."""

MAX_ITEMS = 1_000_000
"""Items that one operation may build."""

MAX_BITS = 4096
MAX_SHOWN_BITS = 64
BATCH = 1000
_FORMAT_NUMBERS = lazy_pattern(r"\d{5,}")


class LimitExceeded(Exception):
    """A render asked for more than its limits allow."""


class Exhausted(LimitExceeded):
    """A render has used up a limit that all services share."""


class OutOfTime(Exhausted):
    """A render's time is over, perhaps because the machine was busy."""


TIME_CHECK: ContextVar[Callable[[], None]] = ContextVar("time_check", default=lambda: None)
"""Costly filters call this in their loops; it raises OutOfTime when their render's time is over."""


class RenderLimits(RenderSection, frozen=True, kw_only=True):
    """Bounds of one render of one template: seconds of its thread's CPU, loop steps, and bytes of output."""

    steps: int = 20_000_000


class Meter:
    """Measures one render against its limits."""

    __slots__ = ("_deadline", "_limits", "_loops", "_steps")

    def __init__(self, limits: RenderLimits) -> None:
        self._limits = limits
        self._deadline = time.thread_time() + limits.timeout
        self._steps = 0
        self._loops = 0

    def check_time(self) -> None:
        """Raise OutOfTime when the render's time is over. Time in which the process did not run does not count."""
        if time.thread_time() > self._deadline:
            raise OutOfTime(f"still rendering after {self._limits.timeout:g}s")

    def costly(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a filter; the time is checked before it and in its loops."""
        self.check_time()
        token = TIME_CHECK.set(self.check_time)
        try:
            return function(*args, **kwargs)
        finally:
            TIME_CHECK.reset(token)

    def check_output(self, size: int) -> None:
        """Raise Exhausted when that many bytes of output exceed the limit."""
        if size > self._limits.output_bytes:
            raise Exhausted(f"more than {self._limits.output_bytes} bytes of output")

    def call(self) -> None:
        """Count one call of a macro, function or method."""
        self._loops += 1
        if not self._loops & 0xFF:
            self.check_time()

    def paced(self, items: Iterable[Any]) -> Iterable[Any]:
        """Return the items of a loop, counted, so that an endless loop meets the limits."""
        self.call()
        if isinstance(items, tuple | list) and len(items) <= BATCH:
            self._count(len(items))
            return items
        return chain.from_iterable(self._batches(iter(items)))

    def _batches(self, items: Iterator[Any]) -> Iterator[Iterable[Any]]:
        for first in items:
            yield (first,)
            yield islice(items, BATCH - 1)
            self._count(BATCH)
            self.check_time()

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > self._limits.steps:
            raise Exhausted(f"more than {self._limits.steps} loop steps")


def check_binary(operator: str, left: Any, right: Any) -> None:
    """Raise LimitExceeded when ``left operator right`` would build too big a text, list or number."""
    if operator == "*":
        _check_product(left, right)
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_BITS:
            raise LimitExceeded("the number is too big")
    elif operator == "%" and isinstance(left, str):
        check_format(left)
    elif operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        check_length(left, len(left) + len(right))


def _check_product(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise LimitExceeded("the number is too big")
        return
    for items, times in ((left, right), (right, left)):
        if isinstance(items, str | list | tuple) and isinstance(times, int):
            check_length(items, len(items) * times)


def check_length(kind: object, length: int) -> None:
    """Raise LimitExceeded when a text (of characters) or a list (of items) of that length is too much."""
    if isinstance(kind, str):
        if length > MAX_TEXT:
            raise LimitExceeded(f"a text of more than {MAX_TEXT} characters")
    elif length > MAX_ITEMS:
        raise LimitExceeded(f"more than {MAX_ITEMS} items")


def check_format(text: str) -> None:
    """Raise LimitExceeded for a format, or a part of one, that asks for too wide a field."""
    if "*" in text and "%" in text:
        raise LimitExceeded("a width from an argument ('*') is not supported in a format")
    if _FORMAT_NUMBERS.search(text):
        raise LimitExceeded(f"a format's width is more than {MAX_WIDTH}")


def check_numbers(*numbers: object) -> None:
    """Raise LimitExceeded when a width, count or precision is too much for one operation."""
    for number in numbers:
        if isinstance(number, int) and abs(number) > MAX_WIDTH:
            shown = number if number.bit_length() <= MAX_SHOWN_BITS else "the number"
            raise LimitExceeded(f"{shown} is more than {MAX_WIDTH}")


def bounded_range(*bounds: int) -> range | RegisteredRange:
    """Return Python's ``range``, of a million numbers at most."""
    numbers = range(*bounds)
    if numbers and (numbers[-1] - numbers[0]) // numbers.step >= MAX_ITEMS:
        raise LimitExceeded(f"more than {MAX_ITEMS} items")
    # what counts from or to a registered number gives registered numbers
    return numbers if REGISTERED_NUMBERS.isdisjoint(map(type, bounds)) else RegisteredRange(numbers)
