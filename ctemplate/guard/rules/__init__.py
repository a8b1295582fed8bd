"""The guard's rules: one a module, one object of each for a query, all with the methods of ``Rule``."""

from __future__ import annotations

from dataclasses import field
from typing import Protocol

from ctemplate.core.model import Answer
from ctemplate.core.settings import GuardPolicy
from ctemplate.core.values import dataclass
from ctemplate.guard.evidence.entries import EntryValue, Key, key
from ctemplate.guard.evidence.hold import Entry, Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Two answers to one query: ``before`` as shown, with what was kept in use, ``new`` as it arrived.

    ``is_news``: their values differ. ``has_gap``: the source was out of sight in between, while we watched.
    ``is_whole_catalog``: they list all services of a datacenter. ``held`` are the keys of the entries that this rule
    and the rules before it keep.
    """

    before: Answer
    new: Answer
    policy: GuardPolicy
    now: float
    is_news: bool = True
    has_gap: bool = False
    is_whole_catalog: bool = False
    held: set[Key] = field(default_factory=set)


class Rule(Protocol):
    """One reason to show something other than the newest answer to a query. Seconds are the caller's ``now``."""

    @property
    def is_active(self) -> bool:
        """Whether time alone may change what the rule shows or reports."""

    def observe(self, change: Change) -> None:
        """Take a new answer, and decide which entries of the previous one to keep."""

    def show(self, value: EntryValue, now: float) -> EntryValue:
        """Return what to show in place of a value."""

    def due_at(self, now: float) -> float:
        """Return when ``review`` or ``report`` has something to do, infinity for never."""

    def review(self, now: float) -> None:
        """End what is over."""

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End the holds on a service, or all; return them."""

    def report(self, now: float) -> tuple[list[Hold], list[tuple[Hold, str]]]:
        """Return the holds to report as begun, and those that ended with the way they did; each once."""

    def dump(self) -> tuple[Hold, ...]:
        """Return what a later process needs."""

    def restore(self, holds: tuple[Hold, ...]) -> None:
        """Continue with what all rules of an earlier process dumped."""


def make_hold(before: Answer, entries: tuple[Entry, ...], **fields: object) -> Hold:
    """Return a hold on entries of an answer."""
    return Hold(
        query=before.query,
        entries=entries,
        index=before.index,
        session=before.session,
        was_filtered=before.filtered,
        **fields,  # type: ignore[arg-type]  # the rest of Hold's
    )


def keys(holds: tuple[Hold, ...]) -> set[Key]:
    """Return the keys of all entries of some holds."""
    return {key(entry) for hold in holds for entry in hold.entries}
