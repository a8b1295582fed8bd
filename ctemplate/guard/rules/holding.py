"""What all rules that hold entries share: time limits, release, reports and dump."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import ClassVar

import msgspec

from ctemplate.core.model import Instance
from ctemplate.core.settings import GuardPolicy
from ctemplate.guard.evidence.entries import EntryValue, absent, is_in_use, key, replaced_entries
from ctemplate.guard.evidence.hold import UNCONFIRMABLE, Cause, Entry, Hold
from ctemplate.guard.evidence.reports import BACK, EXPIRED, UNWANTED
from ctemplate.guard.rules import keys

CONFIRM_GRACE = 3.0  # seconds for a confirmation to arrive before a doubted loss counts as held and is reported


class Holding(msgspec.Struct):
    """The holds of one rule, and those that ended since the last report."""

    causes: ClassVar[frozenset[Cause]] = frozenset()

    holds: tuple[Hold, ...] = ()
    _ended: tuple[tuple[Hold, str], ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether time alone may change anything."""
        return bool(self.holds or self._ended)

    def show(self, value: EntryValue, now: float) -> EntryValue:  # noqa: ARG002 - others depend on it
        """Show held entries in place of failing ones."""
        return (
            replaced_entries(value, (entry for hold in self.holds for entry in hold.entries)) if self.holds else value
        )

    def due_at(self, now: float) -> float:  # noqa: ARG002 - others depend on it
        """Return when a hold ends or has to be reported."""
        if self._ended:
            return -math.inf
        ends = (min(hold.until, math.inf if hold.is_reported else reported_at(hold)) for hold in self.holds)
        return min(ends, default=math.inf)

    def review(self, now: float) -> None:
        """End the holds whose time is over."""
        self._ended += tuple((hold, EXPIRED) for hold in self.holds if hold.until <= now)
        self.holds = tuple(hold for hold in self.holds if hold.until > now)

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End the holds on a service, or all."""
        parts = [(hold, hold.entries_of(service)) for hold in self.holds]
        rest = ((hold, absent(hold.entries, part)) for hold, part in parts)
        self.holds = tuple(replace(hold, entries=left) for hold, left in rest if left)
        return tuple(replace(hold, entries=part) for hold, part in parts if part)

    def report(self, now: float) -> tuple[list[Hold], list[tuple[Hold, str]]]:
        """Return the holds that are old enough, and those that ended; an unreported hold ends without a report."""
        fresh = [hold for hold in self.holds if not hold.is_reported and reported_at(hold) <= now]
        self.holds = tuple(
            replace(hold, is_reported=hold.is_reported or reported_at(hold) <= now) for hold in self.holds
        )
        ended, self._ended = [(hold, how) for hold, how in self._ended if hold.is_reported or how == EXPIRED], ()
        return fresh, ended

    def end_all(self) -> list[tuple[Hold, str]]:
        """Return what to report when the query is not wanted any more."""
        return [*self._ended, *((hold, UNWANTED) for hold in self.holds)]

    def dump(self) -> tuple[Hold, ...]:
        """Return all holds."""
        return self.holds

    def restore(self, holds: tuple[Hold, ...]) -> None:
        """Take over the holds that this rule made in an earlier process."""
        self.holds = tuple(hold for hold in holds if hold.cause in self.causes)

    def follow(self, before: GuardPolicy, policy: GuardPolicy) -> None:
        """Hold as long as another policy says."""
        self.holds = tuple(hold.timed(before.hold, policy.hold) for hold in self.holds)

    def keep(self, stays: Callable[[Entry], bool], value: EntryValue, otherwise: str = BACK) -> None:
        """Drop the entries that do not stay; report how, by whether they are in use again."""
        kept = []
        for hold in self.holds:
            left = tuple(filter(stays, hold.entries))
            if left:
                kept.append(hold if len(left) == len(hold.entries) else replace(hold, entries=left))
            else:
                self._ended += ((hold, BACK if _all_in_use(hold.entries, value) else otherwise),)
        self.holds = tuple(kept)

    def held(self) -> set[tuple[str, str]]:
        """Return the keys of everything held."""
        return keys(self.holds)


def _all_in_use(entries: Iterable[Entry], value: EntryValue) -> bool:
    used = {key(entry) for entry in value if is_in_use(entry)}
    return all(key(entry) in used for entry in entries)


def by_key(value: EntryValue) -> dict[tuple[str, str], Instance]:
    """Return instances by their keys."""
    return {key(instance): instance for instance in value}


def reported_at(hold: Hold) -> float:
    """Return when to report a hold: at once, or when it was not settled within a grace period."""
    is_patient = hold.is_open or hold.cause is Cause.CHECKS_NOT_RUN
    return hold.since + CONFIRM_GRACE if is_patient else hold.since


def renewed(hold: Hold) -> Hold:
    """Return a hold of an earlier process: to be confirmed again where possible, and reported."""
    return replace(hold, judged_at=-math.inf, is_open=hold.cause not in UNCONFIRMABLE, is_reported=False)
