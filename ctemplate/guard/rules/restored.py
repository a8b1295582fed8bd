"""Instances that fail in an answer whose index went back: Consul's data was restored to an earlier moment.

The restored status is as old as the snapshot. Agents correct it when they next compare everything with the servers:
after one to two minutes, in large clusters after several. An instance that was in use stays so until its restored
status or checks change.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ctemplate.core.model import Instance
from ctemplate.guard.evidence.entries import Key, is_in_use, key
from ctemplate.guard.evidence.hold import Cause, Entry
from ctemplate.guard.rules import Change, make_hold
from ctemplate.guard.rules.holding import Holding, by_key

REPORTED = "their agents have reported again"


class RestoredRule(Holding):
    """Entries that were in use and have had a restored status since the index went back."""

    causes: ClassVar[frozenset[Cause]] = frozenset({Cause.RESTORED_STATUS})

    _restored: dict[Key, Instance] = msgspec.field(default_factory=dict)

    def observe(self, change: Change) -> None:
        """Keep what was in use and is not in an answer of an earlier moment."""
        self.review(change.now)
        if change.is_news:
            new = by_key(change.new.value)
            self.keep(lambda entry: self._is_unchanged(key(entry), new), change.new.value, REPORTED)
            if 0 < change.new.index < change.before.index and change.policy.hold > 0:
                self._hold_more(change, new)
        change.held.update(self.held())

    def _is_unchanged(self, each: Key, new: dict[Key, Instance]) -> bool:
        """Whether an instance still has its restored status; what an earlier process saw restored is not stored."""
        now = new.get(each)
        if now is None or is_in_use(now):
            return False
        restored = self._restored.setdefault(each, now)
        return (now.status, now.checks) == (restored.status, restored.checks)

    def _hold_more(self, change: Change, new: dict[Key, Instance]) -> None:
        others = change.held | self.held()
        used = {each: entry for each, entry in by_key(change.before.value).items() if is_in_use(entry)}
        failing = {each: new[each] for each in used if each in new and not is_in_use(new[each]) and each not in others}
        if failing:
            self._restored = {each: self._restored[each] for each in self.held() & self._restored.keys()} | failing
            entries: tuple[Entry, ...] = tuple(used[each] for each in failing)
            until = change.now + change.policy.hold
            cause = Cause.RESTORED_STATUS
            self.holds += (
                make_hold(change.before, entries, cause=cause, since=change.now, until=until, is_open=False),
            )
