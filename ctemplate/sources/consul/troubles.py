"""What is wrong with Consul at the moment, told once when it starts and once when it is over.

A trouble of the agent concerns all queries and is one trouble; one of a single query is named with it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from ctemplate.sources.consul.wire import RequestFailed

logger = logging.getLogger(__name__)

NAMED_LIMIT = 10  # queries named in the log per trouble; the rest is counted
SHARED = "consul"


@dataclass(slots=True)
class Episode:
    """A trouble from its first failure until the last query that it hit is answered again."""

    since: float
    subject: str
    queries: set[str] = field(default_factory=set)
    hit: int = 0


class Troubles:
    """Keeps the episodes of one source; ``recovered`` lets those who wait for a retry go at once."""

    def __init__(self) -> None:
        self._episodes: dict[str, Episode] = {}
        self._recovery = asyncio.Event()

    @property
    def current(self) -> dict[str, frozenset[str]]:
        """The troubles that last, each with the queries it concerns."""
        return {episode.subject: frozenset(episode.queries) for episode in self._episodes.values()}

    def note(self, query: str, failure: RequestFailed, now: float) -> None:
        """Note that a query failed."""
        key = SHARED if failure.remedy.is_shared else failure.trouble.value
        for other in [other for other in self._episodes if other != key]:
            self._leave(other, query, now)
        episode = self._episodes.get(key)
        if episode is None:
            subject = failure.agent if key == SHARED else f"consul: {key}"
            episode = self._episodes[key] = Episode(since=now, subject=subject)
        if query in episode.queries:
            return
        episode.queries.add(query)
        episode.hit += 1
        self._tell_start(episode, query, failure, is_shared=key == SHARED)

    def over(self, query: str, now: float) -> None:
        """Note that a query was answered."""
        for key in list(self._episodes):
            self._leave(key, query, now)

    async def recovered(self) -> None:
        """Wait until a query that had failed with the whole agent is answered again."""
        await self._recovery.wait()

    def _leave(self, key: str, query: str, now: float) -> None:
        episode = self._episodes[key]
        if query not in episode.queries:
            return
        episode.queries.discard(query)
        if key == SHARED:
            self._recovery.set()
            self._recovery = asyncio.Event()
        if not episode.queries:
            del self._episodes[key]
            counted = f" ({episode.hit} queries)" if episode.hit > 1 else ""
            logger.info("%s: over after %.1fs%s", episode.subject, now - episode.since, counted)

    def _tell_start(self, episode: Episode, query: str, failure: RequestFailed, *, is_shared: bool) -> None:
        named = 1 if is_shared else NAMED_LIMIT
        if episode.hit > named:
            logger.debug("%s: %s", query, failure)
        elif is_shared:
            what = f"{failure.what}; the last answers stay in use while it is retried"
            logger.warning("%s: %s", episode.subject, what)
        else:
            logger.warning("%s: %s; its last answer stays in use while it is retried", query, failure)
            if episode.hit == named:
                logger.warning("%s: more queries are hit; they are named at level debug", episode.subject)
