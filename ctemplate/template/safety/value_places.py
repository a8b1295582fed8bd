"""The places of values in a text of some format: within quotes, in a comment, bare.

Values that are permitted only in some places are printed between marks; when the text is complete, these show the place
of each value. Pure; must not know templates, or which values are permitted where.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ctemplate.core.lazy_pattern import lazy_pattern

BEGIN, DATA, MADE, END = "\ufdd1", "\ufdd2", "\ufdd3", "\ufdd4"
"""Noncharacters around a value: its number if it has one, then whether it is data or what a filter made, its text."""

_MARKED = lazy_pattern(f"{BEGIN}([0-9]*)([{DATA}{MADE}])([^{BEGIN}-{END}]*){END}")
_SIGNS = lazy_pattern(f"{BEGIN}[0-9]*[{DATA}{MADE}]|{END}")
_UNNUMBERED = lazy_pattern(f"{BEGIN}(?=[{DATA}{MADE}])")
_STAND_IN, _STAND_IN_END = "\ue000", "\ue001"

CONTROL_CHARACTERS = lazy_pattern("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What ends lines, moves the cursor or is no text."""

BARE, DOUBLE, SINGLE, COMMENT = "bare", "double", "single", "comment"
WHOLE = "whole"
"""A plain scalar of YAML that is nothing but the value."""
BLOCK, TEXT, TAG, UNKNOWN = "block", "text", "tag", "unknown"

KEY = " key"
"""Follows the name of a place in YAML that is part of a key."""

Scan = Callable[[Sequence[str]], list[str]]
"""Takes the stretches of own text between values, and returns the place of each value."""


class Placed(NamedTuple):
    """A value in a text: its number if it has one, whether a filter made it fit for the format, its text, its place."""

    number: str
    is_made: bool
    text: str
    place: str


def placed_value(text: str, *, is_made: bool = False, number: str = "") -> str:
    """Return a value between marks."""
    return f"{BEGIN}{number}{MADE if is_made else DATA}{text}{END}"


def numbered_value(text: str, number: str) -> str:
    """Give the marks in a text that have no number this one."""
    return _UNNUMBERED.sub(BEGIN + number, text)


def unmarked(text: str) -> str:
    """Return a text without marks."""
    return _SIGNS.sub("", text) if BEGIN in text else text


def placed(text: str, scan: Scan) -> list[Placed]:
    """Return the marked values of a text in order."""
    own, end = [], 0
    found = list(_MARKED.finditer(text))
    for value in found:
        own.append(text[end : value.start()])
        end = value.end()
    places = scan([*own, text[end:]])
    return [
        Placed(number=value[1], is_made=value[2] == MADE, text=value[3], place=place)
        for value, place in zip(found, places, strict=True)
    ]


def _by_pattern(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """Yield the place of each stand-in: the name of the group that it is within."""
    for found in pattern.finditer(text):
        for _ in range(found[0].count(_STAND_IN)):
            yield found.lastgroup or UNKNOWN


_JSON = lazy_pattern(r'(?P<double>"(?:[^"\\]++|\\.)*"?)|(?P<bare>[^"]++)', re.DOTALL)


def in_json(own: Sequence[str]) -> list[str]:
    """Return the places of values in JSON."""
    return list(_by_pattern(_JSON, _STAND_IN.join(own)))


_HAPROXY = lazy_pattern(
    r"""(?P<bare>\\.|[^\\"'\#]++)|(?P<double>"(?:[^"\\\n]++|\\.)*"?)|(?P<single>'[^'\n]*+'?)|(?P<comment>\#[^\n]*+)|.""",
    re.DOTALL,
)


def in_haproxy(own: Sequence[str]) -> list[str]:
    """Return the places of values in HAProxy's configuration: its quotes end with the line at the latest."""
    return list(_by_pattern(_HAPROXY, _STAND_IN.join(own)))


_SHELL = lazy_pattern(
    r"""(?P<bare>\\.|[^\\"'\#]++)|(?P<double>"(?:[^"\\]++|\\.)*"?)|(?P<single>'[^']*+'?)"""
    r"""|(?P<comment>(?<![^\s;&|()])\#[^\n]*+)|(?P<word>.)""",
    re.DOTALL,
)
_DEEP_SHELL = lazy_pattern(r"""<<|`|\$\(|\$'|\$\{[^}]*["'{`]""")


def in_shell(own: Sequence[str]) -> list[str]:
    """Return the places of values in shell; unknown all of them where its quotes may nest."""
    text = _STAND_IN.join(own)
    if _DEEP_SHELL.search(text):
        return [UNKNOWN] * (len(own) - 1)
    return list(_by_pattern(_SHELL, text))


_HTML = lazy_pattern(
    rf"""(?P<comment><!--.*?(?:-->|\Z))
    |(?P<raw><(?P<element>script|style|textarea|title|xmp|iframe|noembed|noframes|noscript|plaintext)\b
        .*?(?:</(?P=element)\b[^>]*>|\Z))
    |(?P<tag></?[A-Za-z!?{_STAND_IN}](?:"[^"]*+"|'[^']*+'|[^"'>]++)*>?)
    |(?P<text>[^<]++|<)""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_HTML_TAG = lazy_pattern(r"""(?P<double>"[^"]*+"?)|(?P<single>'[^']*+'?)|(?P<tag>[^"']++)""")
_RAW = "raw"


def in_html(own: Sequence[str]) -> list[str]:
    """Return the places of values in HTML; places in a script or style are ``raw``."""
    places: list[str] = []
    for found in _HTML.finditer(_STAND_IN.join(own)):
        if found["tag"] is not None:
            places += _by_pattern(_HTML_TAG, found[0])
            continue
        name = next(name for name in (COMMENT, _RAW, TEXT) if found[name] is not None)
        places += [name] * found[0].count(_STAND_IN)
    return places


_STYLES = {'"': DOUBLE, "'": SINGLE, "|": BLOCK, ">": BLOCK, None: BARE, "": BARE}
_YAML_STAND_IN = lazy_pattern(f"{_STAND_IN}([0-9]+){_STAND_IN_END}")


def in_yaml(own: Sequence[str]) -> list[str]:
    """Return the places of values in YAML, as its scanner finds them; unknown all of them where it finds a fault."""
    text = own[0] + "".join(f"{_STAND_IN}{number}{_STAND_IN_END}{after}" for number, after in enumerate(own[1:]))
    places = [COMMENT] * (len(own) - 1)
    yaml: Any = pkgutil.resolve_name("yaml")  # most processes write no YAML
    try:
        is_key = False
        for token in yaml.scan(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            value, style = getattr(token, "value", ""), getattr(token, "style", None)
            for number in _YAML_STAND_IN.findall(str(value)):
                is_whole = value == f"{_STAND_IN}{number}{_STAND_IN_END}" and not style
                is_scalar = isinstance(token, yaml.ScalarToken)
                place = WHOLE if is_whole and is_scalar else _STYLES[style] if is_scalar else TAG
                places[int(number)] = place + KEY if is_key else place
            is_key = isinstance(token, yaml.KeyToken)
    except yaml.YAMLError:
        return [UNKNOWN] * (len(own) - 1)
    return places
