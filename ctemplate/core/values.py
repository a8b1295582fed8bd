"""Dataclasses that msgspec creates: written as with ``dataclasses``, without compiling source code at each import.

The standard library's decorator compiles five functions for each class, half a millisecond of every start; msgspec
creates the class and its objects in C. ``field``, ``replace`` and ``asdict`` of ``dataclasses`` work with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, TypeVar, dataclass_transform

import msgspec

Made = TypeVar("Made")
_BASES: dict[tuple[type, ...], tuple[type, ...] | None] = {
    (object,): None,
    (Generic,): (msgspec.Struct, Generic),
}  # of classes as written, and what msgspec makes them from
_OF_EVERY_CLASS = frozenset({"__dict__", "__weakref__"})
_LAZY_ANNOTATIONS = frozenset({"__annotate_func__", "__annotations_cache__"})  # of Python 3.14 and newer


@dataclass_transform(field_specifiers=(dataclasses.field,))
def dataclass(
    *, slots: bool, frozen: bool = False, kw_only: bool = False, order: bool = False
) -> Callable[[type[Made]], type[Made]]:
    """Make a class of annotated fields, as ``dataclasses.dataclass`` does.

    Raises TypeError for features that only ``dataclasses`` has: a class without slots, or with another base than
    ``Generic``.
    """

    def made(kind: type[Made]) -> type[Made]:
        given = {name: vars(kind).get(name, msgspec.NODEFAULT) for name in _names(kind)}
        described = [value for value in given.values() if isinstance(value, dataclasses.Field)]
        if not slots or kind.__bases__ not in _BASES:
            raise TypeError(f"{kind.__qualname__}: has a base, or no slots")
        left_out = given.keys() | _OF_EVERY_CLASS | _LAZY_ANNOTATIONS
        others = {name: value for name, value in vars(kind).items() if name not in left_out}
        others["__dataclass_fields__"] = _Fields(kind)
        if not all(field.repr for field in described):
            others["__repr__"] = _representation
        if not all(field.compare for field in described):
            others["__eq__"], others["__hash__"] = _is_equal, _hash if frozen else None
        fields = [(name, kind.__annotations__[name], _default(value)) for name, value in given.items()]
        make: Any = msgspec.defstruct
        options = {"frozen": frozen, "kw_only": kw_only, "order": order}
        result: type[Made] = make(kind.__name__, fields, bases=_BASES[kind.__bases__], namespace=others, **options)
        return result

    return made


class _Fields:
    """The field descriptions that ``dataclasses`` expects in a class, created on first use."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._made: Any = None

    def __get__(self, instance: object, owner: type) -> Any:
        if self._made is None:
            described: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(self._kind)
            self._made = described.__dataclass_fields__
        return self._made


def _names(kind: type) -> list[str]:
    return [name for name, of in kind.__annotations__.items() if "ClassVar[" not in str(of)]


def _default(given: Any) -> Any:
    """Return a default in msgspec's form; a field that its class sets by itself is None until then."""
    if not isinstance(given, dataclasses.Field):
        return given
    if given.default_factory is not dataclasses.MISSING:
        return msgspec.field(default_factory=given.default_factory)
    if given.default is not dataclasses.MISSING:
        return given.default
    return msgspec.NODEFAULT if given.init else None


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, field.name) for field in dataclasses.fields(value) if field.compare)


def _is_equal(value: Any, other: object) -> Any:
    """Compare two values of a class that has fields which do not compare."""
    if type(value) is not type(other):
        return NotImplemented
    return value is other or _compared(value) == _compared(other)


def _hash(value: Any) -> int:
    return hash(_compared(value))


def _representation(value: Any) -> str:
    """Show a value without its hidden fields."""
    shown = (field.name for field in dataclasses.fields(value) if field.repr)
    return f"{type(value).__name__}({', '.join(f'{name}={getattr(value, name)!r}' for name in shown)})"
