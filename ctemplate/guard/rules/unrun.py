"""Instances that fail only for checks without a result: their agent has started and has not run them yet.

When the agents of all backends restart at once, Consul shows every check as critical with an empty output. A check
that had a result before and has none now proves nothing. Instances that were never in use stay out, as do those that
report their check themselves (TTL): there, an empty output is an ordinary report.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ctemplate.core.model import Instance, Status
from ctemplate.guard.evidence.entries import Key, checks_not_run, failing_checks, is_in_use, key
from ctemplate.guard.evidence.hold import Cause, Entry
from ctemplate.guard.rules import Change, make_hold
from ctemplate.guard.rules.holding import Holding, by_key

LONGEST_WAIT = 60.0  # seconds for a check to run
RUN = "the checks have run"


class UnrunRule(Holding):
    """Entries that wait for their checks to run, and entries in use that vanished lately, as leaving agents cause."""

    causes: ClassVar[frozenset[Cause]] = frozenset({Cause.CHECKS_NOT_RUN})

    _vanished: dict[Key, tuple[Instance, float]] = msgspec.field(default_factory=dict)

    def observe(self, change: Change) -> None:
        """Keep what was in use, or vanished a moment ago, and fails only for checks that have not run."""
        self.review(change.now)
        if change.is_news:
            new = by_key(change.new.value)
            self.keep(lambda entry: _waits(new.get(key(entry)), entry), change.new.value, RUN)
            self._hold_more(change, new)
        change.held.update(self.held())

    def _hold_more(self, change: Change, new: dict[Key, Instance]) -> None:
        used = {each: entry for each, entry in by_key(change.before.value).items() if is_in_use(entry)}
        lately = {each: old for each, old in self._vanished.items() if change.now < old[1] + LONGEST_WAIT}
        candidates = {each: entry for each, (entry, _) in lately.items()} | used
        others = change.held | self.held()
        fresh = tuple(
            entry for each, entry in candidates.items() if each not in others and _waits(new.get(each), entry)
        )
        gone = {each: (entry, change.now) for each, entry in used.items()}
        self._vanished = {each: old for each, old in (lately | gone).items() if each not in new}
        if fresh and change.policy.hold > 0:
            until = change.now + min(change.policy.hold, LONGEST_WAIT)
            cause = Cause.CHECKS_NOT_RUN
            self.holds += (make_hold(change.before, fresh, cause=cause, since=change.now, until=until, is_open=False),)


def _waits(instance: Instance | None, before: Entry) -> bool:
    """Whether an instance that was in use fails now, and only for checks that have not run."""
    if instance is None or instance.status is not Status.CRITICAL or not isinstance(before, Instance):
        return False
    if (instance.address, instance.port) != (before.address, before.port):
        return False
    unrun = checks_not_run(instance, before)
    return bool(unrun) and all(check.id in unrun for check in failing_checks(instance))
