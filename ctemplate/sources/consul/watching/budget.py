"""How many connections the watches may use: fewer for some time after Consul refused one. Pure; knows no queries."""

from __future__ import annotations

import math

SHED_REST = 60.0  # seconds before connections that Consul refused are tried again


class ConnectionBudget:
    """The connections that may be used now, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = self.connections = limit
        self._grow_at = -math.inf

    @property
    def grow_at(self) -> float:
        """When more connections may be used again, infinity if all may be used."""
        return self._grow_at if self.connections < self._limit else math.inf

    def halve(self, now: float) -> bool:
        """Halve the number after a refusal; return False where it was halved less than a second ago."""
        if now < self._grow_at - SHED_REST + 1:
            return False
        self._set(max(1, self.connections // 2), now)
        return True

    def grow(self, now: float) -> bool:
        """Double the number if it is time for that; return whether it is."""
        if now < self.grow_at:
            return False
        self._set(self.connections * 2, now)
        return True

    def _set(self, connections: int, now: float) -> None:
        self.connections = min(connections, self._limit)
        self._grow_at = now + SHED_REST
