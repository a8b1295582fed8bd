"""``ctemplate release``: end what the guard holds, in a running ctemplate or in what the last run stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from ctemplate.apply import group_folder
from ctemplate.apply.restored import read_restoration
from ctemplate.cli.run import assembler
from ctemplate.config.groups import group_plans
from ctemplate.core.errors import ConfigError, CtemplateError, printable
from ctemplate.runtime.control_socket import CONTROL_FOLDER, ControlReply, Request, answering, ask
from ctemplate.runtime.restoring import unrestore_here
from ctemplate.runtime.stored_holds import release_stored

RELEASES_NAMED = 100  # how many held services an error lists


def release(given: Mapping[str, Any], service: str | None) -> int:
    """Ask the ctemplate with this configuration to release a service, or all; with only a state folder, ask all in it.

    Where no process writes the files of the configuration, this command itself releases restored files, and what the
    last run stored as held, so that the next run with ``-once`` takes the newest data. Raises CtemplateError if no
    ctemplate runs and nothing is stored, or if nothing is held for that service.
    """
    if unrestored := _unrestored(given, service):
        click.echo("\n".join(f"released {printable(path)}: as it was restored" for path in unrestored))
        return 0
    if released_words := _released_stored(given, service):
        click.echo("\n".join(f"released {printable(line)}, for the next run" for line in released_words))
        return 0
    replies = [_asked(path, service) for path in control_sockets(given, "release")]
    released = [line for reply in replies for line in reply.released]
    for line in released:
        click.echo(f"released {printable(line)}")
    if not released and service is not None:
        held = sorted({name for reply in replies for name in reply.held})
        raise CtemplateError(f"service {printable(repr(service))}", f"nothing of it is held; {_listed(held)}")
    if not released:
        click.echo("nothing is held")
    return 0


def _unrestored(given: Mapping[str, Any], service: str | None) -> list[str]:
    """Release the restored groups of a configuration that no running ctemplate uses; return their files."""
    made = assembler(given)
    config = made.config()
    state_dir = made.state_dir(config)
    if not config.template or made.control_path(config) in answering(state_dir / CONTROL_FOLDER):
        return []
    released = []
    for plan in group_plans(config):
        paths = [str(each.destination) for each in plan.templates]
        is_held = read_restoration(group_folder(state_dir, map(Path, paths))) is not None
        if service in {None, *paths} and is_held and unrestore_here(plan, state_dir=state_dir):
            released += paths
    return released


def _released_stored(given: Mapping[str, Any], service: str | None) -> tuple[str, ...]:
    """Release what the last run of a configuration stored as held, unless a process runs with it."""
    made = assembler(given)
    config = made.config()
    state_dir = made.state_dir(config)
    if (
        not config.template
        or not state_dir.is_dir()
        or made.control_path(config) in answering(state_dir / CONTROL_FOLDER)
    ):
        return ()
    return release_stored(group_plans(config), made.configuration, state_dir=state_dir, service=service)


def control_sockets(given: Mapping[str, Any], verb: str) -> list[Path]:
    """Return the sockets to ask: that of the process that writes the destinations, or all in a named state folder."""
    made = assembler(given)
    config = made.config()
    folder = made.state_dir(config) / CONTROL_FOLDER
    running = answering(folder)
    if config.template:
        path = made.control_path(config)
        if path in running:
            return [path]
        others = f"; others that run there: {len(running)}" if running else ""
        what = f"no running ctemplate with its state here writes just the files of this configuration{others}"
        raise CtemplateError(str(folder.parent), f"{what}; see -state-dir")
    if not running:
        raise CtemplateError(str(folder.parent), "no running ctemplate has its state here; see -state-dir")
    if len(running) > 1 and config.state_dir is None:
        what = f"{len(running)} ctemplates have their state in {folder.parent}"
        raise ConfigError(verb, f"{what}; say which one by its -config, or all of them by -state-dir")
    return running


def _asked(path: Path, service: str | None) -> ControlReply:
    try:
        return ask(path, Request(release=service)) or ControlReply()
    except (OSError, msgspec.MsgspecError) as exc:
        raise CtemplateError(str(path), f"no answer from ctemplate: {exc}") from exc


def _listed(names: list[str]) -> str:
    if not names:
        return "nor of any other"
    more = len(names) - RELEASES_NAMED
    named = ", ".join(printable(name, 80) for name in names[:RELEASES_NAMED])
    return f"held are: {named}" + (f" and {more} more" if more > 0 else "")
