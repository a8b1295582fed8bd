"""Instances that fail together right after the source was out of sight: kept until they pass, at most a minute.

An agent that starts marks every check critical until it has run; one that was frozen lets checks time out. Changes
while the source is in sight do not concern this rule, and our own start is no break.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from ctemplate.core.model import Answer
from ctemplate.guard.evidence.entries import EntryValue, absent, is_in_use, is_large, key, merged, missed
from ctemplate.guard.evidence.hold import Cause, Hold
from ctemplate.guard.evidence.reports import BACK
from ctemplate.guard.rules import Change, keys, make_hold
from ctemplate.guard.rules.holding import Holding

SETTLING = 60.0  # seconds


class SettlingRule(Holding):
    """Until ``settles_at``, common failures among the entries of the last answer before a break are not accepted."""

    causes: ClassVar[frozenset[Cause]] = frozenset({Cause.MASS_FAILURE})

    settles_at: float = -math.inf
    _baseline: Answer | None = None

    def observe(self, change: Change) -> None:
        """Keep what was in use before the break and fails now, if it is a large part."""
        if change.has_gap:
            self._baseline = change.before if change.now >= self.settles_at else self._baseline
            self.settles_at = change.now + min(SETTLING, change.policy.hold)
        self.review(change.now)
        self._ended += tuple((hold, BACK) for hold in self.holds if not missed(hold.entries, change.new.value))
        still = ((hold, missed(hold.entries, change.new.value)) for hold in self.holds)
        self.holds = tuple(replace(hold, entries=entries) for hold, entries in still if entries)
        if change.is_news and change.now < self.settles_at:
            self._keep_failed(change)
        change.held.update(keys(self.holds))

    def _keep_failed(self, change: Change) -> None:
        before, new = self._baseline, change.new
        if before is None or change.policy.hold <= 0:
            return
        lost = missed(filter(is_in_use, before.value), new.value)
        others = change.held | self.held()
        others.update(map(key, absent(lost, new.value)))  # vanished; the loss rule judges that
        fresh = tuple(entry for entry in lost if key(entry) not in others)
        if fresh and is_large(before, new, len(lost), change.policy):
            until = change.now + min(change.policy.hold, SETTLING)
            cause = Cause.MASS_FAILURE
            self.holds += (make_hold(before, fresh, cause=cause, since=change.now, until=until, is_open=False),)

    def show(self, value: EntryValue, now: float) -> EntryValue:  # noqa: ARG002 - a rule's signature
        """Show the failing entries as they were before."""
        for hold in self.holds:
            value = merged(value, hold.entries, hold.query)
        return value

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End the holds; failures are accepted from now on."""
        released = Holding.release(self, service)
        self.settles_at = -math.inf if released else self.settles_at
        return released
