"""Findings for the operator's variables: used without a value, or given but unused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from jinja2 import nodes

from ctemplate.core.errors import printable
from ctemplate.lint.finding import Finding
from ctemplate.lint.reading import Reading
from ctemplate.lint.source import TemplateSource, member_name, members
from ctemplate.template.language.functions import suggestion

VAR = "var"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A variable with a value, and where it was given: ``line`` is 0 if unknown."""

    name: str
    path: str
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A variable read in a template."""

    name: str
    node: nodes.Expr


def variable_uses(tree: nodes.Node) -> Iterator[Use]:
    """Yield every ``var.NAME`` and ``var["NAME"]``."""
    for node in members(tree):
        name = member_name(node)
        if name is not None and isinstance(node.node, nodes.Name) and node.node.name == VAR:
            yield Use(name=name, node=node)


def is_opaque(tree: nodes.Template) -> bool:
    """Return whether a template reads variables by names that its source does not show."""
    return sum(node.name == VAR for node in tree.find_all(nodes.Name)) > sum(1 for _ in variable_uses(tree))


def missing(source: TemplateSource, reading: Reading, given: Mapping[str, Given]) -> Iterator[Finding]:
    """Yield variables that have no value and no default."""
    guarded = set(_guarded(source.tree, reading))
    for use in variable_uses(source.tree):
        if use.name in given or use.node in reading.defaulted or use.node in guarded:
            continue
        name = printable(use.name)
        fix = suggestion(use.name, given, "var.") or f"; give it by -var {name}=… or [vars], or write | default(…)"
        yield source.finding(use.node.lineno - len(VAR), "CT201", f"'var.{name}' has no value{fix}")


def _guarded(tree: nodes.Template, reading: Reading) -> Iterator[nodes.Expr]:
    """Yield the uses in branches of a condition that tests the same variable for being undefined."""
    conditions: list[nodes.If | nodes.CondExpr] = [*tree.find_all(nodes.If), *tree.find_all(nodes.CondExpr)]
    for condition in conditions:
        asked = {use.name for use in variable_uses(condition.test) if use.node in reading.defaulted}
        yield from (use.node for use in variable_uses(condition) if use.name in asked)


def unused(given: Iterable[Given], trees: Iterable[nodes.Template]) -> Iterator[Finding]:
    """Yield variables that are given but used by no template."""
    trees = tuple(trees)
    if any(is_opaque(tree) for tree in trees):
        return
    used = {use.name for tree in trees for use in variable_uses(tree)}
    for variable in given:
        if variable.name not in used:
            message = f"no template uses var.{printable(variable.name)}{suggestion(variable.name, used, 'var.')}"
            column = 1 if variable.line else 0
            yield Finding(path=variable.path, line=variable.line, column=column, code="CT202", message=message)


def line_of(name: str, text: str) -> int:
    """Return the line of a configuration file that sets a variable, 0 if unknown."""
    assignment = re.compile(rf"""(?:^|[\s{{,."']){re.escape(name)}["']?\s*[=:]""")
    found = [number for number, line in enumerate(text.splitlines(), 1) if assignment.search(line)]
    return found[0] if len(found) == 1 else 0
