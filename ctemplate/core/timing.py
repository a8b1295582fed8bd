"""Pure time policies: when to retry, when a burst is over, how often something may happen.

Every ``now`` is seconds on one monotonic clock of the caller; only ``RunningClock`` reads one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import field

from ctemplate.core.section import Seconds, Section
from ctemplate.core.values import dataclass


class Backoff(Section, frozen=True, kw_only=True, rename={"first": "backoff", "ceiling": "max_backoff"}):
    """Delays that double from ``first`` to ``ceiling`` seconds, each drawn at random to keep clients apart."""

    first: Seconds = Seconds(0.25)
    """Quick enough that an agent's restart is hardly seen."""

    ceiling: Seconds = Seconds(60.0)
    """A minute keeps a fleet from hammering a struggling server."""

    def delay(self, failures: int, draw: float | None = None) -> float:
        """Return the delay in seconds after that many failures in a row (1 or more).

        The delay is drawn evenly between half of the step and the whole of it; ``draw`` in [0, 1) fixes it.
        """
        step = min(self.ceiling, self.first * 2.0 ** min(max(failures, 1) - 1, 62))
        share = random.random() if draw is None else draw  # noqa: S311 - jitter needs no secrecy
        return step * (0.5 + share / 2)


def jittered(interval: float, draw: float | None = None) -> float:
    """Return the interval less up to a tenth, drawn at random, so that clients that started together drift apart.

    ``draw`` in [0, 1) fixes it.
    """
    share = random.random() if draw is None else draw  # noqa: S311 - jitter needs no secrecy
    return interval * (1 - share / 10)


class Wait(Section, frozen=True, kw_only=True):
    """``[wait]``: how long a burst of changes is gathered: quiet for ``min`` seconds, but never later than ``max``."""

    min: Seconds = Seconds(0.1)
    max: Seconds = Seconds(2.0)


@dataclass(slots=True, kw_only=True)
class Debounce:
    """Reports when a burst is due: after ``wait.min`` quiet seconds, at most ``wait.max`` after its first change."""

    wait: Wait
    _first: float | None = None
    _latest: float = 0.0

    @property
    def is_pending(self) -> bool:
        """Return whether a change was noted and not taken yet."""
        return self._first is not None

    def note(self, now: float) -> None:
        """Note a change."""
        self._latest = now
        if self._first is None:
            self._first = now

    def due_at(self) -> float | None:
        """Return the moment when the burst counts as over, or None when nothing is pending."""
        if self._first is None:
            return None
        return min(self._latest + self.wait.min, self._first + self.wait.max)

    def take(self, now: float) -> bool:
        """Take the burst if it is due; return whether it was."""
        due = self.due_at()
        if due is None or due > now:
            return False
        self._first = None
        return True


@dataclass(slots=True, kw_only=True)
class TokenBucket:
    """Allows ``burst`` events at once and one per ``interval`` seconds in the long run."""

    interval: float
    burst: int = 1
    _level: float = field(default=0.0, init=False)
    _updated: float | None = field(default=None, init=False)

    def delay(self, now: float) -> float:
        """Take one token; return how many seconds to wait before acting on it, 0.0 when it was there already."""
        if self.interval <= 0:
            return 0.0
        if self._updated is None:
            self._level = float(self.burst)
        else:
            self._level = min(float(self.burst), self._level + (now - self._updated) / self.interval)
        self._updated = now
        self._level -= 1.0
        return max(0.0, -self._level * self.interval)


READ_EVERY = 5.0  # seconds between two readings of a running clock, at most, while the process runs
LONGEST_GAP = 15.0  # seconds between two readings until the process counts as stopped in between


@dataclass(slots=True, kw_only=True)
class RunningClock:
    """A monotonic clock that stands still while the process does: stopped by a signal, a debugger or the host.

    Otherwise all time limits would be over when the process continues, before it reads what has happened meanwhile.
    """

    clock: Callable[[], float] = time.monotonic
    _read_at: float | None = None
    _stood: float = 0.0

    def __call__(self) -> float:
        """Return the seconds on the clock; it has to be read every ``READ_EVERY`` seconds."""
        now = self.clock()
        gap = now - (now if self._read_at is None else self._read_at)
        self._stood += gap - READ_EVERY if gap > LONGEST_GAP else 0.0
        self._read_at = now
        return now - self._stood
