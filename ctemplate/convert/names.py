"""What Go's variables are called in Jinja, and where each is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ctemplate.convert import go_ast as go
from ctemplate.convert.values import NIL, Value

_RESERVED = frozenset(
    """
    and block break call caller claim connect continue cycler datacenters dict do else elif endif endfor env extends
    false filter for from if import in include is joiner key key_exists kwargs listen_port loop ls macro namespace node
    nodes none not or query range raw recursive self service services set super tree true unconverted var varargs with
    """.split()  # noqa: SIM905  # a list of words would be a page
)
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(slots=True)
class Binding:
    """A Go variable: what reads it now, what Jinja assigns to, and in how many loops it was declared."""

    value: Value
    target: str
    loops: int


class Scopes:
    """The variables that are known, the innermost last, and dot."""

    def __init__(self) -> None:
        self.dot = Value("none", NIL)
        self.root = self.dot
        self.loops = 0
        self._scopes: list[dict[str, Binding]] = [{}]
        self._taken: list[str] = []

    @contextmanager
    def within(self, dot: Value | None = None, *, is_loop: bool = False) -> Iterator[None]:
        """Know within what is declared there, and forget it."""
        outer, taken = self.dot, len(self._taken)
        self.dot = outer if dot is None else dot
        self.loops += is_loop
        self._scopes.append({})
        yield
        self._scopes.pop()
        self.loops -= is_loop
        self.dot = outer
        del self._taken[taken:]

    def find(self, name: str) -> Binding:
        """Return a variable; the parser has seen that it is known."""
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return Binding(self.root, "", 0)

    def declare(self, name: str, value: Value, target: str) -> None:
        """Take a variable down in the innermost scope."""
        self._scopes[-1][name] = Binding(value, target, self.loops)

    def fresh(self, wanted: str) -> str:
        """Return a name like the wanted one that nothing known has, and take it until the scope ends."""
        base = _CAPITAL.sub("_", wanted.removeprefix("$")).lower()
        base = base if base.isidentifier() and base.isascii() else f"v_{base}" if f"v_{base}".isascii() else "value"
        number, name = 1, base
        while name in _RESERVED or name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.append(name)
        return name

    def redeclared(self, name: str) -> str | None:
        """Return the name in Jinja of a variable that this very scope knows already."""
        binding = self._scopes[-1].get(name)
        return None if binding is None or not binding.target.isidentifier() else binding.target


def read_as(value: Value, code: str, *, is_path: bool = True) -> Value:
    """Return a value that is read by a name."""
    return replace(value, code=code, level=type(value.level).POSTFIX, constant=None, parts=(), is_path=is_path)


def assigned_in_loops(body: go.Body) -> frozenset[str]:
    """Return the names of the variables that are assigned, not declared, within a loop of the body."""
    found: set[str] = set()
    _find_assigned(body, found, in_loop=False)
    return frozenset(found)


def _find_assigned(body: go.Body, found: set[str], *, in_loop: bool) -> None:
    for node in body:
        if isinstance(node, go.Action) and node.pipeline.is_assignment and in_loop:
            found.update(node.pipeline.variables)
        elif isinstance(node, go.If | go.With | go.Range):
            if node.pipeline.is_assignment:
                found.update(node.pipeline.variables)
            _find_assigned(node.body, found, in_loop=in_loop or isinstance(node, go.Range))
            _find_assigned(node.otherwise, found, in_loop=in_loop)


def is_read_in_loops(name: str, body: go.Body) -> bool:
    """Return whether a variable is read within a loop of the body."""
    for node in body:
        if isinstance(node, go.Range):
            if _mentions(name, (node,)):
                return True
        elif isinstance(node, go.If | go.With) and (
            is_read_in_loops(name, node.body) or is_read_in_loops(name, node.otherwise)
        ):
            return True
    return False


def _mentions(name: str, body: go.Body) -> bool:
    for node in body:
        if isinstance(node, go.Action) and _reads(name, node.pipeline):
            return True
        if isinstance(node, go.If | go.With | go.Range) and (
            _reads(name, node.pipeline) or _mentions(name, node.body) or _mentions(name, node.otherwise)
        ):
            return True
    return False


def _reads(name: str, operand: go.Operand) -> bool:
    if isinstance(operand, go.Pipeline):
        return any(_reads(name, each) for command in operand.commands for each in command.operands)
    if isinstance(operand, go.Chain):
        return _reads(name, operand.operand)
    return isinstance(operand, go.Variable) and operand.name == name
