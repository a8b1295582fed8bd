"""Find by trial the owners of a line's forbidden values, or of printed texts, where the text does not show them.

Knows passes only by their violations, or by how often they print each text.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field
from itertools import chain
from typing import Generic, TypeAlias, TypeVar

from ctemplate.core.errors import TemplateError
from ctemplate.core.values import dataclass

MAX_TRIALS = 200
"""Passes of one template, at most, to find the owner of a value."""


One = TypeVar("One")


@dataclass(slots=True, kw_only=True)
class Search(Generic[One]):
    """Leaves services, or instances, out of passes; ``without`` returns whether the line still fails then.

    ``kept`` are those that are known to be fine together.
    """

    where: str
    without: Callable[[Iterable[One]], bool]
    trials: int = 0
    _found: list[One] = field(default_factory=list)
    kept: list[One] = field(default_factory=list)

    def guilty(self, candidates: tuple[One, ...]) -> tuple[One, ...]:
        """Return the candidates without which the line is fine; none if others would have to go too.

        Of several that fail only together, the first ones stay. Once all trials are made, only some are returned: the
        others are found in the next pass.
        """
        if not candidates or self._violates(candidates):
            return ()
        with contextlib.suppress(_TrialsSpentError):
            self._search(candidates, frozenset(candidates))
        return tuple(self._found)

    def _search(self, suspects: tuple[One, ...], candidates: frozenset[One]) -> None:
        """Find the suspects that have to go, beside the candidates that are kept so far; some of them have to."""
        if not suspects[1:]:
            self._found += suspects
            return
        for half in (suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]):
            if self._violates(candidates.difference(self.kept, half)):
                self._search(half, candidates)
            else:
                self.kept += half

    def _violates(self, left_out: Iterable[One]) -> bool:
        """Whether the line fails although these are left out."""
        self.trials += 1
        if self.trials > MAX_TRIALS and self._found:
            raise _TrialsSpentError
        if self.trials > MAX_TRIALS:
            what = f"cannot tell whose value must not be printed after {MAX_TRIALS} trials; use | quote or | comment"
            raise TemplateError(self.where, what)
        return self.without(left_out)


PrintedText: TypeAlias = tuple[str, str]
"""A line of a template, and a text that it printed."""

CountPrints: TypeAlias = Callable[[Collection[str]], Mapping[PrintedText, int] | None]
"""Returns how often each text is printed without some services; None where nothing can be told."""

_Half: TypeAlias = tuple[str, ...]


def printers(
    totals: Mapping[PrintedText, int], candidates: Sequence[str], count: CountPrints
) -> dict[PrintedText, tuple[str, ...]]:
    """Return the services that print each of these texts, as often as each does; without the texts that stay unclear.

    All texts are searched for at the same time: in each round the candidates are in parts, half as large as before, and
    of every text it is known which parts print it. One trial leaves out the second halves of several parts, as long as
    no text is printed by two of these.
    """
    others = count(candidates)
    if others is None:
        return {}
    unclear = {text for text in totals if others.get(text, 0)}
    parts: dict[_Half, dict[PrintedText, int]] = {tuple(candidates): dict(totals)}
    trials = 1
    while any(part[1:] for part in parts):
        halved: dict[_Half, dict[PrintedText, int]] = {part: texts for part, texts in parts.items() if not part[1:]}
        for group in _apart(part for part in parts.items() if part[0][1:]):
            trials += 1
            halves = {part: (part[: len(part) // 2], part[len(part) // 2 :]) for part, _ in group}
            left = count(tuple(chain.from_iterable(second for _, second in halves.values())))
            if left is None or trials > MAX_TRIALS:
                return {}
            for part, texts in group:
                first, second = halves[part]
                gone = {text: totals[text] - left.get(text, 0) for text in texts}
                unclear.update(text for text, number in gone.items() if not 0 <= number <= texts[text])
                halved[first] = {text: number - gone[text] for text, number in texts.items() if number > gone[text]}
                halved[second] = {text: number for text, number in gone.items() if number > 0}
        parts = {part: texts for part, texts in halved.items() if texts}
    found: dict[PrintedText, tuple[str, ...]] = defaultdict(tuple)
    for part, texts in parts.items():
        for text, number in texts.items():
            found[text] += part * number
    return {text: names for text, names in found.items() if text not in unclear and len(names) == totals[text]}


def _apart(
    parts: Iterable[tuple[_Half, dict[PrintedText, int]]],
) -> list[list[tuple[_Half, dict[PrintedText, int]]]]:
    """Return the parts in groups, in each of which no text is printed by two parts."""
    groups: list[tuple[set[PrintedText], list[tuple[_Half, dict[PrintedText, int]]]]] = []
    for part, texts in parts:
        group = next((one for one in groups if one[0].isdisjoint(texts)), None)
        if group is None:
            groups.append(group := (set(), []))
        group[0].update(texts)
        group[1].append((part, texts))
    return [group for _, group in groups]


class _TrialsSpentError(Exception):
    """All trials are made, and some owners are known."""
