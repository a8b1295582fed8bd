"""The admin partitions of the Consul cluster that ctemplate asks; Consul Enterprise, since 1.11."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, OwnedEntry, Query
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordedPartition, RecordingRules
from ctemplate.queries.kind import (
    CatalogForm,
    Decoded,
    Kind,
    Losses,
    Reader,
    ReadRight,
    Stored,
    Subject,
    WatchRole,
    never,
    nothing,
    template_function,
)
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import UNREADABLE, NotFound, Resource

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


def _decode(_: PartitionsQuery, body: bytes, __: Decoder) -> Decoded:
    try:
        rows = PARTITION_ROWS.decode(body) or []
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc
    return _sorted(AdminPartition(name=row.name, description=row.description) for row in rows), ()


def _sorted(partitions: Iterable[AdminPartition]) -> tuple[AdminPartition, ...]:
    return tuple(sorted(partitions, key=lambda partition: partition.name))


def _rights(_: PartitionsQuery) -> tuple[ReadRight, ...]:
    return (ReadRight(resource="operator", name=None),)


def _playback(_: PartitionsQuery, page: CatalogPage) -> Decoded:
    return _sorted(AdminPartition(**msgspec.structs.asdict(each)) for each in page.entry.partitions), ()


def _record(answer: Answer, _: RecordingRules) -> RecordedAnswer:
    found = (RecordedPartition(**msgspec.structs.asdict(partition)) for partition in answer.value)
    return RecordedAnswer(partitions=tuple(found))


PARTITIONS_KIND = Kind(
    query=PartitionsQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.NO_PARTITIONS,
    decode=_decode,
    blocks=False,
    sentinel=nothing,
    losses=Losses.NONE,
    subject=Subject.NO_SERVICE,
    service_name=nothing,
    reads_whole_service=never,
    keeps_order=never,
    is_shuffled=False,
    rights=_rights,
    cover=None,
    stored=Stored(section="partitions", entry=AdminPartition),
    catalog=CatalogForm(is_plain=never, playback=_playback, record=_record),
    functions=(_partitions,),
    readable=(AdminPartition,),
)
