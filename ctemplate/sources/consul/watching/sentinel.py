"""What the two sentinels of a scope report: which services a wake-up names, and which wake-ups stay unexplained.

A scope is one datacenter, namespace and partition. Its sentinels are two long polls: the services with their tags, and
the checks that are not passing. Pure: no clock, no connection; knows nothing of reads, budgets or pacing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from ctemplate.core.model import Query, Service
from ctemplate.core.values import dataclass
from ctemplate.queries import ServicesQuery, kind_of
from ctemplate.sources.consul.endpoints.checks import StateRow

KNOWN_INDEXES = 1024
PARKED = 0.5  # seconds that a long poll must have waited so that its answer is about one moment, also on a slow agent


@dataclass(frozen=True, slots=True)
class ChangedNames:
    """The services that a wake-up names: by name, or by the nodes that they run on."""

    services: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()


def scope_of(query: Query) -> ServicesQuery | None:
    """Return the scope whose sentinels see the query's changes, as the query for its services; None where none do."""
    return cast("ServicesQuery | None", kind_of(query).sentinel(query))


def changed_services(before: Iterable[Service], after: Iterable[Service]) -> ChangedNames:
    """Name the services that came, went, or got other tags."""
    return ChangedNames(frozenset(service.name for service in {*before} ^ {*after}))


def changed_checks(before: Iterable[StateRow], after: Iterable[StateRow]) -> ChangedNames:
    """Name the services and nodes with a check that changed, came or went. Rows differ in more than ``modified``."""
    rows = {_state(row) for row in before} ^ {_state(row) for row in after}
    services = frozenset(service for _, _, service, _ in rows if service)
    return ChangedNames(services, frozenset(node for node, _, service, _ in rows if not service))


def _state(row: StateRow) -> tuple[str, str, str, str]:
    return row.node, row.check_id, row.service, row.status


def counted(rows: Collection[StateRow], expected: Mapping[str, int], since: int) -> ChangedNames:
    """Name the services with a check written after the index ``since``, or with a different number of checks.

    ``expected`` holds the number of checks known of each service that matters.
    """
    written = {row.service for row in rows if row.modified > since}
    counts = Counter(row.service for row in rows)
    return ChangedNames(frozenset(name for name, count in expected.items() if name in written or counts[name] != count))


def number_of_checks(instances: Iterable[Any]) -> int:
    """Count the service checks of some instances, for comparison with a census."""
    return sum(1 for instance in instances for check in instance.checks if check.service_id)


def reads_whole_service(query: Query) -> bool:
    """Whether the query's answer holds every instance of its service."""
    return kind_of(query).reads_whole_service(query)


@dataclass(frozen=True, slots=True)
class Wake:
    """One wake-up of the services sentinel: indexes before and after, and whether the poll had been waiting."""

    since: int
    index: int
    was_parked: bool
    was_named: bool


class KnownIndexes:
    """Records the indexes seen in answers, to decide which wake-ups are explained."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, None] = OrderedDict()

    def add(self, index: int) -> None:
        """Note that the change with this index has been read."""
        self._known[index] = None
        if len(self._known) > KNOWN_INDEXES:
            self._known.popitem(last=False)

    def cover(self, wake: Wake) -> bool:
        """Return whether the wake-up is most likely explained.

        A poll that was waiting returns at the first change, so one explanation is enough. One that returned at once
        may stand for many changes: each index since its last answer has to be known.
        """
        if wake.was_parked:
            return wake.was_named or wake.index in self._known
        span = range(wake.since + 1, wake.index + 1)
        return 0 < len(span) <= len(self._known) and all(index in self._known for index in span)
