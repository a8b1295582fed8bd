"""The HTTP server: its answers, and that slow, greedy and hostile clients do not disturb others."""

import asyncio
import contextlib
import socket
from http import HTTPStatus

import pytest
from harness.ports import free_port

from ctemplate.status import http_server
from ctemplate.status.address import StatusAddress
from ctemplate.status.http_server import CONNECTIONS, REQUEST_LIMIT, STREAMS, Reply, serve_status

BIG = b"x" * 5_000_000


async def hello(_):
    return Reply(body=b"hello\n")


async def defect(_):
    raise KeyError("defect")


async def big(_):
    return Reply(body=BIG)


ROUTES = {"/hello": hello, "/defect": defect, "/big": big}


@contextlib.asynccontextmanager
async def serving(address):
    task = asyncio.create_task(serve_status(address, ROUTES))
    try:
        async with asyncio.timeout(60):
            await until_served(address)
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def connect(address):
    if address.socket:
        return await asyncio.open_unix_connection(address.socket)
    return await asyncio.open_connection(address.host, address.port)


async def is_served(address):
    try:
        return (await asked(address, b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")).endswith(b"hello\n")
    except OSError:
        return False


async def until_served(address):
    while not await is_served(address):  # noqa: ASYNC110 - a socket sets no event of ours
        await asyncio.sleep(0.02)


async def asked(address, request, *, has_end=True):
    """Send bytes and read until the server closes; empty when it closed without an answer."""
    reader, writer = await connect(address)
    try:
        writer.write(request)
        if has_end:
            await writer.drain()
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.fixture
def address():
    return StatusAddress(host="127.0.0.1", port=free_port())


async def test_get_and_head_of_known_paths_are_answered(address):
    async with serving(address):
        got = await asked(address, b"GET /hello?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, _, body = got.partition(b"\r\n\r\n")
        assert (head.splitlines()[0], body) == (b"HTTP/1.1 200 OK", b"hello\n")
        assert b"Content-Length: 6\r\nConnection: close\r\n" in got
        only_head = await asked(address, b"HEAD /hello HTTP/1.0\r\n\r\n")
        assert only_head == head + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /nowhere HTTP/1.1", HTTPStatus.NOT_FOUND),
        ("GET /../hello HTTP/1.1", HTTPStatus.NOT_FOUND),
        ("POST /hello HTTP/1.1", HTTPStatus.METHOD_NOT_ALLOWED),
        ("DELETE /hello HTTP/1.1", HTTPStatus.METHOD_NOT_ALLOWED),
        ("GET /defect HTTP/1.1", HTTPStatus.INTERNAL_SERVER_ERROR),
    ],
)
async def test_everything_else_is_refused(address, request_line, status):
    async with serving(address):
        got = await asked(address, f"{request_line}\r\nHost: localhost\r\n\r\n".encode())
        assert got.startswith(f"HTTP/1.1 {status.value} ".encode())


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", id="TLS"),
        pytest.param(b"GET  HTTP/1.1\r\n\r\n", id="no path"),
        pytest.param(b"GET /hello HTTP/9.9\r\nHost: localhost\r\n\r\n", id="unknown version"),
        pytest.param(b"GET /" + b"a" * 2 * REQUEST_LIMIT + b" HTTP/1.1\r\n\r\n", id="long path"),
        pytest.param(b"GET /hello HTTP/1.1\r\nA: " + b"a" * 2 * REQUEST_LIMIT + b"\r\n\r\n", id="long header"),
        pytest.param(b"GET /hello HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", id="upgrade"),
        pytest.param(b"GET http://[x/ HTTP/1.1\r\n\r\n", id="bad URL"),
    ],
)
async def test_nonsense_gets_no_answer_and_disturbs_no_other_client(address, sent):
    async with serving(address):
        assert b"200 OK" not in await asked(address, sent, has_end=False)
        assert await is_served(address)


async def test_silent_clients_are_dropped_and_others_are_served(address, monkeypatch):
    monkeypatch.setattr(http_server, "REQUEST_TIMEOUT", 0.2)
    async with serving(address):
        silent = [await connect(address) for _ in range(CONNECTIONS // 2)]
        silent[0][1].write(b"GET /hel")
        assert await is_served(address)
        async with asyncio.timeout(60):
            for reader, writer in silent:
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()


async def test_slow_clients_that_hold_all_places_make_room_for_a_new_request(address):
    async with serving(address):
        slow = [await connect(address) for _ in range(CONNECTIONS)]
        for _, writer in slow:
            writer.write(b"GET /hel")
        assert all([await is_served(address) for _ in range(CONNECTIONS + 4)])
        async with asyncio.timeout(60):
            reader, _ = slow[0]
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        for _, writer in slow:
            writer.close()


async def test_a_client_that_does_not_take_its_reply_is_dropped(address, monkeypatch):
    monkeypatch.setattr(http_server, "REPLY_TIMEOUT", 0.3)
    async with serving(address):
        with socket.socket() as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(greedy, (address.host, address.port))
            await loop.sock_sendall(greedy, b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await is_served(address)
            received = 0
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(60):
                    await asyncio.sleep(1.0)  # longer than the limit; what the kernel holds is there to be read
                    while chunk := await loop.sock_recv(greedy, 65536):
                        received += len(chunk)
            assert received < len(BIG)


async def test_a_socket_is_private_and_taken_over_from_a_dead_process(tmp_path):
    path = tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    address = StatusAddress(socket=str(path))
    async with serving(address):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_an_address_in_use_is_said_once_and_tried_again(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(http_server, "BIND_RETRY", http_server.Backoff(first=0.05, ceiling=0.05))
    path = tmp_path / "status.sock"
    path.write_text("precious")
    address = StatusAddress(socket=str(path))
    task = asyncio.create_task(serve_status(address, ROUTES))
    async with asyncio.timeout(60):
        while not caplog.messages:  # noqa: ASYNC110 - the log sets no event
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert path.read_text() == "precious"
        path.unlink()
        await until_served(address)
    task.cancel()
    await asyncio.wait([task])
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    what = "something else than a socket is there; ctemplate retries, everything else continues"
    assert errors == [f"status: cannot be served at unix:{path}: {what}"]


async def quiet(_):
    async def nothing():
        yield b"first\n"
        await asyncio.Event().wait()

    return Reply(body=b"", content_type="text/event-stream", stream=nothing())


async def test_streams_have_places_of_their_own(address, monkeypatch):
    monkeypatch.setitem(ROUTES, "/stream", quiet)
    request = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving(address), asyncio.timeout(60):
        open_ones = [await connect(address) for _ in range(STREAMS)]
        for reader, writer in open_ones:
            writer.write(request)
            assert b"Content-Length" not in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readline() == b"first\n"
        assert (await asked(address, request)).startswith(b"HTTP/1.1 503 ")
        assert all([await is_served(address) for _ in range(CONNECTIONS)])
        for _, writer in open_ones:
            writer.close()


async def test_a_client_that_leaves_a_stream_gives_its_place_back(address, monkeypatch):
    async def ticking(_):
        async def ticks():
            while True:
                yield b": tick\n\n"
                await asyncio.sleep(0.01)

        return Reply(body=b"", stream=ticks())

    monkeypatch.setitem(ROUTES, "/stream", ticking)
    request = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving(address), asyncio.timeout(60):
        for _ in range(2 * STREAMS):
            while True:
                reader, writer = await connect(address)
                writer.write(request)
                status = await reader.readline()
                writer.transport.abort()
                if b" 200 " in status:
                    break
                await asyncio.sleep(0.02)


async def test_a_body_is_read_and_bounded(address, monkeypatch):
    async def echo(request):
        return Reply(body=request.body + repr(request.query).encode())

    monkeypatch.setitem(ROUTES, "POST /echo", echo)
    head = "POST /echo?q=a%20b HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n"
    async with serving(address):
        assert (await asked(address, f"{head.format(5)}hello".encode())).endswith(b"hello{'q': 'a b'}")
        assert await asked(address, head.format(REQUEST_LIMIT + 1).encode(), has_end=False) == b""
        assert (await asked(address, b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert (await asked(address, b"GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n")).startswith(b"HTTP/1.1 421 ")
