"""nginx's tokens: words, quotes, comments and terminators, in a whole file, in one line, or in an unfinished text.

The only module that knows the rules of `ngx_conf_read_token` (nginx's `src/core/ngx_conf_file.c`). Must not know files,
templates, or how words are used.
"""

from __future__ import annotations

import enum
import re
from dataclasses import replace
from typing import NoReturn, TypeAlias

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.directives import LUA_BLOCK

TOKEN_LIMIT_BYTES = 4096
"""Size of nginx's read buffer: an argument or a comment that fills it is an error."""

UNKNOWN_TEXT = "\0"
"""Stands in an unfinished text for an unknown part, such as a value that a template prints."""

# A quantifier behind a group is not possessive: Python before 3.11.5 may then match too much. No two alternatives begin
# with the same character, so giving back takes linear time and never leads to another match.
_BLANK = r" \t\r\n"
_IN_WORD = rf"(?:[^{_BLANK};{{\\$]++|\\.|\$\{{*+)"  # quotes, # and }} mean nothing within a word
_BEGINS_WORD = rf"""(?:[^{_BLANK};{{}}"'#\\$]|\\.|\$\{{*+)"""
_IN_QUOTES = {'"': r'"(?:[^"\\]++|\\.)*"', "'": r"'(?:[^'\\]++|\\.)*'"}
_SPACE = re.compile(rf"[{_BLANK}]*+".encode())
_BARE = re.compile(rf"{_IN_WORD}+".encode(), re.DOTALL)
_QUOTED = {quote.encode(): re.compile(text.encode(), re.DOTALL) for quote, text in _IN_QUOTES.items()}
_TOKEN_OF_LINE = lazy_pattern(
    rf"(?P<gap>[{_BLANK};{{]++)|(?P<closed>\}})|(?P<comment>#.*+)|{'|'.join(_IN_QUOTES.values())}|{_BEGINS_WORD}{_IN_WORD}*",
    re.DOTALL,
)
_ESCAPE = lazy_pattern(rb"\\([\"'\\trn])")
_CONTROLS = {b"t": b"\t", b"r": b"\r", b"n": b"\n"}
_LUA = lazy_pattern(
    rb"(?:--)?\[(?P<level>=*+)\[(?:.*?\](?P=level)\]|.*)|--[^\n]*+|\"(?:[^\"\\]++|\\.)*\"?|'(?:[^'\\]++|\\.)*'?"
    rb"|(?P<brace>[{}])|[^-\[\"'{}]++|.",
    re.DOTALL,
)


class NginxSyntaxError(Exception):
    """nginx would not accept this file: `where` names it, `line` counts from 1, `what` is nginx's message."""

    def __init__(self, *, where: str, line: int, what: str) -> None:
        super().__init__(where, line, what)
        self.where = where
        self.line = line
        self.what = what

    def __str__(self) -> str:
        return f"{self.where}:{self.line}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A name or argument as written in the source; the offsets include its quotes."""

    value: bytes
    start: int
    end: int
    quoted: bool


Statement: TypeAlias = tuple[list[Word], bytes, int]
"""A directive's words, the byte that ended it (`;`, `{`, `}`, empty at the end of the file), the offset after it."""


@dataclass(frozen=True, slots=True)
class TokenReader:
    """Reads one directive at a time, word by word."""

    source: bytes
    where: str

    def statement(self, at: int) -> Statement:
        """Read one directive's words from an offset on; raises NginxSyntaxError."""
        found: list[Word] = []
        while True:
            at = self._gap(at)
            byte = self.source[at : at + 1]
            if not byte and found:
                raise self.syntax_error('unexpected end of file, expecting ";" or "}"', at)
            if not byte:
                return found, b"", at
            if byte in b";{" if found else byte == b"}":
                return found, byte, at + 1
            if byte in b";{}":
                self.unexpected(at)
            word = self._quoted(at, byte) if byte in _QUOTED else self._bare(at)
            found.append(word)
            at = word.end

    def _gap(self, at: int) -> int:
        while True:
            at = self._space_end(at)
            if self.source[at : at + 1] != b"#":
                return at
            line_feed = self.source.find(b"\n", at)
            end = len(self.source) if line_feed < 0 else line_feed
            self._refuse_long(at, end)
            at = end

    def _bare(self, at: int) -> Word:
        match = _BARE.match(self.source, at)
        end = match.end() if match else at
        terminator = self.source[end : end + 1]
        if terminator in b"\\":  # the end of the file, or a trailing backslash
            self._unfinished(at)
        self._refuse_long(at, end + terminator.isspace())
        return Word(value=_decoded(self.source[at:end]), start=at, end=end, quoted=False)

    def _quoted(self, at: int, quote: bytes) -> Word:
        match = _QUOTED[quote].match(self.source, at)
        if match is None:
            self._unfinished(at + 1, quote)
        end = match.end()
        self._refuse_long(at + 1, end - 1, quote)
        following = self.source[end : end + 1]
        self._refuse_long(at + 1, end + (following in b" \t\r\n"))
        if following not in b" \t\r\n;{)":
            self.unexpected(end)
        return Word(value=_decoded(self.source[at + 1 : end - 1]), start=at, end=end, quoted=True)

    def _unfinished(self, start: int, quote: bytes = b"") -> NoReturn:
        self._refuse_long(start, len(self.source), quote)
        raise self.syntax_error('unexpected end of file, expecting ";" or "}"', len(self.source))

    def _refuse_long(self, start: int, last: int, quote: bytes = b"") -> None:
        """Refuse text from `start` if nginx's buffer must still hold it when it reads the byte at `last`."""
        if min(last, len(self.source) - 1) - start < TOKEN_LIMIT_BYTES:
            return
        if quote:
            raise self.syntax_error(
                f'too long parameter, probably missing terminating "{quote.decode()}" character', start
            )
        raise self.syntax_error(f'too long parameter "{_printable(self.source[start : start + 10])}..." started', start)

    def unexpected(self, at: int) -> NoReturn:
        """Refuse the byte at an offset with nginx's message."""
        raise self.syntax_error(f'unexpected "{_printable(self.source[at : at + 1])}"', at)

    def syntax_error(self, what: str, at: int) -> NginxSyntaxError:
        """Return an error for an offset."""
        return NginxSyntaxError(where=self.where, line=self.source.count(b"\n", 0, at) + 1, what=what)

    def _space_end(self, at: int) -> int:
        match = _SPACE.match(self.source, at)
        return match.end() if match else at

    def lua_end(self, start: int) -> int:
        """Return the offset of the brace that closes a Lua block; skip braces in Lua strings and comments."""
        depth = 1
        for brace in filter(lambda piece: piece["brace"], _LUA.finditer(self.source, start)):
            depth += 1 if brace["brace"] == b"{" else -1
            if depth == 0:
                return brace.start()
        raise self.syntax_error('unexpected end of file, expecting "}"', len(self.source))


def _decoded(raw: bytes) -> bytes:
    """Undo nginx's escapes; a backslash before any other byte is kept."""
    if b"\\" not in raw:
        return raw
    return _ESCAPE.sub(lambda match: _CONTROLS.get(match[1], match[1]), raw)


def _printable(raw: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in raw)  # noqa: PLR2004  # ASCII


def takes_quote(line: str) -> bool:
    """Return whether a quote after this beginning of a line starts an argument or is inside a comment."""
    at, kind = 0, "gap"
    while at < len(line):
        found = _TOKEN_OF_LINE.match(line, at)
        if found is None:  # inside quotes, or after a trailing backslash
            return False
        at, kind = found.end(), found.lastgroup or ""
    return kind in {"gap", "comment"}


class TextMode(enum.Enum):
    """The meaning that the next character has for nginx."""

    BARE = "bare"
    COMMENT = "comment"
    QUOTED = "quoted"
    LUA = "lua"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPosition:
    """The position of a text in nginx's language: the current statement, and the names of the open blocks."""

    mode: TextMode = TextMode.BARE
    quote: str = ""
    is_escaped: bool = False
    statement: str = ""
    blocks: tuple[str, ...] = ()
    braces: int = 0

    @property
    def directive(self) -> str:
        """Return the name of the current statement, empty before it begins."""
        words = self.statement.split(maxsplit=1)
        return words[0] if words else ""


def position_after(position: TextPosition, character: str) -> TextPosition:
    """Return the position after one more character of text, by nginx's rules of tokens."""
    match position.mode:
        case TextMode.COMMENT:
            return replace(position, mode=TextMode.BARE) if character == "\n" else position
        case TextMode.QUOTED:
            return _in_quotes(position, character)
        case TextMode.LUA:
            return _in_lua(position, character)
        case TextMode.BARE:
            return _bare(position, character)


def _in_quotes(position: TextPosition, character: str) -> TextPosition:
    if position.is_escaped:
        return replace(position, is_escaped=False)
    if character == "\\":
        return replace(position, is_escaped=True)
    if character == position.quote:
        return replace(position, mode=TextMode.BARE, quote="", statement=position.statement + character)
    return position


def _in_lua(position: TextPosition, character: str) -> TextPosition:
    braces = position.braces + {"{": 1, "}": -1}.get(character, 0)
    if braces:
        return replace(position, braces=braces)
    return replace(position, mode=TextMode.BARE, braces=0, blocks=position.blocks[:-1])


def _bare(position: TextPosition, character: str) -> TextPosition:
    statement = position.statement
    if position.is_escaped or character == "\\":
        return replace(position, is_escaped=not position.is_escaped, statement=statement + "_")
    if not statement or statement[-1] in " \t\r\n":
        begun = _begun(position, character)
        if begun is not None:
            return begun
    if character == ";":
        return replace(position, statement="")
    if character == "{" and not statement.rstrip("{").endswith("$"):
        block = position.directive
        mode = TextMode.LUA if block.endswith(LUA_BLOCK.decode()) else TextMode.BARE
        return replace(position, mode=mode, statement="", blocks=(*position.blocks, block), braces=mode is TextMode.LUA)
    if character == "\n" and not statement.strip(f"{UNKNOWN_TEXT} \t\r\n"):
        return replace(position, statement="")  # a print alone on its line most likely contains whole directives
    return replace(position, statement=statement + character)


def _begun(position: TextPosition, character: str) -> TextPosition | None:
    """Return the position after a character that has a meaning only at the start of a token."""
    if character == "#":
        return replace(position, mode=TextMode.COMMENT)
    if character == "}":
        return replace(position, statement="", blocks=position.blocks[:-1])
    if character in "\"'":
        return replace(position, mode=TextMode.QUOTED, quote=character, statement=position.statement + character)
    return None
