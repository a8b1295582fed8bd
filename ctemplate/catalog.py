"""Where sources and renders meet: the queries wanted, and the newest answer to each.

Level-triggered: an answer or a wish sets a flag, and whoever waits looks at the whole state. Lost, doubled or reordered
wake-ups cannot hurt. One owner, one event loop; nothing here knows Consul or templates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ctemplate.model import Answer, AnyQuery, Snapshot


class Catalog:
    """The newest answers to the wanted queries."""

    def __init__(self) -> None:
        self._answers: dict[AnyQuery, Answer] = {}
        self._wishes_of: dict[str, frozenset[AnyQuery]] = {}
        self._wanted: frozenset[AnyQuery] = frozenset()
        self._changed: set[AnyQuery] = set()
        self._news = asyncio.Event()
        self._wishes = asyncio.Event()

    @property
    def wanted(self) -> frozenset[AnyQuery]:
        """The queries that somebody needs now."""
        return self._wanted

    def want(self, group: str, queries: frozenset[AnyQuery], *, is_growing: bool = False) -> None:
        """Say which queries a group needs; answers that no group needs any more are forgotten.

        ``is_growing`` keeps the group's earlier wishes as well: a render that lacks answers has not named all it needs.
        """
        before = self._wishes_of.get(group, frozenset())
        now = before | queries if is_growing else queries
        if now != before:
            self._wishes_of[group] = now
            self._update_wanted()

    def keep_groups(self, groups: Iterable[str]) -> None:
        """Forget the wishes of all other groups."""
        kept = set(groups)
        self._wishes_of = {group: queries for group, queries in self._wishes_of.items() if group in kept}
        self._update_wanted()

    def _update_wanted(self) -> None:
        wanted = frozenset().union(*self._wishes_of.values())
        if wanted == self._wanted:
            return
        for dropped in self._wanted - wanted:
            self._answers.pop(dropped, None)
            self._changed.discard(dropped)
        self._wanted = wanted
        self._wishes.set()

    async def wishes(self) -> frozenset[AnyQuery]:
        """Wait until the wanted queries changed since the last call; return them. One caller: the source."""
        await self._wishes.wait()
        self._wishes.clear()
        return self._wanted

    def ask_again(self) -> None:
        """Tell the wishes once more, to a source that has just taken over."""
        self._wishes.set()

    def put(self, answer: Answer) -> bool:
        """Keep the answer; answer whether it is news: the first one, or another value than before.

        An answer to a query that nobody wants any more is dropped. Equal data only moves index and time.
        """
        if answer.query not in self._wanted:
            return False
        known = self._answers.get(answer.query)
        self._answers[answer.query] = answer
        if known is not None and known.value == answer.value and known.faults == answer.faults:
            return False
        self._changed.add(answer.query)
        self._news.set()
        return True

    async def news(self) -> frozenset[AnyQuery]:
        """Wait until an answer changed since the last call; return the queries whose answers did."""
        await self._news.wait()
        self._news.clear()
        changed, self._changed = frozenset(self._changed), set()
        return changed

    def get(self, query: AnyQuery) -> Answer | None:
        """Return the newest answer to the query, if there is one."""
        return self._answers.get(query)

    def missing(self) -> frozenset[AnyQuery]:
        """Return the wanted queries that have no answer yet."""
        return frozenset(query for query in self._wanted if query not in self._answers)

    def snapshot(self) -> Snapshot:
        """Return an immutable view of all answers at this moment."""
        return Snapshot(self._answers)
