"""A release over HTTP needs the token, and is refused from another site or under another name of the address."""

import asyncio
from http import HTTPStatus

import pytest

from ctemplate.catalog import Catalog
from ctemplate.config.schema import StatusSection
from ctemplate.core.event_stream import EventStream
from ctemplate.runtime import status_service
from ctemplate.runtime.status_service import ATTEMPTS, ReleaseGate, page_routes
from ctemplate.runtime.status_view import StatusView
from ctemplate.status.address import StatusAddress
from ctemplate.status.http_server import HostCheck, StatusRequest

TOKEN = "0123456789abcdef"
LOOPBACK = StatusAddress(host="127.0.0.1", port=9117)


def request(method="GET", **headers):
    return StatusRequest(
        method=method, path="/", headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


@pytest.mark.parametrize(
    ("host", "address", "hosts", "is_answered"),
    [
        pytest.param("127.0.0.1:9117", LOOPBACK, (), True, id="itself"),
        pytest.param("localhost:9117", LOOPBACK, (), True, id="localhost"),
        pytest.param("LOCALHOST.", LOOPBACK, (), True, id="localhost, written otherwise"),
        pytest.param("[::1]:9117", LOOPBACK, (), True, id="loopback of IPv6"),
        pytest.param("127.0.0.1:80", LOOPBACK, (), True, id="another port, as through a tunnel"),
        pytest.param("evil.example:9117", LOOPBACK, (), False, id="a name that was bound to loopback"),
        pytest.param("localhost.evil.example", LOOPBACK, (), False, id="a name that begins like ours"),
        pytest.param("127.0.0.1.evil.example", LOOPBACK, (), False, id="a name that begins like the address"),
        pytest.param("", LOOPBACK, (), False, id="empty"),
        pytest.param("evil.example", StatusAddress(host="::1", port=1), (), False, id="loopback of IPv6, another name"),
        pytest.param("evil.example", StatusAddress(host="localhost", port=1), (), False, id="listens on localhost"),
        pytest.param("status.example", LOOPBACK, ("status.example",), True, id="a proxy's name"),
        pytest.param("other.example", LOOPBACK, ("status.example",), False, id="not the proxy's name"),
        pytest.param("node1:9117", StatusAddress(host="0.0.0.0", port=9117), (), True, id="all addresses"),
        pytest.param("node1", StatusAddress(host="0.0.0.0", port=1), ("node2",), False, id="all, with names"),
        pytest.param("10.0.0.1:9117", StatusAddress(host="10.0.0.1", port=1), ("node2",), True, id="own, with names"),
        pytest.param("whatever", StatusAddress(socket="/run/c.sock"), (), True, id="a socket, which no browser opens"),
    ],
)
def test_a_name_is_compared_with_the_address(host, address, hosts, is_answered):
    refusal = HostCheck(address=address, hosts=hosts).refusal(request(host=host))
    assert (refusal is None) is is_answered
    assert refusal is None or refusal.status is HTTPStatus.MISDIRECTED_REQUEST


def test_a_client_that_names_no_host_is_no_browser():
    assert HostCheck(address=LOOPBACK).refusal(request()) is None


@pytest.mark.parametrize(
    ("headers", "is_answered"),
    [
        pytest.param({}, True, id="curl"),
        pytest.param({"origin": "http://127.0.0.1:9117", "sec_fetch_site": "same-origin"}, True, id="the page"),
        pytest.param({"origin": "https://evil.example"}, False, id="another site"),
        pytest.param({"origin": "http://127.0.0.1:8080"}, False, id="another port"),
        pytest.param({"origin": "null"}, False, id="a sandbox"),
        pytest.param({"sec_fetch_site": "cross-site"}, False, id="another site, without its name"),
        pytest.param({"sec_fetch_site": "same-site"}, False, id="a neighbour"),
    ],
)
def test_only_the_page_itself_may_post(headers, is_answered):
    refusal = HostCheck(address=LOOPBACK).refusal(request("POST", host="127.0.0.1:9117", **headers))
    assert (refusal is None) is is_answered


def asked(gate, *, token=TOKEN, content_type="application/json"):
    given = request("POST", authorization=f"Bearer {token}", content_type=content_type)
    refusal = asyncio.run(gate.refusal(given))
    return None if refusal is None else (refusal.status.value, refusal.body.decode())


def test_the_token_lets_pass():
    assert asked(ReleaseGate(section=StatusSection(token=TOKEN))) is None


@pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é", "None"])
def test_another_token_does_not(token):
    assert asked(ReleaseGate(section=StatusSection(token=TOKEN)), token=token) == (403, '{"error":"wrong token"}\n')


def test_without_a_configured_token_no_request_passes():
    assert "no token is configured" in asked(ReleaseGate(section=StatusSection()), token="")[1]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_of_another_site_can_send_does_not_pass(content_type):
    assert asked(ReleaseGate(section=StatusSection(token=TOKEN)), content_type=content_type)[0] == 415


def test_the_file_is_read_at_each_use(tmp_path):
    file = tmp_path / "token"
    gate = ReleaseGate(section=StatusSection(token_file=str(file)))
    assert "no such file" in asked(gate)[1]
    file.write_text("short\n")
    assert "shorter than 16 characters" in asked(gate, token="short")[1]
    file.write_text(f"{TOKEN}\n")
    assert asked(gate) is None
    file.write_text("fedcba9876543210")
    assert asked(gate)[0] == 403
    assert asked(gate, token="fedcba9876543210") is None


def test_who_guesses_is_stopped_and_reported_once(monkeypatch):
    gate, seen, stream = ReleaseGate(section=StatusSection(token=TOKEN)), [], EventStream()
    with stream.entered(), stream.subscribed("test", seen.append):
        assert [asked(gate, token="x")[0] for _ in range(ATTEMPTS)] == [403] * ATTEMPTS
        assert asked(gate)[0] == 429
        monkeypatch.setattr(status_service, "ATTEMPTS_WITHIN", 0.0)
        assert asked(gate) is None
    assert [each.is_repeated for each in seen] == [False] + [True] * (ATTEMPTS - 1)


def test_a_token_shows_in_no_repr():
    assert TOKEN not in repr(StatusSection(token=TOKEN))


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        pytest.param(b'{"service":""}', 400, "service: is empty; null releases everything", id="an empty name"),
        pytest.param(b"{}", 400, "missing required field `service`", id="no name"),
        pytest.param(b"", 400, "not a request to release", id="nothing"),
        pytest.param(b'{"service":"web","all":true}', 400, "unknown field `all`", id="more"),
        pytest.param(b'{"service":null}', 200, "", id="everything"),
    ],
)
def test_a_body_without_a_name_releases_nothing(body, status, said):
    routes = page_routes(StatusView(catalog=Catalog()), StatusSection(token=TOKEN), lambda: (), None)
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    reply = asyncio.run(
        routes["POST /release"](StatusRequest(method="POST", path="/release", headers=headers, body=body))
    )
    assert reply.status.value == status
    assert said in reply.body.decode()
