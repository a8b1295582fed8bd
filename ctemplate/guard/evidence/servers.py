"""Consul's servers as evidence of its history: whether those that answer are the ones of before.

Each server is registered once, with its own index. Where one is seen again, the data is the same; where none of
the earlier ones is left, another Consul answers, or one whose data was replaced. Operators exchange servers one by one,
so "before" means those seen last. A token that may not see them gives no evidence. Pure; must not know how they are
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
    """The servers that answer in place of the known ones, and since when."""

    servers: ServerSet
    since: float


@dataclass(slots=True)
class KnownServers:
    """The servers of each datacenter at the last undoubted moment."""

    _known: dict[str | None, ServerSet] = field(default_factory=dict)
    _unknown: dict[str | None, UnknownServers] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ServerSet]:
        return iter(self._known.values())

    def remember(self, sets: Iterable[ServerSet]) -> None:
        """Start from what an earlier process stored."""
        self._known.update({each.dc: each for each in sets})

    def observe(self, seen: ServerSet, now: float, *, patience: float) -> bool:
        """Record the servers that answer; return whether the known servers have changed.

        Unknown servers become the known ones once they have answered for longer than they can hold anything.
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
        """Accept a datacenter's unknown servers, if any, as known; they prove nothing about the time before."""
        unknown = self._unknown.pop(dc, None)
        if unknown is None:
            return False
        later = math.nextafter(unknown.servers.session, math.inf)
        self._known[dc] = msgspec.structs.replace(unknown.servers, session=later)
        return True

    def are_others(self, dc: str | None, seen: Servers) -> bool:
        """Whether none of the servers that answer was known before."""
        known = self._known.get(dc)
        return known is not None and bool(seen) and not seen & known.servers

    def are_ours(self, dc: str | None, seen: Servers, *, since: float) -> bool:
        """Whether one of the servers that answer is known without a gap since a session."""
        known = self._known.get(dc)
        return known is not None and known.session <= since and bool(seen & known.servers)
