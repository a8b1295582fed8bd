"""What lint knows about a value without rendering: its type, the registered field that it came from, its escape.

Derived from the annotations of the model and the functions, so that it stays in step with them. Must not know scopes or
rules.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ctemplate.core.model import Service, Status
from ctemplate.queries.key import KeyText
from ctemplate.queries.kind import OwnText
from ctemplate.template.language.fields import FIELDS

ESCAPE_KINDS = frozenset({"quote", "comment", "token", "identifier"})
PLAIN_KINDS = frozenset({"address", "ip", "node_address", "node_ip", "status"})
"""Fields that are always valid tokens, whatever was registered."""

MADE_NUMBER = "number"
"""Stands for the filter that converted a registered text to a number."""

CLAIMS = frozenset({"claim", "listen_port"})
RETURNING = frozenset({"require"})
"""Functions that return their first argument."""

_GROUPING = {"by_tag": "tags", "by_meta": "meta", "by_port": "port"}
"""Filters that return pairs of a key and its items, with the field that the keys come from."""

_SUMMING = frozenset({"md5", "sha1", "sha256", "hmac_sha256"})
_KEEPING = frozenset(
    [
        "natural_sort",
        "sort",
        "unique",
        "reverse",
        "list",
        "select",
        "reject",
        "selectattr",
        "rejectattr",
        "default",
        "d",
    ]
)
_PICKING = frozenset({"first", "last", "min", "max"})
_NUMBERS = frozenset({"int", "float", "abs", "round", "sum"})
_CHANGING = frozenset(
    [
        "lower",
        "upper",
        "title",
        "capitalize",
        "trim",
        "replace",
        "truncate",
        "string",
        "indent",
        "center",
        "format",
        "regex_replace",
        "regex_search",
        "b64encode",
        "b64decode",
        "b64url_encode",
        "b64url_decode",
    ]
)
_SPLITTING = frozenset({"split", "rsplit", "splitlines", "partition", "rpartition"})
_TELLING = ("is", "starts", "ends", "find", "rfind", "index", "rindex", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueKind:
    """A value's type (``object`` if unknown), and for lists and mappings the type of their items.

    ``field`` is the registered field that the value came from, empty for any other value. ``is_whole`` means that the
    value still holds the whole field, so that equal values imply equal fields. ``escape`` is the filter that made it
    safe.
    """

    of: type = object
    items: ValueKind | None = None
    parts: tuple[ValueKind, ...] = ()
    field: str = ""
    is_whole: bool = False
    is_claimed: bool = False
    escape: str = ""

    @property
    def is_model(self) -> bool:
        """Return whether this is a service, an instance or a check."""
        return self.of in FIELDS

    @property
    def is_registered_text(self) -> bool:
        """Return whether a registrant chose this text, it is not escaped, and it is not certain to be a token."""
        return self.of is str and bool(self.field) and self.field not in PLAIN_KINDS and not self.escape

    @property
    def is_registered_number(self) -> bool:
        """Return whether this number was made from a registrant's text, rather than from a number in Consul's API."""
        return self.of is int and self.escape == MADE_NUMBER

    @property
    def fields(self) -> frozenset[str]:
        """Return the fields of a model's value that a template may read."""
        return FIELDS.get(self.of, frozenset()) | ({"listen_port"} if self.of is Service else set())


KEY_FIELD = "value of a key"
"""The field name for texts of the KV store, which belong to no service."""

UNKNOWN_KIND = ValueKind()
TEXT = ValueKind(of=str)
NUMBER = ValueKind(of=int)


def of_annotation(hint: Any, field: str = "") -> ValueKind:
    """Return the kind that an annotation describes; ``field`` is the model's field that holds the value."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in FIELDS:
        return ValueKind(of=hint)
    if hint is KeyText or KeyText in arguments:
        return ValueKind(of=str, field=KEY_FIELD, is_whole=True)
    if hint in {str, int, Status, OwnText}:
        field = "" if hint is OwnText else field
        return ValueKind(of=int if hint is int else str, field=field, is_whole=bool(field))
    if origin is tuple and arguments:
        return ValueKind(of=tuple, items=of_annotation(arguments[0], field))
    if origin is Mapping:
        key, value = (of_annotation(argument, field) for argument in arguments)
        return ValueKind(of=dict, items=value, parts=(key, value), field=field)
    return UNKNOWN_KIND


def of_field(kind: ValueKind, name: str) -> ValueKind:
    """Return the kind of a model's field."""
    if name == "listen_port" and kind.of is Service:
        return ValueKind(of=int, field=name, is_claimed=True)
    if isinstance(computed := getattr(kind.of, name, None), property) and kind.is_model:
        return of_annotation(typing.get_type_hints(computed.fget).get("return"), name)
    hints = typing.get_type_hints(kind.of) if kind.is_model else {}
    return of_annotation(hints[name], name) if name in hints else UNKNOWN_KIND


def of_result(function: Callable[..., Any]) -> ValueKind:
    """Return the kind of the result of a template function."""
    try:
        return of_annotation(typing.get_type_hints(function).get("return"))
    except (NameError, TypeError):
        return UNKNOWN_KIND


def of_method(kind: ValueKind, name: str) -> ValueKind:
    """Return the kind of the result of a method of a text or mapping."""
    if kind.of is dict and kind.parts:
        key, value = kind.parts
        found = {"keys": key, "values": value, "items": ValueKind(of=tuple, parts=kind.parts)}
        if name in found:
            return ValueKind(of=tuple, items=found[name], field=kind.field)
        return value if name == "get" else UNKNOWN_KIND
    if kind.of is not str or name.startswith(_TELLING):
        return UNKNOWN_KIND
    return ValueKind(of=tuple, items=_part(kind)) if name in _SPLITTING else _part(kind)


def of_filter(kind: ValueKind, name: str) -> ValueKind:
    """Return the kind of a filter's result."""
    if name in ESCAPE_KINDS:
        return replace(kind, of=str, escape=name, items=None, parts=())
    if name in _KEEPING:
        return kind
    if name in _NUMBERS:
        is_made = (kind.of is str and kind.field) or kind.is_registered_number
        return ValueKind(of=int, field=kind.field, is_claimed=kind.is_claimed, escape=MADE_NUMBER if is_made else "")
    if name in _SUMMING:
        return TEXT
    return _of_list_filter(kind, name) if kind.of is tuple else _of_single_filter(kind, name)


def _of_list_filter(kind: ValueKind, name: str) -> ValueKind:
    item = kind.items or UNKNOWN_KIND
    if name in _GROUPING:
        found = of_field(item, _GROUPING[name])
        return ValueKind(
            of=tuple, items=ValueKind(of=tuple, parts=(_part(found.items or found), ValueKind(of=tuple, items=item)))
        )
    return item if name in _PICKING else joined_kind([item]) if name == "join" else UNKNOWN_KIND


def _of_single_filter(kind: ValueKind, name: str) -> ValueKind:
    if kind.of is dict and name in {"dictsort", "items"}:
        return ValueKind(of=tuple, items=ValueKind(of=tuple, parts=kind.parts))
    return _part(kind) if kind.of is str and name in _CHANGING else UNKNOWN_KIND


def joined_kind(kinds: list[ValueKind]) -> ValueKind:
    """Return the kind of a concatenation: registered if any part is, whole if a single part is whole."""
    registered = [kind for kind in kinds if kind.field]
    if not registered:
        return TEXT if all(kind.of is not object for kind in kinds) else UNKNOWN_KIND
    first = next((kind for kind in registered if kind.is_registered_text), registered[0])
    is_whole = len(registered) == 1 and first.is_whole
    return replace(first, of=str, is_whole=is_whole, items=None, parts=())


def _part(kind: ValueKind) -> ValueKind:
    return replace(kind, is_whole=False, is_claimed=False, escape="")
