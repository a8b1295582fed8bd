"""Lint one template together with everything that it includes and imports. Reads the files; the rest is pure.

Must not know configuration files, sources or nginx's answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jinja2 import nodes

from ctemplate.config.groups import TemplatePlan
from ctemplate.core.errors import TemplateError
from ctemplate.lint import names, outcome, printing, queries, stability, variables
from ctemplate.lint.finding import Finding
from ctemplate.lint.reading import exported, read_tree
from ctemplate.lint.source import TemplateSource, parse_source
from ctemplate.lint.text import follow
from ctemplate.lint.variables import Given
from ctemplate.template import Template
from ctemplate.template.language.compiler import literal_names
from ctemplate.template.language.environment import Environment
from ctemplate.template.language.formats import NGINX
from ctemplate.template.language.functions import Functions
from ctemplate.template.language.item_files import ItemFiles
from ctemplate.template.language.loader import FolderLoader
from ctemplate.template.language.source_text import SourceText


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A template and all that it names, by the names that templates use; and findings for unloadable files."""

    sources: Mapping[str, TemplateSource]
    findings: tuple[Finding, ...]

    @property
    def trees(self) -> tuple[nodes.Template, ...]:
        """Return the trees of all sources."""
        return tuple(source.tree for source in self.sources.values())


def family(plan: TemplatePlan, environment: Environment) -> Family:
    """Read and parse a template and everything that it includes or imports by a literal name."""
    sources: dict[str, TemplateSource] = {}
    findings: list[Finding] = []
    pending: list[tuple[str, TemplateSource | None, int]] = [(plan.source.name, None, 0)]
    seen = {plan.source.name}
    while pending:
        name, wanted_by, offset = pending.pop()
        try:
            found = _parsed(name, environment)
        except jinja2.TemplateNotFound:
            message = f"no template {name!r} in the template's folders"
            findings += [wanted_by.finding(offset, "CT101", message)] if wanted_by else []
            continue
        except TemplateError as exc:
            findings.append(_as_load_finding(exc))
            continue
        if isinstance(found, Finding):
            findings.append(found)
            continue
        sources[name] = found
        for other, place in literal_names(found.tree):
            if other not in seen:
                seen.add(other)
                pending.append((other, found, place))
    return Family(sources=sources, findings=tuple(findings))


def _parsed(name: str, environment: Environment) -> TemplateSource | Finding:
    assert environment.loader is not None  # noqa: S101  # environments of templates have one
    text, path, _ = environment.loader.get_source(environment, name)
    files = environment.item_files
    if files is None or files.name != name:
        return parse_source(path or name, text, environment)
    return parse_source(path or name, text, environment, lambda tree: files.wrapped(tree, environment, path))


def _as_load_finding(exc: TemplateError) -> Finding:
    """Return a load error as a finding; the error's place is ``file:line`` or ``file``."""
    path, _, line = exc.where.rpartition(":")
    if not line.isdecimal():
        return Finding(path=exc.where, code="CT101", message=exc.what)
    return Finding(path=path, line=int(line), column=1, code="CT101", message=exc.what)


def lint_template(
    plan: TemplatePlan, given: Mapping[str, Given], environ: Mapping[str, str]
) -> tuple[tuple[Finding, ...], Family]:
    """Return the findings of a template, and the sources that it consists of."""
    functions = Functions(dict.fromkeys(given), environ)
    escape = plan.escape or NGINX
    text = SourceText.of(plan)
    loader = FolderLoader(plan.source, (), text)
    environment = Environment(loader, escape=escape, functions=functions, syntax=text.syntax)
    if plan.each is not None:
        environment.item_files = ItemFiles(environment, plan.source.name, plan.each)
    made = family(plan, environment)
    found = [*made.findings]
    modules = {name: frozenset(exported(source.tree)) for name, source in made.sources.items()}
    for name, source in made.sources.items():
        shared = frozenset().union(*modules.values()) if _is_included(name, made) else frozenset()
        found += _judged(source, environment, modules, shared, given, is_nginx=environment.format.is_nginx)
    found += [fault for source in made.sources.values() for fault in queries.exposed_keys(source, plan.mode)]
    places = {(fault.path, fault.line) for fault in found}
    found += [fault for fault in _unloadable(plan, given, environ) if (fault.path, fault.line) not in places]
    silent = [fault for fault in found if any(source.silences(fault) for source in made.sources.values())]
    return tuple(fault for fault in found if fault not in silent), made


def _is_included(name: str, made: Family) -> bool:
    """Return whether a template may use names of another one: it is included, or it extends another."""
    if any(node for node in made.sources[name].tree.find_all(nodes.Extends)):
        return True
    including = (node for tree in made.trees for node in tree.find_all((nodes.Include, nodes.Extends)))
    return any(isinstance(node.template, nodes.Const) and node.template.value == name for node in including)  # type: ignore[attr-defined]


def _judged(
    source: TemplateSource,
    environment: Environment,
    modules: Mapping[str, frozenset[str]],
    shared: frozenset[str],
    given: Mapping[str, Given],
    *,
    is_nginx: bool,
) -> Iterator[Finding]:
    """Yield the findings of the rules in one source; the rules about nginx only apply to nginx files."""
    reading = read_tree(source.tree, functions=environment.globals, given=shared)
    yield from names.unknown_names(source, reading, given)
    yield from names.unknown_filters(source, environment)
    yield from names.uncalled_functions(source, reading)
    yield from names.unknown_fields(source, reading, modules)
    yield from names.unknown_arguments(source, reading)
    yield from variables.missing(source, reading, given)
    yield from stability.clock_and_chance(source)
    yield from stability.moving_orders(source, reading)
    yield from queries.everything(source, reading)
    yield from queries.foreign(source)
    yield from queries.key_paths(source)
    text = follow(source.tree)
    yield from printing.missing_keys(source, reading, text)
    if is_nginx:
        yield from stability.positions(source, text)
        yield from printing.prints(source, reading, text)
        yield from outcome.empty_upstreams(source, reading, text)
        yield from outcome.clash_findings(source, reading, text)


def _unloadable(plan: TemplatePlan, given: Mapping[str, Given], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the errors that the daemon itself would report when it loads the template."""
    try:
        Template.load(
            Path(plan.source),
            variables=dict.fromkeys(given),
            environ=environ,
            escape=plan.escape or NGINX,
            text=SourceText.of(plan),
        )
    except TemplateError as exc:
        yield _as_load_finding(exc)
