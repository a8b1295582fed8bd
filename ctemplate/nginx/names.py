"""What a configuration may hold once only: names of upstreams, server names, ports. Pure.

nginx refuses a second upstream of a name and a second stream server on a port. It passes over a second server of a name
with a mere warning, so that whoever comes first in the file takes its requests. Who asked for what, and who
has to go, must not be known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ctemplate.nginx.syntax import Directive, walk

Name: TypeAlias = tuple[str, bytes]
"""What kind of name, and the name as nginx compares it: ``("http upstream", b"web")``."""

_DEFAULT_LISTEN = Directive(name=b"listen", args=(b"80",), line=0, last_line=0, start=0, end=0)
_DEFAULT_HOST = Directive(name=b"server_name", args=(b"",), line=0, last_line=0, start=0, end=0)
_HOLDS_SERVERS = frozenset({b"", b"http", b"stream", b"mail"})
_ANY_ADDRESS = re.compile(rb"^(?:0\.0\.0\.0:|\*:)?(?=\d+$)")
_MARK = re.compile(rb"\x01(\d+)\x02")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """One name that is used more than once; ``data`` are the values in each use, empty for a template's own text."""

    name: Name
    data: tuple[frozenset[int], ...]


def names(directives: tuple[Directive, ...], *, inside: bytes = b"") -> frozenset[Name]:
    """Return the names that a configuration uses."""
    return frozenset(name for name, _ in _uses(directives, directives, inside))


def clashes(
    real: tuple[Directive, ...], marked: tuple[Directive, ...], *, inside: bytes, taken: frozenset[Name]
) -> tuple[Clash, ...]:
    """Return the names that a configuration uses twice, or that are ``taken`` elsewhere, with data in one of the uses.

    ``marked`` is the same configuration with a mark for each registered value.
    """
    uses: dict[Name, list[frozenset[int]]] = {}
    for name, data in _uses(real, marked, inside):
        uses.setdefault(name, [frozenset()] if name in taken else []).append(data)
    return tuple(Clash(name=name, data=tuple(found)) for name, found in uses.items() if len(found) > 1 and any(found))


def _uses(
    real: tuple[Directive, ...], marked: tuple[Directive, ...], inside: bytes
) -> Iterator[tuple[Name, frozenset[int]]]:
    """Yield each use of a name with the numbers of the marks in it; http servers share their ports."""
    shared: dict[Name, frozenset[int]] = {}
    for (_, parent, found), (_, _, like) in zip(walk(real, inside=inside), walk(marked, inside=inside), strict=True):
        if parent not in _HOLDS_SERVERS or found.block is None or like.block is None:
            continue
        if found.name == b"upstream" and found.args:
            yield (f"{_kind(parent)} upstream", found.args[0].lower()), _marks(like.args)
        elif found.name == b"server" and parent == b"stream":
            yield from _ports(found.block, like.block)
        elif found.name == b"server":
            yield from _hosts(found.block, like.block)
            for name, data in _ports(found.block, like.block):
                shared.setdefault(name, data)
    yield from shared.items()


def _kind(parent: bytes) -> str:
    return "stream" if parent == b"stream" else "http"


def _ports(block: tuple[Directive, ...], like: tuple[Directive, ...]) -> Iterator[tuple[Name, frozenset[int]]]:
    for found, marked in _arguments(block, like, _DEFAULT_LISTEN):
        protocol = "udp" if b"udp" in found.args else "tcp"
        yield (f"{protocol} port", _listen(found)), _marks(marked.args[:1])


def _hosts(block: tuple[Directive, ...], like: tuple[Directive, ...]) -> Iterator[tuple[Name, frozenset[int]]]:
    uses: dict[Name, frozenset[int]] = {}
    for listen, where in _arguments(block, like, _DEFAULT_LISTEN):
        for found, marked in _arguments(block, like, _DEFAULT_HOST):
            for host, data in zip(found.args, marked.args, strict=True):
                name = ("server_name", host.lower() + b" on " + _listen(listen))
                uses.setdefault(name, _marks((data, *where.args[:1])))
    yield from uses.items()


def _arguments(
    block: tuple[Directive, ...], like: tuple[Directive, ...], default: Directive
) -> list[tuple[Directive, Directive]]:
    """Return the block's directives of the default's name with arguments, each with its like; else the default."""
    both = zip(block, like, strict=True)
    return [pair for pair in both if pair[0].name == default.name and pair[0].args] or [(default, default)]


def _listen(listen: Directive) -> bytes:
    return _ANY_ADDRESS.sub(b"*:", listen.args[0].lower())


def _marks(arguments: Iterable[bytes]) -> frozenset[int]:
    return frozenset(int(number) for argument in arguments for number in _MARK.findall(argument))


def shown(name: Name) -> str:
    """Return a name for a sentence."""
    return f"{name[0]} {name[1].decode(errors='backslashreplace')}"
