"""A small HTTP server for reading: GET and HEAD of a few fixed paths, one request a connection, all with limits.

A client that is slow, greedy or hostile is dropped; while 32 of them hold their places, others wait for seconds.
Knows no path's meaning.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httptools

from ctemplate.core.defects import Defects
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import emit
from ctemplate.core.events import StatusServed, StatusUnavailable
from ctemplate.core.timing import Backoff
from ctemplate.core.values import dataclass
from ctemplate.status.address import StatusAddress

REQUEST_LIMIT = 8 * 1024
REQUEST_TIMEOUT = 5.0  # seconds for the whole head of a request
REPLY_TIMEOUT = 30.0  # seconds to make a reply and to have it taken
CONNECTIONS = 32  # at a time; more are closed at once
BIND_RETRY = Backoff(first=2.0, ceiling=60.0)
SOCKET_MODE = 0o600
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a path gives now."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT_TYPE


StatusRoutes = Mapping[str, Callable[[], Awaitable[Reply]]]


@dataclass(slots=True)
class _Head:
    """The head of a request as it is parsed."""

    url: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    is_complete: bool = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.is_complete = True


async def serve_status(address: StatusAddress, routes: StatusRoutes) -> None:
    """Answer requests at an address until cancelled; where it cannot be had, say so and try again."""
    failures = 0
    while True:
        try:
            async with _listening(address, _Server(routes)):
                emit(StatusServed(address=str(address)))
                await asyncio.Event().wait()
        except OSError as exc:
            failures += 1
            reason = (exc.strerror or str(exc)).lower()
            emit(StatusUnavailable(address=str(address), reason=reason, is_repeated=failures > 1))
        await asyncio.sleep(BIND_RETRY.delay(failures))


@contextlib.asynccontextmanager
async def _listening(address: StatusAddress, server: _Server) -> AsyncIterator[None]:
    """Listen at an address; raises OSError. A socket's path that a dead process left is taken over."""
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
    """Remove a socket at which nobody listens; raises OSError for one that is in use, and for anything else there."""
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

    def __init__(self, routes: StatusRoutes) -> None:
        self._routes = routes
        self._writers: set[asyncio.StreamWriter] = set()
        self._defects = Defects()

    def abort(self) -> None:
        """Drop every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: a request, a reply, the end."""
        if len(self._writers) >= CONNECTIONS:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                method, path = await _request(reader)
            async with asyncio.timeout(REPLY_TIMEOUT):
                writer.write(_response(await self._reply(method, path), has_body=method != "HEAD"))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError):
            writer.transport.abort()  # gone, too slow, too large, or not HTTP
        finally:
            self._writers.discard(writer)

    async def _reply(self, method: str, path: str) -> Reply:
        if method not in {"GET", "HEAD"}:
            return Reply(status=HTTPStatus.METHOD_NOT_ALLOWED, body=b"only GET is answered here\n")
        route = self._routes.get(path)
        if route is None:
            paths = " ".join(sorted(self._routes))
            return Reply(status=HTTPStatus.NOT_FOUND, body=f"there are {paths}\n".encode())
        try:
            return await route()
        except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this request its reply
            self._defects.report(f"status: {printable(path)}", exc)
            return Reply(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=b"a defect; see the log\n")


async def _request(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Read the head of a request; return its method and path. Raises ValueError for what is no HTTP."""
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
    return parser.get_method().decode("ascii", "replace"), (url.path or b"/").decode("ascii", "replace")


def _response(reply: Reply, *, has_body: bool) -> bytes:
    lines = (
        f"HTTP/1.1 {reply.status.value} {reply.status.phrase}",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body)}",
        "Connection: close",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Content-Security-Policy: default-src 'none'",
        *(("Allow: GET, HEAD",) if reply.status is HTTPStatus.METHOD_NOT_ALLOWED else ()),
    )
    head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
    return head + reply.body if has_body else head
