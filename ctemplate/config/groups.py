"""Which templates belong together: the configuration's templates sorted into groups. Pure but for a look at folders."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from ctemplate.config.schema import CommandSetting, Config, GroupSection, TemplateSection
from ctemplate.core.errors import ConfigError
from ctemplate.core.values import dataclass
from ctemplate.system.inputs import real_path

STDOUT = Path("-")  # the destination of a template that is only printed


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePlan:
    """One template of a group: where it comes from, where it goes, with which mode and owner."""

    source: Path
    destination: Path
    mode: int | None
    user: str | None
    owner_group: str | None
    escape: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """A group's settings and its templates, in the order they were written."""

    settings: GroupSection
    templates: tuple[TemplatePlan, ...]


def group_plans(config: Config, *, is_dry: bool = False) -> tuple[GroupPlan, ...]:
    """Return the groups: named ones as told, templates with the same command together, others alone.

    Raises ConfigError; a destination may be left out only when nothing is written (``is_dry``).
    """
    plans = grouped(config, is_dry=is_dry)
    for destination, first, second in shared_destinations(plans):
        raise ConfigError(str(destination), f"two templates write it: {first}, {second}")
    for destination in overwritten_inputs(plans, config.catalog):
        what = "a template would be written over what is read; write the path of another file"
        raise ConfigError(str(destination), what)
    return plans


def grouped(config: Config, *, is_dry: bool = False) -> tuple[GroupPlan, ...]:
    """Return the groups, whatever their destinations; raises ConfigError."""
    if not config.template:
        raise ConfigError("-template", "no template given; write -template SRC:DST:CMD or a [[template]] in a file")
    named = {}
    for group in config.group:
        if group.name in named:
            raise ConfigError(f"group {group.name!r}", "is defined twice")
        named[group.name] = group
    members: dict[str, list[TemplateSection]] = {}
    settings: dict[str, GroupSection] = {}
    for number, template in enumerate(config.template):
        section = _group_of(template, number, named, is_dry=is_dry)
        settings.setdefault(section.name, section)
        members.setdefault(section.name, []).append(template)
    return tuple(
        GroupPlan(settings=settings[name], templates=tuple(_plan(template) for template in templates))
        for name, templates in members.items()
    )


def _group_of(template: TemplateSection, number: int, named: dict[str, GroupSection], *, is_dry: bool) -> GroupSection:
    where = f"template[{number}] ({template.source or '?'})"
    if not template.source:
        raise ConfigError(where, "the source is empty")
    if template.destination is None and not is_dry:
        raise ConfigError(where, "has no destination; write SRC:DST, or add -dry to print it")
    if template.destination == str(STDOUT) and not is_dry:
        raise ConfigError(where, "its destination '-' is no file; leave it out and add -dry to print")
    if template.destination is not None and Path(template.destination).is_dir():
        raise ConfigError(where, f"its destination {template.destination} is a folder; write the path of a file")
    if template.group is not None:
        if template.command is not None:
            raise ConfigError(where, "has a command and a group; give the command to the group as 'reload'")
        if template.group not in named:
            known = ", ".join(sorted(named)) or "none"
            raise ConfigError(where, f"unknown group {template.group!r}; defined: {known}")
        return named[template.group]
    if template.command:
        return GroupSection(name=command_name(template.command), reload=template.command)
    return GroupSection(name=template.destination or template.source)


def command_name(command: CommandSetting) -> str:
    """Return a command as one would type it."""
    return command if isinstance(command, str) else shlex.join(command)


def _plan(template: TemplateSection) -> TemplatePlan:
    user, _, owner_group = (template.owner or "").partition(":")
    return TemplatePlan(
        source=Path(template.source),
        destination=Path(template.destination) if template.destination else STDOUT,
        mode=None if template.perms is None else int(template.perms, 8),
        user=user or None,
        owner_group=owner_group or None,
        escape=template.escape,
    )


def shared_destinations(plans: Iterable[GroupPlan]) -> Iterator[tuple[Path, Path, Path]]:
    """Yield each destination that a template shares with an earlier one, and the sources of both."""
    sources: dict[Path, Path] = {}
    for template in (template for plan in plans for template in plan.templates):
        if template.destination == STDOUT:
            continue
        first = sources.setdefault(real_path(template.destination), template.source)
        if first is not template.source:
            yield template.destination, first, template.source


def overwritten_inputs(plans: Iterable[GroupPlan], catalog: str | None) -> Iterator[Path]:
    """Yield each destination that is a template, or the catalog file."""
    templates = [template for plan in plans for template in plan.templates]
    inputs = {real_path(template.source) for template in templates}
    inputs |= {real_path(Path(catalog))} if catalog else set()
    for template in templates:
        if template.destination != STDOUT and real_path(template.destination) in inputs:
            yield template.destination
