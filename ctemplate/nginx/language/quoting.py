"""Convert text for nginx configuration: which text may stand unquoted, and how other text is escaped.

Nothing here escapes for regular expressions: `~` at the start of a `server_name`, a `location` or the key of a `map`
makes the value one, quoted or not. Must not know the place of a value or its meaning there.
"""

import hashlib
import re
import unicodedata
import urllib.parse
from collections.abc import Set as AbstractSet

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.nginx.language.lexer import TOKEN_LIMIT_BYTES

MAX_TOKEN = 1024
"""Maximum length of a plain token in characters; a URL fits, and several side by side stay below nginx's limit."""

MAX_QUOTED_BYTES = TOKEN_LIMIT_BYTES - 3
"""Maximum bytes between quotes: the closing quote and the two bytes after it need room in nginx's buffer too."""

MAX_COMMENT = 200
"""Maximum length of a comment in characters; nginx refuses a comment line of 4096 bytes."""

MAX_IDENTIFIER = 63
"""Maximum length of an identifier in characters: one DNS label."""

_TOKEN = re.compile(
    rf"[A-Za-z0-9._\-:/@+~%\[\]]{{1,{MAX_TOKEN}}}|[A-Za-z0-9][A-Za-z0-9._\-:/@+~%\[\]=,*!&?]{{0,{MAX_TOKEN - 1}}}"
)
_PARENT = re.compile(r"(?:^|/)\.\.(?:/|$)")
_COMMENT_SAFE = "!&*+,-./:<=>?@[]^_|~"
_IDENTIFIER = lazy_pattern(rf"(?=.{{1,{MAX_IDENTIFIER}}}\Z)[A-Za-z0-9_][A-Za-z0-9_-]*+(?:\.[A-Za-z0-9_-]++)*")
_HASH_DIGITS = 16  # 64 bits: finding a second name for an existing identifier is infeasible
_HASHED = lazy_pattern(rf".*-[0-9a-f]{{{_HASH_DIGITS}}}")
_UNLIKE_IDENTIFIER = lazy_pattern(r"[^A-Za-z0-9._-]|^[.-]|\.(?=[.]|\Z)")


class UnsafeTextError(ValueError):
    """Text that nginx's quoting cannot express; the message names the kind of problem and never contains the text."""


def is_plain_token(value: str) -> bool:
    """Return whether text may stand unquoted, as an argument or inside one, whatever surrounds it.

    Plain tokens consist of ASCII letters, digits and `. _ - : / @ + ~ % [ ]`; after a leading letter or digit also of
    `= , * ! & ?`, which have a meaning at the start of an argument, or only in patterns and wildcards: `selfcheck`
    handles these. Empty text is no token, since it would silently remove an argument. A text with a `..` step is no
    token either, since it would leave the folder when printed into a path.
    """
    return _TOKEN.fullmatch(value) is not None and _PARENT.search(value) is None


def quote(value: str, *, dollar: str | None = None) -> str:
    """Return text in double quotes: one argument whose value is exactly the text.

    nginx has no escape for `$`: in most arguments it starts a variable. So `$` raises, unless `dollar` is a replacement
    for it: `${dollar}` after `geo $dollar { default "$"; }` (a `map` cannot define it). Control characters raise,
    except the tab: nginx would turn their escapes into the characters, and a line feed splits headers. The result may
    only stand at the start of an argument: next to other text or inside a template's own quotes it would end too early.
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
    """Return text for a comment: at most 200 characters of visible ASCII, the rest percent-encoded.

    Anywhere else it is one harmless argument: it contains no space, and nothing that ends, quotes, escapes or expands.
    Empty text gives `-`. `urllib.parse.unquote` restores the text unless it was cut, which `...` at its end shows.
    """
    encoded = urllib.parse.quote(value[: MAX_COMMENT + 1], safe=_COMMENT_SAFE, errors="surrogatepass")
    if len(encoded) <= MAX_COMMENT:
        return encoded or "-"
    return encoded[: MAX_COMMENT - 3] + "..."


def identifier(name: str, *, taken: AbstractSet[str] = frozenset()) -> str:
    """Return a name for nginx's own objects: letters, digits, `_`, `-`, `.`, at most 63; no two names share one.

    Dots only stand alone between other characters, since nginx refuses other host names.

    A plain name is returned unchanged. Any other name becomes its readable part, a dash and 16 hex digits of its
    SHA-256; so does a plain name that already ends in this form, or whose casefold is `taken`: nginx compares upstreams
    without case. Two plain names that differ only in case stay different here, although nginx treats their upstreams as
    duplicates.
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
