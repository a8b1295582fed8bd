"""Figures and the Markdown tables that they are printed in. Knows nothing of what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """An amount; of what was measured often the median, and what 95 of 100 stay below."""

    amount: float
    p95: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        amounts = [number(amount) for amount in (self.amount, self.p95) if amount is not None]
        return f"{' / '.join(amounts)} {self.unit}".strip()

    def ratio(self, other: Figure) -> str:
        """Return how many times the other this is; nothing where the other is nothing."""
        pairs = [(self.amount, other.amount), (self.p95, other.p95)]
        return " / ".join(number(ours / theirs) for ours, theirs in pairs if ours is not None and theirs)


def spread(seconds: Sequence[float]) -> Figure:
    """Return median and 95th percentile, in milliseconds."""
    ordered = sorted(seconds)
    p95 = ordered[math.ceil(len(ordered) * 0.95) - 1]
    return Figure(amount=statistics.median(ordered) * 1000, p95=p95 * 1000, unit="ms")


def number(amount: float) -> str:
    """Return an amount with as many digits as are worth reading."""
    if amount >= 100 or amount == int(amount):
        return f"{amount:,.0f}"
    return f"{amount:.1f}" if amount >= 10 else f"{amount:.2f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("  ", " ") for line in lines)
