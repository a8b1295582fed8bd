"""Load the templates of a group: those that did not change are reused; at a start, those last live replace broken ones.

Must not know what renders them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctemplate import apply
from ctemplate.config.groups import GroupPlan, TemplatePlan
from ctemplate.config.schema import Config
from ctemplate.core.errors import TemplateError
from ctemplate.core.group_events import TemplatesRefused
from ctemplate.nginx.groups import nginx_program
from ctemplate.runtime.last_good import LastRendered
from ctemplate.system.file_watch import Signature
from ctemplate.template import RenderLimits, Template
from ctemplate.template.language.formats import format_of
from ctemplate.template.language.source_text import SourceText


def group_templates(
    plan: GroupPlan,
    config: Config,
    spare: list[Template],
    refused: dict[TemplatesRefused, TemplateError] | None,
    *,
    state_dir: Path,
    environ: Mapping[str, str],
) -> tuple[Template, ...]:
    """Load a group's templates; where ``refused`` collects it, broken ones are replaced by those last live."""
    try:
        return tuple(_load(each, plan, config, spare, environ) for each in plan.templates)
    except TemplateError as exc:
        if refused is None:
            raise
        destinations = (each.destination for each in plan.templates)
        last = LastRendered(folder=apply.group_folder(state_dir, destinations), is_written=False)
        try:
            found = earlier_templates(plan, last, config, environ)
        except TemplateError:
            raise exc from None
        if not found:
            raise
        refused[TemplatesRefused(group=plan.settings.name, reason=str(exc))] = exc
        return found


def _load(
    plan: TemplatePlan, group: GroupPlan, config: Config, spare: list[Template], environ: Mapping[str, str]
) -> Template:
    """Load a template, or reuse a spare one that would be equal."""
    arguments: dict[str, Any] = {
        "variables": config.vars,
        "environ": environ,
        "escape": format_of(plan, group.settings),
        "limits": _limits(config),
        "trusted_keys": config.data.trusted_keys,
        "nginx_program": nginx_program(group.settings),
    }
    text = SourceText.of(plan)
    for template in spare:
        if template.text == text and template.is_current(**arguments):
            spare.remove(template)
            return template
    return Template.load(plan.source, text=text, **arguments)


def earlier_templates(
    plan: GroupPlan, last: LastRendered, config: Config, environ: Mapping[str, str]
) -> tuple[Template, ...]:
    """Return a group's templates as they were when last live; none where not all are known.

    Variables and limits are the current ones. Raises TemplateError.
    """
    texts, limits, made = last.texts(), _limits(config), []
    for each in plan.templates:
        known = texts.get(str(each.destination), {})
        if each.source.name not in known:
            return ()
        escape = format_of(each, plan.settings)
        text = SourceText.of(each)
        given: dict[str, Any] = {"variables": config.vars, "environ": environ, "limits": limits}
        given["trusted_keys"] = config.data.trusted_keys
        given["nginx_program"] = nginx_program(plan.settings)
        made.append(Template.load(each.source, **given, escape=escape, text=text, texts=known))
    return tuple(made)


def earliest_signatures(*files: Mapping[Path, Signature | None]) -> dict[Path, Signature | None]:
    """Return the signatures of files that several templates read at different moments: the first of each."""
    found: dict[Path, Signature | None] = {}
    for each in files:
        found = {**each, **found}
    return found


def _limits(config: Config) -> RenderLimits:
    return RenderLimits(**{name: getattr(config.render, name) for name in config.render.__struct_fields__})
