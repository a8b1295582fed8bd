"""Translate msgspec's errors to the operator's words: the key, and what is wrong with it. Pure.

Knows no configuration and no catalog, only the form of msgspec's sentences.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.lazy_pattern import lazy_pattern

TYPE_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
SHOWN_AT_MOST = 80  # characters of the value that was found
ANY_ENTRY = "[...]"
ENTRY_KINDS = 2  # of a mapping: its keys' type and its values'
NO_VALUE = object()

_HCL = lazy_pattern(r"""^\s*(?:[A-Za-z_]+\s+(?:"[^"\n]*"\s*)?\{|//|/\*)""", re.MULTILINE)
_PLACE = lazy_pattern(r" - at `(?:key in )?\$(?P<path>.*)`$")
_UNKNOWN = lazy_pattern(r"Object contains unknown field `(?P<key>.*)`$")
_MISSING = lazy_pattern(r"Object missing required field `(?P<key>.*)`$")
_EXPECTED = lazy_pattern(r"Expected `(?P<kinds>[^`]*)`(?: (?P<bound><=|>=) (?P<limit>\d+))?(?:, got `.*`)?$")
_STEP = lazy_pattern(r"([^.\[\]]+)|\[(\d+)\]")


def is_hcl(text: str, name: str) -> bool:
    """Return whether an unreadable file looks like HashiCorp's own configuration language."""
    return name.endswith((".hcl", ".tf", ".nomad")) or _HCL.search(text) is not None


def explained(
    error: msgspec.ValidationError, kind: Any, values: object, *, secret: tuple[str, ...] = ()
) -> tuple[str, str]:
    """Return the dotted path of the key with the error, and what is wrong with it.

    ``kind`` and ``values`` are the type and the data that msgspec got; a value under a ``secret`` key, or in place of a
    table that may hold one, is not shown.
    """
    message = str(error)
    place = _PLACE.search(message)
    path = _with_name(place["path"].lstrip("."), kind, values) if place else ""
    said = message[: place.start()] if place else message
    if unknown := _UNKNOWN.match(said):
        close = difflib.get_close_matches(unknown["key"], _fields(_kind_at(kind, path)), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{path}.{printable(unknown['key'], SHOWN_AT_MOST)}".lstrip("."), f"unknown key{hint}"
    if missing := _MISSING.match(said):
        return path, f"{missing['key']!r} is missing"
    found = "" if any(part in secret for part in path.split(".")) else _found(values, path, is_brief=bool(secret))
    if expected := _EXPECTED.match(said):
        if secret and expected["kinds"] == "object" and isinstance(_value_at(values, path), str):
            found = ", got text"
        return path, f"must be {_wanted(expected)}{found}"
    if said.startswith("Invalid enum value") and (choices := _choices(_kind_at(kind, path))):
        return path, f"must be {_either(choices)}{found}"
    return path, said[:1].lower() + said[1:] + (found if "got" not in said else "")


def _with_name(path: str, kind: Any, values: object) -> str:
    """Replace the ``[...]`` that msgspec writes for an entry of a mapping by the entry's name."""
    before, dots, after = path.partition(ANY_ENTRY)
    table, kinds = _value_at(values, before), get_args(_kind_at(kind, before))
    if not dots or not isinstance(table, Mapping) or len(kinds) != ENTRY_KINDS:
        return path
    for name, value in table.items():
        try:
            msgspec.convert(value, kinds[1])
        except msgspec.ValidationError:
            return f"{before}.{printable(name, SHOWN_AT_MOST)}{after}"
    return path


def _wanted(expected: re.Match[str]) -> str:
    kinds = [TYPE_WORDS.get(kind, kind) for kind in expected["kinds"].split(" | ") if kind != "null"]
    bound = {None: "", ">=": f" of at least {expected['limit']}", "<=": f" of at most {expected['limit']}"}
    return _either(kinds) + bound[expected["bound"]]


def _either(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _found(values: object, path: str, *, is_brief: bool) -> str:
    value = _value_at(values, path)
    if value is NO_VALUE:
        return ""
    return f", got {shown_found(value) if is_brief else printable(repr(value), SHOWN_AT_MOST)}"


def shown_found(value: object) -> str:
    """Return a value for an error message; of lists and tables, which may hold secrets, only their type."""
    if isinstance(value, Mapping):
        return "a table"
    return "a list" if isinstance(value, list | tuple) else printable(repr(value), SHOWN_AT_MOST)


def _value_at(values: object, path: str) -> object:
    for key, number in _STEP.findall(path):
        if number and isinstance(values, list | tuple) and int(number) < len(values):
            values = values[int(number)]
        elif key and isinstance(values, Mapping) and key in values:
            values = values[key]
        else:
            return NO_VALUE
    return values


def _kind_at(kind: Any, path: str) -> Any:
    """Return the type that is declared for the key at ``path``; None if no type is declared for it."""
    for key in re.sub(r"\[[^]]*\]", "", path).split("."):
        if key and get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif key:
            section = _section(kind)
            fields = msgspec.structs.fields(section) if section else ()
            kind = next((field.type for field in fields if field.encode_name == key), None)
    return kind


def _section(kind: Any) -> type[msgspec.Struct] | None:
    """Return the table in a type: the type itself, or the table inside a list or an optional."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for part in get_args(kind) if (found := _section(part)) is not None), None)


def _fields(kind: Any) -> list[str]:
    section = _section(kind)
    return [field.encode_name for field in msgspec.structs.fields(section)] if section else []


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [str(member.value) for member in kind]
    return [choice for part in get_args(kind) for choice in _choices(part)]
