"""Filters that escape texts as Go's functions do, for templates that ``ctemplate convert`` wrote.

Pure; must not know environments.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from typing import Any

from ctemplate.template.safety.tainted_text import text_of

_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"})
_JS = {
    "\\": r"\\",
    "'": r"\'",
    '"': r"\"",
    "<": r"\u003C",
    ">": r"\u003E",
    "&": r"\u0026",
    "=": r"\u003D",
}


def go_html(value: Any) -> str:
    """Escape the text as Go's ``html`` does; ``e`` writes quotes otherwise."""
    return str(text_of(value)).translate(_HTML)


def go_js(value: Any) -> str:
    """Escape the text for a JavaScript string as Go's ``js`` does."""
    return "".join(_JS.get(char) or (char if char.isprintable() else f"\\u{ord(char):04X}") for char in _text(value))


def go_urlquery(value: Any) -> str:
    """Encode the text for a URL's query as Go's ``urlquery`` does: a space becomes a plus sign."""
    return urllib.parse.quote_plus(_text(value), safe="-_.~", errors="surrogatepass")


def _text(value: Any) -> str:
    return str(text_of(value))


GO_ESCAPES: dict[str, Callable[..., Any]] = {function.__name__: function for function in (go_html, go_js, go_urlquery)}
"""The filters by their names."""
