"""Who answers: the source's own servers as evidence of its history, and whether they are those of before.

Each of them is registered once, under an index of its own. Where one is seen again, the data is the same; where none of
those before is, another Consul answers, or one whose data was replaced. Servers are exchanged one by one, so those of
before are the ones seen last. Where the token may not see them there is no evidence. Pure; must not know how they are
read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import field

import msgspec

from ctemplate.core.model import Servers, ServerSet
from ctemplate.core.values import dataclass


@dataclass(slots=True)
class UnknownServers:
    """The servers that answer in the place of ours, and since when."""

    servers: ServerSet
    since: float


@dataclass(slots=True)
class KnownServers:
    """The servers of each datacenter when all was well."""

    _known: dict[str | None, ServerSet] = field(default_factory=dict)
    _unknown: dict[str | None, UnknownServers] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ServerSet]:
        return iter(self._known.values())

    def remember(self, sets: Iterable[ServerSet]) -> None:
        """Start from what an earlier process knew."""
        self._known.update({each.dc: each for each in sets})

    def observe(self, seen: ServerSet, now: float, *, patience: float) -> bool:
        """Note who answers; answer whether others are known for ours than before.

        Unknown ones become ours once they have answered for longer than anything is held because of them.
        """
        known = self._known.get(seen.dc)
        if not seen.servers:
            return False
        if known is None or seen.servers & known.servers:
            self._known[seen.dc] = seen if known is None else msgspec.structs.replace(known, servers=seen.servers)
            self._unknown.pop(seen.dc, None)
            return self._known[seen.dc] != known
        since = self._unknown[seen.dc].since if seen.dc in self._unknown else now
        self._unknown[seen.dc] = UnknownServers(seen, since)
        return now - since >= patience and self.accept(seen.dc)

    def accept(self, dc: str | None) -> bool:
        """Take a datacenter's unknown servers, if there are any, for ours from now on; they prove nothing of before."""
        unknown = self._unknown.pop(dc, None)
        if unknown is None:
            return False
        later = math.nextafter(unknown.servers.session, math.inf)
        self._known[dc] = msgspec.structs.replace(unknown.servers, session=later)
        return True

    def are_others(self, dc: str | None, seen: Servers) -> bool:
        """Whether none of those who answer was there before."""
        known = self._known.get(dc)
        return known is not None and bool(seen) and not seen & known.servers

    def are_ours(self, dc: str | None, seen: Servers, *, since: float) -> bool:
        """Whether one of those who answer is known without a gap since a session."""
        known = self._known.get(dc)
        return known is not None and known.session <= since and bool(seen & known.servers)
