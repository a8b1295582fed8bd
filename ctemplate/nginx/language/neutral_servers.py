"""A text with a second server on each address, so that nginx judges the names of a single server too. Pure.

nginx builds no table of the names of a lone server: it accepts any name there, and refuses it beside another server.
The second server has the certificate of the first one, or refuses handshakes as that does: nginx wants one of the two.
Must not know who registered a name.
"""

from __future__ import annotations

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import Directive, parse_config, walk

_SERVER = b" server { listen %b; server_name neutral.invalid;%b }"
_HANDSHAKE = frozenset({b"ssl_certificate", b"ssl_certificate_key", b"ssl_reject_handshake"})
_CLOSING = lazy_pattern(rb"(?:[ \t\r\n]++|#[^\n]*+\n)*\}")
_PLAIN = lazy_pattern(rb"[A-Za-z0-9_./:*\[\]-]+")


def with_neutral_servers(text: str, *, inside: bytes = b"") -> str:
    """Return a text with a harmless server after the first one on each address; all lines keep their numbers."""
    source = text.encode("utf-8", "surrogateescape")
    try:
        found = parse_config(source, where="", inside=inside)
    except NginxSyntaxError:
        return text
    known: set[bytes] = set()
    pieces: list[bytes] = []
    end = 0
    for _, parent, one in walk(found, inside=inside):
        if one.name != b"server" or one.block is None or parent not in {b"", b"http"}:
            continue
        new = [address for address in dict.fromkeys(_addresses(one.block)) if address not in known]
        closed = _closed(source, one)
        if closed is None:
            continue
        known.update(new)
        pieces.append(source[end:closed])
        taken = [source[inner.start : inner.end] for inner in one.block if inner.name in _HANDSHAKE]
        if any(b"\n" in each for each in taken):
            new = []  # all lines keep their numbers
        handshake = b"".join(b" " + each for each in taken)
        pieces += [_SERVER % (address, handshake) for address in new if _PLAIN.fullmatch(address)]
        end = closed
    return b"".join((*pieces, source[end:])).decode("utf-8", "surrogateescape")


def _closed(source: bytes, one: Directive) -> int | None:
    """Return where a directive ends, after its block if it has one; None where that is uncertain."""
    if one.block is None:
        return one.end
    last = _closed(source, one.block[-1]) if one.block else one.end
    closing = None if last is None else _CLOSING.match(source, last)
    return closing.end() if closing else None


def _addresses(block: tuple[Directive, ...]) -> list[bytes]:
    return [one.args[0] for one in block if one.name == b"listen" and one.args] or [b"80"]
