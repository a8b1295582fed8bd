"""Regular expressions for templates, with RE2: the time of a match is proportional to the text, for every pattern.

The grammar is that of Go and so of consul-template: no look-around, no back-references. Must not know environments or
services.
"""

from __future__ import annotations

import pkgutil
import re
from functools import lru_cache
from typing import Any

from ctemplate.core.errors import printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.template.safety.limits import TIME_CHECK, check_length
from ctemplate.template.safety.tainted_text import text_of

MAX_PATTERN = 4096
"""Maximum characters of a pattern."""

_MEMORY_BYTES = 1024 * 1024
_KEPT_PATTERNS = 128
_REFERENCE = lazy_pattern(r"\$(?:\$|(?P<bare>\w+)|\{(?P<braced>\w+)\}|(?P<alone>.?))", re.DOTALL)
_SHOWN = 100


def regex_match(value: Any, pattern: str) -> bool:
    """Return whether the pattern matches anywhere in the text; write ``^…$`` to match the whole text."""
    return _compiled(str(pattern)).search(_bytes(value)) is not None


def regex_search(value: Any, pattern: str, group: int | str = 0) -> str | None:
    """Return the first match of the pattern in the text, or a group of it by number or name; none without a match."""
    compiled = _compiled(str(pattern))
    found = compiled.search(_bytes(value))
    known = _group(compiled, str(group), str(pattern))
    part: bytes | None = None if found is None else found.group(known)
    return None if part is None else part.decode()


def regex_replace(value: Any, pattern: str, replacement: str) -> str:
    """Replace all matches of the pattern; ``$1`` or ``${1}`` is a group, ``${name}`` a named one, ``$$`` a dollar."""
    compiled, text = _compiled(str(pattern)), _bytes(value)
    parts = _replacement(str(text_of(replacement)), str(pattern))
    pieces: list[bytes] = []
    end, size = 0, len(text)
    check_time = TIME_CHECK.get()  # every match may scan the rest of the text
    for found in compiled.finditer(text):
        check_time()
        start, stop = found.span()
        if start == stop == end and pieces:
            continue  # an empty match directly after another match does not count, as in Go
        new = b"".join(part if isinstance(part, bytes) else found.group(part) or b"" for part in parts)
        size += len(new)
        check_length("", size)
        pieces += [text[end:start], new]
        end = stop
    return b"".join([*pieces, text[end:]]).decode()


def _bytes(value: Any) -> bytes:
    """Return a text in UTF-8, with the replacement character for invalid ones."""
    return str(text_of(value)).encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


@lru_cache(maxsize=_KEPT_PATTERNS)
def _compiled(pattern: str) -> Any:
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a regular expression of more than {MAX_PATTERN} characters")
    re2 = pkgutil.resolve_name("re2")  # most templates use no regular expression
    options = re2.Options()
    options.max_mem, options.log_errors = _MEMORY_BYTES, False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as exc:
        said = exc.args[0] if exc.args else ""
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"regular expression {printable(pattern, _SHOWN)!r}: {printable(said, _SHOWN)}") from None


def _group(compiled: Any, name: str, pattern: str) -> int:
    """Return the number of a group."""
    number = int(name) if name.isdecimal() else compiled.groupindex.get(name)
    if number is None or number > compiled.groups:
        shown = printable(pattern, _SHOWN)
        hint = f"; write ${{{digits[0]}}} before what follows" if (digits := re.match(r"\d+", name)) else ""
        raise ValueError(f"regular expression {shown!r} has no group {name!r}{hint}")
    return number


@lru_cache(maxsize=_KEPT_PATTERNS)
def _replacement(text: str, pattern: str) -> tuple[bytes | int, ...]:
    """Return a replacement, split into literal texts and numbers of groups."""
    parts: list[bytes | int] = []
    end = 0
    for found in _REFERENCE.finditer(text):
        parts.append(text[end : found.start()].encode("utf-8", "replace"))
        end = found.end()
        name = found["bare"] or found["braced"]
        if name:
            parts.append(_group(_compiled(pattern), name, pattern))
        elif found["alone"] is None:
            parts.append(b"$")
        else:
            parts.append(found[0].encode("utf-8", "replace"))
    parts.append(text[end:].encode("utf-8", "replace"))
    return tuple(parts)
