"""Which lines of a text a program's message is about, and where the template has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.runtime.outputs import FileSpan
from ctemplate.system.inputs import real_path
from ctemplate.template import Renderer

STATEMENT = 50
"""Lines, at most, of a directive that a program names by its last one."""

_PLACE = lazy_pattern(r"(?<![^\s\"'(])([^\s\"'():]*[^\s\"'()]*?):(\d+)")


def statement(text: str, last: int) -> tuple[int, ...]:
    """Return the lines (from 1) of the directive that ends in a line of a text, last first."""
    lines = text.split("\n")[:last]
    found = [last]
    for number in range(last - 1, max(last - STATEMENT, 0), -1):
        before = lines[number - 1].strip()
        if before.startswith("#"):
            continue
        if before.endswith((";", "{", "}")):
            break
        found.append(number)
    return tuple(found)


def holding(text: str, word: str) -> tuple[int, ...]:
    """Return the lines (from 1) of a text that hold a word that a program quotes."""
    return tuple(number for number, line in enumerate(text.split("\n"), 1) if word in line)


def listening(text: str, port: str) -> tuple[int, ...]:
    """Return the lines (from 1) of a text that listen on a port."""
    listens = re.compile(rf"(?:^|[\s;{{])listen\s+(?:\S*:)?{port}[\s;]")
    return tuple(number for number, line in enumerate(text.split("\n"), 1) if listens.search(line))


def with_origin(line: str, spans: Sequence[FileSpan], renderer: Renderer) -> str:
    """Add the template's line to a program's line that names one of the files: ``… in FILE:14 (T:9)``."""
    for span in spans:
        found = place(line, span.path)
        origin = renderer.origin(span.number, found + span.lines_before) if found else None
        if origin:
            return line if line.endswith(f" ({origin})") else f"{line} ({origin})"
    return line


def place(text: str, path: Path) -> int | None:
    """Return the line number that follows the path in a text, in any of the ways that the path may be written."""
    own = {str(path), str(path.absolute()), str(real_path(path))}
    for found in _PLACE.finditer(text):
        named = found[1].removeprefix("[")
        if named in own or str(real_path(Path(named))) in own:
            return int(found[2])
    return None
