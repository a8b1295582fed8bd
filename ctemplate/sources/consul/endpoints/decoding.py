"""Decoding: Consul's JSON becomes the model's values, or is left out with a reason.

Only the model's fields are decoded. Equal values are shared, so that thousands of instances with the same node, tags or
checks need little memory. Pure; knows no requests.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import TypeVar

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import (
    MAX_PORT,
    MAX_WEIGHT,
    CheckState,
    Instance,
    Rejection,
    Server,
    Servers,
    Service,
    Status,
)
from ctemplate.core.settings import DataLimits
from ctemplate.core.values import dataclass
from ctemplate.sources.consul.endpoints.address_policy import AddressPolicy
from ctemplate.sources.consul.endpoints.checks import StateRow
from ctemplate.sources.consul.endpoints.nodes import NodeContent, NodeEntry, PlacedService
from ctemplate.sources.consul.endpoints.paths import UNREADABLE
from ctemplate.sources.consul.endpoints.rows import (
    CheckRow,
    Execution,
    HealthEntry,
    NodeRow,
    PortRow,
    ServiceRow,
    WeightsRow,
)

NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance:"
SHARED_LIMIT = 100_000
SHARED_LENGTH = 256
SERVERS_LIMIT = 64
NO_META: Mapping[str, str] = {}
NO_PORTS: Mapping[str, int] = {}
SHOWN_PORT_NAME = 80

T = TypeVar("T")

ENTRIES = msgspec.json.Decoder(list[HealthEntry] | None)
ENTRY = msgspec.json.Decoder(HealthEntry)
RAW_ENTRIES = msgspec.json.Decoder(list[msgspec.Raw])
EXECUTION = msgspec.json.Decoder(Execution)
NODES = msgspec.json.Decoder(list[NodeRow] | None)
NODE_LIST_DECODER = msgspec.json.Decoder(list[NodeEntry] | None)
NODE_CONTENT_DECODER = msgspec.json.Decoder(NodeContent | None)
STATES_DECODER = msgspec.json.Decoder(list[StateRow] | None)
SERVICES_DECODER = msgspec.json.Decoder(dict[str, list[str] | None] | None)


class Undecodable(ValueError):
    """A body does not have its endpoint's format."""


def aggregate(checks: Iterable[CheckState]) -> Status:
    """Return the common state of all checks of a node and a service: the worst; maintenance comes first.

    Without checks it is passing. An unknown status counts as critical.
    """
    worst = Status.PASSING
    for check in checks:
        if check.id == NODE_MAINTENANCE or check.id.startswith(SERVICE_MAINTENANCE):
            return Status.MAINTENANCE
        if check.status == Status.WARNING and worst is Status.PASSING:
            worst = Status.WARNING
        elif check.status not in {Status.PASSING, Status.WARNING}:
            worst = Status.CRITICAL
    return worst


def decode_services(body: bytes) -> tuple[Service, ...]:
    """Decode the answer of ``/v1/catalog/services``: sorted by name, tags sorted and without doubles.

    Raises Undecodable.
    """
    try:
        rows = SERVICES_DECODER.decode(body) or {}
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc
    return tuple(Service(name=name, tags=tuple(sorted(set(rows[name] or ())))) for name in sorted(rows))


def drop_unqueryable_names(services: tuple[Service, ...]) -> tuple[tuple[Service, ...], tuple[Rejection, ...]]:
    """Leave out names that Consul registers but cannot be asked for: a render would wait for them in vain.

    They contain unprintable characters, or steps of a path (``..``, ``//``) that its server reads as another address.
    """
    rejections = {}
    for service in services:
        name = service.name
        if not name.isprintable():
            rejections[name] = Rejection(
                service=name, field="name", reason="holds what is not printable; Consul answers 400"
            )
        elif not name or posixpath.normpath(path := f"/services/{name}") != path.removesuffix("/"):
            rejections[name] = Rejection(service=name, field="name", reason="is a path; Consul answers for another")
    return tuple(service for service in services if service.name not in rejections), tuple(rejections.values())


def decode_servers(body: bytes) -> Servers:
    """Decode the servers that answer, instances of Consul's own service; empty where the body does not say.

    If there are very many, only the longest registered.
    """
    try:
        rows = ENTRIES.decode(body) or []
    except UNREADABLE:
        return frozenset()
    found = {(row.service.create_index, row.node.id) for row in rows if row.service.create_index and row.node.id}
    return frozenset(Server(node_id=node_id, created=created) for created, node_id in sorted(found)[:SERVERS_LIMIT])


def decode_nodes(body: bytes) -> dict[str, str]:
    """Decode the names in an answer of ``/v1/catalog/nodes``, each with the node's id. Raises Undecodable."""
    try:
        return {row.node: row.id for row in NODES.decode(body) or ()}
    except msgspec.MsgspecError as exc:
        raise Undecodable(printable(exc)) from exc


def decode_states(body: bytes) -> tuple[StateRow, ...]:
    """Decode an answer of ``/v1/health/state/any``, in the order it came in. Raises Undecodable."""
    try:
        return tuple(STATES_DECODER.decode(body) or ())
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc


def decode_node_list(body: bytes) -> tuple[NodeEntry, ...]:
    """Decode an answer of ``/v1/catalog/nodes``, sorted by name. Raises Undecodable."""
    try:
        return tuple(sorted(NODE_LIST_DECODER.decode(body) or (), key=lambda entry: entry.name))
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc


def decode_node_content(body: bytes) -> tuple[PlacedService, ...]:
    """Decode an answer of ``/v1/catalog/node/NODE``; None for a node that does not exist. Raises Undecodable."""
    try:
        content = NODE_CONTENT_DECODER.decode(body)
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc
    return tuple((content.services or {}).values()) if content is not None else ()


@dataclass(slots=True)
class Decoder:
    """Decodes health answers within limits, sharing equal parts across answers."""

    limits: DataLimits
    _policy: AddressPolicy = field(init=False)
    _judged: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict, init=False)
    _shared: dict[object, object] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._policy = AddressPolicy.of(self.limits)

    def decode_execution(
        self, body: bytes, *, keep_order: bool = False
    ) -> tuple[tuple[Instance, ...], tuple[Rejection, ...]]:
        """Decode the answer of ``/v1/query/NAME/execute``: what is valid, and what is left out and why.

        Sorted by node, then id, since Consul returns them in random order; ``keep_order`` keeps its order of
        nodes, but not of the instances of one node, which is random. Raises Undecodable.
        """
        try:
            execution = EXECUTION.decode(body)
        except UNREADABLE as exc:
            raise Undecodable(printable(exc)) from exc
        instances, rejections = self.decode_instances(bytes(execution.nodes), execution.service, keep_order=keep_order)
        if keep_order:
            ranks = {node: rank for rank, node in enumerate(dict.fromkeys(instance.node for instance in instances))}
            instances = tuple(sorted(instances, key=lambda instance: (ranks[instance.node], instance.id)))
        return instances, tuple(sorted(rejections, key=str))

    def decode_instances(
        self, body: bytes, name: str, *, keep_order: bool = False
    ) -> tuple[tuple[Instance, ...], tuple[Rejection, ...]]:
        """Decode the answer of ``/v1/health/service/NAME``: what is valid, and what is left out and why.

        Sorted by node, then id; ``keep_order`` keeps Consul's order. Raises Undecodable.
        """
        return self._decoded(body, name, keep_order=keep_order, takes_proxies=False)

    def decode_proxies(
        self, body: bytes, name: str, *, keep_order: bool = False
    ) -> tuple[tuple[Instance, ...], tuple[Rejection, ...]]:
        """Decode the answer of ``/v1/health/connect/NAME``, whose instances have names of their own; see above."""
        return self._decoded(body, name, keep_order=keep_order, takes_proxies=True)

    def _decoded(
        self, body: bytes, name: str, *, keep_order: bool, takes_proxies: bool
    ) -> tuple[tuple[Instance, ...], tuple[Rejection, ...]]:
        self._forget()
        entries, rejections = _entries(body, name)
        instances: dict[tuple[str, str], Instance] = {}
        for entry in entries:
            is_meant = takes_proxies or entry.service.service == name
            instance = self._instance(entry) if is_meant else _namesake(entry.service, name)
            if isinstance(instance, Rejection):
                rejections.append(instance)
            else:
                instances.setdefault((instance.node, instance.id), instance)
        kept, overflow = self._capped(list(instances.values()), name)
        if not keep_order:
            kept.sort(key=lambda instance: (instance.node, instance.id))
        return tuple(kept), tuple(rejections + overflow)

    def placed_instance(self, node: NodeRow, service: ServiceRow) -> Instance | Rejection:
        """Return an instance as registered on its node, without checks, or why it is left out."""
        return self._instance(HealthEntry(node=node, service=service))

    def _capped(self, instances: list[Instance], name: str) -> tuple[list[Instance], list[Rejection]]:
        limits, values = self.limits, sum(map(_values, instances))
        if len(instances) <= limits.max_instances and values <= limits.max_values:
            return instances, []
        kept: set[tuple[str, str]] = set()
        left = limits.max_values
        for one in sorted(instances, key=lambda instance: (instance.created, instance.node, instance.id)):
            if len(kept) < limits.max_instances and _values(one) <= left:
                kept.add((one.node, one.id))
                left -= _values(one)
        reason = f"{len(instances)} of them, at most {limits.max_instances} are taken, the longest registered"
        if len(kept) < min(len(instances), limits.max_instances):
            reason = (
                f"{values} tags and meta pairs in {len(instances)} of them, at most {limits.max_values} are taken, "
                "those of the longest registered"
            )
        found = [instance for instance in instances if (instance.node, instance.id) in kept]
        return found, [Rejection(service=name, field="instances", reason=reason)]

    def _instance(self, entry: HealthEntry) -> Instance | Rejection:
        service, node = entry.service, entry.node
        rows = sorted(entry.checks or (), key=lambda row: (row.service_id, row.check_id))
        checks = self._share(tuple(self._check(row) for row in rows))
        status = aggregate(checks)
        weights = service.weights or WeightsRow()
        weight = weights.warning if status is Status.WARNING else weights.passing
        address, refusal = self._judge(service.address or node.address, node.address)
        for wrong, reason in self._complaints(entry, weight, refusal):
            return Rejection(service=service.service, instance=service.id, field=wrong, reason=reason)
        return Instance(
            id=service.id,
            name=self._share(service.service),
            node=self._share(node.node),
            address=address,
            port=service.main_port,
            ports=self._share_ports(service.ports),
            tags=self._share(tuple(self._share(tag) for tag in sorted(set(service.tags or ())))),
            meta=self._share_meta(service.meta),
            weight=weight,
            status=status,
            node_id=self._share(node.id),
            node_address=self._node_address(node.address),
            node_meta=self._share_meta(node.meta),
            checks=checks,
            datacenter=self._share(node.datacenter),
            created=service.create_index,
        )

    def _complaints(self, entry: HealthEntry, weight: int, refusal: str) -> Iterator[tuple[str, str]]:
        """Yield each field that may not enter the model, and why."""
        service, limits = entry.service, self.limits
        names = {"name": service.service, "id": service.id, "node": entry.node.node}
        names["port name"] = max((row.name for row in service.ports or ()), key=len, default="")
        yield from self.size_faults(names, service.meta or {})
        if refusal:
            yield "address", refusal
        yield from _port_faults(service)
        if not 0 <= weight <= MAX_WEIGHT:
            yield "weight", f"{weight} is not 0 to {MAX_WEIGHT}"
        if len(service.tags or ()) > limits.max_tags:
            yield "tags", f"{len(service.tags or ())} of them, at most {limits.max_tags} are taken"
        if _exceeds("".join(service.tags or ()), limits.max_tag_bytes):
            yield "tags", f"longer than {limits.max_tag_bytes} bytes together"

    def _check(self, row: CheckRow) -> CheckState:
        check = CheckState(
            id=row.check_id,
            name=row.name,
            status=row.status,
            service_id=row.service_id,
            has_run=row.has_run,
            always_has_output=row.always_has_output,
        )
        return self._share(check)

    def judge_address(self, address: str, node_address: str | None = None) -> tuple[str, str]:
        """Return how an address prints, and why it is refused: one of the two is empty.

        Without ``node_address`` it is a node's own.
        """
        return self._judge(address, address if node_address is None else node_address)

    def size_faults(
        self, names: Mapping[str, str], meta: Mapping[str, str], table: str = "meta"
    ) -> Iterator[tuple[str, str]]:
        """Yield which of the names, by their fields, or whether the ``table`` is longer than the limits; the limit."""
        limits = self.limits
        for field_name, text in names.items():
            if _exceeds(text, limits.max_name_bytes):
                yield field_name, f"longer than {limits.max_name_bytes} bytes"
        if meta and _exceeds("".join((*meta, *meta.values())), limits.max_meta_bytes):
            yield table, f"longer than {limits.max_meta_bytes} bytes together"

    def _judge(self, address: str, node_address: str) -> tuple[str, str]:
        key = (address, node_address)
        if key not in self._judged:
            self._judged[key] = self._policy.judge(address, node_address)
        return self._judged[key]

    def _node_address(self, address: str) -> str:
        return self.judge_address(address)[0]

    def _share_meta(self, meta: dict[str, str] | None) -> Mapping[str, str]:
        if not meta:
            return NO_META
        key = tuple(meta.items())
        known = self._shared.setdefault(key, meta)
        return known if isinstance(known, dict) else meta

    def _share_ports(self, rows: list[PortRow] | None) -> Mapping[str, int]:
        return {self._share(row.name): row.port for row in sorted(rows, key=lambda row: row.name)} if rows else NO_PORTS

    def _share(self, value: T) -> T:
        if isinstance(value, str) and len(value) > SHARED_LENGTH:
            return value
        return self._shared.setdefault(value, value)  # type: ignore[return-value]  # an equal value of the same type

    def _forget(self) -> None:
        """Keep what is shared within bounds: what is still in use lives on in the answers."""
        if len(self._shared) > SHARED_LIMIT:
            self._shared.clear()
        if len(self._judged) > SHARED_LIMIT:
            self._judged.clear()


def _values(instance: Instance) -> int:
    return len(instance.tags) + len(instance.meta) + len(instance.ports)


def _port_faults(service: ServiceRow) -> Iterator[tuple[str, str]]:
    """Yield the ports that are invalid, with the reason."""
    if not 0 <= service.port <= MAX_PORT:
        yield "port", f"{service.port} is not 0 to {MAX_PORT}"
    for row in service.ports or ():
        if not 0 < row.port <= MAX_PORT:
            yield f"port {printable(row.name, SHOWN_PORT_NAME)!r}", f"{row.port} is not 1 to {MAX_PORT}"


def _namesake(service: ServiceRow, name: str) -> Rejection:
    """Return why an instance is not the service's: Consul ignores case, and includes proxies."""
    shown = printable(name)
    reason = f"Consul counts it to {shown!r}, whose proxy it is; proxies are not taken"
    if service.service.casefold() == name.casefold():
        reason = f"differs in case from {shown!r}, which was asked for"
    return Rejection(service=service.service, instance=service.id, field="name", reason=reason)


def _exceeds(text: str, limit_bytes: int) -> bool:
    return len(text) * 4 > limit_bytes and len(text.encode()) > limit_bytes


def _entries(body: bytes, name: str) -> tuple[list[HealthEntry], list[Rejection]]:
    """Decode all entries at once; if one is invalid, one by one, to leave that out. If all are, none is left out."""
    try:
        return ENTRIES.decode(body) or [], []
    except msgspec.ValidationError:
        pass
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc
    try:
        rows = RAW_ENTRIES.decode(body)
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc
    entries: list[HealthEntry] = []
    rejections: list[Rejection] = []
    for row in rows:
        try:
            entries.append(ENTRY.decode(row))
        except UNREADABLE as exc:
            rejections.append(Rejection(service=name, field="entry", reason=printable(exc)))
    if rejections and not entries:  # not one registrant's error: the format has changed
        raise Undecodable(rejections[0].reason)
    return entries, rejections
