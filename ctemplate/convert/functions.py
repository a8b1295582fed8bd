"""The functions of Go and consul-template in Jinja.

Each takes the values of its arguments, the piped one last, and raises Refusal for what has no counterpart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ctemplate.convert.query_grammar import NamedQuery, QueryError, parse_query
from ctemplate.convert.values import (
    BOOL,
    INSTANCE,
    INT,
    PAIR,
    SERVICE,
    STRING,
    STRINGS,
    UNCONVERTED,
    GoType,
    GoValue,
    Level,
    NotConverted,
    constant,
    joined,
)

CallArguments = Sequence[GoValue]

_PLACEHOLDER = re.compile(r"qz(\d+)zq")
_VERB = re.compile(r"%(?:%|([-0]?)(\d*)([a-zA-Z]))|%")


def _text(value: GoValue, what: str = "a text") -> GoValue:
    if value.type not in {STRING, UNCONVERTED}:
        raise NotConverted(f"a {value.type.name} where {what} is expected")
    return value.given()


def _count(arguments: CallArguments, least: int, most: int | None = None) -> None:
    most = least if most is None else most
    if not least <= len(arguments) <= most:
        raise NotConverted(f"{len(arguments)} arguments where {least} to {most} are expected")


# Consul


def _query(function: str, arguments: CallArguments) -> tuple[NamedQuery | None, Callable[[str], GoValue]]:
    """Return what the arguments ask for, and how to get the values of its words, some of which may be computed."""
    computed: list[GoValue] = []

    def word(part: GoValue) -> str:
        if isinstance(part.constant, str):
            return part.constant
        computed.append(_text(part, "a name"))
        return f"qz{len(computed) - 1}zq"

    texts = ["".join(map(word, value.parts or (value,))) for value in arguments]
    try:
        query = parse_query(function, "|".join(texts))
    except QueryError as exc:
        raise NotConverted(_PLACEHOLDER.sub("…", str(exc))) from None

    def value(text: str) -> GoValue:
        pieces = _PLACEHOLDER.split(text)
        return joined([computed[int(piece)] if number % 2 else constant(piece) for number, piece in enumerate(pieces)])

    return query, value


def _call(name: str, query: NamedQuery, value: Callable[[str], GoValue], *extra: str) -> str:
    if query.sameness_group:
        raise NotConverted("sameness groups", "name the peer")
    named = {
        "tag": query.tag,
        "dc": query.dc,
        "near": query.near,
        "ns": query.ns,
        "partition": query.partition,
        "peer": query.peer,
    }
    words = [f"{key}={value(text).code}" for key, text in named.items() if text]
    subject = [value(query.name).code] if query.name else []
    return f"{name}({', '.join([*subject, *words, *extra])})"


def _service(arguments: CallArguments) -> GoValue:
    query, value = _query("service", arguments)
    instances = GoType("list", INSTANCE)
    if query is None:
        return GoValue("[]", instances, is_path=True)
    statuses = query.statuses
    if any(_PLACEHOLDER.search(status) for status in statuses):
        raise NotConverted("a computed status")
    if statuses == ("passing",):
        extra = []
    elif len(statuses) == 1 or "any" in statuses:
        extra = [f'status="{"any" if "any" in statuses else statuses[0]}"']
    else:
        extra = [f"status=[{', '.join(constant(status).code for status in statuses)}]"]
    return GoValue(_call("service", query, value, *extra), instances)


def _services(arguments: CallArguments) -> GoValue:
    _count(arguments, 0, 1)
    query, value = _query("services", arguments)
    return GoValue(_call("services", query or NamedQuery(), value), GoType("list", SERVICE))


def _key(arguments: CallArguments) -> GoValue:
    _count(arguments, 1)
    query, value = _query("key", arguments)
    return constant("") if query is None else GoValue(_call("key", query, value), STRING)


def _key_exists(arguments: CallArguments) -> GoValue:
    _count(arguments, 1)
    query, value = _query("keyExists", arguments)
    return constant(value=False) if query is None else GoValue(_call("key_exists", query, value), BOOL)


def _key_or_default(arguments: CallArguments) -> GoValue:
    _count(arguments, 2)
    query, value = _query("keyOrDefault", arguments[:1])
    default = _text(arguments[1])
    if query is None:
        return default
    code = f"{_call('key', query, value, 'default=' + chr(34) * 2)} or {default.at(Level.AND)}"
    return GoValue(code, STRING, Level.OR)


def _pairs(name: str) -> Callable[[CallArguments], GoValue]:
    def convert(arguments: CallArguments) -> GoValue:
        _count(arguments, 1)
        query, value = _query(name, arguments)
        pairs = GoType("list", PAIR)
        return GoValue("[]", pairs, is_path=True) if query is None else GoValue(_call(name, query, value), pairs)

    return convert


def _environment(name: str, default: Callable[[CallArguments], str]) -> Callable[[CallArguments], GoValue]:
    def convert(arguments: CallArguments) -> GoValue:
        _count(arguments, 2 if name == "envOrDefault" else 1)
        return GoValue(f"env({_text(arguments[0]).code}{default(arguments)})", STRING)

    return convert


# texts


def _printf(arguments: CallArguments) -> GoValue:
    if not arguments or not isinstance(arguments[0].constant, str):
        raise NotConverted("printf with a computed format", "join the parts with ~")
    form, values = arguments[0].constant, list(arguments[1:])
    parts: list[GoValue] = []
    at = 0
    for match in _VERB.finditer(form):
        parts.append(constant(form[at : match.start()]))
        at = match.end()
        if match[0] == "%%":
            parts.append(constant("%"))
        elif match[3] and values:
            parts.append(_formatted(match, values.pop(0)))
        else:
            raise NotConverted(f"printf's {form[match.start() : match.start() + 2]!r} here", "join the parts with ~")
    if values:
        raise NotConverted("printf with more values than its format has places for")
    return joined([*parts, constant(form[at:])])


def _formatted(match: re.Match[str], value: GoValue) -> GoValue:
    """Return one value by one verb."""
    verb, kind = match[3], value.type
    fits = (
        (verb == "s" and kind == STRING)
        or (verb in "dxXo" and kind == INT)
        or (verb == "v" and kind in {STRING, INT, BOOL})
    )
    if not fits and kind != UNCONVERTED:
        raise NotConverted(f"printf's '%{verb}' of a {kind.name}", "join the parts with ~")
    if verb in "sdv" and not match[1] and not match[2]:
        return value.given()
    if kind == BOOL or (match[1] == "0" and kind != INT):
        raise NotConverted(f"printf's {match[0]!r} of a {kind.name}")
    if verb != "s" and kind == INT and not value.is_natural and verb in "xXo":
        raise NotConverted(f"printf's {match[0]!r} of a number that may be negative")
    form = f"%{match[1]}{match[2]}{'s' if verb == 'v' and kind == STRING else 'd' if verb == 'v' else verb}"
    return GoValue(f'"{form}" | format({value.given().code})', STRING, Level.FILTERED)


def _print(arguments: CallArguments) -> GoValue:
    """Put a blank between two values of which neither is a text."""
    parts: list[GoValue] = []
    for number, value in enumerate(arguments):
        if number and value.type != STRING and arguments[number - 1].type != STRING:
            parts.append(constant(" "))
        parts.append(_printable(value))
    return joined(parts)


def _println(arguments: CallArguments) -> GoValue:
    parts = [part for value in arguments for part in (constant(" "), _printable(value))]
    return joined([*parts[1:], constant("\n")])


def _printable(value: GoValue) -> GoValue:
    if value.type not in {STRING, INT, BOOL, UNCONVERTED}:
        raise NotConverted(f"printing a {value.type.name}", "print its fields")
    return value


def _filter(name: str) -> Callable[[CallArguments], GoValue]:
    def convert(arguments: CallArguments) -> GoValue:
        _count(arguments, 1)
        return GoValue(f"{_text(arguments[0]).at(Level.FILTERED)} | {name}", STRING, Level.FILTERED)

    return convert


def _method(name: str) -> Callable[[CallArguments], GoValue]:
    def convert(arguments: CallArguments) -> GoValue:
        _count(arguments, 2)
        subject = _text(arguments[1])
        return GoValue(f"{subject.at(Level.POSTFIX)}.{name}({_text(arguments[0]).code})", STRING)

    return convert


def _replace_all(arguments: CallArguments) -> GoValue:
    _count(arguments, 3)
    old, new, text = (_text(value) for value in arguments)
    if old.constant == "":
        raise NotConverted("replaceAll of the empty text")
    return GoValue(f"{text.at(Level.FILTERED)} | replace({old.code}, {new.code})", STRING, Level.FILTERED)


def _join(arguments: CallArguments) -> GoValue:
    _count(arguments, 2)
    if arguments[1].type not in {STRINGS, UNCONVERTED}:
        raise NotConverted(f"join of a {arguments[1].type.name}")
    return GoValue(f"{arguments[1].at(Level.FILTERED)} | join({_text(arguments[0]).code})", STRING, Level.FILTERED)


def _split(arguments: CallArguments) -> GoValue:
    """Split what is left after trimming; of nothing, nothing."""
    _count(arguments, 2)
    separator, text = _text(arguments[0]), _text(arguments[1])
    if not isinstance(separator.constant, str) or not separator.constant:
        raise NotConverted("split by a computed or empty text")
    trimmed = f"({text.at(Level.FILTERED)} | trim)"
    return GoValue(f"{trimmed}.split({separator.code}) if {trimmed} else []", STRINGS, Level.CHOICE)


# logic


def _logic(word: str, level: Level) -> Callable[[CallArguments], GoValue]:
    def convert(arguments: CallArguments) -> GoValue:
        if not arguments:
            raise NotConverted(f"{word} without arguments")
        if len(arguments) == 1:
            return arguments[0]
        kinds = {value.type for value in arguments} - {UNCONVERTED}
        kind = kinds.pop() if len(kinds) == 1 else GoType("mixed value")
        code = f" {word} ".join(value.at(Level(level + 1)) for value in arguments)
        lacking = arguments if word == "and" else arguments[-1:]
        return GoValue(code, kind, level, may_lack=any(value.may_lack for value in lacking))

    return convert


def _not(arguments: CallArguments) -> GoValue:
    _count(arguments, 1)
    return GoValue(f"not {arguments[0].at(Level.NOT)}", BOOL, Level.NOT)


_ORDERED = frozenset([STRING, INT])


def _comparable(left: GoValue, right: GoValue) -> tuple[GoValue, GoValue]:
    """Return two values ready to be compared; a key that is not there may stand beside a text that is not empty."""
    kinds = {left.type, right.type} - {UNCONVERTED}
    if len(kinds) > 1 or (kinds and not kinds <= {STRING, INT, BOOL}):
        raise NotConverted(f"comparing a {left.type.name} with a {right.type.name}")
    return (left if right.constant else left.given()), (right if left.constant else right.given())


def _eq(arguments: CallArguments) -> GoValue:
    if len(arguments) < 2:  # noqa: PLR2004
        raise NotConverted("eq with fewer than two arguments")
    pairs = [_comparable(arguments[0], other) for other in arguments[1:]]
    if len(pairs) == 1:
        left, right = pairs[0]
        return GoValue(f"{left.at(Level.SUM)} == {right.at(Level.SUM)}", BOOL, Level.COMPARISON)
    others = ", ".join(right.code for _, right in pairs)
    left = arguments[0] if all(other.constant for other in arguments[1:]) else arguments[0].given()
    return GoValue(f"{left.at(Level.SUM)} in [{others}]", BOOL, Level.COMPARISON)


def _comparison(sign: str) -> Callable[[CallArguments], GoValue]:
    def convert(arguments: CallArguments) -> GoValue:
        _count(arguments, 2)
        left, right = _comparable(*arguments)
        if sign != "!=":
            left, right = left.given(), right.given()
            if not {left.type, right.type} <= _ORDERED | {UNCONVERTED}:
                raise NotConverted(f"the order of {left.type.name}s")
        return GoValue(f"{left.at(Level.SUM)} {sign} {right.at(Level.SUM)}", BOOL, Level.COMPARISON)

    return convert


def contains(item: GoValue, items: GoValue) -> GoValue:
    """Return whether a list has an item, or a text holds a text."""
    of_list = items.type.name == "list" and items.type.item == item.type
    if not (of_list or items.type == item.type == STRING) and UNCONVERTED not in {item.type, items.type}:
        raise NotConverted(f"looking for a {item.type.name} in a {items.type.name}")
    return GoValue(f"{item.given().at(Level.SUM)} in {items.given().at(Level.SUM)}", BOOL, Level.COMPARISON)


def _contains(arguments: CallArguments) -> GoValue:
    _count(arguments, 2)
    return contains(arguments[0], arguments[1])


def _in(arguments: CallArguments) -> GoValue:
    _count(arguments, 2)
    return contains(arguments[1], arguments[0])


# lists and numbers


def _len(arguments: CallArguments) -> GoValue:
    _count(arguments, 1)
    value = arguments[0]
    if value.type.name not in {"list", "map"} and value.type != UNCONVERTED:
        raise NotConverted(
            f"the length of a {value.type.name}, which Go counts in bytes", "use | length for characters"
        )
    return GoValue(f"{value.at(Level.FILTERED)} | length", INT, Level.FILTERED, is_natural=True)


def _index(arguments: CallArguments) -> GoValue:
    _count(arguments, 1, 9)
    value = arguments[0]
    for key in arguments[1:]:
        if value.type == UNCONVERTED:
            return value
        if value.may_lack:
            raise NotConverted("index of a key that may not be there")
        value = value.item(key)
    return value


def _numbers(arguments: CallArguments) -> None:
    if not {value.type for value in arguments} <= {INT, UNCONVERTED}:
        raise NotConverted("arithmetic of anything but whole numbers")


def _arithmetic(sign: str, level: Level) -> Callable[[CallArguments], GoValue]:
    """Calculate; the first argument is the second operand, so that pipes read well."""

    def convert(arguments: CallArguments) -> GoValue:
        _count(arguments, 2)
        _numbers(arguments)
        right, left = arguments
        if sign in {"+", "*"} and left.constant is not None:
            right, left = left, right
        is_natural = left.is_natural and right.is_natural and sign != "-"
        if sign in {"//", "%"} and not is_natural:
            raise NotConverted(f"{'division' if sign == '//' else 'modulo'} of numbers that may be negative")
        code = f"{left.at(level)} {sign} {right.at(Level(level + 1))}"
        return GoValue(code, INT, level, is_natural=is_natural)

    return convert


def _loop(arguments: CallArguments) -> GoValue:
    _count(arguments, 1, 2)
    _numbers(arguments)
    is_natural = len(arguments) == 1 or arguments[0].is_natural
    code = f"range({', '.join(value.code for value in arguments)})"
    return GoValue(code, GoType("natural loop" if is_natural else "loop", INT))


FUNCTIONS: Mapping[str, Callable[[CallArguments], GoValue]] = {
    "service": _service,
    "services": _services,
    "key": _key,
    "keyExists": _key_exists,
    "keyOrDefault": _key_or_default,
    "key_exists": _key_exists,
    "key_or_default": _key_or_default,
    "ls": _pairs("ls"),
    "tree": _pairs("tree"),
    "env": _environment("env", lambda _: ', ""'),
    "mustEnv": _environment("mustEnv", lambda _: ""),
    "envOrDefault": _environment("envOrDefault", lambda arguments: f", {_text(arguments[1]).code}"),
    "printf": _printf,
    "print": _print,
    "println": _println,
    "toLower": _filter("lower"),
    "toUpper": _filter("upper"),
    "trimSpace": _filter("trim"),
    "trimPrefix": _method("removeprefix"),
    "trimSuffix": _method("removesuffix"),
    "replaceAll": _replace_all,
    "join": _join,
    "split": _split,
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
    "len": _len,
    "index": _index,
    "add": _arithmetic("+", Level.SUM),
    "subtract": _arithmetic("-", Level.SUM),
    "multiply": _arithmetic("*", Level.PRODUCT),
    "divide": _arithmetic("//", Level.PRODUCT),
    "modulo": _arithmetic("%", Level.PRODUCT),
    "loop": _loop,
}

ADVICE: Mapping[str, str] = (
    dict.fromkeys(["secret", "secrets", "pkiCert", "vault"], "give it as a file or a variable: env(), -var")
    | dict.fromkeys(["nomadService", "nomadServices", "nomadVar", "nomadVarList"], "Nomad is not read")
    | {
        "plugin": "run the program before, and give what it prints as a variable",
        "timestamp": "leave it out: output that always differs reloads always",
        "scratch": "use {% set %} or namespace()",
        "byTag": "loop over services(tag=…) or service(…, tag=…)",
        "file": "use {% include %}",
    }
)
"""What to write instead of functions that have no counterpart."""
