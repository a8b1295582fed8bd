"""Lint the configuration: each layer separately, then all of them together, then their templates.

Reads the files that it names. Must not know how findings are printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ctemplate.config.groups import GroupPlan, TemplatePlan, grouped, shared_destinations
from ctemplate.config.layers import Layer, build, local_layers, read_layers
from ctemplate.config.schema import Config
from ctemplate.core.errors import ConfigError, printable
from ctemplate.lint import variables
from ctemplate.lint.finding import Finding, in_order
from ctemplate.lint.templates import Family, lint_template
from ctemplate.lint.variables import Given, line_of
from ctemplate.nginx.groups import unproven_files
from ctemplate.sources.consul.http.address import parse_address
from ctemplate.template.language.formats import format_of

_PLACE = re.compile(r"(?P<path>.+):(?P<line>\d+):(?P<column>\d+)")
_HCL_PLACE = re.compile(r"(?P<path>.+?):(?P<line>\d+): (?P<key>.+)")
_TOML_PLACE = re.compile(r" \(at line (?P<line>\d+), column (?P<column>\d+)\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class LintInput:
    """The layers that the operator wrote, lowest first, and the files that cannot be read."""

    layers: tuple[Layer, ...]
    findings: tuple[Finding, ...] = ()


def written(paths: Iterable[Path], *, environment: Layer, flags: Layer, environ: Mapping[str, str]) -> LintInput:
    """Read every configuration file, even after one that cannot be read."""
    layers, findings = [environment], []
    for path in paths:
        try:
            layers += read_layers(path)
        except ConfigError as exc:
            findings.append(as_finding(exc))
    try:
        layers += local_layers(environ)
    except ConfigError as exc:
        findings.append(as_finding(exc))
    return LintInput(layers=(*layers, flags), findings=tuple(findings))


def lint(found: LintInput, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return all findings about the configuration and its templates, in order."""
    findings = [*found.findings, *_broken(found.layers)]
    if findings:
        return in_order(findings)
    try:
        config = build(found.layers)
        plans = grouped(config, is_dry=True)
    except ConfigError as exc:
        return (as_finding(exc),)
    templates = [
        replace(template, escape=format_of(template, plan.settings)) for plan in plans for template in plan.templates
    ]
    given = _given(found.layers)
    return in_order(
        [*_addresses(config), *_shared(plans), *_unproven(plans), *_lint_templates(templates, given, environ)]
    )


def _broken(layers: Sequence[Layer]) -> Iterator[Finding]:
    """Yield the first error of every table of every layer."""
    for layer in layers:
        for key, value in layer.values.items():
            try:
                build([replace(layer, values={key: value})])
            except ConfigError as exc:
                yield as_finding(exc)


def as_finding(exc: ConfigError) -> Finding:
    """Return a configuration error as a finding."""
    if place := _PLACE.fullmatch(exc.where):
        line, column = int(place["line"]), int(place["column"])
        return Finding(path=place["path"], line=line, column=column, code="CT701", message=exc.what)
    if place := _TOML_PLACE.search(exc.what):
        line, column = int(place["line"]), int(place["column"])
        return Finding(path=exc.where, line=line, column=column, code="CT701", message=exc.what[: place.start()])
    if place := _HCL_PLACE.fullmatch(exc.where):
        message = f"{place['key']}: {exc.what}"
        return Finding(path=place["path"], line=int(place["line"]), column=1, code="CT701", message=message)
    path, _, key = exc.where.partition(": ")
    return Finding(path=path, code="CT701", message=f"{key}: {exc.what}" if key else exc.what)


def _addresses(config: Config) -> Iterator[Finding]:
    """Yield the addresses of Consul that no run can use."""
    for text in config.consul.addresses if config.catalog is None else ():
        try:
            parse_address(text, ssl=config.consul.ssl)
        except ConfigError as exc:
            yield as_finding(exc)


def _shared(plans: tuple[GroupPlan, ...]) -> Iterator[Finding]:
    for destination, first, second in shared_destinations(plans):
        message = f"its destination {printable(destination)} is that of {printable(first)}; give each its own"
        yield Finding(path=str(second), code="CT702", message=message)


def _unproven(plans: tuple[GroupPlan, ...]) -> Iterator[Finding]:
    """Yield the groups of nginx files that have no check."""
    for plan in plans:
        if message := unproven_files(plan):
            yield Finding(path=str(plan.templates[0].source), code="CT703", message=message)


def _lint_templates(
    templates: Iterable[TemplatePlan], given: Mapping[str, Given], environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield the findings of all templates; unused variables are only reported if every template could be read."""
    families: list[Family] = []
    for template in templates:
        found, family = lint_template(template, given, environ)
        yield from found
        families.append(family)
    if not any(family.findings for family in families):
        yield from variables.unused(given.values(), (tree for family in families for tree in family.trees))


def _given(layers: Iterable[Layer]) -> dict[str, Given]:
    """Return each variable with the place whose value wins."""
    found: dict[str, Given] = {}
    for layer in layers:
        path = Path(layer.where)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        place = layer.where if text else "-var"
        for name in layer.values.get("vars", {}):
            found[name] = Given(name=name, path=place, line=line_of(name, text))
    return found
