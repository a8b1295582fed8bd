"""One node with its services, which templates ask for by name."""

from __future__ import annotations

import posixpath
import urllib.parse
from collections.abc import Iterable, Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, OwnedEntry, Query, Rejection
from ctemplate.queries.agent import AgentQuery
from ctemplate.queries.catalog_entries import CatalogPage, PlacedEntry, RecordedAnswer, RecordingRules, judged_address
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
from ctemplate.queries.nodes import (
    SHOWN_NODE_LENGTH,
    CatalogNode,
    ListedNodeRow,
    is_plain_scope,
    node_facts,
    node_of,
    node_owner,
    nodes_datacenter,
    recorded_node,
    table_texts,
)
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import UNREADABLE, NotFound, Resource
from ctemplate.sources.consul.endpoints.rows import ServiceRow


class NodeService(OwnedEntry, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An instance of a service on a node; ``address`` is its own, empty if it uses the node's address."""

    id: str
    name: str
    node: str
    address: str = ""
    port: int = 0
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = {}

    @property
    def ip(self) -> str:
        """Return the address without the brackets of IPv6."""
        return self.address.strip("[]")

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return node_owner(self.node)

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return all fields that are texts, with tags and meta."""
        plain = (("service", self.name), ("service id", self.id), ("service address", self.address))
        return *plain, *(("tags", tag) for tag in self.tags), *table_texts("service meta", self.meta)


class NodeAndServices(OwnedEntry, frozen=True, kw_only=True, gc=False):
    """A node, and its services sorted by name, then id."""

    node: CatalogNode
    services: tuple[NodeService, ...]

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return self.node.owner_name()

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return the texts of the node and of its services."""
        return *self.node.texts(), *(text for service in self.services for text in service.texts())


class NodePage(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The answer of ``/v1/catalog/node/NODE``; instances by id."""

    node: ListedNodeRow
    services: dict[str, ServiceRow] | None = None


class NodeQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="node", omit_defaults=True):
    """One node with its services; the value is ``tuple[NodeAndServices, ...]``, empty if there is no such node."""

    name: str


NODE_PAGES = msgspec.json.Decoder(NodePage | None)


@template_function("node")
def _node(  # noqa: PLR0917  # templates write node(NAME, DC)
    reader: Reader,
    name: str | None = None,
    dc: str | None = None,
    ns: str | None = None,
    partition: str | None = None,
    peer: str | None = None,
) -> NodeAndServices:
    """Return a node by its name, with its services sorted by name, then id: ``node`` and ``services``.

    Without a name the node is that of the agent that ctemplate asks, which needs the right ``agent:read``. The template
    waits for a node that does not exist, unless it only tests whether the node exists: ``{% if node(name) %}``.
    ctemplate sees the removal of a node when Consul ends the long poll, after about a minute, and all other changes at
    once.
    """
    scope = scope_fields(dc=dc, ns=ns, partition=partition, peer=peer)
    if name is None:
        agent = reader.ask(AgentQuery())
        if agent is None or not agent.value:
            return reader.absent(AgentQuery())  # type: ignore[no-any-return]
        name = agent.value[0].name
    query = NodeQuery(name=_checked_name(name), **scope)
    answer = reader.ask(query)
    if answer is None or not answer.value:
        reader.explain_path("node", query)
        return reader.absent(query)  # type: ignore[no-any-return]
    found: NodeAndServices = answer.value[0]
    reader.read_entry(found)
    return found


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"node: the name must be a text, not {type(name).__name__}")
    found = str(name)
    if not found or not found.isprintable() or posixpath.normpath(f"/{found}") != f"/{found}":
        raise ValueError(f"node: {printable(found, SHOWN_NODE_LENGTH)!r} is no name of a node")
    return found


def _request(query: NodeQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named(f"/v1/catalog/node/{urllib.parse.quote(query.name, safe='')}", **scope)


def _decode(_: NodeQuery, body: bytes, decoder: Decoder) -> Decoded:
    try:
        page = NODE_PAGES.decode(body)
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc
    if page is None:
        return (), ()
    node = node_of(page.node, decoder)
    if isinstance(node, Rejection):
        return (), (node,)
    found = [_service_of(row, page.node, decoder) for row in (page.services or {}).values()]
    return _value(node, found)


def _service_of(row: ServiceRow, node: ListedNodeRow, decoder: Decoder) -> NodeService | Rejection:
    """Return a row as a service of the node, by the rules for instances, or the reason why it is left out."""
    instance = decoder.placed_instance(node, row)
    if isinstance(instance, Rejection):
        return instance
    return NodeService(
        id=instance.id,
        name=instance.name,
        node=instance.node,
        address=instance.address if row.address else "",
        port=instance.port,
        tags=instance.tags,
        meta=instance.meta,
    )


def _value(node: CatalogNode, found: Iterable[NodeService | Rejection]) -> Decoded:
    services: list[NodeService] = []
    rejections: list[Rejection] = []
    for each in found:
        (rejections if isinstance(each, Rejection) else services).append(each)  # type: ignore[arg-type]
    services.sort(key=lambda service: (service.name, service.id))
    return (NodeAndServices(node=node, services=tuple(services)),), tuple(sorted(rejections, key=str))


def _rights(query: NodeQuery) -> tuple[ReadRight, ...]:
    return ReadRight(resource="service", name=None), ReadRight(resource="node", name=query.name)


def _is_plain(query: NodeQuery) -> bool:
    return is_plain_scope(query)


def _playback(query: NodeQuery, page: CatalogPage) -> Decoded:
    if query.name not in page.entry.nodes:
        return (), ()
    node = recorded_node(query.name, query, page)
    if isinstance(node, Rejection):
        return (), (node,)
    rows = page.entry.node_services.get(query.name, ())
    return _value(node, [_recorded_service(row, query.name, page) for row in rows])


def _recorded_service(row: PlacedEntry, node: str, page: CatalogPage) -> NodeService | Rejection:
    address, refusal = "", ""
    if row.address:
        address, refusal = judged_address(row.address, allow_hostnames=page.allow_hostnames)
    if refusal:
        return Rejection(service=row.service, instance=row.id or row.service, field="address", reason=refusal)
    return NodeService(
        id=row.id or row.service,
        name=row.service,
        node=node,
        address=address,
        port=row.port,
        tags=tuple(sorted(set(row.tags))),
        meta=row.meta,
    )


def _record(answer: Answer, rules: RecordingRules) -> RecordedAnswer:
    if not answer.value:
        return RecordedAnswer()
    found: NodeAndServices = answer.value[0]
    return RecordedAnswer(
        nodes={found.node.name: node_facts(found.node, rules)},
        node_services={found.node.name: tuple(_entry(service, rules) for service in found.services)},
        datacenter=nodes_datacenter((found.node,), answer.query),
    )


def _entry(service: NodeService, rules: RecordingRules) -> PlacedEntry:
    return PlacedEntry(
        service=service.name,
        id="" if service.id == service.name else service.id,
        address=service.address,
        port=service.port,
        tags=service.tags,
        meta={key: rules.masked(key, value) for key, value in sorted(service.meta.items())},
    )


NODE_KIND = Kind(
    query=NodeQuery,
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
    keeps_order=never,
    is_shuffled=False,
    rights=_rights,
    cover=None,
    stored=Stored(section="node_contents", entry=NodeAndServices),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(_node,),
    readable=(NodeAndServices, NodeService),
)
