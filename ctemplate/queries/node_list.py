"""The nodes of a scope: a sentinel."""

from __future__ import annotations

from collections.abc import Mapping

from ctemplate.core.model import Query
from ctemplate.queries.kind import WatchRole
from ctemplate.queries.planning import planning_kind
from ctemplate.sources.consul.endpoints.decoding import decode_node_list
from ctemplate.sources.consul.endpoints.paths import Resource


class NodeListQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="node-list", omit_defaults=True):
    """The nodes of a scope that our token may read; the value is ``tuple[NodeEntry, ...]`` sorted by name.

    ``/v1/catalog/nodes``: the long poll ends when a node comes, goes, or changes its address, id or meta, but not when
    services change.
    """


def _request(_: NodeListQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/catalog/nodes", **scope)


NODE_LIST_KIND = planning_kind(query=NodeListQuery, role=WatchRole.SENTINEL, request=_request, entries=decode_node_list)
