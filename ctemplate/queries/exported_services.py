"""The services that an admin partition exports to peers and to other partitions; since Consul 1.17.3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import OwnedEntry, Query
from ctemplate.queries.catalog_entries import RecordedExport
from ctemplate.queries.choosing import scope_words
from ctemplate.queries.kind import Reader, ReadRight, template_function
from ctemplate.queries.listing import listing_kind
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

SHOWN_EXPORT_LENGTH = 120


class ExportedService(OwnedEntry, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A service that others may use: the names of the ``peers`` and of the ``partitions`` that it is exported to."""

    name: str
    namespace: str = ""
    partition: str = ""
    peers: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return f"exported service {printable(self.name, SHOWN_EXPORT_LENGTH)!r}"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return all fields."""
        plain = (("name", self.name), ("namespace", self.namespace), ("partition", self.partition))
        consumers = [("peer", name) for name in self.peers] + [("partition", name) for name in self.partitions]
        return *plain, *consumers


class ConsumersRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """Where a service is exported to."""

    peers: list[str] | None = None
    partitions: list[str] | None = None


class ExportRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """An exported service in Consul's form."""

    service: str
    namespace: str = ""
    partition: str = ""
    consumers: ConsumersRow | None = None


class ExportedServicesQuery(
    Query, frozen=True, kw_only=True, cache_hash=True, tag="exported_services", omit_defaults=True
):
    """The exported services of a partition; the value is ``tuple[ExportedService, ...]`` sorted by name."""


EXPORT_ROWS = msgspec.json.Decoder(list[ExportRow] | None)


@template_function("exported_services")
def _exported_services(reader: Reader, partition: str | None = None) -> tuple[ExportedService, ...]:
    """Return the services that are exported to peers or to other partitions, sorted by name; since Consul 1.17.3."""
    answer = reader.ask(ExportedServicesQuery(**scope_words(partition=partition)))
    return () if answer is None else answer.value


def _request(_: ExportedServicesQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/exported-services", partition=scope["partition"])


def _entries(body: bytes) -> Iterator[ExportedService]:
    return map(_service_of, EXPORT_ROWS.decode(body) or ())


def _service_of(row: ExportRow) -> ExportedService:
    consumers = row.consumers or ConsumersRow()
    return ExportedService(
        name=row.service,
        namespace=row.namespace,
        partition=row.partition,
        peers=tuple(consumers.peers or ()),
        partitions=tuple(consumers.partitions or ()),
    )


EXPORTED_SERVICES_KIND = listing_kind(
    query=ExportedServicesQuery,
    request=_request,
    not_found=NotFound.NO_EXPORTS,
    entry=ExportedService,
    entries=_entries,
    order=lambda service: (service.name, service.namespace),
    rights=(ReadRight(resource="mesh", name=None),),
    recorded=("exports", RecordedExport),
    function=_exported_services,
)
