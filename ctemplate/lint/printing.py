"""Findings for printed registered values that need an escape or a default.

Without these, a bad value makes rendering leave its service out, or stops the whole render.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinja2 import nodes

from ctemplate.core.errors import printable
from ctemplate.lint.finding import Finding
from ctemplate.lint.kinds import KEY_FIELD, PLAIN_KINDS, ValueKind
from ctemplate.lint.reading import Reading
from ctemplate.lint.source import TemplateSource, literal, member_name, members, start
from ctemplate.lint.text import Text
from ctemplate.nginx.language.directives import CONNECTS, INNER, PASS
from ctemplate.nginx.language.lexer import UNKNOWN_TEXT, TextMode, TextPosition

FREE = {"tags": "a tag", "meta": "a meta value", "node_meta": "a node's meta value", KEY_FIELD: "the value of a key"}
"""Fields that are usually free text; names and ids are usually tokens."""

_PORT_OF_PRINT = re.compile(rf"[\s/]{re.escape(UNKNOWN_TEXT)}:\Z")
"""The text after a host that is printed alone: its port follows. The host's own print has its own finding."""

_BEFORE_PATH = re.compile(r"(?:[^\s/?]*://)?[^\s/?]*")
_MAPPINGS = frozenset({"meta", "node_meta"})


def prints(source: TemplateSource, reading: Reading, text: Text) -> Iterator[Finding]:
    """Yield prints that lack an escape, or have the wrong one for their place."""
    for printed in text.prints:
        kind, position = reading.kind(printed.node), printed.position
        found = _astray(kind, position) or _wrong(kind, position.mode)
        if found is not None:
            yield source.finding(start(printed.node), *found)


def missing_keys(source: TemplateSource, reading: Reading, text: Text) -> Iterator[Finding]:
    """Yield prints of meta keys that an instance may lack, without a default or an earlier test for the key."""
    for printed in text.prints:
        made_of = [reading.origin(node) for node in (printed.node, *printed.node.find_all(nodes.Name))]
        tests = [test for branch in printed.branches for test in _tests(branch.node)]
        looks = [look for node in made_of for look in _looks(node)]
        looked_at = {key for test in (*tests, *looks) for key in _keys(test)}
        for member in dict.fromkeys(part for node in made_of for part in (node, *members(node))):
            key = _meta_key(member, reading)
            if key is not None and member not in reading.defaulted and key not in looked_at:
                message = f'the key {printable(key)!r} may be missing, and cannot be printed then; add | default("…")'
                yield source.finding(start(printed.node), "CT405", message)


def _meta_key(node: nodes.Node, reading: Reading) -> str | None:
    """Return the meta key that is read; None for a method, or if the key is only known when rendering."""
    if not isinstance(node, nodes.Getattr | nodes.Getitem) or reading.kind(node.node).field not in _MAPPINGS:
        return None
    is_method = isinstance(node, nodes.Getattr) and hasattr(dict, node.attr)
    return member_name(node) if reading.kind(node.node).of is dict and not is_method else None


def _tests(branch: nodes.If | nodes.For) -> Iterator[nodes.Node]:
    """Yield the expressions that an ``if`` or a loop evaluates before its body runs."""
    if branch.test is not None:
        yield branch.test
    if isinstance(branch, nodes.For):
        selecting = (part for part in _filters(branch.iter) if part.name in {"selectattr", "rejectattr"})
        yield from (argument for part in selecting for argument in part.args)


def _filters(node: nodes.Node) -> Iterator[nodes.Filter]:
    if isinstance(node, nodes.Filter):
        yield node
    yield from node.find_all(nodes.Filter)


def _looks(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield the operands that an expression tests before it uses a value: ``a if b``, ``a or b``, ``a and b``."""
    for part in (node, *node.find_all(nodes.Expr)):
        if isinstance(part, nodes.CondExpr):
            yield part.test
        elif isinstance(part, nodes.Or | nodes.And):
            yield part.left


def _keys(test: nodes.Node) -> Iterator[str]:
    """Yield the keys that a condition or a loop's list names, also as text: ``"KEY" in i.meta``."""
    for part in (test, *test.find_all((nodes.Getattr, nodes.Getitem, nodes.Const))):
        name = literal(part) if isinstance(part, nodes.Const) else None
        if isinstance(part, nodes.Getattr | nodes.Getitem):
            name = member_name(part)
        if name is not None:
            yield name.rpartition(".")[2]


def _wrong(kind: ValueKind, mode: TextMode) -> tuple[str, str] | None:
    """Return the code and the sentence for a print of this kind in this place."""
    if mode is TextMode.QUOTED and kind.escape == "quote":
        return "CT402", "| quote adds the quotes itself; remove those around it"
    if not kind.is_registered_text:
        return None
    what = FREE.get(kind.field, f"a registered {kind.field}")
    cost = "refuses the render" if kind.field == KEY_FIELD else "leaves its service out"
    left_out = f"{what} that is no plain token {cost}"
    if mode is TextMode.COMMENT:
        return "CT401", f"{left_out}; print it through | comment"
    if mode is TextMode.QUOTED:
        return "CT402", f"{left_out}; drop the quotes and print it through | quote"
    if mode is TextMode.BARE and kind.field in FREE:
        return "CT403", f"{left_out}; print it through | quote or | token"
    return None


def _astray(kind: ValueKind, position: TextPosition) -> tuple[str, str] | None:
    """Return the code and the sentence for a print of this kind that determines where nginx sends requests."""
    is_text = kind.of is str and bool(kind.field) and kind.field not in PLAIN_KINDS
    if not (is_text or kind.is_registered_number) or position.mode is not TextMode.BARE:
        return None
    words = [] if _PORT_OF_PRINT.search(position.statement) else position.statement.split(maxsplit=1)
    name, target = words[0].encode() if words else b"", words[1] if words[1:] else ""
    is_server = name == b"server" and position.blocks[-1:] == ("upstream",)
    if name in INNER and name != b"try_files" and (not target or target[-1].isspace()):
        return "CT404", f"a registered {kind.field} may not begin where {name.decode()} goes; put a path before it"
    if PASS.fullmatch(name) and _BEFORE_PATH.fullmatch(target) and (kind.escape != "identifier" or not kind.is_whole):
        return (
            "CT404",
            f"a registered {kind.field} must name an upstream; print the upstream's name | identifier in both",
        )
    if (name in CONNECTS or is_server) and _BEFORE_PATH.fullmatch(target):
        return "CT404", f"a registered {kind.field} chooses a host; print an instance's address"
    return None
