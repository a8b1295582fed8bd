"""The guard's messages: one line when holds begin, one when they end, however many there are."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ctemplate.core.durations import format_duration
from ctemplate.core.errors import printable
from ctemplate.core.events import AnswerUnverified, AnswerVerified, GuardReport, HoldBegan, HoldEnded, HoldExpired
from ctemplate.core.model import Query
from ctemplate.guard.evidence.hold import Cause, Hold
from ctemplate.queries import Losses, kind_of

EXPIRED = "the time is over; the newest answer is accepted"
LEFT_OUT_OF_CONTACT = "most nodes are back in contact, and these are not; they are accepted as failed"
BACK = "all is back"
CONFIRMED = "the loss is confirmed"
RELEASED = "released by the operator"
UNWANTED = "no template needs it any more"
EMPTY = (
    "the first answer is empty, as for a token without rights; it is not taken before something can be seen; "
    "give a token with service:read and node:read, or run 'ctemplate release' where Consul is really empty"
)
WITHOUT_NODES = (
    "listed in Consul's catalog, and no instance is shown: "
    'the token lacks the right node:read (node_prefix "" { policy = "read" })'
)
ASKED_AGAIN = "asked again every 10s, and not taken as empty before 'ctemplate release'"
HOLDS_NAMED = 5


def begun(holds: Iterable[Hold]) -> list[GuardReport]:
    """Return a line for each cause of holds that began."""
    return [HoldBegan(text=_begin(cause, group), queries=_queries(group)) for cause, group in _by_cause(holds)]


def ended(holds: Iterable[tuple[Hold, str]], now: float) -> list[GuardReport]:
    """Return a line for each way in which holds ended."""
    groups: dict[str, list[Hold]] = {}
    for hold, how in holds:
        groups.setdefault(how, []).append(hold)
    kinds = {how: HoldExpired if how in {EXPIRED, LEFT_OUT_OF_CONTACT} else HoldEnded for how in groups}
    return [kinds[how](text=_end(how, group, now), queries=_queries(group)) for how, group in groups.items()]


def described(holds: Iterable[Hold]) -> tuple[str, ...]:
    """Return a line for each query with holds and each cause: what is held, and why."""
    groups: dict[tuple[str, Cause], list[Hold]] = {}
    for hold in holds:
        groups.setdefault((str(hold.query), hold.cause), []).append(hold)
    lines = ((query, cause.value % _vanished(group)) for (query, cause), group in groups.items())
    return tuple(f"{query}: {what}" for query, what in sorted(lines))


def unverified(queries: Iterable[tuple[Query, bool]]) -> list[GuardReport]:
    """Return a line for the queries whose empty first answers are not accepted, and one for listed services."""
    given = tuple(queries)
    listed = _listed(query for query, is_listed in given if is_listed)
    others = _listed(query for query, is_listed in given if not is_listed)
    found = [f"{others}: {EMPTY}"] if others else []
    found += [f"{listed}: {WITHOUT_NODES}; {ASKED_AGAIN}"] if listed else []
    return [AnswerUnverified(text=text, queries=tuple(str(query) for query, _ in given)) for text in found]


def taken_as_empty(queries: Iterable[Query]) -> list[GuardReport]:
    """Return a line for the services accepted as empty although the catalog lists them, if there are any."""
    given = tuple(map(str, queries))
    what = f"{WITHOUT_NODES}; taken as empty, since it is new"
    return [AnswerUnverified(text=f"{_listed(given)}: {what}", queries=given)] if given else []


def seen(queries: Iterable[Query]) -> list[GuardReport]:
    """Return a line for the queries that have entries at last, if there are any."""
    given = tuple(map(str, queries))
    return [AnswerVerified(text=f"{_listed(given)}: can be seen now", queries=given)] if given else []


def _by_cause(holds: Iterable[Hold]) -> list[tuple[Cause, list[Hold]]]:
    groups: dict[Cause, list[Hold]] = {}
    for hold in holds:
        groups.setdefault(hold.cause, []).append(hold)
    return list(groups.items())


def _begin(cause: Cause, holds: list[Hold]) -> str:
    latest = max(hold.until - hold.since for hold in holds)
    limit = "until that changes" if math.isinf(latest) else f"for up to {format_duration(latest)}"
    what = cause.value % _vanished(holds)
    return f"held: {_named(holds)}: {what}; kept {limit}, or until 'ctemplate release'"


def _end(how: str, holds: list[Hold], now: float) -> str:
    longest = max(now - hold.since for hold in holds)
    return f"no longer held after {format_duration(longest)}: {_named(holds)}: {how}"


def _vanished(holds: list[Hold]) -> str:
    instances = sum(len(hold.entries) for hold in holds if kind_of(hold.query).losses is Losses.INSTANCES)
    names = sum(len(hold.entries) for hold in holds if kind_of(hold.query).losses is Losses.NAMES)
    parts = [_counted(instances, "instance"), _counted(names, "service")]
    return " and ".join(part for part in parts if part)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}" if number else ""


def _named(holds: list[Hold]) -> str:
    return _listed(hold.query for hold in holds)


def _queries(holds: list[Hold]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(hold.query) for hold in holds))


def _listed(queries: Iterable[Query | str]) -> str:
    names = sorted(set(map(str, queries)))
    more = len(names) - HOLDS_NAMED
    return ", ".join(printable(name, 80) for name in names[:HOLDS_NAMED]) + (f" and {more} more" if more > 0 else "")
