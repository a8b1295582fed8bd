"""Registered values printed where they need an escape: one that is no plain token leaves its service out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ctemplate.lint.finding import Finding
from ctemplate.lint.kinds import PLAIN, Kind
from ctemplate.lint.reading import Reading
from ctemplate.lint.source import Source, start
from ctemplate.lint.text import Mode, Position, Text
from ctemplate.nginx.authority import CONNECTS, INNER, PASS

FREE = {"tags": "a tag", "meta": "a meta value", "node_meta": "a node's meta value"}
"""Fields that are free text by nature; names and ids are tokens as a rule."""

_BEFORE_PATH = re.compile(r"(?:[^\s/?]*://)?[^\s/?]*")


def prints(source: Source, reading: Reading, text: Text) -> Iterator[Finding]:
    """Yield prints that lack an escape, or have the wrong one for their place."""
    for printed in text.prints:
        kind, position = reading.kind(printed.node), printed.position
        found = _astray(kind, position) or _wrong(kind, position.mode)
        if found is not None:
            yield source.finding(start(printed.node), *found)


def _wrong(kind: Kind, mode: Mode) -> tuple[str, str] | None:
    """Return the code and the sentence for a print of that kind in that place."""
    if mode is Mode.QUOTED and kind.escape == "quote":
        return "CT402", "| quote brings its own quotes; drop those around it"
    if not kind.is_registered_text:
        return None
    what = FREE.get(kind.field, f"a registered {kind.field}")
    left_out = f"{what} that is no plain token leaves its service out"
    if mode is Mode.COMMENT:
        return "CT401", f"{left_out}; print it through | comment"
    if mode is Mode.QUOTED:
        return "CT402", f"{left_out}; drop the quotes and print it through | quote"
    if mode is Mode.BARE and kind.field in FREE:
        return "CT403", f"{left_out}; print it through | quote or | token"
    return None


def _astray(kind: Kind, position: Position) -> tuple[str, str] | None:
    """Return the code and the sentence for a print of that kind that chooses where nginx goes."""
    if kind.of is not str or not kind.field or kind.field in PLAIN or position.mode is not Mode.BARE:
        return None
    words = position.statement.split(maxsplit=1)
    name, target = words[0].encode() if words else b"", words[1] if words[1:] else ""
    is_server = name == b"server" and position.blocks[-1:] == ("upstream",)
    if name in INNER and name != b"try_files" and (not target or target[-1].isspace()):
        return "CT404", f"a registered {kind.field} may not begin where {name.decode()} goes; put a path before it"
    if PASS.fullmatch(name) and _BEFORE_PATH.fullmatch(target) and (kind.escape != "identifier" or not kind.is_whole):
        return (
            "CT404",
            f"a registered {kind.field} must name an upstream; print the upstream's name | identifier in both",
        )
    if (name in CONNECTS or is_server) and _BEFORE_PATH.fullmatch(target):
        return "CT404", f"a registered {kind.field} chooses a host; print an instance's address"
    return None
