"""The services of a datacenter, with their tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from ctemplate.core.model import Answer, Query, Service
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordingRules, ServiceEntry, services_of
from ctemplate.queries.choosing import datacenters_of, scope_words
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
from ctemplate.sources.consul.endpoints.decoding import Decoder, decode_services, drop_unqueryable_names
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

EVERY_SERVICE = (ReadRight(resource="service", name=None), ReadRight(resource="node", name=None))


class ServicesQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="services", omit_defaults=True):
    """The services of a datacenter, with their tags; the answer's value is ``tuple[Service, ...]`` sorted by name."""


def list_of(query: Query) -> ServicesQuery:
    """Return the query for the list of services in the scope of another query."""
    return ServicesQuery(dc=query.dc, ns=query.ns, partition=query.partition, peer=query.peer)


@template_function("services")
def _services(
    reader: Reader,
    tag: str | None = None,
    dc: str | Iterable[str] | None = None,
    ns: str | None = None,
    partition: str | None = None,
) -> tuple[Service, ...]:
    """Return the services, sorted by name; with ``tag``, those that carry it; of several datacenters, those of all."""
    if dc is None or isinstance(dc, str):
        queries = [ServicesQuery(**scope_words(dc=dc, ns=ns, partition=partition))]
        found = _tagged(reader.listed(queries[0]), tag)
    else:
        queries = [ServicesQuery(**scope_words(dc=one, ns=ns, partition=partition)) for one in datacenters_of(dc)]
        found = _united([_tagged(reader.listed(query, has_alternatives=True), tag) for query in queries])
        reader.await_all(queries)
    if not found and tag is not None:
        reader.explain_tag(queries, tag)
    return found


def _tagged(services: tuple[Service, ...], tag: str | None) -> tuple[Service, ...]:
    return services if tag is None else tuple([service for service in services if tag in service.tags])


def _united(answers: Iterable[tuple[Service, ...]]) -> tuple[Service, ...]:
    """Return the merged services of several answers, sorted by name, each with all its tags."""
    tags: dict[str, set[str]] = {}
    for service in chain.from_iterable(answers):
        tags.setdefault(service.name, set()).update(service.tags)
    return tuple(Service(name=name, tags=tuple(sorted(tags[name]))) for name in sorted(tags))


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
    cover=None,
    stored=Stored(section="services", entry=Service),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(_services,),
    readable=(Service,),
)
