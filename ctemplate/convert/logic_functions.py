"""Convert the logic and comparison functions of Go's templates and consul-template to Jinja."""

from __future__ import annotations

from collections.abc import Mapping

from ctemplate.convert.arguments import CallArguments, GoFunction, expect_count, expect_list
from ctemplate.convert.findings import KEY_WAITS
from ctemplate.convert.values import (
    BOOL,
    FLOAT,
    INT,
    MIXED,
    NIL,
    PARSED,
    PARSED_KINDS,
    PLAIN_VALUE,
    SCALAR,
    STRING,
    UNCONVERTED,
    GoType,
    GoValue,
    Level,
    NeverRenders,
    NotConverted,
    condition,
    constant,
    widened_type,
)


def _logic(word: str, level: Level) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        if not arguments:
            raise NeverRenders(f"{word} without arguments")
        if len(arguments) == 1:
            return arguments[0]
        if any(value.waits for value in arguments[:-1]):
            arguments.remark(KEY_WAITS)
        code = f" {word} ".join(condition(value).at(Level(level + 1)) for value in arguments)
        lacking = arguments if word == "and" else arguments[-1:]
        return GoValue(code, _shared(arguments), level, may_lack=any(value.may_lack for value in lacking))

    return convert


def _shared(arguments: CallArguments) -> GoType:
    """Return the common type of values of which one is chosen."""
    kinds = {value.type for value in arguments} - {UNCONVERTED}
    if len(kinds) == 1:
        return kinds.pop()
    if NIL in kinds:
        return NIL
    if kinds and (kind := widened_type(kinds)) is not None:
        return kind
    parsed = kinds & PARSED_KINDS
    is_printed_alike = len(parsed) == 1 and kinds <= {STRING, *PARSED_KINDS}
    return parsed.pop() if is_printed_alike else MIXED


def _not(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    if arguments[0].negation:
        return GoValue(arguments[0].negation, BOOL, Level.COMPARISON)
    return GoValue(f"not {condition(arguments[0]).at(Level.NOT)}", BOOL, Level.NOT)


_OF_ANY_TYPE = frozenset([UNCONVERTED, SCALAR, PLAIN_VALUE, *PARSED_KINDS])
_ORDERED = frozenset([STRING, INT, FLOAT, *_OF_ANY_TYPE])


def _comparable(left: GoValue, right: GoValue) -> tuple[GoValue, GoValue]:
    """Return two values that can be compared; a missing key may only be compared with a text that is not empty."""
    kinds = {left.type, right.type} - _OF_ANY_TYPE
    if len(kinds) > 1 or not kinds <= {STRING, INT, BOOL, FLOAT}:
        raise NeverRenders(f"comparing a {left.type.name} with a {right.type.name}")
    return (left if right.constant else left.given()), (right if left.constant else right.given())


def _eq(arguments: CallArguments) -> GoValue:
    if len(arguments) < 2:  # noqa: PLR2004
        raise NeverRenders("eq with fewer than two arguments")
    pairs = [_comparable(arguments[0], other) for other in arguments[1:]]
    if len(pairs) == 1:
        left, right = pairs[0]
        return _test(left.at(Level.SUM), "==", "!=", right.at(Level.SUM))
    others = ", ".join(right.code for _, right in pairs)
    left = arguments[0] if all(other.constant for other in arguments[1:]) else arguments[0].given()
    return _test(left.at(Level.SUM), "in", "not in", f"[{others}]")


def _test(left: str, sign: str, contrary: str, right: str) -> GoValue:
    """Return a comparison together with its negation."""
    return GoValue(f"{left} {sign} {right}", BOOL, Level.COMPARISON, negation=f"{left} {contrary} {right}")


def _comparison(sign: str) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2)
        left, right = _comparable(*arguments)
        if sign != "!=":
            left, right = left.given(), right.given()
            if not {left.type, right.type} <= _ORDERED:
                raise NeverRenders(f"the order of {left.type.name}s")
        return GoValue(f"{left.at(Level.SUM)} {sign} {right.at(Level.SUM)}", BOOL, Level.COMPARISON)

    return convert


def contains(item: GoValue, items: GoValue) -> GoValue:
    """Return whether a list contains an item, or a text contains a text."""
    if PARSED in {item.type, items.type} and INT in {item.type, items.type}:
        return constant(value=False)
    of_list = items.type.name == "list" and items.type.item == item.type
    is_unknown = {UNCONVERTED, *PARSED_KINDS} & {item.type, items.type}
    if not (of_list or items.type == item.type == STRING or is_unknown):
        raise NotConverted(f"looking for a {item.type.name} in a {items.type.name}", "nothing is ever found there")
    return _test(item.given().at(Level.SUM), "in", "not in", items.given().at(Level.SUM))


def _contains(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    return contains(arguments[0], arguments[1])


def _in(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    return contains(arguments[1], arguments[0])


def _several(ours: str, *, is_denied: bool = False) -> GoFunction:
    """Return a test of several items at once; the wanted items come first."""

    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2)
        needles = expect_list(arguments[0], None, "looking for items")
        items = expect_list(arguments[1], None, "looking for items in something")
        code = f"{items.at(Level.FILTERED)} is {ours}({needles.code})"
        if is_denied:
            return GoValue(f"not ({code})", BOOL, Level.NOT)
        return GoValue(code, BOOL, Level.FILTERED)

    return convert


LOGIC_FUNCTIONS: Mapping[str, GoFunction] = {
    "and": _logic("and", Level.AND),
    "or": _logic("or", Level.OR),
    "not": _not,
    "eq": _eq,
    "ne": _comparison("!="),
    "lt": _comparison("<"),
    "le": _comparison("<="),
    "gt": _comparison(">"),
    "ge": _comparison(">="),
    "contains": _contains,
    "in": _in,
    "containsAll": _several("contains_all"),
    "containsAny": _several("contains_any"),
    "containsNone": _several("contains_none"),
    "containsNotAll": _several("contains_all", is_denied=True),
}
"""The functions by their names in templates."""
