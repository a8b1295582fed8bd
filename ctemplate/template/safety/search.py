"""Find by trial the owners of a line's forbidden values, where the text does not show them.

Knows passes only by their violations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import field

from ctemplate.core.errors import TemplateError
from ctemplate.core.values import dataclass

MAX_TRIALS = 200
"""Passes of one template, at most, to find the owner of a value."""


@dataclass(slots=True, kw_only=True)
class Search:
    """Leaves services out of passes; ``violates`` returns whether the line still prints a forbidden value."""

    where: str
    without: Callable[[Iterable[str]], bool]
    trials: int = 0
    _found: list[str] = field(default_factory=list)

    def guilty(self, candidates: tuple[str, ...]) -> tuple[str, ...]:
        """Return the candidates without which the line is fine; none if others would have to go too.

        Some of them, once all trials are made: the others are found in the next pass.
        """
        if not candidates or self._violates(candidates):
            return ()
        with contextlib.suppress(_TrialsSpentError):
            self._search(candidates, frozenset(candidates))
        return tuple(self._found)

    def _search(self, suspects: tuple[str, ...], candidates: frozenset[str]) -> None:
        """Find the suspects that have to go even when all other candidates are left out."""
        halves = (suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :])
        parts = [half for half in halves if suspects[1:] and self._violates(candidates.difference(half))]
        for half in parts:
            self._search(half, candidates)
        if not parts:
            self._found += suspects

    def _violates(self, left_out: Iterable[str]) -> bool:
        """Whether the line prints a forbidden value although these are left out."""
        self.trials += 1
        if self.trials > MAX_TRIALS and self._found:
            raise _TrialsSpentError
        if self.trials > MAX_TRIALS:
            what = f"cannot tell whose value must not be printed after {MAX_TRIALS} trials; use | quote or | comment"
            raise TemplateError(self.where, what)
        return self.without(left_out)


class _TrialsSpentError(Exception):
    """All trials are made, and some owners are known."""
