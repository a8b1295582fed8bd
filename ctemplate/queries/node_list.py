"""The nodes of a scope: a sentinel."""

from __future__ import annotations

from collections.abc import Mapping

from ctemplate.core.model import Query
from ctemplate.queries.kind import Decoded, Kind, Losses, Ownership, ReadRight, Subject, WatchRole, never, nothing
from ctemplate.queries.services import EVERY_SERVICE, list_of
from ctemplate.sources.consul.endpoints.decoding import Decoder, decode_node_list
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource


class NodeListQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="node-list", omit_defaults=True):
    """The nodes of a scope that our token may read; the value is ``tuple[NodeEntry, ...]`` sorted by name.

    ``/v1/catalog/nodes``: the long poll ends when a node comes, goes, or changes its address, id or meta, but not when
    services change.
    """


def _request(_: NodeListQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/catalog/nodes", **scope)


def _decode(_: NodeListQuery, body: bytes, __: Decoder) -> Decoded:
    return decode_node_list(body), ()


def _rights(_: NodeListQuery) -> tuple[ReadRight, ...]:
    return EVERY_SERVICE


NODE_LIST_KIND = Kind(
    query=NodeListQuery,
    role=WatchRole.SENTINEL,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=True,
    sentinel=list_of,
    losses=Losses.NONE,
    subject=Subject.NO_SERVICE,
    service_name=nothing,
    reads_whole_service=never,
    keeps_order=never,
    is_shuffled=False,
    rights=_rights,
    cover=None,
    ownership=Ownership.NOT_PRINTED,
    stored=None,
    catalog=None,
    functions=(),
    readable=(),
)
