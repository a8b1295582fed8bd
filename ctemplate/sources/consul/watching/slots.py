"""Long polls that pass between queries: those that changed last have one.

Pure; knows nothing of what the queries are for, or of connections.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from ctemplate.core.model import Query

Polled = TypeVar("Polled", bound=Query)


class PollSlots(Generic[Polled]):
    """The queries of one kind that have a long poll, and those that wait for one, each with its last change.

    ``size`` is how many long polls this kind may have. A slot that is in use is never taken away to keep to a smaller
    size, only handed over between two rounds; see ``heir``.
    """

    def __init__(self) -> None:
        self.size = 0
        self._polled: OrderedDict[Polled, float] = OrderedDict()
        self._waiting: OrderedDict[Polled, float] = OrderedDict()

    def __contains__(self, query: object) -> bool:
        return query in self._polled

    def __len__(self) -> int:
        return len(self._polled)

    def __iter__(self) -> Iterator[Polled]:
        """Yield the polled queries, the one that did not change for longest first."""
        return iter(self._polled)

    @property
    def has_room(self) -> bool:
        """Whether one more may be polled."""
        return len(self._polled) < self.size

    def changed(self, query: Polled, now: float) -> None:
        """Note a change of a query, which is polled already or waits to be from now on."""
        if query in self._polled:
            self._polled[query] = now
            self._polled.move_to_end(query)
        elif self.size > 0:
            self._waiting[query] = now
            self._waiting.move_to_end(query)
            if len(self._waiting) > self.size:
                self._waiting.popitem(last=False)

    def start(self, query: Polled) -> None:
        """Count the query as polled from now on, behind those that changed later."""
        changed_at = self._waiting.pop(query, -math.inf)
        self._polled[query] = changed_at
        self._polled.move_to_end(query, last=changed_at > -math.inf)

    def stop(self, query: Polled) -> None:
        """Count the query as polled no longer."""
        del self._polled[query]

    def discard(self, query: Polled) -> None:
        """Let go of a query, polled or waiting."""
        self._polled.pop(query, None)
        self._waiting.pop(query, None)

    def heir(self, query: Polled | None = None) -> Polled | None:
        """Return the waiting query that changed last, provided that it changed later than a polled one."""
        heir = next(reversed(self._waiting), None)
        if heir is None or (query is not None and self._waiting[heir] <= self._polled[query]):
            return None
        return heir
