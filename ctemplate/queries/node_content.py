"""The services that are registered on one node."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

from ctemplate.core.model import Query
from ctemplate.queries.kind import Decoded, Kind, Losses, Ownership, ReadRight, Subject, WatchRole, never, nothing
from ctemplate.queries.services import EVERY_SERVICE, list_of
from ctemplate.sources.consul.endpoints.decoding import Decoder, decode_node_content
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource


class NodeContentQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="node-content", omit_defaults=True):
    """The services on one node; the value is ``tuple[PlacedService, ...]``, empty if the node does not exist.

    ``/v1/catalog/node/NODE``: every change on the node except of its checks ends the long poll; its index is that of
    the whole catalog. The removal of the node does not end a long poll: Consul answers index 1 at the end of the wait.
    """

    name: str


def _request(query: NodeContentQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named(f"/v1/catalog/node/{urllib.parse.quote(query.name, safe='')}", **scope)


def _decode(_: NodeContentQuery, body: bytes, __: Decoder) -> Decoded:
    return decode_node_content(body), ()


def _rights(_: NodeContentQuery) -> tuple[ReadRight, ...]:
    return EVERY_SERVICE


NODE_CONTENT_KIND = Kind(
    query=NodeContentQuery,
    role=WatchRole.NODE,
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
