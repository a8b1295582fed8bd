"""The parts of a diff that readers of the status must not see: values of keys, and named secrets. Pure.

Private keys are hidden in the text before the diff is made; see ``secrets``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Answer, OwnedEntry

MASKED = "(masked)"
SHORTEST_VALUE = 4  # characters; masking a shorter value, such as a number or a switch, hides nothing
SHORTEST_WORD = 8  # characters; also masked alone, since a template may print a part of a value
_WORD = lazy_pattern(r"[^\s\"'=:,;{}\[\]()<>]+")
_NAMED = lazy_pattern(
    r"(?i)((?:passw(?:or)?d|passphrase|secret|(?<!server_)token|credential|api[_-]?key|authorization|auth_pass)\w*"
    r"[\"']?[ \t]*[=:]?[ \t]*)(?=[^\s;{])[^\n]*?(;?\s*)$"
)


def secret_texts(answers: Iterable[Answer]) -> frozenset[str]:
    """Return the texts of answers to hide: values of keys, their lines and long words, also base64-decoded."""
    found: set[str] = set()
    for answer in answers:
        for entry in answer.value:
            if isinstance(entry, OwnedEntry):
                for field, text in entry.texts():
                    if field == "value":
                        found.update(_parts(text))
                        found.update(_parts(_decoded(text)))
    return frozenset(found)


def _parts(value: str) -> Iterator[str]:
    for line in value.splitlines():
        if len(line.strip()) >= SHORTEST_VALUE:
            yield line.strip()
        yield from (word for word in _WORD.findall(line) if len(word) >= SHORTEST_WORD)


def _decoded(value: str) -> str:
    """Return a base64 value's decoded text, empty if it is not base64."""
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def masked_lines(lines: Iterable[str], secrets: frozenset[str]) -> tuple[str, ...]:
    """Return the lines without secrets: without the given texts, and without values after names like a secret's."""
    shown = tuple(lines)
    together = "\n".join(shown)
    present = sorted((text for text in secrets if text in together), key=len, reverse=True)
    if not present:
        return tuple(_NAMED.sub(rf"\1{MASKED}\2", line) for line in shown)
    hidden = re.compile("|".join(_bounded(text) for text in present))
    return tuple(_NAMED.sub(rf"\1{MASKED}\2", hidden.sub(MASKED, line)) for line in shown)


def _bounded(text: str) -> str:
    """Return a pattern for a text; a short text only matches as a whole word."""
    escaped = re.escape(text)
    return escaped if len(text) >= SHORTEST_WORD else rf"(?<!\w){escaped}(?!\w)"
