"""The admin partitions of the Consul cluster that ctemplate asks; Consul Enterprise, since 1.11."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import OwnedEntry, Query
from ctemplate.queries.catalog_entries import RecordedPartition
from ctemplate.queries.kind import Reader, ReadRight, template_function
from ctemplate.queries.listing import listing_kind
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

SHOWN_PARTITION_LENGTH = 120


class AdminPartition(OwnedEntry, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An admin partition; ``service(…, partition=…)`` takes its name."""

    name: str
    description: str = ""

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return f"admin partition {printable(self.name, SHOWN_PARTITION_LENGTH)!r}"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return both fields."""
        return ("name", self.name), ("description", self.description)


class PartitionRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """An admin partition in Consul's form."""

    name: str
    description: str = ""


class PartitionsQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="partitions", omit_defaults=True):
    """The admin partitions; the value is ``tuple[AdminPartition, ...]`` sorted by name."""


PARTITION_ROWS = msgspec.json.Decoder(list[PartitionRow] | None)


@template_function("partitions")
def _partitions(reader: Reader) -> tuple[AdminPartition, ...]:
    """Return the admin partitions of the Consul cluster, sorted by name; Consul Enterprise, since 1.11.

    Consul is asked again at each interval.
    """
    answer = reader.ask(PartitionsQuery())
    return () if answer is None else answer.value


def _request(_: PartitionsQuery, __: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/partitions")


def _entries(body: bytes) -> Iterator[AdminPartition]:
    rows = PARTITION_ROWS.decode(body) or ()
    return (AdminPartition(name=row.name, description=row.description) for row in rows)


PARTITIONS_KIND = listing_kind(
    query=PartitionsQuery,
    request=_request,
    not_found=NotFound.NO_PARTITIONS,
    entry=AdminPartition,
    entries=_entries,
    order=lambda partition: partition.name,
    rights=(ReadRight(resource="operator", name=None),),
    recorded=("partitions", RecordedPartition),
    function=_partitions,
    blocks=False,
)
