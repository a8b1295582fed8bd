"""Instances that fail and come back: out at once, back in after a wait that grows with each failure.

Every failure adds a penalty that halves with time.
"""

from __future__ import annotations

import math
from dataclasses import field

from ctemplate.core.model import Status
from ctemplate.core.values import dataclass
from ctemplate.guard.evidence.entries import EntryValue, Key, is_in_use, key, with_status
from ctemplate.guard.evidence.hold import Hold
from ctemplate.guard.rules import Change

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
class FlappingRule:
    """The records of one service's instances. Holds nothing: it only has instances wait."""

    settles_at: float = -math.inf
    _records: dict[Key, Flap] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        """Return whether an instance waits, or may have to."""
        return any(flap.ready_at is not None for flap in self._records.values())

    def observe(self, change: Change) -> None:
        """Record which instances failed and which came back; an instance that another rule holds has not failed."""
        if not change.is_news:
            return
        readd = 0.0 if change.now < self.settles_at else change.policy.readd
        if readd <= 0:
            self._records.clear()
            return
        used = {key(instance) for instance in change.before.value if is_in_use(instance)}
        for instance in change.new.value:
            name = key(instance)
            if instance.status is Status.CRITICAL and name in used and name not in change.held:
                left = self._records[name].penalty_at(change.now) if name in self._records else 0.0
                self._records[name] = Flap(penalty=left + 1.0, at=change.now)
            elif is_in_use(instance) and name not in used and name in self._records:
                flap = self._records[name]
                factor = min(2.0 ** (flap.penalty_at(change.now) - 1.0), LARGEST_FACTOR)
                flap.ready_at = change.now + readd * max(factor, 1.0)
        self._forget(change.now)

    def _forget(self, now: float) -> None:
        over = [name for name, flap in self._records.items() if flap.penalty_at(now) < FORGOTTEN]
        for name in over:
            del self._records[name]

    def show(self, value: EntryValue, now: float) -> EntryValue:
        """Show instances that wait to come back as failing.

        An instance does not wait if no other instance is in use: waiting must not empty a service.
        """
        waiting = {name for name, flap in self._records.items() if flap.ready_at is not None and flap.ready_at > now}
        used = [key(instance) for instance in value if is_in_use(instance)]
        if all(name in waiting for name in used):
            for name in waiting.intersection(used):
                self._records[name].ready_at = now
            return value
        statuses = dict.fromkeys(waiting.intersection(used), Status.CRITICAL)
        return with_status(value, statuses) if statuses else value

    def due_at(self, now: float) -> float:  # noqa: ARG002 - a rule's signature
        """Return when the next one may come back, infinity for never."""
        return min((flap.ready_at for flap in self._records.values() if flap.ready_at is not None), default=math.inf)

    def review(self, now: float) -> None:
        """Forget the waits that are over, and with them nothing of the penalties."""
        for flap in self._records.values():
            flap.ready_at = None if flap.ready_at is not None and flap.ready_at <= now else flap.ready_at

    def release(self, service: str | None) -> tuple[Hold, ...]:  # noqa: ARG002 - a rule's signature
        """Release nothing."""
        return ()

    def report(self, now: float) -> tuple[list[Hold], list[tuple[Hold, str]]]:  # noqa: ARG002 - a rule's signature
        """Report nothing: waits are short, and frequent."""
        return [], []

    def dump(self) -> tuple[Hold, ...]:
        """Keep nothing for a later process."""
        return ()

    def restore(self, holds: tuple[Hold, ...]) -> None:
        """Take nothing from an earlier process."""
