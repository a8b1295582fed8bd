import urllib.parse

import pytest
from hypothesis import given, strategies as st

from ctemplate.queries import (
    AlarmsQuery,
    CensusQuery,
    NodeContentQuery,
    NodeListQuery,
    PreparedQuery,
    ServiceQuery,
    ServicesQuery,
    resource_of,
)
from ctemplate.sources.consul.endpoints.paths import (
    REMEDIES,
    WHOSE_ADDRESS,
    Consistency,
    FailureKind,
    Meta,
    RequestFailed,
    Resource,
    diagnose,
    granted,
)
from ctemplate.sources.consul.endpoints.settings import ConsulSettings

JSON = Meta(is_json=True)
DEFAULTS = ConsulSettings()
ELSEWHERE = ConsulSettings(datacenter="east", namespace="team", partition="blue")


@pytest.mark.parametrize(
    ("query", "settings", "target"),
    [
        pytest.param(ServicesQuery(), DEFAULTS, "/v1/catalog/services", id="services"),
        pytest.param(ServiceQuery(name="web"), DEFAULTS, "/v1/health/service/web", id="service"),
        pytest.param(
            ServiceQuery(name="a b/c?d#e%f.é"), DEFAULTS, "/v1/health/service/a%20b%2Fc%3Fd%23e%25f.%C3%A9", id="name"
        ),
        pytest.param(ServicesQuery(), ELSEWHERE, "/v1/catalog/services?dc=east&ns=team&partition=blue", id="defaults"),
        pytest.param(
            ServicesQuery(dc="west", peer="p"),
            ELSEWHERE,
            "/v1/catalog/services?dc=west&ns=team&partition=blue&peer=p",
            id="a query's own wins",
        ),
        pytest.param(NodeListQuery(dc="west"), DEFAULTS, "/v1/catalog/nodes?dc=west", id="list of nodes"),
        pytest.param(NodeContentQuery(name="a b/c"), DEFAULTS, "/v1/catalog/node/a%20b%2Fc", id="content of a node"),
        pytest.param(
            ServiceQuery(name="web", near="_agent", filter='Service.Meta.v == "1&2"'),
            DEFAULTS,
            "/v1/health/service/web?near=_agent&filter=Service.Meta.v%20%3D%3D%20%221%262%22",
            id="near and filter",
        ),
        pytest.param(PreparedQuery(name="a/b c"), DEFAULTS, "/v1/query/a%2Fb%20c/execute", id="prepared query"),
        pytest.param(
            PreparedQuery(name="web", near="_agent", dc="west"),
            ELSEWHERE,
            "/v1/query/web/execute?dc=west&ns=team&partition=blue&near=_agent",
            id="prepared query with all it can have",
        ),
    ],
)
def test_a_query_has_a_target(query, settings, target):
    assert resource_of(query, settings).target() == target


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        pytest.param(ServicesQuery, {}, id="services"),
        pytest.param(ServiceQuery, {"name": "web"}, id="service"),
        pytest.param(PreparedQuery, {"name": "live"}, id="prepared query"),
        pytest.param(AlarmsQuery, {}, id="alarms"),
        pytest.param(CensusQuery, {}, id="census"),
        pytest.param(NodeListQuery, {}, id="list of nodes"),
        pytest.param(NodeContentQuery, {"name": "n1"}, id="content of a node"),
    ],
)
@pytest.mark.parametrize(
    ("scope", "settings", "asked"),
    [
        pytest.param({}, DEFAULTS, {}, id="none"),
        pytest.param(
            {"ns": "n", "partition": "p", "peer": "q"},
            DEFAULTS,
            {"ns": "n", "partition": "p", "peer": "q"},
            id="its own",
        ),
        pytest.param({}, ELSEWHERE, {"dc": "east", "ns": "team", "partition": "blue"}, id="the options'"),
        pytest.param(
            {"ns": "n"}, ELSEWHERE, {"dc": "east", "ns": "n", "partition": "blue"}, id="its own namespace alone"
        ),
        pytest.param(
            {"ns": "ä&b", "partition": "p"}, ELSEWHERE, {"dc": "east", "ns": "ä&b", "partition": "p"}, id="quoted"
        ),
    ],
)
def test_every_query_is_asked_for_in_its_namespace_and_partition_and_of_its_peer(kind, fields, scope, settings, asked):
    _, _, params = resource_of(kind(**fields, **scope), settings).target().partition("?")
    found = dict(urllib.parse.parse_qsl(params, strict_parsing=bool(params)))
    assert {name: value for name, value in found.items() if name != "filter"} == asked


@pytest.mark.parametrize(
    ("options", "target"),
    [
        pytest.param({}, "/v1/x", id="at once"),
        pytest.param({"index": 0, "wait": 60}, "/v1/x", id="index 0 never blocks"),
        pytest.param({"index": 7, "wait": 60}, "/v1/x?index=7&wait=60000ms", id="long poll"),
        pytest.param({"consistency": Consistency.STALE}, "/v1/x?stale", id="stale"),
        pytest.param(
            {"index": 7, "wait": 0.5, "consistency": Consistency.CONSISTENT},
            "/v1/x?consistent&index=7&wait=500ms",
            id="consistent long poll",
        ),
    ],
)
def test_a_target_says_how_to_answer(options, target):
    assert Resource(path="/v1/x").target(**options) == target


@given(st.text(min_size=1))
def test_any_name_stays_one_segment_of_the_path(name):
    target = resource_of(ServiceQuery(name=name.encode("utf-8", "replace").decode()), DEFAULTS).target()
    assert target.isascii()
    prefix, _, rest = target.rpartition("/")
    assert prefix == "/v1/health/service"
    assert urllib.parse.unquote(rest) == name.encode("utf-8", "replace").decode()
    assert not set(rest) & set("?#&\r\n ")


def test_headers_are_read():
    headers = [
        (b"Content-Type", b"application/json"),
        (b"X-Consul-Index", b"123"),
        (b"X-Consul-Knownleader", b"false"),
        (b"X-Consul-Lastcontact", b"1500"),
        (b"X-Consul-Effective-Consistency", b"stale"),
        (b"X-Consul-Results-Filtered-By-ACLs", b"true"),
        (b"X-Consul-Query-Backend", b"blocking-query"),
        (b"Content-Encoding", b"gzip"),
    ]
    assert Meta.of(headers) == Meta(
        index=123,
        known_leader=False,
        last_contact=1.5,
        effective_consistency="stale",
        filtered_by_acls=True,
        query_backend="blocking-query",
        is_json=True,
        is_encoded=True,
        is_delimited=False,
    )


@pytest.mark.parametrize(
    ("header", "is_delimited"),
    [
        pytest.param((b"Content-Length", b"12"), True, id="length"),
        pytest.param((b"Transfer-Encoding", b"chunked"), True, id="chunks"),
        pytest.param((b"Connection", b"close"), False, id="until it closes"),
    ],
)
def test_a_body_that_lasts_as_long_as_its_connection_is_no_answer(header, is_delimited):
    meta = Meta.of([header, (b"Content-Type", b"application/json")])
    cut = (FailureKind.GARBLED, "the answer has neither a length nor chunks, so that a cut one would look whole")
    assert diagnose(200, meta, b"[]") == (None if is_delimited else cut)
    assert diagnose(503, meta, b"") == (FailureKind.UNAVAILABLE, "status 503")


@pytest.mark.parametrize(
    "value",
    [b"", b"-1", b"1e9", b"x", b"9" * 30, "²".encode("latin-1"), b"%d" % (2**53 + 1), b"%d" % (2**64 - 1), b"9" * 20],
)
def test_an_index_that_no_consul_can_have_counts_as_missing(value):
    assert Meta.of([(b"x-consul-index", value)]) == Meta(is_delimited=False)


@pytest.mark.parametrize(
    ("status", "meta", "body", "expected"),
    [
        pytest.param(200, JSON, b"[]", None, id="good"),
        pytest.param(
            200,
            Meta(),
            b"<html>",
            (FailureKind.REFUSED, "the answer is not JSON; is this Consul's HTTP address?"),
            id="not JSON",
        ),
        pytest.param(
            200,
            Meta(is_json=True, is_encoded=True),
            b"",
            (FailureKind.REFUSED, "the answer is compressed, though no encoding was requested"),
            id="compressed",
        ),
        pytest.param(
            429,
            Meta(),
            b"Your IP is issuing too many concurrent connections, please rate limit your calls\n",
            (
                FailureKind.TOO_MANY_CONNECTIONS,
                (
                    "status 429: Your IP is issuing too many concurrent connections, please rate limit your calls"
                    " (limits.http_max_conns_per_client of the agent)"
                ),
            ),
            id="connections",
        ),
        pytest.param(
            429, Meta(), b"", (FailureKind.OVERLOADED, "status 429 (limits.rpc_rate of the agent)"), id="agent's rate"
        ),
        pytest.param(
            429,
            Meta(),
            b"rpc error: code = ResourceExhausted desc = Resource Exhausted",
            (
                FailureKind.ELSEWHERE,
                (
                    "status 429: rpc error: code = ResourceExhausted desc = Resource Exhausted"
                    " (limits.request_limits of the servers)"
                ),
            ),
            id="server's rate",
        ),
        pytest.param(503, Meta(), b"", (FailureKind.UNAVAILABLE, "status 503"), id="503"),
        pytest.param(
            500,
            Meta(),
            b"No cluster leader",
            (FailureKind.UNAVAILABLE, "status 500: No cluster leader"),
            id="no leader",
        ),
        pytest.param(
            500,
            Meta(),
            b"No path to datacenter",
            (FailureKind.FAILED, "status 500: No path to datacenter"),
            id="no path",
        ),
        pytest.param(403, Meta(), b"ACL not found", (FailureKind.DENIED, "status 403: ACL not found"), id="denied"),
        pytest.param(400, Meta(), b"Invalid index", (FailureKind.REFUSED, "status 400: Invalid index"), id="400"),
        pytest.param(404, Meta(), b"Query not found", (FailureKind.REFUSED, "status 404: Query not found"), id="404"),
        pytest.param(
            404, Meta(), b"<html>\nno", (FailureKind.REFUSED, f"status 404{WHOSE_ADDRESS}"), id="markup is not repeated"
        ),
        pytest.param(
            403, Meta(), b"\x1b[31mred\nforged", (FailureKind.DENIED, "status 403: \\x1b[31mred"), id="escapes"
        ),
    ],
)
def test_a_status_is_diagnosed(status, meta, body, expected):
    assert diagnose(status, meta, body) == expected


def test_a_prepared_query_that_is_not_defined_is_unknown():
    found = diagnose(
        404, Meta(), b"Query not found", not_found=resource_of(PreparedQuery(name="x"), DEFAULTS).not_found
    )
    assert found == (FailureKind.UNKNOWN, "no prepared query has this name or id")


def test_a_redirect_is_not_followed():
    assert diagnose(301, Meta(), b"", "https://else\nwhere/") == (
        FailureKind.REFUSED,
        "redirected to https://else\\nwhere/, which is not followed; give the address that answers itself",
    )


@given(st.integers(100, 599), st.binary(max_size=400))
def test_every_status_has_a_diagnosis_that_prints(status, body):
    found = diagnose(status, JSON, body)
    assert (found is None) == (status == 200)
    if found:
        assert found[1].isprintable()
        assert len(found[1]) < 400


def test_every_trouble_has_a_remedy():
    assert set(REMEDIES) == set(FailureKind)


def test_a_failure_names_the_url():
    failure = RequestFailed("http://127.0.0.1:8500", "/v1/health/service/web", "status 503", FailureKind.UNAVAILABLE)
    assert str(failure) == "http://127.0.0.1:8500/v1/health/service/web: status 503"
    assert failure.remedy == REMEDIES[FailureKind.UNAVAILABLE]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(200, b'[{"Allow":true,"Resource":"service"},{"Allow":true}]', True, id="all"),
        pytest.param(200, b'[{"Allow":true},{"Allow":false}]', False, id="one is denied"),
        pytest.param(401, b"ACL support disabled", True, id="no ACLs"),
        pytest.param(401, b"Unauthorized", None, id="a proxy"),
        pytest.param(403, b"ACL not found", False, id="token deleted"),
        pytest.param(403, b"Permission denied: token", False, id="denied"),
        pytest.param(403, b"<html>forbidden", None, id="a proxy forbids"),
        pytest.param(404, b"", None, id="before Consul 1.7"),
        pytest.param(500, b"No cluster leader", None, id="no leader"),
        pytest.param(200, b"{}", None, id="nonsense"),
        pytest.param(200, b'[{"allow":true},{"allow":true}]', None, id="nothing said"),
        pytest.param(200, b'[{"Allow":true}]', None, id="not about all"),
    ],
)
def test_rights_are_granted_only_where_consul_says_so(status, body, expected):
    assert granted(status, body, asked=2) is expected
