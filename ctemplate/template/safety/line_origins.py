"""The origin of each line of an output: marks that pass through a render in front of the text they belong to.

A template compiled for tracing has a mark before every piece of its own text and every print. ``strip`` treats a mark
as white space, so trimming removes it; where a template does more with captured text than join and trim it, the traced
text differs from the real one, and the origin is unknown. A second kind of mark, made during the render, records what
was read last. Must not know what is rendered.
"""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.template.safety.render_pass import Owner

_ZERO, _ONE, _END, _OWNED = "\x1c", "\x1d", "\x1e", "\x1f"
_MARK = lazy_pattern(f"([{_ZERO}{_ONE}]+){_END}")
_OWNER = lazy_pattern(f"([{_ZERO}{_ONE}]+){_OWNED}")
_DIGITS = str.maketrans("01", _ZERO + _ONE)
_VALUES = str.maketrans(_ZERO + _ONE, "01")


READ_LAST = "read_last"
"""The environment's method that makes marks of the second kind; its argument: whether they follow a print."""


class LineMarks:
    """The places that marks stand for, ``file:line`` each, and who was read last at those of the second kind."""

    def __init__(self) -> None:
        self._places: list[str] = []
        self._owners: list[tuple[Owner | None, bool]] = []

    def set(self, tree: nodes.Template, file: str) -> None:
        """Put a mark before each piece of text and each print in the template's tree."""
        for output in tree.find_all(nodes.Output):
            output.nodes = [piece for node in output.nodes for piece in self._marked(node, file)]

    def _marked(self, node: nodes.Expr, file: str) -> Iterator[nodes.Expr]:
        if not isinstance(node, nodes.TemplateData):
            yield self._mark(file, node.lineno)
            yield node
            yield _reader(node.lineno, follows_print=True)
            return
        for offset, line in enumerate(node.data.splitlines(keepends=True)):
            yield self._mark(file, node.lineno + offset)
            yield _reader(node.lineno + offset, follows_print=False)
            yield nodes.TemplateData(line, lineno=node.lineno + offset)

    def _mark(self, file: str, line: int) -> nodes.TemplateData:
        self._places.append(f"{file}:{line}")
        digits = format(len(self._places) - 1, "b").translate(_DIGITS)
        return nodes.TemplateData(digits + _END, lineno=line)

    def owner(self, owner: Owner | None, *, follows_print: bool) -> str:
        """Return a mark of the second kind."""
        self._owners.append((owner, follows_print))
        return format(len(self._owners) - 1, "b").translate(_DIGITS) + _OWNED

    def owners(self, traced: str, text: str, line: int) -> tuple[Owner, ...]:
        """Return the owners of a line of the text (from 1), nearest first: the instance or the service that printed it.

        A line that prints nothing belongs to the service that was read last. None where that is unknown.
        """
        lines = _lines(traced, text)
        return self._owners_of(lines[line - 1]) if 0 < line <= len(lines) else ()

    def _owners_of(self, line: str) -> tuple[Owner, ...]:
        found = [self._owners[int(mark.translate(_VALUES), 2)] for mark in _OWNER.findall(line)]
        printed = [owner for owner, follows_print in found if follows_print and owner is not None]
        read = [owner.whole for owner, _ in found if owner is not None]
        printed.sort(key=lambda owner: owner.is_whole)
        return tuple(dict.fromkeys((*printed, *reversed(read))))

    def origin(self, traced: str, text: str, line: int) -> str | None:
        """Return the place of the first visible piece in a line of the text (from 1), or None where it is unknown."""
        lines = _lines(_OWNER.sub("", traced), text)
        return self._origin_of(lines[line - 1]) if 0 < line <= len(lines) else None

    def services(self, traced: str, text: str, origin: str) -> frozenset[str]:
        """Return the services that lines of the text from one place belong to."""
        lines = (line for line in _lines(traced, text) if self._origin_of(_OWNER.sub("", line)) == origin)
        return frozenset(owners[0].service for line in lines if (owners := self._owners_of(line)))

    def _origin_of(self, line: str) -> str | None:
        pieces = _MARK.split(line)[1:]
        found = [mark for mark, piece in zip(pieces[::2], pieces[1::2], strict=True) if piece.strip()] or pieces[:1]
        return self._places[int(found[0].translate(_VALUES), 2)] if found else None


def _reader(line: int, *, follows_print: bool) -> nodes.Expr:
    argument = nodes.Const(follows_print, lineno=line)
    return nodes.Call(nodes.EnvironmentAttribute(READ_LAST), [argument], [], None, None, lineno=line)


def _lines(traced: str, text: str) -> list[str]:
    """Return the lines of a traced text; none where the marks were separated from the text."""
    return traced.split("\n") if _OWNER.sub("", _MARK.sub("", traced)) == text else []
