"""nginx's configuration language: parse bytes into directives by nginx's own rules.

The rules are those of `ngx_conf_parse` (nginx's `src/core/ngx_conf_file.c`), over the words of `lexer`, compared with
nginx 1.22 by `tests/integration/test_syntax_against_nginx.py`. The module must not know files, templates, or what any
single directive does.
"""

import re
from collections.abc import Iterator

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.directives import LUA_BLOCK, VALUE_BLOCKS
from ctemplate.nginx.language.lexer import TOKEN_LIMIT_BYTES, TokenReader, Word

MAX_DEPTH = 100
"""Maximum depth of blocks; nginx recurses here, and no real configuration comes near this depth."""

_GAP = rb"(?:[ \t\r\n]++|#[^\n]{0,%d}+\n)*" % (TOKEN_LIMIT_BYTES - 2)
_PLAIN = rb"(?:[^ \t\r\n\x0b\x0c;{}#\"'\\]++|(?:\"[^\"\\]*+\"|'[^'\\]*+')(?=[ \t\r\n;{]))"
_STATEMENT = re.compile(  # a whole directive without escapes and ${}: most directives, matched in one step
    rb"%b(?:(%b(?:[ \t\r\n]++%b)*)[ \t\r\n]*+(?:;|(?<!\$)\{)|(\}))" % (_GAP, _PLAIN, _PLAIN)
)
_PLAIN_BODY = rb"(?:)"  # the content of a block: plain statements and nested blocks, to a limited depth
for _ in range(5):
    _PLAIN_BODY = rb"(?:%b%b(?:[ \t\r\n]++%b)*[ \t\r\n]*+(?:;|(?<!\$)\{%b\}))*%b(?=\})" % (
        _GAP, _PLAIN, _PLAIN, _PLAIN_BODY, _GAP,
    )  # fmt: skip
_BODY = lazy_pattern(_PLAIN_BODY)
_WORD = lazy_pattern(rb"\"([^\"]*+)\"|'([^']*+)'|([^ \t\r\n]++)")  # inside text that _STATEMENT has matched


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One directive; its name and arguments are decoded: without quotes and escapes.

    `line` is the line of the name, `last_line` that of its `;` or `{`, which nginx names in its messages. `start` and
    `end` are offsets into the source: the name's first byte, and the byte after the `;` or `{`. `block` is None for a
    directive that ends in `;`. The source of a Lua block is the last argument of its directive.
    """

    name: bytes
    args: tuple[bytes, ...]
    line: int
    last_line: int
    start: int
    end: int
    block: "tuple[Directive, ...] | None" = None


def parse_config(
    source: bytes, *, where: str, inside: bytes = b"", sought: re.Pattern[bytes] | None = None
) -> tuple[Directive, ...]:
    """Return the directives of one file, or raise NginxSyntaxError where nginx would stop reading.

    `inside` names the block that includes this file, if any: the entries of a `map` are not directives. Includes are
    not followed. Unknown names and wrong counts of arguments are not errors here.

    With `sought`, plain blocks in which the pattern matches nothing are returned empty, and errors in them may go
    unnoticed. This serves callers that look for a few directives in a long file.
    """
    return _ConfigParser(source, where, inside, sought).directives()


def words(source: bytes, directive: Directive) -> tuple[Word, ...]:
    """Return a directive's name and arguments with their places in the source that it was parsed from."""
    found, _, _ = TokenReader(source, "").statement(directive.start)
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


@dataclass(slots=True)
class _Block:
    """An open block: its directive so far, and its content."""

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
        self.reader = TokenReader(source, where)
        self.inside = inside
        self.open: list[tuple[_Block, list[Directive]]] = []  # each with the content of its parent before it
        self.held: list[Directive] = []

    def directives(self) -> tuple[Directive, ...]:
        """Read statements until the file ends; the only loop whose speed matters."""
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
            raise self.reader.syntax_error(f"more than {MAX_DEPTH} blocks within each other", block.end)
        self.open.append((block, self.held))
        self.held = []
        if not block.name.endswith(LUA_BLOCK):
            return self._passed_over(block.end)
        closing = self.reader.lua_end(block.end)
        block.args += (self.source[block.end : closing],)
        return closing

    def _passed_over(self, at: int) -> int:
        """Return the end of a block's body if the pattern matches nothing in it; else its start, `at`."""
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
            raise self.reader.syntax_error('unexpected end of file, expecting "}"', at)
        return tuple(self.held)


def _split(statement: bytes) -> list[bytes]:
    if b'"' not in statement and b"'" not in statement:
        return statement.split()
    return [b"".join(word) for word in _WORD.findall(statement)]
