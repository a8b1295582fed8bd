"""Write exact output and tags as the text of a Jinja template that leaves just those bytes.

By our line rule a line that holds nothing but block tags and comments leaves nothing. So tags get lines of their own
where the output is between two lines, and elsewhere ``+`` where such a line must leave its white space. Must not
know Go.
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
    """Text that is printed as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class Print:
    """An expression that is printed."""

    code: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A block tag that stands alone, such as ``set``."""

    code: str


@dataclass(frozen=True, slots=True)
class Note:
    """A comment."""

    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """Tags each with what follows it, and the tag at the end."""

    branches: tuple[tuple[str, tuple[Piece, ...]], ...]
    end: str


Piece = Exact | Print | Tag | Note | Block


def quoted(text: str) -> str:
    """Return the text as a string in Jinja."""
    shown = (
        _CONTROL.get(char) or (char if char.isprintable() else char.encode("unicode_escape").decode()) for char in text
    )
    return f'"{"".join(shown)}"'


def laid_out(pieces: Sequence[Piece]) -> str:
    """Return the template's text."""
    writer = _Writer()
    writer.write(_joined(pieces), "")
    return writer.text()


def _joined(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return the pieces with neighbouring texts as one, without empty ones, at every depth."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if isinstance(piece, Block):
            branches = tuple((tag, _joined(body)) for tag, body in piece.branches)
            found.append(Block(branches, piece.end))
        elif not isinstance(piece, Exact):
            found.append(piece)
        elif isinstance(last, Exact):
            found[-1] = Exact(last.text + piece.text)
        elif piece.text:
            found.append(piece)
    return tuple(found)


def _ends_line(pieces: Sequence[Piece], *, at_start: bool) -> bool:
    """Return whether the pieces end between two lines when they begin there, or not."""
    for piece in pieces:
        if isinstance(piece, Exact):
            at_start = piece.text.endswith("\n")
        elif isinstance(piece, Print):
            at_start = False
        elif isinstance(piece, Block):
            at_start = at_start and all(_ends_line(body, at_start=True) for _, body in piece.branches)
    return at_start


def _indentation(body: Sequence[Piece], default: str) -> str:
    """Return the white space before the first line of text that has anything else in it."""
    first = body[0] if body else None
    if not isinstance(first, Exact):
        return default
    for line in _LINES.findall(first.text):
        if line.strip() or (len(body) > 1 and not line.endswith("\n")):
            match = _LEADING.match(line)
            return match[0] if match else ""
    return default


@dataclass(slots=True)
class _Atom:
    """A part of the template's text. ``signs`` are those of a tag; data is output, layout leaves nothing."""

    text: str
    is_data: bool = False
    is_print: bool = False
    signs: tuple[str, str] | None = None
    keeps_before: bool = False
    keeps_behind: bool = False

    def shown(self) -> str:
        """Return the text with its signs."""
        if self.signs is None:
            return self.text
        before, behind = "+" if self.keeps_before else "", "+" if self.keeps_behind else ""
        return f"{self.signs[0]}{before} {self.text} {behind}{self.signs[1]}"


class _Writer:
    def __init__(self) -> None:
        self._atoms: list[_Atom] = []

    def write(self, pieces: Sequence[Piece], indent: str) -> None:
        """Add pieces; tags on lines of their own are indented, which leaves nothing."""
        for piece in pieces:
            if isinstance(piece, Exact):
                self._write_text(piece.text)
            elif isinstance(piece, Print):
                self._add(_Atom(piece.code, is_print=True, signs=("{{", "}}")))
            elif isinstance(piece, Block):
                self._write_block(piece, indent)
            elif isinstance(piece, Tag):
                self._write_tag(piece.code, ("{%", "%}"), indent, is_own=self._is_at_start)
            else:
                text = piece.text.replace("#}", "# }").strip()
                self._write_tag(text, ("{#", "#}"), indent, is_own=self._is_at_start)

    def text(self) -> str:
        """Return everything, with ``+`` where a line would otherwise leave nothing."""
        for line in self._lines():
            _keep(line)
        return "".join(atom.shown() for atom in self._atoms)

    @property
    def _is_at_start(self) -> bool:
        last = self._atoms[-1] if self._atoms else None
        return last is None or (last.signs is None and last.text.endswith("\n"))

    def _add(self, atom: _Atom) -> None:
        """Add an atom; a brace before a tag would be taken for a part of it."""
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

    def _write_tag(self, text: str, signs: tuple[str, str], indent: str, *, is_own: bool) -> None:
        if is_own and indent:
            self._atoms.append(_Atom(indent))
        self._add(_Atom(text, signs=signs))
        if is_own:
            self._atoms.append(_Atom("\n"))

    def _write_block(self, block: Block, indent: str) -> None:
        is_own = self._is_at_start and _ends_line((block,), at_start=True)
        if is_own:
            indent = next((_indentation(body, indent) for _, body in block.branches if body), indent)
        for tag, body in block.branches:
            self._write_tag(tag, ("{%", "%}"), indent, is_own=is_own)
            self.write(body, indent)
        self._write_tag(block.end, ("{%", "%}"), indent, is_own=is_own)

    def _lines(self) -> Iterator[list[_Atom]]:
        line: list[_Atom] = []
        for atom in self._atoms:
            line.append(atom)
            if atom.signs is None and atom.text.endswith("\n"):
                yield line
                line = []
        yield line


def _keep(line: list[_Atom]) -> None:
    """Make a line leave what it holds."""
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
