"""HTTP made for long polls: one kept connection, no pool, whole bodies with a limit.

A pool walks all its connections at each step; a thousand long polls make that quadratic. Here each poll owns its
connection. Speaks plain HTTP/1.1 over TCP, TLS or a unix socket; knows nothing of Consul's API, proxies or redirects.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import field
from typing import cast

import httptools

from ctemplate.core.values import dataclass
from ctemplate.sources.consul.http.address import Address
from ctemplate.sources.consul.http.host_names import HostNames

KEEPALIVE_OPTIONS = (  # a dead peer is noticed after 90 s, even where the long poll would wait longer
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
OK = 200
ANNOUNCING = frozenset({100, 102, 103})
HEAD_LIMIT_BYTES = 64 * 1024
ERROR_KEPT_BYTES = 64 * 1024  # of a body that says why there is no answer
NONE_ACCEPTS = "none of the host's addresses accepts connections"
STALL_LIMIT = 15.0  # seconds without a byte in the middle of an answer; a long poll is silent only before it


class AnswerLost(Exception):
    """No whole answer came to a request; the text says why."""


class TimedOut(AnswerLost):
    """The agent did not accept a connection, or did not answer, in time."""


class NotConnected(AnswerLost):
    """No connection could be opened."""


class ConnectionLost(AnswerLost):
    """The connection ended before the answer did."""


class NotHttp(AnswerLost):
    """What came is no HTTP answer to the request."""


class BodyTooLarge(NotHttp):
    """The answer is larger than the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as it is sent: ``head`` with the empty line that ends it, then ``body``.

    ``read_timeout`` is for the whole answer. A request that is not ``is_repeatable`` is sent only once.
    """

    head: bytes = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    connect_timeout: float
    read_timeout: float
    is_repeatable: bool = True


@dataclass(slots=True)
class HttpMessage:
    """A response as it arrives."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    head_size: int = 0
    has_head: bool = False
    is_complete: bool = False

    @property
    def body(self) -> bytes:
        """The received bytes, whatever encoding the headers claim."""
        return b"".join(self.chunks)


@dataclass(slots=True)
class Contact:
    """When a byte last arrived from an agent, over any connection; seconds on the loop's clock."""

    at: float = -math.inf


class HttpConnection(asyncio.Protocol):
    """One TCP connection: sends a request and gathers the response, one at a time."""

    def __init__(self, limit_bytes: int, contact: Contact) -> None:
        self._limit_bytes = limit_bytes
        self._contact = contact
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._message = HttpMessage()
        self._waiter: asyncio.Future[HttpMessage] | None = None
        self._failure: AnswerLost | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self.served = 0
        self.is_open = False
        self.has_answered_partly = False

    async def exchange(self, request: bytes, timeout: float) -> HttpMessage:
        """Send the request and return the whole response; ``timeout`` seconds are for all of it.

        Raises AnswerLost. Leaving early, by cancellation or by the time limit, closes the connection.
        """
        if self._failure is not None:
            raise self._failure
        if self._message.is_complete:  # a server over its limits answers before it was asked
            return self._taken()
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(timeout, self._expire, timeout)
        try:
            self._transport.write(request)
            return await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
            self._expect_rest()
            if not self._message.is_complete:
                self.abort()
            self._message = HttpMessage()

    def abort(self) -> None:
        """Close the connection at once."""
        self.is_open = False
        self._transport.abort()

    def _taken(self) -> HttpMessage:
        message, self._message = self._message, HttpMessage()
        self.abort()
        return message

    def _expire(self, timeout: float) -> None:
        self.fail(TimedOut(f"read timed out after {timeout:.1f}s"))

    def fail(self, failure: AnswerLost) -> None:
        """Close the connection at once; an exchange that is under way raises the failure."""
        self.is_open = False
        self._failure = self._failure or failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(failure)
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a connection that was just opened."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        self._contact.at = self._loop.time()
        if self._waiter is None and self.served:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self.fail(_broken(exc))
        self._expect_rest()

    def _expect_rest(self) -> None:
        """Have the answer fail that has begun, if the rest of it does not come."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        is_due = self._waiter is not None and not self._waiter.done()
        self._stall_timer = self._loop.call_later(STALL_LIMIT, self._stop_stalled) if is_due else None

    def _stop_stalled(self) -> None:
        self.fail(TimedOut(f"the answer stalled: nothing more of it came for {STALL_LIMIT:g}s"))

    def eof_received(self) -> None:
        """End a body that the end of the connection delimits."""
        if self._message.has_head and not self._message.is_complete and self._ends_with_connection():
            self.on_message_complete()
            self.is_open = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the exchange that is still under way."""
        self.eof_received()
        if self._message.is_complete:
            self.is_open = False
            return
        self.has_answered_partly = self._message.head_size > 0
        verb = "reset" if isinstance(exc, ConnectionResetError) else "closed"
        when = "in the middle of an answer" if self.has_answered_partly else "without an answer"
        self.fail(ConnectionLost(f"connection {verb} {when}"))

    def _ends_with_connection(self) -> bool:
        names = {name.lower() for name, _ in self._message.headers}
        return not names & {b"content-length", b"transfer-encoding"}

    # httptools callbacks

    def on_message_begin(self) -> None:
        """Refuse a second response to one request."""
        if self._message.is_complete:
            raise NotHttp("the server sent data without a request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._message.head_size += len(name) + len(value)
        if self._message.head_size > HEAD_LIMIT_BYTES:
            raise BodyTooLarge(f"answer has more than {HEAD_LIMIT_BYTES} bytes of headers")
        self._message.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Keep the status."""
        self._message.status = self._parser.get_status_code()
        self._message.has_head = True

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body; of that of an error no more than anybody reads."""
        is_kept = self._message.status == OK or self._message.size < ERROR_KEPT_BYTES
        self._message.size += len(body)
        if self._message.size > self._limit_bytes:
            raise BodyTooLarge(f"answer is larger than {self._limit_bytes} bytes")
        if is_kept:
            self._message.chunks.append(body)

    def on_message_complete(self) -> None:
        """Hand the response over, except one that only announces it, as proxies may send."""
        if self._message.status in ANNOUNCING:
            self._message = HttpMessage()
            return
        self._message.is_complete = True
        self.served += 1
        self.is_open = self._parser.should_keep_alive()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._message)
        if not self.is_open:
            self._transport.close()


def _broken(exc: Exception) -> AnswerLost:
    cause = exc.__cause__ or exc.__context__
    if isinstance(cause, AnswerLost):
        return cause
    return NotHttp("the answer is not HTTP")


class Connection:
    """One kept connection to an agent, opened when first needed and again when it was lost.

    One request at a time: a second one meanwhile is a mistake and raises RuntimeError. Assigning ``context`` affects
    connections opened from then on.
    """

    def __init__(
        self,
        address: Address,
        *,
        context: ssl.SSLContext | None = None,
        server_name: str = "",
        limit_bytes: int = 64 * 1024 * 1024,
        contact: Contact | None = None,
        names: HostNames | None = None,
    ) -> None:
        self.address = address
        self.context = context
        self._server_name = server_name
        self._limit_bytes = limit_bytes
        self._contact = contact or Contact()
        self._names = names or HostNames()
        self._wire: HttpConnection | None = None
        self._busy = False

    @property
    def is_open(self) -> bool:
        """Whether a connection is open."""
        return self._wire is not None and self._wire.is_open

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way."""
        return self._busy

    async def ask(self, request: HttpRequest) -> HttpMessage:
        """Send the request over the kept connection; return the whole answer. Raises AnswerLost.

        A kept connection that turns out to be closed is replaced once, silently, for a request that may be repeated.
        """
        if self._busy:
            raise RuntimeError("one request at a time on a kept connection")
        self._busy = True
        try:
            return await self._exchange(request)
        finally:
            self._busy = False

    async def _exchange(self, request: HttpRequest) -> HttpMessage:
        content, kept = request.head + request.body, self._wire
        if kept is not None and kept.is_open:
            try:
                return await kept.exchange(content, request.read_timeout)
            except ConnectionLost:
                if not request.is_repeatable or kept.has_answered_partly:
                    raise
        self._wire = await self._open(request.connect_timeout)
        return await self._wire.exchange(content, request.read_timeout)

    async def _open(self, timeout: float) -> HttpConnection:
        doing = "looking up the host name"
        try:
            async with asyncio.timeout(timeout):
                found = ("",) if self.address.socket else await self._names.find(self.address.host)
                doing = "connecting"
                return await self._connect(found, timeout)
        except TimeoutError as exc:
            raise TimedOut(f"{doing} timed out after {timeout:.1f}s") from exc
        except ssl.SSLError as exc:
            raise NotConnected(f"tls: {_tls_reason(exc)}") from exc
        except OSError as exc:
            raise NotConnected(_connect_reason(exc)) from exc

    async def _connect(self, places: Sequence[str], timeout: float) -> HttpConnection:
        """Connect to the first of the host's addresses that accepts; each may take its part of the time."""
        errors: list[OSError] = []
        for place in places:
            try:
                async with asyncio.timeout(timeout / len(places)):
                    return await self._connect_to(place)
            except OSError as exc:
                errors.append(exc)
        if len({(type(error), error.errno) for error in errors}) == 1:
            raise errors[0]
        raise OSError(NONE_ACCEPTS)

    async def _connect_to(self, place: str) -> HttpConnection:
        loop = asyncio.get_running_loop()
        if self.address.socket:
            _, wire = await loop.create_unix_connection(self._new_wire, self.address.socket)
            return wire
        tls = self.context if self.address.is_tls else None
        transport, wire = await loop.create_connection(
            self._new_wire,
            place,
            self.address.port,
            ssl=tls,
            server_hostname=(self._server_name or self.address.host) if tls else None,
        )
        for option in KEEPALIVE_OPTIONS:
            transport.get_extra_info("socket").setsockopt(*option)
        self._names.prefer(self.address.host, place)
        return wire

    def _new_wire(self) -> HttpConnection:
        return HttpConnection(self._limit_bytes, self._contact)

    def fail(self, failure: AnswerLost) -> None:
        """End the request that is under way with this failure; one that still connects has its own limit."""
        if self._wire is not None:
            self._wire.fail(failure)

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._wire is not None:
            self._wire.abort()
            self._wire = None


def _tls_reason(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate cannot be verified: {exc.verify_message}"
    if exc.reason == "WRONG_VERSION_NUMBER":
        return "the answer is not TLS; Consul speaks plain HTTP there, so leave out https:// and -consul-ssl"
    return (exc.reason or "handshake failed").lower().replace("_", " ")


def _connect_reason(exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return "the host name cannot be resolved"
    return os.strerror(exc.errno).lower() if exc.errno else str(exc).lower()
