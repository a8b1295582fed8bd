"""A report for a terminal: one line for each thing, those that need attention first. Pure."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Iterator

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import printable
from ctemplate.status.health import DENIED, RIGHTS_HINT
from ctemplate.status.report import GroupStatus, Report

LEFT_OUT_SHOWN = 10  # in one group


def report_lines(report: Report) -> Iterator[str]:
    """Yield the lines; no content in them can forge another line."""
    yield f"ctemplate {report.ctemplate}, process {report.pid}, up {_ago(report, report.started_at)}"
    if report.is_ready:
        yield "ready: every group is live" + ("" if report.source.outages else " and current")
    for problem in report.problems:
        yield f"not ready: {printable(problem)}"
    yield from _source(report)
    for group in report.groups:
        yield from _group(report, group)
    for hold in report.holds:
        until = f"until {_clock(hold.until)}" if hold.until is not None else "until its cause ends"
        what = f"{printable(hold.query)}: {hold.entries} held for {_ago(report, hold.since)}, {until}"
        yield f"held: {what}: {hold.reason}"
        if hold.cause == DENIED:
            yield f"    {RIGHTS_HINT}"
        elif hold.services:
            yield f"    if the loss is real: ctemplate release {_argument(hold.services[0])}"
    for query in report.unverified:
        yield f"empty first answer is not accepted: {printable(query)}; {RIGHTS_HINT}"
    if report.configuration.refused:
        yield f"configuration: not in use as it is: {printable(report.configuration.refused)}"
    if report.internal_errors:
        yield f"internal errors: {report.internal_errors}; please report them, see the log"


def _source(report: Report) -> Iterator[str]:
    source = report.source
    counts = ", ".join(f"{each.count} {each.kind} {each.state}" for each in report.queries) or "none"
    connections = f"; {_number(source.connections, 'connection')}" if source.connections else ""
    yield f"source: {printable(source.name)}; queries: {counts}{connections}"
    for outage in source.outages:
        lasted = _ago(report, outage.since)
        queries = _number(outage.queries, "query", "queries")
        cause = outage.cause.replace("_", " ")
        what = outage.subject if outage.subject.endswith(f" {cause}") else f"{outage.subject}: {cause}"
        yield f"outage: {printable(what)} for {lasted}, {queries}"


def _group(report: Report, group: GroupStatus) -> Iterator[str]:
    applied = f", last change {_ago(report, group.last_applied_at)} ago" if group.last_applied_at else ""
    owed = ", the reload is pending" if group.owes_reload and group.state != "reload owed" else ""
    draining = f", {_number(group.draining, 'old worker')} draining" if group.draining else ""
    files = printable(" ".join(group.files))
    yield f"group {printable(group.name)}: {group.state}{applied}{owed}{draining}: {files}"
    if group.not_running:
        yield f"    nginx {printable(group.not_running)}"
    if group.restored:
        yield f"    held as restored from {printable(group.restored)}, until 'ctemplate release' or a template's change"
    if group.refused_edit:
        first, *details = group.refused_edit.splitlines()
        yield f"    edit refused: {printable(first)}"
        yield from (f"        {printable(line.strip())}" for line in details)
    for sentence in group.last_change:
        yield f"    {printable(sentence)}"
    if group.missing_count:
        more = group.missing_count - len(group.missing)
        yield f"    waiting for {', '.join(map(printable, group.missing))}{f' and {more} more' if more else ''}"
    for each in group.left_out[:LEFT_OUT_SHOWN]:
        yield f"    {'last good data' if each.is_kept else 'left out'}: {printable(each.reason)}"
    if len(group.left_out) > LEFT_OUT_SHOWN:
        yield f"    and {len(group.left_out) - LEFT_OUT_SHOWN} more left out"


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def _argument(name: str) -> str:
    """Return a name as a shell's word."""
    return shlex.quote(printable(name))


def _ago(report: Report, moment: float) -> str:
    return format_duration(float(max(round(report.at - moment), 0)))


def _clock(moment: float) -> str:
    return f"{dt.datetime.fromtimestamp(moment, tz=dt.UTC):%H:%M:%S} UTC"
