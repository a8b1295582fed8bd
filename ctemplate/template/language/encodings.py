"""Filters that encode or hash a text: base64, hashes.

The result of registered data is registered data and prints according to its characters, like any value. Must not know
environments or services.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from ctemplate.template.safety.tainted_text import Refused, text_of

_URL_PADDING = 4


def as_bytes_of(value: Any) -> bytes:
    """Return the bytes of a value: its own, or its text in UTF-8; bytes that were not UTF-8 are restored unchanged."""
    if isinstance(value, bytes):
        return value
    text = str(text_of(value))
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def b64encode(value: Any) -> str:
    """Return the text in base64."""
    return base64.b64encode(as_bytes_of(value)).decode()


def b64decode(value: Any) -> str:
    """Decode a base64 text; if the result is not UTF-8, printing it is refused."""
    return _decoded(value, lambda text: base64.b64decode(text, validate=True))


def b64url_encode(value: Any) -> str:
    """Return the text in URL-safe base64, with padding."""
    return base64.urlsafe_b64encode(as_bytes_of(value)).decode()


def b64url_decode(value: Any) -> str:
    """Decode a text in URL-safe base64, with or without padding."""
    return _decoded(value, _from_url)


def _from_url(text: str) -> bytes:
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % _URL_PADDING)
    return base64.b64decode(padded, altchars=b"-_", validate=True)


def _decoded(value: Any, decode: Callable[[str], bytes]) -> str:
    text = str(text_of(value))
    try:
        return decode(text.strip()).decode()
    except UnicodeDecodeError:
        return Refused(text, "is base64 of what is no UTF-8")
    except (binascii.Error, ValueError):
        return Refused(text, "is not base64")


def md5(value: Any) -> str:
    """Return the MD5 hash in hexadecimal; it is not collision-resistant."""
    return hashlib.md5(as_bytes_of(value), usedforsecurity=False).hexdigest()


def sha1(value: Any) -> str:
    """Return the SHA-1 hash in hexadecimal; it is not collision-resistant."""
    return hashlib.sha1(as_bytes_of(value), usedforsecurity=False).hexdigest()


def sha256(value: Any) -> str:
    """Return the SHA-256 hash in hexadecimal."""
    return hashlib.sha256(as_bytes_of(value)).hexdigest()


def hmac_sha256(value: Any, key: str) -> str:
    """Return the text's HMAC-SHA-256 with a key, in hexadecimal."""
    return hmac.new(as_bytes_of(key), as_bytes_of(value), hashlib.sha256).hexdigest()
