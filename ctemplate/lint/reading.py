"""Read a template's tree once: the kind of each expression, undefined names, and the origin of each name.

Follows Jinja's scope rules generously: a name that any path defines counts as defined. Must not know codes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import nodes

from ctemplate.lint import kinds
from ctemplate.lint.kinds import NUMBER, TEXT, UNKNOWN_KIND, ValueKind
from ctemplate.lint.source import literal, member_name

IMPLICIT = frozenset({"self", "super", "caller", "varargs", "kwargs", "loop"})
_TOLERANT_TESTS = frozenset({"defined", "undefined"})
_DEFAULTS = frozenset({"default", "d"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NameMeaning:
    """The meaning of a name: its kind, and the expression that it was set to."""

    kind: ValueKind = UNKNOWN_KIND
    made_of: nodes.Node | None = None


NameScope = dict[str, NameMeaning]


@dataclass(slots=True, kw_only=True)
class Reading:
    """The result of reading a tree; ``defaulted`` are expressions that may be undefined without harm.

    ``uncalled`` are names of functions that no call follows.
    """

    functions: Mapping[str, Any]
    kinds: dict[nodes.Node, ValueKind] = field(default_factory=dict)
    made_of: dict[nodes.Node, nodes.Node] = field(default_factory=dict)
    unknown: list[nodes.Name] = field(default_factory=list)
    uncalled: list[nodes.Name] = field(default_factory=list)
    defaulted: set[nodes.Node] = field(default_factory=set)

    def kind(self, node: nodes.Node) -> ValueKind:
        """Return what is known about an expression."""
        return self.kinds.get(node, UNKNOWN_KIND)

    def origin(self, node: nodes.Node) -> nodes.Node:
        """Return the expression that a name was set to, or the expression itself."""
        seen: set[nodes.Node] = set()
        while node in self.made_of and node not in seen:
            seen.add(node)
            node = self.made_of[node]
        return node


def read_tree(tree: nodes.Template, *, functions: Mapping[str, Any], given: Iterable[str] = ()) -> Reading:
    """Read a tree; ``functions`` are the names that every template has, ``given`` those of the including template."""
    reading = Reading(functions=functions)
    scope: NameScope = {name: NameMeaning() for name in (*IMPLICIT, *given, *exported(tree))}
    _TreeReader(reading).body(tree.body, scope)
    return reading


def exported(tree: nodes.Template) -> frozenset[str]:
    """Return the names that a template defines for importers: those it sets, imports and defines outside macros."""
    names: set[str] = set()
    for node in tree.find_all((nodes.Macro, nodes.Import, nodes.FromImport, nodes.Assign, nodes.AssignBlock)):
        if isinstance(node, nodes.Macro):
            names.add(node.name)
        elif isinstance(node, nodes.Import):
            names.add(node.target)
        elif isinstance(node, nodes.FromImport):
            names.update(alias if isinstance(alias, str) else alias[1] for alias in node.names)
        elif isinstance(node, nodes.Assign | nodes.AssignBlock):
            names.update(name.name for name in _targets(node.target))
    return frozenset(names)


def _targets(target: nodes.Node) -> list[nodes.Name]:
    if isinstance(target, nodes.Name):
        return [target]
    return list(target.find_all(nodes.Name))


class _TreeReader:
    """Walks the statements in order; copies the scope where Jinja opens a new one."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def body(self, body: Iterable[nodes.Node], scope: NameScope) -> None:
        for node in body:
            statement = getattr(self, f"_{type(node).__name__.lower()}", None)
            if statement is None:
                self._other(node, scope)
            else:
                statement(node, scope)

    def _other(self, node: nodes.Node, scope: NameScope) -> None:
        for child in node.iter_child_nodes():
            if isinstance(child, nodes.Expr):
                self.kind(child, scope)
            else:
                self.body([child], scope)

    def _for(self, node: nodes.For, scope: NameScope) -> None:
        listed = self.kind(node.iter, scope)
        inner = dict(scope)
        _bind(node.target, NameMeaning(kind=_item(listed)), inner)
        if node.test is not None:
            self.kind(node.test, inner)
        self.body(node.body, inner)
        self.body(node.else_, dict(scope))

    def _assign(self, node: nodes.Assign, scope: NameScope) -> None:
        kind = self.kind(node.node, scope)
        if isinstance(node.target, nodes.NSRef):
            return
        _bind(node.target, NameMeaning(kind=kind, made_of=node.node), scope)

    def _assignblock(self, node: nodes.AssignBlock, scope: NameScope) -> None:
        if node.filter is not None:
            self.kind(node.filter, scope)
        self.body(node.body, dict(scope))
        _bind(node.target, NameMeaning(), scope)

    def _with(self, node: nodes.With, scope: NameScope) -> None:
        inner = dict(scope)
        for target, value in zip(node.targets, node.values, strict=True):
            _bind(target, NameMeaning(kind=self.kind(value, scope), made_of=value), inner)
        self.body(node.body, inner)

    def _macro(self, node: nodes.Macro, scope: NameScope) -> None:
        scope[node.name] = NameMeaning()
        self._callable(node, scope)

    def _callblock(self, node: nodes.CallBlock, scope: NameScope) -> None:
        self.kind(node.call, scope)
        self._callable(node, scope)

    def _callable(self, node: nodes.Macro | nodes.CallBlock, scope: NameScope) -> None:
        for default in node.defaults:
            self.kind(default, scope)
        self.body(node.body, scope | {argument.name: NameMeaning() for argument in node.args})

    def _import(self, node: nodes.Import, scope: NameScope) -> None:
        self.kind(node.template, scope)
        scope[node.target] = NameMeaning()

    def _fromimport(self, node: nodes.FromImport, scope: NameScope) -> None:
        self.kind(node.template, scope)
        scope.update((alias if isinstance(alias, str) else alias[1], NameMeaning()) for alias in node.names)

    def _block(self, node: nodes.Block, scope: NameScope) -> None:
        self.body(node.body, dict(scope))

    # expressions

    def kind(self, node: nodes.Node, scope: NameScope) -> ValueKind:
        """Return an expression's kind and store it, together with the kinds of its parts."""
        parts = {child: self.kind(child, scope) for child in node.iter_child_nodes()}
        if isinstance(node, nodes.Call):
            self._reading.uncalled = [name for name in self._reading.uncalled if name is not node.node]
        kind = self._kind(node, parts, scope)
        self._reading.kinds[node] = kind
        return kind

    def _kind(self, node: nodes.Node, parts: Mapping[nodes.Node, ValueKind], scope: NameScope) -> ValueKind:
        match node:
            case nodes.Name():
                return self._name(node, scope)
            case nodes.Call():
                return self._call(node)
            case nodes.Filter():
                return self._filter(node, parts)
            case nodes.Test():
                return self._test(node)
            case nodes.Getattr() | nodes.Getitem():
                return _member(parts[node.node], node)
            case _:
                return _composed(node, tuple(parts.values()))

    def _name(self, node: nodes.Name, scope: NameScope) -> ValueKind:
        meaning = scope.get(node.name)
        if node.ctx != "load":
            return UNKNOWN_KIND
        if meaning is None:
            if node.name not in self._reading.functions:
                self._reading.unknown.append(node)
            elif inspect.isroutine(self._reading.functions[node.name]):
                self._reading.uncalled.append(node)
            return UNKNOWN_KIND
        if meaning.made_of is not None:
            self._reading.made_of[node] = meaning.made_of
        return meaning.kind

    def _test(self, node: nodes.Test) -> ValueKind:
        if node.name in _TOLERANT_TESTS:
            self._reading.defaulted.add(node.node)
        return NUMBER

    def _call(self, node: nodes.Call) -> ValueKind:
        called = node.node
        if isinstance(called, nodes.Name):
            if called.name in kinds.CLAIMS:
                return ValueKind(of=str, is_claimed=True)
            if called.name in kinds.RETURNING and node.args:
                return self._reading.kind(node.args[0])
            function = self._reading.functions.get(called.name)
            return kinds.of_result(function) if callable(function) else UNKNOWN_KIND
        if isinstance(called, nodes.Getattr):
            return kinds.of_method(self._reading.kind(called.node), called.attr)
        return UNKNOWN_KIND

    def _filter(self, node: nodes.Filter, parts: Mapping[nodes.Node, ValueKind]) -> ValueKind:
        if node.node is None:
            return UNKNOWN_KIND
        if node.name in _DEFAULTS:
            self._reading.defaulted.add(node.node)
        if node.name == "map":
            return _mapped(node, parts[node.node])
        return kinds.of_filter(parts[node.node], node.name)


def _bind(target: nodes.Node, meaning: NameMeaning, scope: NameScope) -> None:
    if isinstance(target, nodes.Name):
        scope[target.name] = meaning
        return
    for number, name in enumerate(getattr(target, "items", ())):
        parts = meaning.kind.parts
        _bind(name, NameMeaning(kind=parts[number] if number < len(parts) else UNKNOWN_KIND), scope)


def _item(listed: ValueKind) -> ValueKind:
    if listed.of is dict and listed.parts:
        return listed.parts[0]
    return listed.items or UNKNOWN_KIND


def _member(kind: ValueKind, node: nodes.Getattr | nodes.Getitem) -> ValueKind:
    name = member_name(node)
    if kind.is_model and name is not None:
        return kinds.of_field(kind, name)
    return kind.items or UNKNOWN_KIND if kind.of in {tuple, dict} else UNKNOWN_KIND


def _composed(node: nodes.Node, parts: tuple[ValueKind, ...]) -> ValueKind:
    """Return the kind of a literal, or of an operator's result."""
    match node:
        case nodes.Const():
            return (
                TEXT if isinstance(node.value, str) else NUMBER if isinstance(node.value, int | float) else UNKNOWN_KIND
            )
        case nodes.Concat():
            return kinds.joined_kind(list(parts))
        case nodes.BinExpr() | nodes.UnaryExpr():
            return _calculated(node, parts)
        case nodes.List() | nodes.Tuple():
            return ValueKind(of=tuple, items=parts[0] if len(set(parts)) == 1 else UNKNOWN_KIND)
        case nodes.CondExpr():
            branches = set(parts[1:])
            return branches.pop() if len(branches) == 1 else UNKNOWN_KIND
        case _:
            return UNKNOWN_KIND


def _calculated(node: nodes.BinExpr | nodes.UnaryExpr, parts: tuple[ValueKind, ...]) -> ValueKind:
    """Return the kind of an operator's result: a text from texts, a registered number from a registered number."""
    if isinstance(node, nodes.Add | nodes.Mod) and any(kind.of is str for kind in parts):
        return kinds.joined_kind(list(parts))
    return next((kind for kind in parts if kind.is_registered_number), UNKNOWN_KIND)


def _mapped(node: nodes.Filter, listed: ValueKind) -> ValueKind:
    item = listed.items or UNKNOWN_KIND
    for keyword in node.kwargs:
        if keyword.key == "attribute" and (name := literal(keyword.value)) is not None:
            return ValueKind(of=tuple, items=kinds.of_field(item, name))
    name = literal(node.args[0]) if node.args else None
    return UNKNOWN_KIND if name is None else ValueKind(of=tuple, items=kinds.of_filter(item, name))
