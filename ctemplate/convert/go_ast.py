"""The tree of a Go template. Trees with the same meaning are equal; places do not count.

Must not know how a tree is parsed or converted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ctemplate.convert.go_lexer import Position

NOWHERE = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Located:
    """Anything that has a place in the source."""

    at: Position = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Dot(Located):
    """``.``."""


@dataclass(frozen=True, slots=True)
class Nil(Located):
    """``nil``."""


@dataclass(frozen=True, slots=True)
class Bool(Located):
    """``true`` or ``false``."""

    value: bool


@dataclass(frozen=True, slots=True)
class Number(Located):
    """A number or a character as written: ``0x1F``, ``1.5``, ``'a'``."""

    text: str


@dataclass(frozen=True, slots=True)
class String(Located):
    """A string as written, with its quotes, and its value."""

    text: str

    @property
    def value(self) -> str:
        """Return the string's value; bytes that are not UTF-8 become surrogates."""
        return unquoted(self.text)


@dataclass(frozen=True, slots=True)
class Field(Located):
    """``.A.B``: fields of dot."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable(Located):
    """``$name.A.B``; the name includes its dollar."""

    name: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identifier(Located):
    """The name of a function."""

    name: str


@dataclass(frozen=True, slots=True)
class Chain(Located):
    """Fields of an operand's value: ``(node).Node.Address``."""

    operand: Operand
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GoCommand(Located):
    """An operand, or a function or method with its arguments."""

    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class GoPipeline(Located):
    """Commands, each passed to the next as its last argument; in parentheses a pipeline is an operand.

    ``variables`` are the variables that it declares, or assigns if ``is_assignment``.
    """

    commands: tuple[GoCommand, ...]
    variables: tuple[str, ...] = ()
    is_assignment: bool = False


Operand = Dot | Nil | Bool | Number | String | Field | Variable | Identifier | Chain | GoPipeline


@dataclass(frozen=True, slots=True)
class GoText(Located):
    """Text that is printed unchanged."""

    text: str


@dataclass(frozen=True, slots=True)
class Comment(Located):
    """``{{/* text */}}``."""

    text: str


@dataclass(frozen=True, slots=True)
class Action(Located):
    """A pipeline that is printed, unless it declares or assigns."""

    pipeline: GoPipeline


@dataclass(frozen=True, slots=True)
class Control(Located):
    """A block that depends on a pipeline: its body, and its ``else`` body."""

    pipeline: GoPipeline
    body: Body
    otherwise: Body = ()


class If(Control):
    """``if``; an ``else if`` is a single ``If`` in the ``else`` body."""

    __slots__ = ()


class With(Control):
    """``with``: as ``if``, and dot is rebound in its body."""

    __slots__ = ()


class Range(Control):
    """``range``: dot is rebound in its body; its variables are the item, or the key and the item."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class GoTemplate(Located):
    """``template``: print a defined template; its name is as written."""

    name: String
    pipeline: GoPipeline | None = None


@dataclass(frozen=True, slots=True)
class Define(Located):
    """``define``: prints nothing."""

    name: String
    body: Body


@dataclass(frozen=True, slots=True)
class GoBlock(Located):
    """``block``: define a template and print it."""

    name: String
    pipeline: GoPipeline
    body: Body


@dataclass(frozen=True, slots=True)
class Break(Located):
    """``break``."""


@dataclass(frozen=True, slots=True)
class Continue(Located):
    """``continue``."""


Node = GoText | Comment | Action | Control | GoTemplate | Define | GoBlock | Break | Continue
Body = tuple[Node, ...]

_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_MAX_BYTE = 255
_SURROGATES = range(0xD800, 0xE000)
_MAX_CHARACTER = 0x10FFFF
_DIGITS = {"x": 2, "u": 4, "U": 8}


def unquoted(text: str) -> str:
    """Return the value of a quoted Go string or character; raises ValueError with a sentence."""
    quote, inner = text[:1], text[1:-1]
    if quote == "`":
        return inner.replace("\r", "")
    parts: list[bytes] = []
    at = 0
    while at < len(inner):
        escape = inner.find("\\", at)
        stop = len(inner) if escape < 0 else escape
        parts.append(inner[at:stop].encode("utf-8", "surrogateescape"))
        if escape < 0:
            break
        piece, at = _escaped(inner, escape + 1, quote)
        parts.append(piece)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _escaped(inner: str, at: int, quote: str) -> tuple[bytes, int]:
    """Return the value of the escape whose letter is at the offset, and the offset after it."""
    letter = inner[at : at + 1]
    if letter in _ESCAPES and letter != {'"': "'", "'": '"'}[quote]:
        return bytes([_ESCAPES[letter]]), at + 1
    if letter in _DIGITS:
        digits, base, start = inner[at + 1 : at + 1 + _DIGITS[letter]], 16, at + 1
        length = _DIGITS[letter]
    else:
        digits, base, start, length = inner[at : at + 3], 8, at, 3
    if len(digits) != length or not all(char in "0123456789abcdefABCDEF"[: 22 if base == 16 else 8] for char in digits):  # noqa: PLR2004
        raise ValueError(f"unknown escape {inner[at - 1 : at + 1]!r} in a string")
    value = int(digits, base)
    if letter in "uU":
        if value > _MAX_CHARACTER or value in _SURROGATES:
            raise ValueError(f"no character has the number {digits}")
        return chr(value).encode(), start + length
    if value > _MAX_BYTE:
        raise ValueError(f"no byte has the number {digits}")
    return bytes([value]), start + length
