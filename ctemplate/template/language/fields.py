"""The fields of the model's values that templates may read, and the errors for missing names, fields and keys.

Must not know environments, or where values come from.
"""

from __future__ import annotations

import types
from functools import partial

import jinja2
import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import CheckState
from ctemplate.queries import READABLE_TYPES
from ctemplate.template.language import runtime
from ctemplate.template.language.advice import field_advice, word_advice
from ctemplate.template.language.functions import Variables, suggestion
from ctemplate.template.safety.registered_numbers import plain_number

PLAIN_FUNCTIONS = (types.MethodType, types.FunctionType, types.BuiltinFunctionType)

READABLE: tuple[type[msgspec.Struct], ...] = (CheckState, *READABLE_TYPES)
_INNER = frozenset({"details", "report"})  # holders of values that have fields of their own
FIELDS: dict[type, frozenset[str]] = {
    kind: (frozenset(kind.__struct_fields__) - _INNER)
    | {name for name in vars(kind) if isinstance(vars(kind)[name], property)}
    for kind in READABLE
}
"""The model's types and the fields that templates may read."""


def lacking_item(called: str, count: int, argument: object) -> str:
    """Return the message for an item that a list does not have; ``called`` is the list in the template's words."""
    if count:
        return f"{called} has {count} item{'s' * (count != 1)}, so no item {argument!r}"
    return f"{called} is empty, so it has no item {argument!r}; test it with if, or use | first | default(…)"


def list_has_no_field(name: str) -> str:
    """Return the message for a list that is asked for a field."""
    fix = word_advice(name) or "; loop over it, or pick an item, such as list[0]"
    return f"a list has no field {printable(name, 80)!r}{fix}"


class Undefined(jinja2.StrictUndefined):
    """A missing name, field or key: any use of it is an error that names what exists instead."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        obj, name = self._undefined_obj, self._undefined_name
        if self._undefined_hint or obj is runtime.missing:
            return super()._undefined_message
        if isinstance(obj, Variables):
            return f"'var.{name}' is undefined{suggestion(name, obj.values, 'var.')}"
        if misused := _misused(obj, name):
            return misused
        kind = "text" if isinstance(obj, str) else type(plain_number(obj)).__name__.lower()
        if not isinstance(name, str):
            return f"{kind} has no item {name!r}"
        if isinstance(obj, dict):
            return f"no key {name!r} here{suggestion(name, map(str, obj))}"
        known = FIELDS.get(type(obj), frozenset())
        advice = word_advice(name) if kind == "text" else field_advice(name, known)
        return f"{kind} has no field {name!r}{advice or suggestion(name, known)}"


def _misused(obj: object, name: object) -> str:
    """Return the message for a function or a list that is asked for a field or an item; empty for anything else."""
    if isinstance(obj, PLAIN_FUNCTIONS) and isinstance(name, str):
        called = f'env("{printable(name, 80)}")' if obj.__name__ == "env" else f"{obj.__name__}(…)"
        return f"{obj.__name__} is a function; write {called}"
    if isinstance(obj, tuple | list):
        if not isinstance(name, str):
            return lacking_item("the list", len(obj), name)
        return list_has_no_field(name)
    return ""


class MissingKeyError(jinja2.UndefinedError):
    """A use of a key that a table lacks."""

    def __init__(self, table: object, key: object, message: str) -> None:
        super().__init__(message)
        self.missing = table, key


class Missing(Undefined):
    """A key that a mapping lacks: it tests as false, equals nothing and contains nothing; any other use is an error."""

    __slots__ = ()

    def __init__(self, *, obj: object, name: object) -> None:
        raised = partial(MissingKeyError, obj, name)
        super().__init__(obj=obj, name=name, exc=raised)  # type: ignore[arg-type]  # Jinja only calls it

    @property
    def _undefined_message(self) -> str:
        said = super()._undefined_message
        return f'{said}{" else" if said.endswith("?") else ";"} give a default: | default("…")'

    def __bool__(self) -> bool:  # type: ignore[override]
        return False

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return isinstance(other, Missing)

    def __ne__(self, other: object) -> bool:  # type: ignore[override]
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(Missing)

    def __contains__(self, item: object) -> bool:  # type: ignore[override]
        return False
