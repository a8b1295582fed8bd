"""A report's health: whether the work progresses, and whether the live files are up to date. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import printable
from ctemplate.status.report import GroupStatus, Report

STUCK_AFTER = 600.0  # seconds in one step; the longest step, a search for refused data, takes some minutes


def readiness_problems(report: Report, *, max_age: float) -> tuple[str, ...]:
    """Return the reasons why live files may be out of date, one sentence each; none if all is well."""
    return tuple(printable(problem) for problem in _problems(report, max_age))


def stuck_groups(report: Report) -> tuple[str, ...]:
    """Return a sentence for each group that makes no progress."""
    return tuple(
        f"group {printable(group.name)}: at one step for {format_duration(group.stuck_for)}"
        for group in report.groups
        if group.stuck_for > STUCK_AFTER
    )


def _problems(report: Report, max_age: float) -> Iterator[str]:
    if not report.groups:
        yield "no group runs: their files cannot be held"
    for group in report.groups:
        yield from _of_group(group)
    if report.source.data_age > max_age:
        yield f"{report.source.name}: answers are up to {format_duration(report.source.data_age)} old"
    if report.holds:
        held = ", ".join(sorted({hold.query for hold in report.holds})[:5])
        yield f"held: {held}"
    if report.unverified:
        yield f"empty first answer not taken: {', '.join(report.unverified[:5])}"


def _of_group(group: GroupStatus) -> Iterator[str]:
    if group.state in {"starting", "waiting"}:
        yield f"group {group.name}: not rendered yet, waiting for {group.missing_count} answers"
    elif group.restored:
        yield f"group {group.name}: restored from {group.restored}, nothing is applied until 'ctemplate release'"
    elif group.state == "failed":
        yield f"group {group.name}: {group.error}"
    elif group.owes_reload:
        yield f"group {group.name}: the reload is owed"
