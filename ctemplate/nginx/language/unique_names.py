"""Names that a configuration may contain only once: upstreams, server names, ports, zones, locations. Pure.

nginx refuses a second upstream with the same name and a second stream server on a port. It ignores a second server with
the same name, with only a warning, so that the first in the file gets all requests. The last of several ``map`` or
similar blocks for a variable gives it its value, without a warning. ``scoped_names`` has the names that only one block
may not contain twice. Must not know who registered a name, or who must give way.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType
from typing import TypeAlias

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.directives import HOLDS_SERVERS, NAMES_INSIDE, NAMES_ITSELF, NAMES_ZONE, VARIABLE_OF_BLOCK
from ctemplate.nginx.language.parser import Directive, walk
from ctemplate.nginx.language.scoped_names import HOST_MARK, SILENT, Name, marks, repeated, spelled_out

HOST = "server_name"
"""The kind of the names of servers, each with a port."""

Both: TypeAlias = Iterable[tuple[int, bytes, Directive, Directive]]
"""The directives of a configuration, each with its depth, the block that holds it, and its like: the same directive
with a placeholder for each registered value."""

_DEFAULT_LISTEN = Directive(name=b"listen", args=(b"80",), line=0, last_line=0, start=0, end=0)
_DEFAULT_HOST = Directive(name=b"server_name", args=(b"",), line=0, last_line=0, start=0, end=0)
_ANY_ADDRESS = lazy_pattern(rb"^(?:0\.0\.0\.0:|\*:)?(?=\d+$)")
_LEADING_ZEROS = lazy_pattern(rb"(?<![0-9a-f])0+(?=\d)")
_IPV6 = lazy_pattern(rb"^\[([0-9a-f:.]+)\]")
_WITH_PORT = re.compile(rb"([^:]+|\[.*\]):\d+")
_KNOWN_NAMES = 100_000
_ALONE_ON_PORTS = frozenset({b"stream", b"mail"})
"""Blocks of which only one server may listen on a port."""
_HOLDS_HTTP = HOLDS_SERVERS - _ALONE_ON_PORTS
_ZONE = lazy_pattern(rb"(?:keys_zone=|zone=|shared:)([^:]+)")
_DEFAULT_SERVER = lazy_pattern(rb"default(?:_server)?")
_SOCKET_OPTION = lazy_pattern(
    rb"(?:setfib|fastopen|backlog|rcvbuf|sndbuf|accept_filter|so_keepalive|ipv6only)=.*|bind|deferred|reuseport",
    re.DOTALL,
)
_OF_LISTEN = (("default server", _DEFAULT_SERVER), ("socket options", _SOCKET_OPTION))
"""Parameters of ``listen`` that only one server of an address may have."""


NO_HOSTS: Mapping[Name, frozenset[int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """One name that is used more than once; ``data`` are the values in each use, empty for a template's own text.

    ``is_host``: it is also a host in targets, which nginx would not reach through an upstream of that name.
    """

    name: Name
    data: tuple[frozenset[int], ...]
    is_host: bool = False

    @property
    def is_refused(self) -> bool:
        """Return whether nginx refuses the configuration because of it; otherwise nginx ignores all uses but one."""
        return is_refused_twice(self.name)

    @property
    def is_own_fault(self) -> bool:
        """Return whether a service that uses it twice itself loses it; elsewhere nginx's own message names the line."""
        return not self.is_host and self.name[0].endswith((" upstream", " port"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """The names that directives use, each with the numbers of the placeholders in it.

    ``ports`` may be shared with each other: those of http servers, and zones that the template itself names. Each comes
    once, with the placeholders of all that share it; with none if the template itself is among these.
    """

    names: tuple[tuple[Name, frozenset[int]], ...]
    ports: tuple[tuple[Name, frozenset[int]], ...]

    def renumbered(self, numbers: Sequence[int]) -> Uses:
        """Return the same with other numbers of the placeholders: ``numbers`` has one for each from 0 on."""
        return Uses(
            names=tuple((name, frozenset(numbers[at] for at in data)) for name, data in self.names),
            ports=tuple((name, frozenset(numbers[at] for at in data)) for name, data in self.ports),
        )


def is_refused_twice(name: Name) -> bool:
    """Return whether nginx refuses a second use of a name; else the order of the files decides which one counts."""
    return name[0] not in SILENT and name[0] != HOST and not name[0].endswith(" variable")


@lru_cache(maxsize=_KNOWN_NAMES)
def is_address(name: Name) -> bool:
    """Return whether a name is an upstream's and an IP address, perhaps with a port.

    nginx prefers an upstream to the host of the same name, so it would get what is sent to that address.
    """
    if not name[0].endswith(" upstream"):
        return False
    ported = _WITH_PORT.fullmatch(name[1])
    bare = (ported[1] if ported else name[1]).decode(errors="replace")
    try:
        ip_address(bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare)
    except ValueError:
        return False
    return True


def names(directives: tuple[Directive, ...], *, inside: bytes = b"") -> frozenset[Name]:
    """Return the names that a configuration uses."""
    found = uses_of((depth, parent, one, one) for depth, parent, one in walk(directives, inside=inside))
    return frozenset(name for name, _ in found.names + found.ports)


def name_clashes(
    found: Uses, *, taken: frozenset[Name], hosts: Mapping[Name, frozenset[int]] = NO_HOSTS
) -> tuple[Clash, ...]:
    """Return the names that a configuration uses twice, or that are ``taken`` elsewhere, if data is in one of the uses.

    Addresses are always taken: data may not give an upstream the name of one. ``hosts`` are the hosts in targets that
    come from data, as names of upstreams: together they are one use of the name.
    """
    each: dict[Name, list[frozenset[int]]] = {}
    for name, data in found.names + found.ports:
        is_taken = name in taken or (bool(data) and is_address(name))
        each.setdefault(name, [frozenset()] if is_taken else []).append(data)
    named = {name for name in hosts if all(each.get(name, ())) and name in each}
    for name in named:
        each[name].append(hosts[name])
    return tuple(
        Clash(name=name, data=tuple(data), is_host=name in named)
        for name, data in each.items()
        if len(data) > 1 and any(data)
    )


def may_clash(parts: Iterable[Uses], *, taken: frozenset[Name], hosts: Container[Name] = ()) -> bool:
    """Return whether the parts of a configuration may clash: False only if ``name_clashes`` would find nothing."""
    known: dict[Name, bool] = dict.fromkeys(taken, False)  # whether a use contains data
    shared: dict[Name, bool] = {}
    for part in parts:
        for name, data in part.names:
            if (name in known and (data or known[name])) or (data and (name in hosts or is_address(name))):
                return True
            known[name] = bool(data)
        for name, data in part.ports:
            shared[name] = shared.get(name, False) or bool(data)
    return any(name in known and (has_data or known[name]) for name, has_data in shared.items())


def uses_of(both: Both, *, wanted: Container[Name] | None = None) -> Uses:
    """Return the names that directives use; of those that one block needs alone, those used twice there, or wanted."""
    found: list[tuple[Name, frozenset[int]]] = []
    shared: dict[Name, frozenset[int]] = {}
    top: dict[bytes, list[tuple[Directive, Directive]]] = {}
    for depth, parent, one, like in both:
        if depth == 0 and parent in NAMES_INSIDE:
            top.setdefault(parent, []).append((one, like))
        if parent in HOLDS_SERVERS:
            found += _alone(parent, one, like, wanted)
        elif one.name not in NAMES_ZONE:
            continue
        for name, data in _shared(parent, one, like):
            if data and name[0] == "zone":
                found.append((name, data))
            else:
                known = shared.get(name, data)
                shared[name] = known | data if known and data else frozenset()
    for around, content in top.items():
        found += repeated(around, content, b"", wanted=wanted)
    return Uses(names=tuple(found), ports=tuple(shared.items()))


def all_uses(parts: Iterable[Uses]) -> Uses:
    """Return the uses of all parts of a configuration; what http servers share counts once, as in ``uses_of``."""
    found: list[tuple[Name, frozenset[int]]] = []
    shared: dict[Name, frozenset[int]] = {}
    for part in parts:
        found += part.names
        for name, data in part.ports:
            known = shared.get(name, data)
            shared[name] = known | data if known and data else frozenset()
    return Uses(names=tuple(found), ports=tuple(shared.items()))


def _alone(
    parent: bytes, one: Directive, like: Directive, wanted: Container[Name] | None
) -> Iterator[tuple[Name, frozenset[int]]]:
    """Yield the names of a directive that needs them alone."""
    if one.name in NAMES_ITSELF and one.args:
        yield (f"{_kind(parent)} {NAMES_ITSELF[one.name]}", one.args[0]), marks(like.args[:1])
    if one.block is None or like.block is None:
        return
    block, marked = one.block, like.block
    if one.name == b"upstream" and one.args:
        yield (f"{_kind(parent)} upstream", one.args[0].lower()), marks(like.args)
    elif (at := VARIABLE_OF_BLOCK.get(one.name)) is not None and one.args[at:]:
        yield (f"{_kind(parent)} variable", one.args[at].lower()), marks((like.args[at],))
        yield from repeated(one.name, zip(block, marked, strict=True), one.args[at], wanted=wanted)
    elif one.name == b"server" and parent in _ALONE_ON_PORTS:
        yield from _ports(block, marked)
    elif one.name == b"server":
        hosts = tuple(_hosts(block, marked))
        yield from hosts
        yield from _listen_parameters(block, marked)
        of = b"".join(HOST_MARK + host[1].removeprefix(b" on ") for host, _ in hosts)
        yield from repeated(one.name, zip(block, marked, strict=True), of, wanted=wanted)


def _shared(parent: bytes, one: Directive, like: Directive) -> Iterator[tuple[Name, frozenset[int]]]:
    """Yield the ports of a server of ``http``, and the zone of shared memory that a directive declares."""
    if one.name == b"server" and parent in _HOLDS_HTTP and one.block is not None and like.block is not None:
        yield from _ports(one.block, like.block)
    if one.name not in NAMES_ZONE:
        return
    if one.name == b"zone":
        if parent == b"upstream" and one.args:
            yield ("zone", one.args[0]), marks(like.args[:1])
        return
    for argument, marked in zip(one.args, like.args, strict=True):
        if zone := _ZONE.match(argument):
            yield ("zone", zone[1]), marks(marked.split(b":")[zone[0].startswith(b"shared:") :][:1])


def _kind(parent: bytes) -> str:
    return "stream" if parent == b"stream" else "http"


def _ports(block: tuple[Directive, ...], like: tuple[Directive, ...]) -> Iterator[tuple[Name, frozenset[int]]]:
    for found, marked in _arguments(block, like, _DEFAULT_LISTEN):
        protocol = "udp" if b"udp" in found.args else "tcp"
        yield (f"{protocol} port", _listen(found)), marks(marked.args[:1])


def _listen_parameters(
    block: tuple[Directive, ...], like: tuple[Directive, ...]
) -> Iterator[tuple[Name, frozenset[int]]]:
    for found, marked in _arguments(block, like, _DEFAULT_LISTEN):
        for kind, parameter in _OF_LISTEN:
            has = [
                data for word, data in zip(found.args[1:], marked.args[1:], strict=True) if parameter.fullmatch(word)
            ]
            if has:
                yield (kind, _listen(found)), marks((marked.args[0], *has))


def _hosts(block: tuple[Directive, ...], like: tuple[Directive, ...]) -> Iterator[tuple[Name, frozenset[int]]]:
    name_uses: dict[Name, frozenset[int]] = {}
    for listen, where in _arguments(block, like, _DEFAULT_LISTEN):
        for found, marked in _arguments(block, like, _DEFAULT_HOST):
            for host, data in zip(found.args, marked.args, strict=True):
                for each in spelled_out(host.lower()):
                    name = (HOST, each + b" on " + _listen(listen))
                    name_uses.setdefault(name, marks((data, *where.args[:1])))
    yield from name_uses.items()


def _arguments(
    block: tuple[Directive, ...], like: tuple[Directive, ...], default: Directive
) -> list[tuple[Directive, Directive]]:
    """Return the block's directives of this name that have arguments, with their marked copies; else the default."""
    both = zip(block, like, strict=True)
    return [pair for pair in both if pair[0].name == default.name and pair[0].args] or [(default, default)]


def _listen(listen: Directive) -> bytes:
    """Return an address in the form that nginx compares, as far as spelling matters: no leading zeros."""
    plain = _LEADING_ZEROS.sub(b"", listen.args[0].lower())
    return _ANY_ADDRESS.sub(b"*:", _IPV6.sub(_shortened, plain))


def _shortened(found: re.Match[bytes]) -> bytes:
    try:
        return b"[%s]" % str(IPv6Address(found[1].decode())).encode()
    except ValueError:
        return found[0]


def format_use(name: Name) -> str:
    """Return a name in the form for a message, with the first host of its server."""
    begins, *hosts = name[1].split(HOST_MARK)
    return f"{name[0]} {b''.join((begins, *hosts[:1])).decode(errors='backslashreplace')}"
