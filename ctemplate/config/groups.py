"""Sort the configuration's templates into groups. Pure, except that it looks at folders."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from ctemplate.config.advice import looks_like_command
from ctemplate.config.schema import CommandSetting, Config, Delimiters, GroupSection, Language, TemplateSection
from ctemplate.core.durations import format_duration
from ctemplate.core.each_file import EachFile, has_expression
from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.values import dataclass
from ctemplate.system.inputs import real_path

HOW_TO_GIVE_TEMPLATES = (
    "write -config and the file or folder that has a [[template]], such as -config /etc/ctemplate, "
    "or -template SRC:DST:CMD"
)
STDOUT = Path("-")  # the destination of a template whose text is printed


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePlan:
    """One template of a group: its source, its destination, and the file's mode and owner."""

    source: Path  # a name for the text if the configuration holds it in ``contents``
    destination: Path
    mode: int | None
    user: str | None
    owner_group: str | None
    escape: str | None
    contents: str | None = None
    language: Language = "jinja"
    delimiters: Delimiters = ("{{", "}}")  # of a Go template, or of Jinja's expressions
    block_delimiters: Delimiters = ("{%", "%}")
    comment_delimiters: Delimiters = ("{#", "#}")
    folders: tuple[Path, ...] = ()  # searched for includes and imports after the source's own folder
    each: EachFile | None = None  # for a template that makes one file for each item of a list
    has_backup: bool = False
    makes_folder: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """A group's settings and its templates, in the order they were written."""

    settings: GroupSection
    templates: tuple[TemplatePlan, ...]


def group_plans(config: Config, *, is_dry: bool = False, inputs: Iterable[Path] = ()) -> tuple[GroupPlan, ...]:
    """Return the groups: named ones, one for each command that templates share, and one for each other template.

    Raises ConfigError; a destination may be left out only if nothing is written (``is_dry``). No destination may be one
    of ``inputs``, which are read besides templates and catalog.
    """
    plans = grouped(config, is_dry=is_dry)
    for destination, first, second in shared_destinations(plans):
        raise ConfigError(str(destination), f"two templates write it: {first}, {second}")
    for destination in overwritten_inputs(plans, config.catalog, inputs):
        what = "a template would be written over what is read; write the path of another file"
        raise ConfigError(str(destination), what)
    return plans


def grouped(config: Config, *, is_dry: bool = False) -> tuple[GroupPlan, ...]:
    """Return the groups without checking their destinations; raises ConfigError."""
    if not config.template:
        raise ConfigError("-template", f"no template given; {HOW_TO_GIVE_TEMPLATES}")
    named = {}
    for group in config.group:
        if group.name in named:
            raise ConfigError(f"group {group.name!r}", "is defined twice")
        named[group.name] = group
    members: dict[str, list[TemplatePlan]] = {}
    settings: dict[str, GroupSection] = {}
    for number, template in enumerate(config.template):
        section = _group_of(template, number, named, is_dry=is_dry)
        settings[section.name] = _joined(settings.get(section.name, section), section)
        members.setdefault(section.name, []).append(_plan(template, number, config))
    return tuple(GroupPlan(settings=settings[name], templates=tuple(templates)) for name, templates in members.items())


def _joined(first: GroupSection, second: GroupSection) -> GroupSection:
    """Return the settings of templates that share a command: the longest limit and wait, the first environment."""
    waits = [section.wait for section in (first, second) if section.wait is not None]
    wait = max(waits, key=lambda wait: (wait.min, wait.max)) if waits else None
    return msgspec.structs.replace(first, timeout=max(first.timeout, second.timeout), wait=wait)


def _group_of(template: TemplateSection, number: int, named: dict[str, GroupSection], *, is_dry: bool) -> GroupSection:
    where = f"template[{number}] ({template.source or ('contents' if template.contents is not None else '?')})"
    _check_destination(template, where, is_dry=is_dry)
    if template.wait is not None and template.wait.max < template.wait.min:
        low, high = format_duration(template.wait.min), format_duration(template.wait.max)
        raise ConfigError(f"{where}: wait.max", f"must be at least wait.min ({low}), got {high!r}")
    if template.group is not None:
        return _named_group(template, template.group, where, named)
    if template.command:
        given = {key: value for key in ("timeout", "env") if (value := getattr(template, key)) is not None}
        name = command_name(template.command)
        return GroupSection(name=name, reload=template.command, wait=template.wait, **given)
    return GroupSection(name=template.destination or template.source or where, wait=template.wait)


_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/")


def _check_destination(template: TemplateSection, where: str, *, is_dry: bool) -> None:
    if not template.source and template.contents is None:
        raise ConfigError(where, "the source is empty")
    if template.destination is None and not is_dry:
        raise ConfigError(where, "has no destination; write SRC:DST, or add -dry to print it")
    destination = template.destination or ""
    if (destination == str(STDOUT) and not is_dry) or destination.startswith(_STREAMS):
        raise ConfigError(where, f"its destination {destination!r} is no file; leave it out and add -dry to print")
    if template.destination is not None and os.path.isdir(template.destination):  # noqa: PTH112 - False for a long name
        raise ConfigError(where, f"its destination {template.destination} is a folder; write the path of a file")
    if template.for_each is None and has_expression(template.destination or ""):
        what = 'its destination has an expression, but there is no for_each; write for_each = "services()"'
        raise ConfigError(where, what)
    if template.for_each is not None:
        _each_file(template, where)
    if template.for_each is None and looks_like_command(destination):
        what = f"its destination looks like a command, got {printable(destination)!r}"
        raise ConfigError(where, f"{what}; write the command as command or as a group's reload")


def _each_file(template: TemplateSection, where: str) -> EachFile:
    """Return the rule for the files of a template with ``for_each``; raises ConfigError."""
    if template.destination is None:
        raise ConfigError(where, "has for_each without a destination; write DIR/{{ item.name | identifier }}.conf")
    try:
        return EachFile.of(template.for_each or "", template.destination)
    except ValueError as exc:
        raise ConfigError(where, f"for_each: {exc}") from None


def _named_group(template: TemplateSection, name: str, where: str, named: dict[str, GroupSection]) -> GroupSection:
    if template.command is not None:
        raise ConfigError(where, "has a command and a group; give the command to the group as 'reload'")
    for key in ("timeout", "wait", "env"):
        if getattr(template, key) is not None:
            raise ConfigError(where, f"has {key} and a group; give {key} to the group")
    if name not in named:
        known = ", ".join(sorted(named)) or "none"
        raise ConfigError(where, f"unknown group {name!r}; defined: {known}")
    return named[name]


def command_name(command: CommandSetting) -> str:
    """Return a command as a person would type it."""
    return command if isinstance(command, str) else shlex.join(command)


def _plan(template: TemplateSection, number: int, config: Config) -> TemplatePlan:
    language = template.language or config.template_language
    left = template.left_delimiter or config.left_delimiter or "{{"
    right = template.right_delimiter or config.right_delimiter or "}}"
    blocks = template.block_delimiters or ("{%", "%}")
    comments = template.comment_delimiters or ("{#", "#}")
    if language != "go":
        _check_delimiters(((left, right), blocks, comments), f"template[{number}] ({template.source or 'contents'})")
    user, _, owner_group = (template.owner or "").partition(":")
    each = None if template.for_each is None else _each_file(template, f"template[{number}]")
    destination = Path(template.destination) if template.destination else STDOUT
    return TemplatePlan(
        source=Path(template.source or f"template[{number}].contents"),
        destination=destination if each is None else each.path,
        mode=None if template.perms is None else int(template.perms, 8),
        user=user or None,
        owner_group=owner_group or None,
        escape=template.escape,
        contents=template.contents,
        language=language,
        delimiters=(left, right),
        block_delimiters=blocks,
        comment_delimiters=comments,
        folders=tuple(map(Path, config.template_dirs)),
        each=each,
        has_backup=template.backup,
        makes_folder=template.create_dest_dirs,
    )


def _check_delimiters(pairs: Iterable[Delimiters], where: str) -> None:
    """Raise ConfigError if the delimiters of expressions, blocks and comments of a Jinja template are ambiguous."""
    pairs = tuple(pairs)
    if any(not word.strip() or word != word.strip() for pair in pairs for word in pair):
        raise ConfigError(where, "a delimiter is empty or has white space around it")
    if len({left for left, _ in pairs}) < len(pairs):
        found = ", ".join(repr(left) for left, _ in pairs)
        raise ConfigError(where, f"expressions, blocks and comments must begin differently, got {found}")


def shared_destinations(plans: Iterable[GroupPlan]) -> Iterator[tuple[Path, Path, Path]]:
    """Yield each destination that a template shares with an earlier one, and both sources."""
    sources: dict[Path, Path] = {}
    for template in (template for plan in plans for template in plan.templates):
        if template.destination == STDOUT:
            continue
        first = sources.setdefault(real_path(template.destination), template.source)
        if first is not template.source:
            yield template.destination, first, template.source


def overwritten_inputs(plans: Iterable[GroupPlan], catalog: str | None, others: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield each destination that is also a template, the catalog file, or one of other files that are read."""
    templates = [template for plan in plans for template in plan.templates]
    inputs = {real_path(template.source) for template in templates if template.contents is None}
    inputs |= set(map(real_path, others))
    inputs |= {real_path(Path(catalog))} if catalog else set()
    for template in templates:
        if template.destination != STDOUT and real_path(template.destination) in inputs:
            yield template.destination
