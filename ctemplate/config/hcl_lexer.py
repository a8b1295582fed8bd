"""Tokens of HCL version 1, as HashiCorp's own reader (which consul-template uses) splits them. Pure.

Knows no grammar above tokens, and no configuration.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator

from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.values import dataclass

SHOWN_AT_MOST_OF_TOKEN = 40  # characters of a token that an error shows
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
HIGHEST_CODE_POINT = 0x10FFFF

_SPACE = re.compile(r"[ \t\r]+")
_COMMENT = re.compile(r"(?:#|//)[^\n]*|/\*.*?\*/", re.DOTALL)
_IDENTIFIER = re.compile(r"[^\W\d][\w.\-]*")
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)")
_ANCHOR = re.compile(r"<<(-?)(\w+)\n")
_ESCAPE = re.compile(r"""\\(?:([abfnrtv\\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))""")
_PLAIN = re.compile(r"[^\"\\$\n]+")


class HclTokenKind(enum.Enum):
    """What a token is."""

    NAME = "name"
    TEXT = "text"
    HEREDOC = "heredoc"
    NUMBER = "number"
    MARK = "mark"
    COMMENT = "comment"
    NEWLINE = "newline"
    END = "end of file"


@dataclass(frozen=True, slots=True)
class HclToken:
    """One token: its kind, its value (text without quotes), and where it begins; line and column count from 1."""

    kind: HclTokenKind
    value: str
    line: int
    column: int

    def __str__(self) -> str:
        """Name the token for an error message."""
        if self.kind in {HclTokenKind.NEWLINE, HclTokenKind.END}:
            return f"the end of the {'line' if self.kind is HclTokenKind.NEWLINE else 'file'}"
        return printable(repr(self.value), SHOWN_AT_MOST_OF_TOKEN)


class HclLexer:
    """Reads one text; raises ConfigError ``file:line:column: …``."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        self._name = name
        self._at = 0

    def tokens(self) -> Iterator[HclToken]:
        """Yield the tokens, including comments and line breaks, and one for the end; raises ConfigError."""
        while self._at < len(self._text):
            if space := _SPACE.match(self._text, self._at):
                self._at = space.end()
                continue
            start = self._at
            kind, value = self._next()
            yield self._token(kind, value, start)
        yield self._token(HclTokenKind.END, "", self._at)

    def _token(self, kind: HclTokenKind, value: str, at: int) -> HclToken:
        return HclToken(kind, value, *self._place(at))

    def _place(self, at: int) -> tuple[int, int]:
        return self._text.count("\n", 0, at) + 1, at - self._text.rfind("\n", 0, at)

    def error(self, at: int, what: str) -> ConfigError:
        """Return an error for a place in the text."""
        line, column = self._place(at)
        return ConfigError(f"{self._name}:{line}:{column}", what)

    def _next(self) -> tuple[HclTokenKind, str]:
        text, at = self._text, self._at
        if text[at] == "\n":
            self._at += 1
            return HclTokenKind.NEWLINE, "\n"
        if text[at] == '"':
            return HclTokenKind.TEXT, self._quoted()
        if text.startswith("<<", at):
            return HclTokenKind.HEREDOC, self._heredoc()
        forms = (
            (_COMMENT, HclTokenKind.COMMENT),
            (_IDENTIFIER, HclTokenKind.NAME),
            (_NUMBER, HclTokenKind.NUMBER),
        )
        for pattern, kind in forms:
            if found := pattern.match(text, at):
                self._at = found.end()
                return kind, found[0]
        if text[at] in "{}[]=,":
            self._at += 1
            return HclTokenKind.MARK, text[at]
        if text.startswith("/*", at):
            raise self.error(at, "this comment has no end; write */")
        raise self.error(at, f"unexpected character {printable(repr(text[at]))}")

    def _quoted(self) -> str:
        """Read a quoted text; the content of ``${…}`` is returned unchanged, with its quotes and backslashes."""
        start = self._at
        parts: list[str] = []
        self._at += 1
        while True:
            rest = self._text[self._at : self._at + 2]
            if rest[:1] == '"':
                self._at += 1
                return "".join(parts)
            if rest == "${":
                parts.append(self._interpolation(start))
            elif rest[:1] == "\\":
                parts.append(self._escape())
            elif rest[:1] == "$":
                self._at += 1
                parts.append("$")
            elif found := _PLAIN.match(self._text, self._at):
                self._at = found.end()
                parts.append(found[0])
            else:
                raise self.error(start, "this text has no closing quote on its line; write <<EOF for several lines")

    def _interpolation(self, start: int) -> str:
        depth, begin = 0, self._at
        for at in range(begin, len(self._text)):
            depth += {"{": 1, "}": -1}.get(self._text[at], 0)
            if self._text[at] == "}" and depth == 0:
                self._at = at + 1
                return self._text[begin : self._at]
        raise self.error(start, "this text has a ${ without its }")

    def _escape(self) -> str:
        found = _ESCAPE.match(self._text, self._at)
        if found is None:
            raise self.error(self._at, "unknown escape; write \\\\ for a backslash")
        self._at = found.end()
        letter, octal, *hexadecimal = found.groups()
        if letter:
            return ESCAPES[letter]
        code = int(octal, 8) if octal else int(next(filter(None, hexadecimal)), 16)
        if code > HIGHEST_CODE_POINT:
            raise self.error(found.start(), "no such character")
        return chr(code)

    def _heredoc(self) -> str:
        """Read a heredoc; with ``<<-`` the end marker's indentation is removed, provided all lines have it."""
        start = self._at
        anchor = _ANCHOR.match(self._text, start)
        if anchor is None:
            raise self.error(start, "a heredoc begins with <<NAME or <<-NAME at the end of its line")
        end = re.compile(rf"^(\s*){re.escape(anchor[2])}\r*$", re.MULTILINE)
        found = _line_that_is(end, self._text, anchor.end())
        if found is None:
            raise self.error(start, f"no line with {anchor[2]!r} alone ends this heredoc")
        self._at = found.end()
        body, indent = self._text[anchor.end() : found.start()], found[1]
        if not anchor[1]:
            return body + indent
        lines = body.split("\n")[:-1]
        if not all(line.startswith(indent) for line in lines):
            return body
        return "".join(f"{line.removeprefix(indent)}\n" for line in lines)


def _line_that_is(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str] | None:
    """Return the match of the first whole line from ``at`` on; it never spans several lines."""
    while at <= len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        if found := pattern.match(text, at, end):
            return found
        at = end + 1
    return None
