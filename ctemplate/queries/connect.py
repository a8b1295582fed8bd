"""The instances that serve a service within Consul's service mesh: its proxies and its mesh-native instances."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Mapping

from ctemplate.core.model import Answer, Instance, Query, Status
from ctemplate.queries.catalog_entries import (
    CatalogPage,
    RecordedAnswer,
    RecordingRules,
    ServiceEntry,
    instances_of,
    rows_of,
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
    never,
    nothing,
    template_function,
)
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.details import with_details
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource


class ConnectQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="connect", omit_defaults=True):
    """A service's mesh instances in any state; the value is ``tuple[Instance, ...]`` sorted by node, then id.

    They have names of their own, such as ``web-sidecar-proxy``. With ``near`` the source's order is kept.
    """

    name: str
    near: str | None = None
    filter: str | None = None
    sameness_group: str | None = None
    details: bool | None = None


@template_function("connect")
def _connect(  # noqa: PLR0917  # templates write connect(NAME, TAG), as they do of services
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
    """Return the instances that serve a service in Consul's service mesh, as `service` does: its proxies.

    Instances that speak the mesh's protocol themselves are included. Each has the name under which it is registered,
    such as ``web-sidecar-proxy``. They expect TLS with a certificate of the mesh: see `ca_leaf`.
    """
    if peer and sameness_group:
        raise ValueError("connect: give peer or sameness_group, not both")
    wanted = wanted_statuses(status)
    scope = scope_words(ns=ns, partition=partition, peer=peer, near=near, filter=filter, sameness_group=sameness_group)
    places = (dc,) if dc is None or isinstance(dc, str) else datacenters_of(dc)
    queries = [
        ConnectQuery(name=word("name", name), details=True if details else None, **scope, **scope_words(dc=place))
        for place in places
    ]
    if dc is None or isinstance(dc, str):
        found = chosen(reader.instances(queries[0]) or (), wanted, tag)
    else:
        found = instances_of_many(reader, queries, wanted, tag, failover=failover)
    if not found:
        reader.explain_instances(queries, tag)
    return found


def _request(query: ConnectQuery, scope: Mapping[str, str | None]) -> Resource:
    name = urllib.parse.quote(query.name, safe="")
    special = {"near": query.near, "filter": query.filter, "sameness-group": query.sameness_group}
    return Resource.named(f"/v1/health/connect/{name}", **scope, **special)


def _decode(query: ConnectQuery, body: bytes, decoder: Decoder) -> Decoded:
    found = decoder.decode_proxies(body, query.name, keep_order=_keeps_order(query))
    return with_details(found, body, decoder) if query.details else found


def _name(query: ConnectQuery) -> str:
    return query.name


def _keeps_order(query: ConnectQuery) -> bool:
    return query.near is not None


def _rights(query: ConnectQuery) -> tuple[ReadRight, ...]:
    """Return the rights to the service and to its proxies, whose names by convention begin with the service's name."""
    return (
        ReadRight(resource="service", name=query.name, is_prefix=True),
        ReadRight(resource="node", name=None),
    )


def _playback(query: ConnectQuery, page: CatalogPage) -> Decoded:
    """Return a file's answer to the query; only a separate answer can be one, since pages contain no proxies."""
    return instances_of(
        ServiceEntry(instances=page.entry.instances if page.is_single else ()),
        _sidecar(query),
        page.entry.datacenter or query.dc or "",
        keep_order=_keeps_order(query),
        allow_hostnames=page.allow_hostnames,
        may_name_service=True,
        has_details=bool(query.details),
    )


def _sidecar(query: Query) -> str:
    """Return the conventional name of a service's proxies."""
    return f"{query.argument}-sidecar-proxy"


def _record(answer: Answer, rules: RecordingRules) -> RecordedAnswer:
    instances: tuple[Instance, ...] = answer.value
    datacenter = instances[0].datacenter if instances else ""
    return RecordedAnswer(
        datacenter="" if datacenter == answer.query.dc else datacenter,
        instances=rows_of(instances, rules, service=_sidecar(answer.query)),
    )


CONNECT_KIND = Kind(
    query=ConnectQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=True,
    sentinel=nothing,
    losses=Losses.INSTANCES,
    subject=Subject.CHOSEN,
    service_name=_name,
    reads_whole_service=never,
    keeps_order=_keeps_order,
    is_shuffled=False,
    rights=_rights,
    cover=None,
    stored=Stored(section="instances", entry=Instance),
    catalog=CatalogForm(is_plain=never, playback=_playback, record=_record),
    functions=(_connect,),
    readable=(Instance,),
)
