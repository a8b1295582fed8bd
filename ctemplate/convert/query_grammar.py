"""Parse consul-template's dotted names: ``tag.name?params@dc~near|filter``.

Follows dependency/dependency.go and its users. Must not know templates.
https://github.com/hashicorp/consul-template/blob/main/docs/templating-language.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

QUERY_STATES = frozenset(["any", "passing", "warning", "critical", "maintenance"])
_SCOPES = frozenset(["ns", "peer", "partition", "sameness-group"])

_PARAMS = r"(?:\?(?P<params>[\w\-=&]+))?"
_DC = r"(?:@(?P<dc>[\w.\-]+))?"
_NEAR = r"(?:~(?P<near>[\w.\-]+))?"
_FILTER = r"(?:\|(?P<filter>[\w,]+))?"
_GRAMMARS = {
    "service": (
        rf"(?:(?P<tag>[\w=:.\-]+)\.)?(?P<name>[\w\-]+){_PARAMS}{_DC}{_NEAR}{_FILTER}",
        "tag.name?ns=…@dc~near|status",
    ),
    "peerings": (_PARAMS, "?partition=…"),
    "services": (rf"{_PARAMS}{_DC}", "?ns=…@dc"),
    "nodes": (rf"{_PARAMS}{_DC}{_NEAR}", "?partition=…@dc~near"),
    "node": (rf"(?:(?P<name>[\w.\-]+){_PARAMS}{_DC})?", "name?partition=…@dc"),
    "key": (rf"/?(?P<name>[^@?]+){_PARAMS}{_DC}", "path?ns=…@dc"),
}
_PATTERNS = {kind: (re.compile(pattern, re.ASCII), form) for kind, (pattern, form) in _GRAMMARS.items()}
_KINDS = {"connect": "service"} | dict.fromkeys(
    ["keyExists", "keyOrDefault", "ls", "tree", "safeLs", "safeTree"], "key"
)


class QueryError(ValueError):
    """consul-template refuses this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedQuery:
    """The query that a name describes; missing parts are empty. ``statuses`` are sorted, by default ``passing``."""

    name: str = ""
    tag: str = ""
    dc: str = ""
    near: str = ""
    ns: str = ""
    partition: str = ""
    peer: str = ""
    sameness_group: str = ""
    statuses: tuple[str, ...] = ()


def parse_query(function: str, text: str) -> NamedQuery | None:
    """Return the query of a function's name, or None for an empty name, which has no result; raises QueryError."""
    kind = _KINDS.get(function, function)
    if not text and kind in {"service", "key"}:
        return None
    pattern, form = _PATTERNS[kind]
    match = pattern.fullmatch(text)
    if match is None:
        raise QueryError(f"{function}: {text!r} is not of the form {form}")
    found = {name: value for name, value in match.groupdict().items() if value}
    statuses = _statuses(found.pop("filter", ""), text) if kind == "service" else ()
    return NamedQuery(**_scope(found.pop("params", ""), text), **found, statuses=statuses)


def _statuses(words: str, text: str) -> tuple[str, ...]:
    if not words:
        return ("passing",)
    named = {word for word in words.split(",") if word}
    unknown = sorted(named - QUERY_STATES)
    if unknown:
        raise QueryError(f"unknown status {unknown[0]!r} in {text!r}; known: {', '.join(sorted(QUERY_STATES))}")
    return tuple(sorted(named))


def _scope(params: str, text: str) -> dict[str, str]:
    """Return the parameters after ``?``; of a repeated parameter, the first."""
    found: dict[str, str] = {}
    for param in params.split("&"):
        key, _, value = param.partition("=")
        if not param:
            continue
        if key not in _SCOPES:
            raise QueryError(f"unknown parameter {key!r} in {text!r}; known: {', '.join(sorted(_SCOPES))}")
        found.setdefault(key.replace("-", "_"), value)
    if found.get("peer") and found.get("sameness_group"):
        raise QueryError(f"peer and sameness-group exclude each other in {text!r}")
    return found
