"""Hide private keys in a plan's texts: in the new text, and in the live text, whose answers no longer exist."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

from ctemplate.core.lazy_pattern import lazy_pattern

_PRIVATE_KEY = lazy_pattern(
    r"(?P<begin>-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----)(?P<body>.*?)(?P<end>-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
DIGEST_LENGTH = 8
LEAST_LENGTH = 16  # shorter lines of a secret are not searched for separately
LETTERS = lazy_pattern(r"[A-Za-z0-9+/=]+")


def hidden_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without private keys; a digest replaces each key, so that different keys remain distinguishable.

    ``secrets`` are those of the answers: they are also found outside of PEM blocks and in base64.
    """
    text = _PRIVATE_KEY.sub(lambda found: f"{found['begin']} {_masked(found['body'])} {found['end']}", text)
    for secret in secrets:
        for form in sorted(_forms(secret), key=len, reverse=True):
            text = text.replace(form, _masked(secret))
    return text


def _masked(secret: str) -> str:
    """Return a secret's placeholder, which does not depend on the characters between its letters and digits."""
    letters = "".join(LETTERS.findall(secret.replace("\\n", "\n"))).encode()
    return f"[masked {hashlib.sha256(letters).hexdigest()[:DIGEST_LENGTH]}]"


def _forms(secret: str) -> set[str]:
    """Return the forms in which a text may contain a secret: whole, line by line, and in base64."""
    whole = {secret, secret.strip()} - {""}
    lines = {line for line in secret.splitlines() if len(line) >= LEAST_LENGTH and "-----" not in line}
    encoded = {base64.b64encode(form.encode()).decode() for form in whole}
    return whole | lines | encoded
