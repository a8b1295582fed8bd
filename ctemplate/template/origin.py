"""Where each line of an output came from: marks that travel through a render with the text they stand before.

A template compiled for tracing has a mark before every piece of its own text and every print. A mark is white space to
``strip``, so that trimming takes it along; where a template does more with captured text than join and trim it, the
traced text differs from the real one, and the origin counts as unknown. Must not know what is rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinja2 import nodes

_ZERO, _ONE, _END = "\x1c", "\x1d", "\x1e"
_MARK = re.compile(f"([{_ZERO}{_ONE}]+){_END}")
_DIGITS = str.maketrans("01", _ZERO + _ONE)
_VALUES = str.maketrans(_ZERO + _ONE, "01")


class Marks:
    """The places that marks stand for, ``file:line`` each."""

    def __init__(self) -> None:
        self._places: list[str] = []

    def set(self, tree: nodes.Template, file: str) -> None:
        """Put a mark before each piece of text and each print in the template's tree."""
        for output in tree.find_all(nodes.Output):
            output.nodes = [piece for node in output.nodes for piece in self._marked(node, file)]

    def _marked(self, node: nodes.Expr, file: str) -> Iterator[nodes.Expr]:
        if not isinstance(node, nodes.TemplateData):
            yield self._mark(file, node.lineno)
            yield node
            return
        for offset, line in enumerate(node.data.splitlines(keepends=True)):
            yield self._mark(file, node.lineno + offset)
            yield nodes.TemplateData(line, lineno=node.lineno + offset)

    def _mark(self, file: str, line: int) -> nodes.TemplateData:
        self._places.append(f"{file}:{line}")
        digits = format(len(self._places) - 1, "b").translate(_DIGITS)
        return nodes.TemplateData(digits + _END, lineno=line)

    def origin(self, traced: str, text: str, line: int) -> str | None:
        """Return the place of the first visible piece in a line of the text (from 1), or None where it is unknown."""
        if _MARK.sub("", traced) != text:
            return None
        lines = traced.split("\n")
        if not 0 < line <= len(lines):
            return None
        pieces = _MARK.split(lines[line - 1])[1:]
        found = [mark for mark, piece in zip(pieces[::2], pieces[1::2], strict=True) if piece.strip()] or pieces[:1]
        return self._places[int(found[0].translate(_VALUES), 2)] if found else None
