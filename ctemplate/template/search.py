"""Finds out by trial whose values a template's line must not print, where no text tells.

Knows passes only by their violations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ctemplate.core.errors import TemplateError
from ctemplate.core.values import dataclass

MAX_TRIALS = 200
"""Passes of one template to find out whose value it is that cannot be told by its text."""


@dataclass(slots=True, kw_only=True)
class Search:
    """Leaves services out of passes; ``violates`` tells whether the line still prints what it must not."""

    where: str
    without: Callable[[Iterable[str]], bool]
    trials: int = 0

    def guilty(self, candidates: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the candidates without whom the line is fine; none if that takes others to go too."""
        if not candidates or self.violates(candidates):
            return ()
        return self.among(candidates, frozenset(candidates))

    def among(self, suspects: tuple[str, ...], candidates: frozenset[str]) -> tuple[str, ...]:
        """Return those of the suspects that have to go as well when all other candidates go."""
        if len(suspects) == 1:
            return suspects
        middle = len(suspects) // 2
        found: tuple[str, ...] = ()
        for half in (suspects[:middle], suspects[middle:]):
            if self.violates(candidates.difference(half)):
                found += self.among(half, candidates)
        return found or suspects

    def violates(self, left_out: Iterable[str]) -> bool:
        """Whether the line prints what it must not although these are left out."""
        self.trials += 1
        if self.trials > MAX_TRIALS:
            what = f"cannot tell whose value must not be printed after {MAX_TRIALS} trials; use | quote or | comment"
            raise TemplateError(self.where, what)
        return self.without(left_out)
