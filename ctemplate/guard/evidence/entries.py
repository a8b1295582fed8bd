"""Facts about the entries of answers: which are in use, which another answer lacks, and why an instance fails."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from ctemplate.core.model import Answer, CheckState, Instance, Query, Status
from ctemplate.core.settings import GuardPolicy
from ctemplate.guard.evidence.hold import Entry
from ctemplate.queries import Losses, kind_of

IN_USE = frozenset({Status.PASSING, Status.WARNING})
NODE_CHECKS = frozenset({"serfHealth", "externalNodeHealth"})
"""The checks by which other nodes report that one is out of contact: Consul's gossip, and consul-esm."""
FEW = 3  # fewer instances than this may lose any but the last one

Key = tuple[str, str]
EntryValue = tuple[Any, ...]


def is_in_use(entry: Entry) -> bool:
    """Whether losing the entry matters: instances that fail or are in maintenance receive no requests."""
    return not isinstance(entry, Instance) or entry.status in IN_USE


def key(entry: Entry) -> Key:
    """Return what identifies an entry within its answer."""
    return (entry.node, entry.id) if isinstance(entry, Instance) else (entry.name, "")


def in_known_order(before: Answer, new: Answer) -> Answer:
    """Return the answer in the previous order where only the order differs: Consul shuffles some answers."""
    if not kind_of(new.query).is_shuffled or sorted(before.value, key=key) != sorted(new.value, key=key):
        return new
    return msgspec.structs.replace(new, value=before.value)


def absent(entries: Iterable[Entry], answer: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries that an answer lacks; a new instance at the same address and port replaces the old one."""
    keys: set[Key] = set()
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
    """Return the entries that an answer lacks or shows as failing; maintenance is intended, and is no loss."""
    return absent(
        entries, (entry for entry in answer if not isinstance(entry, Instance) or entry.status is not Status.CRITICAL)
    )


def net_loss(before: Iterable[Entry], new: EntryValue) -> int:
    """Return how many of the entries in use an answer lacks, minus the new ones in use."""
    used = tuple(filter(is_in_use, before))
    return len(absent(used, new)) - sum(map(is_in_use, absent(new, before)))


def is_large(before: Answer, new: Answer, lost: int, policy: GuardPolicy) -> bool:
    """Whether losing so many of the instances in use exceeds the policy; losing one service is losing all of it."""
    if kind_of(before.query).losses is Losses.NAMES:
        return True
    used = sum(map(is_in_use, before.value))
    loss = lost - sum(map(is_in_use, absent(new.value, before.value)))
    if loss <= 0:
        return False
    too_few = loss >= used or len(new.value) < policy.min_instances
    return too_few or (used >= FEW and loss > policy.max_loss * used)


def failing_checks(instance: Instance) -> tuple[CheckState, ...]:
    """Return the checks that make an instance fail."""
    return tuple(check for check in instance.checks if check.status not in IN_USE)


def are_most(lost: Collection[Instance], in_use: int, *, max_loss: float) -> bool:
    """Whether instances of a service, on several nodes, are most of it, beside so many that are in use."""
    all_used = in_use + len(lost)
    is_much = in_use == 0 or (all_used >= FEW and len(lost) > max_loss * all_used)
    return is_much and len({instance.node for instance in lost}) > 1


def is_node_check(check: CheckState) -> bool:
    """Whether other nodes report by a check that one is out of contact."""
    return check.id in NODE_CHECKS and not check.service_id


def is_out_of_contact(instance: Instance) -> bool:
    """Whether other nodes report that an instance's node is out of contact."""
    return any(map(is_node_check, failing_checks(instance)))


def checks_not_run(instance: Instance, before: Instance, *, was_away: bool = False) -> frozenset[str]:
    """Return the ids of the failing checks that have not run since their agent started, and passed before.

    A check that is registered as passing, or whose output Consul has not yet passed on, which takes up to five minutes,
    has no output before either: that proves a result only where each result has an output, or where the agent
    ``was_away`` a moment ago: then it has probably been restarted.
    """
    had_run = {check.id for check in before.checks if was_away or check.has_run or check.always_has_output}
    return frozenset(check.id for check in failing_checks(instance) if not check.has_run and check.id in had_run)


def merged(value: EntryValue, kept: tuple[Entry, ...], query: Query) -> EntryValue:
    """Add the kept entries, in the query's order, or at the end where the source defines the order."""
    both = (*absent(value, kept), *kept)
    return both if kind_of(query).keeps_order(query) else tuple(sorted(both, key=key))


def replaced_entries(value: EntryValue, kept: Iterable[Entry]) -> EntryValue:
    """Replace entries by the kept ones of the same key; add none."""
    entries = {key(entry): entry for entry in kept}
    return tuple(entries.get(key(entry), entry) for entry in value) if entries else value


def with_status(value: EntryValue, statuses: Mapping[Key, Status]) -> EntryValue:
    """Give instances another status."""
    return tuple(
        msgspec.structs.replace(instance, status=statuses[key(instance)]) if key(instance) in statuses else instance
        for instance in value
    )
