"""Convert consul-template's text functions to Jinja."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ctemplate.convert.arguments import (
    CallArguments,
    GoFunction,
    expect_count,
    expect_list,
    expect_text,
    filter_function,
    filtered,
    text_method,
)
from ctemplate.convert.printf import printed_text, printf
from ctemplate.convert.values import (
    BOOL,
    GO_TEXTS,
    INT,
    NIL,
    PARSED_KINDS,
    PLAIN_TYPES,
    SCALAR,
    STRING,
    STRINGS,
    UNCONVERTED,
    GoValue,
    Level,
    NeverRenders,
    NotConverted,
    constant,
    joined,
)

_PRINTABLE = frozenset([STRING, INT, BOOL, SCALAR, UNCONVERTED, *GO_TEXTS])


def _print(arguments: CallArguments) -> GoValue:
    """Put a space between two values of which neither is a text, as Go does."""
    parts: list[GoValue] = []
    for number, value in enumerate(arguments):
        kinds = {value.type, arguments[number - 1].type}
        if number and STRING not in kinds and {SCALAR, *PARSED_KINDS} & kinds:
            raise NotConverted("print of what may be a text or a number beside another value", "join them with ~")
        if number and value.type != STRING and arguments[number - 1].type != STRING:
            parts.append(constant(" "))
        parts.append(_printable(value))
    return joined(parts)


def _println(arguments: CallArguments) -> GoValue:
    parts = [part for value in arguments for part in (constant(" "), _printable(value))]
    return joined([*parts[1:], constant("\n")])


def _printable(value: GoValue) -> GoValue:
    if value.type == NIL:
        return constant("<nil>")
    if value.type in PARSED_KINDS or value.may_be_nil:
        return printed_text(value)
    is_list = value.type.name == "list" and value.type.item in PLAIN_TYPES
    if value.type not in _PRINTABLE and not is_list:
        raise NotConverted(f"printing a {value.type.name}", "print its fields")
    return value


def _replace_all(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 3)
    old, new, text = (expect_text(value) for value in arguments)
    return filtered(text, f"replace({old.code}, {new.code})")


def _join(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    items = expect_list(arguments[1], STRING, "join")
    return filtered(items, f"join({expect_text(arguments[0]).code})")


def _split(arguments: CallArguments) -> GoValue:
    """Convert a split; an empty text after trimming gives an empty list."""
    expect_count(arguments, 2)
    separator, text = expect_text(arguments[0]), expect_text(arguments[1])
    trimmed = f"({text.at(Level.FILTERED)} | trim)"
    if separator.constant == "":
        return GoValue(f"{trimmed} | list", STRINGS, Level.FILTERED)
    if isinstance(text.constant, str) and text.constant.strip():
        return GoValue(f"{constant(text.constant.strip()).code}.split({separator.code})", STRINGS)
    parts = f"{trimmed}.split({separator.code})"
    return GoValue(f"{parts} if {trimmed} else []", STRINGS, Level.CHOICE, unguarded=parts)


def _indent(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    width, text = arguments[0], expect_text(arguments[1])
    if width.type not in {INT, UNCONVERTED, *PARSED_KINDS}:
        raise NeverRenders(f"indent by a {width.type.name}")
    return filtered(text, f"indent({width.code}, first=true)")


def _file(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 1)
    return GoValue(f"file({expect_text(arguments[0]).code})", STRING)


# regular expressions


def _regex_match(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    pattern, text = expect_text(arguments[0]), expect_text(arguments[1])
    return GoValue(f"{text.at(Level.FILTERED)} is regex_match({pattern.code})", BOOL, Level.FILTERED)


def _regex_replace(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 3)
    pattern, replacement, text = (expect_text(value) for value in arguments)
    return filtered(text, f"regex_replace({pattern.code}, {replacement.code})")


def _hmac(arguments: CallArguments) -> GoValue:
    expect_count(arguments, 2)
    message, key = expect_text(arguments[0]), expect_text(arguments[1])
    return filtered(message, f"hmac_sha256({key.code})")


def _escape(ours: str) -> GoFunction:
    """Return the conversion of one of Go's escapes: of the values as ``print`` shows them."""

    def convert(arguments: CallArguments) -> GoValue:
        return filtered(expect_text(_print(arguments)), ours)

    return convert


# environment


def _environment(name: str, default: Callable[[CallArguments], str]) -> GoFunction:
    def convert(arguments: CallArguments) -> GoValue:
        expect_count(arguments, 2 if name == "envOrDefault" else 1)
        return GoValue(f"env({expect_text(arguments[0]).code}{default(arguments)})", STRING)

    return convert


TEXT_FUNCTIONS: Mapping[str, GoFunction] = {
    "printf": printf,
    "print": _print,
    "println": _println,
    "toLower": filter_function("lower"),
    "toUpper": filter_function("upper"),
    "toTitle": filter_function("go_title"),
    "trim": text_method("strip"),  # of a set of characters
    "trimSpace": filter_function("trim"),
    "trimPrefix": text_method("removeprefix"),
    "trimSuffix": text_method("removesuffix"),
    "replaceAll": _replace_all,
    "join": _join,
    "split": _split,
    "indent": _indent,
    "regexMatch": _regex_match,
    "regexReplaceAll": _regex_replace,
    "base64Encode": filter_function("b64encode"),
    "base64Decode": filter_function("b64decode"),
    "base64URLEncode": filter_function("b64url_encode"),
    "base64URLDecode": filter_function("b64url_decode"),
    "md5sum": filter_function("md5"),
    "sha256Hex": filter_function("sha256"),
    "hmacSHA256Hex": _hmac,
    "html": _escape("go_html"),
    "js": _escape("go_js"),
    "urlquery": _escape("go_urlquery"),
    "file": _file,
    "env": _environment("env", lambda _: ', ""'),
    "mustEnv": _environment("mustEnv", lambda _: ""),
    "envOrDefault": _environment("envOrDefault", lambda arguments: f", {expect_text(arguments[1]).code}"),
}
"""The functions by their names in templates."""
