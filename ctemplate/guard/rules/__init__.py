"""The guard's rules: one a module, one object of each for a query, all with the methods of ``Rule``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ctemplate.core.model import Answer
from ctemplate.core.settings import GuardPolicy
from ctemplate.guard.evidence.entries import EntryValue, Key, key
from ctemplate.guard.evidence.hold import Entry, Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Two answers to one query: ``before`` with what was kept in use as it was shown, ``new`` as it came.

    ``is_news``: their values differ. ``has_gap``: the source was out of sight in between, while we watched.
    ``is_whole_catalog``: they list all services of a datacenter. ``held`` are the keys of the entries that a rule
    keeps, with those of the rules asked before.
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
    """One reason to show something else than the newest answer to a query. Seconds are the caller's ``now``."""

    @property
    def is_active(self) -> bool:
        """Whether time alone may change what the rule shows or has to say."""

    def observe(self, change: Change) -> None:
        """Take a new answer, and decide what is kept of the one before."""

    def show(self, value: EntryValue, now: float) -> EntryValue:
        """Return what to show in the place of a value."""

    def due_at(self, now: float) -> float:
        """Return when ``review`` or ``report`` has something to do, infinity for never."""

    def review(self, now: float) -> None:
        """End what is over."""

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End what is held of a service, or everything; return it."""

    def report(self, now: float) -> tuple[list[Hold], list[tuple[Hold, str]]]:
        """Return the holds to be reported as begun, and those as ended and how; each once."""

    def dump(self) -> tuple[Hold, ...]:
        """Return what a later process needs."""

    def restore(self, holds: tuple[Hold, ...]) -> None:
        """Go on with what an earlier process dumped, of all rules."""


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
