"""A catalog file as a source: services and instances written in YAML or JSON instead of kept in Consul.

The file's shape is what ``Catalogue`` says; editing the file drives the same path as a change in Consul. Knows nothing
of Consul's wire.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from ctemplate.catalog import Catalog
from ctemplate.edits import edits
from ctemplate.errors import ConfigError, printable
from ctemplate.model import (
    MAX_PORT,
    Answer,
    AnyQuery,
    Check,
    Fault,
    Instance,
    Service,
    ServiceQuery,
    ServicesQuery,
    Status,
)

logger = logging.getLogger(__name__)


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
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
    checks: tuple[Check, ...] = ()
    created: int = 0


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One service in the file."""

    tags: tuple[str, ...] = ()
    instances: tuple[Entry, ...] = ()


class DatacenterEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Another datacenter in the file."""

    services: dict[str, ServiceEntry] = {}


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole file: the services of the datacenter at hand, and of others by name."""

    services: dict[str, ServiceEntry] = {}
    datacenter: str = ""
    datacenters: dict[str, DatacenterEntry] = {}


def read(path: Path) -> Catalogue:
    """Return what the catalog file says; raises ConfigError naming the file and the key's path."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(str(path), f"is not UTF-8 text: byte {exc.start}") from exc
    return parse(text, name=str(path))


def parse(text: str, *, name: str) -> Catalogue:
    """Return what the text says, YAML or the JSON that is part of it; raises ConfigError."""
    try:
        data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - the safe loader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(place, f"is not YAML: {printable(exc.problem)}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(name, f"is not YAML: {printable(exc)}") from exc
    try:
        return msgspec.convert({} if data is None else data, Catalogue)
    except msgspec.ValidationError as exc:
        said, _, place = str(exc).partition(" - at `")
        path = place.rstrip("`").lstrip("$.")
        raise ConfigError(f"{name}: {path}" if path else name, said[:1].lower() + said[1:]) from exc


def printed_address(address: str) -> str | None:
    """Return the IP address as a ``server`` line wants it, IPv6 in brackets, or None when it is none."""
    try:
        found = ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return None if found.scope_id else f"[{found.compressed}]"
    return found.compressed


def answer(catalogue: Catalogue, query: AnyQuery, *, now: float = 0.0) -> Answer:
    """Return the answer that the file gives to the query; an unknown service or datacenter has none, as in Consul."""
    if query.dc in (None, catalogue.datacenter):
        services, datacenter = catalogue.services, catalogue.datacenter
    else:
        other = catalogue.datacenters.get(query.dc or "")
        services, datacenter = (other.services if other else {}), query.dc or ""
    if isinstance(query, ServicesQuery):
        return Answer(query=query, value=_services(services), seen_at=now)
    entry = services.get(query.name, ServiceEntry())
    instances, faults = _instances(query, entry, datacenter)
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
    query: ServiceQuery, entry: ServiceEntry, datacenter: str
) -> tuple[tuple[Instance, ...], tuple[Fault, ...]]:
    instances, faults = [], []
    for number, row in enumerate(entry.instances, start=1):
        address = printed_address(row.address)
        row_id = row.id or f"{query.name}-{number}"
        if address is None:
            reason = f"is not an IP address: {printable(row.address, 100)!r}"
            faults.append(Fault(service=query.name, instance=row_id, field="address", reason=reason))
            continue
        instances.append(
            Instance(
                id=row_id,
                name=query.name,
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
    return tuple(sorted(instances, key=lambda instance: (instance.node, instance.id))), tuple(faults)


class CatalogFile:
    """Answers every query from one file, and again when the file is edited; a broken edit keeps what was read last."""

    def __init__(self, path: Path) -> None:
        """Read the file at once, so that a broken one is an error of the start; raises ConfigError."""
        self.path = path
        self._catalogue = read(path)

    async def run(self, catalog: Catalog) -> None:
        """Answer the catalog's wanted queries until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_wishes(catalog), name="catalog-file-wishes")
            tasks.create_task(self._follow_edits(catalog), name="catalog-file-edits")

    async def _follow_wishes(self, catalog: Catalog) -> None:
        while True:
            self._answer_all(catalog, await catalog.wishes())

    async def _follow_edits(self, catalog: Catalog) -> None:
        async for _ in edits([self.path]):
            try:
                self._catalogue = read(self.path)
            except ConfigError as exc:
                logger.error("%s; keeping what was read before", exc)  # noqa: TRY400 - a sentence, not a traceback
                continue
            logger.info("%s: read again", self.path)
            self._answer_all(catalog, catalog.wanted)

    def _answer_all(self, catalog: Catalog, queries: frozenset[AnyQuery]) -> None:
        now = time.time()
        for query in queries:
            catalog.put(answer(self._catalogue, query, now=now))


def dump(catalogue: Catalogue) -> str:
    """Return the catalog file's YAML text in a stable order; ``parse`` reads it back."""
    plain: Any = msgspec.to_builtins(catalogue)
    return yaml.safe_dump(plain, sort_keys=True, default_flow_style=None, allow_unicode=True, width=120)
