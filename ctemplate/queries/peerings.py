"""The cluster peerings of the Consul cluster that ctemplate asks; since Consul 1.13."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import OwnedEntry, Query
from ctemplate.queries.catalog_entries import RecordedPeering, RecordingRules
from ctemplate.queries.choosing import scope_words
from ctemplate.queries.kind import Reader, ReadRight, template_function
from ctemplate.queries.listing import listing_kind
from ctemplate.queries.nodes import table_texts
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

SHOWN_PEERING_LENGTH = 120
_PLAIN_FIELDS = ("name", "state", "id", "partition", "peer_id", "server_name", "remote_partition", "remote_datacenter")


class Peering(OwnedEntry, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A peering with another cluster; ``imported`` and ``exported`` are names of services."""

    name: str
    state: str = ""
    id: str = ""
    partition: str = ""
    meta: Mapping[str, str] = {}
    imported: tuple[str, ...] = ()
    exported: tuple[str, ...] = ()
    peer_id: str = ""
    server_name: str = ""
    server_addresses: tuple[str, ...] = ()
    remote_partition: str = ""
    remote_datacenter: str = ""

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return f"peering {printable(self.name, SHOWN_PEERING_LENGTH)!r}"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return all fields that are texts."""
        plain = ((field, getattr(self, field)) for field in _PLAIN_FIELDS)
        services = (("service", name) for name in (*self.imported, *self.exported))
        addresses = (("server_addresses", address) for address in self.server_addresses)
        return *plain, *table_texts("peering meta", self.meta), *services, *addresses


class StreamStatusRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The state of the exchange over a peering."""

    imported_services: list[str] | None = None
    exported_services: list[str] | None = None


class RemoteRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The other side of a peering."""

    partition: str = ""
    datacenter: str = ""


class PeeringRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """A peering in Consul's form."""

    name: str
    id: str = msgspec.field(default="", name="ID")
    partition: str = ""
    state: str = ""
    meta: dict[str, str] | None = None
    stream_status: StreamStatusRow | None = None
    peer_id: str = msgspec.field(default="", name="PeerID")
    peer_server_name: str = ""
    peer_server_addresses: list[str] | None = None
    remote: RemoteRow | None = None


class PeeringsQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="peerings", omit_defaults=True):
    """The peerings of a partition; the value is ``tuple[Peering, ...]`` sorted by name."""


PEERING_ROWS = msgspec.json.Decoder(list[PeeringRow] | None)


@template_function("peerings")
def _peerings(reader: Reader, partition: str | None = None) -> tuple[Peering, ...]:
    """Return the cluster peerings of the Consul cluster that ctemplate asks, sorted by name; since Consul 1.13."""
    answer = reader.ask(PeeringsQuery(**scope_words(partition=partition)))
    return () if answer is None else answer.value


def _request(_: PeeringsQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/peerings", partition=scope["partition"])


def _entries(body: bytes) -> Iterator[Peering]:
    return map(_peering_of, PEERING_ROWS.decode(body) or ())


def _peering_of(row: PeeringRow) -> Peering:
    stream, remote = row.stream_status or StreamStatusRow(), row.remote or RemoteRow()
    return Peering(
        name=row.name,
        state=row.state,
        id=row.id,
        partition=row.partition,
        meta=row.meta or {},
        imported=tuple(sorted(stream.imported_services or ())),
        exported=tuple(sorted(stream.exported_services or ())),
        peer_id=row.peer_id,
        server_name=row.peer_server_name,
        server_addresses=tuple(row.peer_server_addresses or ()),
        remote_partition=remote.partition,
        remote_datacenter=remote.datacenter,
    )


def _masked(peering: Peering, rules: RecordingRules) -> Peering:
    meta = {key: rules.masked(key, value) for key, value in sorted(peering.meta.items())}
    return msgspec.structs.replace(peering, meta=meta)


PEERINGS_KIND = listing_kind(
    query=PeeringsQuery,
    request=_request,
    not_found=NotFound.NO_PEERING,
    entry=Peering,
    entries=_entries,
    order=lambda peering: (peering.name, peering.id),
    rights=(ReadRight(resource="peering", name=None),),
    recorded=("peerings", RecordedPeering),
    function=_peerings,
    mask=_masked,
)
