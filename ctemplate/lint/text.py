"""Follow a template's own text as nginx would read it: where each value is printed, and which upstreams it opens.

The path through the template is a guess: the first branch of each condition, one pass of each loop. Must not know
codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from jinja2 import nodes

from ctemplate.nginx.language.lexer import UNKNOWN_TEXT, TextMode, TextPosition, position_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A part of the template that may be absent or repeated: its condition or loop, and which of its bodies it is."""

    node: nodes.If | nodes.For
    is_else: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintSite:
    """A printed value: its place and the branches around it."""

    node: nodes.Expr
    position: TextPosition
    branches: tuple[Branch, ...]


@dataclass(slots=True, kw_only=True)
class Upstream:
    """An upstream block in the template's text: the branches around it, and the loops that write its servers.

    ``is_filled`` means that, as far as lint knows, the block always has a server.
    """

    offset: int
    branches: tuple[Branch, ...]
    loops: list[tuple[nodes.For, tuple[Branch, ...]]] = field(default_factory=list)
    is_filled: bool = False


@dataclass(slots=True, kw_only=True)
class Text:
    """All prints and upstreams of a template, in order."""

    prints: list[PrintSite] = field(default_factory=list)
    upstreams: list[Upstream] = field(default_factory=list)


def follow(tree: nodes.Template) -> Text:
    """Follow a template's text from its start."""
    walk = _Walk()
    walk.body(tree.body)
    return walk.text


class _Walk:
    """The state of the walk: the position in nginx's text, the branches around it, the open upstreams."""

    def __init__(self) -> None:
        self.text = Text()
        self.position = TextPosition()
        self.branches: tuple[Branch, ...] = ()
        self.open: list[tuple[int, Upstream]] = []
        self.began = 0

    def body(self, body: Iterable[nodes.Node]) -> None:
        for node in body:
            match node:
                case nodes.Output():
                    self.output(node)
                case nodes.If():
                    self.condition(node)
                case nodes.For():
                    self.loop(node)
                case nodes.Macro() | nodes.AssignBlock():
                    self.apart(node.body)
                case nodes.With() | nodes.Block() | nodes.FilterBlock() | nodes.CallBlock() | nodes.Scope():
                    self.body(node.body)
                case _:
                    pass

    def apart(self, body: Iterable[nodes.Node]) -> None:
        """Follow a text that is used elsewhere: it starts as if at the start of an nginx line."""
        held = self.position, self.branches, self.open
        self.position, self.branches, self.open = TextPosition(), (), []
        self.body(body)
        self.position, self.branches, self.open = held

    def condition(self, node: nodes.If) -> None:
        before = self.position
        self.branch(Branch(node=node), node.body)
        after = self.position
        for other in node.elif_:
            self.position = before
            self.branch(Branch(node=other), other.body)
        if node.else_:
            self.position = before
            self.branch(Branch(node=node, is_else=True), node.else_)
        self.position = after

    def loop(self, node: nodes.For) -> None:
        before = self.position
        self.branch(Branch(node=node), node.body)
        after = self.position
        if node.else_:
            self.position = before
            self.branch(Branch(node=node, is_else=True), node.else_)
        self.position = after

    def branch(self, branch: Branch, body: Iterable[nodes.Node]) -> None:
        self.branches = (*self.branches, branch)
        self.body(body)
        self.branches = self.branches[:-1]

    def output(self, node: nodes.Output) -> None:
        for piece in node.nodes:
            if isinstance(piece, nodes.TemplateData):
                self.data(piece)
            else:
                self.printed(piece)

    def printed(self, node: nodes.Expr) -> None:
        self.text.prints.append(PrintSite(node=node, position=self.position, branches=self.branches))
        if self.position.mode is not TextMode.BARE:
            return
        if not self.position.directive and isinstance(node, nodes.Call):
            self.server()
        self.position = replace(self.position, statement=self.position.statement + UNKNOWN_TEXT)

    def data(self, node: nodes.TemplateData) -> None:
        for offset, character in enumerate(node.data):
            before = self.position
            self.position = position_after(before, character)
            if self.position.directive and not before.directive:
                self.began = node.lineno + offset
            if len(self.position.blocks) > len(before.blocks):
                self.opened()
            elif len(self.position.blocks) < len(before.blocks):
                self.closed()
            elif before.directive == "server" and before.statement and not self.position.statement:
                self.server()

    def opened(self) -> None:
        if self.position.blocks[-1] == "upstream":
            upstream = Upstream(offset=self.began, branches=self.branches)
            self.text.upstreams.append(upstream)
            self.open.append((len(self.position.blocks), upstream))

    def closed(self) -> None:
        while self.open and self.open[-1][0] > len(self.position.blocks):
            self.open.pop()

    def server(self) -> None:
        """Add a server line to the innermost upstream: an unconditional one, or one written by a loop."""
        if not self.open or self.open[-1][0] != len(self.position.blocks):
            return
        upstream = self.open[-1][1]
        inside = self.branches[len(upstream.branches) :]
        loops = [branch.node for branch in inside if isinstance(branch.node, nodes.For) and not branch.is_else]
        if loops:
            upstream.loops.append((loops[0], self.branches[: self.branches.index(Branch(node=loops[0]))]))
        else:
            upstream.is_filled = True
