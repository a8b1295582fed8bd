"""Which nginx reads a group's files: one lookup for each group, shared by its check, reload, surroundings and plan.

What it learnt of a running master outlives a new configuration in memory, and a restart in the state folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ctemplate import apply
from ctemplate.config.groups import GroupPlan
from ctemplate.nginx.groups import files_of, looks_like_nginx, nginx_of
from ctemplate.nginx.last_master import LastMaster
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.surroundings import Surroundings
from ctemplate.template import Template


def group_nginx(
    plan: GroupPlan, state_dir: Path, *, is_written: bool = False, before: Lookup | None = None
) -> Lookup | None:
    """Return the lookup of a group's nginx, None if no nginx is known to read its files.

    ``before`` is the group's lookup in the configuration that this one replaces. ``is_written``: this process holds the
    group's state, and stores there what it learns.
    """
    command = nginx_of(plan.settings, files_of(plan))
    if command is None:
        return None
    if before is not None and before.command == command:
        return before
    try:
        folder = apply.group_folder(state_dir, (template.destination for template in plan.templates))
    except OSError:  # links that form a loop: the sink that writes the files reports it
        return Lookup(command=command)
    return Lookup(command=command, last=LastMaster(folder=folder, is_written=is_written))


def group_surroundings(
    plan: GroupPlan,
    templates: tuple[Template, ...],
    nginx: Lookup | None,
    neighbours: tuple[Path, ...],
    around: Callable[[], Mapping[Path, bytes]],
) -> Surroundings | None:
    """Return the configuration around files to which nginx's rule for values applies; None if there are none.

    It is certain for files of a group whose command or paths name nginx, and for those whose own format is nginx's.
    """
    files = files_of(plan)
    if not any(template.is_for_nginx for template in templates):
        return None
    is_nginx = nginx is not None or looks_like_nginx(plan.settings, files)
    both = zip(files, templates, strict=True)
    uncertain = frozenset(file for file, template in both if not is_nginx and not template.is_surely_nginx)
    return Surroundings(nginx=nginx, files=files, neighbours=neighbours, uncertain=uncertain, around=around)
