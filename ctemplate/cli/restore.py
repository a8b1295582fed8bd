"""``ctemplate restore``: list the past states of a group's files, and bring one back."""

from __future__ import annotations

import datetime as dt
import difflib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from ctemplate.apply import group_folder
from ctemplate.apply.history import ORIGINAL_LABEL, PastState, history
from ctemplate.apply.restored import read_restoration
from ctemplate.cli.interruptible import run_interruptible
from ctemplate.cli.logs import configure
from ctemplate.cli.run import assembler
from ctemplate.config.groups import STDOUT, GroupPlan, group_plans
from ctemplate.core.durations import format_duration
from ctemplate.core.errors import ApplyError, ConfigError, CtemplateError, TemplateError, printable
from ctemplate.core.model import Outcome
from ctemplate.runtime.assembly import Assembler
from ctemplate.runtime.control_socket import CONTROL_FOLDER, answering, ask_restore
from ctemplate.runtime.group_nginx import group_nginx
from ctemplate.runtime.restoring import RestoreRequest, names_of, past_state, restore_here
from ctemplate.sinks.replacement import file_changes, main_file
from ctemplate.sinks.secrets import hidden_secrets
from ctemplate.system.inputs import read_plain_file
from ctemplate.template import template_digest

SENTENCES_NAMED = 5  # sentences shown for what a past state would change
LIVE_LIMIT_BYTES = 2**31
RELEASE = "ctemplate does not change these files until 'ctemplate release' or a change of their templates"


def restore_verb(given: Mapping[str, Any], which: str | None, target: str | None) -> int:
    """List the stored states, or bring back the state ``which`` for one group or file; raises CtemplateError."""
    made = assembler(given, is_daemon=True)
    config = made.config()
    configure(config, is_daemon=False)
    plans = [plan for plan in group_plans(config) if all(each.destination != STDOUT for each in plan.templates)]
    state_dir = made.state_dir(config)
    if which is None:
        for plan in plans:
            click.echo("\n".join(_listed(plan, state_dir)))
        return 0
    plan, only = _meant(plans, target)
    destinations = tuple(each.destination for each in plan.templates)
    request = RestoreRequest(destinations=names_of(destinations), label=_label(which), only=only)
    past = past_state(state_dir, destinations, request)
    if given["diff"]:
        click.echo("\n".join(_diff(past)))
        return 0
    outcome = _restored(made, plan, past, request)
    for path in past.files:
        click.echo(f"{printable(path)}: restored from {printable(past.label)}" + _AFTER.get(outcome, ""))
    click.echo(RELEASE)
    return 0


_AFTER = {
    Outcome.UNCHANGED.value: ", which it is already",
    Outcome.PENDING_START.value: "; its program does not run, the reload is deferred",
}


def _label(which: str) -> str:
    """Return a generation's stored name; the operator may write its number without leading zeros."""
    return f"{int(which):06d}" if which.isdecimal() and which.isascii() else which


def _meant(plans: list[GroupPlan], target: str | None) -> tuple[GroupPlan, tuple[str, ...]]:
    """Return the group that the operator means, and the file of it if one is meant; raises ConfigError."""
    named = [plan for plan in plans if target in {None, plan.settings.name}]
    if len(named) == 1:
        return named[0], ()
    for plan in plans if target is not None else ():
        paths = names_of(each.destination for each in plan.templates)
        if str(Path(target or "").absolute()) in paths:
            return plan, (str(Path(target or "").absolute()),) if len(paths) > 1 else ()
    known = ", ".join(printable(str(each.destination)) for plan in plans for each in plan.templates)
    what = "several groups are written; say which" if target is None else "is no group and no file of one"
    raise ConfigError(printable(target or "restore"), f"{what}; the files are: {known}")


def _restored(made: Assembler, plan: GroupPlan, past: PastState, request: RestoreRequest) -> str:
    """Ask the running daemon with this configuration to restore, or else restore here; return the outcome."""
    config = made.config()
    state_dir = made.state_dir(config)
    socket = made.control_path(config)
    if socket in answering(state_dir / CONTROL_FOLDER):
        try:
            reply = ask_restore(socket, request)
        except (OSError, msgspec.MsgspecError) as exc:
            raise CtemplateError(str(socket), f"no answer from ctemplate: {exc}") from exc
        if reply is not None and reply.error:
            raise ApplyError(reply.where, reply.error, output=reply.output)
        if reply is not None:
            return reply.outcome
    outcome = run_interruptible(restore_here(plan, past, state_dir=state_dir, templates=_templates(made, plan)))
    return outcome.value


def _templates(made: Assembler, plan: GroupPlan) -> str:
    """Return a digest that identifies the group's templates; empty if they cannot be loaded."""
    try:
        assembly = made.assemble()
    except TemplateError:
        return ""
    names = [group.settings.name for group in assembly.plans]
    return template_digest(assembly.templates[names.index(plan.settings.name)])


def _listed(plan: GroupPlan, state_dir: Path) -> Iterator[str]:
    """Yield a line for a group, and one for each past state with what bringing it back would change."""
    destinations = tuple(each.destination for each in plan.templates)
    yield f"{printable(plan.settings.name)}: {printable(' '.join(map(str, destinations)))}"
    folder = group_folder(state_dir, destinations)
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
        raise CtemplateError(str(folder), "cannot be read; run this as the user that runs ctemplate")
    held = read_restoration(folder)
    if held is not None:
        yield f"    held as restored from {printable(held.label)} {_ago(held.at)} ago; 'ctemplate release' ends that"
    main = run_interruptible(main_file(group_nginx(plan, state_dir)))
    known = history(state_dir, destinations)
    for past in known:
        yield f"  {past.label}  {_moment(past)}"
        yield from (f"      {sentence}" for sentence in _meaning(past, main))
    if not any(past.label == ORIGINAL_LABEL for past in known):
        yield "  no original: ctemplate made these files, or has not written them yet"


def _moment(past: PastState) -> str:
    at = dt.datetime.fromtimestamp(past.at, tz=dt.UTC).astimezone()
    what = "from before ctemplate, until" if past.label == ORIGINAL_LABEL else "replaced"
    return f"{what} {at:%Y-%m-%d %H:%M:%S}, {_ago(past.at)} ago"


def _ago(moment: float) -> str:
    return format_duration(float(max(round(time.time() - moment), 0)))


def _meaning(past: PastState, main: Path | None) -> Iterator[str]:
    """Yield what bringing a state back would change: in nginx's terms if possible, else in lines."""
    for path, content in past.files.items():
        live = _live(path)
        if live == content:
            yield f"{printable(path)}: as it is now"
            continue
        found = file_changes(main, {}, path, content) if main is not None else None
        sentences = found.sentences if found is not None else ()
        for sentence in sentences[:SENTENCES_NAMED]:
            yield f"{printable(path)}: {printable(sentence)}"
        if len(sentences) > SENTENCES_NAMED:
            yield f"{printable(path)}: and {len(sentences) - SENTENCES_NAMED} more"
        if not sentences:
            lines = list(_changed_lines(path, live, content))
            plus, minus = (sum(line.startswith(mark) for line in lines[2:]) for mark in "+-")
            yield f"{printable(path)}: {plus} lines more, {minus} lines less"


def _diff(past: PastState) -> Iterator[str]:
    for path, content in past.files.items():
        lines = list(_changed_lines(path, _live(path), content))
        yield from map(printable, lines or [f"{path}: is as it was then; restoring it changes nothing"])


def _changed_lines(path: Path, live: bytes, content: bytes) -> Iterator[str]:
    old, new = (hidden_secrets(text.decode(errors="replace")).splitlines() for text in (live, content))
    return difflib.unified_diff(old, new, f"{path} (live)", f"{path} (restored)", lineterm="")


def _live(path: Path) -> bytes:
    try:
        return read_plain_file(path, limit_bytes=LIVE_LIMIT_BYTES)
    except OSError:
        return b""
