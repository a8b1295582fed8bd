"""The services of a datacenter, with their tags."""

from __future__ import annotations

from collections.abc import Mapping

from ctemplate.core.model import Answer, Query, Service
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordingRules, ServiceEntry, services_of
from ctemplate.queries.kind import (
    CatalogForm,
    Decoded,
    Kind,
    Losses,
    Ownership,
    ReadRight,
    Stored,
    Subject,
    WatchRole,
    never,
    nothing,
)
from ctemplate.sources.consul.endpoints.decoding import Decoder, decode_services, drop_unqueryable_names
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

EVERY_SERVICE = (ReadRight(resource="service", name=None), ReadRight(resource="node", name=None))


class ServicesQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="services", omit_defaults=True):
    """The services of a datacenter, with their tags; the answer's value is ``tuple[Service, ...]`` sorted by name."""


def list_of(query: Query) -> ServicesQuery:
    """Return the query for the list of services where another query asks."""
    return ServicesQuery(dc=query.dc, ns=query.ns, partition=query.partition, peer=query.peer)


def _request(_: ServicesQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/catalog/services", **scope)


def _decode(_: ServicesQuery, body: bytes, __: Decoder) -> Decoded:
    return drop_unqueryable_names(decode_services(body))


def _rights(_: ServicesQuery) -> tuple[ReadRight, ...]:
    return EVERY_SERVICE


def _is_plain(query: ServicesQuery) -> bool:
    return not (query.ns or query.partition or query.peer)


def _playback(_: ServicesQuery, page: CatalogPage) -> Decoded:
    return services_of(page.entry.services), ()


def _record(answer: Answer, _: RecordingRules) -> RecordedAnswer:
    return RecordedAnswer(services={service.name: ServiceEntry(tags=service.tags) for service in answer.value})


SERVICES_KIND = Kind(
    query=ServicesQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=True,
    sentinel=list_of,
    losses=Losses.NAMES,
    subject=Subject.ALL,
    service_name=nothing,
    reads_whole_service=never,
    keeps_order=never,
    is_shuffled=False,
    rights=_rights,
    ownership=Ownership.REGISTRANTS,
    stored=Stored(section="services", entry=Service),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(),
    readable=(Service,),
)
