"""The nodes of a scope as Consul lists them: the queries of their list and of one node, and their rows. Pure."""

from __future__ import annotations

import msgspec

from ctemplate.core.model import Query


class NodeListQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="node-list", omit_defaults=True):
    """The nodes of a scope that our token may read; the value is ``tuple[NodeEntry, ...]`` sorted by name.

    ``/v1/catalog/nodes``: woken by a node that comes, goes, or gets another address, id or meta, not by services.
    """


class NodeContentQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="node-content", omit_defaults=True):
    """What is registered on one node; the value is ``tuple[PlacedService, ...]``, empty for a node that is not there.

    ``/v1/catalog/node/NODE``: woken by whatever changes on the node, its checks aside; its index is that of the whole
    catalog. A long poll of a node that is removed is not woken: Consul answers index 1 for it, at the end of its wait.
    """

    name: str


class NodeEntry(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    rename={"name": "Node", "id": "ID", "address": "Address", "meta": "Meta"},
):
    """A node as a row of ``/v1/catalog/nodes``, decoded as it comes."""

    name: str
    id: str = ""
    address: str = ""
    meta: dict[str, str] | None = None


class PlacedService(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    rename={"id": "ID", "service": "Service", "modified": "ModifyIndex"},
):
    """An instance as it stands in ``/v1/catalog/node/NODE``: only what says whether it changed."""

    id: str
    service: str
    modified: int


class NodeContent(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of ``/v1/catalog/node/NODE``; instances by id."""

    services: dict[str, PlacedService] | None = None
