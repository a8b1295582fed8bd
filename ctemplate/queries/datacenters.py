"""The datacenters that Consul knows."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, OwnedEntry, Query
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordingRules
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

SHOWN_DATACENTER_LENGTH = 120


class DatacenterName(OwnedEntry, frozen=True, kw_only=True, gc=False):
    """A datacenter."""

    name: str

    def owner_name(self) -> str:
        """Return a description of the name's owner."""
        return f"datacenter {printable(self.name, SHOWN_DATACENTER_LENGTH)!r}"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return the name."""
        return (("name", self.name),)


class DatacentersQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="datacenters", omit_defaults=True):
    """The datacenters that Consul knows, in its order; the value is ``tuple[DatacenterName, ...]``."""


DATACENTER_NAMES = msgspec.json.Decoder(list[str] | None)


@template_function("datacenters")
def _datacenters(reader: Reader) -> tuple[str, ...]:
    """Return the names of the datacenters that Consul knows, the nearest first as far as Consul knows the distances.

    Consul is asked again at each interval. If only the order changed, the earlier order is kept.
    """
    answer = reader.ask(DatacentersQuery())
    return () if answer is None else tuple(entry.name for entry in answer.value)


def _request(_: DatacentersQuery, __: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/catalog/datacenters")


def _entries(names: list[str] | tuple[str, ...]) -> tuple[DatacenterName, ...]:
    return tuple(DatacenterName(name=name) for name in names)


def _decode(_: DatacentersQuery, body: bytes, __: Decoder) -> Decoded:
    try:
        return _entries(DATACENTER_NAMES.decode(body) or []), ()
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc


def _keeps_order(_: DatacentersQuery) -> bool:
    return True


def _rights(_: DatacentersQuery) -> tuple[ReadRight, ...]:
    return ()


def _playback(_: DatacentersQuery, page: CatalogPage) -> Decoded:
    return _entries(page.entry.names if page.is_single else page.datacenters), ()


def _record(answer: Answer, _: RecordingRules) -> RecordedAnswer:
    return RecordedAnswer(names=tuple(entry.name for entry in answer.value))


DATACENTERS_KIND = Kind(
    query=DatacentersQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=False,
    sentinel=nothing,
    losses=Losses.NONE,
    subject=Subject.NO_SERVICE,
    service_name=nothing,
    reads_whole_service=never,
    keeps_order=_keeps_order,
    is_shuffled=True,
    rights=_rights,
    cover=None,
    stored=Stored(section="datacenters", entry=DatacenterName),
    catalog=CatalogForm(is_plain=never, playback=_playback, record=_record),
    functions=(_datacenters,),
    readable=(),
)
