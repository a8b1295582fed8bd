"""The lines of a template around the place of an error, for people at a terminal."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ctemplate.core.errors import TemplateError
from ctemplate.core.group_events import TemplateFailed
from ctemplate.template.language.loader import SHIPPED

AROUND = 1  # lines before and after the one at fault


class Excerpts(logging.Filter):
    """Adds the lines around the place to template errors that are logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            if isinstance(argument, TemplateError):
                illustrate(argument)
        record.args = tuple(_illustrated(each) if isinstance(each, TemplateFailed) else each for each in arguments)
        return True


def _illustrated(event: TemplateFailed) -> TemplateFailed:
    """Return the event with the lines around the place below its sentence."""
    error = TemplateError(event.where, event.what, output=event.output)
    illustrate(error)
    return msgspec.structs.replace(event, output=error.output)


def illustrate(error: TemplateError) -> None:
    """Set the lines around an error's place below its sentence."""
    path, _, line = error.where.rpartition(":")
    if not error.output and line.isdecimal():
        error.output = tuple(excerpt(path, int(line)))


def excerpt(path: str, line: int) -> Iterator[str]:
    """Yield the lines around a line of a file, that one marked with ``>``; nothing where it cannot be read."""
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
    """Return the file of a name that errors show: those that ship with ctemplate show without a folder."""
    shipped = SHIPPED / path
    return shipped if os.sep not in path and not Path(path).exists() and shipped.exists() else Path(path)
