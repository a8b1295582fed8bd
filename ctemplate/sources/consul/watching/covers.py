"""Many queries asked as one: a thousand keys below a folder are one recursive long poll of that folder.

The answer of such a cover shows what exists. What it lacks is absent, or our token may not read it: only the query
itself can decide this, so it is asked once separately, and again whenever a known entry is missing. What a query has
answered itself is newer than the answer of a cover that was asked before it. A cover that Consul refuses, or that
returns far more than is wanted, is given up.

Pure: no await, no clock. The caller asks for what ``want`` and ``asked`` return, and hands every answer to ``answers``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ctemplate.core.model import Answer, Query
from ctemplate.queries import kind_of
from ctemplate.queries.kind import Cover

LEAST_COVERED = 8  # queries that a cover must stand for, unless it is wanted anyway
MOST_ENTRIES = 32  # of a cover's answer for each query that it stands for


class Covers:
    """Which queries are asked in place of the wanted ones, and what their answers say of these."""

    def __init__(self) -> None:
        self._wanted: frozenset[Query] = frozenset()
        self._covered: dict[Query, dict[str, Query]] = {}  # by their covers, then by the names of their entries
        self._cover_of: dict[Query, Query] = {}
        self._newest: dict[Query, Answer] = {}
        self._entries: dict[Query, Mapping[str, Any]] = {}  # of the newest answers of covers, by name
        self._own: dict[Query, int] = {}  # the index of what a query answered itself since its cover's last answer
        self._absent: set[Query] = set()  # those whose own answer said so, and no cover's said otherwise since
        self._given_up: set[Query] = set()
        self.has_changed = False

    def want(self, queries: Iterable[Query]) -> frozenset[Query]:
        """Replace the wanted queries; return what to ask in their place."""
        self._wanted = frozenset(queries)
        self._choose()
        return self.asked()

    def asked(self) -> frozenset[Query]:
        """Return what to ask now: covers, what has none, and what a cover's answer lacks."""
        self.has_changed = False
        return (self._wanted - self._cover_of.keys()) | self._covered.keys() | self.lacking

    def is_spare(self, query: Query) -> bool:
        """Whether a query is asked only in place of others, which can be asked by themselves."""
        return query in self._covered and query not in self._wanted

    def known(self, query: Query) -> Answer | None:
        """Return what the newest answer of a query's cover says of it, None where it does not show it."""
        cover = self._cover_of.get(query)
        answer = None if cover is None else self._newest.get(cover)
        if cover is None or answer is None:
            return None
        entry = self._entries[cover].get(_cover(query).name(query))
        if entry is None and query not in self._absent:
            return None
        value = () if entry is None else (entry,)
        return msgspec.structs.replace(answer, query=query, value=value, rejections=(), filtered=False)

    def answers(self, answer: Answer) -> Iterator[Answer]:
        """Yield the answers to wanted queries that an answer brings; afterwards other queries may have to be asked."""
        query = answer.query
        if query in self._covered:
            yield from self._of_cover(answer)
        elif query in self._cover_of:
            yield from self._of_covered(answer)
        elif query in self._wanted:
            yield answer

    def give_up(self, cover: Query) -> None:
        """Stop using a cover and any wider one: the queries that it covers are asked separately from now on."""
        covered = self._covered.get(cover)
        if covered:
            within = _within(next(iter(covered.values())))
            self._given_up.update(within[within.index(cover) :])
            self._choose()

    def _of_cover(self, answer: Answer) -> Iterator[Answer]:
        cover, covered = answer.query, self._covered[answer.query]
        before = self._entries.get(cover, {})
        is_first = cover not in self._newest
        name = _cover(next(iter(covered.values()))).entry_name
        newer = {each for each, query in covered.items() if answer.index < self._own.pop(query, 0)}
        now = {each: entry for entry in answer.value if (each := name(entry)) not in newer}
        self._newest[cover], self._entries[cover] = answer, now
        if cover in self._wanted:
            yield answer
        changed = [each for each, entry in now.items() if entry is not before.get(each)]
        for each in covered if is_first else (*changed, *(before.keys() - now.keys())):
            query = covered.get(each)
            if query is None or (now.get(each) == before.get(each) and not is_first):
                continue
            if each in now:
                self._absent.discard(query)
            self.has_changed |= is_first or (each in now) is not (each in before)
            if (found := self.known(query)) is not None:
                yield found
        if self.is_spare(cover) and len(now) > MOST_ENTRIES * len(covered):
            self.give_up(cover)

    def _of_covered(self, answer: Answer) -> Iterator[Answer]:
        """Yield an answer of what its cover's lacks, which shows whether it is absent."""
        query = answer.query
        if _cover(query).name(query) in self._entries.get(self._cover_of[query], {}):
            return  # its cover has reported it meanwhile, and reports the next change
        if not answer.value:
            self._absent.add(query)
            self.has_changed = True
        self._own[query] = answer.index
        yield answer

    @property
    def lacking(self) -> frozenset[Query]:
        """The queries that their cover's answer lacks, as long as the reason is unknown; they need no long poll."""
        return frozenset(
            query
            for cover, entries in self._entries.items()
            for name, query in self._covered[cover].items()
            if name not in entries and query not in self._absent
        )

    def _choose(self) -> None:
        """Choose covers: those that are wanted anyway, then the narrowest that stand for enough queries."""
        open_ = {query: within for query in self._wanted if (within := _within(query))}
        self._covered, self._cover_of = {}, {}
        for query, within in open_.items():
            if (cover := next((each for each in within if self._is_usable(each)), None)) is not None:
                self._assign(query, cover)
        below: dict[Query, list[Query]] = {}
        for query in open_.keys() - self._cover_of.keys():
            for cover in open_[query]:
                below.setdefault(cover, []).append(query)
        for cover in sorted(below.keys() - self._given_up, key=lambda each: -len(each.argument or "")):
            left = [query for query in below[cover] if query not in self._cover_of]
            if len(left) >= LEAST_COVERED:
                for query in left:
                    self._assign(query, cover)
        self._absent &= self._cover_of.keys()
        for query in self._own.keys() - self._cover_of.keys():
            del self._own[query]
        for cover in self._newest.keys() - self._covered.keys():
            del self._newest[cover], self._entries[cover]
        self.has_changed = True

    def _is_usable(self, cover: Query) -> bool:
        return cover in self._wanted and cover not in self._given_up

    def _assign(self, query: Query, cover: Query) -> None:
        self._cover_of[query] = cover
        self._covered.setdefault(cover, {})[_cover(query).name(query)] = query


def _within(query: Query) -> tuple[Query, ...]:
    cover = kind_of(query).cover
    return () if cover is None else cover.within(query)


def _cover(query: Query) -> Cover[Any]:
    """Return how a query's answer is found in a cover's; only for those that have one."""
    cover = kind_of(query).cover
    if cover is None:
        raise TypeError(f"{query} has no cover")
    return cover
