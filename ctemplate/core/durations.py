"""Durations, sizes and shares as operators write them: ``250ms``, ``1m30s``, ``50%``. Pure."""

from __future__ import annotations

import re

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


class Duration(float):
    """Seconds, written in a file or an option as a Go-style duration."""


class Share(float):
    """A part of the whole, 0 to 1, written in a file as ``50%`` or as ``0.5``."""


def parse_share(value: object) -> Share:
    """Return a share written as ``"50%"`` or as a number from 0 to 1; raises ValueError with a sentence."""
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1 or isinstance(value, bool):
        raise ValueError(f"must be a share like '50%' or 0.5, got {value!r}")
    return Share(share)


def parse_duration(text: str) -> Duration:
    """Return the seconds of a duration like ``250ms``, ``5s`` or ``1m30s``; plain ``0`` needs no unit.

    Raises ValueError with a sentence for the operator.
    """
    text = text.strip()
    if text == "0":
        return Duration(0.0)
    if _WHOLE.fullmatch(text) is None:
        found = f"got {text!r}"
        if re.fullmatch(r"\d+(\.\d+)?", text):
            raise ValueError(f"needs a unit, {found}; write {text}s for seconds")
        raise ValueError(f"must be a duration like 250ms, 5s or 1m30s, {found}")
    return Duration(sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text)))


def parse_wait(text: str) -> tuple[Duration, Duration]:
    """Return ``(min, max)`` of ``MIN[:MAX]``; the default for MAX is four times MIN.

    Raises ValueError with a sentence for the operator.
    """
    first, colon, second = text.partition(":")
    low = parse_duration(first)
    high = parse_duration(second) if colon else Duration(4 * low)
    if high < low:
        raise ValueError(f"max must be at least min ({first.strip()}), got {second.strip()!r}")
    return low, high


def format_duration(seconds: float) -> str:
    """Show seconds the way operators write them: ``250ms``, ``1.5s``, ``2m5s``, ``1h``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if number)
