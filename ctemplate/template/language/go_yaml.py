"""A filter that writes YAML as consul-template's ``toYAML`` does, for templates that ``ctemplate convert`` wrote.

Its library quotes a text that would be read as anything else, writes texts of several lines as blocks, and sorts keys
so that numbers in them count as numbers. Pure; must not know environments.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping
from functools import cmp_to_key
from typing import Any

import jinja2
import yaml as pyyaml

from ctemplate.core.go_numbers import go_float
from ctemplate.template.safety.tainted_text import text_of

_WORDS = frozenset(
    word
    for plain in ("y", "yes", "on", "true", "n", "no", "off", "false", "null")
    for word in (plain, plain.capitalize(), plain.upper())
) | frozenset(["", "~", ".nan", ".NaN", ".NAN"])
_INFINITY = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_WHOLE = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_BINARY = re.compile(r"[-+]?0b[-+]?[01]+|-0b[01]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt]|[ \t]+)\d{1,2}:\d{1,2}:\d{1,2}(?:\.\d*)?(?:Z|[ \t]*[-+]\d{2}(?::\d{2})?)?)?"
)
_HINTED = frozenset("+-.0123456789")
_WIDTH = 80
_RUN = re.compile("[0-9]*")
_TRAILING = re.compile("[0-9]+$")


def go_yaml_text(value: Any, *, whole: bool) -> str:
    """Write YAML in the layout of ``toYAML``; numbers of parsed JSON are floats, unless ``whole`` is given."""
    events = (
        pyyaml.StreamStartEvent(),
        pyyaml.DocumentStartEvent(explicit=False),
        *_events(value, whole=whole),
        pyyaml.DocumentEndEvent(explicit=False),
        pyyaml.StreamEndEvent(),
    )
    shown: str = pyyaml.emit(events, allow_unicode=True, width=_WIDTH)
    return shown.removesuffix("...\n").strip()


def _events(value: Any, *, whole: bool) -> Iterator[pyyaml.Event]:
    if isinstance(value, Mapping):
        yield pyyaml.MappingStartEvent(None, None, implicit=True, flow_style=False)
        for key in sorted(map(str, value), key=cmp_to_key(_order)):
            yield _text(key)
            yield from _events(value[key], whole=whole)
        yield pyyaml.MappingEndEvent()
    elif isinstance(value, list | tuple):
        yield pyyaml.SequenceStartEvent(None, None, implicit=True, flow_style=False)
        for item in value:
            yield from _events(item, whole=whole)
        yield pyyaml.SequenceEndEvent()
    else:
        yield _scalar(value, whole=whole)


def _scalar(value: Any, *, whole: bool) -> pyyaml.ScalarEvent:
    if value is None or isinstance(value, jinja2.Undefined):
        return _plain("null")
    if isinstance(value, bool):
        return _plain("true" if value else "false")
    if isinstance(value, float) or (isinstance(value, int) and not whole):
        return _plain(_number(float(value)))
    return _plain(str(value)) if isinstance(value, int) else _text(str(text_of(value)))


def _number(value: float) -> str:
    shown = go_float(value)
    return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(shown, shown)


def _plain(text: str) -> pyyaml.ScalarEvent:
    return pyyaml.ScalarEvent(None, None, (True, True), text)


def _text(text: str) -> pyyaml.ScalarEvent:
    style = "|" if "\n" in text else '"' if _is_other(text) else None
    return pyyaml.ScalarEvent(None, None, (True, True), text, style=style)


def _is_other(text: str) -> bool:
    """Return whether a text without quotes would be read as no text."""
    if text in _WORDS or _INFINITY.fullmatch(text) or _SEXAGESIMAL.fullmatch(text):
        return True
    if text[0] not in _HINTED:
        return False
    if text[0] == ".":
        return _is_float(text)
    digits = text.replace("_", "")
    if _WHOLE.fullmatch(digits) or _BINARY.fullmatch(digits) or _is_float(digits):
        return True
    date = _DATE.fullmatch(text)
    return date is not None and _is_date(*map(int, date.groups()))


def _is_float(text: str) -> bool:
    return _FLOAT.fullmatch(text) is not None and math.isfinite(float(text))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        dt.date(year or 1, month, day)
    except ValueError:
        return False
    return True


def _order(left: str, right: str) -> int:
    """Compare two keys at the first place where they differ: other characters before letters, numbers by value."""
    at = next((at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), None)
    if at is None:
        return len(left) - len(right)
    one, other = left[at], right[at]
    if one.isalpha() or other.isalpha():
        return ord(one) - ord(other) if one.isalpha() and other.isalpha() else (1 if one.isalpha() else -1)
    before = _started(left[:at]) if "0" in {one, other} else ""
    digits, others = _RUN.match(left, at)[0], _RUN.match(right, at)[0]  # type: ignore[index]  # matches anything
    numbers = int(f"{before}{digits or 0}"), int(f"{before}{others or 0}")
    if not (digits and others):
        numbers = int(digits or "0"), int(others or "0")
    return numbers[0] - numbers[1] or len(digits) - len(others) or ord(one) - ord(other)


def _started(before: str) -> str:
    """Return "1" after digits of which one is not zero, so that a zero after it counts."""
    run = _TRAILING.search(before)
    return "1" if run is not None and run[0].strip("0") else ""
