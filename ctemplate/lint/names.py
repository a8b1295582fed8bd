"""Findings for names, filters, tests, fields and arguments that do not exist."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping

from jinja2 import nodes
from jinja2.runtime import LoopContext

from ctemplate.core.errors import printable
from ctemplate.lint.finding import Finding
from ctemplate.lint.reading import Reading
from ctemplate.lint.source import TemplateSource, literal, member_name, members
from ctemplate.template.language.advice import argument_advice, field_advice, word_advice
from ctemplate.template.language.environment import Environment
from ctemplate.template.language.fields import list_has_no_field
from ctemplate.template.language.functions import suggestion
from ctemplate.template.language.text_methods import PLAIN, WIDTHS

CHANCE = frozenset({"time", "today", "timestamp", "utcnow", "shuffle", "uuid", "uuid4", "lipsum"})
"""Names for the clock and for random values in other template languages; here they are ``now()`` and ``| random``."""

TEXT_METHODS = PLAIN | WIDTHS | {"replace", "format", "format_map"}
_FIRST_ATTRIBUTE = frozenset({"selectattr", "rejectattr", "groupby"})
"""Filters whose first argument is the name of a field."""

LOOP_FIELDS = frozenset(name for name in dir(LoopContext) if not name.startswith("_")) | {"depth0"}
_CHANCE = "output that depends on time or chance causes a reload with each render; only now() and | random exist here"


def unknown_names(source: TemplateSource, reading: Reading, variables: Collection[str] = ()) -> Iterator[Finding]:
    """Yield the names that are defined nowhere."""
    given = {node.name for node in source.tree.find_all(nodes.Name) if node.ctx != "load"} | set(reading.functions)
    for node in reading.unknown:
        if node.name in CHANCE:
            yield source.finding(node, "CT301", f"{node.name!r}: {_CHANCE}")
        elif node not in reading.defaulted:
            known = suggestion(node.name, variables, "var.") if node.name in variables else ""
            advice = known or word_advice(node.name) or suggestion(node.name, given)
            yield source.finding(node, "CT102", f"{node.name!r} is undefined{advice}")


def unknown_filters(source: TemplateSource, environment: Environment) -> Iterator[Finding]:
    """Yield filters and tests that do not exist, including those that other filters name as text."""
    for node in source.tree.find_all(nodes.Filter):
        if node.name not in environment.filters:
            yield _unknown(source, node, node.name, environment.filters, code="CT103")
        for number, position in (("filter", 0), ("test", 0 if node.name in {"select", "reject"} else 1)):
            yield from _named(source, node, environment, kind=number, position=position)
    for test in source.tree.find_all(nodes.Test):
        if test.name not in environment.tests:
            yield _unknown(source, test, test.name, environment.tests, code="CT104")


def _named(
    source: TemplateSource, node: nodes.Filter, environment: Environment, *, kind: str, position: int
) -> Iterator[Finding]:
    """Yield the filters and tests that ``map``, ``select`` and similar filters name as text."""
    takers = {"filter": {"map"}, "test": {"select", "reject", "selectattr", "rejectattr"}}
    if node.name not in takers[kind] or len(node.args) <= position:
        return
    named = node.args[position]
    known: Iterable[str] = environment.filters if kind == "filter" else environment.tests
    if isinstance(named, nodes.Const) and isinstance(named.value, str) and named.value not in known:
        yield _unknown(source, named, named.value, known, code="CT103" if kind == "filter" else "CT104")


def _unknown(source: TemplateSource, node: nodes.Node, name: str, known: Iterable[str], *, code: str) -> Finding:
    if name in CHANCE:
        return source.finding(node, "CT301", f"{name!r}: {_CHANCE}")
    word = "filter" if code == "CT103" else "test"
    advice = word_advice(name) or suggestion(name, known)
    return source.finding(node, code, f"no {word} named {printable(name)!r}{advice}")


def uncalled_functions(source: TemplateSource, reading: Reading) -> Iterator[Finding]:
    """Yield functions that stand without parentheses, such as ``for s in services`` and ``service.web``."""
    for node in reading.uncalled:
        if node not in reading.defaulted:
            yield source.finding(node, "CT109", f"{node.name} is a function; write {node.name}(…)")


def unknown_fields(
    source: TemplateSource, reading: Reading, modules: Mapping[str, frozenset[str]]
) -> Iterator[Finding]:
    """Yield fields that services, instances, checks, texts, ``loop`` and imported templates do not have."""
    imported = _imported(source.tree, modules)
    for node in members(source.tree):
        name = member_name(node)
        known = _known_fields(node.node, reading, imported)
        if name is not None and known is not None and name not in known[1]:
            yield source.finding(node.lineno + 1, "CT105", _no_field(known[0], name, known[1]))
        elif name is not None and reading.kind(node.node).of is tuple and not hasattr(list, name):
            yield source.finding(node.lineno + 1, "CT105", list_has_no_field(name))
    yield from _unknown_attributes(source, reading)
    for imports in source.tree.find_all(nodes.FromImport):
        template = literal(imports.template) or ""
        names = modules.get(template)
        wanted = [given if isinstance(given, str) else given[0] for given in imports.names]
        for unknown in () if names is None else set(wanted) - names:
            message = f"{template} has no field {unknown!r}{suggestion(unknown, names or ())}"
            yield source.finding(imports, "CT105", message)


def _unknown_attributes(source: TemplateSource, reading: Reading) -> Iterator[Finding]:
    """Yield the fields that ``sort(attribute=…)``, ``selectattr`` and similar filters name as text, and no item has."""
    for node in source.tree.find_all(nodes.Filter):
        listed = reading.kind(node.node).items if node.node is not None else None
        named = [keyword.value for keyword in node.kwargs if keyword.key == "attribute"]
        named += node.args[:1] if node.name in _FIRST_ATTRIBUTE else []
        if listed is None or not listed.is_model:
            continue
        for path in (each for value in named for each in (literal(value) or "").split(",")):
            name = path.strip().partition(".")[0]
            if name and name not in listed.fields:
                yield source.finding(node, "CT105", _no_field(listed.of.__name__.lower(), name, listed.fields))


def _no_field(kind: str, name: str, known: Collection[str]) -> str:
    advice = word_advice(name) if kind == "text" else field_advice(name, known)
    return f"{kind} has no field {printable(name)!r}{advice or suggestion(name, known)}"


def _known_fields(
    of: nodes.Expr, reading: Reading, imported: Mapping[str, tuple[str, frozenset[str]]]
) -> tuple[str, frozenset[str]] | None:
    kind = reading.kind(of)
    if kind.is_model:
        return kind.of.__name__.lower(), kind.fields
    if kind.of is str:
        return "text", TEXT_METHODS
    if isinstance(of, nodes.Name) and of.name in imported:
        return imported[of.name]
    if isinstance(of, nodes.Name) and of.name == "loop":
        return "loop", LOOP_FIELDS
    return None


def _imported(tree: nodes.Template, modules: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, frozenset[str]]]:
    """Return each imported module's name in the template, and the names that it defines."""
    return {
        node.target: (name, modules[name])
        for node in tree.find_all(nodes.Import)
        if (name := literal(node.template)) is not None and name in modules
    }


def unknown_arguments(source: TemplateSource, reading: Reading) -> Iterator[Finding]:
    """Yield named arguments that a function does not accept."""
    for call in source.tree.find_all(nodes.Call):
        name = call.node.name if isinstance(call.node, nodes.Name) else ""
        function = reading.functions.get(name)
        if not inspect.isroutine(function):
            continue
        parameters = inspect.signature(function).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            continue
        for keyword in call.kwargs:
            if keyword.key not in parameters:
                advice = argument_advice(keyword.key, parameters) or suggestion(keyword.key, parameters)
                message = f"{name}() has no argument {keyword.key!r}{advice}"
                yield source.finding(keyword, "CT106", message)
