"""The current outages of Consul, each reported once when it begins and once when it is over.

A failure of the agent affects all queries and is one outage. An outage of single queries reports the first query at
once; later ones are gathered and reported together, in lines at growing intervals.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import field

from ctemplate.core.errors import printable
from ctemplate.core.event_stream import emit
from ctemplate.core.events import OutageBegan, OutageEnded, OutageSpread
from ctemplate.core.values import dataclass
from ctemplate.sources.consul.endpoints.paths import RequestFailed
from ctemplate.sources.consul.http.address import Address

logger = logging.getLogger(__name__)

NAMED_LIMIT = 5  # queries named in a line; the rest is counted
GATHER = 10.0  # seconds in which the queries that join an outage are gathered; doubled each time
RECURRENCE = 60.0  # seconds within which an outage that recurs is reported only when it lasts
OUTAGE_REPORT_DELAY = 5.0  # seconds that it has to last then
SHARED = "consul"


@dataclass(slots=True)
class Outage:
    """An outage from its first failure until the last affected query is answered again.

    ``causes`` are the last failures of each agent asked meanwhile, ``is_everywhere`` whether all agents failed.
    """

    since: float
    subject: str
    cause: str
    queries: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    is_reported: bool = False
    next_report_at: float = -math.inf
    gather: float = GATHER
    causes: dict[str, str] = field(default_factory=dict)
    is_everywhere: bool = False


class OutageLog:
    """The outages of one source; ``recovered`` ends the wait of queries that await a retry."""

    def __init__(self, addresses: int = 1) -> None:
        """Start without an outage; ``addresses`` is the number of agents."""
        self._addresses = addresses
        self._episodes: dict[str, Outage] = {}
        self._ended: dict[str, float] = {}
        self._recovery = asyncio.Event()
        self._broken_at: dict[str | None, float] = {None: time.time()}

    def session(self, dc: str | None) -> float:
        """Return since when (wall clock) a datacenter, or our own for None, has been in sight without a break."""
        return max(self._broken_at[None], self._broken_at.get(dc, 0.0))

    def broke(self, dc: str | None) -> None:
        """Record a break: a datacenter, or the agent itself for None, went out of sight.

        A later break has a later moment, even if the clock was set back.
        """
        self._broken_at[dc] = max(time.time(), math.nextafter(max(self._broken_at.values()), math.inf))

    @property
    def current(self) -> dict[str, frozenset[str]]:
        """The current outages, each with the queries it affects."""
        return {episode.subject: frozenset(episode.queries) for episode in self._episodes.values()}

    @property
    def ongoing(self) -> tuple[Outage, ...]:
        """The current outages."""
        return tuple(self._episodes.values())

    def note(self, query: str, failure: RequestFailed, now: float, *, is_answered: bool = True) -> None:
        """Record that a query failed, again or for the first time; ``is_answered``: it had an answer before."""
        if failure.remedy.is_shared and failure.remedy.restarts:
            self.broke(None)
        key = SHARED if failure.remedy.is_shared else failure.kind.value
        for other in self._episodes.keys() - {key}:
            self._leave(other, query, now)
        if key not in self._episodes:
            subject = failure.agent if key == SHARED else f"Consul: queries {key}"
            self._episodes[key] = Outage(since=now, subject=subject, cause=failure.kind.name.lower())
        episode = self._episodes[key]
        episode.queries.add(query)
        is_back = now - self._ended.get(key, -RECURRENCE) < RECURRENCE
        if episode.is_reported or not is_back or now - episode.since >= OUTAGE_REPORT_DELAY:
            self._report(episode, query, failure, now, is_answered=is_answered)
        else:
            logger.debug("%s: %s", query, failure)
        if key == SHARED:
            self._spread(episode, failure)

    def _spread(self, episode: Outage, failure: RequestFailed) -> None:
        """Report once that none of several agents answers."""
        episode.causes[failure.agent] = failure.what
        if episode.is_reported and not episode.is_everywhere and 1 < self._addresses <= len(episode.causes):
            episode.is_everywhere = True
            causes = "; ".join(f"{agent}: {what}" for agent, what in episode.causes.items())
            text = f"Consul: none of {self._addresses} addresses answers: {printable(causes)}"
            emit(OutageSpread(cause=episode.cause, text=text))

    def over(self, query: str, now: float, at: Address | None = None) -> None:
        """Record that a query was answered, by the agent at an address, or is not wanted any more."""
        for key in list(self._episodes):
            self._leave(key, query, now, at)

    async def recovered(self) -> None:
        """Wait until a query that failed with the whole agent is answered again, or the agent is alive again."""
        await self._recovery.wait()

    def revived(self) -> None:
        """End the waits for the agent: it is alive again."""
        self._recovery.set()
        self._recovery = asyncio.Event()

    def _leave(self, key: str, query: str, now: float, at: Address | None = None) -> None:
        episode = self._episodes[key]
        if query not in episode.queries:
            return
        episode.queries.discard(query)
        if key == SHARED:
            self.revived()
        if not episode.queries:
            del self._episodes[key]
            self._ended[key] = now
            is_elsewhere = key == SHARED and at is not None and str(at) != episode.subject
            subject = (
                f"{at}: answers in place of {episode.subject}," if is_elsewhere else f"{episode.subject}: outage over"
            )
            over = OutageEnded(
                cause=episode.cause, subject=subject, seconds=now - episode.since, was_reported=episode.is_reported
            )
            emit(over)

    def _report(self, episode: Outage, query: str, failure: RequestFailed, now: float, *, is_answered: bool) -> None:
        """Report that the outage began, or which queries have joined it since the last line about it."""
        fresh = {query} if failure.remedy.is_shared else episode.queries - episode.named
        is_due = not episode.is_reported if failure.remedy.is_shared else fresh and now >= episode.next_report_at
        episode.is_reported = True
        if not is_due:
            logger.debug("%s: %s", query, failure)
            return
        episode.named |= fresh
        episode.next_report_at, episode.gather = now + episode.gather, 2 * episode.gather
        if failure.remedy.is_shared:
            then = f"the last answers stay in use while {_RETRIED}" if is_answered else f"{_RETRIED} until it answers"
            text = printable(f"{failure.what}, first for {query}; {then}")
            emit(OutageBegan(cause=episode.cause, subject=episode.subject, text=text))
        elif fresh == {query}:
            then = f"its last answer stays in use while {_RETRIED}" if is_answered else f"{_RETRIED} until it answers"
            emit(OutageBegan(cause=episode.cause, subject=printable(query), text=f"{failure}; {then}"))
        else:
            what = f"{_listed(fresh)}, for example {failure}; they are retried, what they last answered stays in use"
            emit(OutageSpread(cause=episode.cause, text=f"{episode.subject}: {printable(what)}"))


_RETRIED = "it is retried"


def _listed(queries: set[str]) -> str:
    named = sorted(queries)[:NAMED_LIMIT]
    more = len(queries) - len(named)
    return ", ".join(printable(query, 80) for query in named) + (f" and {more} more" if more else "")
