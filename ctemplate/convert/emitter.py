"""Turn a Go template's tree into pieces of a Jinja template, and name what has no counterpart."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ctemplate.convert import go_ast as go, go_printer
from ctemplate.convert.expressions import converted
from ctemplate.convert.go_lexer import Position
from ctemplate.convert.layout import Exact, LayoutBlock, LayoutPiece, Note, Print, Tag, quoted
from ctemplate.convert.macros import Macros
from ctemplate.convert.names import Scopes, assigned, is_read_in_loops, read_as
from ctemplate.convert.values import (
    DOT_NAMES,
    INT,
    NIL,
    SCALAR,
    STRING,
    UNCONVERTED,
    GoType,
    GoValue,
    Level,
    NotConverted,
)

_ITERABLE = frozenset(["list", "loop", "natural loop", "map"])
_WITHOUT_TRUTH = frozenset(["nil", "float", "loop", "natural loop", "mixed value"])


@dataclass(frozen=True, slots=True)
class ConversionFinding:
    """Something that could not be converted: where it stands, what it is, what to write instead."""

    where: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: cannot convert {self.what}" + (f"; {self.advice}" if self.advice else "")


class Emitter:
    """Converts one template. ``findings`` names what it could not convert, in the order of the source."""

    def __init__(self, name: str, body: go.Body) -> None:
        self.findings: list[ConversionFinding] = []
        self._name = name
        self._body = body
        self._macros = Macros(body)
        self._scopes = Scopes(self._macros)
        self._assigned = assigned(body)
        self._widened: set[Position] = set()

    def pieces(self) -> tuple[LayoutPiece, ...]:
        """Return the whole template, once more where it turns out what a macro or a variable is given."""
        while True:
            known = len(self._widened)
            called = dict(self._macros.arguments)
            self.findings, self._scopes = [], Scopes(self._macros)
            pieces = self._pieces(self._body)
            macros = self._macro_pieces()
            if len(self._widened) == known and self._macros.arguments == called:
                return (*macros, *pieces)

    def _pieces(self, body: go.Body) -> tuple[LayoutPiece, ...]:
        return tuple(piece for node in body for piece in self._node(node))

    def _node(self, node: go.Node) -> tuple[LayoutPiece, ...]:  # noqa: PLR0911  # one for each kind
        if isinstance(node, go.GoText):
            return (Exact(node.text),)
        if isinstance(node, go.Comment):
            return (Note(node.text),)
        if isinstance(node, go.Action):
            return self._assignment(node.pipeline) if node.pipeline.variables else self._action(node.pipeline)
        if isinstance(node, go.If):
            return self._if(node)
        if isinstance(node, go.With):
            return self._with(node)
        if isinstance(node, go.Range):
            return self._range(node)
        if isinstance(node, go.Define):
            return ()
        if isinstance(node, go.GoTemplate | go.GoBlock):
            return self._template(node)
        return self._refused_node(node)

    # what has no counterpart

    def _refuse(self, node: go.Located, source: str, refusal: NotConverted) -> GoValue:
        """Take down what cannot be converted, and return what stands for it and makes lint fail."""
        where = f"{self._name}:{node.at.line}:{node.at.column}"
        self.findings.append(ConversionFinding(where, refusal.what, refusal.advice))
        return GoValue(f"unconverted({quoted(source)})", UNCONVERTED)

    def _refused_node(self, node: go.Break | go.Continue) -> tuple[LayoutPiece, ...]:
        word = "break" if isinstance(node, go.Break) else "continue"
        return (Print(self._refuse(node, word, NotConverted(repr(word), "write {% if %} around the rest")).code),)

    def _value(self, pipeline: go.GoPipeline) -> GoValue:
        """Return what a pipeline gives, or what stands for it."""
        try:
            return converted(pipeline, self._scopes)
        except NotConverted as exc:
            return self._refuse(pipeline, go_printer.pipeline(replace(pipeline, variables=())), exc)

    # templates

    def _template(self, node: go.GoTemplate | go.GoBlock) -> tuple[LayoutPiece, ...]:
        """Return the call of a template's macro."""
        argument = () if node.pipeline is None else (replace(node.pipeline, variables=()),)
        call = go.GoCommand((go.Identifier("executeTemplate", at=node.at), node.name, *argument), at=node.at)
        return (Print(self._value(go.GoPipeline((call,), at=node.at)).code),)

    def _macro_pieces(self) -> tuple[LayoutPiece, ...]:
        """Return the macros of the templates that are called; they stand before everything else."""
        found: list[LayoutPiece] = []
        for name, node in self._macros.bodies.items():
            kind = self._macros.arguments.get(name)
            if kind is None:
                continue
            self._scopes = Scopes(self._macros)
            dot = self._scopes.dot
            if kind != NIL:
                dot = GoValue(self._scopes.fresh(DOT_NAMES.get(kind, "item")), kind, is_path=True)
            self._scopes.root = dot
            with self._scopes.within(dot):
                head = f"macro {self._macros.names[name]}({'' if kind == NIL else dot.code})"
                found.append(LayoutBlock(((head, self._pieces(node.body)),), "endmacro"))
        return tuple(found)

    # actions

    def _action(self, pipeline: go.GoPipeline) -> tuple[LayoutPiece, ...]:
        value = self._value(pipeline)
        try:
            return value.printed()
        except NotConverted as exc:
            return (Print(self._refuse(pipeline, go_printer.pipeline(pipeline), exc).code),)

    def _assignment(self, pipeline: go.GoPipeline) -> tuple[LayoutPiece, ...]:
        value, name = self._value(pipeline), pipeline.variables[-1]
        if not pipeline.is_assignment:
            return self._declaration(name, value, pipeline.at)
        binding = self._scopes.find(name)
        kinds = {binding.value.type, value.type} - {UNCONVERTED}
        if binding.target and len(kinds) > 1 and kinds <= {STRING, INT, SCALAR}:
            self._widened.add(binding.at)
        elif not binding.target or len(kinds) > 1:
            refusal = NotConverted(f"assigning a {value.type.name} to {name}, which is a {binding.value.type.name}")
            value = self._refuse(pipeline, go_printer.pipeline(pipeline), refusal)
        return (Tag(f"set {binding.target} = {value.given().code}"),)

    def _declaration(self, name: str, value: GoValue, at: Position) -> tuple[LayoutPiece, ...]:
        value = value.given()
        kept = replace(value, type=SCALAR) if at in self._widened else value
        if at in self._assigned.in_loops:
            target = self._scopes.fresh(name)
            self._scopes.declare(name, self._read(kept, f"{target}.value", at), f"{target}.value", at)
            return (Tag(f"set {target} = namespace(value={value.code})"),)
        target = self._scopes.redeclared(name) or self._scopes.fresh(name)
        self._scopes.declare(name, self._read(kept, target, at), target, at)
        return (Tag(f"set {target} = {value.code}"),)

    def _read(self, value: GoValue, code: str, at: Position) -> GoValue:
        """Return what reading a variable gives: one that is assigned to may change under whoever repeats it."""
        is_constant = at not in self._assigned.anywhere
        return replace(read_as(value, code, is_path=is_constant), is_natural=is_constant and value.is_natural)

    # blocks

    def _condition(self, pipeline: go.GoPipeline) -> tuple[tuple[LayoutPiece, ...], GoValue]:
        """Return what must be set before, and the value that is tested."""
        if pipeline.variables:
            tags = self._assignment(pipeline)
            return tags, self._scopes.find(pipeline.variables[-1]).value
        return (), self._value(pipeline)

    def _tested(self, value: GoValue, pipeline: go.GoPipeline) -> str:
        """Return a value's text as a condition; Jinja and Go agree on what is true of the types that come here."""
        if value.type.name in _WITHOUT_TRUTH:
            return self._refuse(
                pipeline, go_printer.pipeline(pipeline), NotConverted(f"a {value.type.name} as condition")
            ).code
        return value.at(Level.OR)

    def _if(self, node: go.If) -> tuple[LayoutPiece, ...]:
        with self._scopes.within():
            before, value = self._condition(node.pipeline)
            branches = [(f"if {self._tested(value, node.pipeline)}", self._scoped(node.body, value))]
            otherwise = node.otherwise
            while len(otherwise) == 1 and isinstance(other := otherwise[0], go.If) and not other.pipeline.variables:
                value = self._value(other.pipeline)
                branches.append((f"elif {self._tested(value, other.pipeline)}", self._scoped(other.body, value)))
                otherwise = other.otherwise
            if otherwise:
                branches.append(("else", self._scoped(otherwise)))
        return (*before, LayoutBlock(tuple(branches), "endif"))

    def _scoped(self, body: go.Body, tested: GoValue | None = None) -> tuple[LayoutPiece, ...]:
        with self._scopes.within(tested=tested):
            return self._pieces(body)

    def _with(self, node: go.With) -> tuple[LayoutPiece, ...]:
        with self._scopes.within():
            before, value = self._condition(node.pipeline)
            test = self._tested(value, node.pipeline)
            dot = value
            if not value.is_path:
                name = self._scopes.fresh(_noun(value))
                before = (*before, Tag(f"set {name} = {value.code}"))
                dot = read_as(value, name)
                test = name
            with self._scopes.within(dot, tested=dot):
                branches = [(f"if {test}", self._pieces(node.body))]
            if node.otherwise:
                branches.append(("else", self._scoped(node.otherwise)))
        return (*before, LayoutBlock(tuple(branches), "endif"))

    def _range(self, node: go.Range) -> tuple[LayoutPiece, ...]:
        pipeline = node.pipeline
        items = self._value(replace(pipeline, variables=(), is_assignment=False))
        if pipeline.is_assignment:
            refusal = NotConverted("'range' that assigns to variables from outside", "use ':='")
            items = self._refuse(pipeline, go_printer.pipeline(pipeline), refusal)
        if items.type == INT:
            items = GoValue(f"range({items.code})", GoType("natural loop", INT))
        if items.type.name not in _ITERABLE and items.type != UNCONVERTED:
            items = self._refuse(
                pipeline, go_printer.pipeline(pipeline), NotConverted(f"'range' over a {items.type.name}")
            )
        with self._scopes.within():
            body = self._loop(items, node)
        branches = [body]
        if node.otherwise:
            branches.append(("else", self._scoped(node.otherwise)))
        return (LayoutBlock(tuple(branches), "endfor"),)

    def _loop(self, items: GoValue, node: go.Range) -> tuple[str, tuple[LayoutPiece, ...]]:
        """Return the tag of a loop and its body."""
        names = node.pipeline.variables
        kind = items.type.item or UNCONVERTED
        wanted = names[-1] if names else DOT_NAMES.get(kind, "item")
        if not names and kind == STRING and items.code.endswith(".tags"):
            wanted = "tag"
        item = self._scopes.fresh(wanted)
        is_natural = items.type.name == "natural loop"
        is_constant = node.pipeline.at not in self._assigned.anywhere
        value = GoValue(item, kind, is_path=is_constant, is_natural=is_natural and is_constant)
        if names:
            self._scopes.declare(
                names[-1], value, "" if node.pipeline.at in self._assigned.in_loops else item, node.pipeline.at
            )
        before: tuple[LayoutPiece, ...] = ()
        if items.type.name == "map":
            key = self._scopes.fresh(names[0] if len(names) > 1 else "key")
            self._scopes.declare(names[0] if len(names) > 1 else "", GoValue(key, STRING, is_path=True), key)
            head = f"for {key}, {item} in {items.at(Level.FILTERED)} | dictsort(true)"
        else:
            head = f"for {item} in {items.at(Level.OR)}"
            before = self._count(names[0], node.body) if len(names) > 1 else ()
        with self._scopes.within(value):
            return head, (*before, *self._pieces(node.body))

    def _count(self, name: str, body: go.Body) -> tuple[LayoutPiece, ...]:
        """Declare the number of a loop's turn; loops within have a ``loop`` of their own."""
        count = GoValue("loop.index0", INT, is_path=True, is_natural=True)
        if not is_read_in_loops(name, body):
            self._scopes.declare(name, count, "")
            return ()
        target = self._scopes.fresh(name)
        self._scopes.declare(name, read_as(count, target), target)
        return (Tag(f"set {target} = loop.index0"),)


def _noun(value: GoValue) -> str:
    """Return what a value that dot stands for may be called."""
    if value.type.name == "list":
        return "items"
    return DOT_NAMES.get(value.type, "item")
