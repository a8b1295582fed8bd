"""The parts of a diff that readers of the status must not see: values of keys, and named secrets. Pure.

Private keys are hidden in the text before the diff is made; see ``secrets``.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Answer
from ctemplate.queries.key import KeyEntry

MASKED = "(masked)"
SHORTEST_VALUE = 4  # characters; masking a shorter value, such as a number or a switch, hides nothing
SHORTEST_WORD = 8  # characters; also masked alone, since a template may print a part of a value
LONGEST_KNOWN = 256  # bytes of a value whose parts are remembered, since each change asks for those of all keys
ENTRIES_KNOWN = 20_000
SHORTEST_ENCODED = 6  # characters of base64 for the shortest value, without padding
_WORD = lazy_pattern(r"[^\s\"'=:,;{}\[\]()<>]+")
_BASE64 = lazy_pattern(r"[A-Za-z0-9+/]*={0,2}")
_NAMED = lazy_pattern(
    r"(?i)((?:passw(?:or)?d|passphrase|secret|(?<!server_)token|credential|api[_-]?key|authorization|auth_pass)\w*"
    r"[\"']?[ \t]*[=:]?[ \t]*)(?=[^\s;{])[^\n]*?(;?\s*)$"
)


def masked_lines(lines: Iterable[str], answers: Iterable[Answer]) -> tuple[str, ...]:
    """Return the lines without secrets: without values of keys, and without values after names like a secret's.

    Also hidden are the lines and long words of such values, and what they are in base64.
    """
    shown = tuple(lines)
    together = "\n".join(shown)
    present = sorted(frozenset(_present(answers, together)), key=len, reverse=True)
    if not present:
        return tuple(_NAMED.sub(rf"\1{MASKED}\2", line) for line in shown)
    hidden = re.compile("|".join(_bounded(text) for text in present))
    return tuple(_NAMED.sub(rf"\1{MASKED}\2", hidden.sub(MASKED, line)) for line in shown)


def _present(answers: Iterable[Answer], together: str) -> Iterator[str]:
    """Yield the secret parts of answers that occur in a text. There may be thousands of values, but few occur."""
    for entry in (entry for answer in answers for entry in answer.value if isinstance(entry, KeyEntry)):
        for part in _known_parts(entry) if len(entry.data) <= LONGEST_KNOWN else _secret_parts(entry):
            if part in together:
                yield part


def _secret_parts(entry: KeyEntry) -> tuple[str, ...]:
    value = entry.text() or ""
    if len(value) < SHORTEST_VALUE:
        return ()
    return (*_parts(value), *_parts(_decoded(value)))


_known_parts = lru_cache(maxsize=ENTRIES_KNOWN)(_secret_parts)


def _parts(value: str) -> Iterator[str]:
    for line in value.splitlines():
        if len(line.strip()) >= SHORTEST_VALUE:
            yield line.strip()
        if len(line) >= SHORTEST_WORD:
            yield from (word for word in _WORD.findall(line) if len(word) >= SHORTEST_WORD)


def _decoded(value: str) -> str:
    """Return a base64 value's decoded text, empty if it is not base64, or too short to be masked."""
    if len(value) < SHORTEST_ENCODED or _BASE64.fullmatch(value) is None:
        return ""
    try:
        return binascii.a2b_base64(value).decode()
    except (binascii.Error, ValueError):
        return ""


def _bounded(text: str) -> str:
    """Return a pattern for a text; a short text only matches as a whole word."""
    escaped = re.escape(text)
    return escaped if len(text) >= SHORTEST_WORD else rf"(?<!\w){escaped}(?!\w)"
