"""All instances of one service."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Mapping
from functools import lru_cache

from ctemplate.core.micro import MicroService
from ctemplate.core.model import Answer, Instance, Query, Status, TaggedAddress, Weights
from ctemplate.queries.catalog_entries import (
    CatalogPage,
    RecordedAnswer,
    RecordingRules,
    ServiceEntry,
    instances_of,
    rows_of,
    single_answer,
)
from ctemplate.queries.choosing import (
    chosen,
    datacenters_of,
    instances_of_many,
    scope_words,
    wanted_statuses,
    word,
)
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
    template_function,
)
from ctemplate.queries.services import list_of
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.details import with_details
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

KEPT_QUERIES = 65536


class ServiceQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="service", omit_defaults=True):
    """All instances of one service in any state; the value is ``tuple[Instance, ...]`` sorted by node, then id.

    The caller selects by status and tag, so that templates share one query. With ``near`` the source's order is kept.
    With ``details`` the instances have details and their checks reports; without them it is None.
    """

    name: str
    near: str | None = None
    filter: str | None = None
    sameness_group: str | None = None
    details: bool | None = None


@template_function("service")
def _service(  # noqa: PLR0917  # templates write service(NAME, TAG)
    reader: Reader,
    name: str,
    tag: str | None = None,
    dc: str | Iterable[str] | None = None,
    status: str | Iterable[str] = Status.PASSING.value,
    near: str | None = None,
    filter: str | None = None,  # noqa: A002  # Consul's word
    ns: str | None = None,
    partition: str | None = None,
    peer: str | None = None,
    failover: bool = False,  # noqa: FBT001, FBT002  # templates write failover=true
    sameness_group: str | None = None,
    details: bool = False,  # noqa: FBT001, FBT002  # templates write details=true
) -> tuple[Instance, ...]:
    """Return the service's instances in the given statuses, in the order of the answer.

    With several datacenters, return the instances of all in the datacenters' order; with ``failover``, those of the
    first datacenter that has any. The other datacenters are asked as well, so that their answers are present or stored
    when they are needed. With ``details``, instances also have ``tagged_addresses``, ``node_tagged_addresses`` and
    ``weights``, and their checks ``notes`` and ``output``; each new output of a check then renders the template again.
    """
    wanted = wanted_statuses(status)
    name = name if type(name) is str else word("name", name)
    if dc is None or isinstance(dc, str):
        queries = [_service_query(name, dc, near, filter, ns, partition, peer, sameness_group, details)]
        found = chosen(reader.instances(queries[0], tag) or (), wanted, tag)
    else:
        queries = [
            _service_query(name, one, near, filter, ns, partition, peer, sameness_group, details)
            for one in datacenters_of(dc)
        ]
        found = instances_of_many(reader, queries, wanted, tag, failover=failover)
    if not found:
        reader.explain_instances(queries, tag)
    return found


@lru_cache(maxsize=KEPT_QUERIES)
def _service_query(  # noqa: PLR0917  # positions are quicker to look up
    name: str,
    dc: str | None,
    near: str | None,
    filter: str | None,  # noqa: A002  # Consul's word
    ns: str | None,
    partition: str | None,
    peer: str | None,
    sameness_group: str | None,
    details: bool,  # noqa: FBT001  # as above
) -> ServiceQuery:
    if peer and sameness_group:
        raise ValueError("service: give peer or sameness_group, not both")
    scope = scope_words(
        dc=dc, ns=ns, partition=partition, peer=peer, near=near, filter=filter, sameness_group=sameness_group
    )
    return ServiceQuery(name=word("name", name), details=True if details else None, **scope)


def _request(query: ServiceQuery, scope: Mapping[str, str | None]) -> Resource:
    name = urllib.parse.quote(query.name, safe="")
    special = {"near": query.near, "filter": query.filter, "sameness-group": query.sameness_group}
    return Resource.named(f"/v1/health/service/{name}", **scope, **special)


def _decode(query: ServiceQuery, body: bytes, decoder: Decoder) -> Decoded:
    found = decoder.decode_instances(body, query.name, keep_order=_keeps_order(query))
    return with_details(found, body, decoder) if query.details else found


def _name(query: ServiceQuery) -> str:
    return query.name


def _reads_whole_service(query: ServiceQuery) -> bool:
    return query.filter is None


def _keeps_order(query: ServiceQuery) -> bool:
    return query.near is not None


def _rights(query: ServiceQuery) -> tuple[ReadRight, ...]:
    return ReadRight(resource="service", name=query.name), ReadRight(resource="node", name=None)


def _is_plain(query: ServiceQuery) -> bool:
    return not any(
        (query.ns, query.partition, query.peer, query.near, query.filter, query.sameness_group, query.details)
    )


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
        has_details=bool(query.details),
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
    cover=None,
    stored=Stored(section="instances", entry=Instance),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(_service,),
    readable=(Instance, MicroService, TaggedAddress, Weights),
)
