"""Convert consul-template's functions of lists, maps, numbers and parsed values to Jinja."""

from __future__ import annotations

from collections.abc import Mapping

from ctemplate.convert.arguments import (
    CallArguments,
    GoFunction,
    expect_count,
    expect_list,
    expect_text,
    filter_function,
)
from ctemplate.convert.values import (
    BOOL,
    FLOAT,
    INSTANCE,
    INT,
    KEYED_PAIRS,
    PAIR,
    PARSED,
    PARSED_KINDS,
    PARSED_YAML,
    SCALAR,
    SERVICE,
    STRING,
    STRING_MAP,
    UNCONVERTED,
    GoType,
    GoValue,
    Level,
    NeverRenders,
    NotConverted,
    groups_of,
)

_MEASURED = frozenset(["list", "map", "groups", "keyed pairs"])


def _len(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    value = arguments[0]
    if value.type in {STRING, *PARSED_KINDS}:
        return GoValue(f"{value.given().at(Level.FILTERED)} | go_length", INT, Level.FILTERED, is_natural=True)
    if value.type.name not in _MEASURED and value.type != UNCONVERTED:
        raise NeverRenders(f"the length of a {value.type.name}")
    return GoValue(f"{value.given().at(Level.FILTERED)} | length", INT, Level.FILTERED, is_natural=True)


def _index(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1, 9)
    value = arguments[0]
    for key in arguments[1:]:
        if value.type == UNCONVERTED:
            return value
        if value.may_lack and value.type not in PARSED_KINDS:
            value = value.given()
        value = value.item(key)
    return value


# numbers


def _number_type(arguments: CallArguments) -> GoType:
    """Return the type of a calculation's result; raises NotConverted."""
    kinds = {value.type for value in arguments} - {UNCONVERTED, SCALAR}
    if not kinds <= {INT, FLOAT, *PARSED_KINDS}:
        raise NeverRenders("arithmetic of anything but numbers")
    parsed = kinds & PARSED_KINDS
    if parsed:
        return PARSED if PARSED in parsed else PARSED_YAML
    return FLOAT if FLOAT in kinds else INT


def _arithmetic(sign: str, level: Level) -> GoFunction:
    """Convert a calculation; the first argument is the second operand, so that pipes read well."""

    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2)
        kind = _number_type(arguments)
        right, left = arguments
        if sign in {"+", "*"} and left.constant is not None:
            right, left = left, right
        is_natural = left.is_natural and right.is_natural and sign != "-"
        code = f"{left.at(level)} {sign} {right.at(Level(level + 1))}"
        return GoValue(code, kind, level, is_natural=is_natural and kind == INT)

    return convert


def _division(sign: str, name: str) -> GoFunction:
    """Convert a division: Go truncates whole numbers toward zero, and Jinja does so if none is negative."""

    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2)
        kind = _number_type(arguments)
        right, left = arguments
        if kind != INT:
            return _float_division(left, right, kind, name)
        if left.is_natural and right.is_natural:
            code = f"{left.at(Level.PRODUCT)} {sign} {right.at(Level.UNARY)}"
            return GoValue(code, INT, Level.PRODUCT, is_natural=True)
        return GoValue(f"{left.at(Level.FILTERED)} | {name}({right.code})", INT, Level.FILTERED)

    return convert


def _float_division(left: GoValue, right: GoValue, kind: GoType, name: str) -> GoValue:
    if name != "divide" or kind == PARSED_YAML:
        raise NotConverted(f"{name} of anything but whole numbers", "write | int before it")
    return GoValue(f"{left.at(Level.PRODUCT)} / {right.at(Level.UNARY)}", kind, Level.PRODUCT)


def _extreme(name: str) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2)
        kind = _number_type(arguments)
        code = f"[{arguments[1].code}, {arguments[0].code}] | {name}"
        is_natural = all(value.is_natural for value in arguments)
        return GoValue(code, kind, Level.FILTERED, is_natural=is_natural and kind == INT)

    return convert


def _loop(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1, 2)
    texts = {STRING, SCALAR}
    numbers = CallArguments(tuple(value for value in arguments if value.type not in texts), arguments.remark)
    if numbers and _number_type(numbers) != INT:
        raise NotConverted("a loop to anything but a whole number", "write | int before it")
    is_natural = len(arguments) == 1 or arguments[0].is_natural
    ends = (f"{value.given().at(Level.FILTERED)} | int" if value.type in texts else value.code for value in arguments)
    code = f"range({', '.join(ends)})"
    return GoValue(code, GoType("natural loop" if is_natural else "loop", INT))


# parsed values


_JSON_TYPES = frozenset([STRING, INT, FLOAT, BOOL, UNCONVERTED, *PARSED_KINDS])


def _json(*options: str) -> GoFunction:
    words = f"({', '.join(options)})" if options else ""

    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 1)
        value = _document(arguments[0], "toJSON")
        return GoValue(f"{value.at(Level.FILTERED)} | go_json{words}", STRING, Level.FILTERED)

    return convert


def _document(value: GoValue, name: str) -> GoValue:
    """Return a value whose JSON or YAML can be written; raises NotConverted."""
    if value.type.name == "record":
        return value.as_table()
    advice = "write its lines yourself, with | to_json for each value"
    if value.type not in _JSON_TYPES and value.type.name not in {"list", "map"}:
        raise NotConverted(f"{name} of a {value.type.name}", advice)
    if value.type.item not in {None, STRING, INT, SCALAR, PARSED}:
        raise NotConverted(f"{name} of Consul's own data", advice)
    return value.given()


def _yaml(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    value = _document(arguments[0], "toYAML")
    words = "" if value.type in {PARSED, FLOAT, STRING, BOOL, STRING_MAP} else "(whole=true)"
    return GoValue(f"{value.at(Level.FILTERED)} | go_yaml{words}", STRING, Level.FILTERED)


def _toml(_arguments: CallArguments) -> GoValue:
    raise NotConverted("the layout of toTOML", "print the parts, or use | to_toml")


# groups


def _by_tag(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    items = arguments[0]
    if items.type.item not in {INSTANCE, SERVICE} or items.type.name != "list":
        raise NeverRenders(f"byTag of a {items.type.name}")
    return GoValue(f"{items.at(Level.FILTERED)} | by_tag", groups_of(items.type), Level.FILTERED)


def _by_port(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    items = expect_list(arguments[0], INSTANCE, "byPort")
    return GoValue(f"{items.at(Level.FILTERED)} | by_port", GoType("groups by number", items.type), Level.FILTERED)


def _by_meta(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    items = expect_list(arguments[1], INSTANCE, "byMeta")
    code = f"{items.at(Level.FILTERED)} | go_by_meta({expect_text(arguments[0]).code})"
    return GoValue(code, groups_of(items.type), Level.FILTERED)


def _by_key(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    pairs = expect_list(arguments[0], PAIR, "byKey")
    return GoValue(f"{pairs.at(Level.FILTERED)} | by_key", groups_of(KEYED_PAIRS), Level.FILTERED)


def _explode(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    pairs = expect_list(arguments[0], PAIR, "explode")
    return GoValue(f"{pairs.at(Level.FILTERED)} | explode", PARSED, Level.FILTERED)


def _explode_map(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    table = _table(arguments[0], "explodeMap")
    return GoValue(f"{table.at(Level.FILTERED)} | explode", table.type, Level.FILTERED)


def _table(value: GoValue, name: str) -> GoValue:
    if value.type not in {UNCONVERTED, *PARSED_KINDS}:
        raise NeverRenders(f"{name} of a {value.type.name}")
    return value.given()


def _merge(name: str, override: str) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2)
        table, other = (_table(value, name) for value in arguments)
        if {table.type, other.type} == PARSED_KINDS:
            raise NotConverted(f"{name} of values of JSON and of YAML", "read both with parseYAML")
        if table.is_path:
            arguments.remark(f"consul-template's {name} changes {table.code} as well; here only the result has both")
        code = f"{table.at(Level.FILTERED)} | go_merge({other.code}, override={override})"
        return GoValue(code, table.type, Level.FILTERED)

    return convert


def _slice(arguments: CallArguments) -> GoValue:
    """Convert a slice of a list or of a text; Go counts the bytes of a text."""
    expect_count(arguments, 1, 3)
    value, places = arguments[0].given(), arguments[1:]
    if value.type.name != "list" and value.type not in {STRING, UNCONVERTED}:
        raise NotConverted(f"a slice of a {value.type.name}", "use list[1:3]")
    if any(place.type not in {INT, UNCONVERTED} for place in places):
        raise NeverRenders("a slice at what is no whole number")
    words = ", ".join(place.code for place in places)
    return GoValue(f"{value.at(Level.FILTERED)} | go_slice({words})", value.type, Level.FILTERED)


def _split_to_map(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 3)
    outer, inner, text = (expect_text(value) for value in arguments)
    code = f"{text.at(Level.FILTERED)} | split_map({outer.code}, {inner.code})"
    return GoValue(code, STRING_MAP, Level.FILTERED)


DATA_FUNCTIONS: Mapping[str, GoFunction] = {
    "len": _len,
    "index": _index,
    "add": _arithmetic("+", Level.SUM),
    "subtract": _arithmetic("-", Level.SUM),
    "multiply": _arithmetic("*", Level.PRODUCT),
    "divide": _division("//", "divide"),
    "modulo": _division("%", "modulo"),
    "minimum": _extreme("min"),
    "maximum": _extreme("max"),
    "loop": _loop,
    "parseInt": filter_function("int", INT),
    "parseUint": filter_function("int", INT),
    "parseFloat": filter_function("float", FLOAT),
    "parseBool": filter_function("bool", BOOL),
    "parseJSON": filter_function("from_json", PARSED),
    "parseYAML": filter_function("go_from_yaml", PARSED_YAML),
    "toJSON": _json(),
    "toJSONPretty": _json("indent=2"),
    "toUnescapedJSON": _json("html=false"),
    "toUnescapedJSONPretty": _json("indent=2", "html=false"),
    "toYAML": _yaml,
    "toTOML": _toml,
    "byTag": _by_tag,
    "byPort": _by_port,
    "byMeta": _by_meta,
    "byKey": _by_key,
    "explode": _explode,
    "explodeMap": _explode_map,
    "mergeMap": _merge("mergeMap", "false"),
    "mergeMapWithOverride": _merge("mergeMapWithOverride", "true"),
    "slice": _slice,
    "splitToMap": _split_to_map,
}
"""The functions by their names in templates."""
