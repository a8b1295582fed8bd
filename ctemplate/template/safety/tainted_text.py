"""Which text may be printed into an nginx target unchanged.

A template's own text and literals are trusted; so is the result of an escape, and a text joined only of such parts and
plain tokens. Every other operation on a text with data gives an ordinary ``str``: a template that slices a quoted value
has to quote again. So no operation has to preserve trust; the few that join whole parts grant it, and a forgotten one
is safe. A text made only of the operator's own text stays trusted, whatever made it.

Trusted text with registered data has a placeholder text (``shadow``): the same text with a mark for each such value. It
shows afterwards which places of an output are data. A number made of a registered text is registered as well, and is
one word of the placeholder text wherever it is printed or joined. Must not know Jinja's environment or services.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Self, SupportsIndex

from jinja2.runtime import Undefined

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.nginx.language import quoting
from ctemplate.nginx.language.lexer import takes_quote
from ctemplate.template.safety.limits import check_format, check_length
from ctemplate.template.safety.registered_numbers import (
    REGISTERED_NUMBERS,
    RegisteredFloat,
    RegisteredInt,
    is_own_number,
    registered,
)

QUOTED = "\ufdd0"
"""Precedes each quoted value until the text is complete: nginx recognises a quote only at an argument's start."""

_CONVERSION = lazy_pattern(r"%(?:\((?P<key>[^()]*)\))?(?P<spec>[-+ #0]*\d*(?:\.\d+)?)(?P<kind>[a-zA-Z%])")
_MARK = re.compile("\x01(\\d+)(?::(\\d+))?\x02")
_QUOTES = "\"'"
CAPTURED = "\x03"
"""Stands in a shadow for text that was checked as it was printed, and may hold data; only in a pass without shadow."""

_SHOWN_BYTES = 40
MAX_EXACT = 10**18
"""Whole numbers below this print unchanged; larger ones are checked like texts."""


NO_TEXT = "that is no UTF-8 cannot be printed; use | b64encode"
"""The reason for refusing bytes, such as the value of a key that is no text."""


class Trusted(str):
    """Text that may be printed unchanged: the operator's own. Methods not defined here return an ordinary ``str``."""

    __slots__ = ()

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return _like(self, str.__getitem__(self, key))

    def __iter__(self) -> Iterator[str]:
        return (_like(self, character) for character in str.__iter__(self))

    def __add__(self, other: str) -> str:
        return joined_text((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> str:
        return joined_text((other, self)) if isinstance(other, str) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Trusted:
        return Trusted(str.__mul__(self, times))

    __rmul__ = __mul__

    def __mod__(self, values: Any) -> str:
        return formatted(self, values)

    def join(self, parts: Iterable[Any]) -> str:
        """Join the parts; the result is trusted when every part is."""
        return joined_text(parts, self)


class TaintedText(Trusted):
    """Trusted text with registered data; ``shadow`` is the text with marks in place of the data."""

    __slots__ = ("shadow",)
    shadow: str

    def __mul__(self, times: SupportsIndex) -> Trusted:
        return with_shadow(str.__mul__(self, times), self.shadow * times)

    __rmul__ = __mul__


class JoinedText(str):
    """Text joined by the template, with at least one value that may not be printed everywhere.

    Other formats than nginx's judge each of the parts by itself.
    """

    __slots__ = ("parts",)
    parts: tuple[Any, ...]

    def __new__(cls, text: str, parts: tuple[Any, ...]) -> Self:
        """Keep the text with its parts."""
        joined = super().__new__(cls, text)
        joined.parts = parts
        return joined


TRUSTED = frozenset({Trusted, TaintedText})


def _like(text: str, part: str) -> str:
    return Trusted(part) if type(text) is Trusted else part


def derived(result: Any, sources: Iterable[object]) -> Any:
    """Return what was made of the sources: trusted when each is the operator's own text or number, or nothing.

    A list or table is the operator's own when all in it is. A number that was made of anything else is registered.
    """
    if all(map(is_own, sources)):
        return _trusted_parts(result)
    return registered(result) if isinstance(result, int | float) else result


def calculated(result: Any, operands: Iterable[object]) -> Any:
    """Return what an operator made: a number of a registered number is registered, a text by such a number, too."""
    if REGISTERED_NUMBERS.isdisjoint(map(type, operands)):
        return result
    return with_shadow(result, marked(result)) if type(result) is Trusted else registered(result)


def is_own(source: object) -> bool:
    """Whether a value is the operator's own: no registered text contributes to it."""
    kind = type(source)
    if kind is dict:
        return all(map(is_own, chain.from_iterable(source.items())))  # type: ignore[attr-defined]
    if kind is list or kind is tuple:
        return all(map(is_own, source))  # type: ignore[call-overload]
    return kind is Trusted or source is None or is_own_number(source)


def _trusted_parts(result: Any) -> Any:
    if type(result) is str:
        return Trusted(result)
    if type(result) is dict:
        return {_trusted_parts(key): _trusted_parts(item) for key, item in result.items()}
    return type(result)(map(_trusted_parts, result)) if type(result) in {list, tuple} else result


def holds_data(text: TaintedText) -> bool:
    """Whether a text is trusted because of plain tokens in it, besides the operator's own or checked text."""
    return "\x01" in text.shadow


def with_shadow(text: str, shadow: str) -> Trusted:
    """Return trusted text with its shadow; where the two are the same nothing in it is data."""
    if text == shadow:
        return Trusted(text)
    earned = TaintedText(text)
    earned.shadow = shadow
    return earned


def shadow_of(value: Any) -> str:
    """Return the value's text with marks for data: registered texts, and numbers that were made of them."""
    if isinstance(value, TaintedText):
        return value.shadow
    if type(value) in REGISTERED_NUMBERS:
        return marked(str(value))
    if type(value) is Trusted or not isinstance(value, str):
        return text_of(value)
    return marked(value)


def marked(text: str) -> str:
    """Return the placeholder for one value: as many words as the value should be, one, in quotes if it is."""
    core = text.strip(" ")
    if not core:
        return text
    before, _, after = text.partition(core)
    if len(core) > 1 and core[0] in _QUOTES and core[-1] == core[0]:
        return f"{before}{core[0]}\x01{len(core) - 2}\x02{core[0]}{after}"
    return f"{before}\x01{len(core)}\x02{after}"


def numbered(text: str, shadow: str, next_number: Callable[[], int]) -> tuple[str, list[tuple[int, str]]]:
    """Give each mark without a number one of its own; return the shadow, and the new numbers with what they stand for.

    A text may be joined of values of several services, so each value has its number. The text of a single value is the
    whole print, with its quotes.
    """
    new: list[int] = []

    def number(found: re.Match[str]) -> str:
        if found[2]:
            return found[0]
        new.append(next_number())
        return f"\x01{found[1]}:{new[-1]}\x02"

    whole = _MARK.sub(number, shadow)
    if not new[1:]:
        return whole, [(one, text) for one in new]
    by_number = {at: piece for piece, at in pieces(text, whole) or ()}
    return whole, [(one, by_number.get(one, text)) for one in new]


def captured(text: str) -> Trusted:
    """Return text that was checked piece by piece while it was printed; it keeps its placeholder text."""
    return text if isinstance(text, Trusted) else with_shadow(text, CAPTURED if text else "")


def concatenated(pieces: Iterable[str]) -> str:
    """Join pieces of output; the result has a placeholder text where a piece has one."""
    pieces = tuple(pieces)
    text = "".join(pieces)
    shadow = "".join([piece.shadow if type(piece) is TaintedText else piece for piece in pieces])
    return with_shadow(text, shadow)


def pieces(text: str, shadow: str) -> list[tuple[str, int | None]] | None:
    """Cut a text along its shadow: each piece with the number of its print, None for a template's own text.

    None altogether when the two do not belong together.
    """
    found: list[tuple[str, int | None]] = []
    at = end = 0
    for known in _MARK.finditer(shadow):
        own, length = shadow[end : known.start()], int(known[1])
        if not text.startswith(own, at) or known[2] is None:
            return None
        at += len(own)
        found += [(own, None), (text[at : at + length], int(known[2]))]
        at, end = at + length, known.end()
    return None if text[at:] != shadow[end:] else [*found, (text[at:], None)]


def values_between(text: str) -> Sequence[Any]:
    """Cut a text that several values were joined to: the values and the template's own text between them.

    A text with a single value, or with values that were printed before, stays whole.
    """
    if isinstance(text, JoinedText):
        return text.parts
    if not isinstance(text, TaintedText):
        return [text]
    if len(_MARK.findall(text.shadow)) <= 1 or "\ufdd1" in text:
        return [text]
    whole, _ = numbered(text, text.shadow, itertools.count().__next__)
    found = pieces(text, whole) or [(str(text), 0)]
    return [Trusted(piece) if number is None else piece for piece, number in found if piece]


def is_token(text: str) -> bool:
    """Whether a value may be printed by itself: a plain token that does not make its place a regular expression."""
    return quoting.is_plain_token(text) and not text.startswith("~")


class Refused(str):
    """Text that an escape cannot represent, and why; printing it is a violation."""

    __slots__ = ("reason",)
    reason: str

    def __new__(cls, text: str, reason: str) -> Self:
        """Keep the text with the reason."""
        refused = super().__new__(cls, text)
        refused.reason = reason
        return refused


def with_text(value: Any) -> Any:
    """Return bytes, which have no text, as what cannot be printed; any other value as it is."""
    if not isinstance(value, bytes):
        return value
    return Refused(value[:_SHOWN_BYTES].decode(errors="backslashreplace"), f"is a value {NO_TEXT}")


def is_whole_text(value: object) -> bool:
    """Whether the value may be printed unchanged: trusted, a number, or a plain token."""
    kind = type(value)
    if kind is Trusted or kind is TaintedText or kind is bool or kind is float or kind is RegisteredFloat:
        return True
    if kind is int or kind is RegisteredInt:
        return -MAX_EXACT < value < MAX_EXACT  # type: ignore[operator]
    return isinstance(value, str) and is_token(value)


def text_of(value: object) -> str:
    """Return the value's text, or raise TypeError for what has no text of its own: lists, mappings, objects, None."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | Undefined):
        return str(value)
    if isinstance(value, bytes):
        raise TypeError(f"a value {NO_TEXT}")
    if value is None:
        raise TypeError('None cannot be printed; give a default: | default("…", true)')
    name = type(value).__name__.lower()
    kind = {"tuple": "list", "dict": "table"}.get(name, name)
    article = "an" if kind[0] in "aeiou" else "a"
    raise TypeError(f"{article} {kind} cannot be printed; print its fields or items, or use | json | quote")


def joined_text(parts: Iterable[Any], separator: str = "") -> str:
    """Join parts into one text, trusted when each part and the separator is whole."""
    parts = tuple(parts)
    texts = tuple(map(text_of, parts))
    check_length(separator, sum(map(len, texts)) + len(separator) * len(texts))
    text = str.join(separator, texts)
    if all(map(is_whole_text, parts)) and (not separator or is_whole_text(separator)):
        return with_shadow(text, str.join(shadow_of(separator), map(shadow_of, parts)))
    if type(separator) is not Trusted and separator:
        return str(text)
    return JoinedText(text, tuple(one for part in parts for one in (separator, part))[1:])


def formatted(form: str, values: Any) -> str:
    """Return ``form % values``, trusted when the form is without data and each value comes out whole."""
    check_format(form)
    plain: str = str(form) % values
    if type(form) is not Trusted:
        return plain
    parts = _parts(form, values)
    if parts is None or "".join(parts) != plain:
        return plain
    return with_shadow(plain, "".join(map(shadow_of, parts)))


def _parts(form: str, values: Any) -> list[str] | None:
    """Format each conversion on its own; None when one does not come out whole."""
    rest = iter(values if isinstance(values, tuple) else (values,))
    parts: list[str] = []
    end = 0
    for match in _CONVERSION.finditer(str(form)):
        parts.append(Trusted(str(form)[end : match.start()]))
        end = match.end()
        if match["kind"] == "%":
            parts.append(Trusted("%"))
            continue
        value = values[match["key"]] if match["key"] is not None else next(rest)
        exact = type(value) in TRUSTED and match["kind"] == "s" and not match["spec"]
        piece = value if exact else f"%{match['spec']}{match['kind']}" % (value,)
        if not exact and not is_padded(value, piece):
            return None
        parts.append(Trusted(piece) if is_own_number(value) else piece)
    parts.append(Trusted(str(form)[end:]))
    return parts


def is_padded(value: object, text: str) -> bool:
    """Whether the text is that of a value that may be printed, with nothing but spaces set around it."""
    return is_whole_text(value) and is_token(text.strip(" "))


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
    """Return the escaped text of the value, trusted; or Refused when the escape cannot represent it."""
    text = str(text_of(value))
    try:
        safe = escape(text, **options)
        return Trusted(safe) if type(value) is Trusted else with_shadow(safe, marked(safe))
    except quoting.UnsafeTextError as exc:
        return Refused(text, str(exc))


def without_quotes(text: str) -> str:
    """Return a complete text without the marks before its quoted values; it keeps its placeholder text."""
    plain = text.replace(QUOTED, "")
    return with_shadow(plain, text.shadow.replace(QUOTED, "")) if isinstance(text, TaintedText) else plain


def misplaced_quote(text: str) -> int | None:
    """Return where a quoted value does not start an argument, outside of comments; None where all of them do."""
    at = text.find(QUOTED)
    while at >= 0:
        if not takes_quote(text[text.rfind("\n", 0, at) + 1 : at].replace(QUOTED, "")):
            return at
        at = text.find(QUOTED, at + 1)
    return None
