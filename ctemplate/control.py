"""The operator's line to a running ctemplate: a socket in the state folder that only its owner can reach.

One request and one reply, each a line of JSON. Knows nothing of what the guard makes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ctemplate.catalog import Catalog
from ctemplate.errors import printable
from ctemplate.guard import Hold

logger = logging.getLogger(__name__)

CONTROL = "control"  # the folder of the sockets, in the state folder
PRIVATE_FOLDER = 0o700
PATIENCE = 5.0  # seconds for a request or a reply
LIMIT_BYTES = 16 * 1024 * 1024


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Release the holds on one service, or all of them."""

    release: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What was released, in words: ``service(web): 3``."""

    released: tuple[str, ...] = ()


async def serve(folder: Path, catalog: Catalog) -> None:
    """Carry out requests until cancelled; where the socket cannot be made, say so and return."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError), contextlib.closing(writer):
            async with asyncio.timeout(PATIENCE):
                request = msgspec.json.decode(await reader.readline(), type=Request)
                released = catalog.release(request.release)
                logger.info("released by request: %s", _words(request.release, released))
                reply = Reply(released=tuple(f"{hold.query}: {len(hold.entries)}" for hold in released))
                writer.write(msgspec.json.encode(reply) + b"\n")
                await writer.drain()

    name = f"{os.getpid()}.sock"
    try:
        _make_private(folder)
        with _short_path(folder, name) as path:
            server = await asyncio.start_unix_server(answer, path)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        logger.warning("%s: no socket can be made: %s; 'ctemplate release' will not work", folder, reason)
        return
    try:
        async with server:
            await server.serve_forever()
    finally:
        (folder / name).unlink(missing_ok=True)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)


def ask(folder: Path, request: Request) -> list[Reply]:
    """Send a request to every ctemplate that has its socket in the folder; return the replies of those that run."""
    replies = []
    for path in sorted(folder.glob("*.sock")):
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            replies.append(_asked(path, request))
            continue
        path.unlink(missing_ok=True)  # left behind by one that was killed
    return replies


def _asked(path: Path, request: Request) -> Reply:
    with socket.socket(socket.AF_UNIX) as line, _short_path(path.parent, path.name) as short:
        line.settimeout(PATIENCE)
        line.connect(short)
        line.sendall(msgspec.json.encode(request) + b"\n")
        with line.makefile("rb") as stream:
            return msgspec.json.decode(stream.readline(LIMIT_BYTES), type=Reply)


@contextlib.contextmanager
def _short_path(folder: Path, name: str) -> Iterator[str]:
    """Yield a path to the socket that is short enough, however long the folder's own is: 107 bytes are the limit."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def _words(service: str | None, released: tuple[Hold, ...]) -> str:
    subject = "everything" if service is None else f"service {printable(repr(service), 80)}"
    return f"{subject}, {len(released)} hold{'' if len(released) == 1 else 's'}"
