"""The services that an admin partition imports from peers and from other partitions; newer versions of Consul."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import OwnedEntry, Query
from ctemplate.queries.catalog_entries import RecordedImport
from ctemplate.queries.choosing import scope_words
from ctemplate.queries.kind import Reader, ReadRight, template_function
from ctemplate.queries.listing import listing_kind
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

SHOWN_IMPORT_LENGTH = 120


class ImportedService(OwnedEntry, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A service of another cluster, ``peer``, or of another partition, ``source_partition``."""

    name: str
    namespace: str = ""
    partition: str = ""
    peer: str = ""
    source_partition: str = ""

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return f"imported service {printable(self.name, SHOWN_IMPORT_LENGTH)!r}"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return all fields."""
        return tuple((field, getattr(self, field)) for field in self.__struct_fields__)


class ImportRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """An imported service in Consul's form."""

    service: str
    namespace: str = ""
    partition: str = ""
    source_peer: str = ""
    source_partition: str = ""


class ImportsPage(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The answer of Consul Enterprise; Consul's community edition answers with the list alone."""

    imported_services: list[ImportRow] | None = None


class ImportedServicesQuery(
    Query, frozen=True, kw_only=True, cache_hash=True, tag="imported_services", omit_defaults=True
):
    """The imported services of a partition; the value is ``tuple[ImportedService, ...]`` sorted by name."""


IMPORT_ROWS = msgspec.json.Decoder(list[ImportRow] | ImportsPage | None)


@template_function("imported_services")
def _imported_services(reader: Reader, partition: str | None = None) -> tuple[ImportedService, ...]:
    """Return the services that are imported from peers or from other partitions, sorted by name."""
    answer = reader.ask(ImportedServicesQuery(**scope_words(partition=partition)))
    return () if answer is None else answer.value


def _request(_: ImportedServicesQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/imported-services", partition=scope["partition"])


def _entries(body: bytes) -> Iterator[ImportedService]:
    found = IMPORT_ROWS.decode(body)
    rows = found.imported_services if isinstance(found, ImportsPage) else found
    return map(_service_of, rows or ())


def _service_of(row: ImportRow) -> ImportedService:
    return ImportedService(
        name=row.service,
        namespace=row.namespace,
        partition=row.partition,
        peer=row.source_peer,
        source_partition=row.source_partition,
    )


IMPORTED_SERVICES_KIND = listing_kind(
    query=ImportedServicesQuery,
    request=_request,
    not_found=NotFound.NO_IMPORTS,
    entry=ImportedService,
    entries=_entries,
    order=lambda service: (service.name, service.namespace, service.source_partition, service.peer),
    rights=(ReadRight(resource="mesh", name=None, is_assumed=True),),
    recorded=("imports", RecordedImport),
    function=_imported_services,
)
