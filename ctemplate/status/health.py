"""A report's health: whether the work progresses, and whether the live files are up to date. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import printable
from ctemplate.status.report import GroupStatus, Report

STUCK_AFTER = 600.0  # seconds in one step; the longest step, a search for refused data, takes some minutes
QUERIES_PER_SENTENCE = 5  # queries in a sentence
DENIED = "denied"  # the cause of a hold whose entries the token may no longer read
RELEASE_HINT = "if that is right, 'ctemplate release' applies the newest answers now"
RIGHTS_HINT = "'ctemplate doctor' says which right the token lacks"


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
        yield "no group runs: their files are locked by another process, or their locks cannot be made"
    for group in report.groups:
        yield from _of_group(group)
    if report.source.data_age > max_age:
        yield f"{report.source.name}: answers are up to {format_duration(report.source.data_age)} old"
    if denied := {hold.query for hold in report.holds if hold.cause == DENIED}:
        yield f"held: {_named(denied)}: the token may no longer read that; {RIGHTS_HINT}"
    if held := {hold.query for hold in report.holds} - denied:
        yield f"held: {_named(held)}; {RELEASE_HINT}"
    if report.unverified:
        yield f"empty first answer is not accepted: {_named(report.unverified)}; {RIGHTS_HINT}; {RELEASE_HINT}"


def _of_group(group: GroupStatus) -> Iterator[str]:
    if group.state in {"starting", "waiting"}:
        yield f"group {group.name}: not rendered yet, waiting for {_named(group.missing, group.missing_count)}"
    elif group.restored:
        yield f"group {group.name}: restored from {group.restored}, nothing is applied until 'ctemplate release'"
    elif group.state == "failed":
        yield f"group {group.name}: {'; '.join(line.strip() for line in group.error.splitlines())}"
    elif group.owes_reload:
        why = f"nginx {group.not_running}; start nginx" if group.not_running else "the program has not loaded the files"
        yield f"group {group.name}: the reload is pending: {why}"
    elif group.not_running:
        yield f"group {group.name}: nginx {group.not_running}; start nginx"


def _named(queries: Collection[str], count: int = 0) -> str:
    """Return some queries by name, and how many more of ``count`` there are; ``queries`` may be the first of them."""
    named = ", ".join(sorted(queries)[:QUERIES_PER_SENTENCE])
    more = max(count, len(queries)) - min(len(queries), QUERIES_PER_SENTENCE)
    return f"{named} and {more} more" if named and more else named or "the first render"
