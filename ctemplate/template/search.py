"""Find by trial the owners of a line's forbidden values, where the text does not show them.

Knows passes only by their violations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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

    def guilty(self, candidates: tuple[str, ...]) -> tuple[str, ...]:
        """Return the candidates without which the line is fine; none if others would have to go too."""
        if not candidates or self.violates(candidates):
            return ()
        return self.among(candidates, frozenset(candidates))

    def among(self, suspects: tuple[str, ...], candidates: frozenset[str]) -> tuple[str, ...]:
        """Return the suspects that have to go even when all other candidates are left out."""
        if len(suspects) == 1:
            return suspects
        middle = len(suspects) // 2
        found: tuple[str, ...] = ()
        for half in (suspects[:middle], suspects[middle:]):
            if self.violates(candidates.difference(half)):
                found += self.among(half, candidates)
        return found or suspects

    def violates(self, left_out: Iterable[str]) -> bool:
        """Whether the line prints a forbidden value although these are left out."""
        self.trials += 1
        if self.trials > MAX_TRIALS:
            what = f"cannot tell whose value must not be printed after {MAX_TRIALS} trials; use | quote or | comment"
            raise TemplateError(self.where, what)
        return self.without(left_out)
