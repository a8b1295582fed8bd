"""The sandboxed Jinja environment: what templates may reach, and the check of each print.

Knows the domain's values only as objects with fields. Must not know Consul, files to write, or commands.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.environment import TemplateModule
from jinja2.lexer import TokenStream
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ctemplate.core.errors import CtemplateError, TemplateError, printable
from ctemplate.core.micro import MicroService
from ctemplate.core.model import CheckState, Instance, OwnedEntry, Service, Snapshot, TaggedAddress, Weights
from ctemplate.template.cache.compiled_texts import CompiledText, compiled_once
from ctemplate.template.cache.fragments import SCALARS, Fragments, Memo
from ctemplate.template.language import runtime
from ctemplate.template.language.advice import word_advice
from ctemplate.template.language.compiler import Generator, check_jumps, literal_names
from ctemplate.template.language.fields import FIELDS, PLAIN_FUNCTIONS, Missing, Undefined, lacking_item
from ctemplate.template.language.filters import COSTLY, filters, made, tests
from ctemplate.template.language.formats import FORMATS, NONE
from ctemplate.template.language.functions import Functions, Variables, suggestion
from ctemplate.template.language.item_files import ItemFiles
from ctemplate.template.language.lines import PLAIN_SYNTAX, Syntax, SyntaxLexers, syntax_options
from ctemplate.template.language.text_methods import method_of
from ctemplate.template.safety.limits import LimitExceeded, Meter, RenderLimits, check_binary
from ctemplate.template.safety.line_origins import LineMarks
from ctemplate.template.safety.registered_numbers import REGISTERED_NUMBERS
from ctemplate.template.safety.render_pass import Owner, PrintRecord, Recorded, Run
from ctemplate.template.safety.running_line import printing_line
from ctemplate.template.safety.tainted_text import (
    MAX_EXACT,
    QUOTED,
    JoinedText,
    Refused,
    TaintedText,
    Trusted,
    calculated,
    concatenated,
    holds_data,
    is_token,
    numbered,
    shadow_of,
    text_of,
    values_between,
    with_shadow,
    with_text,
)
from ctemplate.template.safety.value_places import numbered_value as with_number, placed_value, unmarked

_FIELDS_ONLY = frozenset(FIELDS) | REGISTERED_NUMBERS

_FATAL = (CtemplateError, LimitExceeded, MemoryError, RecursionError, jinja2.TemplateNotFound)
"""Exceptions that end a pass wherever they occur: a single service's data alone cannot be their cause."""

_WITHOUT_OWNER = frozenset({CheckState, MicroService, TaggedAddress, Weights})
"""Parts of an instance, which stays the entry that was read last."""

_KNOWN_TOKENS = 100_000


class Compiled(jinja2.Template):
    """A compiled template. Its module is created again in each pass if its top level reads answers.

    A pass creates it once, yet each importing template depends on what the module read, as if it had created the module
    itself.
    """

    environment: Environment
    _made: tuple[Run, TemplateModule, Recorded] | None = None
    _constant: Mapping[bool, TemplateModule] = {}

    def _get_default_module(self, ctx: Context | None = None) -> Any:  # noqa: ARG002  # Jinja's signature
        run = self.environment.run
        is_shadowed = run.prints is not None
        if is_shadowed in self._constant:
            return self._constant[is_shadowed]
        if self._made is not None and self._made[0] is run:
            run.repeat(self._made[2])
            return self._made[1]
        before, context = run.marks(), self.new_context()
        module = TemplateModule(self, context)
        self._made = (run, module, run.since(before))
        if run.marks() == before and all(map(self._is_constant, context.vars.values())):
            self._constant = {**self._constant, is_shadowed: module}
            macros = (value for value in context.vars.values() if isinstance(value, Macro))
            self.environment.fragments.trust((module, *macros))
        return module

    def _is_constant(self, value: Any) -> bool:
        """Return whether a value created without reading an answer is the same in each pass and never changes."""
        if isinstance(value, list | tuple):
            return all(map(self._is_constant, value))
        if isinstance(value, dict):
            return all(map(self._is_constant, value.values()))
        if isinstance(value, Macro) and value._func.__globals__ is self.root_render_func.__globals__:  # noqa: SLF001  # whose it is
            return True
        return type(value) in SCALARS or type(value) is TaintedText or self.environment.fragments.is_constant(value)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's environment for one template and the templates that it includes.

    ``names`` are the names that its templates know, ``needed`` the templates that they name, each with its first place.
    """

    code_generator_class = Generator
    context_class = runtime.TemplateContext
    template_class = Compiled
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def __init__(
        self,
        loader: jinja2.BaseLoader,
        *,
        escape: str,
        functions: Functions,
        marks: LineMarks | None = None,
        syntax: Syntax = PLAIN_SYNTAX,
    ) -> None:
        super().__init__(
            loader=loader,
            undefined=Undefined,
            autoescape=True,
            optimized=False,
            extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
            keep_trailing_newline=True,
            auto_reload=False,
            **syntax_options(syntax),
        )
        self.lexer_of = SyntaxLexers(self).of
        self.globals = functions.table()
        self.filters.clear()
        self.format = FORMATS[escape]
        self._dialect = (escape, syntax)
        self.filters.update(filters())
        self.filters.update({name: made(function) for name, function in self.format.escapes.items()})
        self.filters.update({name: self._metered(self.filters[name]) for name in COSTLY})
        self.filters["random"] = functions.random
        self.tests.clear()
        self.tests.update(tests())
        self.names = set(self.globals)
        self.needed: dict[str, str] = {}
        self.item_files: ItemFiles | None = None
        self.run = Run(snapshot=Snapshot({}))
        self.meter = Meter(RenderLimits())
        self.refuse: Callable[[str, str], str] = _refused
        self.as_template_error: Callable[[Exception], TemplateError] = partial(TemplateError, "template")
        self._checked = self._printed_checked if self.format.is_nginx else self._printed_placed
        if escape == NONE:
            self._checked = self._printed_freely
        self.placed: list[tuple[str, Owner | None]] | None = None
        self.printed = self._checked
        self._listen_port = functions.listen_port
        self._marks = marks
        self.fragments = Fragments(is_traced=marks is not None)
        self.fragments.trust(self.globals.values())
        self._numbers = itertools.count()
        self._tokens: set[str] = set()

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        return self.lexer_of(filename).tokenize(self.preprocess(source, name, filename), name, filename, state)

    def start(
        self,
        run: Run,
        meter: Meter,
        refuse: Callable[[str, str], str],
        as_template_error: Callable[[Exception], TemplateError],
    ) -> None:
        """Begin a pass: set what it reads, its limits, and how it handles forbidden values and exceptions."""
        self.run = run
        self.meter = meter
        self.refuse = refuse
        self.as_template_error = as_template_error
        self.fragments.start(run)
        self.__dict__.pop("getattr", None)
        if run.counts:
            self.getattr = self._getattr_counting  # type: ignore[method-assign]
        self.printed = self._printed_counting if run.counts else self._checked
        self.concat = "".join  # type: ignore[method-assign]
        if run.prints is not None:
            self.printed, self.concat = self._printed_shadowed, concatenated  # type: ignore[method-assign]

    def _printed_checked(self, value: Any) -> str:
        kind = type(value)
        if kind is str:
            if value in self._tokens:
                return value  # type: ignore[no-any-return]
            if is_token(value):
                return self._remembered(value)
        elif kind is Trusted or kind is TaintedText:
            return value  # type: ignore[no-any-return]
        elif kind is int and -MAX_EXACT < value < MAX_EXACT:
            return str(value)
        return self._judged(value)

    def _printed_freely(self, value: Any) -> str:
        value = with_text(value)
        return self.refuse(str(value), value.reason) if isinstance(value, Refused) else str(value)

    def _judged(self, value: Any) -> str:
        value = with_text(value)
        text = str(text_of(value))
        if isinstance(value, Refused):
            return self.refuse(text, value.reason)
        if is_token(text) or isinstance(value, float | jinja2.Undefined):
            return text
        is_name = bool(text) and text == self.run.last_read_name()
        advice = (is_name and self.format.name_advice) or self.format.advice
        return self.refuse(text, advice if text else "is empty")

    def _printed_placed(self, value: Any) -> str:
        """Print by the rule of another format: mark a value that is not allowed everywhere, to be checked later."""
        kind = type(value)
        if kind is str and value in self._tokens:
            return value  # type: ignore[no-any-return]
        if kind is Trusted or (kind is TaintedText and not holds_data(value)):
            return value if self.placed is None else with_number(value, self._number())
        if (kind is TaintedText or kind is JoinedText) and len(parts := values_between(value)) > 1:
            return "".join(map(self._printed_placed, parts))
        return self._placed_whole(with_text(value))

    def _placed_whole(self, value: Any) -> str:
        text = unmarked(str(text_of(value)).replace(QUOTED, ""))
        if isinstance(value, Refused):
            return self.refuse(text, value.reason)
        if isinstance(value, int | float | jinja2.Undefined) or self.format.is_plain(text):
            return self._remembered(text)
        if self.format.may_stand(text):
            return placed_value(text, number="" if self.placed is None else self._number())
        return self.refuse(text, self.format.advice)

    def _number(self) -> str:
        """Record the place where a value is printed, and return its number."""
        assert self.placed is not None  # noqa: S101  # only asked for where they are taken down
        self.placed.append((printing_line(), self.run.owner()))
        return str(len(self.placed) - 1)

    def _remembered(self, token: str) -> str:
        if len(self._tokens) >= _KNOWN_TOKENS:
            self._tokens.clear()
        self._tokens.add(token)
        return token

    def _printed_counting(self, value: Any) -> str:
        refused = len(self.run.violations)
        text = self._checked(value)
        owner = self.run.owner()
        if owner is not None and not owner.thing and len(self.run.violations) == refused:
            self.run.passed.add((printing_line(), owner))
        return text

    def _printed_shadowed(self, value: Any) -> str:
        """Print with placeholder text, and record which value was printed where."""
        text, run = self._checked(value), self.run
        if text is value and type(value) is str and self.format.is_nginx and run.prints is not None:
            return self._shadowed_token(value, run)
        shown = str(value) if type(value) in REGISTERED_NUMBERS else value
        shadow = shadow_of(value) if text == shown else text
        if text == shadow or run.prints is None:
            return text
        whole, values = numbered(text, shadow, lambda: next(self._numbers))
        for number, one in values:
            printed = PrintRecord(text=one.replace(QUOTED, ""), where=printing_line(), owner=run.owner())
            run.record_print(number, printed)
        return with_shadow(text, whole)

    def _shadowed_token(self, value: str, run: Run) -> str:
        """Print a plain token, the most common value: its placeholder is one mark, and is known beforehand."""
        number = next(self._numbers)
        run.record_print(number, PrintRecord(text=value, where=printing_line(), owner=run.owner()))
        return with_shadow(value, f"\x01{len(value)}:{number}\x02")

    def _metered(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter that checks the render's time limit before it runs and in its loops."""

        def metered(*args: Any, **kwargs: Any) -> Any:
            return self.meter.costly(function, *args, **kwargs)

        return wraps(function)(metered)

    def broke(self, exc: Exception) -> None:
        """Treat an exception in a loop's turn as caused by the entry read last; raise it if no entry was read."""
        owner = self.run.owner()
        if owner is None or isinstance(exc, _FATAL):
            raise exc
        self.run.break_off(owner, self.as_template_error(exc))

    def broke_off(self, exc: Exception) -> str:
        """Treat the exception in the same way for a fragment, and return its text."""
        self.broke(exc)
        return self.fragments.drop()

    def paced(self, items: Iterable[Any]) -> Iterable[Any]:
        """Return the items of a loop, counted against the limits."""
        return self.meter.paced(items) if self._marks is None else self._read(self.meter.paced(items))

    def stretched(self, items: Iterable[Any], memo: Memo | None) -> Iterable[Any]:
        """Return the items of a loop over entries, counted against the limits; known stretches of them are one item."""
        cut = memo.stretches_of(items) if memo is not None and self._marks is None else None
        return self.paced(items) if memo is None or cut is None else self.fragments.stretched(memo, cut, self.meter)

    def _read(self, items: Iterable[Any]) -> Iterable[Any]:
        """Return the items of a loop; record each item when the loop reads it."""
        for item in items:
            if isinstance(item, Service | Instance | OwnedEntry):
                self.run.last_read = item
            yield item

    def read_last(self, follows_print: bool) -> str:  # noqa: FBT001  # compiled templates call it so
        """Return a placeholder for the entry read last, in a traced template."""
        return "" if self._marks is None else Trusted(self._marks.owner(self.run.owner(), follows_print=follows_print))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the value of ``obj.attribute`` in a template; try the model's fields first, the most common case."""
        kind = type(obj)
        fields = FIELDS.get(kind)
        if fields is None:
            return self._sandboxed(obj, attribute)
        if kind not in _WITHOUT_OWNER:
            self.run.last_read = obj
        if attribute in fields:
            return getattr(obj, attribute)
        if attribute == "listen_port" and kind is Service:
            return self._listen_port(obj)
        return self.undefined(obj=obj, name=attribute)

    def _getattr_counting(self, obj: Any, attribute: str) -> Any:
        """Read a field, and record its owner and place."""
        found = Environment.getattr(self, obj, attribute)
        if isinstance(obj, Service | Instance):
            self.run.read.add((printing_line(), Owner.of(obj)))
        return found

    def _sandboxed(self, obj: Any, attribute: str) -> Any:
        if type(obj) is Variables:
            return obj.values[attribute] if attribute in obj.values else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, str):
            return method_of(obj, attribute, self) or self.undefined(obj=obj, name=attribute)
        if type(obj) in REGISTERED_NUMBERS:
            return self.undefined(obj=obj, name=attribute)  # such as real, an ordinary number
        found = super().getattr(obj, attribute)
        is_missing = isinstance(obj, dict) and isinstance(found, Undefined) and attribute not in dir(obj)
        return Missing(obj=obj, name=attribute) if is_missing else found

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return the value of ``obj[argument]`` in a template; a model value has only its fields."""
        if isinstance(argument, str) and (type(obj) in _FIELDS_ONLY or isinstance(obj, str | Variables)):
            return self.getattr(obj, str(argument))
        if isinstance(obj, dict):
            return obj[argument] if argument in obj else Missing(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def item_of(self, obj: Any, argument: Any, called: str) -> Any:
        """Return ``obj[argument]``; if a list has no such item, the error names the list as the template does."""
        found = self.getitem(obj, argument)
        if type(found) is Undefined and isinstance(obj, tuple | list):
            return Undefined(lacking_item(called, len(obj), argument), obj=obj, name=argument)
        return found

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Carry out a call of a template."""
        self.meter.call()
        if type(function) in PLAIN_FUNCTIONS and not hasattr(function, "jinja_pass_arg"):
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            return function(*args, **kwargs)
        return super().call(context, function, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Carry out ``left operator right`` unless the result would be too large."""
        check_binary(operator, left, right)
        return calculated(super().call_binop(context, operator, left, right), (left, right))

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        """Carry out ``operator arg``."""
        return calculated(super().call_unop(context, operator, arg), (arg,))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        check_jumps(tree, name, filename)
        if self.item_files is not None and name == self.item_files.name:
            tree = self.item_files.wrapped(tree, self, filename)
        names = set()
        for node in tree.find_all((nodes.Name, nodes.Filter, nodes.Test, nodes.EvalContextModifier)):
            if isinstance(node, nodes.Name):
                names.add(node.name)
            else:
                self._check_supported(node, name, filename)
        self._parsed = frozenset(names), {needed: f"{filename}:{line}" for needed, line in literal_names(tree)}
        self._take(*self._parsed)
        if self._marks is not None:
            self._marks.set(tree, str(filename))
        return tree

    def _take(self, names: frozenset[str], needed: Mapping[str, str]) -> None:
        self.names |= names
        self.needed = {**needed, **self.needed}

    def compile(self, source: Any, name: Any = None, filename: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Return the code of a text; an equal text compiled for another template has the same code."""
        is_own = self._marks is not None or (self.item_files is not None and name == self.item_files.name)
        if is_own or args or kwargs or not isinstance(source, str):
            return super().compile(source, name, filename, *args, **kwargs)
        compiled = super().compile
        key = (*self._dialect, name, filename, source)
        known = compiled_once(key, lambda: CompiledText(compiled(source, name, filename), *self._parsed))
        self._take(known.names, known.needed)
        return known.code

    def _check_supported(self, node: nodes.Node, name: str | None, filename: str | None) -> None:
        if isinstance(node, nodes.Filter | nodes.Test):
            known = self.filters if isinstance(node, nodes.Filter) else self.tests
            if node.name in known:
                return
            advice = word_advice(node.name) or suggestion(node.name, known)
            what = f"no {type(node).__name__.lower()} named {node.name!r}{advice}"
        else:
            what = "autoescape is not supported: printing follows one rule"
        raise jinja2.TemplateSyntaxError(what, node.lineno, name, filename)

    def _generate(
        self,
        source: nodes.Template,
        name: str | None,
        filename: str | None,
        defer_init: bool = False,  # noqa: FBT001, FBT002  # Jinja's signature
    ) -> str:
        code = super()._generate(source, name, filename, defer_init)
        return code.replace("from jinja2.runtime import ", f"from {runtime.__name__} import Trusted, ", 1)


def _refused(text: str, reason: str) -> str:
    raise jinja2.TemplateRuntimeError(f"{printable(text)!r} {reason}")
