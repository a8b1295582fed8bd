"""Whether an address still works, judged by the results of the requests sent to it.

A single failing request has its own cause: a missing right, a query that Consul does not know. Several requests
that fail in a row and succeeded before point to the address. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import field

from ctemplate.core.values import dataclass

FAILURE_THRESHOLD = 3
COOLDOWN = 30.0
"""Seconds between two rounds of all addresses: where none works, switching does not help."""


@dataclass(slots=True)
class AddressHealth:
    """One address: which queries were answered there, and which failed since the last answer."""

    _good: set[Hashable] = field(default_factory=set)
    _struck: set[Hashable] = field(default_factory=set)
    _failures: int = 0

    @property
    def has_served(self) -> bool:
        """Whether anything was ever answered."""
        return bool(self._good)

    def answered(self, question: Hashable) -> None:
        """Record a good answer."""
        self._good.add(question)
        if self._failures:
            self._struck.clear()
            self._failures = 0

    def failed(self, question: Hashable) -> bool:
        """Record a failure; return whether the address does not work any more."""
        if self._good and question not in self._good:
            return False
        self._struck.add(question)
        self._failures += 1
        return len(self._struck) >= FAILURE_THRESHOLD or (
            self._failures >= FAILURE_THRESHOLD and self._good <= self._struck
        )


@dataclass(slots=True)
class FailoverLimiter:
    """How many addresses were tried since one of them worked."""

    addresses: int
    _turns: int = 0
    _turned_at: float = -math.inf

    def served(self) -> None:
        """Record that an address works."""
        self._turns = 0

    def may_turn(self, now: float) -> bool:
        """Return whether the next address may be tried, and count it."""
        if self._turns >= self.addresses - 1:
            if now < self._turned_at + COOLDOWN:
                return False
            self._turns = 0
        self._turns, self._turned_at = self._turns + 1, now
        return True
