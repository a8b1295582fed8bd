"""What a catalog file says, in its one shape: read from YAML or JSON, asked for answers, made from answers, written.

Pure: text and values. ``capture`` writes this shape and ``-catalog`` plays it back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.model import (
    MAX_PORT,
    Answer,
    AnyQuery,
    CheckState,
    Fault,
    Instance,
    InstancesQuery,
    PreparedQuery,
    Service,
    ServiceQuery,
    ServicesQuery,
    Status,
)
from ctemplate.core.validation import explained, is_hcl
from ctemplate.sources.consul.endpoints.address_policy import HOSTNAME, HOSTNAME_FIX

MASK = "masked"


class CatalogEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One instance in the file; only ``address`` is needed."""

    address: str
    port: Annotated[int, Meta(ge=0, le=MAX_PORT)] = 0
    id: str | None = None
    node: str | None = None
    tags: tuple[str, ...] | None = None
    meta: dict[str, str] = {}
    weight: Annotated[int, Meta(ge=0, le=65535)] = 1
    status: Status = Status.PASSING
    node_address: str = ""
    node_meta: dict[str, str] = {}
    checks: tuple[CheckState, ...] = ()
    created: int = 0


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One service in the file."""

    tags: tuple[str, ...] = ()
    instances: tuple[CatalogEntry, ...] = ()


class DatacenterEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Another datacenter in the file."""

    services: dict[str, ServiceEntry] = {}


class AnswerEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The answer to one query that asks for more than a service of a datacenter: in its own order, as it was given.

    ``service`` and ``datacenter`` are what a prepared query chose; empty, they are what the question says.
    """

    question: AnyQuery
    service: str = ""
    datacenter: str = ""
    services: dict[str, ServiceEntry] = {}
    instances: tuple[CatalogEntry, ...] = ()


class Contents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole file: the services of the datacenter at hand, of others by name, and answers to special queries."""

    services: dict[str, ServiceEntry] = {}
    datacenter: str = ""
    datacenters: dict[str, DatacenterEntry] = {}
    answers: tuple[AnswerEntry, ...] = ()


def parse_catalog(text: str, *, name: str) -> Contents:
    """Return what the text says, YAML or the JSON that is part of it; raises ConfigError."""
    try:
        data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - the safe loader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(place, _unread(str(exc.problem), text, name)) from exc
    except yaml.YAMLError as exc:
        raise ConfigError(name, _unread(str(exc), text, name)) from exc
    except RecursionError:
        raise ConfigError(name, "is nested too deeply") from None
    if data is None:
        raise ConfigError(name, "is empty; a catalog without services says 'services: {}'")
    if isinstance(data, str) and is_hcl(text, name):
        raise ConfigError(name, _unread("it holds no table", text, name))
    try:
        return msgspec.convert(data, Contents)
    except RecursionError:
        raise ConfigError(name, "is nested too deeply") from None
    except msgspec.ValidationError as exc:
        path, said = explained(exc, Contents, data)
        raise ConfigError(f"{name}: {path}" if path else name, said) from exc


def _unread(problem: str, text: str, name: str) -> str:
    what = f"is not YAML: {printable(problem)}"
    return (
        f"{what}; this looks like HCL; write YAML or JSON, as 'ctemplate capture' does" if is_hcl(text, name) else what
    )


def printed_address(address: str) -> str | None:
    """Return the IP address as a ``server`` line wants it, IPv6 in brackets, or None when it is none."""
    try:
        found = ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return None if found.scope_id else f"[{found.compressed}]"
    return found.compressed


def answer(contents: Contents, query: AnyQuery, *, now: float = 0.0, allow_hostnames: bool = False) -> Answer:
    """Return the answer that the file gives to the query; an unknown service or datacenter has none, as in Consul.

    Instances whose address is no IP address are left out and named; host names may be allowed.
    """
    for special in contents.answers:
        if special.question == query:
            return _special_answer(special, query, now, allow_hostnames=allow_hostnames)
    if query.dc in (None, contents.datacenter):
        services, datacenter = contents.services, contents.datacenter
    else:
        other = contents.datacenters.get(query.dc or "")
        services, datacenter = (other.services if other else {}), query.dc or ""
    if isinstance(query, ServicesQuery):
        return Answer(query=query, value=_services(services), seen_at=now)
    entry = services.get(query.name, ServiceEntry())
    instances, faults = _instances(query, entry, query.name, datacenter, allow_hostnames=allow_hostnames)
    return Answer(query=query, value=instances, faults=faults, seen_at=now)


def _special_answer(entry: AnswerEntry, query: AnyQuery, now: float, *, allow_hostnames: bool) -> Answer:
    if isinstance(query, ServicesQuery):
        return Answer(query=query, value=_services(entry.services), seen_at=now)
    service, datacenter = entry.service or query.name, entry.datacenter or query.dc or ""
    found = ServiceEntry(instances=entry.instances)
    instances, faults = _instances(query, found, service, datacenter, allow_hostnames=allow_hostnames)
    return Answer(query=query, value=instances, faults=faults, seen_at=now)


def _services(services: dict[str, ServiceEntry]) -> tuple[Service, ...]:
    return tuple(
        Service(
            name=name,
            tags=tuple(sorted(set(entry.tags).union(*(instance.tags or () for instance in entry.instances)))),
        )
        for name, entry in sorted(services.items())
    )


def _instances(
    query: InstancesQuery, entry: ServiceEntry, service: str, datacenter: str, *, allow_hostnames: bool
) -> tuple[tuple[Instance, ...], tuple[Fault, ...]]:
    instances, faults = [], []
    for number, row in enumerate(entry.instances, start=1):
        is_name = HOSTNAME.fullmatch(row.address) is not None
        address = row.address if is_name and allow_hostnames else printed_address(row.address)
        row_id = row.id or f"{service}-{number}"
        if address is None:
            reason = f"'{printable(row.address, 100)}' is not an IP address{HOSTNAME_FIX if is_name else ''}"
            faults.append(Fault(service=service, instance=row_id, field="address", reason=reason))
            continue
        instances.append(
            Instance(
                id=row_id,
                name=service,
                node=row.node or f"node-{row.address}",
                address=address,
                port=row.port,
                tags=tuple(sorted(set(entry.tags if row.tags is None else row.tags))),
                meta=row.meta,
                weight=row.weight,
                status=row.status,
                node_address=printed_address(row.node_address) or address,
                node_meta=row.node_meta,
                checks=row.checks,
                datacenter=datacenter,
                created=row.created or number,
            )
        )
    if query.near is None:
        instances.sort(key=lambda instance: (instance.node, instance.id))
    return tuple(instances), tuple(faults)


def recorded(answers: Iterable[Answer], *, masks: Iterable[str] = (), is_full: bool = False) -> Contents:
    """Return the contents that give these answers again, in a stable order.

    Values of meta keys that match one of the ``masks`` (``secret*``) become ``masked``. Checks, node meta and the order
    of registration are left out unless ``is_full``; few templates print them.
    """
    hidden = tuple(masks)

    def row(instance: Instance, number: int, shared: tuple[str, ...]) -> CatalogEntry:
        return _row(instance, number, shared, hidden, is_full=is_full)

    datacenters: dict[str, dict[str, ServiceEntry]] = {}
    special = []
    local = ""
    for answer in sorted(answers, key=lambda answer: (isinstance(answer.query, ServiceQuery), str(answer.query))):
        query = answer.query
        if not _is_plain(query):
            special.append(_recorded_special(answer, row))
            continue
        services = datacenters.setdefault(query.dc or "", {})
        if isinstance(query, ServicesQuery):
            services.update({service.name: ServiceEntry(tags=service.tags) for service in answer.value})
        elif answer.value:
            local = local or (answer.value[0].datacenter if query.dc is None else "")
            tags = services.get(query.name, ServiceEntry()).tags
            rows = tuple(row(instance, number, tags) for number, instance in enumerate(answer.value, start=1))
            services[query.name] = ServiceEntry(tags=tags, instances=rows)
    return Contents(
        services=datacenters.pop("", {}) | datacenters.pop(local, {}),
        datacenter=local,
        datacenters={name: DatacenterEntry(services=services) for name, services in sorted(datacenters.items())},
        answers=tuple(special),
    )


def _is_plain(query: AnyQuery) -> bool:
    """Whether the query asks for no more than the services of a datacenter, or one of them."""
    extras = (query.ns, query.partition, query.peer)
    if isinstance(query, PreparedQuery):
        return False
    return not any((*extras, query.near, query.filter) if isinstance(query, ServiceQuery) else extras)


def _recorded_special(answer: Answer, row: Callable[[Instance, int, tuple[str, ...]], CatalogEntry]) -> AnswerEntry:
    if isinstance(answer.query, ServicesQuery):
        services = {service.name: ServiceEntry(tags=service.tags) for service in answer.value}
        return AnswerEntry(question=answer.query, services=services)
    rows = tuple(row(instance, number, ()) for number, instance in enumerate(answer.value, start=1))
    service, datacenter = _shared(answer.value)
    return AnswerEntry(
        question=answer.query,
        service="" if service == answer.query.name else service,
        datacenter="" if datacenter == answer.query.dc else datacenter,
        instances=rows,
    )


def _shared(instances: tuple[Instance, ...]) -> tuple[str, str]:
    """Return the service and the datacenter of the instances of one answer."""
    return (instances[0].name, instances[0].datacenter) if instances else ("", "")


def _row(
    instance: Instance, number: int, shared: tuple[str, ...], masks: tuple[str, ...], *, is_full: bool
) -> CatalogEntry:
    def masked(meta: dict[str, str]) -> dict[str, str]:
        return {
            key: MASK if any(fnmatchcase(key, mask) for mask in masks) else value for key, value in sorted(meta.items())
        }

    return CatalogEntry(
        address=instance.address,
        port=instance.port,
        id=None if instance.id == f"{instance.name}-{number}" else instance.id,
        node=None if instance.node == f"node-{instance.address}" else instance.node,
        tags=None if instance.tags == shared else instance.tags,
        meta=masked(dict(instance.meta)),
        weight=instance.weight,
        status=instance.status,
        node_address="" if instance.node_address == instance.address else instance.node_address,
        node_meta=masked(dict(instance.node_meta)) if is_full else {},
        checks=instance.checks if is_full else (),
        created=instance.created if is_full else 0,
    )


def dump(contents: Contents) -> str:
    """Return the catalog file's YAML text in a stable order; ``parse_catalog`` reads it back."""
    plain: Any = msgspec.to_builtins(contents)
    return yaml.safe_dump(plain, sort_keys=True, default_flow_style=None, allow_unicode=True, width=120)
