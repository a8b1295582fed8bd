"""A template's source for the rules: its text, its tree with exact places, and the findings that it silences.

Must not know what any rule looks for.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import jinja2
from jinja2 import nodes
from jinja2.lexer import Lexer, TokenStream
from jinja2.parser import Parser

from ctemplate.lint.finding import Finding
from ctemplate.template.language.environment import Environment
from ctemplate.template.template import syntax_sentence

_IGNORE = re.compile(r"\bctemplate:\s*ignore\s+(CT\d+(?:[\s,]+CT\d+)*)")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSource:
    """One parsed template. The ``lineno`` of its nodes are offsets into ``text``, so that each node has a column.

    ``ignored`` maps lines to the codes that a comment silences there.
    """

    path: str
    text: str = field(repr=False)
    tree: nodes.Template = field(repr=False)
    ignored: Mapping[int, frozenset[str]]

    def finding(self, node: nodes.Node | int, code: str, message: str) -> Finding:
        """Return a finding at a node, or at an offset."""
        line, column = node_place(self.text, node if isinstance(node, int) else node.lineno)
        return Finding(path=self.path, line=line, column=column, code=code, message=message)

    def silences(self, finding: Finding) -> bool:
        """Return whether a comment of this source silences the finding."""
        return finding.path == self.path and finding.code in self.ignored.get(finding.line, ())


def node_place(text: str, offset: int) -> tuple[int, int]:
    """Return the line and column of an offset; both count from 1."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    line = bisect_right(starts, offset)
    return line, offset - starts[line - 1] + 1


def parse_source(
    path: str,
    text: str,
    environment: Environment,
    wrap: Callable[[nodes.Template], nodes.Template] = lambda tree: tree,
) -> TemplateSource | Finding:
    """Parse a template as the environment would, with the same wrapping; return the finding if it cannot be parsed."""
    text = _LINE_BREAK.sub("\n", text)
    try:
        tokens = tuple(_tokens(text, environment.lexer_of(path)))
    except jinja2.TemplateSyntaxError as exc:
        return Finding(path=path, line=exc.lineno, column=1, code="CT101", message=syntax_sentence(exc, text))
    try:
        tree = _TemplateParser(environment, text, path, tokens).parse()
        tree = wrap(tree)
    except jinja2.TemplateSyntaxError as exc:
        line, column = node_place(text, exc.lineno)
        return Finding(path=path, line=line, column=column, code="CT101", message=syntax_sentence(exc, text, line))
    return TemplateSource(path=path, text=text, tree=tree, ignored=_ignored(text, tokens))


SourceToken = tuple[int, str, str]
"""An offset, a token type and the raw text."""


def _tokens(text: str, lexer: Lexer) -> Iterator[SourceToken]:
    """Yield Jinja's tokens with offsets instead of lines, including the white space that a tag strips."""
    offset = 0
    for _, kind, raw in lexer.tokeniter(text, None):
        offset = text.index(raw, offset)
        yield offset, kind, raw
        offset += len(raw)


class _TemplateParser(Parser):
    """Jinja's parser, with offsets in place of line numbers."""

    def __init__(self, environment: Environment, text: str, path: str, tokens: tuple[SourceToken, ...]) -> None:
        super().__init__(environment, text, path, path)
        self.stream = TokenStream(environment.lexer_of(path).wrap(tokens), None, None)


def _ignored(text: str, tokens: tuple[SourceToken, ...]) -> dict[int, frozenset[str]]:
    """Return the codes silenced on each line: a comment's own line, or the next one if the comment is alone."""
    ignored: dict[int, frozenset[str]] = {}
    for offset, kind, raw in tokens:
        found = _IGNORE.search(raw) if kind == "comment" else None
        if found:
            line, _ = node_place(text, offset + len(raw))
            line += _stands_alone(text, offset, offset + len(raw))
            ignored[line] = ignored.get(line, frozenset()) | frozenset(re.findall(r"CT\d+", found[1]))
    return ignored


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Return whether the lines of a comment (whose words are between the offsets) hold nothing else."""
    before = text[text.rfind("\n", 0, start) + 1 : start]
    behind = text[end:].partition("\n")[0]
    return not before.strip(" \t{#-+") and not behind.strip(" \t-+#}")


def members(tree: nodes.Node) -> Iterator[nodes.Getattr | nodes.Getitem]:
    """Yield every ``VALUE.NAME`` and ``VALUE[…]``."""
    yield from tree.find_all(nodes.Getattr)
    yield from tree.find_all(nodes.Getitem)


def member_name(node: nodes.Getattr | nodes.Getitem) -> str | None:
    """Return the member's name, None if it is only known when rendering."""
    return node.attr if isinstance(node, nodes.Getattr) else literal(node.arg)


def literal(node: nodes.Node | None) -> str | None:
    """Return the text of a literal, None for anything else."""
    return node.value if isinstance(node, nodes.Const) and isinstance(node.value, str) else None


def start(node: nodes.Node) -> int:
    """Return the offset where an expression begins."""
    return min(part.lineno for part in (node, *node.find_all(nodes.Expr)) if part.lineno is not None)
