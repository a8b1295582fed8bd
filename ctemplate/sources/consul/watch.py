"""One query, watched for ever: requests until one fails, inside retries that never end.

Each layer is an async generator over the one inside it. Knows nothing of the catalog or of other queries.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import msgspec

from ctemplate.model import Answer, AnyQuery, Fault, Instance, Service, ServiceQuery
from ctemplate.sources.consul.client import Client, Reply
from ctemplate.sources.consul.entries import Edge, Undecodable, askable, decode_services
from ctemplate.sources.consul.rules import Pace, Position, is_too_old
from ctemplate.sources.consul.transport import Connection
from ctemplate.sources.consul.troubles import Troubles
from ctemplate.sources.consul.wire import Consistency, RequestFailed, Resource, Trouble
from ctemplate.timing import TokenBucket

RECOVERY_SPREAD = 0.5  # seconds over which those who waited for the agent come back
RETRIES_PER_SECOND = 20.0
RETRIES_AT_ONCE = 20

Value = tuple[Service, ...] | tuple[Instance, ...]


async def replies(
    client: Client, connection: Connection, resource: Resource, position: Position, pace: Pace
) -> AsyncGenerator[Reply, None]:
    """Yield each answer that may be used, until the client's address changes. Raises RequestFailed.

    Never asks faster than the pace allows; an answer with the same bytes as the one before is no news.
    """
    settings, clock = client.settings, asyncio.get_running_loop().time
    seen = b""
    while connection.address == client.address:
        is_stale = settings.stale and settings.max_stale > 0 and not position.must_confirm
        consistency = Consistency.STALE if is_stale else Consistency.DEFAULT
        reply = await client.read(connection, resource, index=position.index, consistency=consistency)
        too_old = is_too_old(reply.meta, max_stale=settings.max_stale)
        usable = position.accepts(reply.meta.index, was_stale=is_stale, is_too_old=too_old)
        delay = pace.delay(clock(), is_news=usable and reply.digest != seen)
        if usable:
            seen = reply.digest
            yield reply
        if delay:
            await asyncio.sleep(delay)


@dataclass(slots=True)
class Retries:
    """When failed queries ask again: each backs off, all together keep to a budget."""

    client: Client
    troubles: Troubles
    _budget: TokenBucket = field(
        default_factory=lambda: TokenBucket(interval=1 / RETRIES_PER_SECOND, burst=RETRIES_AT_ONCE)
    )

    async def wait(self, failure: RequestFailed, connection: Connection, failures: int) -> None:
        """Wait until a query may be asked again after so many failures in a row; moves to the next address."""
        remedy, settings = failure.remedy, self.client.settings
        switched = remedy.switches and self.client.switch(connection.address)
        if switched and failures < len(settings.addresses):
            return
        delay = max(remedy.first * random.uniform(1.0, 1.5), settings.backoff.delay(failures))  # noqa: S311 - jitter
        delay += self._budget.delay(asyncio.get_running_loop().time())
        if not remedy.restarts:
            await asyncio.sleep(delay)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self.troubles.recovered()
                await asyncio.sleep(random.uniform(0, RECOVERY_SPREAD))  # noqa: S311 - jitter


@dataclass(slots=True)
class Watch:
    """One query, its newest answer, and what is needed to keep it new."""

    query: AnyQuery
    client: Client
    edge: Edge
    troubles: Troubles
    retries: Retries
    answer: Answer | None = None
    _digest: bytes = b""

    async def answers(self) -> AsyncGenerator[Answer, None]:
        """Yield every answer, for ever: failures are noted, waited out and tried again."""
        clock = asyncio.get_running_loop().time
        position, failures, name = Position(), 0, str(self.query)
        while True:
            connection = self.client.connect()
            try:
                async with contextlib.aclosing(self._answers(connection, position)) as answers:
                    async for answer in answers:
                        failures = 0
                        self.troubles.over(name, clock())
                        yield answer
                position.restart()
            except RequestFailed as exc:
                connection.close()
                failures += 1
                failure = self._narrowed(exc)
                self.troubles.note(name, failure, clock())
                if failure.remedy.restarts:
                    position.restart()
                await self.retries.wait(failure, connection, failures)
            finally:
                connection.close()

    def _narrowed(self, failure: RequestFailed) -> RequestFailed:
        """Take another datacenter that is away for the trouble of the queries to it, not of the agent."""
        if self.query.dc is None or failure.trouble is not Trouble.UNAVAILABLE:
            return failure
        return failure.narrowed(Trouble.FAILED)

    async def _answers(self, connection: Connection, position: Position) -> AsyncGenerator[Answer, None]:
        resource = Resource.of(self.query, self.client.settings)
        pace = Pace(self.client.settings.pacing)
        async with contextlib.aclosing(replies(self.client, connection, resource, position, pace)) as stream:
            async for reply in stream:
                try:
                    yield self._taken(reply)
                except Undecodable as exc:
                    what = f"the answer cannot be read: {exc}"
                    raise RequestFailed(str(connection.address), resource.path, what, Trouble.GARBLED) from exc

    def _taken(self, reply: Reply) -> Answer:
        """Make the reply the newest answer; equal bytes are not decoded again."""
        if self.answer is None or reply.digest != self._digest:
            value, faults = self._decoded(reply.body)
            self.answer = Answer(query=self.query, value=value, faults=faults)
        self._digest = reply.digest
        self.answer = msgspec.structs.replace(
            self.answer,
            index=reply.meta.index or 0,
            seen_at=time.time(),
            filtered=reply.meta.filtered_by_acls,
            known_leader=reply.meta.known_leader,
            last_contact=reply.meta.last_contact,
        )
        return self.answer

    def _decoded(self, body: bytes) -> tuple[Value, tuple[Fault, ...]]:
        if isinstance(self.query, ServiceQuery):
            return self.edge.decode_instances(body, self.query.name, keep_order=self.query.near is not None)
        return askable(decode_services(body))
