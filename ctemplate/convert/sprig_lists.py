"""Convert sprig's functions of lists and tables to Jinja."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ctemplate.convert.arguments import CallArguments, GoFunction, expect_count, expect_text, filtered
from ctemplate.convert.printf import printed_text
from ctemplate.convert.values import (
    BOOL,
    PARSED_KINDS,
    PARSED_YAML,
    PLAIN_TYPES,
    SCALAR,
    STRING,
    STRINGS,
    TABLE_TYPES,
    UNCONVERTED,
    GoType,
    GoValue,
    Level,
    NeverRenders,
    NotConverted,
    constant,
    record_of,
)


def shown_text(value: GoValue) -> GoValue:
    """Return what a value prints, as sprig's ``toString`` does."""
    if value.may_be_nil:
        raise NotConverted("a value that may be nothing where sprig expects a text", "test it with if before")
    if value.type in PARSED_KINDS:
        return printed_text(value)
    return expect_text(value) if value.type in {STRING, UNCONVERTED} else value.as_text()


# lists and tables


def _list(arguments: CallArguments) -> GoValue:
    values = [value.given() for value in arguments]
    kinds = {value.type for value in values} - {UNCONVERTED}
    code = f"[{', '.join(value.code for value in values)}]"
    if len(kinds) <= 1:
        return GoValue(code, GoType("list", kinds.pop() if kinds else STRING), is_path=not values)
    if kinds <= PLAIN_TYPES:
        return GoValue(code, GoType("list", SCALAR))
    if kinds <= TABLE_TYPES:
        return GoValue(code, PARSED_YAML)
    raise NotConverted("a list of values of several types", "write one list of each type")


def _dict(arguments: CallArguments) -> GoValue:
    values = [value.given() for value in arguments]
    if len(values) % 2:
        values.append(constant(""))
    pairs = list(zip(values[::2], values[1::2], strict=True))
    code = f"{{{', '.join(f'{shown_text(key).code}: {value.code}' for key, value in pairs)}}}"
    if all(isinstance(key.constant, str) for key, _ in pairs):
        return GoValue(code, record_of({str(key.constant): value.type for key, value in pairs}))
    if all(value.type in TABLE_TYPES for _, value in pairs):
        return GoValue(code, PARSED_YAML)
    raise NotConverted("a dict with computed keys of such values", "write its keys down")


def _get(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    table, key = arguments
    if table.type.name != "record" and table.type not in {UNCONVERTED, *PARSED_KINDS}:
        raise NeverRenders(f"get of a {table.type.name}")
    found = table.item(key)
    return constant("") if found.code == "none" else replace(_or_empty(found), may_lack=False)


def _or_empty(value: GoValue) -> GoValue:
    """Return a value, or the empty text that sprig's ``get`` gives for a missing key."""
    if not value.may_lack:
        return value
    return filtered(value, 'default("")', value.type)


def _has_key(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    table, key = arguments[0].given(), expect_text(arguments[1])
    if table.type.name != "record" and table.type not in {UNCONVERTED, *PARSED_KINDS}:
        raise NeverRenders(f"hasKey of a {table.type.name}")
    return GoValue(f"{key.at(Level.SUM)} in {table.at(Level.SUM)}", BOOL, Level.COMPARISON)


def _keys(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    table = arguments[0].given()
    if table.type.name != "record" and table.type not in {UNCONVERTED, *PARSED_KINDS}:
        raise NeverRenders(f"keys of a {table.type.name}")
    arguments.remark("sprig gives the keys in any order, and ctemplate in the order of the alphabet")
    return filtered(table, "list | sort(case_sensitive=true)", STRINGS)


def _listed(value: GoValue) -> GoValue:
    """Return a value that is a list; raises NotConverted."""
    if value.type.name != "list":
        raise NotConverted(f"sprig's list functions of a {value.type.name}", "use the filters of Jinja")
    return GoValue(f"{value.code} | list", value.type, Level.FILTERED) if value.code.startswith("range(") else value


def _of_list(code: str) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 1)
        items = _listed(arguments[0])
        if code.startswith("["):
            return GoValue(f"{items.at(Level.POSTFIX)}{code}", items.type)
        return filtered(items, code, items.type)

    return convert


def _item(ours: str) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 1)
        items = _listed(arguments[0])
        return replace(filtered(items, f"{ours} | default(none)", items.type.item or STRING), may_be_nil=True)

    return convert


def _sorted(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    items = _listed(arguments[0])
    if items.type != STRINGS:
        raise NotConverted("sortAlpha of other than texts", "use | sort")
    return filtered(items, "sort(case_sensitive=true)", STRINGS)


def _has(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    item, items = arguments[0].given(), _listed(arguments[1])
    _of_one_type(items, item)
    return GoValue(f"{item.at(Level.SUM)} in {items.at(Level.SUM)}", BOOL, Level.COMPARISON)


def _of_one_type(items: GoValue, *others: GoValue) -> None:
    if any(other.type not in {items.type.item, UNCONVERTED} for other in others):
        raise NotConverted("a list of values of several types", "write one list of each type")


def _without(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1, 20)
    items, others = _listed(arguments[0]), [value.given() for value in arguments[1:]]
    _of_one_type(items, *others)
    return filtered(items, f'reject("in", [{", ".join(value.code for value in others)}]) | list', items.type)


def _grown(*, at_end: bool) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2)
        items, item = _listed(arguments[0]), arguments[1].given()
        _of_one_type(items, item)
        parts = (items.at(Level.SUM), f"[{item.code}]")
        return GoValue(" + ".join(parts if at_end else reversed(parts)), items.type, Level.SUM)

    return convert


def _concat(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1, 20)
    lists = [_listed(value) for value in arguments]
    kinds = {value.type for value in lists}
    if len(kinds) > 1:
        raise NotConverted("a list of values of several types", "write one list of each type")
    return GoValue(" + ".join(value.at(Level.SUM) for value in lists), lists[0].type, Level.SUM)


SPRIG_LISTS: Mapping[str, GoFunction] = {
    "list": _list,
    "tuple": _list,
    "dict": _dict,
    "get": _get,
    "hasKey": _has_key,
    "keys": _keys,
    "first": _item("first"),
    "last": _item("last"),
    "rest": _of_list("[1:]"),
    "initial": _of_list("[:-1]"),
    "reverse": _of_list("reverse | list"),
    "uniq": _of_list("unique(case_sensitive=true) | list"),
    "sortAlpha": _sorted,
    "has": _has,
    "without": _without,
    "append": _grown(at_end=True),
    "push": _grown(at_end=True),
    "prepend": _grown(at_end=False),
    "concat": _concat,
}
"""The functions by their names without ``sprig_``."""
