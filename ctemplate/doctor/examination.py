"""Run all checks of the doctor for one assembly, in the order in which a person would fix them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from msgspec.structs import replace

from ctemplate.config.groups import GroupPlan
from ctemplate.core.errors import CommandFailed, TemplateError
from ctemplate.doctor import consul, nginx, places
from ctemplate.doctor.consul_probe import catalog_facts, consul_facts
from ctemplate.doctor.diagnosis import Diagnosis, error, ok, warning
from ctemplate.doctor.host_probe import destination_facts, missing_programs, nginx_facts, selinux_mode, state_facts
from ctemplate.doctor.templates import CORRECT_TEMPLATE, template_diagnoses
from ctemplate.nginx.groups import unproven_files
from ctemplate.nginx.language.includes import Tree
from ctemplate.nginx.lookup import Lookup
from ctemplate.runtime.assembly import Assembly, consul_settings
from ctemplate.runtime.group_nginx import group_nginx
from ctemplate.sources.catalog_file import CatalogFile


async def examination(assembly: Assembly) -> AsyncIterator[Diagnosis]:
    """Yield a line for each check: of the source, each nginx, each destination, the state folder."""
    async for line in _source(assembly):
        yield line
    trees: list[Tree] = []
    for lookup, plan in _nginxes(assembly):
        try:
            facts = await nginx_facts(lookup, plan)
        except CommandFailed as exc:
            yield error(exc.where, exc.what, "install nginx, or correct the reload command")
            continue
        trees += [facts.tree] if facts.tree else []
        for line in nginx.nginx_diagnoses(facts):
            yield line
    for plan in assembly.plans:
        for command in missing_programs(plan) if group_nginx(plan, assembly.state_dir) is None else ():
            yield error(command, "no such program", "install it, or write its full path")
        if found := unproven_files(plan):
            yield warning(str(plan.templates[0].destination), found, "see A reload command that is nginx in the docs")
    for line in _places(assembly, trees):
        yield line


async def _source(assembly: Assembly) -> AsyncIterator[Diagnosis]:
    """Yield the lines about a catalog file, or about each address of Consul."""
    if isinstance(assembly.source, CatalogFile):
        for line in _catalog(assembly, assembly.source):
            yield line
        return
    settings = consul_settings(assembly.config)
    for address in settings.addresses:
        try:
            facts = await consul_facts(
                replace(settings, addresses=(address,)), f"Consul at {address}", assembly.templates
            )
        except TemplateError as exc:
            yield error(exc.where, exc.what, CORRECT_TEMPLATE)
            continue
        for line in consul.consul_diagnoses(facts):
            yield line


def _catalog(assembly: Assembly, source: CatalogFile) -> Iterator[Diagnosis]:
    """Yield the line that a catalog file replaces Consul, and lines about entries in it that cannot be used."""
    yield ok(str(source.path), "is used instead of Consul")
    try:
        facts = catalog_facts(source, assembly.templates)
    except TemplateError as exc:
        yield error(exc.where, exc.what, CORRECT_TEMPLATE)
        return
    yield from template_diagnoses(facts)


def _nginxes(assembly: Assembly) -> Iterator[tuple[Lookup, GroupPlan]]:
    """Yield each group that nginx reads, with the lookup of that nginx."""
    for plan in assembly.plans:
        lookup = group_nginx(plan, assembly.state_dir)
        if lookup is not None:
            yield lookup, plan


def _places(assembly: Assembly, trees: list[Tree]) -> Iterator[Diagnosis]:
    for template in (template for plan in assembly.plans for template in plan.templates):
        facts = destination_facts(template, state_dir=assembly.state_dir, trees=trees)
        if facts is not None:
            yield from places.judged_destination(facts)
    yield from places.judged_state(state_facts(Path(assembly.state_dir).absolute()))
    yield from places.judged_selinux(selinux_mode())
