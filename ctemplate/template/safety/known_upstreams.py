"""Where a group's texts may send nginx besides their own upstreams: upstreams of its other texts, and addresses.

Both are collected on demand, since most texts need neither. Must not know where the texts go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from ipaddress import ip_address
from itertools import chain
from typing import Any, NamedTuple

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Answer, Instance, Query, further_addresses
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.authority import AnyOf, KnownRoutes, Routes, file_variables, reach, routes
from ctemplate.nginx.language.directives import VALUE_BLOCKS
from ctemplate.nginx.language.file_paths import PathVariables
from ctemplate.nginx.language.goals import Origin
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import Directive, parse_config
from ctemplate.nginx.language.scoped_names import Name
from ctemplate.nginx.language.unique_names import names
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import named_service
from ctemplate.template.safety.render_pass import PrintRecord, Run

_SPARE = 2
_SPARE_QUERIES = 100  # remembered beyond those in use, before all are forgotten
_UPSTREAM = re.compile(rb"upstream")
_BARE = lazy_pattern(rb"[a-z_][a-z0-9_-]*")
_IP = lazy_pattern(r"[0-9.]+\Z|\[")
_WITH_PORT = lazy_pattern(rb"[^:]:\d+\Z|\]:\d+\Z")


class _Sorted(NamedTuple):
    """The instances of an answer's value, by their service."""

    value: tuple[Any, ...]
    by_name: Mapping[str, Sequence[Instance]]


@dataclass(slots=True)
class AnswersByService:
    """Which answers hold instances of a service; an answer that was seen is not looked through again."""

    _seen: set[Query] = field(default_factory=set)
    _named: dict[str, list[Query]] = field(default_factory=dict)
    _unnamed: dict[Query, _Sorted | None] = field(default_factory=dict)

    def see(self, runs: Iterable[Run]) -> None:
        """Sort what these runs used, which is over; needed before their instances are asked for."""
        for run in runs:
            self._see(run.used)

    def instances(self, service: str, runs: Iterable[Run]) -> Iterator[Instance]:
        """Yield a service's instances in the answers that these runs used."""
        for run in runs:
            for query in self._named.get(service, ()):
                if (answer := run.used.get(query)) is not None:
                    yield from (one for one in answer.value if isinstance(one, Instance) and one.name == service)
            for query in self._unnamed:
                if (answer := run.used.get(query)) is not None:
                    yield from self._by_name(query, answer).get(service, ())

    def _by_name(self, query: Query, answer: Answer) -> Mapping[str, Sequence[Instance]]:
        found = self._unnamed[query]
        if found is None or found.value is not answer.value:
            by_name: dict[str, list[Instance]] = {}
            for one in answer.value:
                if isinstance(one, Instance):
                    by_name.setdefault(one.name, []).append(one)
            found = self._unnamed[query] = _Sorted(answer.value, by_name)
        return found.by_name

    def _see(self, used: Mapping[Query, Answer | None]) -> None:
        if len(self._seen) > _SPARE * len(used) + _SPARE_QUERIES:
            self._seen, self._named, self._unnamed = set(), {}, {}
        new = used.keys() - self._seen
        self._seen |= new
        for query in new:
            if (name := named_service(query)) is None:
                self._unnamed[query] = None
            else:
                self._named.setdefault(name, []).append(query)


class Addresses:
    """The addresses of the instances that the runs read, bare and with their ports: each was checked with its node.

    A loopback address is valid where the node's own is one, so only its own service may name it. Another service's
    address is valid only with its port: without one, it would lead to an unregistered port.
    """

    def __init__(self, run: Run, runs: Iterable[Run], answers: AnswersByService | None = None) -> None:
        self._run = run
        self._runs = tuple(runs)
        self._answers = answers or AnswersByService()
        self._by_service: dict[str, frozenset[bytes]] = {}

    def __contains__(self, origin: object) -> bool:
        if not isinstance(origin, Origin):
            return False
        owner = self._prints[origin.number].owner
        if origin.address in self._own("" if owner is None else owner.service):
            return True
        return origin.address in self._others and not is_loopback_target(origin.address)

    @cached_property
    def host_names(self) -> frozenset[bytes]:
        """The addresses that are host names, in lower case."""
        answers = {id(answer): answer for run in self._runs for answer in run.used.values() if answer is not None}
        items = (item for answer in answers.values() for item in answer.value if isinstance(item, Instance))
        return frozenset(one.lower() for item in items if _has_host_name(item) for one in _addresses(item))

    def _own(self, service: str) -> frozenset[bytes]:
        """Return the addresses of one service's instances."""
        if service not in self._by_service:
            own = map(_addresses, self._known.instances(service, self._runs))
            self._by_service[service] = frozenset(chain.from_iterable(own))
        return self._by_service[service]

    @cached_property
    def _known(self) -> AnswersByService:
        self._answers.see(self._runs)
        return self._answers

    @cached_property
    def _prints(self) -> dict[int, PrintRecord]:
        return dict(self._run.prints or ())

    @cached_property
    def _others(self) -> frozenset[bytes]:
        answers = {id(answer): answer for run in self._runs for answer in run.used.values() if answer is not None}
        found = chain.from_iterable(_addresses(one) for answer in answers.values() for one in answer.value)
        return frozenset(address for address in found if _WITH_PORT.search(address))


class NamedHosts:
    """The host names among addresses, collected once they are asked for."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def __contains__(self, host: object) -> bool:
        return host in self._addresses.host_names


def _has_host_name(item: Instance) -> bool:
    """Whether one of an instance's addresses is no IP address, perhaps."""
    further = () if item.details is None else (address for address, _ in further_addresses(item))
    return not all(_IP.match(address) for address in (item.address, item.node_address, *further) if address)


def _addresses(item: object) -> tuple[bytes, ...]:
    """Return an instance's addresses, bare and with its port."""
    if not isinstance(item, Instance):
        return ()
    own, node = item.address.encode(), item.node_address.encode()
    found: tuple[bytes, ...] = (own, b"%b:%d" % (own, item.port))
    if item.details is not None:
        further = ((address.encode(), port) for address, port in further_addresses(item))
        found += tuple(form for address, port in further for form in (address, b"%b:%d" % (address, port)))
    return found if node in {own, b""} else (*found, node, b"%b:%d" % (node, item.port))


class Upstreams:
    """The upstreams of other texts, and their targets; ``were_asked``: they were needed."""

    def __init__(self, others: Iterable[tuple[str, ConfigPlace]]) -> None:
        self._others = tuple(others)
        self.were_asked = False

    def __contains__(self, name: object) -> bool:
        self.were_asked = True
        return name in self._found

    @cached_property
    def _found(self) -> frozenset[Name]:
        parsed = (_parsed(text, place.inside, _UPSTREAM) for text, place in self._others)
        return frozenset().union(*(names(found, inside=inside) for found, inside in parsed))

    @cached_property
    def routed(self) -> frozenset[bytes]:
        """The variables that the other texts' targets are made of."""
        return reach(self._routes)[0]

    @cached_property
    def paths(self) -> PathVariables:
        """The variables in paths of files that the other texts open."""
        return file_variables(self._routes)

    @cached_property
    def _routes(self) -> tuple[Routes, ...]:
        self.were_asked = True
        parsed = (_parsed(text, place.inside) for text, place in self._others)
        return tuple(routes(found, inside=inside) for found, inside in parsed)


class BareNames:
    """Every name that an upstream of a file that does not exist yet may have, and that is neither address nor host."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, tuple) and _BARE.fullmatch(name[1]) is not None and name[1] != b"localhost"


def is_loopback_target(address: bytes) -> bool:
    """Whether a printed address, perhaps with a port, is the host itself."""
    bare = address[1:].partition(b"]")[0] if address.startswith(b"[") else address.partition(b":")[0]
    try:
        found = ip_address(bare.decode())
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _parsed(text: str, inside: bytes, sought: re.Pattern[bytes] | None = None) -> tuple[tuple[Directive, ...], bytes]:
    """Return a text's directives and the block around it; none where it is not nginx's language."""
    source = text.encode("utf-8", "surrogateescape")
    try:
        return parse_config(source, where="", inside=inside, sought=sought), inside
    except NginxSyntaxError:
        return (), inside


def known_at(place: ConfigPlace, addresses: Addresses, upstreams: Upstreams) -> KnownRoutes:
    """Return what a pass's text may rely on at its place: addresses that it read, upstreams of the other texts."""
    others = (place.upstreams, upstreams)
    return KnownRoutes(
        upstreams=AnyOf((*others, BareNames()) if place.is_open else others),
        addresses=addresses,
        host_names=NamedHosts(addresses),
        hosts=place.hosts,
        paths=place.paths.joined(upstreams.paths) if place.inside in VALUE_BLOCKS else place.paths,
        routed=place.routed | (upstreams.routed if place.inside in VALUE_BLOCKS else frozenset()),
        variable=place.variable,
        seen=place.seen,
    )
