"""The services that are registered on one node."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

from ctemplate.core.model import Query
from ctemplate.queries.kind import WatchRole
from ctemplate.queries.planning import planning_kind
from ctemplate.sources.consul.endpoints.decoding import decode_node_content
from ctemplate.sources.consul.endpoints.paths import Resource


class NodeContentQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="node-content", omit_defaults=True):
    """The services on one node; the value is ``tuple[PlacedService, ...]``, empty if the node does not exist.

    ``/v1/catalog/node/NODE``: every change on the node except of its checks ends the long poll; its index is that of
    the whole catalog. The removal of the node does not end a long poll: Consul answers index 1 at the end of the wait.
    """

    name: str


def _request(query: NodeContentQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named(f"/v1/catalog/node/{urllib.parse.quote(query.name, safe='')}", **scope)


NODE_CONTENT_KIND = planning_kind(
    query=NodeContentQuery, role=WatchRole.NODE, request=_request, entries=decode_node_content
)
