"""Entries that vanish: kept until a consistent read, the token's rights and the data's history prove the loss.

Small losses within a minute are added up, so that a series of answers cannot remove what one answer may not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from ctemplate.core.model import Answer, Doubt, Instance, Query
from ctemplate.guard.evidence.entries import (
    FEW,
    EntryValue,
    absent,
    is_in_use,
    is_large,
    key,
    merged,
    missed,
    net_loss,
)
from ctemplate.guard.evidence.hold import ENDLESS, UNCONFIRMABLE, Cause, Entry, Hold
from ctemplate.guard.evidence.proofs import is_all_invalid, lists_consul
from ctemplate.guard.evidence.reports import BACK, CONFIRMED
from ctemplate.guard.rules import Change, keys, make_hold
from ctemplate.guard.rules.holding import Holding
from ctemplate.queries import Losses, kind_of

RECHECK = 30.0  # seconds after a confirmation failed until the next answer asks for another one
RIGHTS_RECHECK = 10.0  # seconds between two checks whether lost rights are back
LATER = 1.0  # seconds by which a check is delayed where too many coincide
LOSS_WINDOW = 60.0  # seconds in which losses that pass unconfirmed are counted together
PEAKS_KEPT = 64
MANY_NODES = 48  # nodes of a doubted loss, at most, for which rights are asked
LONGEST_ABSENCE = 60.0  # seconds for agents that left together to return
CutUntil = Callable[[Entry], float | None]
ABOUT_ABSENCE = frozenset({Cause.NODES_LEFT, Cause.NODE_RENAMED})
ABOUT_RIGHTS = frozenset({Cause.DENIED, Cause.FILTERED, Cause.WITHOUT_CONSUL})


class LossRule(Holding):
    """What vanished from one query's answers and is kept."""

    causes: ClassVar[frozenset[Cause]] = frozenset(Cause) - {
        Cause.PANIC,
        Cause.TAGS_GONE,
        Cause.MASS_FAILURE,
        Cause.RESTORED_STATUS,
        Cause.CHECKS_NOT_RUN,
        Cause.NODES_UNREACHABLE,
    }

    _peaks: tuple[tuple[float, EntryValue], ...] = ()
    _believed: tuple[Hold, ...] = ()

    def observe(self, change: Change) -> None:
        """Keep what the new answer lacks, if its loss is doubted."""
        self.review(change.now)
        self._ended += tuple((hold, BACK) for hold in self.holds if not missed(hold.entries, change.new.value))
        self.holds = tuple(self._still(hold, change) for hold in self.holds if missed(hold.entries, change.new.value))
        if change.is_news:
            self._doubt(change)
        change.held.update(keys(self.holds))

    def _still(self, hold: Hold, change: Change) -> Hold:
        is_open = hold.is_open or (hold.cause not in UNCONFIRMABLE and change.now >= hold.judged_at + RECHECK)
        return replace(hold, entries=missed(hold.entries, change.new.value), is_open=is_open)

    def _doubt(self, change: Change) -> None:
        before, used = change.before, tuple(filter(is_in_use, change.before.value))
        gone = absent(used, change.new.value)
        if change.policy.hold <= 0 or not gone:
            return
        cause = self._suspicion(change, gone)
        if cause is None:
            self._note_loss(used, change.now)
            until = change.now + LONGEST_ABSENCE
            passed = make_hold(before, gone, cause=Cause.NODES_LEFT, since=change.now, until=until, is_open=False)
            self._believe(passed, change.now)
            return
        until = change.now + change.policy.hold
        is_open = cause not in UNCONFIRMABLE
        self.holds += (make_hold(before, gone, cause=cause, since=change.now, until=until, is_open=is_open),)

    def _suspicion(self, change: Change, gone: tuple[Entry, ...]) -> Cause | None:
        """Return why the loss of entries in use is doubted, or None where it passes at once."""
        before, new = change.before, change.new
        reasons = {
            Cause.WITHOUT_CONSUL: change.is_whole_catalog and not lists_consul(new) and self._knew_consul(change),
            Cause.INVALID_ENTRIES: is_all_invalid(new),
            Cause.INDEX_FELL: 0 < new.index < before.index,
            Cause.INDEX_UNCHANGED: 0 < new.index == before.index,
            Cause.LEADERLESS: not new.known_leader,
            Cause.FILTERED: new.filtered and not before.filtered,
            Cause.LOSS: is_large(before, new, len(gone), change.policy) or self._is_large_together(change),
        }
        return next((cause for cause, applies in reasons.items() if applies), None)

    def _knew_consul(self, change: Change) -> bool:
        return lists_consul(change.before) or any(hold.cause is Cause.WITHOUT_CONSUL for hold in self.holds)

    # Losses that passed, together

    def _note_loss(self, used: EntryValue, now: float) -> None:
        """Remember what was in use before a loss that passes, unless more was in use later."""
        more = tuple(peak for peak in self._peaks[1 - PEAKS_KEPT :] if len(peak[1]) > len(used))
        self._peaks = (*more, (now, used))

    def _is_large_together(self, change: Change) -> bool:
        """Whether the policy is exceeded by what is missing of the most that was in use within the window."""
        self._peaks = tuple(peak for peak in self._peaks if change.now < peak[0] + LOSS_WINDOW)
        if not self._peaks:
            return False
        peak = self._peaks[0][1]
        return len(peak) >= FEW and net_loss(peak, change.new.value) > change.policy.max_loss * len(peak)

    # Losses that were accepted before several nodes were known to have left

    def _believe(self, loss: Hold, now: float) -> None:
        self._believed = (*(hold for hold in self._believed if hold.until > now), loss)[-PEAKS_KEPT:]

    def take_back(
        self,
        belongs: Callable[[Entry], bool],
        newest: Answer,
        now: float,
        *,
        like: Hold | None = None,
        cut_until: CutUntil = lambda _entry: None,
    ) -> bool:
        """Hold again what was accepted as lost within a minute and is still missing, where ``belongs`` holds for it.

        With ``like`` for that hold's cause and until its end. ``cut_until`` as for ``judge``. Return whether there is
        any.
        """
        held = tuple(entry for hold in self.holds for entry in hold.entries)
        lately = [hold for hold in self._believed if hold.until > now]
        found = [(hold, tuple(filter(belongs, missed(hold.entries, (*newest.value, *held))))) for hold in lately]
        terms: dict[str, Any] = {} if like is None else {"cause": like.cause, "until": like.until}
        back = tuple(replace(hold, entries=entries, judged_at=now, **terms) for hold, entries in found if entries)
        self.holds += tuple(part for hold in back for part in _by_contact(hold, cut_until))
        rest = ((hold, absent(hold.entries, entries)) for hold, entries in found)
        self._believed = tuple(replace(hold, entries=entries) for hold, entries in rest if entries)
        return bool(back)

    # Confirmation

    def judge(
        self,
        verdict: Callable[[Hold], Cause | None],
        *,
        limit: float,
        now: float,
        cut_until: CutUntil = lambda _entry: None,
    ) -> None:
        """Settle the open holds: the verdict names why a loss is still not accepted, or None where it is real.

        ``cut_until`` returns until when an entry was held, as its node was out of contact, before it left with that.
        """
        judged = [(hold, self._judged(hold, verdict, limit, now)) for hold in self.holds]
        self._ended += tuple((hold, CONFIRMED) for hold, left in judged if left is None)
        self.holds = tuple(
            part
            for hold, left in judged
            if left is not None
            for part in (_by_contact(left, cut_until) if hold.is_open else (left,))
        )
        if any(left is None for _, left in judged):
            self._peaks = ()
        for hold, left in judged:
            if left is None:
                until = hold.since + LONGEST_ABSENCE
                self._believe(replace(hold, cause=Cause.NODES_LEFT, until=until, is_open=False), now)

    def _judged(self, hold: Hold, verdict: Callable[[Hold], Cause | None], limit: float, now: float) -> Hold | None:
        if not hold.is_open:
            return hold
        cause = verdict(hold)
        if cause is None:
            return None
        until = math.inf if cause in ENDLESS else hold.since + limit
        until = min(until, hold.since + LONGEST_ABSENCE) if cause in ABOUT_ABSENCE else until
        return replace(hold, cause=cause, until=until, is_open=False, judged_at=now)

    def part(self, belongs: Callable[[Entry], bool]) -> None:
        """Check the entries of open holds for which ``belongs`` is true separately from the others."""
        parted: list[Hold] = []
        for hold in self.holds:
            inside = tuple(filter(belongs, hold.entries)) if hold.is_open else ()
            outside = absent(hold.entries, inside)
            parted += [replace(hold, entries=part) for part in (inside, outside) if part]
        self.holds = tuple(parted)

    @property
    def has_doubts(self) -> bool:
        """Whether a confirmation is still due."""
        return any(hold.is_open for hold in self.holds)

    def is_awaited(self, now: float, grace: float) -> bool:
        """Whether a doubt is so recent that its confirmation may arrive in a moment."""
        return any(hold.is_open and now < hold.since + grace for hold in self.holds)

    def doubt(self) -> Doubt | None:
        """Return what a source has to confirm."""
        entries = [entry for hold in self.holds if hold.is_open for entry in hold.entries]
        return _doubt(self.holds[0].query, entries) if entries else None

    def reopen(self, cause: Cause) -> None:
        """Have the holds with this cause confirmed again."""
        self.holds = tuple(replace(hold, is_open=True) if hold.cause is cause else hold for hold in self.holds)

    def recheck(self, now: float, *, is_late: bool) -> bool:
        """Have lost rights confirmed again, if it is time, or later with others; return whether it is."""
        due = [rechecked_at(hold) <= now for hold in self.holds]
        then: dict[str, Any] = {"judged_at": now - RIGHTS_RECHECK + LATER} if is_late else {"is_open": True}
        self.holds = tuple(
            replace(hold, **then) if is_due else hold for hold, is_due in zip(self.holds, due, strict=True)
        )
        return any(due)

    # What is shown, and when

    def show(self, value: EntryValue, now: float) -> EntryValue:  # noqa: ARG002 - a rule's signature
        """Show what vanished beside the new entries."""
        for hold in self.holds:
            value = merged(value, hold.entries, hold.query)
        return value

    def due_at(self, now: float) -> float:
        """Return when a hold ends, has to be reported, or its rights have to be checked again."""
        return min(Holding.due_at(self, now), min(map(rechecked_at, self.holds), default=math.inf))


def _by_contact(hold: Hold, cut_until: CutUntil) -> tuple[Hold, ...]:
    """Part entries that left with their nodes by whether these were out of contact: those stay as long as for that."""
    if hold.cause is not Cause.NODES_LEFT:
        return (hold,)
    ends = {key(entry): until for entry in hold.entries if (until := cut_until(entry)) is not None}
    cut = tuple(entry for entry in hold.entries if key(entry) in ends)
    until = min(ends.values(), default=hold.until)
    parts = (
        replace(hold, entries=absent(hold.entries, cut)),
        replace(hold, entries=cut, cause=Cause.UNREACHABLE_LEFT, until=until),
    )
    return tuple(part for part in parts if part.entries)


def rechecked_at(hold: Hold) -> float:
    """Return when to check whether rights are back; infinity where the hold is not about rights."""
    is_about_rights = hold.cause in ABOUT_RIGHTS and not hold.is_open
    return hold.judged_at + RIGHTS_RECHECK if is_about_rights else math.inf


def _doubt(query: Query, entries: list[Entry]) -> Doubt:
    services = {entry.name for entry in entries}
    nodes = {entry.node for entry in entries if isinstance(entry, Instance)}
    return Doubt(query=query, services=tuple(sorted(services)), nodes=tuple(sorted(nodes)[:MANY_NODES]))


def is_whole_catalog(query: Query, *, is_scoped: bool) -> bool:
    """Whether a query lists all services of a datacenter, which include Consul's own."""
    is_list = kind_of(query).losses is Losses.NAMES
    return is_list and not (query.ns or query.partition or query.peer or is_scoped)
