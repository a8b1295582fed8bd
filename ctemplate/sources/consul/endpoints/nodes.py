"""The nodes of a scope as Consul lists them, and what is registered on one: the rows of the answers. Pure."""

from __future__ import annotations

import msgspec


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
    """An instance as listed in ``/v1/catalog/node/NODE``: only what says whether it changed."""

    id: str
    service: str
    modified: int


class NodeContent(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of ``/v1/catalog/node/NODE``; instances by id."""

    services: dict[str, PlacedService] | None
