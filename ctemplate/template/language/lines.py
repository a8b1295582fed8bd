"""Line breaks of templates: a line that contains only block tags and comments prints nothing.

Every other line prints as it is written. ``-`` and ``+`` have their meaning in Jinja: ``-`` removes all white space on
its side of a tag, ``+`` keeps it. Knows only Jinja's tokens; must not know what a tag does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jinja2
from jinja2.lexer import Lexer

from ctemplate.core.shipped import SHIPPED

Token = tuple[int, str, str]
"""The first line of a token, its kind, its text in the source."""

Syntax = tuple[tuple[str, str], tuple[str, str], tuple[str, str]]
"""The delimiters of expressions, blocks and comments."""

PLAIN_SYNTAX: Syntax = (("{{", "}}"), ("{%", "%}"), ("{#", "#}"))

_PIECE = re.compile(r"[^\n]*\n|[^\n]+")
_DATA = "data"
_PRINT = "variable_begin"
_TAGS = frozenset({"block_begin", "comment_begin", "raw_begin", "raw_end"})


class LineLexer(Lexer):
    """Jinja's lexer without the white space and line break of lines that contain only block tags and comments.

    The removed text is at the end of the tag before, like text stripped by ``-%}``, or between two tokens, like text
    stripped by ``{%-``.
    """

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        starts = (environment.block_start_string, environment.comment_start_string)
        ends = (environment.block_end_string, environment.comment_end_string)
        self._keeps_before = tuple(f"{start}+" for start in starts)
        self._keeps_behind = tuple(f"+{end}" for end in ends)

    def tokeniter(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> Iterator[Token]:
        """Yield the tokens of a template."""
        for line in _lines(super().tokeniter(source, name, filename, state)):
            yield from self._emptied(line) if _is_of_tags(line) else line

    def _emptied(self, line: list[Token]) -> Iterator[Token]:
        """Yield a line's tokens without white space, except beside a ``+``."""
        kept: list[Token] = []
        for token, after in zip(line, [*line[1:], None], strict=True):
            number, kind, raw = token
            is_kept = kept and kept[-1][2].endswith(self._keeps_behind)
            is_kept = is_kept or (after is not None and after[2].startswith(self._keeps_before))
            if kind != _DATA or is_kept:
                kept.append(token)
            elif kept:
                number, kind, before = kept[-1]
                kept[-1] = number, kind, before + raw
        return iter(kept)


def syntax_options(syntax: Syntax) -> dict[str, Any]:
    """Return a syntax as arguments of Jinja's environments."""
    kinds = ("variable", "block", "comment")
    return {
        f"{kind}_{side}_string": word
        for kind, pair in zip(kinds, syntax, strict=True)
        for side, word in zip(("start", "end"), pair, strict=True)
    }


class SyntaxLexers:
    """The lexers of an environment: with its own syntax, and with Jinja's for templates that ship with ctemplate."""

    def __init__(self, environment: jinja2.Environment) -> None:
        self._own = self._plain = LineLexer(environment)
        words = syntax_options(PLAIN_SYNTAX)
        if any(getattr(environment, name) != word for name, word in words.items()):
            self._plain = LineLexer(jinja2.Environment(keep_trailing_newline=True))  # noqa: S701  # it only cuts texts

    def of(self, filename: str | None) -> LineLexer:
        """Return the lexer of a text by the name in errors; a text without a name is not a template's."""
        is_shipped = filename is not None and not Path(filename).is_absolute() and (SHIPPED / filename).is_file()
        return self._plain if filename is None or is_shipped else self._own


def _lines(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    """Yield the tokens of each line of the template's own text; a tag of several lines is part of one line."""
    line: list[Token] = []
    expected = 1
    try:
        for start, kind, raw in tokens:
            if start > expected:  # line breaks that a tag with "-" has stripped
                yield line
                line = []
            number = start
            for piece in _PIECE.findall(raw) if kind == _DATA else (raw,):
                line.append((number, kind, piece))
                number += piece.count("\n")
                if _ends_line(kind, piece):
                    yield line
                    line = []
            expected = number
    except jinja2.TemplateSyntaxError:
        yield line
        raise
    yield line


def _ends_line(kind: str, raw: str) -> bool:
    """Return whether a line ends with this token: text with a line break, or a tag that stripped one after it."""
    return kind in _ENDING and "\n" in raw[len(raw.rstrip()) :]


_ENDING = frozenset({_DATA, "block_end", "variable_end", "comment_end", "raw_begin", "raw_end"})


def _is_of_tags(line: list[Token]) -> bool:
    """Return whether a line contains only block tags, comments and white space."""
    kinds = {kind for _, kind, _ in line}
    if _PRINT in kinds or kinds.isdisjoint(_TAGS):
        return False
    return all(raw.isspace() for _, kind, raw in line if kind == _DATA)
