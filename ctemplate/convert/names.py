"""The names of Go's variables in Jinja, and the scope of each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ctemplate.convert import go_ast as go
from ctemplate.convert.findings import SAID_ONCE
from ctemplate.convert.go_lexer import Position
from ctemplate.convert.macros import Macros, is_reserved, unused_macros
from ctemplate.convert.scratch import SCRATCH, Scratch
from ctemplate.convert.values import NIL, STRING, GoValue

_WORD = re.compile(r"\w+")
_ENVIRONMENT = re.compile(r'env\("\w+"')


@dataclass(slots=True)
class Binding:
    """A Go variable: its value, the name that Jinja assigns to (empty if it cannot), and where it was declared."""

    value: GoValue
    target: str
    at: Position = go.NOWHERE


class Scopes:
    """The variables in scope, the innermost last, and dot; and the remarks by their place.

    ``reads_details``: the template reads fields that instances only have with ``details=true``.
    """

    def __init__(self, macros: Macros, scratch: Scratch, *, reads_details: bool = False) -> None:
        self.reads_details = reads_details
        self.macros = macros
        self.scratch = scratch
        self.remarks: list[tuple[Position, str]] = []
        self.dot = GoValue("none", NIL)
        self.root = self.dot
        self._present: list[str] = []
        self._scopes: list[dict[str, Binding]] = [{}]
        self._taken: list[str] = [SCRATCH, *macros.taken]

    @contextmanager
    def within(self, dot: GoValue | None = None, *, tested: GoValue | None = None) -> Iterator[None]:
        """Open a scope with its own declarations, in which a value is known to be true."""
        outer, taken, present = self.dot, len(self._taken), len(self._present)
        sure = set(self.scratch.sure)
        if tested is not None and tested.is_path:
            self._present.append(tested.code)
        self.dot = outer if dot is None else self.known(dot)
        self._scopes.append({})
        yield
        self._scopes.pop()
        self.dot = outer
        del self._taken[taken:]
        del self._present[present:]
        self.scratch.sure = sure

    def remarks_at(self, at: Position) -> Callable[[str], None]:
        """Return a function that records a remark about that place once; some remarks are made once per template."""

        def remark(text: str) -> None:
            is_known = any(text == other and (text in SAID_ONCE or at == place) for place, other in self.remarks)
            if not is_known:
                self.remarks.append((at, text))

        return remark

    def find(self, name: str) -> Binding:
        """Return a variable; the parser has checked that it exists."""
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return Binding(self.root, "")

    def declare(self, name: str, value: GoValue, target: str, at: Position = go.NOWHERE) -> None:
        """Declare a variable in the innermost scope."""
        self._scopes[-1][name] = Binding(value, target, at)

    def known(self, value: GoValue) -> GoValue:
        """Return the value with what the surrounding conditions have tested."""
        return replace(value, may_lack=False) if value.may_lack and value.code in self._present else value

    def fresh(self, wanted: str, instead: str = "") -> str:
        """Return a name similar to the wanted one that no variable in scope has, and reserve it until the scope ends.

        A name that is reserved in Jinja or in ctemplate is replaced by ``instead``.
        """
        wanted = wanted.removeprefix("$")
        name = unused_macros(instead if instead and is_reserved(wanted) else wanted, self._taken)
        self._taken.append(name)
        return name

    def redeclared(self, name: str) -> str | None:
        """Return the name in Jinja of a variable that this very scope knows already, None where another needs it."""
        binding = self._scopes[-1].get(name)
        if binding is None or not binding.target.isidentifier():
            return None
        origins = [other.value.origin for scope in self._scopes for other in scope.values()]
        is_needed = any(binding.target in _WORD.findall(part.code) for origin in origins for part in origin)
        return None if is_needed else binding.target


def read_as(value: GoValue, code: str, *, is_path: bool = True) -> GoValue:
    """Return a value that is read through a name."""
    level, origin = type(value.level).POSTFIX, _origin(value) if is_path else ()
    value = replace(value, constant=None, parts=(), unguarded="")
    return replace(value, code=code, level=level, is_path=is_path, origin=origin)


def _origin(value: GoValue) -> tuple[GoValue, ...]:
    """Return the parts of a text that have the same meaning wherever its variable is in scope."""
    parts = value.parts or value.origin or (value,)
    is_lasting = all(
        part.constant is not None or _ENVIRONMENT.match(part.code) or (part.is_path and "loop." not in part.code)
        for part in parts
    )
    return parts if is_lasting and value.type == STRING else ()


@dataclass(frozen=True, slots=True)
class Assigned:
    """The declarations whose variables are assigned again later: anywhere, and in an inner loop.

    In Jinja, assignments in a loop's ``else`` are also lost at its end.
    """

    anywhere: frozenset[Position]
    in_loops: frozenset[Position]


def assigned(body: go.Body) -> Assigned:
    """Return the variables of a template that change."""
    found: list[tuple[Position, bool]] = []
    _find_assigned(body, found, ({},), 0)
    return Assigned(frozenset(at for at, _ in found), frozenset(at for at, in_loop in found if in_loop))


_Declared = tuple[dict[str, tuple[Position, int]], ...]


def _find_assigned(body: go.Body, found: list[tuple[Position, bool]], known: _Declared, loops: int) -> None:
    for node in body:
        if isinstance(node, go.Action):
            _note_variables(node.pipeline, found, known, loops)
        elif isinstance(node, go.Control):
            inner = loops + isinstance(node, go.Range)
            within: _Declared = (*known, {})
            _note_variables(node.pipeline, found, within, inner)
            _find_assigned(node.body, found, (*within, {}), inner)
            _find_assigned(node.otherwise, found, (*within, {}), inner)


def _note_variables(pipeline: go.GoPipeline, found: list[tuple[Position, bool]], known: _Declared, loops: int) -> None:
    for name in pipeline.variables:
        if not pipeline.is_assignment:
            known[-1][name] = pipeline.at, loops
            continue
        declared = next((scope[name] for scope in reversed(known) if name in scope), None)
        if declared is not None:
            found.append((declared[0], declared[1] < loops))


def reads_field(part: object, names: Container[str]) -> bool:
    """Return whether a template or a part of it reads a field with one of the names."""
    if isinstance(part, tuple):
        return any(reads_field(each, names) for each in part)
    if not isinstance(part, go.Located):
        return False
    read = part.names if isinstance(part, go.Field) else part.fields if isinstance(part, go.Variable | go.Chain) else ()
    inner = tuple(getattr(part, each.name) for each in dataclasses.fields(part))
    return any(name in names for name in read) or reads_field(inner, names)


def leaves_loop(body: go.Body) -> bool:
    """Return whether a loop's body may end its turn or the loop early."""
    return any(
        isinstance(node, go.Break | go.Continue)
        or (isinstance(node, go.If | go.With) and (leaves_loop(node.body) or leaves_loop(node.otherwise)))
        for node in body
    )


def is_read_in_loops(name: str, body: go.Body) -> bool:
    """Return whether a variable is read within a loop of the body."""
    for node in body:
        if isinstance(node, go.Range):
            if mentions(name, (node,)):
                return True
        elif isinstance(node, go.If | go.With) and (
            is_read_in_loops(name, node.body) or is_read_in_loops(name, node.otherwise)
        ):
            return True
    return False


def mentions(name: str, body: go.Body) -> bool:
    """Return whether a variable is read in a body; a new declaration of the name hides it."""
    for node in body:
        pipeline = node.pipeline if isinstance(node, go.Action | go.Control) else None
        if pipeline is None:
            continue
        if _reads(name, pipeline):
            return True
        is_hidden = name in pipeline.variables and not pipeline.is_assignment
        if isinstance(node, go.Action) and is_hidden:
            return False
        inner = () if is_hidden or not isinstance(node, go.Control) else (node.body, node.otherwise)
        if any(mentions(name, each) for each in inner):
            return True
    return False


def _reads(name: str, operand: go.Operand) -> bool:
    if isinstance(operand, go.GoPipeline):
        return any(_reads(name, each) for command in operand.commands for each in command.operands)
    if isinstance(operand, go.Chain):
        return _reads(name, operand.operand)
    return isinstance(operand, go.Variable) and operand.name == name
