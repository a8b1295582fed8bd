"""Filters that read and write JSON, YAML and TOML.

Values read from a registered text are registered too. A text is limited in length, in depth and, because of YAML's
aliases, in the number of its values. Errors in it are ValueErrors, which affect only the registrant's service. Must not
know environments or services.
"""

from __future__ import annotations

import datetime as dt
import json as standard_json
import pkgutil
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
import yaml as pyyaml

from ctemplate.core.errors import printable
from ctemplate.template.safety.limits import check_numbers
from ctemplate.template.safety.registered_numbers import plain_number
from ctemplate.template.safety.tainted_text import text_of

MAX_DOCUMENT = 1024 * 1024
"""Maximum characters of a text to parse: twice the limit of Consul's keys."""

_MAX_DEPTH = 64
MAX_NODES = 200_000
"""Maximum number of values in one text; values that aliases repeat are counted each time."""

_SHOWN = 100
_TEXT_TAG = "tag:yaml.org,2002:str"
_WORDS = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.:@ -]*[A-Za-z0-9_/.]|[A-Za-z]")
_UNREADABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def json(value: Any, indent: int | None = None) -> str:
    """Return the value as JSON, keys sorted."""
    check_numbers(indent)
    text = standard_json.dumps(built(value), ensure_ascii=False, sort_keys=True, indent=indent)
    return _readable(text)  # YAML and scripts can read it as well


def _readable(text: str) -> str:
    """Escape characters that a JSON or YAML text should not contain literally; here they stand inside quotes."""
    return _UNREADABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def yaml(value: Any) -> str:
    """Return the value as YAML on one line; texts are always quoted."""
    shown = pyyaml.dump(built(value), Dumper=_Dumper, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return _readable(shown.removesuffix("\n").removesuffix("\n..."))


class _Dumper(pyyaml.SafeDumper):
    """Writes texts in double quotes."""


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def built(value: Any) -> Any:
    """Return the value as plain texts, numbers, lists and mappings."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {built(key): built(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    if value is None or isinstance(value, int | float):
        return plain_number(value)
    if isinstance(value, Iterable):
        return [built(item) for item in value]
    return text_of(value)


def from_json(value: Any) -> Any:
    """Parse a JSON text; an empty text gives an empty table."""
    return _read("from_json", value, partial(standard_json.loads, parse_constant=_no_constant))


def from_yaml(value: Any) -> Any:
    """Parse a YAML text; dates remain texts, and ``1:30`` is not a number."""
    return _read("from_yaml", value, _yaml)


def from_toml(value: Any) -> Any:
    """Parse a TOML text; dates become texts."""
    return _read("from_toml", value, tomllib.loads)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return the value as JSON, keys sorted; the same as the filter ``json``."""
    return json(value, indent)


def to_yaml(value: Any) -> str:
    """Return the value as YAML with one line for each item, keys sorted; ``yaml`` writes a single line."""
    shown: str = pyyaml.dump(
        _plain(built(value), 0, [0]),
        Dumper=_BlockDumper,
        default_flow_style=False,
        width=float("inf"),
        allow_unicode=True,
    )
    return _readable(shown.removesuffix("\n").removesuffix("\n..."))


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
        raise ValueError(f"{name}: more than {_MAX_DEPTH} levels") from None
    except (ValueError, pyyaml.YAMLError) as exc:
        raise ValueError(f"{name}: {_first_line(exc)}") from None


def _first_line(exc: Exception) -> str:
    mark = getattr(exc, "problem_mark", None)
    said = getattr(exc, "problem", None) or str(exc)
    return printable(said if mark is None else f"{said}: line {mark.line + 1} column {mark.column + 1}", _SHOWN)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _plain(value: Any, depth: int, count: list[int]) -> Any:
    """Return the parsed value as texts, numbers, lists and tables with text keys; raise ValueError beyond a limit."""
    count[0] += 1
    if count[0] > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES} values")
    if depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {_key(key): _plain(item, depth + 1, count) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item, depth + 1, count) for item in value]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode()
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    return standard_json.dumps(key) if key is None or isinstance(key, int | float) else str(key)


def _yaml(text: str) -> Any:
    """Parse YAML; check its nesting before anything recurses, and its aliases before anything is built."""
    depth = 0
    for event in pyyaml.parse(text, Loader=_Loader):
        depth += isinstance(event, pyyaml.CollectionStartEvent) - isinstance(event, pyyaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_DEPTH} levels")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        _nodes(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _nodes(node: pyyaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node contains; raise ValueError for too many, or for a node that contains itself."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an alias stands within what it names")
        return known[id(node)]
    known[id(node)] = 0
    parts = node.value if isinstance(node, pyyaml.CollectionNode) else ()
    flat = (one for part in parts for one in (part if isinstance(part, tuple) else (part,)))
    count = 1 + sum(_nodes(one, known) for one in flat)
    if count > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES} values")
    known[id(node)] = count
    return count


class _Loader(getattr(pyyaml, "CSafeLoader", pyyaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with numbers as in JSON and TOML, and without dates."""


class _BlockDumper(pyyaml.SafeDumper):
    """Writes texts except plain words in double quotes, without aliases: a repeated value is written again."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        return True


def _word_or_quoted(dumper: pyyaml.SafeDumper, text: str) -> pyyaml.Node:
    return dumper.represent_scalar(_TEXT_TAG, text, style=_style(dumper, text))


def _style(dumper: pyyaml.SafeDumper, text: str) -> str | None:
    """Return the style of a text: a word, lines, or double quotes if it would be read as another type."""
    if "\n" in text and not _UNREADABLE.search(text):
        return "|"
    is_plain = _WORDS.fullmatch(text) is not None and text.lower() not in {"y", "n"}
    is_text = dumper.resolve(pyyaml.ScalarNode, text, (True, False)) == _TEXT_TAG  # type: ignore[no-untyped-call]
    return None if is_plain and is_text else '"'


_BlockDumper.add_representer(str, _word_or_quoted)
_DROPPED = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _DROPPED]
    for first, found in pyyaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)\.[0-9]*(?:[eE][-+]?[0-9]+)?|(?:0|[1-9][0-9]*)[eE][-+]?[0-9]+)$"),
    list("-+0123456789"),
)
