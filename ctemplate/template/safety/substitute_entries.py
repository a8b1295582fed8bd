"""The last good entries of what belongs to no service, such as keys: in use for a while in place of newer ones.

A key, or another owned entry, cannot be left out of a template that asks for it. Where its newest value cannot be used,
the one before stands in for it, so that everything else continues. Pure; must not know why the newer one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import field
from itertools import chain
from typing import Protocol

import msgspec

from ctemplate.core.model import Answer, OwnedEntry, Query, Rejection, Snapshot, reads_alike
from ctemplate.core.values import dataclass

Entries = tuple[OwnedEntry, ...]

GONE = "no longer exists"
"""Why the last good value of a key is in use that a template waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstituteEntries:
    """The last good entries of one thing, in use until a moment of the monotonic clock, and why.

    ``refused`` are the newest ones, by query: while they are the same, so is the verdict. It rests on the answers in
    ``evidence`` as well, where a service has what the thing wants.
    ``is_refused``: by a program that reads the texts; how long that lasts is not known here.
    """

    thing: str
    rejection: Rejection
    refused: Mapping[Query, Entries]
    good: Mapping[Query, Entries]
    until: float
    is_refused: bool = False
    evidence: Mapping[Query, Answer | None] = field(default_factory=dict)

    def lasts(self, snapshot: Snapshot) -> bool:
        """Whether the newest entries are still those that cannot be used."""
        if not all(reads_alike(snapshot.get(query), answer) for query, answer in self.evidence.items()):
            return False
        return all(entries_of(snapshot.get(query), self.thing) == found for query, found in self.refused.items())

    def answers(self) -> Iterable[Answer]:
        """Return the last good entries as answers, as a later process needs them."""
        return (Answer(query=query, value=entries) for query, entries in self.good.items() if entries)


class KnownEntries(Protocol):
    """What is known of the last good rendering."""

    def entries(self, thing: str, queries: Iterable[Query]) -> dict[Query, Entries] | None:
        """Return the last good entries of a thing by query; None where that is not known."""

    def answer(self, query: Query) -> Answer | None:
        """Return the last good answer to a query."""


@dataclass(slots=True, kw_only=True)
class EntryKeeper:
    """Decides whether the last good entries of a thing may stand in for its newest, and for how long.

    ``failing`` has the moment since when a thing has no usable entries, ``hold`` how long that may be, by name.
    """

    hold: Callable[[str], float]
    failing: dict[str, float] = field(default_factory=dict)

    def stand_in(
        self, rejection: Rejection, queries: Iterable[Query], snapshot: Snapshot, good: KnownEntries, now: float | None
    ) -> SubstituteEntries | None:
        """Return the last good entries of a thing in place of its newest; None where there are none, or not any more.

        Without ``now`` it is for a trial, and time does not count.
        """
        thing = rejection.thing
        about = [query for query in queries if thing in things_in(snapshot.get(query)) | things_in(good.answer(query))]
        refused = {query: entries_of(snapshot.get(query), thing) for query in about}
        found = good.entries(thing, about)
        if not found or found == refused:
            return None
        until = float("inf") if now is None else self.failing.setdefault(thing, now) + self.hold(thing)
        if now is not None and now >= until:
            newest = tuple(chain.from_iterable(refused.values()))
            if not newest or not all(one.can_be_left_out() for one in newest):
                return None
            found, until = dict.fromkeys(about, ()), float("inf")
        return SubstituteEntries(thing=thing, rejection=rejection, refused=refused, good=found, until=until)

    def still_valid(
        self, standing: Mapping[str, SubstituteEntries], snapshot: Snapshot, now: float
    ) -> dict[str, SubstituteEntries]:
        """Return those whose newest entries are still the same, and whose time is not over."""
        return {
            thing: one
            for thing, one in standing.items()
            if one.lasts(snapshot) and now < min(one.until, self._limit(thing)) and not one.is_refused
        }

    def _limit(self, thing: str) -> float:
        since = self.failing.get(thing)
        return float("inf") if since is None else since + self.hold(thing)

    def gone(self, awaited: Iterable[Query], snapshot: Snapshot, good: KnownEntries) -> tuple[Rejection, ...]:
        """Return what a template waits for and had before: keys that were deleted."""
        found: dict[str, None] = {}
        for query in awaited:
            answer = snapshot.get(query)
            if answer is not None and not answer.value and not answer.absent:
                found.update(dict.fromkeys(sorted(things_in(good.answer(query)))))
        return tuple(Rejection(service="", field="value", thing=thing, reason=GONE) for thing in found)

    def forget_all_but(self, things: Iterable[str]) -> None:
        """Forget since when any other thing has no usable entries."""
        known = frozenset(things)
        self.failing = {thing: since for thing, since in self.failing.items() if thing in known}


def entries_of(answer: Answer | None, thing: str) -> Entries:
    """Return the entries of a thing in an answer."""
    value = () if answer is None else answer.value
    return tuple(item for item in value if isinstance(item, OwnedEntry) and item.owner_name() == thing)


def things_in(answer: Answer | None) -> frozenset[str]:
    """Return the names of the things in an answer."""
    value = () if answer is None else answer.value
    return frozenset(item.owner_name() for item in value if isinstance(item, OwnedEntry))


def completed(known: Answer | None, answer: Answer, unusable: Collection[str]) -> Answer:
    """Return an answer with its entries of things that another one does not know, without those of unusable things.

    Where it has no entries of things, it is the one that is known already.
    """
    owned = tuple(item for item in answer.value if isinstance(item, OwnedEntry))
    if len(owned) < len(answer.value):
        return known or answer
    own, settled = () if known is None else known.value, things_in(known).union(unusable)
    more = (item for item in owned if item.owner_name() not in settled)
    return msgspec.structs.replace(answer, value=(*own, *more))


@dataclass(slots=True)
class EntryViews:
    """Snapshots in which some things have other entries; an answer that does not change stays the same value."""

    _spliced: dict[Query, tuple[Answer, tuple[tuple[str, Entries], ...], Answer]] = field(default_factory=dict)

    def of(self, snapshot: Snapshot, standing: Iterable[SubstituteEntries]) -> Snapshot:
        """Return the snapshot with the last good entries in place of its own about these things."""
        by_query: dict[Query, dict[str, Entries]] = {}
        for one in standing:
            for query, entries in one.good.items():
                by_query.setdefault(query, {})[one.thing] = entries
        if not by_query:
            return snapshot
        answers = {answer.query: answer for answer in snapshot}
        for query, good in by_query.items():
            if (answer := answers.get(query)) is not None:
                answers[query] = self._answer(answer, tuple(sorted(good.items())))
        view = Snapshot(answers)
        view.read = snapshot.read  # both views record what was read in the same place
        return view

    def _answer(self, answer: Answer, good: tuple[tuple[str, Entries], ...]) -> Answer:
        known = self._spliced.get(answer.query)
        if known is not None and known[0] is answer and known[1] == good:
            return known[2]
        made = msgspec.structs.replace(answer, value=_spliced(answer.value, dict(good)))
        self._spliced[answer.query] = answer, good, made
        return made


def _spliced(value: tuple[object, ...], good: dict[str, Entries]) -> tuple[object, ...]:
    """Return a value with other entries of some things, each where its first one stood, or at the end."""
    found: list[object] = []
    placed: set[str] = set()
    for item in value:
        thing = item.owner_name() if isinstance(item, OwnedEntry) else ""
        if thing and thing in good:
            found += good.pop(thing)
            placed.add(thing)
        elif thing not in placed:
            found.append(item)
    for entries in good.values():
        found += entries
    return tuple(found)
