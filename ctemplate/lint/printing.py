"""Registered values printed where they need an escape: one that is no plain token leaves its service out."""

from __future__ import annotations

from collections.abc import Iterator

from ctemplate.lint.finding import Finding
from ctemplate.lint.kinds import Kind
from ctemplate.lint.reading import Reading
from ctemplate.lint.source import Source, start
from ctemplate.lint.text import Mode, Text

FREE = {"tags": "a tag", "meta": "a meta value", "node_meta": "a node's meta value"}
"""Fields that are free text by nature; names and ids are tokens as a rule."""


def prints(source: Source, reading: Reading, text: Text) -> Iterator[Finding]:
    """Yield prints that lack an escape, or have the wrong one for their place."""
    for printed in text.prints:
        found = _wrong(reading.kind(printed.node), printed.position.mode)
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
