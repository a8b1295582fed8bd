"""JSON schemas of what ctemplate prints for machines, as docs/ has them."""

import inspect
from typing import Any

import msgspec


def schema_of(shape: type) -> bytes:
    """Return the text of a schema; descriptions have no indentation, whatever Python and msgspec do with docstrings."""
    return msgspec.json.format(msgspec.json.encode(_dedented(msgspec.json.schema(shape))), indent=2) + b"\n"


def _dedented(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _dedented(value)
            for key, value in part.items()
        }
    return [_dedented(each) for each in part] if isinstance(part, list) else part
