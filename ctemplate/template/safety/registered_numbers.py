"""Numbers that were made of registered texts: they calculate and compare like any other, and stay registered.

A number that Consul's form guarantees, such as an instance's port, or one of the template's own is an ordinary number.
What a registrant wrote as text and a template made a number of would otherwise lose its origin, and might choose a host
or a port. Pure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, SupportsIndex, overload


class RegisteredInt(int):
    """A whole number made of a registered text."""

    __slots__ = ()


class RegisteredFloat(float):
    """A number with a fraction made of a registered text."""

    __slots__ = ()


REGISTERED_NUMBERS: frozenset[type] = frozenset({RegisteredInt, RegisteredFloat})


class RegisteredRange(Sequence[RegisteredInt]):
    """The numbers of a range with a registered bound."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[RegisteredInt]:
        return map(RegisteredInt, self._numbers)

    @overload
    def __getitem__(self, at: int) -> RegisteredInt: ...
    @overload
    def __getitem__(self, at: slice) -> RegisteredRange: ...
    def __getitem__(self, at: int | slice) -> RegisteredInt | RegisteredRange:
        found = self._numbers[at]
        return RegisteredRange(found) if isinstance(found, range) else RegisteredInt(found)


class RegisteredBytes(bytes):
    """Bytes that a registrant wrote and that are no text: each of them is a registered number."""

    __slots__ = ()

    def __iter__(self) -> Iterator[int]:
        return map(RegisteredInt, super().__iter__())

    @overload
    def __getitem__(self, at: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> bytes: ...
    def __getitem__(self, at: SupportsIndex | slice) -> int | bytes:
        return registered(super().__getitem__(at))  # type: ignore[no-any-return]

    def __add__(self, other: Any) -> bytes:
        return RegisteredBytes(super().__add__(other))

    def __radd__(self, other: Any) -> bytes:
        return RegisteredBytes(other + bytes(self))

    def __mul__(self, count: SupportsIndex) -> bytes:
        return RegisteredBytes(super().__mul__(count))

    __rmul__ = __mul__


def _registering(name: str) -> Callable[..., Any]:
    """Return the method of bytes with every number and all bytes in its result registered."""
    method = getattr(bytes, name)

    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        return registered(method(*arguments, **named))

    return call


for _name in dir(bytes):
    if not _name.startswith("_") and _name not in {"fromhex", "maketrans"}:
        setattr(RegisteredBytes, _name, _registering(_name))


def is_own_number(value: object) -> bool:
    """Whether the value is a number that no registered text has a part in."""
    return isinstance(value, int | float) and type(value) not in REGISTERED_NUMBERS


def registered(value: Any) -> Any:
    """Return the value with each number in it registered; booleans stay, since a template names both itself."""
    kind = type(value)
    if kind is int:
        return RegisteredInt(value)
    if kind is float:
        return RegisteredFloat(value)
    if kind is bytes:
        return RegisteredBytes(value)
    if kind is dict:
        return {registered(key): registered(item) for key, item in value.items()}
    return kind(map(registered, value)) if kind is list or kind is tuple else value


def plain_number(value: Any) -> Any:
    """Return a number as an ordinary one, for libraries that know no other; anything else as it is."""
    if type(value) is RegisteredInt:
        return int(value)
    return float(value) if type(value) is RegisteredFloat else value
