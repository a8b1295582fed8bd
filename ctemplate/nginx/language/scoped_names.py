"""Names that one block may contain only once: the locations of a server, the keys of a ``map``. Pure.

nginx refuses a second location of a path, and a second entry of a ``map`` with the same key. Of locations and entries
with the same regular expression the first in the file counts, of the networks of a ``geo`` the last, without an error.
Only names that a block contains twice are of interest, since a block is never cut. Must not know who registered a name.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from ipaddress import ip_network
from typing import TypeAlias

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.nginx.language.directives import ENTRY_WORDS
from ctemplate.nginx.language.parser import Directive

Name: TypeAlias = tuple[str, bytes]
"""The kind of name, and the name in the form that nginx compares: ``("http upstream", b"web")``."""

SILENT = frozenset({"location pattern", "named location", "map pattern", "geo network"})
"""Kinds of names of which nginx accepts a second use in a block."""

EVERYTHING = (b"0.0.0.0/0", b"::/0")
"""The networks that a ``default`` of ``geo`` stands for."""

HOST_MARK = b"\0"
"""Stands before each host of the server in the name of a location."""

_LOCATION_KINDS = {b"=": "exact location", b"~": "location pattern", b"~*": "location pattern", b"@": "named location"}
_LOCATION = lazy_pattern(rb"(=|\^~|~\*?)?(.*)", re.DOTALL)
_MARK = re.compile(rb"\x01(\d+)\x02")


def marks(arguments: Iterable[bytes]) -> frozenset[int]:
    """Return the numbers of the placeholders in some arguments."""
    return frozenset(int(number) for argument in arguments for number in _MARK.findall(argument))


def repeated(
    block: bytes,
    content: Iterable[tuple[Directive, Directive]],
    of: bytes,
    *,
    wanted: Container[Name] | None = None,
) -> Iterator[tuple[Name, frozenset[int]]]:
    """Yield each use of a name that the content of a block has twice or more, if data is in one of the uses.

    Each directive comes with its like: the same with a placeholder for each registered value. ``of`` tells the block
    from others: for a server it is all its hosts, since a new one may be the first. With ``wanted`` the uses of all
    names that begin like these (``beginning``) are yielded, also of those used once.
    """
    content = tuple(content)
    if block in (b"server", b"location"):
        yield from _locations(content, b"", of, wanted)
    elif block in (b"map", b"geo"):
        yield from _entries(block, content, of, wanted)


def beginning(name: Name) -> Name:
    """Return a name without the hosts of its server."""
    return name[0], name[1].partition(HOST_MARK)[0]


def are_alike(one: Name, other: Name) -> bool:
    """Whether two names are the same, or the same in servers that share a host."""
    if one == other or HOST_MARK not in one[1]:
        return one == other
    (begins, *hosts), (starts, *others) = one[1].split(HOST_MARK), other[1].split(HOST_MARK)
    return (one[0], begins) == (other[0], starts) and not frozenset(hosts).isdisjoint(others)


def _locations(
    content: tuple[tuple[Directive, Directive], ...], around: bytes, of: bytes, wanted: Container[Name] | None
) -> Iterator[tuple[Name, frozenset[int]]]:
    uses: dict[Name, list[frozenset[int]]] = {}
    for one, like in content:
        if one.name != b"location" or not one.args:
            continue
        kind, path = _location(one.args)
        where = path + around
        uses.setdefault((kind, where), []).append(marks(like.args))
        if one.block and like.block:
            inner = tuple(zip(one.block, like.block, strict=True))
            yield from _locations(inner, b" of " + where, of, wanted)
    for (kind, where), each in uses.items():
        begins = where + b" of " if of else where
        if (len(each) > 1 if wanted is None else (kind, begins) in wanted) and any(each):
            yield from (((kind, begins + of), data) for data in each)


def _location(args: tuple[bytes, ...]) -> tuple[str, bytes]:
    """Return the kind of a location and its path; ``^~`` and no modifier are the same to nginx."""
    modifier, path = args[-2:] if len(args) > 1 else (None, args[0])
    if modifier is None and (found := _LOCATION.fullmatch(path)):
        modifier, path = found[1] or path[:1], found[2]
    return _LOCATION_KINDS.get(modifier or b"", "location"), path.lower() if modifier == b"~*" else path


def _entries(
    block: bytes, content: tuple[tuple[Directive, Directive], ...], of: bytes, wanted: Container[Name] | None
) -> Iterator[tuple[Name, frozenset[int]]]:
    has_hosts = block == b"map" and any(one.name == b"hostnames" and not one.args for one, _ in content)
    uses: dict[Name, list[tuple[frozenset[int], tuple[bytes, ...]]]] = {}
    for one, like in content:
        data = marks((like.name,))
        if one.name in ENTRY_WORDS and not data and (block, one.name) != (b"geo", b"default"):
            continue
        kind, keys = _keys(block, one.name, has_hosts=has_hosts)
        for key in keys:
            uses.setdefault((kind, key + b" of " + of if of else key), []).append((data, one.args))
    for name, each in uses.items():
        differ = name[0] not in SILENT or len({value for _, value in each}) > 1
        if (len(each) > 1 and differ if wanted is None else name in wanted) and any(data for data, _ in each):
            yield from ((name, data) for data, _ in each)


def _keys(block: bytes, key: bytes, *, has_hosts: bool) -> tuple[str, tuple[bytes, ...]]:
    """Return the kind of an entry, and its keys as nginx compares them."""
    if block == b"geo":
        return "geo network", EVERYTHING if key == b"default" else (_network(key),)
    if key.startswith(b"~"):
        return "map pattern", (key,)
    key = key.lower()
    return "map key", spelled_out(key) if has_hosts else (key,)


def spelled_out(host: bytes) -> tuple[bytes, ...]:
    """Return the names that a host name covers: ``.x`` means ``x`` and ``*.x``."""
    return (host[1:], b"*" + host) if host.startswith(b".") else (host,)


def _network(key: bytes) -> bytes:
    try:
        return str(ip_network(key.decode(), strict=False)).encode()
    except ValueError:
        return key
