"""One query: read once, or watched without end: requests until one fails, inside endless retries.

Each layer is an async generator over the one inside it. Knows nothing of the catalog or of other queries.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Coroutine, Iterable
from dataclasses import field
from typing import Any

import msgspec

from ctemplate.core.model import Answer, Query
from ctemplate.core.timing import TokenBucket
from ctemplate.core.values import dataclass
from ctemplate.queries import kind_of, resource_of
from ctemplate.queries.kind import Decoded
from ctemplate.sources.consul.endpoints.blocking import IndexPosition, PollPace, is_abandoned, is_too_old
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import Consistency, FailureKind, RequestFailed, Resource
from ctemplate.sources.consul.endpoints.settings import Pacing
from ctemplate.sources.consul.http.address import Address
from ctemplate.sources.consul.http.client import Client, ConsulReply
from ctemplate.sources.consul.http.outages import OutageLog
from ctemplate.sources.consul.http.transport import Connection
from ctemplate.sources.consul.watching.poll_start import PollStart

RECOVERY_SPREAD = 0.5  # seconds over which queries return after the agent has recovered
RETRIES_PER_SECOND = 20.0
RETRIES_AT_ONCE = 20


async def ask_once(
    client: Client, connection: Connection, resource: Resource, position: IndexPosition, *, index: int
) -> tuple[ConsulReply, bool]:
    """Ask once; return the answer and whether it is usable, or the leader has to be asked. Raises RequestFailed."""
    settings = client.settings
    is_stale = settings.stale and settings.max_stale > 0 and not position.must_confirm
    consistency = Consistency.STALE if is_stale else Consistency.DEFAULT
    reply = await client.read(connection, resource, index=index, consistency=consistency)
    too_old = is_too_old(reply.meta, max_stale=settings.max_stale)
    return reply, position.accepts(reply.meta.index, was_stale=is_stale, is_too_old=too_old)


async def replies(
    client: Client,
    connection: Connection,
    resource: Resource,
    position: IndexPosition,
    pace: PollPace,
    *,
    start: PollStart,
) -> AsyncGenerator[ConsulReply, None]:
    """Yield each answer that may be used, until the client's address changes. Raises RequestFailed.

    Never asks faster than the pace allows; an answer with the same bytes as the previous one is no news.
    """
    clock = asyncio.get_running_loop().time
    seen = b""
    while connection.address == client.address:
        index = position.index
        if index:
            await start.wait()
        reply, usable = await ask_once(client, connection, resource, position, index=index)
        if is_abandoned(index, reply.meta.index, waited=reply.waited, wait=client.settings.wait):
            position.restart()
        delay = pace.delay(clock(), is_news=usable and reply.digest != seen, size=len(reply.body))
        if usable:
            seen = reply.digest
            yield reply
        if delay:
            await asyncio.sleep(delay)


@dataclass(slots=True)
class Retries:
    """When failed queries are retried: each backs off, and all together keep to a budget."""

    client: Client
    outages: OutageLog
    _budget: TokenBucket = field(
        default_factory=lambda: TokenBucket(interval=1 / RETRIES_PER_SECOND, burst=RETRIES_AT_ONCE)
    )

    async def wait(self, failure: RequestFailed, connection: Connection, failures: int) -> None:
        """Wait until a query may be retried after so many failures in a row; may switch to the next address."""
        remedy, settings = failure.remedy, self.client.settings
        switched = remedy.switches and self.client.switch(connection.address)
        if switched and failures < len(settings.addresses):
            return
        if connection.address != self.client.address and not remedy.switches:
            return  # another query has switched already
        delay = max(remedy.first * random.uniform(1.0, 1.5), settings.backoff.delay(failures))  # noqa: S311 - jitter
        delay += self._budget.delay(asyncio.get_running_loop().time())
        relief = [self.client.failed_over(), *([self.outages.recovered()] if remedy.restarts else [])]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await _first_of(relief)
                await asyncio.sleep(random.uniform(0, RECOVERY_SPREAD))  # noqa: S311 - jitter


async def _first_of(waits: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait until one of several things has happened."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def index_of(reply: ConsulReply, query: Query) -> int:
    """Return the index of an answer, 0 for none: non-blocking endpoints always return 1, whatever changes."""
    return (reply.meta.index or 0) if kind_of(query).blocks else 0


def with_known_entries(value: tuple[Any, ...], known: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a value with the entries of an earlier one in place of equal ones: what was made of these stays valid.

    If their number changed, only those in front of the first difference and behind the last one are compared.
    """
    size = min(len(value), len(known))
    if len(value) == len(known):
        return tuple(old if old == new else new for old, new in zip(known, value, strict=True))
    front = next((at for at, (old, new) in enumerate(zip(known, value, strict=False)) if old != new), size)
    both = zip(reversed(known), reversed(value), strict=False)
    back = min(next((at for at, (old, new) in enumerate(both) if old != new), size), size - front)
    return known[:front] + value[front : len(value) - back] + known[len(known) - back :]


@dataclass(slots=True)
class Watch:
    """One query, its newest answer, and what is needed to keep it new.

    ``is_news``: the newest answer's value differs from the previous one. ``waited``: the seconds that it took.
    ``away_since``: since when its datacenter has been unreachable, on the loop's clock. ``unreported`` are the failures
    that are not logged, since something else is asked then. ``start`` is when long polls of this run may begin.
    """

    query: Query
    client: Client
    edge: Decoder
    outages: OutageLog
    retries: Retries
    answer: Answer | None = None
    is_news: bool = False
    waited: float = 0.0
    away_since: float | None = None
    unreported: frozenset[FailureKind] = frozenset()
    start: PollStart = field(default_factory=PollStart)
    _resource: Resource = field(init=False)
    _position: IndexPosition = field(default_factory=IndexPosition)
    _address: Address | None = None
    _digest: bytes = b""

    def __post_init__(self) -> None:
        self._resource = resource_of(self.query, self.client.settings)

    def forget_answer(self) -> None:
        """Start over: the newest answer could not be used, so the next one counts as the first."""
        self._position.restart()
        self.answer, self._digest = None, b""

    async def read(self, connection: Connection) -> Answer:
        """Ask once and return the answer as it is now. Raises RequestFailed."""
        try:
            self._use_address(connection.address)
            while True:
                reply, usable = await ask_once(self.client, connection, self._resource, self._position, index=0)
                if usable:
                    return self._taken(reply, connection)
        except RequestFailed as exc:
            if exc.remedy.restarts:
                self._position.restart()
            raise self._narrowed(exc) from exc

    async def events(self, pacing: Pacing) -> AsyncGenerator[Answer | RequestFailed, None]:
        """Yield every answer and every failure, without end; a failure is yielded before the delay and the retry."""
        clock = asyncio.get_running_loop().time
        failures, name = 0, str(self.query)
        while True:
            connection = self.client.connect()
            self._use_address(connection.address)
            try:
                async with contextlib.aclosing(self._answers(connection, pacing)) as answers:
                    async for answer in answers:
                        failures = 0
                        self.outages.over(name, clock(), connection.address)
                        yield answer
                self._position.restart()
            except RequestFailed as exc:
                connection.close()
                failures += 1
                failure = self._narrowed(exc)
                self.note(failure, clock())
                if failure.remedy.restarts:
                    self._position.restart()
                yield failure
                await self.retries.wait(failure, connection, failures)
            finally:
                connection.close()

    def note(self, failure: RequestFailed, now: float) -> None:
        """Have a failure logged, unless something else is asked in place of the query then."""
        if failure.kind not in self.unreported:
            self.outages.note(str(self.query), failure, now, is_answered=self.answer is not None)

    def _use_address(self, address: Address) -> None:
        """Switch to an address; an index is meaningless to any server but the one that gave it."""
        if address != self._address:
            self._position.restart()
        self._address = address

    def _narrowed(self, failure: RequestFailed) -> RequestFailed:
        """Attribute the failure of another datacenter to the queries to it, not to the agent."""
        if self.query.dc is None or failure.kind not in {FailureKind.UNAVAILABLE, FailureKind.FAILED}:
            return failure
        self.outages.broke(self.query.dc)
        if self.away_since is None:
            self.away_since = asyncio.get_running_loop().time()
        return failure.narrowed(FailureKind.FAILED)

    async def _answers(self, connection: Connection, pacing: Pacing) -> AsyncGenerator[Answer, None]:
        pace = PollPace(pacing)
        stream = replies(self.client, connection, self._resource, self._position, pace, start=self.start)
        async with contextlib.aclosing(stream):
            async for reply in stream:
                yield self._taken(reply, connection)

    def _taken(self, reply: ConsulReply, connection: Connection) -> Answer:
        """Make the reply the newest answer; equal bytes are not decoded again, equal values are stored once."""
        known, self.is_news, self.waited, self.away_since = self.answer, False, reply.waited, None
        if known is None:
            self.start.note_first_answer()
        if known is None or reply.digest != self._digest:
            value, rejections = self._decoded(reply.body, connection)
            self.is_news = known is None or value != known.value
            if known is not None:
                value = with_known_entries(value, known.value) if self.is_news else known.value
            known = Answer(query=self.query, value=value, rejections=rejections)
        self.client.served(connection.address, self._resource)
        self._digest = reply.digest
        self.answer = msgspec.structs.replace(
            known,
            index=index_of(reply, self.query),
            seen_at=time.time(),
            filtered=reply.meta.filtered_by_acls,
            known_leader=reply.meta.known_leader,
            last_contact=reply.meta.last_contact,
            session=self.outages.session(self.query.dc),
        )
        return self.answer

    def _decoded(self, body: bytes, connection: Connection) -> Decoded:
        try:
            return kind_of(self.query).decode(self.query, body, self.edge)
        except Undecodable as exc:
            self.client.failed(connection.address, self._resource)
            what = f"the answer cannot be read: {exc}"
            raise RequestFailed(str(connection.address), self._resource.path, what, FailureKind.GARBLED) from exc
