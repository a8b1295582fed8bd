"""The keys of the configuration, read from its tables: for help, documents and ``config show``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

import msgspec

from ctemplate.config.schema import Config
from ctemplate.core.durations import Duration, Share, format_duration, parse_duration, parse_share
from ctemplate.core.section import Section

ANY_NAME = "*"
"""In a path, a name that the operator chooses: ``guard.service.*.hold``."""


def config_keys(kind: type[msgspec.Struct] = Config, above: str = "") -> Iterator[str]:
    """Yield the dotted path of each key that a file may set, without tables."""
    for field in msgspec.structs.fields(kind):
        path = f"{above}{field.encode_name}"
        inner = _table_in(field.type)
        if inner is None:
            yield path
        else:
            yield from config_keys(inner, f"{path}.{ANY_NAME}." if get_origin(field.type) is dict else f"{path}.")


def _table_in(kind: Any) -> type[Section] | None:
    """Return the table that a type is or contains."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind
    return next((found for part in get_args(kind) if (found := _table_in(part)) is not None), None)


def value_at(config: Section, path: str) -> Any:
    """Return the value at a dotted path; the path uses the names of the file."""
    value: Any = config
    for key in path.split("."):
        names = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
        value = getattr(value, names[key])
    return value


def default_text(*paths: str) -> str:
    """Return the defaults of keys in the command line's form, separated by colons; empty for none."""
    return ":".join(_text(value_at(Config(), path)) for path in paths)


def _text(value: Any) -> str:
    plain = as_written(value)
    if isinstance(plain, list):
        return ",".join(plain)
    return "" if plain in {None, False, ""} else str(plain).lower() if plain is True else str(plain)


def as_written(value: Any) -> Any:
    """Return a value of the configuration in the file's form: tables as mappings, times and ratios as texts."""
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return {key: as_written(getattr(value, name)) for key, name in names}
    if isinstance(value, Mapping):
        return {key: as_written(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_written(inner) for inner in value]
    if isinstance(value, Duration):
        return _duration(value)
    if isinstance(value, Share):
        text = f"{value * 100:g}%"
        return text if parse_share(text) == value else float(value)
    return value


def _duration(seconds: Duration) -> str:
    """Return a time in its short form if that is exact, else with all its digits."""
    text = format_duration(seconds) if seconds else "0"
    return text if parse_duration(text) == seconds else f"{seconds:.9f}s"
