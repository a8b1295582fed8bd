"""Instances on nodes that Consul lost contact with, all or most at once: kept in use, as the network is likely cut.

Agents watch each other by gossip. When the network is cut, every node's check turns critical while the backends keep
working. A node that fails alone has most likely died: its instances leave at once. ``max_loss`` defines "most", for the
instances of a service and for the nodes of a datacenter; a node that is the only one in sight counts as most. Once
contact with most is back, the network is not cut any more: a node that does not follow within a window has died.
If nodes out of contact are removed from Consul meanwhile, the loss rule holds their entries for the rest of the time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import field, replace
from typing import ClassVar

import msgspec

from ctemplate.core.model import Answer, Instance, Status
from ctemplate.core.settings import GuardPolicy
from ctemplate.core.values import dataclass
from ctemplate.guard.evidence.entries import (
    EntryValue,
    Key,
    are_most,
    checks_not_run,
    failing_checks,
    is_in_use,
    is_node_check,
    is_out_of_contact,
    key,
)
from ctemplate.guard.evidence.hold import Cause, Entry, Hold
from ctemplate.guard.evidence.policy import UNGUARDED
from ctemplate.guard.evidence.reports import LEFT_OUT_OF_CONTACT
from ctemplate.guard.rules import Change, make_hold
from ctemplate.guard.rules.holding import Holding, by_key

UNREACHABLE_WINDOW = 60.0  # seconds within which failures belong together
FAILED = "they fail for another reason, or are gone"


@dataclass(slots=True)
class NodeHealth:
    """Which nodes the answers show, and since when each has been out of contact; shared by all queries."""

    _shown: dict[str | None, Counter[str]] = field(default_factory=dict)
    _failed_at: dict[str | None, dict[str, float]] = field(default_factory=dict)
    _vanished_at: dict[str | None, dict[str, float]] = field(default_factory=dict)
    _recovered_at: dict[str | None, float] = field(default_factory=dict)

    def observe(self, dc: str | None, before: EntryValue, value: EntryValue, now: float) -> None:
        """Take a query's answer in place of the previous one."""
        shown = self._shown.setdefault(dc, Counter())
        failed = self._failed_at.setdefault(dc, {})
        nodes = {instance.node: is_out_of_contact(instance) for instance in value}
        nodes_before = {instance.node for instance in before}
        for node, is_out in nodes.items():
            if is_out:
                failed.setdefault(node, now if shown[node] else -math.inf)
            elif failed.pop(node, None) is not None:
                self._recovered_at[dc] = now
        shown.update(nodes.keys() - nodes_before)
        for node in nodes_before - nodes.keys():
            shown[node] -= 1
            if shown[node] <= 0:
                del shown[node]
                failed.pop(node, None)
                self._vanished_at.setdefault(dc, {})[node] = now

    def vanished(self, dc: str | None, now: float) -> frozenset[str]:
        """Return the nodes of a datacenter that no answer shows any more since a moment ago."""
        lately = {node: at for node, at in self._vanished_at.get(dc, {}).items() if now < at + UNREACHABLE_WINDOW}
        self._vanished_at[dc] = lately
        return frozenset(lately)

    def in_contact(self, dc: str | None) -> frozenset[str]:
        """Return the nodes of a datacenter that answers show and that are in contact."""
        return frozenset(self._shown.get(dc, ())) - self._failed_at.get(dc, {}).keys()

    def recovered_at(self, dc: str | None) -> float:
        """Return when a node of a datacenter last came back into contact, minus infinity for never."""
        return self._recovered_at.get(dc, -math.inf)

    def are_mostly_out(self, dc: str | None, *, max_loss: float) -> bool:
        """Whether most of a datacenter's nodes are out of contact, however long."""
        shown, out = len(self._shown.get(dc, ())), len(self._failed_at.get(dc, ()))
        return out == shown > 0 or (out > 1 and out > max_loss * shown)

    def have_mostly_failed(self, dc: str | None, now: float, *, max_loss: float) -> bool:
        """Whether most of a datacenter's nodes that were in contact have failed within the window."""
        failed = self._failed_at.get(dc, {}).values()
        lately = sum(at + UNREACHABLE_WINDOW > now for at in failed)
        before = len(self._shown.get(dc, ())) - len(failed) + lately
        return lately == before > 0 or (lately > 1 and lately > max_loss * before)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """Whether what a prepared query lost is on nodes out of contact: its answers have no failing instances.

    ``registered`` are all instances of the services that lost some, ``in_contact`` the nodes seen in contact.
    """

    registered: tuple[Instance, ...]
    in_contact: frozenset[str]

    def has(self, entry: Entry) -> bool:
        """Whether an entry is registered, and fails only because its node is out of contact."""
        return has_lost_contact(by_key(self.registered).get(key(entry)), entry)

    def lacks(self, hold: Hold) -> bool:
        """Whether entries that were held as cut off have been removed since, perhaps together with their nodes."""
        known = by_key(self.registered).keys()
        return hold.cause is Cause.QUERY_UNREACHABLE and not any(key(entry) in known for entry in hold.entries)

    def explains(self, entries: Iterable[Entry]) -> bool:
        """Whether all these are cut off, and several nodes are, or all that are in sight."""
        failed = {one.node for one in self.registered if is_out_of_contact(one)}
        others = {one.node for one in self.registered}.union(self.in_contact) - failed
        return all(map(self.has, entries)) and (len(failed) > 1 or (bool(failed) and not others))


class UnreachableRule(Holding):
    """The entries of one query's answers that are on nodes out of contact.

    ``gone`` are those that vanished while they were held, and until when they would have been.
    """

    causes: ClassVar[frozenset[Cause]] = frozenset({Cause.NODES_UNREACHABLE})

    nodes: NodeHealth = msgspec.field(default_factory=NodeHealth)
    _observed: EntryValue = ()
    _lost: dict[Key, tuple[Instance, float]] = msgspec.field(default_factory=dict)
    gone: dict[Key, float] = msgspec.field(default_factory=dict)
    _newest: Answer | None = None
    _policy: GuardPolicy = UNGUARDED

    def observe(self, change: Change) -> None:
        """Record which entries lost contact, and keep them if they are many."""
        self._newest, self._policy = change.new, change.policy
        self.review(change.now)
        if change.is_news:
            new = by_key(change.new.value)
            self.start(change.new, change.now)
            self.gone = {each: until for each, until in self.ends().items() if each not in new and until > change.now}
            self.keep(lambda entry: has_lost_contact(new.get(key(entry)), entry), change.new.value, FAILED)
            self._note(change, new)
            self._judge(change.now)
        change.held.update(self.held())

    def follow(self, before: GuardPolicy, policy: GuardPolicy) -> None:
        """Hold as another policy says: everything as long as what was held first."""
        self._policy = policy
        Holding.follow(self, before, policy)
        until = max((hold.until for hold in self.holds), default=math.inf)
        self.holds = tuple(replace(hold, until=until) for hold in self.holds)

    def ends(self) -> dict[Key, float]:
        """Return until when entries are held, or would be if they were not ``gone``."""
        return self.gone | {key(entry): hold.until for hold in self.holds for entry in hold.entries}

    def start(self, answer: Answer, now: float) -> None:
        """Count the nodes of an answer in place of the previous one's."""
        self.nodes.observe(answer.query.dc, self._observed, answer.value, now)
        self._observed = answer.value

    def forget(self, dc: str | None) -> None:
        """Stop counting the query's nodes."""
        self.nodes.observe(dc, self._observed, (), -math.inf)
        self._observed = ()

    def _note(self, change: Change, new: dict[Key, Instance]) -> None:
        before = {each: entry for each, entry in by_key(change.before.value).items() if is_in_use(entry)}
        candidates = {each: entry for each, (entry, _) in self._lost.items()} | before
        self._lost = {
            each: (entry, self._lost.get(each, (entry, change.now))[1])
            for each, entry in candidates.items()
            if each not in change.held and has_lost_contact(new.get(each), entry)
        }

    def _judge(self, now: float) -> None:
        """Hold what lost contact within the window, if it is most of the service or most nodes are affected."""
        held = self.held()
        self._lost = {
            each: old for each, old in self._lost.items() if each in held or now < old[1] + UNREACHABLE_WINDOW
        }
        fresh = tuple(entry for each, (entry, _) in self._lost.items() if each not in held)
        if not fresh or self._newest is None or self._policy.hold <= 0 or not self._is_much(now):
            return
        until = min((hold.until for hold in self.holds), default=now + self._policy.hold)
        cause = Cause.NODES_UNREACHABLE
        self.holds += (make_hold(self._newest, fresh, cause=cause, since=now, until=until, is_open=False),)

    def _is_much(self, now: float) -> bool:
        if self._is_most_of_service():
            return True
        dc = self._newest.query.dc if self._newest else None
        return self._newest is not None and self.nodes.have_mostly_failed(dc, now, max_loss=self._policy.max_loss)

    def _is_most_of_service(self) -> bool:
        in_use = sum(map(is_in_use, self._newest.value if self._newest else ()))
        return are_most([entry for entry, _ in self._lost.values()], in_use, max_loss=self._policy.max_loss)

    def _over_at(self) -> float:
        """Return when the rest counts as failed, since most nodes came back into contact; infinity for never."""
        if not self.holds or self._newest is None:
            return math.inf
        dc = self._newest.query.dc
        recovered_at = self.nodes.recovered_at(dc)
        began_before = min(hold.since for hold in self.holds) <= recovered_at
        is_cut = self._is_most_of_service() or self.nodes.are_mostly_out(dc, max_loss=self._policy.max_loss)
        return math.inf if is_cut or not began_before else recovered_at + UNREACHABLE_WINDOW

    @property
    def is_active(self) -> bool:
        """Whether something is held, or may be once more nodes fail."""
        return bool(self.holds or self._ended or self._lost)

    def due_at(self, now: float) -> float:
        """Return when a hold ends, or begins because the nodes of other services have failed too."""
        held = self.held()
        waits = any(each not in held and now < at + UNREACHABLE_WINDOW for each, (_, at) in self._lost.items())
        if waits and self._policy.hold > 0 and self._is_much(now):
            return now
        return min(Holding.due_at(self, now), self._over_at())

    def review(self, now: float) -> None:
        """End expired holds, and those that outlast the cut; hold what turns out to have failed with many others."""
        is_over = self._over_at() <= now
        over = {key(entry) for hold in self.holds if is_over or hold.until <= now for entry in hold.entries}
        if is_over:
            self._ended += tuple((hold, LEFT_OUT_OF_CONTACT) for hold in self.holds)
            self.holds = ()
        Holding.review(self, now)
        self._lost = {each: old for each, old in self._lost.items() if each not in over}
        if self._lost:
            self._judge(now)

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End the holds; accept that their entries have failed."""
        released = Holding.release(self, service)
        for hold in released:
            for entry in hold.entries:
                self._lost.pop(key(entry), None)
        return released


def has_lost_contact(instance: Instance | None, before: Entry) -> bool:
    """Whether an instance that was in use fails now only for checks that prove nothing but lost contact."""
    if instance is None or instance.status is not Status.CRITICAL or not isinstance(before, Instance):
        return False
    unrun = checks_not_run(instance, before, was_away=True)
    return is_out_of_contact(instance) and all(
        check.id in unrun or is_node_check(check) for check in failing_checks(instance)
    )
