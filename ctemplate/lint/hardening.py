"""Add the filters that nginx's printing rule requires to a template, and report them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import jinja2
from jinja2 import nodes

from ctemplate.lint.finding import Finding
from ctemplate.lint.kinds import ValueKind
from ctemplate.lint.printing import FREE
from ctemplate.lint.reading import read_tree
from ctemplate.lint.source import TemplateSource, parse_source, start
from ctemplate.lint.text import follow
from ctemplate.nginx.language.directives import PASS
from ctemplate.nginx.language.lexer import TextMode, TextPosition
from ctemplate.template.language.environment import Environment
from ctemplate.template.language.formats import NGINX
from ctemplate.template.language.functions import Functions

_STRING_OR_END = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\s*[-+]?\}\}""")
_BEFORE_NAME = re.compile(r"[^\s/?]*://")
_WHOLE = (nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Call, nodes.Const, nodes.Filter)


@dataclass(frozen=True, slots=True)
class Hardened:
    """The template with its new filters, and a finding for each place: a filter was added, or a person must decide."""

    text: str
    findings: tuple[Finding, ...]


def hardened(path: str, text: str) -> Hardened:
    """Return an nginx template with the required filter added wherever a registered text is printed without it."""
    environment = Environment(jinja2.DictLoader({}), escape=NGINX, functions=Functions({}, {}))
    source = parse_source(path, text, environment)
    if isinstance(source, Finding):
        return Hardened(text, (source,))
    edits, findings = [], []
    for offset, expression, name, finding in _wanted(source, environment):
        findings.append(finding)
        if name:
            edits.append((offset, expression, name))
    text = source.text
    for offset, expression, name in sorted(edits, key=lambda edit: edit[0], reverse=True):
        text = _filtered(text, offset, expression, name)
    return Hardened(text, tuple(findings))


def _wanted(source: TemplateSource, environment: Environment) -> Iterator[tuple[int, nodes.Expr, str, Finding]]:
    """Yield where a print begins, its expression, the filter that it needs, and the sentence for the finding."""
    reading = read_tree(source.tree, functions=environment.globals)
    for printed in follow(source.tree).prints:
        kinds = (reading.kind(part) for part in _parts(printed.node))
        kind = next((kind for kind in kinds if kind.is_registered_text), None)
        name = None if kind is None else _filter_for(kind, printed.position)
        if kind is None or name is None:
            continue
        what = FREE.get(kind.field, f"a registered {kind.field}")
        said = f"added | {name}: {what} is printed here" if name else _QUOTED.format(what=what)
        offset = start(printed.node)
        yield offset, printed.node, name, source.finding(offset, "CT401", said)


def _parts(node: nodes.Expr) -> Iterator[nodes.Expr]:
    """Yield the expressions that a print may show: itself, each side of a choice, and each part of a concatenation."""
    yield node
    if isinstance(node, nodes.BinExpr):
        yield from (*_parts(node.left), *_parts(node.right))
    elif isinstance(node, nodes.Concat):
        for part in node.nodes:
            yield from _parts(part)
    elif isinstance(node, nodes.CondExpr):
        yield from _parts(node.expr1)
        if node.expr2 is not None:
            yield from _parts(node.expr2)


_QUOTED = "{what} is within quotes; remove the quotes and print it through | quote"


def _filter_for(kind: ValueKind, position: TextPosition) -> str | None:
    """Return the filter for a registered text in its place: empty if no filter suits, None if it needs none."""
    if position.mode is TextMode.COMMENT:
        return "comment"
    if position.mode is TextMode.QUOTED:
        return ""
    if position.mode is not TextMode.BARE:
        return None
    words = position.statement.split(maxsplit=1)
    directive, target = words[0] if words else "", words[1] if words[1:] else ""
    is_reference = PASS.fullmatch(directive.encode()) is not None and _BEFORE_NAME.fullmatch(target)
    if (directive == "upstream" and not target) or is_reference:
        return "identifier"
    return "token" if kind.field in FREE else None


def _filtered(text: str, offset: int, expression: nodes.Expr, name: str) -> str:
    """Return the text with a filter added at the end of the print that begins there."""
    end = offset
    while found := _STRING_OR_END.search(text, end):
        end = found.end()
        if found[0].rstrip().endswith("}}") and not found[0].startswith(('"', "'")):
            code = text[offset : found.start()]
            shown = code if isinstance(expression, _WHOLE) else f"({code})"
            return f"{text[:offset]}{shown} | {name}{text[found.start() :]}"
    return text
