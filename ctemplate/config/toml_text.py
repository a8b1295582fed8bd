"""Write a configuration as TOML for people to keep: tables in order, each comment above its key. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_LINES = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f]*")  # the characters that a multi-line literal string may contain


def toml_text(values: Mapping[str, Any], comments: Mapping[str, Sequence[str]]) -> str:
    """Return a configuration as TOML.

    ``comments`` maps a dotted path to the lines above it; comments of inner keys stand above the outer key, and
    comments of absent keys stand at the end.
    """
    return "\n".join(_TomlWriter(comments).blocks(values))


class _TomlWriter:
    def __init__(self, comments: Mapping[str, Sequence[str]]) -> None:
        self._left = dict(comments)

    def blocks(self, values: Mapping[str, Any]) -> Iterator[str]:
        """Yield the root keys, then each table."""
        tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
        lists = {key: value for key, value in values.items() if _is_tables(value)}
        plain = {key: value for key, value in values.items() if key not in tables and key not in lists}
        if plain:
            yield self._keys(plain, "")
        for key, table in tables.items():
            yield self._table(f"[{_key(key)}]", table, key)
        for key, entries in lists.items():
            for number, table in enumerate(entries):
                yield self._table(f"[[{_key(key)}]]", table, f"{key}[{number}]")
        if self._left:
            yield "".join(_comment(line) for lines in self._left.values() for line in lines)

    def _table(self, head: str, table: Mapping[str, Any], path: str) -> str:
        keys = self._keys(table, f"{path}.")
        return self._comments(path) + f"{head}\n{keys}"

    def _keys(self, values: Mapping[str, Any], place: str) -> str:
        return "".join(
            f"{self._comments(f'{place}{key}')}{_key(key)} = {_value(value)}\n" for key, value in values.items()
        )

    def _comments(self, path: str) -> str:
        """Remove and return the comments of a path and of all paths below it."""
        mine = [each for each in self._left if each == path or each.startswith(f"{path}.")]
        return "".join(_comment(line) for each in mine for line in self._left.pop(each))


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _comment(line: str) -> str:
    return f"# {line}".rstrip() + "\n"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _quoted(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_value(inner)}' for key, inner in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def _text(text: str) -> str:
    """Return a quoted string; a multi-line text becomes a literal string if TOML allows it."""
    if "\n" in text and "'''" not in text and not text.endswith("'") and _PLAIN_LINES.fullmatch(text):
        return f"'''\n{text}'''"
    return _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
