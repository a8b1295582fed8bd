"""What proves a loss to be real.

A consistent read alone cannot show it: a Consul that lost its data confirms that nothing is there, and to a token that
lost its rights it shows an empty catalog. Three other facts can:

* the index. A deregistration raises it; a stricter filter leaves it unchanged; lost or restored data lower it;
* the rights. Consul answers whether our token may read a service and a node;
* the history. A loss that arrived while Consul was in sight without a break happened in Consul. After a break, an
  instance seen before and after, with its node's id and its registration's index, proves that the data is the same.
  So does one of Consul's own servers; where none of the earlier servers is left, no loss is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ctemplate.core.model import Answer, Instance, Query, Servers
from ctemplate.guard.evidence.hold import Cause, Entry, Hold
from ctemplate.guard.evidence.servers import KnownServers
from ctemplate.queries import Losses, kind_of, named_service

CONSUL_SERVICE = "consul"  # the service that the servers register themselves as
SESSIONS = 64  # known sessions, at most, of all datacenters


def lists_consul(catalog: Answer) -> bool:
    """Whether a datacenter's list of services contains Consul's own, which its servers register."""
    return any(service.name == CONSUL_SERVICE for service in catalog.value)


def is_all_invalid(answer: Answer) -> bool:
    """Whether an answer has entries but no valid one; Consul adds some of other names to it."""
    name = named_service(answer.query)
    names = {rejection.service for rejection in answer.rejections} if name is None else {name}
    return not answer.value and any(rejection.service in names for rejection in answer.rejections)


class Histories:
    """Which sessions with a datacenter's Consul saw the same history of its data.

    A session is the time between two breaks. It shares the history of an earlier one as soon as an instance known from
    that one is seen again, registered under the same index on a node with the same id.
    """

    def __init__(self) -> None:
        self._origins: dict[tuple[str | None, float], float] = {}
        self._reached: dict[tuple[str | None, float], int] = {}

    def reach(self, answer: Answer) -> None:
        """Record the highest index of an answer's session."""
        place = (answer.query.dc, answer.session)
        self._reached[place] = max(answer.index, self._reached.get(place, 0))
        if len(self._reached) > SESSIONS:
            del self._reached[next(iter(self._reached))]

    def is_beyond(self, answer: Answer, session: float) -> bool:
        """Whether an answer's index is above all of a session; data that was lost starts again with low ones."""
        return answer.index > self._reached.get((answer.query.dc, session), math.inf)

    def origin(self, query: Query, session: float) -> float:
        """Return the earliest session known to share this one's history."""
        return self._origins.get((query.dc, session), session)

    def note(self, before: Answer, new: Answer) -> bool:
        """Learn from an answer and the previous one; return whether two histories turned out to be the same."""
        query = new.query
        if before.session == new.session or kind_of(query).losses is not Losses.INSTANCES or query.peer is not None:
            return False
        earlier = self.origin(query, before.session)
        if self.origin(query, new.session) <= earlier or 0 < new.index < before.index:
            return False
        if not _registrations(before.value) & _registrations(new.value):
            return False
        self._origins = {place: self._origins[place] for place in list(self._origins)[-SESSIONS:]}
        self._origins[query.dc, new.session] = earlier
        return True


def _registrations(instances: Iterable[Entry]) -> set[tuple[str, str, str, int]]:
    return {
        (instance.node_id, instance.node, instance.id, instance.created)
        for instance in instances
        if isinstance(instance, Instance) and instance.node_id and instance.created
    }


def verdict(
    hold: Hold, answer: Answer, histories: Histories, known: KnownServers, *, may_read: bool | None, servers: Servers
) -> Cause | None:
    """Judge a hold by a consistent read that lacks its entries too; return None where the loss is real.

    ``may_read``: whether the token has the right to read the entries, None where Consul did not say. ``servers`` are
    those that answered, empty where they are unknown. An index of 0 means no index, and proves nothing.
    """
    dc = answer.query.dc
    are_ours = known.are_ours(dc, servers, since=hold.session) and histories.is_beyond(answer, hold.session)
    histories_differ = histories.origin(answer.query, answer.session) != histories.origin(answer.query, hold.session)
    is_filtered = kind_of(answer.query).losses is Losses.INSTANCES and answer.filtered and not hold.was_filtered
    is_another = known.are_others(dc, servers) or (hold.cause is Cause.DIFFERENT_CLUSTER and not servers)
    reasons = {
        Cause.DENIED: may_read is False,
        Cause.DIFFERENT_CLUSTER: is_another,
        Cause.WITHOUT_CONSUL: hold.cause is Cause.WITHOUT_CONSUL and not lists_consul(answer),
        Cause.INVALID_ENTRIES: is_all_invalid(answer),
        Cause.LEADERLESS: not answer.known_leader,
        Cause.FILTERED: is_filtered,
        Cause.INDEX_FELL: answer.index < hold.index,
        Cause.INDEX_UNCHANGED: 0 < answer.index == hold.index,
        Cause.CONNECTION_GAP: histories_differ and not are_ours,
        Cause.LOSS: may_read is None,
    }
    return next((cause for cause, applies in reasons.items() if applies), None)
