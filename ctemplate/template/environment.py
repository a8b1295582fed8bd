"""Jinja, sandboxed: how templates compile, what they may reach, and what happens at each print.

Knows the domain's values only as things with fields. Must not know Consul, files to write, or commands.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ctemplate.model import Check, Instance, Service
from ctemplate.nginx.quoting import is_token
from ctemplate.template import runtime
from ctemplate.template.filters import filters, tests
from ctemplate.template.formatting import method_of
from ctemplate.template.functions import Functions, Variables
from ctemplate.template.limits import Limits, Meter
from ctemplate.template.run import Run
from ctemplate.template.trust import Refused, Trusted, text_of

FIELDS: dict[type, frozenset[str]] = {kind: frozenset(kind.__struct_fields__) for kind in (Service, Instance, Check)}
"""The model's types and what templates may read of them."""

_KNOWN_TOKENS = 100_000
_FUNCTIONS = (types.MethodType, types.FunctionType)


class Generator(CodeGenerator):
    """Compiles templates so that literals are trusted and every print passes ``Environment.printed``."""

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:  # noqa: N802  # Jinja's name
        """Write a literal; a text is trusted, unless nothing but trust could tell it from a plain ``str``."""
        if isinstance(node.value, str):
            self.write(f"Markup({node.value!r})")
        else:
            super().visit_Const(node, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802  # Jinja's name
        """Write a loop whose items come paced."""
        if not _is_paced(node.iter):
            node.iter = nodes.Call(_PACED, [node.iter], [], None, None, lineno=node.lineno)
        super().visit_For(node, frame)

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: FBT001, FBT002, N802  # Jinja's name
        """Write a call; that of ``paced`` is direct."""
        if not _is_paced(node):
            return super().visit_Call(node, frame, forward_caller=forward_caller)  # type: ignore[no-any-return]
        self.write("environment.paced(")
        self.visit(node.args[0], frame)
        self.write(")")
        return None

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:  # noqa: ARG002
        if isinstance(node, nodes.TemplateData):
            return node.data
        raise nodes.Impossible

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:  # noqa: ARG002
        self.write("environment.printed(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:  # noqa: ARG002
        self.write(")")


_PACED = nodes.EnvironmentAttribute("paced")


def _is_paced(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and node.node is _PACED


class Undefined(jinja2.StrictUndefined):
    """A missing name, field or key: any use of it is an error that says what is there instead."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        obj, name = self._undefined_obj, self._undefined_name
        if self._undefined_hint or obj is runtime.missing:
            return super()._undefined_message
        if isinstance(obj, Variables):
            return f"'var.{name}' is undefined{suggestion(name, obj.values)}"
        if isinstance(obj, dict):
            return f"no key {name!r} here; known: {', '.join(sorted(map(str, obj))) or 'none'}"
        kind = "text" if isinstance(obj, str) else type(obj).__name__.lower()
        if not isinstance(name, str):
            return f"{kind} has no item {name!r}"
        return f"{kind} has no field {name!r}{suggestion(name, FIELDS.get(type(obj), ()))}"


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return ``; did you mean …?`` when a known name is near."""
    near = difflib.get_close_matches(str(name), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's environment for one template and what it includes."""

    code_generator_class = Generator
    context_class = runtime.TemplateContext
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, loader: jinja2.BaseLoader, *, escape: str, functions: Functions) -> None:
        super().__init__(
            loader=loader,
            undefined=Undefined,
            autoescape=True,
            optimized=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            auto_reload=False,
        )
        self.globals = functions.table()
        self._listen_port = functions.listen_port
        self.filters = filters()
        self.tests = tests()
        self.meter = Meter(Limits())
        self.run: Run | None = None
        self.refuse: Callable[[str, str], str] = self._refuse_outside_of_render
        self.printed = self._printed_checked if escape == "nginx" else self._printed_freely
        self._tokens: set[str] = set()

    def _refuse_outside_of_render(self, text: str, reason: str) -> str:
        raise jinja2.TemplateRuntimeError(f"{text!r} {reason}")

    def _printed_checked(self, value: Any) -> str:
        kind = type(value)
        if kind is str:
            if value in self._tokens:
                return value  # type: ignore[no-any-return]
            if is_token(value):
                return self._remembered(value)
        elif kind is Trusted:
            return value  # type: ignore[no-any-return]
        elif kind is Refused:
            return self.refuse(value, value.reason)
        text = str(text_of(value))
        if kind is float or kind is bool or is_token(text) or isinstance(value, jinja2.Undefined):
            return text
        return self.refuse(text, "is no plain token")

    def _remembered(self, token: str) -> str:
        if len(self._tokens) >= _KNOWN_TOKENS:
            self._tokens.clear()
        self._tokens.add(token)
        return token

    def _printed_freely(self, value: Any) -> str:
        return str(value)

    def paced(self, items: Iterable[Any]) -> Iterable[Any]:
        """Return the items of a loop, counted against the limits."""
        return self.meter.paced(items)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return what ``obj.attribute`` means in a template: the model's fields first, since most reads are theirs."""
        kind = type(obj)
        fields = FIELDS.get(kind)
        if fields is None:
            return self._sandboxed(obj, attribute)
        if self.run is not None and kind is not Check:
            self.run.touched = obj
        if attribute in fields:
            return getattr(obj, attribute)
        if attribute == "listen_port" and kind is Service:
            return self._listen_port(obj)
        return self.undefined(obj=obj, name=attribute)

    def _sandboxed(self, obj: Any, attribute: str) -> Any:
        if type(obj) is Variables:
            return obj.values[attribute] if attribute in obj.values else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, str):
            return method_of(obj, attribute, self) or self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return what ``obj[argument]`` means in a template; a model value has its fields only."""
        if isinstance(argument, str) and (type(obj) in FIELDS or isinstance(obj, str | Variables)):
            return self.getattr(obj, argument)
        return super().getitem(obj, argument)

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Call what a template calls."""
        self.meter.call()
        if type(function) in _FUNCTIONS and not hasattr(function, "jinja_pass_arg"):
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            return function(*args, **kwargs)
        return super().call(context, function, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Carry out ``left operator right`` unless it would build too much."""
        self.meter.check_binary(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all(nodes.EvalContextModifier):
            raise jinja2.TemplateSyntaxError("autoescape is not supported: printing follows one rule", node.lineno)
        return tree

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:  # noqa: FBT001, FBT002
        code = super()._generate(source, name, filename, defer_init)
        return code.replace("from jinja2.runtime import ", f"from {runtime.__name__} import ", 1)
