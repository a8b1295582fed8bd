"""Filters that print and list values as Go does, for templates that ``ctemplate convert`` wrote.

In Go, numbers of parsed JSON are floats, a missing value prints ``<no value>``, and tables are ordered by their keys.
Pure; must not know environments.
"""

from __future__ import annotations

import json as standard_json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jinja2

from ctemplate.core.go_numbers import go_float, go_json_float
from ctemplate.template.safety.tainted_text import text_of

_MIDDLE = frozenset("'.:\u00b7\u2018\u2019\u2024\u2027\ufe13")
_JOINING = frozenset(["Pc", "Cf"])
_ESCAPED = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\"}
_HTML = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"})
_SEPARATORS = str.maketrans({"\u2028": r"\u2028", "\u2029": r"\u2029"})
_SHORT_CODES, _LONG_CODES = 0x80, 0x10000


def go_text(value: Any, whole: bool = False) -> str:  # noqa: FBT001, FBT002  # templates write whole=true
    """Print in Go's form: numbers of parsed JSON as floats; with ``whole``, for YAML, whole numbers unchanged."""
    return _shown(value, whole=whole, nothing="<no value>")


def _shown(value: Any, *, whole: bool, nothing: str) -> str:
    if value is None or isinstance(value, jinja2.Undefined):
        return nothing
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) or (isinstance(value, int) and not whole):
        return go_float(value)
    if isinstance(value, Mapping):
        items = (f"{key}:{_shown(value[key], whole=whole, nothing='<nil>')}" for key in sorted(value))
        return f"map[{' '.join(items)}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(_shown(item, whole=whole, nothing='<nil>') for item in value)}]"
    return str(text_of(value))


def go_items(value: Any) -> list[tuple[Any, Any]]:
    """Return a table's keys and values in key order, or a list's indexes and items; nothing for no value."""
    if isinstance(value, Mapping):
        return sorted(value.items(), key=lambda item: str(item[0]))
    return list(enumerate(_listed(value)))


def go_values(value: Any) -> list[Any]:
    """Return a table's values in the order of its keys, or the items of a list; nothing for no value."""
    return [item for _, item in go_items(value)]


def _listed(value: Any) -> Iterable[Any]:
    if value is None or isinstance(value, jinja2.Undefined):
        return ()
    if isinstance(value, str | int | float):
        raise TypeError(f"a {type(value).__name__} cannot be ranged over")
    return value  # type: ignore[no-any-return]


def go_json(value: Any, indent: int | None = None, html: bool = True) -> str:  # noqa: FBT001, FBT002  # templates write html=false
    """Return the value as JSON in Go's form: without blanks, keys sorted, ``<``, ``>`` and ``&`` escaped."""
    return _json(value, None if indent is None else "\n", " " * (indent or 0), html=html)


def _json(value: Any, line: str | None, step: str, *, html: bool) -> str:
    """Return the value as JSON; ``line`` begins a new line of the value's own level."""
    if isinstance(value, Mapping):
        colon = ":" if line is None else ": "
        parts = [
            f"{_json_text(str(key), html=html)}{colon}{_json(value[key], _deeper(line, step), step, html=html)}"
            for key in sorted(value, key=str)
        ]
        return _enclosed("{}", parts, line, step)
    if isinstance(value, list | tuple):
        return _enclosed("[]", [_json(item, _deeper(line, step), step, html=html) for item in value], line, step)
    if value is None or isinstance(value, jinja2.Undefined):
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_json_float(value)
    return str(value) if isinstance(value, int) else _json_text(str(text_of(value)), html=html)


def _deeper(line: str | None, step: str) -> str | None:
    return None if line is None else line + step


def _enclosed(marks: str, parts: list[str], line: str | None, step: str) -> str:
    start, end = marks[0], marks[1]
    if not parts:
        return marks
    if line is None:
        return f"{start}{','.join(parts)}{end}"
    deeper = line + step
    return f"{start}{deeper}{f',{deeper}'.join(parts)}{line}{end}"


def _json_text(text: str, *, html: bool) -> str:
    shown = standard_json.dumps(text, ensure_ascii=False)
    return shown.translate(_HTML if html else _SEPARATORS)


def go_quote(value: Any) -> str:
    """Return the text in double quotes as Go's ``%q`` writes it."""
    return f'"{"".join(map(_quoted, str(text_of(value))))}"'


def _quoted(char: str) -> str:
    if char == '"' or char in _ESCAPED:
        return _ESCAPED.get(char, '\\"')
    code = ord(char)
    if char.isprintable():
        return char
    return f"\\x{code:02x}" if code < _SHORT_CODES else f"\\u{code:04x}" if code < _LONG_CODES else f"\\U{code:08x}"


def go_title(value: Any) -> str:
    """Capitalise the first letter of each word, and leave the rest unchanged."""
    shown, is_inside, was_middle = [], False, False
    for char in str(text_of(value)):
        is_middle = char in _MIDDLE
        is_inside = is_inside and not (is_middle and was_middle)
        is_cased = char.lower() != char.upper()
        shown.append(char.title() if is_cased and not is_inside else char)
        is_inside = is_cased or (is_inside and (is_middle or _continues(char)))
        was_middle = is_middle
    return "".join(shown)


def _continues(char: str) -> bool:
    """Return whether a character without case is part of a word: a digit, a mark, an underscore, another script."""
    return char == "_" or unicodedata.category(char)[0] in "LMN" or unicodedata.category(char) in _JOINING


def go_length(value: Any) -> int:
    """Return how many bytes a text has, or how many items any other value has."""
    return len(str(text_of(value)).encode("utf-8", "surrogatepass")) if isinstance(value, str) else len(value)


GO_FILTERS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (go_items, go_json, go_length, go_quote, go_text, go_title, go_values)
}
"""The filters by their names."""
