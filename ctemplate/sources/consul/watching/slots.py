"""Long polls that pass between queries: the queries that changed last have them.

Pure; knows nothing of what the queries are for, or of connections.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator

from ctemplate.core.model import Query
from ctemplate.queries import WatchRole, kind_of


class PollSlots:
    """The queries of one kind that have a long poll, and those that wait for one, each with its last change.

    ``size`` is how many long polls this kind may have. A slot in use is never removed for a smaller size, only
    handed over between two rounds; see ``next_waiting``.
    """

    def __init__(self) -> None:
        self.size = 0
        self._polled: OrderedDict[Query, float] = OrderedDict()
        self._waiting: OrderedDict[Query, float] = OrderedDict()

    def __contains__(self, query: object) -> bool:
        return query in self._polled

    def __len__(self) -> int:
        return len(self._polled)

    def __iter__(self) -> Iterator[Query]:
        """Yield the polled queries, the one unchanged for longest first."""
        return iter(self._polled)

    @property
    def has_room(self) -> bool:
        """Whether one more may be polled."""
        return len(self._polled) < self.size

    def changed(self, query: Query, now: float) -> None:
        """Record a change of a query, which is polled already or waits for a slot from now on."""
        if query in self._polled:
            self._polled[query] = now
            self._polled.move_to_end(query)
        elif self.size > 0:
            self._waiting[query] = now
            self._waiting.move_to_end(query)
            if len(self._waiting) > self.size:
                self._waiting.popitem(last=False)

    def start(self, query: Query) -> None:
        """Count the query as polled from now on, behind those that changed later."""
        changed_at = self._waiting.pop(query, -math.inf)
        self._polled[query] = changed_at
        self._polled.move_to_end(query, last=changed_at > -math.inf)

    def stop(self, query: Query) -> None:
        """Count the query as polled no longer."""
        del self._polled[query]

    def discard(self, query: Query) -> None:
        """Remove a query, polled or waiting."""
        self._polled.pop(query, None)
        self._waiting.pop(query, None)

    def next_waiting(self, query: Query | None = None) -> Query | None:
        """Return the waiting query that changed last, provided that it changed later than a polled one."""
        next_waiting = next(reversed(self._waiting), None)
        if next_waiting is None or (query is not None and self._waiting[next_waiting] <= self._polled[query]):
            return None
        return next_waiting


class SharedSlots:
    """All long polls of single queries: those of nodes, and those of what a template asks for."""

    def __init__(self) -> None:
        self.total = 0
        self.wanted = PollSlots()
        self.nodes = PollSlots()

    def __contains__(self, query: object) -> bool:
        return query in self.wanted or query in self.nodes

    @property
    def free(self) -> int:
        """How many long polls are left, below zero for too many."""
        return self.total - len(self.wanted) - len(self.nodes)

    def share(self, *, nodes: int, lonely: int) -> None:
        """Give slots to all nodes if they fit beside the queries without a sentinel, else half of the slots."""
        half = self.total // 2
        self.nodes.size = nodes if nodes <= max(self.total - lonely, half) else half
        self.wanted.size = self.total - self.nodes.size

    def of(self, query: Query) -> PollSlots:
        """Return the long polls of the query's kind."""
        return self.nodes if is_node(query) else self.wanted

    def excess(self) -> Query | None:
        """Return a query that must lose its long poll, if there are too many."""
        if self.free >= 0:
            return None
        return next(iter(self.wanted), None) or next(iter(self.nodes), None)

    def may_start(self, query: Query) -> bool:
        """Whether the query may have a long poll without another losing one."""
        return query not in self and self.of(query).has_room and self.free > 0

    def next_waiting(self, query: Query) -> Query | None:
        """Return the query that should get the long poll of one without news: the last changed, if that is later.

        Where the query's kind has more long polls than it should, one of the other kind.
        """
        own = self.of(query)
        other = self.wanted if own is self.nodes else self.nodes
        return (other.next_waiting() if len(own) > own.size and other.has_room else None) or own.next_waiting(query)


def is_node(query: Query) -> bool:
    """Return whether the query is about what is registered on one node."""
    return kind_of(query).role is WatchRole.NODE
