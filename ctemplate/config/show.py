"""The merged configuration as TOML, each value with the place that set it; secrets are masked. Pure.

The output can be read again as one file with the same options, except for masked values.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ctemplate.config.keys import as_written
from ctemplate.config.layers import APPENDED, SECRET_KEYS, Layer, build
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.section import Section

SHOWN_INSTEAD = "(masked)"
DEFAULT_PLACE = "default"
PLACE_COLUMN = 56  # characters before the comment with a value's place
SECRET_NAMES = lazy_pattern(r"pass|secret|token|credential|private|api_?key", re.IGNORECASE)
"""Names of the operator's own variables whose values are masked."""

NOTHING: tuple[object, ...] = (None, "", ())
"""Values that stand for an option that is not set."""

_Step = str | int
_Path = tuple[_Step, ...]
_BARE = lazy_pattern(r"[A-Za-z0-9_-]+")
_USER = lazy_pattern(r"(?<=://)[^/@]*(?=@)")


def shown_config(layers: Sequence[Layer]) -> Iterator[str]:
    """Yield the lines of the configuration that results from the layers; raises ConfigError."""
    yield from _table(build(layers), (), "", _Places(layers))


class _Places:
    """Finds where a value was written: the highest layer that has it."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers

    def of(self, path: _Path) -> str:
        """Return the file, variable or option that set a merged value."""
        if path[0] in APPENDED:
            layer, path = self._entry(path)
            return _named(layer, path) if _has(layer.values, path) else DEFAULT_PLACE
        found = (layer for layer in reversed(self._layers) if _has(layer.values, path))
        return next((_named(layer, path) for layer in found), DEFAULT_PLACE)

    def _entry(self, path: _Path) -> tuple[Layer, _Path]:
        """Return the layer that an entry of a list comes from, and its path in that layer."""
        key, number, *rest = path
        left = int(number)
        for layer in self._layers:
            count = len(layer.values.get(str(key), ()))
            if left < count:
                return layer, (key, left, *rest)
            left -= count
        raise IndexError(path)


def _has(values: Any, path: _Path) -> bool:
    for step in path:
        if isinstance(step, int) or (isinstance(values, Mapping) and step in values):
            values = values[step]
        else:
            return False
    return True


def _named(layer: Layer, path: _Path) -> str:
    """Return the operator's word for a place: the name of the key, of its table, or of the layer."""
    for length in range(len(path), 0, -1):
        if (name := layer.names.get(_dotted(path[:length]))) is not None:
            return name
    return layer.where


def _dotted(path: _Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _table(section: Section, path: _Path, header: str, places: _Places) -> Iterator[str]:
    """Yield a table: its own values first, then its subtables."""
    names = zip(section.__struct_encode_fields__, section.__struct_fields__, strict=True)
    values = {key: getattr(section, name) for key, name in names}
    tables = {key: value for key, value in values.items() if _holds_tables(value)}
    yield from (
        _line(key, value, (*path, key), places)
        for key, value in values.items()
        if key not in tables and value not in NOTHING
    )
    for key, value in tables.items():
        yield from _inner(value, (*path, key), f"{header}.{key}".lstrip("."), places)


def _holds_tables(value: object) -> bool:
    entries = value if isinstance(value, tuple) else (value,)
    return isinstance(value, Mapping) or any(isinstance(each, Section) for each in entries)


def _inner(value: Any, path: _Path, header: str, places: _Places) -> Iterator[str]:
    """Yield a subtable, each table of a list, or each of the tables that the operator names."""
    if isinstance(value, tuple):
        for number, entry in enumerate(value):
            yield from ("", f"[[{header}]]")
            yield from _table(entry, (*path, number), header, places)
    elif isinstance(value, Section):
        yield from ("", f"[{header}]")
        yield from _table(value, path, header, places)
    elif path == ("vars",):
        yield from ("", f"[{header}]") if value else ()
        yield from (_line(name, inner, (*path, name), places) for name, inner in value.items())
    else:
        for name, entry in value.items():
            yield from _inner(entry, (*path, name), f"{header}.{_key(name)}", places)


def _line(key: str, value: Any, path: _Path, places: _Places) -> str:
    is_secret = SECRET_NAMES.search(key) if path[0] == "vars" else key in SECRET_KEYS
    written = SHOWN_INSTEAD if is_secret else as_written(value)
    if path[-2:] == ("env", "custom"):
        written = [_masked_assignment(entry) for entry in written]
    text = f"{_key(key)} = {_value(written)}"
    return f"{text:<{PLACE_COLUMN}}  # {places.of(path)}"


def _masked_assignment(entry: str) -> str:
    """Return ``NAME=VALUE``, with the value masked if the name looks like a secret's."""
    name, equals, _ = entry.partition("=")
    return f"{name}={SHOWN_INSTEAD}" if equals and SECRET_NAMES.search(name) else entry


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    return json.dumps(_USER.sub(SHOWN_INSTEAD, text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    """Return a value in TOML, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(str(name))} = {_value(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return _text(str(value))
