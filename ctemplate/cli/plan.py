"""``ctemplate plan``: show what an apply would change and why, and whether the check accepts it. Writes nothing."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from ctemplate.apply import group_folder
from ctemplate.apply.restored import read_restoration
from ctemplate.cli.output import write_output
from ctemplate.cli.run import prepared, run_once
from ctemplate.core.errors import ConfigError, TemplateError, printable
from ctemplate.core.group_events import CandidateRejected
from ctemplate.guard import described
from ctemplate.runtime.assembly import Assembly, RunMode
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.sinks.plan import NOT_RENDERED, GroupReview, PlanSink, review
from ctemplate.sources.source import Cost
from ctemplate.system.inputs import read_input

PENDING_STATUS = 4
PLAN_LIMIT_BYTES = 256 * 1024 * 1024  # of a saved plan
COLOURS = {"+": "green", "-": "red", "@": "cyan"}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `plan -format json` prints; its schema is docs/plan.schema.json.

    ``held`` is what the guard keeps in the groups although the newest answers lack it, and why, and files that stay as
    they were restored.
    """

    version: Literal[1] = 1
    pending: bool
    groups: tuple[GroupReview, ...]
    watch: Cost
    held: tuple[str, ...] = ()


def plan(given: Mapping[str, Any], *, logs_refusals: bool = True) -> int:
    """Print the plan; return 1 when a group failed, 4 when changes are pending and ``-exit-code`` asked, else 0.

    ``logs_refusals``: what the check refuses is also logged, for a reader of the log alone.
    """
    made, workers = made_plan(given, logs_refusals=logs_refusals)
    if given["o"]:
        write_output(msgspec.json.format(msgspec.json.encode(made)).decode() + "\n", given["o"])
    if given["format"] == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(made)).decode())
    else:
        is_coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        click.echo("\n".join(text(made, is_coloured=is_coloured)))
    if any(worker.error for worker in workers):
        return 1
    return PENDING_STATUS if made.pending and given["exit_code"] else 0


def apply_plan(given: Mapping[str, Any], path: Path) -> int:
    """Apply a saved plan; return 1 and change nothing if the files or the data have changed since."""
    try:
        saved = msgspec.json.decode(read_input(path, limit_bytes=PLAN_LIMIT_BYTES), type=Plan)
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {(exc.strerror or str(exc)).lower()}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ConfigError(str(path), f"is no plan: {printable(exc)}; make one with plan -o FILE") from exc
    planned = {file.destination: file for group in saved.groups for file in group.files}
    daemon = prepared(given, RunMode.LIVE, planned)
    run_once(given, daemon)
    return 1 if any(worker.error or worker.pipeline.restored_to for worker in daemon.workers) else 0


def made_plan(given: Mapping[str, Any], *, logs_refusals: bool = True) -> tuple[Plan, tuple[GroupWorker, ...]]:
    """Render once by the same path as the daemon, into reviews instead of files."""
    daemon = prepared(given, RunMode.PLAN)
    for handler in () if logs_refusals else logging.getLogger().handlers:
        handler.addFilter(_is_no_refusal)
    run_once(given, daemon)
    groups = tuple(_reviewed(worker) for worker in daemon.workers)
    watch = daemon.assembly.source.cost(daemon.catalog.wanted)
    made = Plan(
        pending=any(group.is_changed for group in groups),
        groups=groups,
        watch=watch,
        held=(*described(daemon.catalog.holds), *_restored(daemon.assembly)),
    )
    return made, daemon.workers


def _is_no_refusal(record: logging.LogRecord) -> bool:
    return not isinstance(getattr(record, "event", None), CandidateRejected)


def _restored(assembly: Assembly) -> Iterator[str]:
    """Yield the groups that keep their restored files, even though their templates would change them."""
    for group in assembly.plans:
        destinations = tuple(each.destination for each in group.templates)
        found = read_restoration(group_folder(assembly.state_dir, destinations))
        if found is not None:
            names = " ".join(map(str, destinations))
            yield f"{names}: held as restored from {found.label} until 'ctemplate release'"


def _reviewed(worker: GroupWorker) -> GroupReview:
    sink = worker.pipeline.sink
    if not isinstance(sink, PlanSink):
        raise TypeError(type(sink))
    used = worker.result.rendering.used if worker.result else worker.catalog.wanted
    removed = worker.result.rendering.removed if worker.result else ()
    answers = [answer for answer in worker.catalog.snapshot() if answer.query in used]
    pipeline = worker.pipeline
    return review(
        pipeline.name,
        sink,
        pipeline.quarantined,
        answers,
        kept=pipeline.kept,
        removed=removed,
        is_rendered=not isinstance(worker.error, TemplateError),
    )


def text(made: Plan, *, is_coloured: bool) -> Iterator[str]:
    """Yield the plan's lines for a person."""
    for group in made.groups:
        for file in group.files:
            yield from (_painted(line, is_coloured=is_coloured) for line in file.diff)
        yield from _section("what it means", [sentence for file in group.files for sentence in file.changes])
        yield from _section("why", group.why)
        yield from _section("left out", group.left_out)
        yield from _section("services that lose every server by the edit, though they are healthy", group.removed)
        if group.is_changed:
            yield from _section(f"check: {group.verdict}", group.output, is_always=True)
            yield from _section("then", group.commands)
        elif group.verdict == NOT_RENDERED:
            yield f"{group.name}: not rendered; the error in the log says why"
        else:
            yield f"{group.name}: no changes"
        yield ""
    yield from _section("held", made.held)
    watch = made.watch
    yield (
        f"watch: {watch.queries} queries, {watch.connections} connections, "
        f"{watch.requests_per_second:g} requests per second while nothing changes"
    )
    pending = sum(group.is_changed for group in made.groups)
    yield f"{pending} of {len(made.groups)} group{'s' if len(made.groups) > 1 else ''} would change"


def _section(title: str, lines: tuple[str, ...] | list[str], *, is_always: bool = False) -> Iterator[str]:
    if lines or is_always:
        yield f"{title}:" if lines else title
        yield from (f"    {printable(line)}" for line in lines)


def _painted(line: str, *, is_coloured: bool) -> str:
    shown = printable(line.replace("\t", "    "))
    return click.style(shown, fg=COLOURS.get(line[:1])) if is_coloured else shown
