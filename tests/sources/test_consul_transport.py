import asyncio

import pytest
from consul_fakes import CLOSE, HANG, RESET, Agent, answer

from ctemplate.sources.consul.http.address import Address, parse_address
from ctemplate.sources.consul.http.transport import (
    STALL_LIMIT,
    BodyTooLarge,
    Connection,
    ConnectionLost,
    Contact,
    HttpRequest,
    NotConnected,
    NotHttp,
    TimedOut,
)

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Consul-Index: 4\r\n\r\n"
    b"3\r\n[1,\r\n2;ext=1\r\n2]\r\n0\r\nTrailer: x\r\n\r\n"
)


def asking(method="GET", body=b"", read=5.0):
    head = b"%b /v1/x?y=%%20 HTTP/1.1\r\nHost: agent\r\nContent-Length: %d\r\n\r\n" % (method.encode(), len(body))
    return HttpRequest(head=head, body=body, connect_timeout=2.0, read_timeout=read, is_repeatable=method == "GET")


async def get(connection, read=5.0):
    message = await connection.ask(asking(read=read))
    return message.status, message.body


def connection_to(agent, **options):
    return Connection(parse_address(agent.address), **options)


async def test_requests_share_one_connection():
    async with Agent([answer(b"[1]"), answer(b"[2]"), CHUNKED]).listening() as agent:
        connection = connection_to(agent)
        assert [await get(connection) for _ in range(3)] == [(200, b"[1]"), (200, b"[2]"), (200, b"[1,2]")]
        assert agent.connections == 1
        assert connection.is_open
        connection.close()


async def test_a_request_is_sent_as_it_is():
    async with Agent([answer()]).listening() as agent:
        connection = connection_to(agent)
        await get(connection)
        assert agent.heads[0].startswith("GET /v1/x?y=%20 HTTP/1.1\r\nHost: agent\r\n")
        connection.close()


async def test_a_request_that_may_not_be_repeated_is_sent_once():
    async with Agent([answer(), CLOSE, answer()]).listening() as agent:
        connection = connection_to(agent)
        await get(connection)
        with pytest.raises(ConnectionLost):
            await connection.ask(asking("POST", b"[]"))
        assert agent.connections == 1
        assert agent.heads[-1].startswith("POST /v1/x?y=%20 HTTP/1.1\r\n")


@pytest.mark.parametrize(("status", "kept"), [("200 OK", 5_000_000), ("500 Internal Server Error", 1_000_000)])
async def test_only_the_beginning_of_an_errors_body_is_kept(status, kept):
    body = b"no leader" + b"x" * 4_999_991
    async with Agent([answer(body, status=status), answer(b"[2]")]).listening() as agent:
        connection = connection_to(agent)
        _, got = await get(connection)
        assert body.startswith(got)
        assert 64 * 1024 <= len(got) <= kept
        assert await get(connection) == (200, b"[2]")
        connection.close()


@pytest.mark.parametrize("announced", [b"100 Continue", b"102 Processing", b"103 Early Hints\r\nLink: </x>"])
@pytest.mark.parametrize("pause", [0, 0.05])
async def test_a_response_before_the_answer_is_passed_over(announced, pause):
    before = b"HTTP/1.1 %b\r\n\r\n" % announced
    async with Agent([([before, before + answer(b"[1]")], pause, False), answer(b"[2]")]).listening() as agent:
        connection = connection_to(agent)
        assert [await get(connection), await get(connection)] == [(200, b"[1]"), (200, b"[2]")]
        assert agent.connections == 1
        connection.close()


async def test_a_body_may_last_as_long_as_the_connection():
    early = answer(b"too many", status="429 Too Many Requests", length=False, headers=["Connection: close"])
    async with Agent([([early], 0, True)]).listening() as agent:
        assert await get(connection_to(agent)) == (429, b"too many")


async def test_an_answer_before_the_question_is_understood():
    early = answer(b"too many", status="429 Too Many Requests", length=False, headers=["Connection: close"])
    async with Agent(greeting=early).listening() as agent:
        assert await get(connection_to(agent)) == (429, b"too many")


async def test_a_connection_that_the_server_closes_is_opened_again():
    async with Agent([answer(headers=["Connection: close"]), answer(b"[2]")]).listening() as agent:
        connection = connection_to(agent)
        assert [await get(connection), await get(connection)] == [(200, b"[]"), (200, b"[2]")]
        assert agent.connections == 2
        connection.close()


@pytest.mark.parametrize("end", [pytest.param(CLOSE, id="closed"), pytest.param(RESET, id="reset")])
async def test_a_kept_connection_that_was_closed_is_replaced_once_without_a_word(end):
    async with Agent([answer(b"[1]"), end, answer(b"[2]")]).listening() as agent:
        connection = connection_to(agent)
        assert [await get(connection), await get(connection)] == [(200, b"[1]"), (200, b"[2]")]
        assert agent.connections == 2
        connection.close()


PARTIAL = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        pytest.param([b"HTTP/1.1 200 OK\r\nX-"], "the answer stalled: nothing more of it came for 15s", id="head"),
        pytest.param([PARTIAL], "the answer stalled: nothing more of it came for 15s", id="body"),
        pytest.param([], "read timed out after 20.0s", id="not begun"),
    ],
)
async def test_an_answer_that_has_begun_may_not_stall(leap, steps, said):
    contact = Contact()
    async with Agent([(steps, 0, False), HANG]).listening() as agent:
        asked = asyncio.create_task(get(connection_to(agent, contact=contact), read=20.0))
        async with asyncio.timeout(60):
            while (contact.at < 0) if steps else not agent.targets:  # noqa: ASYNC110 - the agent has no event for it
                await asyncio.sleep(0.01)
        leap(STALL_LIMIT + 1)
        await asyncio.sleep(0.05)
        leap(5)
        with pytest.raises(TimedOut) as caught:
            await asked
        assert str(caught.value) == said


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        pytest.param(CLOSE, ConnectionLost, "connection closed without an answer", id="closed"),
        pytest.param(RESET, ConnectionLost, "connection reset without an answer", id="reset"),
        pytest.param(HANG, TimedOut, "read timed out after 0.2s", id="hung"),
        pytest.param(([PARTIAL], 0, True), ConnectionLost, "connection closed in the middle of an answer", id="cut"),
        pytest.param(
            ([b"HTTP/1.1 200 OK\r\n"] + [b"X: y\r\n"] * 999, 0.05, True),
            TimedOut,
            "read timed out after 0.2s",
            id="slow bytes",
        ),
        pytest.param(b"SSH-2.0-x\r\n", NotHttp, "the answer is not HTTP", id="not HTTP"),
        pytest.param(
            answer(b"x" * 2000), BodyTooLarge, "answer is larger than 1000 bytes", id="gigantic body"
        ),
        pytest.param(
            answer(headers=[f"X-{n}: {'y' * 1000}" for n in range(99)]),
            BodyTooLarge,
            "answer has more than 65536 bytes of headers",
            id="gigantic head",
        ),
    ],
)  # fmt: skip
async def test_a_bad_answer_is_an_error_that_says_why(step, error, message):
    async with Agent([step]).listening() as agent:
        connection = connection_to(agent, limit_bytes=1000)
        with pytest.raises(error) as caught:
            await get(connection, read=0.2)
        assert (str(caught.value), agent.connections) == (message, 1)
        assert not connection.is_open


async def test_after_an_error_the_next_request_starts_afresh():
    async with Agent([CLOSE, answer(b"[2]")]).listening() as agent:
        connection = connection_to(agent)
        with pytest.raises(ConnectionLost):
            await get(connection)
        assert await get(connection) == (200, b"[2]")
        connection.close()


async def test_a_second_answer_to_one_question_is_not_taken_for_the_next():
    async with Agent([answer(b"[1]") + answer(b"[evil]"), answer(b"[2]")]).listening() as agent:
        connection = connection_to(agent)
        assert [await get(connection), await get(connection)] == [(200, b"[1]"), (200, b"[2]")]
        connection.close()


async def test_a_cancelled_request_closes_its_connection():
    async with Agent([HANG, answer(b"[2]")]).listening() as agent:
        connection = connection_to(agent)
        task = asyncio.create_task(get(connection, read=60))
        while not agent.targets:  # noqa: ASYNC110 - what happens on a socket sets no event of ours
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not connection.is_open
        assert await get(connection) == (200, b"[2]")
        connection.close()


async def test_two_requests_at_once_are_a_mistake():
    async with Agent([HANG]).listening() as agent:
        connection = connection_to(agent)
        task = asyncio.create_task(get(connection, read=60))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one request at a time"):
            await get(connection)
        task.cancel()
        await asyncio.wait([task])


async def test_a_missing_listener_is_reported(unused_tcp_port):
    with pytest.raises(NotConnected) as caught:
        await get(Connection(parse_address(f"127.0.0.1:{unused_tcp_port}")))
    assert str(caught.value) == "connection refused"


async def test_a_unix_socket_is_an_address(tmp_path):
    path = str(tmp_path / "agent.sock")
    async with Agent([answer(b"[1]")]).listening(path=path):
        connection = Connection(Address(scheme="http", socket=path))
        assert await get(connection) == (200, b"[1]")
        connection.close()


async def test_a_missing_unix_socket_is_said(tmp_path):
    with pytest.raises(NotConnected) as caught:
        await get(Connection(Address(scheme="http", socket=str(tmp_path / "none"))))
    assert str(caught.value) == "no such file or directory"
