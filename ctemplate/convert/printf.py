"""Convert Go's ``printf`` to Jinja, also for values that do not fit their verbs."""

from __future__ import annotations

import re
from dataclasses import replace

from ctemplate.convert.arguments import CallArguments
from ctemplate.convert.values import (
    BOOL,
    FLOAT,
    INT,
    PARSED,
    PARSED_KINDS,
    PARSED_MAP,
    PLAIN_TYPES,
    PLAIN_VALUE,
    SCALAR,
    STRING,
    STRING_MAP,
    UNCONVERTED,
    Constant,
    GoValue,
    Level,
    NotConverted,
    constant,
    joined,
)

_VERB = re.compile(r"%(?:%|([-+ #0]*)(\d*)((?:\.\d*)?)([a-zA-Z]))|%")
_INSTEAD = "join the parts with ~"
_FITTING = {
    "s": {STRING},
    "q": {STRING},
    "d": {INT},
    "x": {INT},
    "X": {INT},
    "o": {INT},
    "t": {BOOL},
    "f": {FLOAT},
    "e": {FLOAT},
    "v": {BOOL, *PLAIN_TYPES, FLOAT},
}
"""The types for which Jinja itself formats like Go."""
_RUN_TIME = frozenset([STRING, INT, FLOAT, BOOL, SCALAR, PLAIN_VALUE, STRING_MAP, PARSED_MAP, *PARSED_KINDS])
"""The types of values that ``go_printf`` can format by any verb."""
_UNKNOWN = frozenset("TOpw")
"""Verbs that ask for Go's own types."""
_WITHOUT_WHOLE = frozenset([STRING, FLOAT, BOOL, PARSED, PARSED_MAP, STRING_MAP])
_KEYS = {"d": "the number of an item", "s": "the key of a table"}
_GO_NAMES: dict[type, str] = {str: "string", int: "int", bool: "bool", float: "float64"}


def printf(arguments: CallArguments) -> GoValue:
    """Return the text that a literal format produces from its values; raises NotConverted."""
    if len(arguments) == 1 and arguments[0].constant is None and arguments[0].type in {STRING, UNCONVERTED}:
        arguments.remark(f"{arguments[0].code} is treated as a text without '%'; printf would read it as a format")
        return arguments[0].given()
    if not arguments or not isinstance(arguments[0].constant, str):
        raise NotConverted("printf with a computed format", _INSTEAD)
    form, values = arguments[0].constant, list(arguments[1:])
    parts: list[GoValue] = []
    at = 0
    for match in _VERB.finditer(form):
        parts.append(constant(form[at : match.start()]))
        at = match.end()
        if match[0] == "%%":
            parts.append(constant("%"))
        elif not match[4]:
            raise NotConverted(f"printf's {form[match.start() : match.start() + 2]!r} here", _INSTEAD)
        elif not values:
            parts.append(_mistake(arguments, f"%!{match[4]}(MISSING)"))
        else:
            parts += _formatted(match, values.pop(0), arguments)
    parts.append(constant(form[at:]))
    return joined([*parts, *_extra(values, arguments)])


def _mistake(arguments: CallArguments, text: str) -> GoValue:
    arguments.remark(f"printf prints {text}… here, as consul-template does")
    return constant(text)


def _extra(values: list[GoValue], arguments: CallArguments) -> list[GoValue]:
    """Return what Go prints for surplus values."""
    parts: list[GoValue] = []
    for number, value in enumerate(values):
        start = constant(", ") if number else _mistake(arguments, "%!(EXTRA ")
        parts += [start, constant(f"{_go_name(value)}="), value.given()]
    return [*parts, constant(")")] if parts else []


def _go_name(value: GoValue) -> str:
    if value.type == STRING:
        return "string"
    known: Constant | None = value.constant
    if known is None:
        raise NotConverted(f"printf of a {value.type.name} where another value is expected", _INSTEAD)
    return _GO_NAMES[type(known)]


def _formatted(match: re.Match[str], value: GoValue, arguments: CallArguments) -> list[GoValue]:
    """Return one value formatted by one verb."""
    flags, width, precision, verb = match.groups()
    kind = value.type
    is_plain = not (flags or width or precision)
    is_list = kind.name == "list" and kind.item in PLAIN_TYPES
    if kind == SCALAR and verb in _KEYS and value.is_natural:
        arguments.remark(f"{value.code} is taken for {_KEYS[verb]}; of anything else printf makes %!{verb}(…)")
        kind = INT if verb == "d" else STRING
        value = replace(value, type=kind, is_natural=verb == "d")
    if is_list and verb in "sv" and is_plain and (verb == "v" or kind.item == STRING):
        return [value.given()]
    if kind == UNCONVERTED or (kind in _FITTING.get(verb, ()) and not value.may_be_nil):
        if is_plain and verb in "sdvt":
            return [value.given()]
        if is_plain and verb == "q":
            return [GoValue(f"{value.given().at(Level.FILTERED)} | go_quote", STRING, Level.FILTERED)]
        if not _differs(match, value):
            python = {"v": "s" if kind == STRING else "d"}.get(verb, verb)
            form = f"%{flags}{width}{precision}{python}"
            return [GoValue(f'"{form}" | format({value.given().code})', STRING, Level.FILTERED)]
    if value.constant is not None and is_plain and kind not in _FITTING.get(verb, {kind}) and verb not in "xXqcUbT":
        return [_mistake(arguments, f"%!{verb}({_go_name(value)}="), value.given(), constant(")")]
    return [_at_run_time(match[0], value, arguments)]


def _at_run_time(form: str, value: GoValue, arguments: CallArguments) -> GoValue:
    """Return a value that is formatted by Go's rules when the template is rendered."""
    kind = value.type
    if form[-1] in _UNKNOWN:
        raise NotConverted(f"printf's {form!r}", _INSTEAD)
    if kind not in _RUN_TIME and not (kind.name == "list" and kind.item in PLAIN_TYPES):
        raise NotConverted(f"printf's {form!r} of a {kind.name}", "print its fields")
    if "0" in form.partition(".")[0].rstrip("123456789") and kind == STRING:
        raise NotConverted(f"printf's {form!r} of a string", _INSTEAD)
    if kind in {STRING, INT, FLOAT, BOOL} and kind not in _FITTING.get(form[-1], {kind}) and form[-1] not in "xX":
        arguments.remark(f"printf prints %!{form[-1]}({kind.name}=… here, as consul-template does")
    words = constant(form).code + ("" if kind in _WITHOUT_WHOLE else ", whole=true")
    given = value.given() if not value.may_be_nil else value
    return GoValue(f"{given.at(Level.FILTERED)} | go_printf({words})", STRING, Level.FILTERED)


def _differs(match: re.Match[str], value: GoValue) -> bool:
    """Return whether a verb's flags mean something else in Python."""
    flags, verb, kind = match[1], match[4], value.type
    is_padded_text = "0" in flags and not (kind in {INT, FLOAT} and "-" not in flags)
    is_signed = verb in "xXo" and not value.is_natural
    is_odd = verb in "qt" or "#" in flags or (verb == "v" and kind not in {STRING, INT}) or (match[3] and kind == INT)
    return bool(is_padded_text or is_signed or is_odd)


def printed_text(value: GoValue) -> GoValue:
    """Return what ``print`` shows of a parsed value, or of one that may be nothing: ``<nil>`` where it is missing."""
    words = '"%v"' if value.type in _WITHOUT_WHOLE else '"%v", whole=true'
    return GoValue(f"{value.at(Level.FILTERED)} | go_printf({words})", STRING, Level.FILTERED)
