"""Instances that fail only for checks without a result: their agent has started and has not run them yet.

When the agents of all backends restart at once, Consul shows every check as critical with an empty output. A check
that had a result before and has none now proves nothing. Nor does one that never shows an output, as some scripts do
not, right after its agent was away (out of contact, or removed with its node), or if most of a service, on several
nodes, fails in this way within a minute. Instances that were never in use stay out, as do those that report their check
themselves (TTL): there, an empty output is an ordinary report.
"""

from __future__ import annotations

import math
from typing import ClassVar

import msgspec

from ctemplate.core.model import Instance, Status
from ctemplate.guard.evidence.entries import (
    Key,
    are_most,
    checks_not_run,
    failing_checks,
    is_in_use,
    is_out_of_contact,
    key,
)
from ctemplate.guard.evidence.hold import Cause, Entry, Hold
from ctemplate.guard.rules import Change, keys, make_hold
from ctemplate.guard.rules.holding import Holding, by_key

LONGEST_WAIT = 60.0  # seconds for a check to run
RUN = "the checks have run"


class UnrunRule(Holding):
    """Entries that wait for their checks to run, and entries in use that vanished lately, as leaving agents cause."""

    causes: ClassVar[frozenset[Cause]] = frozenset({Cause.CHECKS_NOT_RUN})

    _vanished: dict[Key, tuple[Instance, float]] = msgspec.field(default_factory=dict)
    _silent: dict[Key, tuple[Instance, float]] = msgspec.field(default_factory=dict)
    _out_of_contact: dict[Key, float] = msgspec.field(default_factory=dict)  # when that was last seen; infinity for now

    def observe(self, change: Change) -> None:
        """Keep what was in use, or vanished a moment ago, and fails only for checks that have not run."""
        self.review(change.now)
        if change.is_news:
            new = by_key(change.new.value)
            self.keep(lambda entry: _waits(new.get(key(entry)), entry, was_away=True), change.new.value, RUN)
            self._hold_more(change, new)
            self._note_contact(change, new)
        change.held.update(self.held())

    def restore(self, holds: tuple[Hold, ...]) -> None:
        """Take over the holds, and what an earlier process saw out of contact."""
        Holding.restore(self, holds)
        self._out_of_contact = {
            key(entry): math.inf for hold in holds if hold.cause is Cause.NODES_UNREACHABLE for entry in hold.entries
        }

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End the holds; accept that their entries have failed."""
        released = Holding.release(self, service)
        for each in keys(released):
            self._silent.pop(each, None)
        return released

    def _hold_more(self, change: Change, new: dict[Key, Instance]) -> None:
        used = {each: entry for each, entry in by_key(change.before.value).items() if is_in_use(entry)}
        lately = {each: old for each, old in self._vanished.items() if change.now < old[1] + LONGEST_WAIT}
        candidates = {each: entry for each, (entry, _) in lately.items()} | used
        others = change.held | self.held()
        waiting = {
            each: entry
            for each, entry in candidates.items()
            if each not in others and _waits(new.get(each), entry, was_away=True)
        }
        away = lately.keys() | {each for each, at in self._out_of_contact.items() if change.now < at + LONGEST_WAIT}
        sure = [entry for each, entry in waiting.items() if _waits(new[each], entry, was_away=each in away)]
        silent = self._failed_in_silence(waiting, new, others, change.now)
        held = (entry for hold in self.holds for entry in hold.entries if isinstance(entry, Instance))
        failing = [*silent, *held]
        in_use = sum(map(is_in_use, change.new.value))
        fresh = tuple(silent if are_most(failing, in_use, max_loss=change.policy.max_loss) else sure)
        gone = {each: (entry, change.now) for each, entry in used.items()}
        self._vanished = {each: old for each, old in (lately | gone).items() if each not in new}
        if fresh and change.policy.hold > 0:
            until = change.now + min(change.policy.hold, LONGEST_WAIT)
            cause = Cause.CHECKS_NOT_RUN
            self.holds += (make_hold(change.before, fresh, cause=cause, since=change.now, until=until, is_open=False),)

    def _failed_in_silence(
        self, fresh: dict[Key, Instance], new: dict[Key, Instance], others: set[Key], now: float
    ) -> list[Instance]:
        """Return what has failed within the time that a check needs, only for checks that show no result."""
        known = {
            each: (entry, at)
            for each, (entry, at) in self._silent.items()
            if now < at + LONGEST_WAIT and each not in others and _waits(new.get(each), entry, was_away=True)
        }
        self._silent = {each: (entry, now) for each, entry in fresh.items()} | known
        return [entry for entry, _ in self._silent.values()]

    def _note_contact(self, change: Change, new: dict[Key, Instance]) -> None:
        """Record which instances are out of contact, and when those that are back were last."""
        known = {each: min(at, change.now) for each, at in self._out_of_contact.items()}
        self._out_of_contact = {each: at for each, at in known.items() if change.now < at + LONGEST_WAIT} | {
            each: math.inf for each, instance in new.items() if is_out_of_contact(instance)
        }


def _waits(instance: Instance | None, before: Entry, *, was_away: bool) -> bool:
    """Whether an instance that was in use fails now, and only for checks that have not run."""
    if instance is None or instance.status is not Status.CRITICAL or not isinstance(before, Instance):
        return False
    if (instance.address, instance.port) != (before.address, before.port):
        return False
    unrun = checks_not_run(instance, before, was_away=was_away)
    return bool(unrun) and all(check.id in unrun for check in failing_checks(instance))
