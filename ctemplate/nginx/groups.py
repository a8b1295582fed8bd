"""Which groups are nginx's: by their reload command, their nginx key, their commands and paths, or their templates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ctemplate.config.groups import STDOUT, GroupPlan, TemplatePlan
from ctemplate.config.schema import GroupSection
from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.language.authority import seems_routed
from ctemplate.nginx.recognition import recognise
from ctemplate.system.inputs import MIB, read_plain_file

_NGINX = re.compile(r"(?<![A-Za-z0-9])(?:nginx|openresty|tengine|angie|freenginx)(?![A-Za-z])|-s\W*reload\b")

NGINX = "nginx"
_NGINX_WORDS = re.compile(r"\b(?:upstream|listen|server_name|(?:proxy|fastcgi|grpc|uwsgi|scgi)_pass)\s")
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_BLOCK_TAG = re.compile(r"\{%.*?%\}", re.DOTALL)


def nginx_of(settings: GroupSection, files: Iterable[Path] = ()) -> NginxCommand | None:
    """Return the nginx that reads a group's files; the group's nginx key overrides its reload command."""
    found = _named(settings)
    if found is None or (found.follows is None and not found.is_service):
        return found
    return replace(found, files=tuple(file.absolute() for file in files if file != STDOUT))


def nginx_program(settings: GroupSection) -> str:
    """Return the program of the nginx that reads a group's files; ``nginx`` where the group names none."""
    command = nginx_of(settings)
    return "nginx" if command is None else command.program


def files_of(plan: GroupPlan) -> tuple[Path, ...]:
    """Return the destinations of a group; for files that are made for items, a name that no item has."""
    return tuple(one.destination if one.each is None else one.each.stand_in for one in plan.templates)


def _named(settings: GroupSection) -> NginxCommand | None:
    found, given = recognise(settings.reload), settings.nginx
    if given is None:
        return found
    is_named = bool(given.binary or given.config or given.prefix)
    return replace(
        found or NginxCommand(program=given.binary or "nginx", announce=settings.reload),
        program=given.binary or (found.program if found else "nginx"),
        prefix=given.prefix or (found.prefix if found else None),
        conf=given.config or (found.conf if found else None),
        follows=None if is_named or found is None else found.follows,
        is_service=found is not None and found.is_service and not is_named,
    )


def is_proven(settings: GroupSection) -> bool:
    """Whether reloads of a group are proven from nginx's processes."""
    return bool(settings.reload) and nginx_of(settings) is not None and (settings.nginx is None or settings.nginx.proof)


def looks_like_nginx(settings: GroupSection, files: Iterable[Path]) -> bool:
    """Whether a group's commands or paths mention nginx."""
    return any(_NGINX.search(str(words)) for words in (settings.reload, settings.check, *files) if words)


def _has_blocks(template: TemplatePlan) -> bool:
    """Whether the source of a template of unknown format has blocks or directives of nginx's language."""
    if template.escape not in {None, NGINX} or template.destination == STDOUT:
        return False
    try:
        text = template.contents or read_plain_file(template.source, limit_bytes=MIB).decode(errors="replace")
    except OSError:
        return False
    return _NGINX_WORDS.search(text) is not None and seems_routed(_EXPRESSION.sub("x", _BLOCK_TAG.sub("\n", text)))


def unproven_files(plan: GroupPlan) -> str | None:
    """Return a warning about a group that looks like nginx's without check and proof; None for any other."""
    settings = plan.settings
    files = [template.destination for template in plan.templates if template.destination != STDOUT]
    if not files or settings.check or nginx_of(settings):
        return None
    if not looks_like_nginx(settings, files) and not (settings.reload and any(map(_has_blocks, plan.templates))):
        return None
    why = "its reload command is not known to be nginx's" if settings.reload else "it has no reload command"
    return f"looks like nginx's, but {why}: neither checked nor proven; give its group a check or an nginx key"
