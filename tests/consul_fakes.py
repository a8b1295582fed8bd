"""A Consul whose answers the test determines: byte for byte over a real socket, or call by call without one."""

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field

from ctemplate.sources.consul.endpoints.paths import Consistency, Meta, RequestFailed
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.http.address import Address
from ctemplate.sources.consul.http.client import ConsulReply

HANG = object()  # never answer
CLOSE = object()  # close without an answer
RESET = object()  # reset without an answer


def answer(body=b"[]", *, status="200 OK", index=1, headers=(), length=True):
    """Return an HTTP response as Consul sends it."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    if index is not None:
        lines.append(f"X-Consul-Index: {index}")
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def entry(node="n1", id_="web-1", **service):
    """Return a health entry in Consul's spelling."""
    fields = {"ID": id_, "Service": "web", "Address": "10.0.0.1", "Port": 80} | service
    return {"Node": {"Node": node, "Address": "10.9.9.9"}, "Service": fields, "Checks": []}


def entries(*rows):
    return json.dumps(rows).encode()


@dataclass
class Agent:
    """Listens on loopback; each request takes the next step: bytes to send, (bytes, pause) in turn, or a word above.

    When the script is over it hangs, as a long poll without news does.
    """

    script: list = field(default_factory=list)
    targets: list = field(default_factory=list)
    heads: list = field(default_factory=list)
    connections: int = 0
    greeting: bytes = b""

    @contextlib.asynccontextmanager
    async def listening(self, **options):
        serve = asyncio.start_unix_server if "path" in options else asyncio.start_server
        place = options if "path" in options else {"host": "127.0.0.1", "port": 0} | options
        self._tasks = set()
        server = await serve(self._serve, **place)
        try:
            if "path" not in options:
                self.port = server.sockets[0].getsockname()[1]
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(self, reader, writer):
        if self.greeting:
            writer.write(self.greeting)
            await writer.drain()
            return
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            self.targets.append(head.split(" ")[1])
            step = self.script.pop(0) if self.script else HANG
            if step is HANG:
                await reader.read()
                return
            if step is CLOSE:
                return
            if step is RESET:
                linger_not = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
                writer.transport.abort()
                return
            pieces, pause, ends = step if isinstance(step, tuple) else ([step], 0, False)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if ends:
                return


@dataclass
class ScriptedConnection:
    address: Address
    is_closed: bool = False

    def close(self):
        self.is_closed = True


class ScriptedClient:
    """A client without sockets: each read takes the next step, a reply or a failure, after its delay in seconds.

    When the script is over it waits for ever.
    """

    def __init__(self, *script, settings=None, addresses=("a",)):
        self.settings = settings or ConsulSettings(addresses=addresses)
        self.script = list(script)
        self.asked = []
        self.asked_at = []
        self.connections = []
        self._addresses = [Address(scheme="http", host=host) for host in addresses]

    @property
    def address(self):
        return self._addresses[0]

    def switch(self, failed):
        if failed == self.address:
            self._addresses.append(self._addresses.pop(0))
        return failed != self.address

    def served(self, address, resource):
        pass

    def failed(self, address, resource):
        pass

    async def failed_over(self):
        await asyncio.Event().wait()

    def connect(self):
        self.connections.append(ScriptedConnection(self.address))
        return self.connections[-1]

    async def read(self, connection, _resource, *, index=0, consistency=Consistency.DEFAULT):
        self.asked.append((connection.address.host, index, consistency))
        self.asked_at.append(asyncio.get_running_loop().time())
        if not self.script:
            await asyncio.Event().wait()
        step = self.script.pop(0)
        if isinstance(step, RequestFailed):
            raise step
        return step


def reply(body=b"[]", index=1, **meta):
    return ConsulReply(meta=Meta(index=index, is_json=True, **meta), body=body, digest=body)
