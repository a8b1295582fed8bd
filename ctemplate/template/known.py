"""What the texts of a group may send nginx to besides their own upstreams: those of its other texts, and addresses.

Both are looked for when a text asks for them, since most texts never do. Must not know where the texts go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from ipaddress import ip_address

from ctemplate.model import Instance
from ctemplate.nginx.authority import Known, Origin
from ctemplate.nginx.names import Name, names
from ctemplate.nginx.surroundings import Place
from ctemplate.nginx.syntax import NginxSyntaxError, parse
from ctemplate.template.run import Print, Run

_UPSTREAM = re.compile(rb"upstream")


class Addresses:
    """The addresses of the instances that the runs read, bare and with their ports: each was judged with its node.

    A loopback address is in order where the node's own is one, so only its own service may name it.
    """

    def __init__(self, run: Run, runs: Iterable[Run]) -> None:
        self._run = run
        self._runs = tuple(runs)

    def __contains__(self, origin: object) -> bool:
        if not isinstance(origin, Origin):
            return False
        services = self._found.get(origin.address)
        return services is not None and (not services or self._prints[origin.number].service in services)

    @cached_property
    def _prints(self) -> dict[int, Print]:
        return dict(self._run.prints or ())

    @cached_property
    def _found(self) -> dict[bytes, set[str]]:
        """The services that may name each address, none of them where all may."""
        found: dict[bytes, set[str]] = {}
        answers = (answer for run in self._runs for answer in run.used.values() if answer is not None)
        for one in (item for answer in answers for item in answer.value if isinstance(item, Instance)):
            for address in filter(None, {one.address, one.node_address}):
                own = {one.name} if is_loopback(address) else set()
                for text in (address, f"{address}:{one.port}"):
                    found.setdefault(text.encode(), set()).update(own)
        return found


class Upstreams:
    """The upstreams of other texts, each with its place; ``were_asked`` tells whether anybody needed to know."""

    def __init__(self, others: Iterable[tuple[str, Place]]) -> None:
        self._others = tuple(others)
        self.were_asked = False

    def __contains__(self, name: object) -> bool:
        self.were_asked = True
        return name in self._found

    @cached_property
    def _found(self) -> frozenset[Name]:
        return frozenset().union(*(_upstreams(text, place.inside) for text, place in self._others))


def is_loopback(address: str) -> bool:
    """Whether an address, as it is printed, is the host itself; a name may be."""
    try:
        found = ip_address(address.strip("[]"))
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _upstreams(text: str, inside: bytes) -> frozenset[Name]:
    """Return the names that a text uses; none where it is not nginx's language, which nginx itself will say."""
    source = text.encode("utf-8", "surrogateescape")
    try:
        return names(parse(source, where="", inside=inside, sought=_UPSTREAM), inside=inside)
    except NginxSyntaxError:
        return frozenset()


def known_at(place: Place, run: Run, runs: Sequence[Run], upstreams: Upstreams) -> Known:
    """Return what the text of a pass with shadow may rely on at that place, beside the passes of its group."""
    return Known(
        upstreams=upstreams,
        addresses=Addresses(run, runs),
        hosts=place.hosts,
        routed=place.routed,
        variable=place.variable,
    )
