"""Numbers in Go's printed form. Pure."""

from __future__ import annotations

import math
from decimal import Decimal

_LEAST_EXPONENT, _FIRST_EXPONENT = -4, 6
_LEAST_OF_JSON, _FIRST_OF_JSON = -6, 21
_UNUSUAL = {math.inf: "+Inf", -math.inf: "-Inf"}


def go_float(value: float) -> str:
    """Return the shortest digits of the number, with an exponent below -4 and from 6 on."""
    return _shortest(value, _FIRST_EXPONENT)


def _shortest(value: float, first_exponent: int, least_exponent: int = _LEAST_EXPONENT) -> str:
    """Return the shortest digits of the number, with an exponent below the least and from the first on."""
    number = float(value)
    if not math.isfinite(number):
        return _UNUSUAL.get(number, "NaN")
    shown = Decimal(repr(number)).normalize()
    exponent = shown.adjusted()
    if shown.is_zero() or least_exponent <= exponent < first_exponent:
        return f"{shown:f}"
    return f"{shown.scaleb(-exponent):f}e{exponent:+03d}"


def go_json_float(value: float) -> str:
    """Return the number as Go writes it in JSON: without zeros in the exponent."""
    shown = _shortest(value, _FIRST_OF_JSON, _LEAST_OF_JSON)
    return shown.replace("e-0", "e-")
