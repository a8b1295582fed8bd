"""The lines of a template around the place of an error, for people at a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ctemplate.core.errors import TemplateError
from ctemplate.core.shipped import SHIPPED

AROUND = 1  # lines before and after the line with the error


def illustrate(error: TemplateError) -> None:
    """Add the lines around an error's place below its message."""
    path, _, line = error.where.rpartition(":")
    if not error.output and line.isdecimal():
        error.output = tuple(excerpt(path, int(line)))


def excerpt(path: str, line: int) -> Iterator[str]:
    """Yield the lines around a line of a file, that one marked with ``>``; nothing if the file cannot be read."""
    if not line:
        return
    try:
        text = _found(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    lines = text.splitlines()
    last = min(line + AROUND, len(lines))
    for number in range(max(line - AROUND, 1), last + 1):
        mark = ">" if number == line else " "
        shown = lines[number - 1].expandtabs(4)
        yield f"{mark} {number:>{len(str(last))}} | {shown}".rstrip()


def _found(path: str) -> Path:
    """Return the file that a name in an error means: templates that ship with ctemplate are shown without a folder."""
    shipped = SHIPPED / path
    return shipped if os.sep not in path and not Path(path).exists() and shipped.exists() else Path(path)
