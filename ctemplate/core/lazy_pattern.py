"""Regular expressions that are compiled when they are first used. Pure.

Compiling one takes longer than reading a small module, and most processes use few of those for rare cases: messages of
nginx, mistakes in templates, formats other than the one that is written.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


def lazy_pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a stand-in for ``re.compile(text, flags)`` that has its methods; functions of ``re`` do not take it."""
    return cast("re.Pattern[AnyStr]", _LazyPattern(text, flags))


class _LazyPattern:
    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """Return a method of the compiled pattern, which then is an attribute of this object, as fast as any."""
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)
        return found
