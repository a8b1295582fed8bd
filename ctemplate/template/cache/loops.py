"""Which loops of a template are cut into fragments, and what their bodies take from around them.

Knows Jinja's tree only; must not know how fragments are kept, or the domain beyond the name of one function.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from jinja2 import nodes

_Node = TypeVar("_Node", bound=nodes.Node)

READER = "service"
"""The function that a loop's body has to call, unless the loop is over keys or services; others are short."""

LISTERS = frozenset({"tree", "ls"})
"""The functions that return long lists of entries."""

SERVICE_LISTERS = frozenset({"services"})
"""The functions that return long lists of services. What a loop over one prints is proven anew unless it is cached."""

_SAME_ITEMS = frozenset({"list", "rejectattr", "reverse", "selectattr", "sort"})
"""Filters that return items of the list that they get."""

_OPAQUE = (
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.Block,
    nodes.ContextReference,
    nodes.DerivedContextReference,
    nodes.EvalContextModifier,
)
"""What reads names that do not stand in the body, or changes how it is read."""

_SPECIAL = frozenset({"loop", "self", "super"})


def list_names(template: nodes.Template) -> frozenset[str]:
    """Return the names that a template sets to lists of entries."""
    return frozenset(
        each.target.name
        for each in template.find_all(nodes.Assign)
        if isinstance(each.target, nodes.Name) and _calls(each.node, LISTERS)
    )


def is_over_entries(loop: nodes.For, names: frozenset[str]) -> bool:
    """Return whether a loop is likely one over entries: it calls for them, or they have one of these names."""
    return _calls(loop.iter, LISTERS) or any(name.name in names for name in _all(loop.iter, nodes.Name))


def reads_services(loop: nodes.For) -> bool:
    """Return whether a loop is over services, or its body asks for one."""
    return _lists_services(loop.iter) or any(_calls(statement, {READER}) for statement in loop.body)


def _lists_services(node: nodes.Node) -> bool:
    while isinstance(node, nodes.Filter) and node.name in _SAME_ITEMS and node.node is not None:
        node = node.node
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in SERVICE_LISTERS


def names_around(loop: nodes.For) -> tuple[str, ...] | None:
    """Return the names that a loop's body reads from around it, sorted; None for a loop that cannot be cut."""
    if not isinstance(loop.target, nodes.Name) or loop.recursive:
        return None
    if any(True for statement in loop.body for _ in _opaque(statement)) or leaves_turn(loop.body):
        return None
    found: set[str] = set()
    _statements(loop.body, {loop.target.name}, found)
    return None if found & _SPECIAL else tuple(sorted(found))


def leaves_turn(body: Iterable[nodes.Node]) -> bool:
    """Return whether a loop's body has a ``break`` or ``continue`` that is not an inner loop's."""
    for node in body:
        if isinstance(node, nodes.Break | nodes.Continue):
            return True
        inner = node.else_ if isinstance(node, nodes.For) else node.iter_child_nodes()
        if leaves_turn(inner):
            return True
    return False


def _calls(node: nodes.Node, functions: Collection[str]) -> bool:
    """Return whether there is a call of one of these functions, by name."""
    return any(isinstance(call.node, nodes.Name) and call.node.name in functions for call in _all(node, nodes.Call))


def _all(node: nodes.Node, kind: type[_Node]) -> Iterable[_Node]:
    """Return the nodes of a kind in a tree, its root included."""
    return (*((node,) if isinstance(node, kind) else ()), *node.find_all(kind))


def _opaque(statement: nodes.Node) -> Iterable[nodes.Node]:
    return (statement,) if isinstance(statement, _OPAQUE) else statement.find_all(_OPAQUE)


def _statements(body: Iterable[nodes.Node], bound: set[str], found: set[str]) -> None:
    """Take the names that a scope reads into ``found``, in the order of running; ``bound`` grows by what it sets."""
    for node in body:
        _visit(node, bound, found)


def _visit(node: nodes.Node, bound: set[str], found: set[str]) -> None:
    match node:
        case nodes.Name() | nodes.NSRef():
            if node.name not in bound:
                found.add(node.name)
        case nodes.Assign():
            _visit(node.node, bound, found)
            _bind(node.target, bound, found)
        case nodes.If():
            # What only a branch sets may come from around the loop as well, so it is not bound afterwards.
            _visit(node.test, bound, found)
            for branch in (node.body, node.elif_, node.else_):
                _statements(branch, bound.copy(), found)
        case nodes.For():
            _visit(node.iter, bound, found)
            inner = bound | _targets(node.target) | {"loop"}
            _statements([node.test] if node.test else [], inner, found)
            _statements(node.body, inner.copy(), found)
            _statements(node.else_, bound.copy(), found)
        case _:
            _scope(node, bound, found)


def _scope(node: nodes.Node, bound: set[str], found: set[str]) -> None:
    match node:
        case nodes.AssignBlock():
            _statements([node.filter] if node.filter else [], bound, found)
            _statements(node.body, bound.copy(), found)
            _bind(node.target, bound, found)
        case nodes.With():
            _statements(node.values, bound, found)
            _statements(node.body, bound.union(*map(_targets, node.targets)), found)
        case nodes.Macro() | nodes.CallBlock():
            _macro(node, bound, found)
        case nodes.FilterBlock():
            _visit(node.filter, bound, found)
            _statements(node.body, bound.copy(), found)
        case nodes.Scope():
            _statements(node.body, bound.copy(), found)
        case _:
            _statements(node.iter_child_nodes(), bound, found)


def _macro(node: nodes.Macro | nodes.CallBlock, bound: set[str], found: set[str]) -> None:
    _statements([node.call] if isinstance(node, nodes.CallBlock) else [], bound, found)
    _statements(node.defaults, bound, found)
    if isinstance(node, nodes.Macro):
        bound.add(node.name)
    _statements(node.body, bound.union({"caller", "varargs", "kwargs"}, *map(_targets, node.args)), found)


def _targets(target: nodes.Node) -> set[str]:
    names = (target,) if isinstance(target, nodes.Name) else target.find_all(nodes.Name)
    return {name.name for name in names}


def _bind(target: nodes.Node, bound: set[str], found: set[str]) -> None:
    """Bind what an assignment sets; a namespace's field is set in a namespace from around, if it is no own one."""
    spaces = (target,) if isinstance(target, nodes.NSRef) else target.find_all(nodes.NSRef)
    _statements(spaces, bound, found)
    bound |= _targets(target)
