"""Write exact output and tags as the text of a Jinja template that renders to exactly this output.

Our line rule removes a line that contains only block tags and comments. So tags get their own lines where the output is
between two lines; elsewhere ``-`` begins a new line before them, and ``+`` keeps the white space of a line that would
otherwise be removed. Must not know Go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SPECIAL = re.compile(r"\{(?=[{%#])|\r")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_LEADING = re.compile(r"[ \t]*")
_CONTROL = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", '"': r"\""}


@dataclass(frozen=True, slots=True)
class Exact:
    """Text that is printed unchanged."""

    text: str


@dataclass(frozen=True, slots=True)
class Print:
    """An expression that is printed."""

    code: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A single block tag, such as ``set``."""

    code: str


@dataclass(frozen=True, slots=True)
class Note:
    """A comment."""

    text: str


@dataclass(frozen=True, slots=True)
class LayoutBlock:
    """Tags, each with the pieces after it, and the end tag."""

    branches: tuple[tuple[str, tuple[LayoutPiece, ...]], ...]
    end: str


LayoutPiece = Exact | Print | Tag | Note | LayoutBlock


def quoted(text: str) -> str:
    """Return the text as a string in Jinja."""
    shown = (
        _CONTROL.get(char) or (char if char.isprintable() else char.encode("unicode_escape").decode()) for char in text
    )
    return f'"{"".join(shown)}"'


def laid_out(pieces: Sequence[LayoutPiece]) -> str:
    """Return the template's text."""
    writer = _Writer()
    writer.write(_joined(pieces), "", may_break=True)
    return writer.text()


def _joined(pieces: Sequence[LayoutPiece]) -> tuple[LayoutPiece, ...]:
    """Return the pieces with adjacent texts joined and empty ones removed, at every depth."""
    found: list[LayoutPiece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if isinstance(piece, LayoutBlock):
            branches = tuple((tag, _joined(body)) for tag, body in piece.branches)
            found.append(LayoutBlock(branches, piece.end))
        elif not isinstance(piece, Exact):
            found.append(piece)
        elif isinstance(last, Exact):
            found[-1] = Exact(last.text + piece.text)
        elif piece.text:
            found.append(piece)
    return tuple(found)


def _has_lines(piece: LayoutPiece) -> bool:
    """Return whether a piece spans several lines."""
    if isinstance(piece, Exact):
        return "\n" in piece.text
    if not isinstance(piece, LayoutBlock):
        return False
    return piece.end == "endmacro" or any(_has_lines(each) for _, body in piece.branches for each in body)


def _begins_lines(pieces: Sequence[LayoutPiece]) -> bool:
    """Return whether the next pieces begin a line, or span several lines."""
    for piece in pieces:
        if isinstance(piece, Exact):
            return piece.text.startswith("\n")
        if isinstance(piece, LayoutBlock):
            return _has_lines(piece)
        if isinstance(piece, Print):
            return False
    return True


def _stays_at_start(pieces: Sequence[LayoutPiece]) -> bool:
    """Return whether pieces that begin between two lines also end there, with each block's tags on their own lines."""
    at_start = True
    for piece in pieces:
        if isinstance(piece, Exact):
            at_start = piece.text.endswith("\n")
        elif isinstance(piece, Print):
            at_start = False
        elif isinstance(piece, LayoutBlock):
            at_start = at_start and all(_stays_at_start(body) for _, body in piece.branches)
    return at_start


def _indentation(body: Sequence[LayoutPiece]) -> str | None:
    """Return the white space at the start of the first non-blank line of text; None if there is none."""
    for number, piece in enumerate(body):
        if isinstance(piece, Print):
            return None
        for _, each in piece.branches if isinstance(piece, LayoutBlock) else ():
            if (found := _indentation(each)) is not None:
                return found
        for line in _LINES.findall(piece.text) if isinstance(piece, Exact) else ():
            is_last = number == len(body) - 1
            if line.strip() or (not is_last and not line.endswith("\n")):
                match = _LEADING.match(line)
                return match[0] if match else ""
    return None


@dataclass(slots=True)
class _Atom:
    """A part of the template's text. ``signs`` are a tag's signs; ``data`` is output, layout prints nothing."""

    text: str
    is_data: bool = False
    is_print: bool = False
    signs: tuple[str, str] | None = None
    strips_before: bool = False
    keeps_before: bool = False
    keeps_behind: bool = False

    def shown(self) -> str:
        """Return the text with its signs."""
        if self.signs is None:
            return self.text
        before = "-" if self.strips_before else "+" if self.keeps_before else ""
        behind = "+" if self.keeps_behind else ""
        return f"{self.signs[0]}{before} {self.text} {behind}{self.signs[1]}"


class _Writer:
    def __init__(self) -> None:
        self._atoms: list[_Atom] = []

    def write(self, pieces: Sequence[LayoutPiece], indent: str, *, may_break: bool) -> None:
        """Add pieces; tags on their own lines are indented, which prints nothing."""
        for number, piece in enumerate(pieces):
            if isinstance(piece, Exact):
                self._write_text(piece.text)
            elif isinstance(piece, Print):
                self._add(_Atom(piece.code, is_print=True, signs=("{{", "}}")))
            elif isinstance(piece, LayoutBlock):
                self._write_block(piece, indent)
            else:
                is_tag = isinstance(piece, Tag)
                text = piece.code if isinstance(piece, Tag) else piece.text.replace("#}", "# }").strip()
                breaks = may_break and is_tag and _begins_lines(pieces[number + 1 :])
                signs = ("{%", "%}") if is_tag else ("{#", "#}")
                self._write_tag(text, signs, indent, may_break=breaks or self._is_at_start)

    def text(self) -> str:
        """Return the whole text, with ``+`` where the line rule would remove output."""
        for line in self._lines():
            _keep(line)
        return "".join(atom.shown() for atom in self._atoms)

    @property
    def _is_at_start(self) -> bool:
        last = self._atoms[-1] if self._atoms else None
        return last is None or (last.signs is None and last.text.endswith("\n"))

    def _add(self, atom: _Atom) -> None:
        """Add an atom; a brace directly before a tag would be parsed as part of the tag."""
        last = self._atoms[-1] if self._atoms else None
        if atom.signs and last is not None and last.signs is None and last.text.endswith("{"):
            last.text = last.text[:-1]
            self._atoms.append(_Atom('"{"', is_print=True, signs=("{{", "}}")))
        self._atoms.append(atom)

    def _write_text(self, text: str) -> None:
        at = 0
        for match in _SPECIAL.finditer(text):
            self._write_data(text[at : match.start()])
            self._add(_Atom(quoted(match[0]), is_print=True, signs=("{{", "}}")))
            at = match.end()
        self._write_data(text[at:])

    def _write_data(self, text: str) -> None:
        self._atoms.extend(_Atom(line, is_data=True) for line in _LINES.findall(text))

    def _write_tag(self, text: str, signs: tuple[str, str], indent: str, *, may_break: bool) -> None:
        """Add a tag: on its own line between two lines; else inside the line, or at the start of a new one."""
        is_own = may_break and self._is_at_start
        last = self._atoms[-1] if self._atoms else None
        is_broken = may_break and not is_own and last is not None and bool(last.signs or not last.text[-1].isspace())
        if is_broken:
            self._atoms.append(_Atom("\n"))
        if indent and (is_own or is_broken):
            self._atoms.append(_Atom(indent))
        self._add(_Atom(text, signs=signs, strips_before=is_broken))
        if is_own:
            self._atoms.append(_Atom("\n"))

    def _write_block(self, block: LayoutBlock, indent: str) -> None:
        breaks = _has_lines(block) or (self._is_at_start and _stays_at_start((block,)))
        if breaks:
            indent = _indentation((block,)) or indent
        for tag, body in block.branches:
            self._write_tag(tag, ("{%", "%}"), indent, may_break=breaks)
            self.write(body, indent, may_break=breaks)
        self._write_tag(block.end, ("{%", "%}"), indent, may_break=breaks)

    def _lines(self) -> Iterator[list[_Atom]]:
        line: list[_Atom] = []
        for atom in self._atoms:
            line.append(atom)
            if atom.signs is None and atom.text.endswith("\n"):
                yield line
                line = []
        yield line


def _keep(line: list[_Atom]) -> None:
    """Make a line keep its white space."""
    if all(atom.signs is None for atom in line) or any(
        atom.is_print or (atom.is_data and not atom.text.isspace()) for atom in line if atom.text
    ):
        return
    for number, atom in enumerate(line):
        if not atom.is_data or not atom.text:
            continue
        if number and line[number - 1].signs:
            line[number - 1].keeps_behind = True
        else:
            line[number + 1].keeps_before = True
