"""The names of queries in one line of the log."""

from __future__ import annotations

from collections.abc import Collection

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import printable

QUERIES_NAMED = 100  # missing queries, at most, in one line
NAMED_CHARACTERS = 3000  # the length of that line, at most
COUNTED_FROM = 9  # from so many queries on, the line gives their number


def query_list(queries: Collection[str]) -> str:
    """Return the queries' names in order, ``a, b``; for many, their number first and as many names as fit."""
    names = [printable(query, 80) for query in sorted(queries)[:QUERIES_NAMED]]
    while len(names) > 1 and sum(map(len, names)) + 2 * len(names) > NAMED_CHARACTERS:
        names.pop()
    count = f"{len(queries)} queries: " if len(queries) >= COUNTED_FROM else ""
    more = len(queries) - len(names)
    return count + ", ".join(names) + (f" and {more} more" if more else "")


def late_queries(unanswered: Collection[str], absent: Collection[str], seconds: float) -> str:
    """Return what is still missing after so long: queries without an answer, and those for what does not exist."""
    after = format_duration(seconds)
    parts = ((f"no usable answer after {after} to", unanswered), (f"still missing after {after}:", absent))
    return "; ".join(f"{what} {query_list(queries)}" for what, queries in parts if queries)
