"""Which line of which template is running now. Must not know what templates do."""

from __future__ import annotations

import sys
import types
from functools import lru_cache

import jinja2

_KNOWN_LINES = 4096


def template_line(frame: types.FrameType, line: int) -> str | None:
    """Return ``file:line`` of the template whose code a frame runs, None for any other code."""
    template = frame.f_globals.get("__jinja_template__")
    return None if template is None else _source_line(template, line)


@lru_cache(maxsize=_KNOWN_LINES)
def _source_line(template: jinja2.Template, line: int) -> str:
    return f"{template.filename}:{template.get_corresponding_lineno(line)}"


def printing_line() -> str:
    """Return ``file:line`` of the template that is running now."""
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001  # where we are is the question
    while frame is not None:
        if where := template_line(frame, frame.f_lineno):
            return where
        frame = frame.f_back
    return ""
