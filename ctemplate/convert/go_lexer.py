"""Go's template language as tokens: text, actions with their trim markers, comments.

Follows Go's text/template/parse/lex.go. Must not know what a token means in a template.
https://pkg.go.dev/text/template
"""

from __future__ import annotations

import enum
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from ctemplate.convert.errors import GoSyntaxError, printable

SPACES = " \t\r\n"
"""Characters that Go regards as white space inside actions and beside trim markers."""

_SPACES = frozenset(SPACES)

GO_KEYWORDS = frozenset(
    ["block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"]
)


class TokenKind(enum.Enum):
    """The kind of a token; the values appear in error messages."""

    TEXT = "text"
    COMMENT = "a comment"
    LEFT = "an action"
    RIGHT = "the end of the action"
    SPACE = "a space"
    ASSIGN = "'='"
    DECLARE = "':='"
    PIPE = "'|'"
    COMMA = "','"
    OPEN = "'('"
    CLOSE = "')'"
    DOT = "'.'"
    FIELD = "a field"
    VARIABLE = "a variable"
    IDENTIFIER = "a function"
    KEYWORD = "a keyword"
    BOOL = "a boolean"
    NUMBER = "a number"
    CHARACTER = "a character"
    STRING = "a string"
    RAW = "a raw string"
    END = "the end of the file"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the source: line and column count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class GoToken:
    """One token: its kind, its text as written (for text and comments: after trimming), and where it begins."""

    kind: TokenKind
    text: str
    offset: int = field(compare=False)


_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[oO][0-7_]*|0[bB][01_]*"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)"
)
_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_CHARACTER = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")
_RAW = re.compile(r"`[^`]*`")
_SPACE = re.compile(r"[ \t\r\n]+")
_SINGLE = {
    "=": TokenKind.ASSIGN,
    "|": TokenKind.PIPE,
    ",": TokenKind.COMMA,
    "(": TokenKind.OPEN,
    ")": TokenKind.CLOSE,
}
_QUOTED = {
    '"': (_STRING, TokenKind.STRING),
    "'": (_CHARACTER, TokenKind.CHARACTER),
    "`": (_RAW, TokenKind.RAW),
}


def is_word(char: str) -> bool:
    """Return whether a character may be part of a name."""
    return char == "_" or char.isalpha() or char.isdecimal()


class GoSource:
    """A template's text with its name, its delimiters and the places of its lines."""

    def __init__(self, text: str, name: str, *, left: str = "{{", right: str = "}}") -> None:
        """Store the text; an empty delimiter means Go's own."""
        self.text = text
        self.name = name
        self.left = left or "{{"
        self.right = right or "}}"
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def position(self, offset: int) -> Position:
        """Return the line and column of an offset."""
        line = bisect_right(self._starts, offset)
        return Position(line, offset - self._starts[line - 1] + 1)

    def fail(self, offset: int, what: str) -> NoReturn:
        """Raise an error about the text at the offset."""
        at = self.position(offset)
        raise GoSyntaxError(f"{self.name}:{at.line}:{at.column}", what)


class Lexer:
    """Splits one source into tokens."""

    def __init__(self, source: GoSource) -> None:
        self._source = source
        self._text = source.text
        self._at = 0

    def tokens(self) -> Iterator[GoToken]:
        """Yield the tokens, END last; raises GoSyntaxError."""
        trims = False
        text, left = self._text, self._source.left
        while True:
            start = self._at
            found = text.find(left, start)
            end = len(text) if found < 0 else found
            piece = text[start:end]
            if trims:
                start += len(piece) - len(piece.lstrip(SPACES))
                piece = piece.lstrip(SPACES)
            inside = end + len(left)
            has_marker = found >= 0 and text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2] in _SPACES
            if has_marker:
                piece = piece.rstrip(SPACES)
                inside += 1
            if piece:
                yield GoToken(TokenKind.TEXT, piece, start)
            if found < 0:
                yield GoToken(TokenKind.END, "", len(text))
                return
            self._at = inside
            content = inside + 1 if has_marker else inside
            if text.startswith("/*", content):
                yield self._comment(content, found)
            else:
                yield GoToken(TokenKind.LEFT, left, found)
                yield from self._action(found)
            trims = self._close()

    def _comment(self, start: int, opened: int) -> GoToken:
        end = self._text.find("*/", start + 2)
        if end < 0:
            self._source.fail(opened, "the comment is never closed, expected '*/'")
        self._at = end + 2
        if self._right_at(self._at) is None:
            self._source.fail(self._at, f"the comment ends before the action does, expected {self._source.right!r}")
        return GoToken(TokenKind.COMMENT, self._text[start + 2 : end], opened)

    def _right_at(self, offset: int) -> int | None:
        """Return the length of the right delimiter at the offset with its trim marker, or None if there is none."""
        text, right = self._text, self._source.right
        if text[offset : offset + 1] in _SPACES and text.startswith("-" + right, offset + 1):
            return len(right) + 2
        return len(right) if text.startswith(right, offset) else None

    def _close(self) -> bool:
        """Skip the right delimiter, and return whether it trims the text after it."""
        length = self._right_at(self._at) or 0
        self._at += length
        return length > len(self._source.right)

    def _action(self, opened: int) -> Iterator[GoToken]:
        """Yield the tokens up to and including the right delimiter."""
        text, depth = self._text, 0
        while True:
            start = self._at
            if self._right_at(start) is not None:
                if depth:
                    self._source.fail(start, "unclosed '(', expected ')'")
                yield GoToken(TokenKind.RIGHT, self._source.right, start)
                return
            if start >= len(text):
                self._source.fail(opened, f"the action is never closed, expected {self._source.right!r}")
            token = self._token(start)
            depth += (token.kind is TokenKind.OPEN) - (token.kind is TokenKind.CLOSE)
            if depth < 0:
                self._source.fail(start, "unexpected ')', expected the end of the action")
            self._at = start + len(token.text)
            yield token

    def _token(self, start: int) -> GoToken:  # noqa: PLR0911  # one for each first character
        text, char = self._text, self._text[start]
        if char in _SPACES:
            return GoToken(TokenKind.SPACE, self._spaces(start), start)
        if char == ":":
            if not text.startswith(":=", start):
                self._source.fail(start, "unexpected ':', expected ':='")
            return GoToken(TokenKind.DECLARE, ":=", start)
        if char in _SINGLE:
            return GoToken(_SINGLE[char], char, start)
        if char in _QUOTED:
            return self._quoted(start)
        if char == "$" or (char == "." and not "0" <= text[start + 1 : start + 2] <= "9"):
            return self._field(start)
        if char in "+-." or "0" <= char <= "9":
            return self._number(start)
        if not is_word(char):
            self._source.fail(start, f"unexpected {printable(repr(char))} in an action")
        return self._word(start)

    def _spaces(self, start: int) -> str:
        """Return the white space at the offset, except the space before a closing trim marker."""
        match = _SPACE.match(self._text, start)
        spaces = match[0] if match else ""
        behind = start + len(spaces)
        return spaces[:-1] if self._right_at(behind - 1) is not None and len(spaces) > 1 else spaces

    def _quoted(self, start: int) -> GoToken:
        pattern, kind = _QUOTED[self._text[start]]
        match = pattern.match(self._text, start)
        if match is None:
            self._source.fail(start, f"{kind.value} is never closed, expected {self._text[start]}")
        return GoToken(kind, match[0], start)

    def _run(self, start: int) -> int:
        """Return the offset after the letters, digits and underscores at the offset."""
        text, end = self._text, start
        while end < len(text) and is_word(text[end]):
            end += 1
        return end

    def _field(self, start: int) -> GoToken:
        kind = TokenKind.VARIABLE if self._text[start] == "$" else TokenKind.FIELD
        end = self._run(start + 1)
        self._check_terminator(end)
        if end == start + 1 and kind is TokenKind.FIELD:
            kind = TokenKind.DOT
        return GoToken(kind, self._text[start:end], start)

    def _word(self, start: int) -> GoToken:
        end = self._run(start)
        self._check_terminator(end)
        word = self._text[start:end]
        if word in GO_KEYWORDS:
            return GoToken(TokenKind.KEYWORD, word, start)
        return GoToken(TokenKind.BOOL if word in {"true", "false"} else TokenKind.IDENTIFIER, word, start)

    def _number(self, start: int) -> GoToken:
        match = _NUMBER.match(self._text, start)
        end = match.end() if match else start
        if is_word(self._text[end : end + 1] or " ") or not is_number(self._text[start:end]):
            wrong = self._text[start : max(self._run(end), start + 1)]
            self._source.fail(start, f"{printable(wrong)!r} is not a number")
        return GoToken(TokenKind.NUMBER, self._text[start:end], start)

    def _check_terminator(self, offset: int) -> None:
        """Fail unless a name may end at the offset."""
        char = self._text[offset : offset + 1]
        if char and char not in " \t\r\n.,|:()" and not self._text.startswith(self._source.right, offset):
            self._source.fail(offset, f"unexpected {printable(repr(char))}, expected a space or the end of the action")


_INTEGER_FORM = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|0(?:_?[0-7])*|[1-9](?:_?[0-9])*)"
)
_DIGITS = "[0-9](?:_?[0-9])*"
_EXPONENT = rf"[eE][+-]?{_DIGITS}"
_FLOAT_FORM = re.compile(
    rf"[+-]?(?:{_DIGITS}\.(?:{_DIGITS})?(?:{_EXPONENT})?|\.{_DIGITS}(?:{_EXPONENT})?|{_DIGITS}{_EXPONENT})"
)


def is_number(text: str) -> bool:
    """Return whether a text is a Go number, apart from hexadecimal floats and complex numbers."""
    return _INTEGER_FORM.fullmatch(text) is not None or _FLOAT_FORM.fullmatch(text) is not None
