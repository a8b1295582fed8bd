"""The filters and tests of templates: Jinja's (without its HTML and random filters), with limits; and the escapes.

Must not know services.
"""

from __future__ import annotations

import pkgutil
import shlex
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from inspect import signature
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, StrictUndefined, pass_environment
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.tests import TESTS

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.nginx.language import quoting
from ctemplate.template.language.arithmetic import bool_, divide, modulo
from ctemplate.template.language.documents import (
    from_json,
    from_toml,
    from_yaml,
    go_from_yaml,
    go_yaml,
    json,
    to_json,
    to_toml,
    to_yaml,
    yaml,
)
from ctemplate.template.language.encodings import (
    b64decode,
    b64encode,
    b64url_decode,
    b64url_encode,
    hmac_sha256,
    md5,
    sha1,
    sha256,
)
from ctemplate.template.language.go_escapes import GO_ESCAPES
from ctemplate.template.language.go_printf import go_printf
from ctemplate.template.language.go_tables import GO_TABLE_FILTERS
from ctemplate.template.language.go_values import GO_FILTERS
from ctemplate.template.language.grouping import (
    by_first_step,
    by_meta,
    by_port,
    by_tag,
    contains_all,
    contains_any,
    contains_none,
    explode,
    merge,
    natural_sort,
    not_contains,
    split_map,
)
from ctemplate.template.language.patterns import regex_match, regex_replace, regex_search
from ctemplate.template.language.text_methods import replaced
from ctemplate.template.safety.limits import check_numbers
from ctemplate.template.safety.registered_numbers import registered
from ctemplate.template.safety.tainted_text import (
    QUOTED,
    TRUSTED,
    Refused,
    TaintedText,
    Trusted,
    derived,
    escaped,
    formatted,
    is_own,
    is_token,
    joined_text,
    shadow_of,
    text_of,
    with_shadow,
)
from ctemplate.template.safety.value_places import CONTROL_CHARACTERS as _CONTROL, placed_value, unmarked

_HTML = frozenset(["e", "escape", "forceescape", "safe", "striptags", "urlize", "xmlattr"])
_REMOVED = _HTML | {"random", "pprint"}
_BOUNDED = frozenset(["batch", "center", "slice", "round", "truncate", "wordwrap"])
_COMPARING = frozenset(["max", "min", "sort"])
_JINJA: dict[str, Callable[..., Any]] = dict(FILTERS)
_KEPT = "._-:/@+[]"
HAPROXY_LONGEST = 400
"""Characters of one value in an HAProxy line, which has at most 2,048 bytes."""

_DERIVED = frozenset({str, list, tuple, dict})
_CALCULATED = frozenset({int, float})
_PICKING = frozenset({"d", "default", "first", "last", "max", "min", "random"})
"""Filters that return one of their arguments, so that the value's origin is kept."""

_READING = frozenset({"from_json", "from_toml", "from_yaml", "go_from_yaml"})
"""Filters that turn a text into lists and tables with numbers."""

_NO_TEXT = lazy_pattern("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def quote(value: Any, dollar: str | None = None) -> str:
    """Return the text in nginx's quotes, as one argument. A final check tests that it starts an argument."""
    if type(value) is Trusted:
        return escaped(quoting.quote, value, dollar=dollar)
    quoted = escaped(_quote, value, dollar=dollar)
    return with_shadow(QUOTED + quoted, QUOTED + quoted.shadow) if isinstance(quoted, TaintedText) else quoted


def _quote(text: str, dollar: str | None) -> str:
    if text.startswith("~"):
        raise quoting.UnsafeTextError("begins with '~' and would be a pattern")
    if QUOTED in text:
        raise quoting.UnsafeTextError("holds a noncharacter")
    return quoting.quote(text, dollar=dollar)


def comment(value: Any) -> str:
    """Return the text in a form for comments."""
    return escaped(_comment, value)


def _comment(text: str) -> str:
    shown = quoting.comment(text)
    return f"%7E{shown[1:]}" if shown.startswith("~") else shown


def identifier(value: Any) -> str:
    """Return a name for nginx's own objects, a different one for each text."""
    return escaped(quoting.identifier, value)


def token(value: Any) -> str:
    """Return the text unchanged if it is a plain token; else percent-encode it."""
    return escaped(_token, value)


def _token(text: str) -> str:
    if is_token(text):
        return text
    encoded = urllib.parse.quote(text, safe=_KEPT, errors="surrogatepass").replace("..", "%2E%2E").replace("~", "%7E")
    if not quoting.is_plain_token(encoded):
        raise quoting.UnsafeTextError("is empty" if not text else f"is longer than {quoting.MAX_TOKEN} characters")
    return encoded


def shell(value: Any) -> str:
    """Return the text as one word of a shell command."""
    return escaped_plainly(_shell, value)


def _shell(text: str) -> str:
    if "\0" in text:
        raise quoting.UnsafeTextError("holds a NUL, which no shell word can")
    return shlex.quote(text)


def html(value: Any) -> str:
    """Return the text escaped for HTML text and quoted attributes."""
    escaped: str = _html_escape()(str(text_of(value)), quote=True)
    return escaped


@cache
def _html_escape() -> Any:
    return pkgutil.resolve_name("html:escape")  # most templates write no HTML


def haproxy_quote(value: Any) -> str:
    """Return the text in HAProxy's quotes."""
    return escaped_plainly(_haproxy_quote, value)


def _haproxy_quote(text: str) -> str:
    if not text:
        raise quoting.UnsafeTextError("is empty, which HAProxy takes for no word")
    if "%" in text:
        raise quoting.UnsafeTextError("holds '%', which may start an expression; HAProxy has no escape for it")
    if _CONTROL.search(text):
        raise quoting.UnsafeTextError("holds a control character, which cannot be quoted")
    if len(text) > HAPROXY_LONGEST:
        raise quoting.UnsafeTextError(f"is longer than {HAPROXY_LONGEST} characters")
    inner = text.replace("'", "'\\''")
    return f"'{inner}'"


def escaped_plainly(escape: Callable[[str], str], value: Any) -> str:
    """Return the value's escaped text; or Refused if the escape cannot express it."""
    text = str(text_of(value))
    try:
        return escape(text)
    except quoting.UnsafeTextError as exc:
        return Refused(text, str(exc))


@pass_environment
def join(environment: Environment, values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    """Join the values; the result is trusted if each of them and the separator is trusted."""
    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    return joined_text(values, separator)


def trim(value: Any, characters: str | None = None) -> str:
    """Strip white space, which keeps trust, or other characters, which removes it."""
    text = text_of(value)
    stripped = str(text).strip(characters)
    keeps = type(text) in TRUSTED and characters is None and not stripped.endswith("\\")
    return with_shadow(stripped, shadow_of(text).strip()) if keeps else stripped


def indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:  # noqa: FBT001, FBT002
    """Indent every line but the first and blank ones; trust is kept. Only line feeds end a line."""
    text = text_of(value)
    check_numbers(width)
    margin = width if isinstance(width, str) else " " * width
    shown = _indented(str(text), margin, first=first, blank=blank)
    keeps = type(text) in TRUSTED and type(width) is not str and not margin.strip(" \t")
    if not keeps:
        return "\n".join(shown)
    return with_shadow("\n".join(shown), "\n".join(_indented(shadow_of(text), margin, first=first, blank=blank)))


def _indented(text: str, margin: str, *, first: bool, blank: bool) -> list[str]:
    """Indent the lines, including the first of a template's own text if asked for."""
    return [
        margin + line if (number or first) and (line or blank) else line for number, line in enumerate(text.split("\n"))
    ]


def form(value: str, *args: Any, **kwargs: Any) -> str:
    """Return ``value % args``, like Jinja's ``format``."""
    if args and kwargs:
        raise TypeError("format takes values by position or by name, not both")
    return formatted(value, kwargs or args)


def replace(value: Any, old: str, new: str, count: int = -1) -> str:
    """Replace a part of a text."""
    return replaced(text_of(value), text_of(old), text_of(new), count)


def _bounded(name: str) -> Callable[..., Any]:
    original = _JINJA[name]

    def bounded(value: Any, *args: Any, **kwargs: Any) -> Any:
        check_numbers(*args, *kwargs.values())
        return original(value, *args, **kwargs)

    return wraps(original)(bounded)


def _comparing(name: str) -> Callable[..., Any]:
    """Return a filter that compares items by a field, and fails for an unknown field even if there is only one item.

    Otherwise a misspelt field would leave out all instances of a service but one, which then has no other to be
    compared with.
    """
    original = _JINJA[name]

    @wraps(original)
    def comparing(environment: Environment, values: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        items = list(values)
        given = signature(original).bind(environment, items, *args, **kwargs).arguments.get("attribute")
        for part in str(given or "").split(",") if items else ():
            value = make_attrgetter(environment, part.strip())(items[0]) if part else None
            if isinstance(value, StrictUndefined):
                bool(value)  # raises for an unknown field; a missing key is false
        return original(environment, items, *args, **kwargs)

    return pass_environment(comparing)


def _deriving(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter whose results are trusted for the operator's own values, and registered numbers for others."""
    skipped = 1 if hasattr(function, "jinja_pass_arg") else 0
    kinds, reads = _DERIVED if name in _PICKING else _DERIVED | _CALCULATED, name in _READING

    def deriving(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if type(result) not in kinds:
            return result
        sources = (*args[skipped:], *kwargs.values())
        return registered(result) if reads and not all(map(is_own, sources)) else derived(result, sources)

    return wraps(function)(deriving)


def made(function: Callable[..., str]) -> Callable[..., str]:
    """Return a format's own filter; the final check tests the places of its results from registered data."""

    def making(value: Any, *args: Any, **kwargs: Any) -> str:
        text = function(unmarked(value) if isinstance(value, str) else value, *args, **kwargs)
        if isinstance(text, Refused):
            return text
        if _NO_TEXT.search(text):
            return Refused(text, "holds what is no character")
        is_own = type(value) is Trusted or value is None or isinstance(value, int | float)
        return Trusted(text if is_own else placed_value(text, is_made=True))

    return wraps(function)(making)


_OWN: tuple[Callable[..., Any], ...] = (comment, html, identifier, indent, join, quote, replace, shell, token, trim)
_ASKING: tuple[Callable[..., bool], ...] = (contains_all, contains_any, contains_none, not_contains, regex_match)
_LISTS: tuple[Callable[..., Any], ...] = (
    by_first_step,
    by_meta,
    by_port,
    by_tag,
    explode,
    merge,
    natural_sort,
    *_ASKING,
)
_TEXTS: tuple[Callable[..., Any], ...] = (
    b64decode,
    b64encode,
    b64url_decode,
    b64url_encode,
    hmac_sha256,
    md5,
    regex_replace,
    regex_search,
    sha1,
    sha256,
    split_map,
)
_NUMBERS: tuple[Callable[..., Any], ...] = (bool_, divide, modulo)
_DOCUMENTS: tuple[Callable[..., Any], ...] = (
    from_json,
    from_toml,
    from_yaml,
    go_from_yaml,
    json,
    to_json,
    to_toml,
    to_yaml,
    yaml,
)

_RENAMED = {"bool_": "bool", "by_first_step": "by_key"}


def _named(functions: Iterable[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return functions by their names in templates."""
    return {_RENAMED.get(function.__name__, function.__name__): function for function in functions}


COSTLY = frozenset(_named((*_LISTS, *_TEXTS, *_DOCUMENTS)))
"""Filters that may be slow for one long text or list, so that the render's time limit is checked before each."""


@cache
def filters() -> Mapping[str, Callable[..., Any]]:
    """Return the filters that depend only on their arguments, by name; they are the same for all templates."""
    kept: dict[str, Callable[..., Any]] = {name: function for name, function in _JINJA.items() if name not in _REMOVED}
    known = (
        kept
        | {name: _bounded(name) for name in _BOUNDED}
        | {name: _comparing(name) for name in _COMPARING}
        | _named((*_OWN, *_LISTS, *_TEXTS, *_NUMBERS, *_DOCUMENTS))
        | {"format": form, "tojson": json, "e": html, "escape": html}
        | GO_FILTERS
        | GO_ESCAPES
        | GO_TABLE_FILTERS
        | {"go_printf": go_printf, "go_yaml": go_yaml}
    )
    return MappingProxyType({name: _deriving(name, function) for name, function in known.items()})


def tests() -> dict[str, Callable[..., Any]]:
    """Return every test by name."""
    known: Mapping[str, Any] = TESTS
    kept = {name: function for name, function in known.items() if name != "escaped"}
    return kept | _named(_ASKING)
