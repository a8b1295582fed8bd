"""Which of several services keeps a name or port that all of them want: first the one that had it, then the oldest.

Pure; must not know where what was live is stored.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ctemplate.template.safety.render_pass import Claim, Owner


class LastLive(Protocol):
    """What the last good rendering contained."""

    def is_live(self, owner: Owner) -> bool:
        """Whether it contained data of the owner."""
        ...

    def had(self, claim: Claim) -> bool:
        """Whether the service of the claim had what it claims."""
        ...

    def since(self, service: str) -> float:
        """Return the earliest registration of a service known while it has been live, infinity where unknown."""
        ...


class Rank(NamedTuple):
    """The order in which services get what several of them want; the smallest comes first."""

    is_new: bool
    since: float
    service: str


class Party(NamedTuple):
    """A service that wants a name, or those of its instances, but not all, that alone make it want the name."""

    service: str
    instances: tuple[Owner, ...] = ()

    @property
    def owners(self) -> tuple[Owner, ...]:
        """Who is left out if the party does not get the name."""
        return self.instances or (Owner(self.service),)


def rank_of_party(party: Party, created: float, before: LastLive | None) -> Rank:
    """Return a party's place in that order; instances do not count as old as their service."""
    if not party.instances:
        return rank(party.service, created, before)
    is_new = before is None or not any(map(before.is_live, party.instances))
    return Rank(is_new=is_new, since=created, service=party.service)


def rank_of_instance(owner: Owner, created: float, before: LastLive | None) -> tuple[bool, float, Owner]:
    """Return an instance's place among those of its service: live ones first, then by age."""
    return before is None or not before.is_live(owner), created or float("inf"), owner


def rank(service: str, created: float, before: LastLive | None) -> Rank:
    """Return a service's place in that order; ``created`` is the oldest of its current registrations.

    All instances of a live service may be replaced one after the other; it stays as old as its first ones.
    """
    if before is None or not before.is_live(Owner(service)):
        return Rank(is_new=True, since=created, service=service)
    return Rank(is_new=False, since=min(created, before.since(service)), service=service)
