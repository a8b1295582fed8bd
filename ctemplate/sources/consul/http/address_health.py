"""Whether an address still serves us, judged by what became of the questions put to it.

One question that fails alone says something of itself: a right that is lacking, a query that Consul does not know.
Several that fail in a row, and went well before, say something of the address. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import field

from ctemplate.core.values import dataclass

FAILURE_THRESHOLD = 3
COOLDOWN = 30.0
"""Seconds between two tours of all addresses: where none serves us, moving on is no help."""


@dataclass(slots=True)
class AddressHealth:
    """One address: what was answered there, and what failed since the last answer."""

    _good: set[Hashable] = field(default_factory=set)
    _struck: set[Hashable] = field(default_factory=set)
    _failures: int = 0

    @property
    def has_served(self) -> bool:
        """Whether anything was ever answered."""
        return bool(self._good)

    def answered(self, question: Hashable) -> None:
        """Take down a good answer."""
        self._good.add(question)
        if self._failures:
            self._struck.clear()
            self._failures = 0

    def failed(self, question: Hashable) -> bool:
        """Take down a failure; answer whether the address serves us no more."""
        if self._good and question not in self._good:
            return False
        self._struck.add(question)
        self._failures += 1
        return len(self._struck) >= FAILURE_THRESHOLD or (
            self._failures >= FAILURE_THRESHOLD and self._good <= self._struck
        )


@dataclass(slots=True)
class FailoverLimiter:
    """How far one went round the addresses since any of them served us."""

    addresses: int
    _turns: int = 0
    _turned_at: float = -math.inf

    def served(self) -> None:
        """Note that an address serves us."""
        self._turns = 0

    def may_turn(self, now: float) -> bool:
        """Answer whether the next address may be tried, and count it."""
        if self._turns >= self.addresses - 1:
            if now < self._turned_at + COOLDOWN:
                return False
            self._turns = 0
        self._turns, self._turned_at = self._turns + 1, now
        return True
