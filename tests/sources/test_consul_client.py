import asyncio
import json

import pytest
from consul_fakes import Agent, answer
from werkzeug import Response

from ctemplate.core.errors import ConfigError
from ctemplate.sources.consul.endpoints.paths import Consistency, FailureKind, Meta, RequestFailed, Resource
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.http.client import Client

X = Resource(path="/v1/x")


def client_of(address, **settings):
    return Client(ConsulSettings(addresses=(address,), **settings))


async def read(client, resource=X, **options):
    connection = client.connect()
    try:
        return await client.read(connection, resource, **options)
    finally:
        connection.close()


async def test_a_read_returns_headers_and_bytes(httpserver):
    httpserver.expect_request("/sub/v1/x", query_string="stale&index=7&wait=1000ms").respond_with_json(
        {"a": 1}, headers={"X-Consul-Index": "9", "X-Consul-LastContact": "20"}
    )
    client = client_of(httpserver.url_for("/sub/"), token="t", auth="u:p")
    reply = await read(client, index=7, wait=1.0, consistency=Consistency.STALE)
    assert (reply.meta, json.loads(reply.body)) == (Meta(index=9, last_contact=0.02, is_json=True), {"a": 1})
    (request, _) = httpserver.log[0]
    assert request.headers["X-Consul-Token"] == "t"
    assert (
        request.authorization == ("basic", {"username": "u", "password": "p"}) or request.authorization.username == "u"
    )
    assert "token" not in request.url
    assert "Accept-Encoding" not in request.headers


@pytest.mark.parametrize(
    ("response", "kind", "what"),
    [
        pytest.param(Response("No cluster leader", 500), FailureKind.UNAVAILABLE, "status 500: No cluster leader"),
        pytest.param(Response("", 429), FailureKind.OVERLOADED, "status 429 (limits.rpc_rate of the agent)", id="429"),
        pytest.param(Response("ACL not found", 403), FailureKind.DENIED, "status 403: ACL not found", id="403"),
        pytest.param(
            Response("", 301, {"Location": "/ui/"}),
            FailureKind.REFUSED,
            "redirected to /ui/, which is not followed; give the address that answers itself",
            id="redirect",
        ),
        pytest.param(
            Response("<html>", 200, content_type="text/html"),
            FailureKind.REFUSED,
            "the answer is not JSON; is this Consul's HTTP address?",
            id="a web page",
        ),
        pytest.param(
            Response("[" + " " * 2000 + "]", 200, content_type="application/json"),
            FailureKind.GARBLED,
            "answer is larger than 1000 bytes",
            id="gigantic",
        ),
    ],
)  # fmt: skip
async def test_a_failure_says_where_and_what(httpserver, response, kind, what):
    httpserver.expect_request("/v1/x").respond_with_response(response)
    client = client_of(httpserver.url_for("/"), max_body_bytes=1000, token="s3cret")
    with pytest.raises(RequestFailed) as caught:
        await read(client)
    assert (caught.value.kind, str(caught.value)) == (kind, f"{httpserver.url_for('/v1/x')}: {what}")


async def test_a_hung_agent_is_given_up_after_the_limit():
    async with Agent().listening() as agent:
        with pytest.raises(RequestFailed) as caught:
            await read(client_of(agent.address, read_timeout=0.2))
        assert str(caught.value) == f"http://{agent.address}/v1/x: read timed out after 0.2s"
        assert caught.value.kind is FailureKind.UNREACHABLE


async def test_a_body_that_only_its_connection_ends_is_no_answer():
    whole = answer(b"[]", length=False, headers=["Connection: close"])
    async with Agent([([whole], 0, True)]).listening() as agent:
        with pytest.raises(RequestFailed) as failed:
            await read(client_of(agent.address))
    assert failed.value.kind is FailureKind.GARBLED
    assert failed.value.what == "the answer has neither a length nor chunks, so that a cut one would look whole"


async def test_a_rotated_token_is_used_at_once_on_the_same_connection(tmp_path):
    file = tmp_path / "token"
    file.write_text("one")
    async with Agent([answer(), answer()]).listening() as agent:
        client = client_of(agent.address, token_file=str(file))
        connection = client.connect()
        await client.read(connection, X)
        file.write_text("second")
        await client.read(connection, X)
        connection.close()
        tokens = [line for head in agent.heads for line in head.split("\r\n") if line.startswith("X-Consul-Token")]
        assert tokens == ["X-Consul-Token: one", "X-Consul-Token: second"]
        assert agent.connections == 1


def test_addresses_are_tried_in_order_and_kept():
    client = Client(ConsulSettings(addresses=("a:1", "b:1", "c:1")))
    first = client.address
    assert client.switch(first)
    assert client.address.host == "b"
    assert client.switch(first)  # somebody else noticed the same failure
    assert client.address.host == "b"
    assert [client.switch(client.address) and client.address.host for _ in range(3)] == ["c", "a", "b"]


def test_a_single_address_is_kept():
    client = client_of("a:1")
    assert not client.switch(client.address)


def test_no_address_is_an_error():
    with pytest.raises(ConfigError) as caught:
        Client(ConsulSettings(addresses=()))
    assert str(caught.value) == "consul address: none is given"


async def test_an_address_at_which_everything_fails_is_left(httpserver):
    httpserver.expect_request("/b/v1/x").respond_with_json([])
    httpserver.expect_request("/a/v1/x").respond_with_data("no", status=403)
    client = Client(ConsulSettings(addresses=(httpserver.url_for("/a"), httpserver.url_for("/b"))))
    waiting = asyncio.create_task(client.failed_over())
    for _ in range(3):
        with pytest.raises(RequestFailed):
            await read(client)
    await asyncio.wait_for(waiting, 1)
    assert (await read(client)).body == b"[]"


async def test_what_another_datacenter_fails_to_answer_says_nothing_of_the_address(httpserver):
    httpserver.expect_request("/a/v1/x").respond_with_data("No path to datacenter", status=500)
    client = Client(ConsulSettings(addresses=(httpserver.url_for("/a"), "b:1")))
    first = client.address
    for _ in range(5):
        with pytest.raises(RequestFailed):
            await read(client, Resource(path="/v1/x", params="dc=west"))
    assert client.address == first
