"""All instances of one service."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

from ctemplate.core.model import Answer, Instance, Query
from ctemplate.queries.catalog_entries import (
    CatalogPage,
    RecordedAnswer,
    RecordingRules,
    ServiceEntry,
    instances_of,
    rows_of,
    single_answer,
)
from ctemplate.queries.kind import CatalogForm, Decoded, Kind, Losses, Ownership, ReadRight, Stored, Subject, WatchRole
from ctemplate.queries.services import list_of
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource


class ServiceQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="service", omit_defaults=True):
    """All instances of one service in any state; the value is ``tuple[Instance, ...]`` sorted by node, then id.

    Status and tag are chosen where the answer is used, so that templates share one query. With ``near`` the
    source's order is kept.
    """

    name: str
    near: str | None = None
    filter: str | None = None


def _request(query: ServiceQuery, scope: Mapping[str, str | None]) -> Resource:
    name = urllib.parse.quote(query.name, safe="")
    return Resource.named(f"/v1/health/service/{name}", **scope, near=query.near, filter=query.filter)


def _decode(query: ServiceQuery, body: bytes, decoder: Decoder) -> Decoded:
    return decoder.decode_instances(body, query.name, keep_order=_keeps_order(query))


def _name(query: ServiceQuery) -> str:
    return query.name


def _reads_whole_service(query: ServiceQuery) -> bool:
    return query.filter is None


def _keeps_order(query: ServiceQuery) -> bool:
    return query.near is not None


def _rights(query: ServiceQuery) -> tuple[ReadRight, ...]:
    return ReadRight(resource="service", name=query.name), ReadRight(resource="node", name=None)


def _is_plain(query: ServiceQuery) -> bool:
    return not any((query.ns, query.partition, query.peer, query.near, query.filter))


def _playback(query: ServiceQuery, page: CatalogPage) -> Decoded:
    entry, datacenter = page.entry.services.get(query.name, ServiceEntry()), page.entry.datacenter
    if page.is_single:
        entry, datacenter = ServiceEntry(instances=page.entry.instances), datacenter or query.dc or ""
    return instances_of(
        entry,
        page.entry.service or query.name,
        datacenter,
        keep_order=_keeps_order(query),
        allow_hostnames=page.allow_hostnames,
    )


def _record(answer: Answer, rules: RecordingRules) -> RecordedAnswer:
    name, instances = str(answer.query.argument), answer.value
    if rules.is_single:
        return single_answer(instances, name=name, dc=answer.query.dc, rules=rules)
    if not instances:
        return RecordedAnswer()
    tags = rules.known.get(name, ServiceEntry()).tags
    entry = ServiceEntry(tags=tags, instances=rows_of(instances, rules, tags))
    return RecordedAnswer(services={name: entry}, datacenter=instances[0].datacenter)


SERVICE_KIND = Kind(
    query=ServiceQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=True,
    sentinel=list_of,
    losses=Losses.INSTANCES,
    subject=Subject.NAMED,
    service_name=_name,
    reads_whole_service=_reads_whole_service,
    keeps_order=_keeps_order,
    is_shuffled=False,
    rights=_rights,
    ownership=Ownership.REGISTRANTS,
    stored=Stored(section="instances", entry=Instance),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(),
    readable=(Instance,),
)
