"""Filters that calculate as Go does, and parse numbers and booleans. Pure."""

from __future__ import annotations

from typing import Any

from ctemplate.template.safety.tainted_text import text_of

_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "n", "no", "off", ""})


def divide(value: Any, by: Any) -> Any:
    """Divide; whole numbers give a whole number, truncated towards zero: -7 by 2 is -3, where ``//`` gives -4."""
    left, right = _numbers("divide", value, by)
    if isinstance(left, float) or isinstance(right, float):
        return left / right
    whole = abs(left) // abs(right)
    return whole if (left < 0) == (right < 0) else -whole


def modulo(value: Any, by: Any) -> Any:
    """Return the remainder of a division, with the sign of the dividend: of -7 by 2 it is -1, where ``%`` gives 1."""
    left, right = _numbers("modulo", value, by)
    if isinstance(left, float) or isinstance(right, float):
        raise TypeError("modulo: whole numbers only; write | int")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def _numbers(name: str, value: Any, by: Any) -> tuple[Any, Any]:
    for number in (value, by):
        if not isinstance(number, int | float):
            raise TypeError(f"{name}: {text_of(number)!r} is no number; write | int")
    if not by:
        raise ValueError(f"{name}: by zero")
    return value, by


def bool_(value: Any, default: bool = False) -> bool:  # noqa: FBT001, FBT002  # templates write bool(true)
    """Parse a boolean: 1, t, true, y, yes, on and 0, f, false, n, no, off in any case; otherwise use the default."""
    if isinstance(value, bool | int | float):
        return bool(value)
    word = str(text_of(value)).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else default
