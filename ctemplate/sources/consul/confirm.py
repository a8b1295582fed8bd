"""Confirm what the guard doubts: a consistent read of the query, and whether our token may read what vanished.

One connection of its own, one doubt after the other: thousands come at once only when Consul itself is in doubt.
"""

from __future__ import annotations

import asyncio
import time

from ctemplate.catalog import Catalog
from ctemplate.model import Answer, Doubt
from ctemplate.sources.consul.client import Client
from ctemplate.sources.consul.entries import Edge, Undecodable
from ctemplate.sources.consul.transport import Connection
from ctemplate.sources.consul.troubles import Troubles
from ctemplate.sources.consul.watch import index_of
from ctemplate.sources.consul.wire import Consistency, RequestFailed, Resource, Right
from ctemplate.timing import Backoff

AGAIN = Backoff(first=0.1, ceiling=5.0)  # before doubts that stayed open are looked at again
RIGHTS_AT_ONCE = 64  # Consul's own limit


async def confirm(catalog: Catalog, client: Client, edge: Edge, troubles: Troubles) -> None:
    """Confirm whatever the catalog doubts, until cancelled; what fails is tried again for as long as it is doubted."""
    rounds = 0
    seen: frozenset[Doubt] = frozenset()
    while True:
        doubts = await catalog.doubts()
        rounds = rounds + 1 if seen.intersection(doubts) else 0
        seen = frozenset(doubts)
        if rounds:
            await asyncio.sleep(AGAIN.delay(rounds))
        connection = client.connect()
        try:
            for doubt in doubts:
                may_read = await _may_read(doubt, client, connection)
                catalog.confirm(await _read(doubt, client, connection, edge, troubles), may_read=may_read)
        except (RequestFailed, Undecodable):
            continue  # the watches tell the trouble; here it is only tried again
        finally:
            connection.close()


async def _read(doubt: Doubt, client: Client, connection: Connection, edge: Edge, troubles: Troubles) -> Answer:
    session = troubles.session(doubt.query.dc)  # a break while the answer is under way must not go unseen
    resource = Resource.of(doubt.query, client.settings)
    reply = await client.read(connection, resource, consistency=Consistency.CONSISTENT)
    value, faults = edge.decode(reply.body, doubt.query)
    return Answer(
        query=doubt.query,
        value=value,
        faults=faults,
        index=index_of(reply, doubt.query),
        seen_at=time.time(),
        filtered=reply.meta.filtered_by_acls,
        known_leader=reply.meta.known_leader,
        last_contact=reply.meta.last_contact,
        session=session,
    )


async def _may_read(doubt: Doubt, client: Client, connection: Connection) -> bool | None:
    """Ask for all rights that the doubt names; None as soon as Consul does not say."""
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
