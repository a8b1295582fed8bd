"""Convert the functions of sprig, which consul-template offers as ``sprig_…``, to Jinja."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ctemplate.convert.arguments import (
    CallArguments,
    GoFunction,
    expect_count,
    expect_text,
    filter_function,
    filtered,
    text_method,
)
from ctemplate.convert.data_functions import DATA_FUNCTIONS
from ctemplate.convert.logic_functions import LOGIC_FUNCTIONS
from ctemplate.convert.sprig_lists import SPRIG_LISTS, shown_text
from ctemplate.convert.text_functions import TEXT_FUNCTIONS
from ctemplate.convert.values import (
    BOOL,
    INT,
    NIL,
    NUMBERED_PARTS,
    PARSED,
    PARSED_KINDS,
    PLAIN_TYPES,
    STRING,
    STRINGS,
    UNCONVERTED,
    GoType,
    GoValue,
    Level,
    NeverRenders,
    NotConverted,
    constant,
    joined,
    widened_type,
)

PREFIX = "sprig_"
_BYTES = "sprig counts bytes here, and ctemplate characters"
_INTS = GoType("list", INT)


def _swapped(function: GoFunction, *order: int) -> GoFunction:
    """Return a conversion that takes its arguments in another order."""

    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, len(order))
        return function(CallArguments(tuple(arguments[place] for place in order), arguments.remark))

    return convert


# texts


def _quoted(mark: str) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        given = [shown_text(value) for value in arguments if value.type != NIL]
        shown = [[constant(mark), value, constant(mark)] if mark else [filtered(value, "go_quote")] for value in given]
        return joined([part for number, parts in enumerate(shown) for part in ([constant(" ")] * bool(number)) + parts])

    return convert


def _cat(arguments: CallArguments) -> GoValue:
    parts = [part for value in arguments if value.type != NIL for part in (constant(" "), shown_text(value))]
    return joined(parts[1:])


def _indented(*, on_new_line: bool) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2)
        width, text = arguments[0], expect_text(arguments[1])
        if width.type not in {INT, UNCONVERTED}:
            raise NeverRenders(f"indent by a {width.type.name}")
        indented = filtered(text, f"indent({width.code}, first=true, blank=true)")
        return joined([constant("\n"), indented]) if on_new_line else indented

    return convert


def _repeat(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    count, text = arguments[0], expect_text(arguments[1])
    if count.type not in {INT, UNCONVERTED}:
        raise NeverRenders(f"repeat by a {count.type.name}")
    return GoValue(f"{text.at(Level.PRODUCT)} * {count.at(Level.UNARY)}", STRING, Level.PRODUCT)


def _trunc(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    length, text = arguments[0].constant, expect_text(arguments[1])
    if not isinstance(length, int):
        raise NotConverted("trunc to a computed length", "write text[:n]")
    arguments.remark(_BYTES)
    return GoValue(
        f"{text.at(Level.POSTFIX)}[{length}:]" if length < 0 else f"{text.at(Level.POSTFIX)}[:{length}]", STRING
    )


def _substring(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 3)
    start, end, text = arguments[0].constant, arguments[1].constant, expect_text(arguments[2])
    if not (isinstance(start, int) and isinstance(end, int)):
        raise NotConverted("substr at computed places", "write text[n:m]")
    arguments.remark(_BYTES)
    place = f"{max(start, 0) or ''}:{end if end >= 0 or start < 0 else ''}"
    return GoValue(f"{text.at(Level.POSTFIX)}[{place}]", STRING)


def _split_list(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    separator, text = expect_text(arguments[0]), expect_text(arguments[1])
    if separator.constant == "":
        return filtered(text, "list", STRINGS)
    return GoValue(f"{text.at(Level.POSTFIX)}.split({separator.code})", STRINGS)


def _split(arguments: CallArguments) -> GoValue:
    return replace(_split_list(arguments), type=NUMBERED_PARTS)


def _join(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    separator, items = expect_text(arguments[0]), arguments[1].given()
    if items.type in PARSED_KINDS:
        words = "" if items.type == PARSED else ", whole=true"
        code = f'go_values | reject("none") | map("go_text"{words}) | join({separator.code})'
        return filtered(items, code)
    if items.type.name == "list" and items.type.item in PLAIN_TYPES:
        return filtered(items, f"join({separator.code})")
    raise NotConverted(f"sprig_join of a {items.type.name}", "join its fields")


# choices


def _default(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    return LOGIC_FUNCTIONS["or"](CallArguments((arguments[1], arguments[0]), arguments.remark))


def _coalesce(arguments: CallArguments) -> GoValue:
    chosen = LOGIC_FUNCTIONS["or"](arguments)
    if arguments[-1].constant:
        return chosen
    return replace(chosen, code=f"{chosen.at(Level.OR)} or none", level=Level.OR, may_be_nil=True, constant=None)


def _ternary(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 3)
    first, second, test = arguments
    kinds = {first.type, second.type}
    kind = first.type if len(kinds) == 1 else widened_type(kinds)
    if kind is None:
        raise NotConverted(f"ternary of a {first.type.name} and a {second.type.name}", "write if and else")
    code = f"{first.given().at(Level.OR)} if {test.at(Level.OR)} else {second.given().at(Level.CHOICE)}"
    return GoValue(code, kind, Level.CHOICE)


# numbers


def _numbers(sign: str, level: Level) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        if not arguments:
            raise NeverRenders(f"{sign} without arguments")
        values = [_whole(value) for value in arguments]
        if len(values) == 1:
            return values[0]
        code = f" {sign} ".join(value.at(Level(level + 1) if number else level) for number, value in enumerate(values))
        is_natural = sign != "-" and all(value.is_natural for value in values)
        return GoValue(code, INT, level, is_natural=is_natural)

    return convert


def _whole(value: GoValue) -> GoValue:
    if value.type not in {INT, UNCONVERTED}:
        raise NotConverted(f"sprig's arithmetic of a {value.type.name}", "use parseInt before it")
    return value


def _add1(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    return _numbers("+", Level.SUM)(CallArguments((arguments[0], constant(1)), arguments.remark))


def _extreme(ours: str) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        if not arguments:
            raise NeverRenders(f"{ours} without arguments")
        values = ", ".join(_whole(value).code for value in arguments)
        return GoValue(f"[{values}] | {ours}", INT, Level.FILTERED)

    return convert


def _number(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    value = arguments[0]
    if value.type == INT:
        return value
    arguments.remark(f"{value.code} is treated as a whole number, or as 0 if it is none")
    return filtered(expect_text(value), "int", INT)


def _seq(arguments: CallArguments) -> GoValue:
    """Convert a row of numbers as a text; only literal ones, since sprig counts down where the end is smaller."""
    expect_count(arguments, 1, 3)
    bounds = [value.constant for value in arguments]
    if not all(isinstance(bound, int) for bound in bounds):
        raise NotConverted("seq of computed numbers", 'write range(…) | join(" ")')
    numbers = [int(bound or 0) for bound in bounds]
    start, end = (1 if len(numbers) == 1 else numbers[0]), numbers[-1]
    step = numbers[1] if len(numbers) == 3 else (1 if end >= start else -1)  # noqa: PLR2004
    if step == 0:
        return constant("")
    return constant(" ".join(map(str, range(start, end + (1 if step > 0 else -1), step))))


def _until(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    count = _whole(arguments[0])
    if not count.is_natural:
        raise NotConverted("until a number that may be negative", "write range(n)")
    return GoValue(f"range({count.code})", _INTS)


def _until_step(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 3)
    step = arguments[2].constant
    if not isinstance(step, int) or not step:
        raise NotConverted("untilStep with a computed step", "write range(start, stop, step)")
    return GoValue(f"range({', '.join(_whole(value).code for value in arguments)})", _INTS)


def _fail(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    return GoValue(f"fail({expect_text(arguments[0]).code})", STRING)


_SPRIG: Mapping[str, GoFunction] = {
    "trim": filter_function("trim"),
    "trimAll": TEXT_FUNCTIONS["trim"],
    "trimall": TEXT_FUNCTIONS["trim"],
    "trimPrefix": TEXT_FUNCTIONS["trimPrefix"],
    "trimSuffix": TEXT_FUNCTIONS["trimSuffix"],
    "upper": filter_function("upper"),
    "lower": filter_function("lower"),
    "repeat": _repeat,
    "trunc": _trunc,
    "substr": _substring,
    "replace": TEXT_FUNCTIONS["replaceAll"],
    "contains": _swapped(LOGIC_FUNCTIONS["contains"], 0, 1),
    "hasPrefix": text_method("startswith", BOOL),
    "hasSuffix": text_method("endswith", BOOL),
    "quote": _quoted(""),
    "squote": _quoted("'"),
    "cat": _cat,
    "indent": _indented(on_new_line=False),
    "nindent": _indented(on_new_line=True),
    "toString": lambda arguments: shown_text(_single(arguments)),
    "join": _join,
    "splitList": _split_list,
    "split": _split,
    "b64enc": TEXT_FUNCTIONS["base64Encode"],
    "b64dec": TEXT_FUNCTIONS["base64Decode"],
    "sha1sum": filter_function("sha1"),
    "sha256sum": TEXT_FUNCTIONS["sha256Hex"],
    "regexMatch": TEXT_FUNCTIONS["regexMatch"],
    "regexReplaceAll": _swapped(TEXT_FUNCTIONS["regexReplaceAll"], 0, 2, 1),
    "default": _default,
    "empty": LOGIC_FUNCTIONS["not"],
    "coalesce": _coalesce,
    "ternary": _ternary,
    "add": _numbers("+", Level.SUM),
    "sub": _swapped(_numbers("-", Level.SUM), 0, 1),
    "mul": _numbers("*", Level.PRODUCT),
    "div": _swapped(DATA_FUNCTIONS["divide"], 1, 0),
    "mod": _swapped(DATA_FUNCTIONS["modulo"], 1, 0),
    "add1": _add1,
    "max": _extreme("max"),
    "min": _extreme("min"),
    "int": _number,
    "int64": _number,
    "atoi": _number,
    "seq": _seq,
    "until": _until,
    "untilStep": _until_step,
    "merge": DATA_FUNCTIONS["mergeMap"],
    "mergeOverwrite": DATA_FUNCTIONS["mergeMapWithOverride"],
    "fromJson": DATA_FUNCTIONS["parseJSON"],
    "toJson": DATA_FUNCTIONS["toJSON"],
    "toPrettyJson": DATA_FUNCTIONS["toJSONPretty"],
    "toRawJson": DATA_FUNCTIONS["toUnescapedJSON"],
    "fail": _fail,
}


def _single(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    return arguments[0]


SPRIG_FUNCTIONS: Mapping[str, GoFunction] = {
    f"{PREFIX}{name}": function for name, function in {**_SPRIG, **SPRIG_LISTS}.items()
}
"""The functions by their names in templates."""
