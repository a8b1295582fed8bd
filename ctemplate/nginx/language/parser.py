"""nginx's configuration language: bytes into directives, by the rules that nginx itself reads with.

The rules are those of `ngx_conf_read_token` and `ngx_conf_parse` (nginx's `src/core/ngx_conf_file.c`), compared with
nginx 1.22 by `tests/integration/test_syntax_against_nginx.py`. The module must not know files, templates, or what any
single directive does.
"""

import re
from collections.abc import Iterator
from typing import NoReturn, TypeAlias

from ctemplate.core.values import dataclass

TOKEN_LIMIT_BYTES = 4096
"""nginx's read buffer: an argument or a comment that fills it is a fault."""

MAX_DEPTH = 100
"""Blocks within blocks; nginx recurses here, and no real configuration comes near."""

VALUE_BLOCKS = frozenset({b"map", b"geo", b"types", b"split_clients", b"charset_map"})
"""Blocks whose entries are data, not directives; they hold no blocks of their own."""

LUA_BLOCK = b"_by_lua_block"
"""A directive named so holds Lua source. Without the Lua module nginx refuses the name itself, so the name decides."""

_GAP = rb"(?:[ \t\r\n]++|#[^\n]{0,%d}+\n)*+" % (TOKEN_LIMIT_BYTES - 2)
_PLAIN = rb"(?:[^ \t\r\n\x0b\x0c;{}#\"'\\]++|(?:\"[^\"\\]*+\"|'[^'\\]*+')(?=[ \t\r\n;{]))"
_STATEMENT = re.compile(  # a whole directive without escapes and ${}: most of them, read in one step
    rb"%b(?:(%b(?:[ \t\r\n]++%b)*+)[ \t\r\n]*+(?:;|(?<!\$)\{)|(\}))" % (_GAP, _PLAIN, _PLAIN)
)
_PLAIN_BODY = rb"(?:)"  # what stands between a block's braces, in plain statements and blocks of them, some deep
for _ in range(5):
    _PLAIN_BODY = rb"(?:%b%b(?:[ \t\r\n]++%b)*+[ \t\r\n]*+(?:;|(?<!\$)\{%b\}))*+%b(?=\})" % (
        _GAP, _PLAIN, _PLAIN, _PLAIN_BODY, _GAP,
    )  # fmt: skip
_BODY = re.compile(_PLAIN_BODY)
_WORD = re.compile(rb"\"([^\"]*+)\"|'([^']*+)'|([^ \t\r\n]++)")  # within what _STATEMENT has matched
_SPACE = re.compile(rb"[ \t\r\n]*+")
_BARE = re.compile(rb"(?:[^ \t\r\n;{\\$]++|\\.|\$\{*+)++", re.DOTALL)
_QUOTED = {
    b'"': re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL),
    b"'": re.compile(rb"'(?:[^'\\]++|\\.)*+'", re.DOTALL),
}
_ESCAPE = re.compile(rb"\\([\"'\\trn])")
_CONTROLS = {b"t": b"\t", b"r": b"\r", b"n": b"\n"}
_LUA = re.compile(
    rb"(?:--)?\[(?P<level>=*+)\[(?:.*?\](?P=level)\]|.*)|--[^\n]*+|\"(?:[^\"\\]++|\\.)*+\"?|'(?:[^'\\]++|\\.)*+'?"
    rb"|(?P<brace>[{}])|[^-\[\"'{}]++|.",
    re.DOTALL,
)


class NginxSyntaxError(Exception):
    """nginx would not read this file: `where` names it, `line` counts from 1, `what` is nginx's wording."""

    def __init__(self, *, where: str, line: int, what: str) -> None:
        super().__init__(where, line, what)
        self.where = where
        self.line = line
        self.what = what

    def __str__(self) -> str:
        return f"{self.where}:{self.line}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One directive; its name and arguments are decoded: without quotes and escapes.

    `line` is where the name starts, `last_line` where its `;` or `{` stands: nginx names that one in its messages.
    `start` and `end` are offsets into the source: the name's first byte, and the byte after the `;` or `{`.
    `block` is None for a directive that ends in `;`. The source of a Lua block is the last argument of its directive.
    """

    name: bytes
    args: tuple[bytes, ...]
    line: int
    last_line: int
    start: int
    end: int
    block: "tuple[Directive, ...] | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A name or argument as it stands in the source; the offsets include its quotes."""

    value: bytes
    start: int
    end: int
    quoted: bool


Statement: TypeAlias = tuple[list[Word], bytes, int]
"""A directive's words, the byte that ended it (`;`, `{`, `}`, nothing at the end of the file), the offset after it."""


def parse_config(
    source: bytes, *, where: str, inside: bytes = b"", sought: re.Pattern[bytes] | None = None
) -> tuple[Directive, ...]:
    """Return the directives of one file, or raise NginxSyntaxError where nginx would refuse to read on.

    `inside` names the block that includes this file, if any: the entries of a `map` are no directives.
    Includes are not followed. Unknown names and wrong counts of arguments are no fault here.

    With `sought`, plain blocks in which the pattern finds nothing come as if they were empty, and faults in them may go
    unseen: for whoever looks for a few directives in a long file.
    """
    return _ConfigParser(source, where, inside, sought).directives()


def words(source: bytes, directive: Directive) -> tuple[Word, ...]:
    """Return a directive's name and arguments with their places in the source that it was parsed from."""
    found, _, _ = _TokenReader(source, "").statement(directive.start)
    return tuple(found)


def walk(directives: tuple[Directive, ...], *, inside: bytes = b"") -> Iterator[tuple[int, bytes, Directive]]:
    """Yield every directive in the order of the file, with its depth and the name of the block that holds it."""
    pending = [(inside, iter(directives))]
    while pending:
        parent, rest = pending[-1]
        directive = next(rest, None)
        if directive is None:
            pending.pop()
            continue
        yield len(pending) - 1, parent, directive
        if directive.block:
            pending.append((directive.name, iter(directive.block)))


@dataclass(frozen=True, slots=True)
class _TokenReader:
    """Reads one directive at a time, word by word."""

    source: bytes
    where: str

    def statement(self, at: int) -> Statement:
        found: list[Word] = []
        while True:
            at = self.gap(at)
            byte = self.source[at : at + 1]
            if not byte and found:
                raise self.fault('unexpected end of file, expecting ";" or "}"', at)
            if not byte:
                return found, b"", at
            if byte in b";{" if found else byte == b"}":
                return found, byte, at + 1
            if byte in b";{}":
                self.unexpected(at)
            word = self.quoted(at, byte) if byte in _QUOTED else self.bare(at)
            found.append(word)
            at = word.end

    def gap(self, at: int) -> int:
        while True:
            at = self._space_end(at)
            if self.source[at : at + 1] != b"#":
                return at
            line_feed = self.source.find(b"\n", at)
            end = len(self.source) if line_feed < 0 else line_feed
            self.refuse_long(at, end)
            at = end

    def bare(self, at: int) -> Word:
        match = _BARE.match(self.source, at)
        end = match.end() if match else at
        terminator = self.source[end : end + 1]
        if terminator in b"\\":  # nothing, or a last backslash with nothing to escape
            self.unfinished(at)
        self.refuse_long(at, end + terminator.isspace())
        return Word(value=_decoded(self.source[at:end]), start=at, end=end, quoted=False)

    def quoted(self, at: int, quote: bytes) -> Word:
        match = _QUOTED[quote].match(self.source, at)
        if match is None:
            self.unfinished(at + 1, quote)
        end = match.end()
        self.refuse_long(at + 1, end - 1, quote)
        following = self.source[end : end + 1]
        self.refuse_long(at + 1, end + (following in b" \t\r\n"))
        if following not in b" \t\r\n;{)":
            self.unexpected(end)
        return Word(value=_decoded(self.source[at + 1 : end - 1]), start=at, end=end, quoted=True)

    def unfinished(self, start: int, quote: bytes = b"") -> NoReturn:
        self.refuse_long(start, len(self.source), quote)
        raise self.fault('unexpected end of file, expecting ";" or "}"', len(self.source))

    def refuse_long(self, start: int, last: int, quote: bytes = b"") -> None:
        """Refuse text from `start` when nginx still has to keep it in its buffer while it reads the byte at `last`."""
        if min(last, len(self.source) - 1) - start < TOKEN_LIMIT_BYTES:
            return
        if quote:
            raise self.fault(f'too long parameter, probably missing terminating "{quote.decode()}" character', start)
        raise self.fault(f'too long parameter "{_printable(self.source[start : start + 10])}..." started', start)

    def unexpected(self, at: int) -> NoReturn:
        raise self.fault(f'unexpected "{_printable(self.source[at : at + 1])}"', at)

    def fault(self, what: str, at: int) -> NginxSyntaxError:
        return NginxSyntaxError(where=self.where, line=self.source.count(b"\n", 0, at) + 1, what=what)

    def _space_end(self, at: int) -> int:
        match = _SPACE.match(self.source, at)
        return match.end() if match else at


@dataclass(slots=True)
class _Block:
    """A block that is still open: its directive so far, and what it holds."""

    name: bytes
    args: tuple[bytes, ...]
    line: int
    last_line: int
    start: int
    end: int

    def closed(self, held: list[Directive]) -> Directive:
        return Directive(
            name=self.name,
            args=self.args,
            line=self.line,
            last_line=self.last_line,
            start=self.start,
            end=self.end,
            block=tuple(held),
        )


class _ConfigParser:
    def __init__(self, source: bytes, where: str, inside: bytes, sought: re.Pattern[bytes] | None) -> None:
        self.source = source
        self.sought = sought
        self.reader = _TokenReader(source, where)
        self.inside = inside
        self.open: list[tuple[_Block, list[Directive]]] = []  # each with what its parent held before it
        self.held: list[Directive] = []

    def directives(self) -> tuple[Directive, ...]:
        """Read statements until the file ends; the one loop where speed counts."""
        source, match = self.source, _STATEMENT.match
        at, line = 0, 1
        while True:
            simple = match(source, at)
            if simple is not None and (simple[2] or simple.end() - simple.start(1) <= TOKEN_LIMIT_BYTES):
                name, *args = _split(simple[1]) if simple[1] else (b"",)
                terminator, start, end = source[simple.end() - 1 : simple.end()], simple.start(1), simple.end()
            else:
                found, terminator, end = self.reader.statement(at)
                name, *args = [word.value for word in found] or (b"",)
                start = found[0].start if found else end
            if terminator == b";":
                line += source.count(b"\n", at, start)
                last_line = line + source.count(b"\n", start, end)
                self.held.append(
                    Directive(name=name, args=tuple(args), line=line, last_line=last_line, start=start, end=end)
                )
                line = last_line
            elif terminator == b"{":
                line += source.count(b"\n", at, start)
                last_line = line + source.count(b"\n", start, end)
                end = self.enter(_Block(name, tuple(args), line, last_line, start, end))
                line = last_line + source.count(b"\n", self.open[-1][0].end, end)
            elif terminator == b"}":
                self.leave(end - 1)
                line += source.count(b"\n", at, end)
            else:
                return self.finish(end)
            at = end

    def enter(self, block: _Block) -> int:
        parent = self.open[-1][0].name if self.open else self.inside
        if parent in VALUE_BLOCKS:
            self.reader.unexpected(block.end - 1)
        if len(self.open) == MAX_DEPTH:
            raise self.reader.fault(f"more than {MAX_DEPTH} blocks within each other", block.end)
        self.open.append((block, self.held))
        self.held = []
        if not block.name.endswith(LUA_BLOCK):
            return self._passed_over(block.end)
        closing = self._lua_end(block.end)
        block.args += (self.source[block.end : closing],)
        return closing

    def _passed_over(self, at: int) -> int:
        """Return the end of a block's body where nothing in it is sought; else its start, `at`."""
        body = _BODY.match(self.source, at) if self.sought is not None else None
        if body is None or self.sought is None or self.sought.search(body[0]) or LUA_BLOCK in body[0]:
            return at
        return body.end()

    def leave(self, at: int) -> None:
        if not self.open:
            self.reader.unexpected(at)
        block, before = self.open.pop()
        before.append(block.closed(self.held))
        self.held = before

    def finish(self, at: int) -> tuple[Directive, ...]:
        if self.open:
            raise self.reader.fault('unexpected end of file, expecting "}"', at)
        return tuple(self.held)

    def _lua_end(self, start: int) -> int:
        """Return the offset of the brace that closes a Lua block; braces in Lua's strings and comments do not count."""
        depth = 1
        for brace in filter(lambda piece: piece["brace"], _LUA.finditer(self.source, start)):
            depth += 1 if brace["brace"] == b"{" else -1
            if depth == 0:
                return brace.start()
        raise self.reader.fault('unexpected end of file, expecting "}"', len(self.source))


def _split(statement: bytes) -> list[bytes]:
    if b'"' not in statement and b"'" not in statement:
        return statement.split()
    return [b"".join(word) for word in _WORD.findall(statement)]


def _decoded(raw: bytes) -> bytes:
    """Undo nginx's escapes; a backslash before any other byte stays."""
    if b"\\" not in raw:
        return raw
    return _ESCAPE.sub(lambda match: _CONTROLS.get(match[1], match[1]), raw)


def _printable(raw: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in raw)  # noqa: PLR2004  # ASCII
