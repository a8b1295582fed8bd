"""Which losses look like trouble, and what proves them to be real.

What a consistent read alone cannot tell: a Consul that lost its data agrees that nothing is there, and one that took
our rights away shows an empty catalog to us alone. Three things can:

* the index. A deregistration moves it on; a filter that got stricter leaves it, lost or restored data sets it back;
* the rights. Consul answers whether our token may read a service and a node;
* the history. A loss that came while Consul was in sight all along is one that happened in Consul. After a break, an
  instance seen before and after, with its node's id and the index of its registration, shows that the data is the same.
  So does one of Consul's own servers; where none of those was there before, no loss is believed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ctemplate.guard.hold import Cause, Entry, Hold
from ctemplate.guard.policy import GuardPolicy
from ctemplate.guard.servers import Rolls
from ctemplate.model import Answer, AnyQuery, Instance, InstancesQuery, Servers, ServicesQuery, Status

IN_USE = frozenset({Status.PASSING, Status.WARNING})
SESSIONS = 64  # that are known at most, of all datacenters
FEW = 3  # fewer instances than this may lose any but the last one


def is_in_use(entry: Entry) -> bool:
    """Whether losing the entry can hurt: instances that fail or are in maintenance serve nothing."""
    return not isinstance(entry, Instance) or entry.status in IN_USE


def key(entry: Entry) -> tuple[str, str]:
    """Return what identifies an entry within its answer."""
    return (entry.node, entry.id) if isinstance(entry, Instance) else (entry.name, "")


def absent(entries: Iterable[Entry], answer: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries that an answer lacks; an instance that took over address and port stands for the old one."""
    keys: set[tuple[str, str]] = set()
    places: set[tuple[str, int]] = set()
    for entry in answer:
        keys.add(key(entry))
        if isinstance(entry, Instance) and entry.port:
            places.add((entry.address, entry.port))
    return tuple(
        entry
        for entry in entries
        if key(entry) not in keys and not (isinstance(entry, Instance) and (entry.address, entry.port) in places)
    )


def missed(entries: Iterable[Entry], answer: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries that an answer lacks or has as failing; maintenance is meant, and counts as there."""
    return absent(
        entries, (entry for entry in answer if not isinstance(entry, Instance) or entry.status is not Status.CRITICAL)
    )


def suspicion(before: Answer, new: Answer, gone: tuple[Entry, ...], policy: GuardPolicy) -> Cause | None:
    """Return why the loss of the ``gone`` entries, all in use, is doubted, or None where it passes at once."""
    if policy.hold <= 0 or not gone:
        return None
    reasons = {
        Cause.INDEX_FELL: 0 < new.index < before.index,
        Cause.UNMOVED: 0 < new.index == before.index,
        Cause.LEADERLESS: not new.known_leader,
        Cause.FILTERED: new.filtered and not before.filtered,
        Cause.LOSS: is_large(before, new, len(gone), policy),
    }
    return next((cause for cause, applies in reasons.items() if applies), None)


def is_large(before: Answer, new: Answer, lost: int, policy: GuardPolicy) -> bool:
    """Whether losing so many of the instances in use is more than the policy allows; services lose everything."""
    if isinstance(before.query, ServicesQuery):
        return True
    used = sum(map(is_in_use, before.value))
    loss = lost - sum(map(is_in_use, absent(new.value, before.value)))
    if loss <= 0:
        return False
    too_few = loss >= used or len(new.value) < policy.min_instances
    return too_few or (used >= FEW and loss > policy.max_loss * used)


class Histories:
    """Which sessions with a datacenter's Consul saw one and the same history of its data.

    A session is the time between two breaks. It is one history with an earlier one as soon as an instance is seen
    again that was known from that, registered under the same index on a node with the same id.
    """

    def __init__(self) -> None:
        self._origins: dict[tuple[str | None, float], float] = {}
        self._reached: dict[tuple[str | None, float], int] = {}

    def reach(self, answer: Answer) -> None:
        """Learn how far the index came in an answer's session."""
        place = (answer.query.dc, answer.session)
        self._reached[place] = max(answer.index, self._reached.get(place, 0))
        if len(self._reached) > SESSIONS:
            del self._reached[next(iter(self._reached))]

    def is_beyond(self, answer: Answer, session: float) -> bool:
        """Whether an answer's index is larger than all of a session: data that was lost begins with small ones."""
        return answer.index > self._reached.get((answer.query.dc, session), math.inf)

    def origin(self, query: AnyQuery, session: float) -> float:
        """Return the earliest session known to share the history of this one."""
        return self._origins.get((query.dc, session), session)

    def note(self, before: Answer, new: Answer) -> bool:
        """Learn from an answer and the one before it; answer whether two histories turned out to be one."""
        query = new.query
        if before.session == new.session or not isinstance(query, InstancesQuery) or query.peer is not None:
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
    hold: Hold, answer: Answer, histories: Histories, rolls: Rolls, *, may_read: bool | None, servers: Servers
) -> Cause | None:
    """Judge a hold by a consistent read that lacks its entries too; None says that the loss is real.

    ``may_read`` tells whether the token has the right to read the entries, None where Consul did not say. ``servers``
    are those that answered, none where they cannot be seen. An index of 0 is none, and tells nothing.
    """
    dc = answer.query.dc
    are_ours = rolls.are_ours(dc, servers, since=hold.session) and histories.is_beyond(answer, hold.session)
    histories_differ = histories.origin(answer.query, answer.session) != histories.origin(answer.query, hold.session)
    is_filtered = isinstance(answer.query, InstancesQuery) and answer.filtered and not hold.was_filtered
    is_another = rolls.are_others(dc, servers) or (hold.cause is Cause.ANOTHER and not servers)
    reasons = {
        Cause.DENIED: may_read is False,
        Cause.ANOTHER: is_another,
        Cause.LEADERLESS: not answer.known_leader,
        Cause.FILTERED: is_filtered,
        Cause.INDEX_FELL: answer.index < hold.index,
        Cause.UNMOVED: 0 < answer.index == hold.index,
        Cause.UNSEEN: histories_differ and not are_ours,
        Cause.LOSS: may_read is None,
    }
    return next((cause for cause, applies in reasons.items() if applies), None)
