"""What a change of a group's files means to nginx's traffic: its upstreams, servers, listeners and includes.

Each file is read separately, before and after; files that were not replaced mean the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ctemplate.apply.group import LiveChange
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import Directive, parse_config
from ctemplate.nginx.language.semantic_diff import Changes, changes, meaning

CHANGE_LIMIT_BYTES = 4 * 2**20  # before and after together; reading more takes a second


def traffic_changes(change: LiveChange) -> Changes | None:
    """Return what differs for traffic; None for a text that is not nginx's language, or too large to read meanwhile."""
    size = sum(len(content or b"") for content in (*change.before.values(), *change.after.values()))
    if size > CHANGE_LIMIT_BYTES:
        return None
    try:
        old = meaning([each for part in _parsed(change.before) for each in part])
        new = meaning([each for part in _parsed(change.after) for each in part])
    except NginxSyntaxError:
        return None
    return changes(old, new)


def _parsed(contents: Mapping[Path, bytes | None] | Mapping[Path, bytes]) -> list[tuple[Directive, ...]]:
    return [parse_config(content or b"", where=str(path)) for path, content in contents.items()]
