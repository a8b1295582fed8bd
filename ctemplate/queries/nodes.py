"""The nodes of a datacenter, for templates that list them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, OwnedEntry, Query, Rejection
from ctemplate.queries.catalog_entries import CatalogPage, NodeFacts, RecordedAnswer, RecordingRules, judged_address
from ctemplate.queries.key import scope_fields
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
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import UNREADABLE, NotFound, Resource
from ctemplate.sources.consul.endpoints.rows import NodeRow

SHOWN_NODE_LENGTH = 120


class CatalogNode(OwnedEntry, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A node of the catalog; ``address`` is an IP address, IPv6 in brackets (a host name only where allowed)."""

    name: str
    address: str
    id: str = ""
    datacenter: str = ""
    meta: Mapping[str, str] = {}
    tagged_addresses: Mapping[str, str] = {}

    @property
    def ip(self) -> str:
        """Return the address without the brackets of IPv6."""
        return self.address.strip("[]")

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return node_owner(self.name)

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return all fields, with the keys and the values of the tables."""
        plain = (("name", self.name), ("address", self.address), ("id", self.id), ("datacenter", self.datacenter))
        return *plain, *table_texts("meta", self.meta), *table_texts("tagged_addresses", self.tagged_addresses)


class ListedNodeRow(NodeRow, frozen=True, rename="pascal", gc=False):
    """A node in the form of a row of ``/v1/catalog/nodes``, with all fields that templates read."""

    tagged_addresses: dict[str, str] | None = None


class NodesQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="nodes", omit_defaults=True):
    """The nodes of a datacenter; the value is ``tuple[CatalogNode, ...]`` sorted by name.

    With ``near`` Consul's order is kept.
    """

    near: str | None = None
    filter: str | None = None


LISTED_NODES = msgspec.json.Decoder(list[ListedNodeRow] | None)


def node_owner(name: str) -> str:
    """Return a description of the owner of a node's texts, safe to print."""
    return f"node {printable(name, SHOWN_NODE_LENGTH)!r}"


def table_texts(field: str, table: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of a table of a node."""
    for key, value in table.items():
        yield f"{field} key", key
        yield f"{field} {printable(key, SHOWN_NODE_LENGTH)!r}", value


def node_of(row: ListedNodeRow, decoder: Decoder) -> CatalogNode | Rejection:
    """Return a row as a node, or the reason why it is left out."""
    meta = row.meta or {}
    address, refusal = decoder.judge_address(row.address)
    sizes = decoder.size_faults({"name": row.node, "id": row.id}, meta)
    field, reason = next(sizes, ("address", refusal))
    if reason:
        return Rejection(service="", node=row.node, field=field, reason=reason)
    return CatalogNode(
        name=row.node,
        address=address,
        id=row.id,
        datacenter=row.datacenter,
        meta=meta,
        tagged_addresses=row.tagged_addresses or {},
    )


def sorted_nodes(nodes: Iterable[CatalogNode]) -> tuple[CatalogNode, ...]:
    """Return nodes sorted by name; two nodes may have names that differ only in case."""
    return tuple(sorted(nodes, key=lambda node: (node.name, node.address)))


@template_function("nodes")
def _nodes(  # noqa: PLR0917  # templates write nodes(DC)
    reader: Reader,
    dc: str | None = None,
    near: str | None = None,
    ns: str | None = None,
    partition: str | None = None,
    peer: str | None = None,
    filter: str | None = None,  # noqa: A002  # Consul's word
) -> tuple[CatalogNode, ...]:
    """Return the nodes of a datacenter, sorted by name; with ``near`` sorted by their distance from that node.

    A node whose address is no IP address is left out and named.
    """
    scope = scope_fields(dc=dc, near=near, ns=ns, partition=partition, peer=peer, filter=filter)
    answer = reader.ask(NodesQuery(**scope))
    return () if answer is None else answer.value


def _request(query: NodesQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/catalog/nodes", **scope, near=query.near, filter=query.filter)


def _keeps_order(query: NodesQuery) -> bool:
    return query.near is not None


def _decode(query: NodesQuery, body: bytes, decoder: Decoder) -> Decoded:
    try:
        rows = LISTED_NODES.decode(body) or []
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc
    found = [node_of(row, decoder) for row in rows]
    nodes = [each for each in found if isinstance(each, CatalogNode)]
    rejections = sorted((each for each in found if isinstance(each, Rejection)), key=str)
    return tuple(nodes) if _keeps_order(query) else sorted_nodes(nodes), tuple(rejections)


def _rights(_: NodesQuery) -> tuple[ReadRight, ...]:
    return (ReadRight(resource="node", name=None),)


def is_plain_scope(query: Query) -> bool:
    """Return whether a query asks for data that the page of a datacenter contains."""
    return not (query.ns or query.partition or query.peer)


def _is_plain(query: NodesQuery) -> bool:
    return is_plain_scope(query) and not (query.near or query.filter)


def recorded_node(name: str, query: Query, page: CatalogPage) -> CatalogNode | Rejection:
    """Return a node of a catalog file, or the reason why it is left out."""
    facts = page.entry.nodes[name]
    address, refusal = judged_address(facts.address, allow_hostnames=page.allow_hostnames)
    if refusal:
        return Rejection(service="", node=name, field="address", reason=refusal)
    return CatalogNode(
        name=name,
        address=address,
        id=facts.id,
        datacenter=page.entry.datacenter or query.dc or "",
        meta=facts.meta,
        tagged_addresses=facts.tagged_addresses,
    )


def _playback(query: NodesQuery, page: CatalogPage) -> Decoded:
    found = [recorded_node(name, query, page) for name in page.entry.names or page.entry.nodes]
    nodes = [each for each in found if isinstance(each, CatalogNode)]
    rejections = tuple(each for each in found if isinstance(each, Rejection))
    return tuple(nodes) if _keeps_order(query) else sorted_nodes(nodes), rejections


def node_facts(node: CatalogNode, rules: RecordingRules) -> NodeFacts:
    """Return a node in the form of a catalog file; mask the values of meta keys that match a mask."""
    return NodeFacts(
        address=node.address,
        id=node.id,
        meta={key: rules.masked(key, value) for key, value in sorted(node.meta.items())},
        tagged_addresses=dict(sorted(node.tagged_addresses.items())),
    )


def nodes_datacenter(nodes: Iterable[CatalogNode], query: Query) -> str:
    """Return the datacenter of nodes, empty if the query names it."""
    found = next((node.datacenter for node in nodes), "")
    return "" if found == query.dc else found


def _record(answer: Answer, rules: RecordingRules) -> RecordedAnswer:
    return RecordedAnswer(
        nodes={node.name: node_facts(node, rules) for node in answer.value},
        names=tuple(node.name for node in answer.value) if rules.is_single else (),
        datacenter=nodes_datacenter(answer.value, answer.query),
    )


NODES_KIND = Kind(
    query=NodesQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=True,
    sentinel=nothing,
    losses=Losses.NONE,
    subject=Subject.NO_SERVICE,
    service_name=nothing,
    reads_whole_service=never,
    keeps_order=_keeps_order,
    is_shuffled=False,
    rights=_rights,
    cover=None,
    stored=Stored(section="nodes", entry=CatalogNode),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(_nodes,),
    readable=(CatalogNode,),
)
