"""The code of templates compiled in this process: many import the same shipped macros, which take longest to compile.

Must not know how a text is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import CodeType
from typing import NamedTuple

MOST_TEXTS = 100


class CompiledText(NamedTuple):
    """The code of a text, the names in it, and the templates that it needs, each with its first place."""

    code: CodeType
    names: frozenset[str]
    needed: Mapping[str, str]


_KNOWN: dict[Hashable, CompiledText] = {}


def compiled_once(key: Hashable, compiled: Callable[[], CompiledText]) -> CompiledText:
    """Return a compiled text; ``key`` is all that its code depends on."""
    known = _KNOWN.get(key)
    if known is None:
        known = compiled()
        if len(_KNOWN) >= MOST_TEXTS:
            _KNOWN.clear()
        _KNOWN[key] = known
    return known
