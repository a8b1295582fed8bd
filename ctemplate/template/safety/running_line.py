"""Which line of which template is running now. Must not know what templates do."""

from __future__ import annotations

import sys
import types
from typing import Any

import jinja2

_LINES = "__ctemplate_lines__"  # a template's known lines, among the globals of its own code, which go with it
_PLACES = "__ctemplate_places__"  # likewise what is known of the places in its code


def template_line(frame: types.FrameType, line: int) -> str | None:
    """Return ``file:line`` of the template whose code a frame runs, None for any other code."""
    code = frame.f_globals
    template = code.get("__jinja_template__")
    return None if template is None else _source_line(template, line, code)


def _source_line(template: jinja2.Template, line: int, code: dict[str, Any]) -> str:
    known = code.get(_LINES)
    if known is None:
        known = code[_LINES] = {}
    found: str | None = known.get(line)
    if found is None:
        found = known[line] = f"{template.filename}:{template.get_corresponding_lineno(line)}"
    return found


def printing_line() -> str:
    """Return ``file:line`` of the template that is running now."""
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001  # where we are is the question
    while frame is not None:
        if "__jinja_template__" in frame.f_globals:
            return _line_of_place(frame)
        frame = frame.f_back
    return ""


def _line_of_place(frame: types.FrameType) -> str:
    """Return the line that a template's frame runs; finding it takes longer the further down in the code it is."""
    code, known = frame.f_code, frame.f_globals.get(_PLACES)
    if known is None:
        known = frame.f_globals[_PLACES] = {}
    place = (code.co_firstlineno, code.co_name, frame.f_lasti)
    found: str | None = known.get(place)
    if found is None:
        found = known[place] = template_line(frame, frame.f_lineno) or ""
    return found
