"""Panic: when all instances of a service fail, they are shown as passing, where the operator configured that."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from ctemplate.core.model import Answer, Query, Status
from ctemplate.core.settings import GuardPolicy
from ctemplate.guard.evidence.entries import EntryValue, is_in_use, key, with_status
from ctemplate.guard.evidence.hold import Cause, Hold
from ctemplate.guard.rules import Change
from ctemplate.guard.rules.holding import Holding

NOT_ALL = "not all fail any more"
SWITCHED_OFF = "panic is switched off"
ALL_GONE = "all are gone"


class PanicRule(Holding, kw_only=True):
    """Starts only for a service that has worked."""

    causes: ClassVar[frozenset[Cause]] = frozenset({Cause.PANIC})

    query: Query
    policy: GuardPolicy | None
    may_start: bool = False

    def start(self, answer: Answer) -> None:
        """Take over what an earlier process stored."""
        self.may_start = bool(self.holds) or any(map(is_in_use, answer.value))

    def observe(self, change: Change) -> None:
        """Record whether the service has worked."""
        self.policy = change.policy
        self.may_start = self.may_start or any(map(is_in_use, change.before.value))

    def follow(self, before: GuardPolicy, policy: GuardPolicy) -> None:  # noqa: ARG002 - a rule's signature
        """Begin or end as another policy says."""
        self.policy = policy

    def show(self, value: EntryValue, now: float) -> EntryValue:
        """Show failing instances as passing where no other is in use."""
        failing = tuple(instance for instance in value if instance.status is Status.CRITICAL)
        works = any(map(is_in_use, value))
        is_on = self.policy is not None and self.policy.panic
        if not is_on or not failing or works:
            why = NOT_ALL if works or not failing else SWITCHED_OFF
            self._ended += tuple((hold, why if value else ALL_GONE) for hold in self.holds)
            self.holds, self.may_start = (), self.may_start and not works
            return value
        if not self.may_start:
            return value
        first = Hold(query=self.query, entries=failing, cause=Cause.PANIC, since=now, until=math.inf, is_open=False)
        self.holds = (replace(self.holds[0] if self.holds else first, entries=failing),)
        return with_status(value, dict.fromkeys(map(key, failing), Status.PASSING))

    def used(self, value: EntryValue) -> EntryValue:
        """Return a value with the instances that panic shows: they are in use, although they fail, and can be lost."""
        failing = {key(entry): Status.PASSING for hold in self.holds for entry in hold.entries}
        return with_status(value, failing) if failing else value

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End panic until an instance passes again."""
        released = tuple(hold for hold in self.holds if hold.entries_of(service))
        if released:
            self.holds, self.may_start = (), False
        return released
