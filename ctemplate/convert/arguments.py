"""The arguments of a call, and checks of their types and number. Must not know any function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from ctemplate.convert.values import (
    PARSED_KINDS,
    PLAIN_VALUE,
    SCALAR,
    STRING,
    UNCONVERTED,
    GoType,
    GoValue,
    Level,
    NeverRenders,
)

_TEXTS = frozenset([STRING, SCALAR, PLAIN_VALUE, UNCONVERTED, *PARSED_KINDS])


@dataclass(frozen=True, slots=True)
class CallArguments(Sequence[GoValue]):
    """The values of a call's arguments, the piped one last; comments about them go to ``remark``.

    ``reads_details``: the template reads fields that instances only have with ``details=true``.
    """

    values: tuple[GoValue, ...]
    remark: Callable[[str], None]
    reads_details: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> GoValue: ...

    @overload
    def __getitem__(self, index: slice) -> CallArguments: ...

    def __getitem__(self, index: int | slice) -> GoValue | CallArguments:
        if isinstance(index, slice):
            return CallArguments(self.values[index], self.remark, self.reads_details)
        return self.values[index]


GoFunction = Callable[[CallArguments], GoValue]


def expect_text(value: GoValue, what: str = "a text") -> GoValue:
    """Return a value that is a text, or may be one; raises NotConverted."""
    if value.type not in _TEXTS:
        raise NeverRenders(f"a {value.type.name} where {what} is expected")
    return value.given()


def expect_list(value: GoValue, item: GoType | None, what: str) -> GoValue:
    """Return a value that is a list of such items, or may be one; raises NotConverted."""
    is_list = value.type.name == "list" and item in {None, value.type.item}
    if not is_list and value.type not in {UNCONVERTED, *PARSED_KINDS}:
        raise NeverRenders(f"{what} of a {value.type.name}")
    return value.given()


def expect_count(arguments: CallArguments, least: int, most: int | None = None) -> None:
    """Raise NotConverted unless the call has this number of arguments."""
    most = least if most is None else most
    if not least <= len(arguments) <= most:
        raise NeverRenders(f"{len(arguments)} arguments where {least} to {most} are expected")


def filtered(value: GoValue, code: str, kind: GoType = STRING) -> GoValue:
    """Return a value behind a filter."""
    return GoValue(f"{value.at(Level.FILTERED)} | {code}", kind, Level.FILTERED)


def text_method(name: str, kind: GoType = STRING) -> GoFunction:
    """Return the conversion of a Go function of a part and its text, which comes last, to a method of the text."""

    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2)
        text = expect_text(arguments[1])
        return GoValue(f"{text.at(Level.POSTFIX)}.{name}({expect_text(arguments[0]).code})", kind)

    return convert


def filter_function(name: str, kind: GoType = STRING) -> GoFunction:
    """Return the conversion of a Go function of one text to one of our filters."""

    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 1)
        return filtered(expect_text(arguments[0]), name, kind)

    return convert
