"""The instances that a prepared query returns."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Mapping

from ctemplate.core.model import Answer, Instance, Query
from ctemplate.queries.catalog_entries import (
    CatalogPage,
    RecordedAnswer,
    RecordingRules,
    ServiceEntry,
    instances_of,
    single_answer,
)
from ctemplate.queries.choosing import ANY, chosen, scope_words, wanted_statuses, word
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
from ctemplate.queries.services import EVERY_SERVICE
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource


class PreparedQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="query", omit_defaults=True):
    """The result of a prepared query, by name or id; the value is ``tuple[Instance, ...]`` sorted by node, then id.

    All instances are of one service in one datacenter; the definition in Consul chooses both. With ``near`` the
    source's order of nodes is kept.
    """

    name: str
    near: str | None = None


@template_function("query")
def _query(  # noqa: PLR0917  # templates write query(NAME, TAG), as they do of services
    reader: Reader,
    name: str,
    tag: str | None = None,
    dc: str | None = None,
    status: str | Iterable[str] = ANY,
    near: str | None = None,
    ns: str | None = None,
    partition: str | None = None,
) -> tuple[Instance, ...]:
    """Return the instances that a prepared query, by name or id, returns: sorted by node, then id.

    Its definition in Consul chooses the service, states, tags and the datacenters to fail over to; ``tag`` and
    ``status`` select from its result, which is used unchanged by default. With ``near`` the order is Consul's estimate
    of the distance; if only the order changed, the earlier order is kept.
    """
    scope = scope_words(dc=dc, ns=ns, partition=partition, near=near)
    found = reader.instances(PreparedQuery(name=word("name", name), **scope))
    return chosen(found or (), wanted_statuses(status), tag)


def _request(query: PreparedQuery, scope: Mapping[str, str | None]) -> Resource:
    name = urllib.parse.quote(query.name, safe="")
    return Resource.named(f"/v1/query/{name}/execute", **scope, near=query.near)


def _decode(query: PreparedQuery, body: bytes, decoder: Decoder) -> Decoded:
    return decoder.decode_execution(body, keep_order=_keeps_order(query))


def _name(query: PreparedQuery) -> str:
    return query.name


def _keeps_order(query: PreparedQuery) -> bool:
    return query.near is not None


def _rights(_: PreparedQuery) -> tuple[ReadRight, ...]:
    return EVERY_SERVICE


def _playback(query: PreparedQuery, page: CatalogPage) -> Decoded:
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
    return single_answer(answer.value, name=str(answer.query.argument), dc=answer.query.dc, rules=rules)


PREPARED_KIND = Kind(
    query=PreparedQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.UNKNOWN_QUERY,
    decode=_decode,
    blocks=False,
    sentinel=nothing,
    losses=Losses.INSTANCES,
    subject=Subject.CHOSEN,
    service_name=_name,
    reads_whole_service=never,
    keeps_order=_keeps_order,
    is_shuffled=True,
    rights=_rights,
    cover=None,
    stored=Stored(section="instances", entry=Instance),
    catalog=CatalogForm(is_plain=never, playback=_playback, record=_record),
    functions=(_query,),
    readable=(Instance,),
)
