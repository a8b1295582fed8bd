"""Confirm doubted losses: read the query consistently, and ask whether the token may read what vanished.

The servers that answer are read as well, as instances of Consul's own service: with each doubt, and at intervals. One
connection serves one doubt after the other: thousands arrive at once only when Consul itself is in doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping

from ctemplate.catalog import Catalog
from ctemplate.core.defects import Defects
from ctemplate.core.model import Answer, Doubt, Instance, Query, Servers, ServerSet
from ctemplate.queries import ServiceQuery, Subject, kind_of, named_service, resource_of
from ctemplate.sources.consul.endpoints.decoding import (
    Decoder,
    Undecodable,
    decode_nodes,
    decode_servers,
    decode_services,
)
from ctemplate.sources.consul.endpoints.paths import Consistency, FailureKind, RequestFailed, Resource, Right
from ctemplate.sources.consul.http.client import Client
from ctemplate.sources.consul.http.outages import OutageLog
from ctemplate.sources.consul.http.transport import Connection
from ctemplate.sources.consul.watching.sentinel import reads_whole_service, scope_of
from ctemplate.sources.consul.watching.watch import index_of

RIGHTS_AT_ONCE = 64  # Consul's own limit
FIRST_LOOK = 1.0  # seconds from the start until the servers are first read …
LOOK_INTERVAL = 60.0  # … and between later reads
OWN_SERVICE = "/v1/health/service/consul"
FINAL_KINDS = frozenset(
    {FailureKind.DENIED, FailureKind.REFUSED, FailureKind.GARBLED}
)  # a later read would not show the servers either

Lists = dict[Resource, Mapping[str, str] | None]  # the names in each list, with the nodes' ids


async def confirm(catalog: Catalog, client: Client, edge: Decoder, outages: OutageLog) -> None:
    """Confirm the catalog's doubts, until cancelled; a failed read is retried as long as the doubt lasts."""
    clock = asyncio.get_running_loop().time
    look_at, defects = clock() + FIRST_LOOK, Defects()
    while True:
        try:
            async with asyncio.timeout_at(look_at):
                doubts = await catalog.doubts()
        except TimeoutError:
            look_at = clock() + LOOK_INTERVAL
            await _look(catalog, client, outages)
            continue
        await _confirm_all(doubts, catalog, client, edge, outages, defects=defects)


async def _confirm_all(
    doubts: Iterable[Doubt], catalog: Catalog, client: Client, edge: Decoder, outages: OutageLog, *, defects: Defects
) -> None:
    """Try each doubt once, except in a datacenter that turns out to be unreachable; the watches report that."""
    connection, away = client.connect(), set[str | None]()
    lists: Lists = {}
    try:
        for doubt in doubts:
            if doubt.query.dc in away:
                catalog.unconfirmed(doubt.query)
                continue
            try:
                may_read = await _may_read(doubt, client, connection)
                is_listed = doubt.is_first and await _is_listed(doubt.query, client, connection, lists)
                answer = await _read(doubt, client, connection, edge, outages)
                servers = await _servers(client, connection, doubt.query.dc)  # these gave its answer
                nodes = None if doubt.is_first else await _nodes(doubt.query, client, connection, lists)
                registered = await _registered(doubt, client, connection, edge)
                catalog.confirm(
                    answer,
                    may_read=may_read,
                    servers=servers,
                    is_listed=is_listed,
                    nodes=nodes,
                    registered=registered,
                )
            except RequestFailed as failure:
                connection.close()
                catalog.unconfirmed(doubt.query)
                away.update({doubt.query.dc} if failure.remedy.is_shared else ())
            except Undecodable:
                catalog.unconfirmed(doubt.query)
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this doubt a try
                connection.close()
                defects.report(str(doubt.query), exc)
                catalog.unconfirmed(doubt.query)
    finally:
        connection.close()


async def _look(catalog: Catalog, client: Client, outages: OutageLog) -> None:
    """Report to the catalog which servers answer; a failure waits for the next interval."""
    connection = client.connect()
    try:
        for dc in catalog.unobserved_datacenters:
            session = outages.session(dc)
            with contextlib.suppress(RequestFailed):
                servers = await _servers(client, connection, dc)
                catalog.observe_servers(ServerSet(dc=dc, servers=servers, session=session))
    finally:
        connection.close()


async def _servers(client: Client, connection: Connection, dc: str | None) -> Servers:
    """Return the servers that answer for a datacenter, none where Consul does not say. Raises RequestFailed."""
    resource = Resource.named(OWN_SERVICE, dc=dc or client.settings.datacenter)
    try:
        reply = await client.read(connection, resource, consistency=Consistency.CONSISTENT)
    except RequestFailed as exc:
        if exc.kind not in FINAL_KINDS:
            raise
        return frozenset()
    return decode_servers(reply.body)


async def _read(doubt: Doubt, client: Client, connection: Connection, edge: Decoder, outages: OutageLog) -> Answer:
    session = outages.session(doubt.query.dc)  # a break during the read must not go unnoticed
    resource = resource_of(doubt.query, client.settings)
    reply = await client.read(connection, resource, consistency=Consistency.CONSISTENT)
    value, rejections = kind_of(doubt.query).decode(doubt.query, reply.body, edge)
    return Answer(
        query=doubt.query,
        value=value,
        rejections=rejections,
        index=index_of(reply, doubt.query),
        seen_at=time.time(),
        filtered=reply.meta.filtered_by_acls,
        known_leader=reply.meta.known_leader,
        last_contact=reply.meta.last_contact,
        session=session,
    )


async def _registered(doubt: Doubt, client: Client, connection: Connection, edge: Decoder) -> tuple[Instance, ...]:
    """Return all instances of the services of which a prepared query lost some, failing ones too.

    None where Consul does not say. Raises RequestFailed.
    """
    if kind_of(doubt.query).subject is not Subject.CHOSEN or doubt.is_first:
        return ()
    found: list[Instance] = []
    for name in doubt.services:
        query = ServiceQuery(name=name, dc=doubt.query.dc, ns=doubt.query.ns, partition=doubt.query.partition)
        try:
            reply = await client.read(
                connection, resource_of(query, client.settings), consistency=Consistency.CONSISTENT
            )
            found += kind_of(query).decode(query, reply.body, edge)[0]
        except RequestFailed as exc:
            if exc.remedy.is_shared:
                raise
        except Undecodable:
            continue
    return tuple(found)


async def _is_listed(query: Query, client: Client, connection: Connection, known: Lists) -> bool:
    """Return whether the catalog lists the service whose instances were all asked for; each catalog is read once.

    A token that may read services but no nodes sees the service without its instances. False where Consul does not say.
    Raises RequestFailed.
    """
    scope, name = scope_of(query), named_service(query)
    if scope is None or not reads_whole_service(query):
        return False
    resource = resource_of(scope, client.settings)
    if resource not in known:
        known[resource] = await _listed(resource, client, connection, _names)
    return name in (known[resource] or ())


async def _nodes(query: Query, client: Client, connection: Connection, known: Lists) -> Mapping[str, str] | None:
    """Return all nodes of the catalog with their ids, read once; None where Consul does not say.

    Raises RequestFailed.
    """
    settings = client.settings
    partition = query.partition or settings.partition
    resource = Resource.named("/v1/catalog/nodes", dc=query.dc or settings.datacenter, partition=partition)
    if resource not in known:
        known[resource] = await _listed(resource, client, connection, decode_nodes)
    return known[resource]


def _names(body: bytes) -> dict[str, str]:
    return dict.fromkeys((service.name for service in decode_services(body)), "")


async def _listed(
    resource: Resource, client: Client, connection: Connection, decode: Callable[[bytes], Mapping[str, str]]
) -> Mapping[str, str] | None:
    try:
        reply = await client.read(connection, resource, consistency=Consistency.CONSISTENT)
        return decode(reply.body)
    except RequestFailed as exc:
        if exc.remedy.is_shared:
            raise
    except Undecodable:
        pass
    return None


async def _may_read(doubt: Doubt, client: Client, connection: Connection) -> bool | None:
    """Ask for all rights that the doubt names; return None as soon as Consul does not say."""
    query, settings = doubt.query, client.settings
    namespace, partition = query.ns or settings.namespace, query.partition or settings.partition
    rights = [
        Right(resource=resource, segment=segment, access="read", namespace=namespace, partition=partition)
        for resource, segments in (("service", doubt.services), ("node", doubt.nodes))
        for segment in segments
    ]
    for start in range(0, len(rights), RIGHTS_AT_ONCE):
        allowed = await client.allows(connection, rights[start : start + RIGHTS_AT_ONCE], dc=query.dc)
        if not allowed:
            return allowed
    return True
