"""How templates compile: literals are trusted, every print is checked, and every loop checks the time limit.

Must not know the domain: only Jinja's tree and the names that compiled templates call on their environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame

from ctemplate.core.errors import printable
from ctemplate.template.cache.loops import is_over_entries, list_names, names_around, reads_services
from ctemplate.template.cache.sections import KEY_READERS, cut_into_sections

SHOWN_TEXT_LENGTH = 80
_PACED = nodes.EnvironmentAttribute("paced")


class Generator(CodeGenerator):
    """Generates the Python code of a template."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._memos: dict[int, tuple[str, str]] = {}  # the bodies that are fragments, by identity
        self._turns: set[int] = set()  # the other bodies of loops, by identity
        self._lists: frozenset[str] = frozenset()  # the names of lists of entries
        self._sections: frozenset[int] = frozenset()  # the scopes that are sections, by identity

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802  # Jinja's name
        """Write the template; first find its sections, and the names that it gives to lists of entries."""
        self._lists, self._sections = list_names(node), cut_into_sections(node)
        super().visit_Template(node, frame)

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:  # noqa: N802  # Jinja's name
        """Write a literal; a text is trusted."""
        if isinstance(node.value, str):
            self.write(f"Trusted({node.value!r})")
        else:
            super().visit_Const(node, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802  # Jinja's name
        """Write a loop over paced items, whose body is cached as fragments where possible.

        An exception in a turn is reported to the environment, and the loop continues, so that one pass finds all
        services whose data cause exceptions.
        """
        if not _is_paced(node.iter):
            self._pace(node, frame)
        super().visit_For(node, frame)

    def _pace(self, node: nodes.For, frame: Frame) -> None:
        """Have a loop's items paced; cut it into fragments if it is over entries, or reads services.

        A loop that reads services has stretches if it has no test: an error of a test is the template's.
        """
        reads = reads_services(node)
        has_stretches = is_over_entries(node, self._lists) or (reads and node.test is None)
        inside = _with_test_inside(node) if has_stretches else node
        names = names_around(inside) if reads or inside is not node else None
        if names is None:
            node.iter = nodes.Call(_PACED, [node.iter], [], None, None, lineno=node.lineno)
            node.body = [nodes.Scope(node.body, lineno=node.lineno)]
            self._turns.add(id(node.body[0]))
            return
        memo, items = self._write_memo(node, names, frame), [node.iter]
        if inside is not node:
            node.body, node.test = inside.body, None
            items.append(nodes.Name(memo, "load"))
        node.iter = nodes.Call(_PACED, items, [], None, None, lineno=node.lineno)
        kept = "kept" if inside is node else "kept_entry"
        self._cut(node, f"{kept}({memo if reads else None}, ")

    def _write_memo(self, node: nodes.For, names: tuple[str, ...], frame: Frame) -> str:
        """Write the lookup of the loop's fragments; return the name of the result."""
        memo = self.temporary_identifier()
        self.writeline(
            f"{memo} = environment.fragments.of({f'{self.name}:{memo}'!r}, {self._values(names, frame)})", node
        )
        return memo

    def _values(self, names: Iterable[str], frame: Frame) -> str:
        """Return the code of a tuple of the values that names have here."""
        return f"({''.join(f'{frame.symbols.find_ref(name) or _resolved(name)}, ' for name in names)})"

    def _cut(self, node: nodes.For, call: str) -> None:
        """Have a loop's body written as one fragment; the beginning of a call returns its cached text."""
        node.body = [nodes.Scope(node.body, lineno=node.lineno)]
        self._memos[id(node.body[0])] = call, cast("nodes.Name", node.target).name

    def visit_Scope(self, node: nodes.Scope, frame: Frame) -> None:  # noqa: N802  # Jinja's name
        """Write a scope; a fragment's scope prints its cached text, and runs only if there is none."""
        if id(node) in self._turns:
            self.writeline("try:", node)
            self.indent()
            super().visit_Scope(node, frame)
            self.outdent()
            self._write_rescue("environment.broke")
            return
        text = self.temporary_identifier()
        if id(node) in self._sections:
            around = self._values(sorted(KEY_READERS), frame)
            self._write_fragment(node, frame, text, f"kept_section({f'{self.name}:{text}'!r}, {around})")
            self.writeline("except Exception:")
            self.indent()
            self.writeline("environment.fragments.drop()")
            self.writeline("raise")
            self.outdent()
        elif id(node) in self._memos:
            call, target = self._memos[id(node)]
            self._write_fragment(node, frame, text, f"{call}{frame.symbols.ref(target)})")
            self._write_rescue(f"{text} = environment.broke_off")
        else:
            super().visit_Scope(node, frame)
            return
        self.outdent()
        self.start_write(frame, node)
        self.write(text)
        self.end_write(frame)

    def _write_fragment(self, node: nodes.Scope, frame: Frame, text: str, call: str) -> None:
        """Write the call that returns a fragment's cached text, and the body that makes it, in a ``try`` left open."""
        self.writeline(f"{text} = environment.fragments.{call}", node)
        self.writeline(f"if {text} is None:")
        self.indent()
        self.writeline("try:")
        self.indent()
        inner = frame.inner()
        inner.symbols.analyze_node(node)
        self.enter_frame(inner)
        self.buffer(inner)
        self.blockvisit(node.body, inner)
        self.writeline(f"{text} = environment.fragments.keep(concat({inner.buffer}))")
        self.leave_frame(inner)
        self.outdent()

    def _write_rescue(self, call: str) -> None:
        """Write the handling of an exception in a loop's turn."""
        error = self.temporary_identifier()
        self.writeline(f"except Exception as {error}:")
        self.indent()
        self.writeline(f"{call}({error})")
        self.outdent()

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: FBT001, FBT002, N802  # Jinja's
        """Write a call; one that paces the items of a loop is direct."""
        if not _is_paced(node):
            super().visit_Call(node, frame, forward_caller=forward_caller)
            return
        items, *memo = node.args
        self.write("environment.stretched(" if memo else "environment.paced(")
        self.visit(items, frame)
        self.write(f", {cast('nodes.Name', memo[0]).name})" if memo else ")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802  # Jinja's name
        """Write the template's name for the list into the code, for the error that reports an item that it lacks."""
        is_key = isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
        called = "" if is_key or isinstance(node.arg, nodes.Slice) else expression_text(node.node)
        if not called:
            super().visit_Getitem(node, frame)
            return
        self.write("environment.item_of(")
        self.visit(node.node, frame)
        self.write(", ")
        self.visit(node.arg, frame)
        self.write(f", {called!r})")

    def visit_CallBlock(self, node: nodes.CallBlock, frame: Frame) -> None:  # noqa: N802  # Jinja's name
        """Write a ``call`` block; its result is printed like any other value."""
        call_frame, macro_ref = self.macro_body(node, frame)
        self.writeline("caller = ")
        self.macro_def(macro_ref, call_frame)
        self.start_write(frame, node)
        self._output_child_pre(node.call, frame, None)
        self.visit_Call(node.call, frame, forward_caller=True)
        self._output_child_post(node.call, frame, None)
        self.end_write(frame)

    def visit_FilterBlock(self, node: nodes.FilterBlock, frame: Frame) -> None:  # noqa: N802  # Jinja's name
        """Write a ``filter`` block; what the filter returns is printed like any other value."""
        filter_frame = frame.inner()
        filter_frame.symbols.analyze_node(node)
        self.enter_frame(filter_frame)
        self.buffer(filter_frame)
        self.blockvisit(node.body, filter_frame)
        self.start_write(frame, node)
        self._output_child_pre(node.filter, frame, None)
        self.visit_Filter(node.filter, filter_frame)
        self._output_child_post(node.filter, frame, None)
        self.end_write(frame)
        self.leave_frame(filter_frame)

    def visit_AssignBlock(self, node: nodes.AssignBlock, frame: Frame) -> None:  # noqa: N802  # Jinja's name
        """Write a ``set`` block; one with a filter is a filter block within a ``set`` block."""
        if node.filter is not None:
            node.body = [nodes.FilterBlock(node.body, node.filter, lineno=node.lineno)]
            node.filter = None
        super().visit_AssignBlock(node, frame)

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:  # noqa: ARG002  # Jinja's signature
        if isinstance(node, nodes.TemplateData):
            return node.data
        raise nodes.Impossible

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:  # noqa: ARG002  # Jinja's signature
        self.write("environment.printed(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:  # noqa: ARG002  # Jinja's signature
        self.write(")")


def _resolved(name: str) -> str:
    """Return the code that looks a name up in the context."""
    return f"resolve({name!r})"


def expression_text(node: nodes.Expr) -> str:
    """Return an expression as a template writes it; empty if it is not made of names, fields, literals and calls."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Const():
            return _literal_text(node.value)
        case nodes.Getattr():
            owner = expression_text(node.node)
            return f"{owner}.{node.attr}" if owner else ""
        case nodes.Call(dyn_args=None, dyn_kwargs=None):
            return _call_text(node)
        case _:
            return ""


def _literal_text(value: object) -> str:
    return f'"{printable(value, SHOWN_TEXT_LENGTH)}"' if isinstance(value, str) else str(value).lower()


def _call_text(call: nodes.Call) -> str:
    called = expression_text(call.node)
    words = [expression_text(each) for each in call.args]
    named = [(each.key, expression_text(each.value)) for each in call.kwargs]
    if not called or not all((*words, *(text for _, text in named))):
        return ""
    return f"{called}({', '.join([*words, *(f'{key}={text}' for key, text in named)])})"


def _with_test_inside(loop: nodes.For) -> nodes.For:
    """Return a loop with its test in the body, which means the same unless it has an ``else``: then the same loop."""
    if loop.test is None:
        return nodes.For(loop.target, loop.iter, loop.body, loop.else_, None, loop.recursive, lineno=loop.lineno)
    if loop.else_:
        return loop
    body = nodes.If(loop.test, loop.body, [], [], lineno=loop.lineno)
    return nodes.For(loop.target, loop.iter, [body], [], None, loop.recursive, lineno=loop.lineno)


def _is_paced(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and node.node is _PACED


def check_jumps(tree: nodes.Template, name: str | None, filename: str | None) -> None:
    """Raise TemplateSyntaxError for a ``break`` or ``continue`` outside a loop."""
    for jump in _jumps_without_loop(tree):
        what = f"{type(jump).__name__.lower()} belongs in a loop; a macro or call block cannot leave one around it"
        raise jinja2.TemplateSyntaxError(what, jump.lineno, name, filename)


def _jumps_without_loop(node: nodes.Node, *, is_in_loop: bool = False) -> Iterator[nodes.Break | nodes.Continue]:
    """Yield each ``break`` and ``continue`` outside a loop; bodies of macros and call blocks count separately."""
    if isinstance(node, nodes.Break | nodes.Continue):
        yield from () if is_in_loop else (node,)
    elif isinstance(node, nodes.For):
        for child in node.body:
            yield from _jumps_without_loop(child, is_in_loop=True)
        for child in node.else_:
            yield from _jumps_without_loop(child, is_in_loop=is_in_loop)
    else:
        is_function = isinstance(node, nodes.Macro | nodes.CallBlock | nodes.Block)
        for child in node.iter_child_nodes():
            yield from _jumps_without_loop(child, is_in_loop=is_in_loop and not is_function)


def literal_names(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    """Yield the templates that a template needs by a literal name in include, import or extends, with the line."""
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        name = node.template  # type: ignore[attr-defined]
        optional = isinstance(node, nodes.Include) and node.ignore_missing
        if isinstance(name, nodes.Const) and isinstance(name.value, str) and not optional:
            yield name.value, node.lineno
