"""Text into nginx configuration: what may stand bare, and how any other text is made to.

Nothing here escapes for regular expressions: `~` at the start of a `server_name`, a `location` or the key of a `map`
makes the value one, quoted or not. Where a value may stand and what it means there must not be known here.
"""

import hashlib
import re
import unicodedata
import urllib.parse
from collections.abc import Set as AbstractSet

from ctemplate.nginx.language.lexer import TOKEN_LIMIT_BYTES

MAX_TOKEN = 1024
"""Characters of a plain token; a URL fits, and some of them side by side stay below nginx's limit."""

MAX_QUOTED_BYTES = TOKEN_LIMIT_BYTES - 3
"""Bytes between the quotes: the closing quote, the byte after it and the one after that share nginx's buffer."""

MAX_COMMENT = 200
"""Characters of one comment; nginx refuses a comment line of 4096 bytes."""

MAX_IDENTIFIER = 63
"""Characters of an identifier: one DNS label."""

_TOKEN = re.compile(
    rf"[A-Za-z0-9._\-:/@+~%\[\]]{{1,{MAX_TOKEN}}}|[A-Za-z0-9][A-Za-z0-9._\-:/@+~%\[\]=,*!&?]{{0,{MAX_TOKEN - 1}}}"
)
_PARENT = re.compile(r"(?:^|/)\.\.(?:/|$)")
_COMMENT_SAFE = "!&*+,-./:<=>?@[]^_|~"
_IDENTIFIER = re.compile(rf"(?=.{{1,{MAX_IDENTIFIER}}}\Z)[A-Za-z0-9_][A-Za-z0-9_-]*+(?:\.[A-Za-z0-9_-]++)*+")
_HASH_DIGITS = 16  # 64 bits: nobody finds a second name for an existing identifier
_HASHED = re.compile(rf".*-[0-9a-f]{{{_HASH_DIGITS}}}")
_UNLIKE_IDENTIFIER = re.compile(r"[^A-Za-z0-9._-]|^[.-]|\.(?=[.]|\Z)")


class UnsafeTextError(ValueError):
    """Text that nginx's quoting cannot carry; the message tells the kind of fault and never the text."""


def is_plain_token(value: str) -> bool:
    """Tell whether text may stand bare as an argument or within one, whatever surrounds it.

    ASCII letters, digits and `. _ - : / @ + ~ % [ ]`; behind a letter or digit at its start also `= , * ! & ?`, which
    mean something at the start of an argument, or to patterns and wildcards alone: `selfcheck` sees to these. Empty
    text is no token: it would remove an argument without a word. Nor is text with a `..` step, which would leave a
    folder where it is printed into a path.
    """
    return _TOKEN.fullmatch(value) is not None and _PARENT.search(value) is None


def quote(value: str, *, dollar: str | None = None) -> str:
    """Return text in double quotes: one argument whose value is exactly the text.

    nginx has no escape for `$`: in most arguments it starts a variable. So `$` raises, unless `dollar` is what stands
    for one: `${dollar}` after `geo $dollar { default "$"; }` (a `map` cannot make it).
    Control characters raise, except the tab: nginx would make their escapes real, and a line feed splits headers.
    Stands at the start of an argument only: glued to other text or within a template's own quotes it ends too early.
    """
    if "$" in value and dollar is None:
        raise UnsafeTextError("'$' would start a variable, and nginx has no escape for it")
    if any(_is_control(character) for character in value):
        raise UnsafeTextError("control characters cannot be quoted")
    escaped = re.sub(r"([\\\"'])", r"\\\1", value).replace("$", dollar or "$")
    if len(_utf8(escaped)) > MAX_QUOTED_BYTES:
        raise UnsafeTextError(f"more than {MAX_QUOTED_BYTES} bytes do not fit into an argument")
    return f'"{escaped}"'


def comment(value: str) -> str:
    """Return text to read in a comment: at most 200 characters of visible ASCII, the rest percent-encoded.

    Anywhere else it is one harmless argument: it holds nothing that ends, quotes, escapes or expands, and no space.
    Empty text gives `-`. `urllib.parse.unquote` gives the text back unless it was cut, which shows as `...` at its end.
    """
    encoded = urllib.parse.quote(value[: MAX_COMMENT + 1], safe=_COMMENT_SAFE, errors="surrogatepass")
    if len(encoded) <= MAX_COMMENT:
        return encoded or "-"
    return encoded[: MAX_COMMENT - 3] + "..."


def identifier(name: str, *, taken: AbstractSet[str] = frozenset()) -> str:
    """Return a name for nginx's own things: letters, digits, `_`, `-`, `.`, at most 63; no two names share one.

    Dots stand alone between other characters, since nginx refuses any other host's name.

    A plain name stays as it is. Any other becomes its readable part, a dash and 16 hex digits of its SHA-256, and so
    does a plain name that ends like that, or whose casefold is `taken`: nginx compares upstreams without case.
    Two plain names that differ in case alone stay different here, while nginx takes their upstreams for duplicates.
    """
    if _IDENTIFIER.fullmatch(name) and not _HASHED.fullmatch(name) and name.casefold() not in taken:
        return name
    stem = _UNLIKE_IDENTIFIER.sub("_", name) or "_"
    return f"{stem[: MAX_IDENTIFIER - _HASH_DIGITS - 1]}-{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_HASH_DIGITS]


def _is_control(character: str) -> bool:
    return character != "\t" and unicodedata.category(character) == "Cc"


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise UnsafeTextError("text is not valid Unicode") from exc
