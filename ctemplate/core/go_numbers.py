"""Numbers in Go's printed form. Pure."""

from __future__ import annotations

from decimal import Decimal

_LEAST_EXPONENT, _FIRST_EXPONENT = -4, 6


def go_float(value: float) -> str:
    """Return the shortest digits of the number, with an exponent below -4 and from 6 on."""
    shown = Decimal(repr(float(value))).normalize()
    exponent = shown.adjusted()
    if shown.is_zero() or not shown.is_finite() or _LEAST_EXPONENT <= exponent < _FIRST_EXPONENT:
        return f"{shown:f}"
    return f"{shown.scaleb(-exponent):f}e{exponent:+03d}"
