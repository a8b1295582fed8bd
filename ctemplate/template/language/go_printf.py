"""A filter that formats one value as Go's ``printf`` does, for templates that ``ctemplate convert`` wrote.

A value that does not fit its verb prints as in Go: ``%!d(string=x)``. Pure; must not know environments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jinja2

from ctemplate.core.go_numbers import go_float
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.template.language.go_values import go_quote
from ctemplate.template.safety.limits import check_numbers
from ctemplate.template.safety.tainted_text import text_of

_FORM = lazy_pattern(r"%([-+ #0]*)([0-9]*)((?:\.[0-9]*)?)([a-zA-Z])")
_BASES = {"b": "b", "o": "o", "x": "x", "X": "X"}
_MARKS = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}


class Verb:
    """One verb of a format with its flags, width and precision."""

    def __init__(self, form: str) -> None:
        found = _FORM.fullmatch(form)
        if found is None:
            raise ValueError(f"go_printf: {form!r} is no format of one value")
        self.flags, self.letter = found[1], found[4]
        self.width = int(found[2] or 0)
        self.precision = int(found[3][1:] or 0) if found[3] else None
        check_numbers(self.width, self.precision)

    def padded(self, text: str, *, is_number: bool = False) -> str:
        """Return the text in its width; zeros stand behind the sign of a number."""
        if "-" in self.flags:
            return text.ljust(self.width)
        if "0" in self.flags and is_number and text.strip("+- ")[:1].isdigit():
            sign = text[:1] if text[:1] in "+- " else ""
            return sign + text[len(sign) :].rjust(self.width - len(sign), "0")
        return text.rjust(self.width)

    def signed(self, digits: str, *, is_negative: bool) -> str:
        """Return the digits behind their sign."""
        if is_negative:
            return f"-{digits}"
        return f"+{digits}" if "+" in self.flags else f" {digits}" if " " in self.flags else digits


def go_printf(value: Any, form: str, whole: bool = False) -> str:  # noqa: FBT001, FBT002  # templates write whole=true
    """Format one value by a verb of Go's ``printf``; numbers are floats as in JSON, unless ``whole`` is given."""
    return _formatted(value, Verb(str(form)), whole=whole)


def _formatted(value: Any, verb: Verb, *, whole: bool) -> str:  # noqa: PLR0911  # one for each type
    if value is None or isinstance(value, jinja2.Undefined):
        return verb.padded("<nil>") if verb.letter == "v" else f"%!{verb.letter}(<nil>)"
    if isinstance(value, bool):
        shown = "true" if value else "false"
        return verb.padded(shown) if verb.letter in "tv" else f"%!{verb.letter}(bool={shown})"
    if isinstance(value, int) and whole:
        return _whole(int(value), verb)
    if isinstance(value, int | float):
        return _float(float(value), verb)
    if isinstance(value, Mapping):
        inner = (f"{_text(str(key), verb)}:{_formatted(value[key], verb, whole=whole)}" for key in sorted(value))
        return f"map[{' '.join(inner)}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(_formatted(item, verb, whole=whole) for item in value)}]"
    return _text(str(text_of(value)), verb)


def _text(text: str, verb: Verb) -> str:
    cut = text if verb.precision is None else text[: verb.precision]
    if verb.letter in "sv":
        is_quoted = verb.letter == "v" and "#" in verb.flags
        return verb.padded(go_quote(cut) if is_quoted else cut)
    if verb.letter == "q":
        return verb.padded(go_quote(cut))
    if verb.letter in "xX":
        shown = text.encode("utf-8", "surrogatepass").hex(*(" " if " " in verb.flags else ""))
        return verb.padded(shown.upper() if verb.letter == "X" else shown)
    return f"%!{verb.letter}(string={text})"


def _quoted_character(char: str) -> str:
    return {"'": "'\\''", '"': "'\"'"}.get(char) or f"'{go_quote(char)[1:-1]}'"


def _whole(number: int, verb: Verb) -> str:
    letter, is_negative = verb.letter, number < 0
    if letter in "dv":
        digits = str(abs(number))
    elif letter in _BASES:
        mark = _MARKS[letter] if "#" in verb.flags else ""
        digits = mark + format(abs(number), _BASES[letter])
    elif letter == "c":
        return verb.padded(chr(number))
    elif letter == "q":
        return verb.padded(_quoted_character(chr(number)))
    elif letter == "U":
        return verb.padded(f"U+{number:04X}")
    else:
        return f"%!{letter}(int={number})"
    if verb.precision is not None:
        return verb.padded(verb.signed(digits.rjust(verb.precision, "0"), is_negative=is_negative))
    return verb.padded(verb.signed(digits, is_negative=is_negative), is_number=True)


def _float(number: float, verb: Verb) -> str:
    letter, size = verb.letter, abs(number)
    if letter not in "eEfFgGv":
        return f"%!{letter}(float64={go_float(number)})"
    is_negative = math.copysign(1, number) < 0
    if not math.isfinite(number):
        return verb.padded(go_float(number))
    if letter in "gGv" and verb.precision is None:
        digits = go_float(size)
    else:
        digits = f"%.{6 if verb.precision is None else verb.precision}{'g' if letter == 'v' else letter}" % size
    return verb.padded(
        verb.signed(digits.upper() if letter == "G" else digits, is_negative=is_negative), is_number=True
    )
