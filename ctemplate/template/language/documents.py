"""Filters that read and write JSON, YAML and TOML.

Values read from a registered text are registered too. A text is limited in length, in depth and, because of YAML's
aliases, in the number of its values. Errors in it are ValueErrors, which affect only the registrant's service. Must not
know environments or services.
"""

from __future__ import annotations

import datetime as dt
import json as standard_json
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Instance
from ctemplate.template.safety.limits import check_numbers
from ctemplate.template.safety.registered_numbers import plain_number
from ctemplate.template.safety.tainted_text import text_of

MAX_DOCUMENT = 1024 * 1024
"""Maximum characters of a text to parse: twice the limit of Consul's keys."""

MAX_LEVELS = 64
"""Maximum nesting of the values in one text."""

MAX_NODES = 200_000
"""Maximum number of values in one text; values that aliases repeat are counted each time."""

_SHOWN = 100
_PACKAGE = "ctemplate.template.language"
NOT_LITERAL = lazy_pattern("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def json(value: Any, indent: int | None = None) -> str:
    """Return the value as JSON, keys sorted."""
    check_numbers(indent)
    text = standard_json.dumps(built(value), ensure_ascii=False, sort_keys=True, indent=indent)
    return _readable(text)  # YAML and scripts can read it as well


def _readable(text: str) -> str:
    """Escape characters that a JSON or YAML text should not contain literally; here they stand inside quotes."""
    return NOT_LITERAL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def yaml(value: Any) -> str:
    """Return the value as YAML on one line; texts are always quoted."""
    return _readable(_yaml_function("yaml_line")(built(value)))


def built(value: Any) -> Any:
    """Return the value as plain texts, numbers, lists and mappings."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {built(key): built(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return _fields(value)
    if value is None or isinstance(value, int | float):
        return plain_number(value)
    if isinstance(value, Iterable):
        return [built(item) for item in value]
    return text_of(value)


def _fields(value: msgspec.Struct) -> Any:
    """Return the fields of a value; those of details and of the reports of checks stand beside the others."""
    plain = msgspec.to_builtins(value)
    for name in ("details", "report"):
        if hasattr(type(value), name):
            plain |= plain.pop(name, None) or {}
    if isinstance(value, Instance):
        plain["checks"] = [_fields(check) for check in value.checks]
    return plain


def from_json(value: Any) -> Any:
    """Parse a JSON text; an empty text gives an empty table."""
    return _read("from_json", value, partial(standard_json.loads, parse_constant=_no_constant))


def from_yaml(value: Any) -> Any:
    """Parse a YAML text; numbers are those of JSON and TOML, so dates, ``012``, ``1_000`` and ``.inf`` remain texts.

    ``yes``, ``no``, ``on`` and ``off`` are true and false; ``y`` and ``n`` are texts. Keys are texts: ``1`` and ``"1"``
    in one table are an error.
    """
    return _read("from_yaml", value, _yaml_function("parsed_yaml"))


def go_from_yaml(value: Any) -> Any:
    """Parse a YAML text as ``parseYAML`` does: ``012`` is 10, ``1_000`` is 1000, ``.inf`` a number, ``y`` is true."""
    return _read("go_from_yaml", value, pkgutil.resolve_name(f"{_PACKAGE}.go_yaml_reading:parsed_go_yaml"))


def from_toml(value: Any) -> Any:
    """Parse a TOML text; dates become texts."""
    return _read("from_toml", value, pkgutil.resolve_name("tomllib:loads"))


def to_json(value: Any, indent: int | None = None) -> str:
    """Return the value as JSON, keys sorted; the same as the filter ``json``."""
    return json(value, indent)


def to_yaml(value: Any) -> str:
    """Return the value as YAML with one line for each item, keys sorted; ``yaml`` writes a single line."""
    return _readable(_yaml_function("yaml_block")(_plain(built(value), 0, [0])))


def _yaml_function(name: str) -> Callable[[Any], Any]:
    """Return a function of ``yaml_documents``; most processes never need it."""
    found: Callable[[Any], Any] = pkgutil.resolve_name(f"{_PACKAGE}.yaml_documents:{name}")
    return found


def go_yaml(value: Any, whole: bool = False) -> str:  # noqa: FBT001, FBT002  # templates write whole=true
    """Write YAML in the layout of ``toYAML``; numbers of parsed JSON are floats, unless ``whole`` is given."""
    shown: str = pkgutil.resolve_name(f"{_PACKAGE}.go_yaml:go_yaml_text")(value, whole=whole)
    return shown


def to_toml(value: Any) -> str:
    """Return a table as TOML, in the order of its keys."""
    table = built(value)
    if not isinstance(table, dict):
        raise TypeError("to_toml: only a table can be written as TOML")
    shown: str = pkgutil.resolve_name("tomli_w:dumps")(_plain(table, 0, [0]))
    return shown.removesuffix("\n")


def _read(name: str, value: Any, parse: Callable[[str], Any]) -> Any:
    try:
        text = value.decode() if isinstance(value, bytes) else str(text_of(value))
    except UnicodeDecodeError as exc:
        raise ValueError(f"{name}: is not UTF-8: byte {exc.object[exc.start]:#04x}") from None
    if len(text) > MAX_DOCUMENT:
        raise ValueError(f"{name}: a text of more than {MAX_DOCUMENT} characters")
    if not text.strip():
        return {}
    try:
        return _plain(parse(text), 0, [0])
    except RecursionError:
        raise ValueError(f"{name}: more than {MAX_LEVELS} levels") from None
    except ValueError as exc:
        raise ValueError(f"{name}: {_first_line(exc)}") from None


def _first_line(exc: Exception) -> str:
    return printable(str(exc), _SHOWN)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _plain(value: Any, depth: int, count: list[int]) -> Any:
    """Return the parsed value as texts, numbers, lists and tables with text keys; raise ValueError beyond a limit."""
    count[0] += 1
    if count[0] > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES} values")
    if depth > MAX_LEVELS:
        raise ValueError(f"more than {MAX_LEVELS} levels")
    if isinstance(value, dict):
        return {key_text(key): _plain(item, depth + 1, count) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item, depth + 1, count) for item in value]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode()
    return value


def key_text(key: Any) -> str:
    """Return the key of a table as a text, as JSON writes it."""
    if isinstance(key, str):
        return str(key)
    return standard_json.dumps(key) if key is None or isinstance(key, int | float) else str(key)
