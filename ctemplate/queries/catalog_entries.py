"""The entries of a catalog file: a datacenter's services, and single answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from ctemplate.core.errors import printable
from ctemplate.core.model import (
    MAX_PORT,
    CheckReport,
    CheckState,
    Instance,
    InstanceDetails,
    Rejection,
    Service,
    Status,
    TaggedAddress,
    Weights,
)
from ctemplate.core.values import dataclass
from ctemplate.sources.consul.endpoints.address_policy import HOSTNAME, HOSTNAME_FIX

MASK = "masked"
ONLY_OF_CONNECT = "belongs to the rows of an answer to connect alone"


class CatalogEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One instance in the file; only ``address`` is required.

    ``service`` is its name in the answer of `connect`, whose instances have their own names.
    """

    address: str
    port: Annotated[int, Meta(ge=0, le=MAX_PORT)] = 0
    ports: dict[str, Annotated[int, Meta(ge=1, le=MAX_PORT)]] = {}
    service: str = ""
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
    details: InstanceDetails | None = None


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One service in the file."""

    tags: tuple[str, ...] = ()
    instances: tuple[CatalogEntry, ...] = ()


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One node in the file; only ``address`` is needed."""

    address: str
    id: str = ""
    meta: dict[str, str] = {}
    tagged_addresses: dict[str, str] = {}


class PlacedEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One instance on a node in the file; only ``service`` is needed, its name."""

    service: str
    id: str = ""
    address: str = ""
    port: Annotated[int, Meta(ge=0, le=MAX_PORT)] = 0
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = {}


class RecordedRoot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A root certificate of Consul's authority in the file."""

    id: str
    name: str = ""
    pem: str = ""
    intermediates: tuple[str, ...] = ()
    is_active: bool = False
    trust_domain: str = ""
    not_before: str = ""
    not_after: str = ""


class RecordedLeaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A service's certificate in the file; ``capture`` masks its key."""

    service: str
    pem: str = ""
    private_key: str = ""
    uri: str = ""
    serial: str = ""
    not_before: str = ""
    not_after: str = ""


class RecordedPeering(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A cluster peering in the file; only ``name`` is needed."""

    name: str
    state: str = ""
    id: str = ""
    partition: str = ""
    meta: dict[str, str] = {}
    imported: tuple[str, ...] = ()
    exported: tuple[str, ...] = ()
    peer_id: str = ""
    server_name: str = ""
    server_addresses: tuple[str, ...] = ()
    remote_partition: str = ""
    remote_datacenter: str = ""


class RecordedPartition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An admin partition in the file; only ``name`` is needed."""

    name: str
    description: str = ""


class RecordedExport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An exported service in the file; only ``name`` is needed."""

    name: str
    namespace: str = ""
    partition: str = ""
    peers: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()


class RecordedImport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An imported service in the file; only ``name`` is needed."""

    name: str
    namespace: str = ""
    partition: str = ""
    peer: str = ""
    source_partition: str = ""


class RecordedBuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An nginx in the file: its version, the modules that its build asked for, and the default ones that it lacks."""

    version: Annotated[str, Meta(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){0,4}$")]
    modules: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class DatacenterEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The data of one datacenter in the file, by name: all plain queries are answered from it.

    A key whose value is not UTF-8 is in ``kv_base64``. ``files`` are those of a host, by their paths, and
    ``nginx`` its nginx, by the program's name in a reload command.
    """

    services: dict[str, ServiceEntry] = {}
    kv: dict[str, str] = {}
    kv_base64: dict[str, bytes] = {}
    nodes: dict[str, NodeFacts] = {}
    node_services: dict[str, tuple[PlacedEntry, ...]] = {}
    files: dict[str, str] = {}
    files_base64: dict[str, bytes] = {}
    nginx: dict[str, RecordedBuild] = {}


class RecordedAnswer(DatacenterEntry, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One answer in the file.

    ``service`` and ``datacenter`` are what a prepared query chose; empty, they are what the question says. ``names``
    are those of nodes or datacenters, or of the agent, in the order of the answer, where that is the source's.
    ``roots``, ``leaves``, ``peerings``, ``partitions``, ``exports`` and ``imports`` are the answers to `ca_roots`,
    `ca_leaf`, `peerings`, `partitions`, `exported_services` and `imported_services`.
    """

    service: str = ""
    datacenter: str = ""
    instances: tuple[CatalogEntry, ...] = ()
    names: tuple[str, ...] = ()
    roots: tuple[RecordedRoot, ...] = ()
    leaves: tuple[RecordedLeaf, ...] = ()
    peerings: tuple[RecordedPeering, ...] = ()
    partitions: tuple[RecordedPartition, ...] = ()
    exports: tuple[RecordedExport, ...] = ()
    imports: tuple[RecordedImport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogPage:
    """The source of an answer: a datacenter's page, or with ``is_single`` the answer to this one query.

    ``datacenters`` are all datacenters of the file, the current one first.
    """

    entry: RecordedAnswer
    is_single: bool
    allow_hostnames: bool
    datacenters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRules:
    """How an answer is written: separately or, with ``known``, beside the services that its page already contains.

    Values of meta keys that match one of the ``masks`` (``secret*``) are masked. Checks, node meta and the order of
    registration are left out unless ``is_full``.
    """

    is_single: bool
    known: Mapping[str, ServiceEntry]
    masks: tuple[str, ...]
    is_full: bool

    def masked(self, name: str, value: str) -> str:
        """Return the value, or its placeholder if a mask matches the name."""
        return MASK if any(fnmatchcase(name, mask) for mask in self.masks) else value


def printed_address(address: str) -> str | None:
    """Return the IP address in the form for a ``server`` line (IPv6 in brackets), or None if it is no IP address."""
    try:
        found = ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return None if found.scope_id else f"[{found.compressed}]"
    return found.compressed


def judged_address(address: str, *, allow_hostnames: bool) -> tuple[str, str]:
    """Return an address of the file in printable form, and the reason why it is refused: one of the two is empty."""
    is_name = HOSTNAME.fullmatch(address) is not None
    printed = address if is_name and allow_hostnames else printed_address(address)
    if printed is not None:
        return printed, ""
    return "", f"'{printable(address, 100)}' is not an IP address{HOSTNAME_FIX if is_name else ''}"


def services_of(entries: Mapping[str, ServiceEntry]) -> tuple[Service, ...]:
    """Return the services that entries describe, sorted by name, each with the tags of its instances."""
    return tuple(
        Service(
            name=name,
            tags=tuple(sorted(set(entry.tags).union(*(instance.tags or () for instance in entry.instances)))),
        )
        for name, entry in sorted(entries.items())
    )


def instances_of(
    entry: ServiceEntry,
    service: str,
    datacenter: str,
    *,
    keep_order: bool,
    allow_hostnames: bool,
    may_name_service: bool = False,
    has_details: bool = False,
) -> tuple[tuple[Instance, ...], tuple[Rejection, ...]]:
    """Return the instances that an entry describes; leave out and name those whose address is no IP address.

    Sorted by node, then id; ``keep_order`` keeps the order of the file. ``may_name_service``: a row may name the
    service that it belongs to. ``has_details``: what the file does not say of them is empty, as in Consul.
    """
    instances, rejections = [], []
    for number, row in enumerate(entry.instances, start=1):
        address, reason = judged_address(row.address, allow_hostnames=allow_hostnames)
        row_id = row.id or f"{service}-{number}"
        wrong = ("address", reason) if reason else ("service", ONLY_OF_CONNECT)
        if reason or (row.service and not may_name_service):
            rejections.append(Rejection(service=service, instance=row_id, field=wrong[0], reason=wrong[1]))
            continue
        instances.append(
            Instance(
                id=row_id,
                name=row.service or service,
                node=row.node or f"node-{row.address}",
                address=address,
                port=row.port,
                ports=row.ports,
                tags=tuple(sorted(set(entry.tags if row.tags is None else row.tags))),
                meta=row.meta,
                weight=row.weight,
                status=row.status,
                node_address=printed_address(row.node_address) or address,
                node_meta=row.node_meta,
                checks=tuple(map(_with_report, row.checks)) if has_details else row.checks,
                datacenter=datacenter,
                created=row.created or number,
                details=_details_of(row, allow_hostnames=allow_hostnames) if has_details else None,
            )
        )
    if not keep_order:
        instances.sort(key=lambda instance: (instance.node, instance.id))
    return tuple(instances), tuple(rejections)


def _with_report(check: CheckState) -> CheckState:
    return check if check.report is not None else msgspec.structs.replace(check, report=CheckReport())


def _details_of(row: CatalogEntry, *, allow_hostnames: bool) -> InstanceDetails:
    """Return a row's details; further addresses that are no IP addresses are left out, as of Consul's answers."""
    if row.details is None:
        return InstanceDetails(weights=Weights(passing=row.weight, warning=row.weight))
    judged = {
        tag: TaggedAddress(address=judged_address(each.address, allow_hostnames=allow_hostnames)[0], port=each.port)
        for tag, each in row.details.tagged_addresses.items()
    }
    kept = {tag: each for tag, each in judged.items() if each.address}
    return msgspec.structs.replace(row.details, tagged_addresses=kept)


def rows_of(
    instances: tuple[Instance, ...],
    rules: RecordingRules,
    shared: tuple[str, ...] = (),
    *,
    service: str | None = None,
) -> tuple[CatalogEntry, ...]:
    """Return the rows that describe instances, without the tags if they equal the service's ``shared`` tags.

    With ``service``, rows of another service name it.
    """
    rows = (_row(instance, number, shared, rules) for number, instance in enumerate(instances, start=1))
    if service is None:
        return tuple(rows)
    return tuple(
        msgspec.structs.replace(row, service="" if instance.name == service else instance.name, id=instance.id)
        for row, instance in zip(rows, instances, strict=True)
    )


def single_answer(
    instances: tuple[Instance, ...], *, name: str, dc: str | None, rules: RecordingRules
) -> RecordedAnswer:
    """Return the entry for one query's instances, without the service and datacenter that the query itself names."""
    service, datacenter = (instances[0].name, instances[0].datacenter) if instances else ("", "")
    return RecordedAnswer(
        service="" if service == name else service,
        datacenter="" if datacenter == dc else datacenter,
        instances=rows_of(instances, rules),
    )


def _row(instance: Instance, number: int, shared: tuple[str, ...], rules: RecordingRules) -> CatalogEntry:
    def masked(meta: Mapping[str, str]) -> dict[str, str]:
        return {key: rules.masked(key, value) for key, value in sorted(meta.items())}

    return CatalogEntry(
        address=instance.address,
        port=instance.port,
        ports=dict(instance.ports),
        id=None if instance.id == f"{instance.name}-{number}" else instance.id,
        node=None if instance.node == f"node-{instance.address}" else instance.node,
        tags=None if instance.tags == shared else instance.tags,
        meta=masked(instance.meta),
        weight=instance.weight,
        status=instance.status,
        node_address="" if instance.node_address == instance.address else instance.node_address,
        node_meta=masked(instance.node_meta) if rules.is_full else {},
        checks=instance.checks if rules.is_full or instance.details else (),
        created=instance.created if rules.is_full else 0,
        details=instance.details,
    )
