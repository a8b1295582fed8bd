"""A small HTTP server: a few fixed paths, one request per connection, limits for everything; streams count separately.

A slow, greedy or hostile client is dropped: if all 32 places are in use, the oldest incomplete request is dropped for
a new one. Knows no path's meaning. A web page of another site cannot make requests through a browser: the ``Host``
header is compared with the address, and a request that another site caused is only answered if its method is GET.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import stat
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httptools

from ctemplate.core.defects import Defects
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import StatusServed, StatusUnavailable
from ctemplate.core.timing import Backoff
from ctemplate.core.values import dataclass
from ctemplate.status.address import StatusAddress

REQUEST_LIMIT = 8 * 1024
REQUEST_TIMEOUT = 5.0  # seconds for the whole head of a request
REPLY_TIMEOUT = 30.0  # seconds to make a reply and to send it
CONNECTIONS = 32  # at a time; one more drops the oldest without a complete request
STREAMS = 16  # at a time, in addition to CONNECTIONS
BIND_RETRY = Backoff(first=2.0, ceiling=60.0)
SOCKET_MODE = 0o600
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The reply of a path."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT_TYPE
    stream: AsyncIterator[bytes] | None = None
    policy: str = "default-src 'none'"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRequest:
    """A request: ``query`` are the parameters after the path, ``headers`` have lower-case names."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


StatusRoutes = Mapping[str, Callable[[StatusRequest], Awaitable[Reply]]]
"""The functions that answer: by path for GET and HEAD, by ``POST PATH`` for POST."""


@dataclass(slots=True)
class _Head:
    """The head of a request during parsing."""

    url: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    is_complete: bool = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.is_complete = True


async def serve_status(address: StatusAddress, routes: StatusRoutes, hosts: tuple[str, ...] = ()) -> None:
    """Answer requests at an address until cancelled; if the address cannot be opened, report that and try again.

    ``hosts`` are names by which other machines reach the address, for instance through a proxy.
    """
    failures = 0
    while True:
        try:
            async with _listening(address, _Server(routes, HostCheck(address=address, hosts=hosts))):
                emit(StatusServed(address=str(address)))
                await asyncio.Event().wait()
        except OSError as exc:
            failures += 1
            reason = (exc.strerror or str(exc)).lower()
            emit(StatusUnavailable(address=str(address), reason=reason, is_repeated=failures > 1))
        await asyncio.sleep(BIND_RETRY.delay(failures))


@contextlib.asynccontextmanager
async def _listening(address: StatusAddress, server: _Server) -> AsyncIterator[None]:
    """Listen at an address; raises OSError. Replaces a socket file that a dead process left."""
    if not address.socket:
        listener = await asyncio.start_server(server.serve, address.host, address.port, limit=REQUEST_LIMIT)
        async with _closed(listener, server):
            yield
        return
    path = Path(address.socket)
    await asyncio.to_thread(_remove_dead, path)
    listener = await asyncio.start_unix_server(server.serve, path, limit=REQUEST_LIMIT, start_serving=False)
    try:
        os.chmod(path, SOCKET_MODE)  # noqa: PTH101 - nothing of a disk, which a Path would be taken for
        await listener.start_serving()
        async with _closed(listener, server):
            yield
    finally:
        _remove(path)


@contextlib.asynccontextmanager
async def _closed(listener: asyncio.Server, server: _Server) -> AsyncIterator[None]:
    try:
        yield
    finally:
        listener.close()
        server.abort()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _remove_dead(path: Path) -> None:
    """Remove a socket file without a listener; raises OSError if it is in use or if the path is something else."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(None, "something else than a socket is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(1.0)
        try:
            line.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise FileExistsError(None, "another process listens there")


class _Server:
    """Serves connections, a bounded number at a time."""

    def __init__(self, routes: StatusRoutes, hosts: HostCheck) -> None:
        self._routes = routes
        self._hosts = hosts
        self._writers: dict[asyncio.StreamWriter, bool] = {}  # in order of arrival; whether the request is complete
        self._streams: set[asyncio.StreamWriter] = set()
        self._defects = Defects()

    def abort(self) -> None:
        """Drop every connection."""
        for writer in (*self._writers, *self._streams):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: a request, a reply, the end."""
        if len(self._writers) >= CONNECTIONS:
            self._drop_one()
        self._writers[writer] = False
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                request = await _request(reader)
            self._writers[writer] = True
            async with asyncio.timeout(REPLY_TIMEOUT):
                reply = await self._reply(request)
                writer.write(_response(reply, has_body=request.method != "HEAD"))
                await writer.drain()
            if reply.stream is not None and request.method != "HEAD":
                await self._follow(reply.stream, writer)
            async with asyncio.timeout(REPLY_TIMEOUT):
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError):
            writer.transport.abort()  # the peer disconnected, or the request is too slow, too large, or not HTTP
        finally:
            self._writers.pop(writer, None)
            self._streams.discard(writer)

    def _drop_one(self) -> None:
        """Drop the client that has waited longest without a complete request; else the one longest in its reply."""
        idle = next((writer for writer, has_request in self._writers.items() if not has_request), None)
        oldest = next(iter(self._writers)) if idle is None else idle
        del self._writers[oldest]
        oldest.transport.abort()

    async def _follow(self, stream: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> None:
        """Send a stream's data, counted in STREAMS, until the stream ends or the client stops reading."""
        self._writers.pop(writer, None)
        self._streams.add(writer)
        async for chunk in stream:
            writer.write(chunk)
            async with asyncio.timeout(REPLY_TIMEOUT):
                await writer.drain()
            if writer.transport.is_closing():
                return

    async def _reply(self, request: StatusRequest) -> Reply:
        if (refusal := self._hosts.refusal(request)) is not None:
            return refusal
        is_read = request.method in {"GET", "HEAD"}
        route = self._routes.get(request.path if is_read else f"{request.method} {request.path}")
        if route is None and not is_read:
            return Reply(status=HTTPStatus.METHOD_NOT_ALLOWED, body=b"only GET is answered here\n")
        if route is None:
            paths = " ".join(sorted(path for path in self._routes if path.startswith("/")))
            return Reply(status=HTTPStatus.NOT_FOUND, body=f"there are {paths}\n".encode())
        try:
            reply = await route(request)
        except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this request its reply
            self._defects.report(f"status: {printable(request.path)}", exc)
            return Reply(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=b"a defect; see the log\n")
        if reply.stream is not None and len(self._streams) >= STREAMS:
            return Reply(status=HTTPStatus.SERVICE_UNAVAILABLE, body=b"too many streams are open; ask again later\n")
        return reply


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCheck:
    """Recognises requests that another site's page made a browser send, by its own DNS name or cross-site."""

    address: StatusAddress
    hosts: tuple[str, ...] = ()

    def refusal(self, request: StatusRequest) -> Reply | None:
        """Return why a request is refused, None if it is answered."""
        host = request.headers.get("host")
        if host is not None and not self._is_known(host):
            text = f"the Host header names {printable(host, 100)!r}, which is not this address; see status.hosts\n"
            return Reply(status=HTTPStatus.MISDIRECTED_REQUEST, body=text.encode())
        if request.method in {"GET", "HEAD"}:
            return None
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
        is_own = origin is None or urllib.parse.urlsplit(origin).netloc == host
        if is_own and site in {"same-origin", "none"}:
            return None
        return Reply(status=HTTPStatus.FORBIDDEN, body=b"a page of another site made this request\n")

    def _is_known(self, host: str) -> bool:
        """Return whether a host name may mean this address: any, if it is not loopback and no names are configured."""
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        bare = name.removeprefix("[").removesuffix("]").rstrip(".").casefold()
        if bare in {known.casefold() for known in self.hosts} or self.address.socket:
            return True
        if bare == "localhost" or _is_loopback(bare) or bare == self.address.host.casefold():
            return True
        return not self.hosts and not _is_loopback(self.address.host) and self.address.host != "localhost"


def _is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _request(reader: asyncio.StreamReader) -> StatusRequest:
    """Read a request. Raises ValueError for anything that is not HTTP."""
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    text = await reader.readuntil(b"\r\n\r\n")
    try:
        parser.feed_data(text)
        url: Any = httptools.parse_url(head.url)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
        raise ValueError("not HTTP") from exc
    if not head.is_complete:
        raise ValueError("not HTTP")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers.items()}
    return StatusRequest(
        method=parser.get_method().decode("ascii", "replace"),
        path=(url.path or b"/").decode("ascii", "replace"),
        query=dict(urllib.parse.parse_qsl((url.query or b"").decode("ascii", "replace"), max_num_fields=20)),
        headers=headers,
        body=await _body(reader, headers.get("content-length", "0")),
    )


async def _body(reader: asyncio.StreamReader, length: str) -> bytes:
    if not (length.isascii() and length.isdecimal() and int(length) <= REQUEST_LIMIT):
        raise ValueError("too long a body")
    return await reader.readexactly(int(length))


def _response(reply: Reply, *, has_body: bool) -> bytes:
    lines = (
        f"HTTP/1.1 {reply.status.value} {reply.status.phrase}",
        f"Content-Type: {reply.content_type}",
        *((f"Content-Length: {len(reply.body)}",) if reply.stream is None else ()),
        "Connection: close",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
        "Cross-Origin-Opener-Policy: same-origin",
        f"Content-Security-Policy: {reply.policy}",
        *(("Allow: GET, HEAD",) if reply.status is HTTPStatus.METHOD_NOT_ALLOWED else ()),
    )
    head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
    return head + reply.body if has_body else head
