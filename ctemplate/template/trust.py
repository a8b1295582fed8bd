"""Which text may be printed into an nginx target as it stands.

A template's own text and literals are trusted; so is what an escape returns, and what is joined of nothing but such
parts and plain tokens. Every other operation on a trusted text gives an ordinary ``str``: whoever slices a quoted value
has to quote again. So trust need not survive any operation; it is earned by the few that join whole parts, and a
forgotten one is safe. Knows nothing of Jinja's environment or of services.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, SupportsIndex

from jinja2.runtime import Undefined

from ctemplate.nginx import quoting
from ctemplate.template.limits import check_format, check_length

QUOTED = "\ufdd0"
"""Stands before each quoted value until the text is whole: nginx knows a quote only where an argument starts."""

_LINE = re.compile(  # as nginx reads: a comment, quoted texts, and words, in which quotes mean nothing
    r"""(?:[ \t\r;{}]++|(?P<comment>\#.*+)|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'"""
    r"""|(?:[^ \t\r;{}"'\\\#]|\\.)(?:[^ \t\r;{\\]|\\.)*+)*+""",
    re.DOTALL,
)
_ENDS_WORD = re.compile(r"(?<![\\$])[ \t\r;{]$")
_CONVERSION = re.compile(r"%(?:\((?P<key>[^()]*)\))?(?P<spec>[-+ #0]*\d*(?:\.\d+)?)(?P<kind>[a-zA-Z%])")
MAX_EXACT = 10**18
"""Whole numbers below print as they are; longer ones are judged like texts."""


class Trusted(str):
    """Text that may be printed as it stands. Every method that is not here returns an ordinary ``str``."""

    __slots__ = ()

    def __add__(self, other: str) -> str:
        return joined((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> str:
        return joined((other, self)) if isinstance(other, str) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Trusted:
        return Trusted(str.__mul__(self, times))

    __rmul__ = __mul__

    def __mod__(self, values: Any) -> str:
        return formatted(self, values)

    def join(self, parts: Iterable[Any]) -> str:
        """Join the parts; the result is trusted when every part is."""
        return joined(parts, self)


def is_token(text: str) -> bool:
    """Whether a value may be printed by itself: a plain token that does not make its place a regular expression."""
    return quoting.is_token(text) and not text.startswith("~")


class Refused(str):
    """Text that an escape could not carry, and why; printing it is a violation."""

    __slots__ = ("reason",)
    reason: str

    def __new__(cls, text: str, reason: str) -> Self:
        """Keep the text with the reason."""
        refused = super().__new__(cls, text)
        refused.reason = reason
        return refused


def is_whole(value: object) -> bool:
    """Whether the value may be printed as it stands: trusted, a number, or a plain token."""
    kind = type(value)
    if kind is Trusted or kind is bool or kind is float:
        return True
    if kind is int:
        return -MAX_EXACT < value < MAX_EXACT  # type: ignore[operator]
    return isinstance(value, str) and is_token(value)


def text_of(value: object) -> str:
    """Return the value's text, or raise TypeError for what has no text of its own: lists, mappings, objects, None."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | Undefined):
        return str(value)
    if value is None:
        raise TypeError('None cannot be printed; give a default: | default("…", true)')
    kind = type(value).__name__.lower()
    article = "an" if kind[0] in "aeiou" else "a"
    raise TypeError(f"{article} {kind} cannot be printed; print its fields or items, or use | json | quote")


def joined(parts: Iterable[Any], separator: str = "") -> str:
    """Join parts into one text, trusted when each part and the separator is whole."""
    parts = tuple(parts)
    texts = tuple(map(text_of, parts))
    check_length(separator, sum(map(len, texts)) + len(separator) * len(texts))
    text = str.join(separator, texts)
    if all(map(is_whole, parts)) and (not separator or is_whole(separator)):
        return Trusted(text)
    return str(text)


def formatted(form: str, values: Any) -> str:
    """Return ``form % values``, trusted when the form is and each value comes out whole."""
    check_format(form)
    plain: str = str(form) % values
    if type(form) is not Trusted:
        return plain
    pieces = _pieces(form, values)
    return Trusted(plain) if pieces is not None and "".join(pieces) == plain else plain


def _pieces(form: str, values: Any) -> list[str] | None:
    """Format each conversion on its own; None when one does not come out whole."""
    rest = iter(values if isinstance(values, tuple) else (values,))
    pieces: list[str] = []
    end = 0
    for match in _CONVERSION.finditer(str(form)):
        pieces.append(str(form)[end : match.start()])
        end = match.end()
        if match["kind"] == "%":
            pieces.append("%")
            continue
        value = values[match["key"]] if match["key"] is not None else next(rest)
        exact = type(value) is Trusted and match["kind"] == "s" and not match["spec"]
        piece = value if exact else f"%{match['spec']}{match['kind']}" % (value,)
        if not exact and not is_padded(value, piece):
            return None
        pieces.append(piece)
    pieces.append(str(form)[end:])
    return pieces


def is_padded(value: object, text: str) -> bool:
    """Whether the text is that of a value that may be printed, with nothing but spaces set around it."""
    return is_whole(value) and is_token(text.strip(" "))


def trusted(value: Any) -> Any:
    """Return the operator's value with every text in it trusted; lists and mappings keep their shape."""
    if isinstance(value, str):
        return Trusted(value)
    if isinstance(value, Mapping):
        return {trusted(key): trusted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(trusted(item) for item in value)
    return value


def escaped(escape: Callable[..., str], value: Any, **options: Any) -> str:
    """Return the value's text through the escape, trusted; or Refused when the escape cannot carry it."""
    text = str(text_of(value))
    try:
        return Trusted(escape(text, **options))
    except quoting.UnsafeTextError as exc:
        return Refused(text, str(exc))


def misplaced_quote(text: str) -> int | None:
    """Return where a quoted value does not start an argument, outside of comments; None where all of them do."""
    at = text.find(QUOTED)
    while at >= 0:
        before = text[text.rfind("\n", 0, at) + 1 : at].replace(QUOTED, "")
        line = _LINE.fullmatch(before)
        if line is None or (line["comment"] is None and before and not _ENDS_WORD.search(before)):
            return at
        at = text.find(QUOTED, at + 1)
    return None
