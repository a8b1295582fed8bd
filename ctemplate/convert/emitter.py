"""Convert a Go template's tree to pieces of a Jinja template, and report what has no counterpart."""

from __future__ import annotations

import re
from dataclasses import replace

from ctemplate.convert import go_ast as go, go_printer
from ctemplate.convert.expressions import converted, scratch_tag
from ctemplate.convert.findings import KEY_WAITS, PARSED_PRINTS, ConversionFinding, ConversionNotice
from ctemplate.convert.go_lexer import Position
from ctemplate.convert.layout import Exact, LayoutBlock, LayoutPiece, Note, Print, Tag, quoted
from ctemplate.convert.macros import Macros
from ctemplate.convert.names import Scopes, assigned, is_read_in_loops, leaves_loop, mentions, read_as, reads_field
from ctemplate.convert.scratch import Scratch
from ctemplate.convert.values import (
    DETAIL_FIELDS,
    DOT_NAMES,
    INSTANCE,
    INT,
    NIL,
    NODE,
    NODE_SERVICE,
    PARSED_KINDS,
    SCALAR,
    SERVICE,
    STRING,
    UNCONVERTED,
    GoType,
    GoValue,
    Level,
    NeverRenders,
    NotConverted,
    condition,
    widened_type,
)

_KEYED = frozenset(["map", "groups", "groups by number", "keyed pairs"])
_ITERABLE = frozenset(["list", "loop", "natural loop", *_KEYED])
_WITHOUT_TRUTH = frozenset(["nil", "loop", "natural loop"])
_LIST_NAMES = {INSTANCE: "instances", SERVICE: "svcs"}
_NAMES = {
    **{kind: DOT_NAMES[kind] for kind in (INSTANCE, SERVICE, NODE, NODE_SERVICE)},
    **{GoType("list", item): name for item, name in _LIST_NAMES.items()},
}
"""Replacements for variable names that are reserved in Jinja or in ctemplate."""
_PLURAL = re.compile(r"(?:^|[.|]\s*)([a-z][a-z_]*[a-z])s(?:\(\))?$")


class Emitter:
    """Converts one template. ``findings`` lists what could not be converted, in the order of the source."""

    def __init__(self, name: str, body: go.Body) -> None:
        self.findings: list[ConversionFinding] = []
        self.notices: list[ConversionNotice] = []
        self._name = name
        self._body = body
        self._macros = Macros(body)
        self._scratch = Scratch()
        self._reads_details = reads_field(body, DETAIL_FIELDS)
        self._scopes = Scopes(self._macros, self._scratch, reads_details=self._reads_details)
        self._assigned = assigned(body)
        self._widened: dict[Position, GoType] = {}
        self._marks: list[LayoutPiece] = []

    def pieces(self) -> tuple[LayoutPiece, ...]:
        """Return the whole template; repeat the pass when it discovers new types of macro arguments or variables."""
        while True:
            known = self._known()
            self._scratch.sure.clear()
            self.findings = []
            self._scopes = Scopes(self._macros, self._scratch, reads_details=self._reads_details)
            remarks = self._scopes.remarks
            pieces = self._pieces(self._body)
            macros = self._macro_pieces(remarks)
            if self._known() == known:
                self.notices = [self.notice(at, text) for at, text in sorted(remarks)]
                declared = self._scratch.declaration()
                return (*([Tag(declared)] if declared else []), *macros, *pieces)

    def notice(self, at: Position, text: str) -> ConversionNotice:
        """Return a notice about something to review."""
        return ConversionNotice(self._where(at), text)

    def _known(self) -> tuple[dict[Position, GoType], int, dict[str, GoType]]:
        """Return the facts that one pass hands to the next."""
        return dict(self._widened), len(self._macros.calls), dict(self._scratch.kinds)

    def _where(self, at: Position) -> str:
        return f"{self._name}:{at.line}:{at.column}"

    def _pieces(self, body: go.Body) -> tuple[LayoutPiece, ...]:
        return tuple(piece for node in body for piece in self._node(node))

    def _node(self, node: go.Node) -> tuple[LayoutPiece, ...]:
        """Return the pieces of a node, after comments about the parts of its tag that could not be converted."""
        around, self._marks = self._marks, []
        pieces = self._converted(node)
        marks, self._marks = self._marks, around
        return (*marks, *pieces)

    def _converted(self, node: go.Node) -> tuple[LayoutPiece, ...]:  # noqa: PLR0911  # one for each kind
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
        return (Tag("break" if isinstance(node, go.Break) else "continue"),)

    # what has no counterpart

    def _refuse(self, node: go.Located, source: str, refusal: NotConverted) -> GoValue:
        """Report a part that cannot be converted, and return a call in its place that makes lint fail."""
        finding = ConversionFinding(self._where(node.at), refusal.what, refusal.advice)
        self.findings.append(finding)
        self._marks.append(Note(f"line {node.at.line}: {finding.sentence}"))
        return GoValue(f"unconverted({quoted(source)})", UNCONVERTED)

    def _value(self, pipeline: go.GoPipeline) -> GoValue:
        """Return the value of a pipeline, or its replacement if it cannot be converted."""
        try:
            return converted(pipeline, self._scopes)
        except NotConverted as exc:
            return self._refuse(pipeline, go_printer.pipeline(replace(pipeline, variables=())), exc)

    def _table(self, record: GoValue, pipeline: go.GoPipeline) -> GoValue:
        """Return a record for a loop over all its values."""
        try:
            return record.as_table()
        except NotConverted as exc:
            return self._refuse(pipeline, go_printer.pipeline(pipeline), exc)

    # templates

    def _template(self, node: go.GoTemplate | go.GoBlock) -> tuple[LayoutPiece, ...]:
        """Return the call of a template's macro."""
        argument = () if node.pipeline is None else (replace(node.pipeline, variables=()),)
        call = go.GoCommand((go.Identifier("executeTemplate", at=node.at), node.name, *argument), at=node.at)
        return (Print(self._value(go.GoPipeline((call,), at=node.at)).code),)

    def _macro_pieces(self, remarks: list[tuple[Position, str]]) -> tuple[LayoutPiece, ...]:
        """Return the macros of the templates that are called; they stand before everything else."""
        found: list[LayoutPiece] = []
        done: set[tuple[str, GoType]] = set()
        while waiting := [call for call in self._macros.calls if call not in done]:
            for name, kind in waiting:
                done.add((name, kind))
                self._scopes = Scopes(self._macros, self._scratch)
                self._scopes.remarks = remarks
                self._scratch.sure = set()
                dot = self._scopes.dot
                if kind != NIL:
                    dot = GoValue(self._scopes.fresh(DOT_NAMES.get(kind, "item")), kind, is_path=True)
                self._scopes.root = dot
                with self._scopes.within(dot):
                    head = f"macro {self._macros.calls[name, kind]}({'' if kind == NIL else dot.code})"
                    found.append(LayoutBlock(((head, self._pieces(self._macros.bodies[name].body)),), "endmacro"))
        return tuple(found)

    # actions

    def _action(self, pipeline: go.GoPipeline) -> tuple[LayoutPiece, ...]:
        try:
            tag = scratch_tag(pipeline, self._scopes)
        except NotConverted as exc:
            return (Print(self._refuse(pipeline, go_printer.pipeline(pipeline), exc).code),)
        if tag is not None:
            return (Tag(tag),)
        value = self._value(pipeline)
        if value.type in PARSED_KINDS:
            self._scopes.remarks_at(pipeline.at)(PARSED_PRINTS)
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
        kind = widened_type(kinds) if len(kinds) > 1 else None
        if binding.target and kind is not None:
            self._widened[binding.at] = kind
        elif not binding.target:
            refusal = NotConverted(
                f"assigning to {name}, which a loop or the template gives", "copy it to another variable"
            )
            return (Print(self._refuse(pipeline, go_printer.pipeline(pipeline), refusal).code),)
        elif len(kinds) > 1:
            refusal = NotConverted(
                f"assigning a {value.type.name} to {name}, which is a {binding.value.type.name}", "use another variable"
            )
            value = self._refuse(pipeline, go_printer.pipeline(pipeline), refusal)
        return (Tag(f"set {binding.target} = {value.given().code}"),)

    def _declaration(self, name: str, value: GoValue, at: Position) -> tuple[LayoutPiece, ...]:
        value = value.given()
        kept = replace(value, type=self._widened.get(at, value.type))
        if at in self._assigned.in_loops:
            target = self._scopes.fresh(name, _NAMES.get(kept.type, ""))
            self._scopes.declare(name, self._read(kept, f"{target}.value", at), f"{target}.value", at)
            return (Tag(f"set {target} = namespace(value={value.code})"),)
        target = self._scopes.redeclared(name) or self._scopes.fresh(name, _NAMES.get(kept.type, ""))
        self._scopes.declare(name, self._read(kept, target, at), target, at)
        return (Tag(f"set {target} = {value.code}"),)

    def _read(self, value: GoValue, code: str, at: Position) -> GoValue:
        """Return the value of a variable; a variable that is assigned again may change between two uses of its text."""
        is_constant = at not in self._assigned.anywhere
        return replace(read_as(value, code, is_path=is_constant), is_natural=is_constant and value.is_natural)

    # blocks

    def _condition(self, pipeline: go.GoPipeline) -> tuple[tuple[LayoutPiece, ...], GoValue]:
        """Return the tags that must come first, and the value that is tested."""
        if pipeline.variables:
            tags = self._assignment(pipeline)
            return tags, self._scopes.find(pipeline.variables[-1]).value
        return (), self._value(pipeline)

    def _tested(self, value: GoValue, pipeline: go.GoPipeline) -> str:
        """Return a value's text as a condition; Jinja and Go agree on the truth of the types that occur here."""
        if value.type.name in _WITHOUT_TRUTH:
            return self._refuse(
                pipeline,
                go_printer.pipeline(pipeline),
                NotConverted(f"a {value.type.name} as condition", "test what it was made of"),
            ).code
        if value.waits:
            self._scopes.remarks_at(pipeline.at)(KEY_WAITS)
        return condition(value).at(Level.OR)

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
                before = (*before, Tag(f"set {name} = {condition(value).code}"))
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
        if any(mentions(name, node.otherwise) for name in pipeline.variables):
            refusal = NotConverted(
                "a variable of 'range' in its 'else'", "it is the empty list there: use another name"
            )
            items = self._refuse(pipeline, go_printer.pipeline(pipeline), refusal)
        if items.type.name == "record":
            items = self._table(items, pipeline)
        if items.type == INT:
            items = GoValue(f"range({items.code})", GoType("natural loop", INT))
        if items.type.name not in _ITERABLE and items.type not in {UNCONVERTED, *PARSED_KINDS}:
            items = self._refuse(
                pipeline, go_printer.pipeline(pipeline), NeverRenders(f"'range' over a {items.type.name}")
            )
        if node.otherwise and leaves_loop(node.body):
            return self._left_loop(items, node)
        with self._scopes.within():
            body = self._loop(items, node)
        branches = [body]
        if node.otherwise:
            branches.append(("else", self._scoped(node.otherwise)))
        return (LayoutBlock(tuple(branches), "endfor"),)

    def _left_loop(self, items: GoValue, node: go.Range) -> tuple[LayoutPiece, ...]:
        """Return a loop with ``else`` that may end in its first turn; Jinja would then run the ``else``."""
        with self._scopes.within():
            name = self._scopes.fresh(_kind_name(GoType("list", items.type.item)))
            head, body = self._loop(items, node)
            names, _, source = head.partition(" in ")
            loop = LayoutBlock(((f"{names} in {name}", body),), "endfor")
            otherwise = self._scoped(node.otherwise)
        return Tag(f"set {name} = {source}"), LayoutBlock(((f"if {name}", (loop,)), ("else", otherwise)), "endif")

    def _loop(self, items: GoValue, node: go.Range) -> tuple[str, tuple[LayoutPiece, ...]]:
        """Return the tag of a loop and its body."""
        names = node.pipeline.variables
        kind = items.type if items.type in PARSED_KINDS else items.type.item or UNCONVERTED
        item = self._scopes.fresh(names[-1] if names else _item_name(items, kind), _NAMES.get(kind, ""))
        is_natural = items.type.name == "natural loop"
        is_constant = node.pipeline.at not in self._assigned.anywhere
        value = GoValue(item, kind, is_path=is_constant, is_natural=is_natural and is_constant)
        if names:
            self._scopes.declare(
                names[-1], value, "" if node.pipeline.at in self._assigned.in_loops else item, node.pipeline.at
            )
        head, before = self._loop_head(items, item, node)
        with self._scopes.within(value):
            return head, (*before, *self._pieces(node.body))

    def _loop_head(self, items: GoValue, item: str, node: go.Range) -> tuple[str, tuple[LayoutPiece, ...]]:
        """Return the tag of a loop, and the tags that must begin its body; declare the key or the index."""
        names, source = node.pipeline.variables, items.given().at(Level.FILTERED)
        number = names[0] if len(names) > 1 else None
        if items.type.name == "keyed pairs":
            if number is not None:
                self._scopes.declare(number, GoValue(f"{item}.key", STRING, is_path=True), "")
            return f"for {item} in {items.at(Level.OR)}", ()
        if items.type in PARSED_KINDS and number is None:
            return f"for {item} in {source} | go_values", ()
        if items.type in PARSED_KINDS or items.type.name in _KEYED:
            key = self._scopes.fresh(number or "key")
            self._scopes.declare(number or "", _key(items.type, key), key)
            return f"for {key}, {item} in {_listed(items, source)}", ()
        before = self._count(number, node.body) if number is not None else ()
        return f"for {item} in {items.given().at(Level.OR)}", before

    def _count(self, name: str, body: go.Body) -> tuple[LayoutPiece, ...]:
        """Declare the index of a loop's turn; inner loops have their own ``loop``."""
        count = GoValue("loop.index0", INT, is_path=True, is_natural=True)
        if not is_read_in_loops(name, body):
            self._scopes.declare(name, count, "")
            return ()
        target = self._scopes.fresh(name)
        self._scopes.declare(name, read_as(count, target), target)
        return (Tag(f"set {target} = loop.index0"),)


def _key(kind: GoType, name: str) -> GoValue:
    """Return the text that reads a key of the loop's list."""
    known = SCALAR if kind in PARSED_KINDS else INT if kind.name == "groups by number" else STRING
    return GoValue(name, known, is_path=True, is_natural=known != STRING)


def _listed(items: GoValue, source: str) -> str:
    """Return the text that lists keys with their values, in Go's order."""
    if items.type in PARSED_KINDS:
        return f"{source} | go_items"
    return f"{source} | dictsort(true)" if items.type.name == "map" else items.at(Level.OR)


def _item_name(items: GoValue, kind: GoType) -> str:
    """Return a name for an item that the template does not name."""
    plural = _PLURAL.search(items.code)
    if plural is not None and (kind in PARSED_KINDS or kind == STRING):
        return plural[1]
    return _kind_name(kind)


def _kind_name(kind: GoType) -> str:
    """Return a name for a value of a type."""
    if kind.name == "list":
        return _LIST_NAMES.get(kind.item, "items") if kind.item is not None else "items"
    return DOT_NAMES.get(kind, "item")


def _noun(value: GoValue) -> str:
    """Return a name for the value of dot."""
    return _kind_name(value.type)
