"""Instances that fail and come back: out at once, back in after a wait that grows with each failure.

Every failure adds a penalty that halves with time. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ctemplate.guard.losses import is_in_use, key
from ctemplate.model import Instance, Status

HALF_LIFE = 300.0  # seconds in which a penalty halves
LARGEST_FACTOR = 16.0  # of ``readd``
FORGOTTEN = 0.05  # a penalty below it counts no more


@dataclass(slots=True)
class Flap:
    """An instance's record: its penalty and when that was set, and when it may come back if it passes now."""

    penalty: float = 0.0
    at: float = 0.0
    ready_at: float | None = None

    def penalty_at(self, now: float) -> float:
        """Return what is left of the penalty."""
        return float(self.penalty * 0.5 ** ((now - self.at) / HALF_LIFE))


@dataclass(slots=True)
class Flaps:
    """The records of one service's instances."""

    _records: dict[tuple[str, str], Flap] = field(default_factory=dict)

    def note(self, before: Iterable[Instance], new: Iterable[Instance], readd: float, now: float) -> None:
        """Note who failed and who came back between two answers."""
        if readd <= 0:
            self._records.clear()
            return
        used = {key(instance) for instance in before if is_in_use(instance)}
        for instance in new:
            name = key(instance)
            if instance.status is Status.CRITICAL and name in used:
                left = self._records[name].penalty_at(now) if name in self._records else 0.0
                self._records[name] = Flap(penalty=left + 1.0, at=now)
            elif is_in_use(instance) and name not in used and name in self._records:
                flap = self._records[name]
                factor = min(2.0 ** (flap.penalty_at(now) - 1.0), LARGEST_FACTOR)
                flap.ready_at = now + readd * max(factor, 1.0)
        self._forget(now)

    def _forget(self, now: float) -> None:
        over = [name for name, flap in self._records.items() if flap.penalty_at(now) < FORGOTTEN]
        for name in over:
            del self._records[name]

    def shown(self, instances: tuple[Instance, ...], now: float) -> dict[tuple[str, str], Status]:
        """Return the status to show for those that wait to come back.

        Nobody waits where nobody else is in use: a wait must not empty a service.
        """
        waiting = {name for name, flap in self._records.items() if flap.ready_at is not None and flap.ready_at > now}
        used = [key(instance) for instance in instances if is_in_use(instance)]
        if all(name in waiting for name in used):
            for name in waiting.intersection(used):
                self._records[name].ready_at = now
            return {}
        return dict.fromkeys(waiting.intersection(used), Status.CRITICAL)

    def due_at(self, now: float) -> float:
        """Return when the next one may come back, infinity for never."""
        waits = (flap.ready_at for flap in self._records.values() if flap.ready_at is not None)
        return min((ready_at for ready_at in waits if ready_at > now), default=float("inf"))
