"""Services with their instances and health, one page at a time. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import Instance, Status

SERVICES_SHOWN = 50  # on one page
INSTANCES_SHOWN = 50  # of one service
TEXT_SHOWN = 120  # characters of one value
SEARCH_LENGTH = 200


class InstanceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One instance; ``checks`` are those that do not pass. ``is_held``: the guard keeps it."""

    id: str
    address: str
    node: str
    status: str
    weight: int
    checks: tuple[str, ...]
    is_held: bool


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A query for instances and its answer: counts by status, and the first instances, those that fail in front."""

    query: str
    passing: int
    warning: int
    critical: int
    maintenance: int
    held: int
    instances: tuple[InstanceStatus, ...]


class ServicesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the services: how many there are, how many match the search, and a page of these."""

    total: int
    matching: int
    offset: int
    services: tuple[ServiceStatus, ...]


def services_page(
    services: Mapping[str, tuple[Instance, ...]],
    held: Mapping[str, frozenset[str]],
    *,
    search: str = "",
    offset: int = 0,
) -> ServicesPage:
    """Return the page that begins at an offset: services with failing instances first, then by name.

    ``held`` are the ids of held instances by query. The search matches a part of a query, an address or a node.
    """
    wanted = search[:SEARCH_LENGTH].casefold()
    found = [name for name, instances in services.items() if _matches(wanted, name, instances)]
    found.sort(key=lambda name: (not _lacks_health(services[name], held.get(name)), name))
    offset = max(offset, 0)
    shown = found[offset : offset + SERVICES_SHOWN]
    return ServicesPage(
        total=len(services),
        matching=len(found),
        offset=offset,
        services=tuple(_service(name, services[name], held.get(name, frozenset())) for name in shown),
    )


def _matches(wanted: str, name: str, instances: Iterable[Instance]) -> bool:
    if not wanted or wanted in name.casefold():
        return True
    return any(wanted in each.node.casefold() or wanted in f"{each.address}:{each.port}" for each in instances)


def _lacks_health(instances: tuple[Instance, ...], held: frozenset[str] | None) -> bool:
    return bool(held) or not instances or any(each.status is not Status.PASSING for each in instances)


def _service(name: str, instances: tuple[Instance, ...], held: frozenset[str]) -> ServiceStatus:
    counts = Counter(str(each.status) for each in instances)
    ordered = sorted(instances, key=lambda each: (each.status == Status.PASSING, each.address, each.port))
    return ServiceStatus(
        query=printable(name, TEXT_SHOWN),
        passing=counts[Status.PASSING],
        warning=counts[Status.WARNING],
        critical=counts[Status.CRITICAL],
        maintenance=counts[Status.MAINTENANCE],
        held=sum(each.id in held for each in instances),
        instances=tuple(_instance(each, is_held=each.id in held) for each in ordered[:INSTANCES_SHOWN]),
    )


def _instance(instance: Instance, *, is_held: bool) -> InstanceStatus:
    failing = (check for check in instance.checks if check.status != Status.PASSING)
    return InstanceStatus(
        id=printable(instance.id, TEXT_SHOWN),
        address=printable(f"{instance.address}:{instance.port}", TEXT_SHOWN),
        node=printable(instance.node, TEXT_SHOWN),
        status=str(instance.status),
        weight=instance.weight,
        checks=tuple(f"{printable(check.id, TEXT_SHOWN)}: {check.status}" for check in failing)[:20],
        is_held=is_held,
    )
