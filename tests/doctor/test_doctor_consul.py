import pytest

from ctemplate.core.model import Rejection
from ctemplate.doctor.consul import Agent, ConsulFacts, consul_diagnoses
from ctemplate.doctor.templates import TemplateFacts
from ctemplate.queries import (
    CaLeafQuery,
    ConnectQuery,
    ExportedServicesQuery,
    ImportedServicesQuery,
    KeyQuery,
    LocalFileQuery,
    PeeringsQuery,
    ServiceQuery,
    ServicesQuery,
    TreeQuery,
)
from ctemplate.sources.consul.endpoints.paths import FailureKind, RequestFailed

WEB, API, ALL = ServiceQuery(name="web"), ServiceQuery(name="api"), ServicesQuery()


def failed(what, kind):
    return RequestFailed("http://c:8500", "/v1/x", what, kind)


def agent(version="1.18.2", limit=200, **debug):
    return Agent(config={"Version": version}, debug={"HTTPMaxConnsPerClient": limit, **debug})


def lines(**facts):
    given = {"name": "Consul at c:8500", "leader": "10.0.0.1:8300", "agent": agent(), "tried": 2, "connections": 3}
    return [str(line) for line in consul_diagnoses(ConsulFacts(**(given | facts)))]


WELL = [
    "ok    Consul at c:8500: answers",
    "ok    Consul's leader: 10.0.0.1:8300",
    "ok    Consul's version: 1.18.2",
    "ok    rights without a token: all 2 queries of the templates were answered",
    "ok    connections to Consul: 3 planned, 64 at most, 200 allowed",
]
DENIED = failed("status 403: Permission denied", FailureKind.DENIED)
UNKNOWN_LIMIT = (
    "ok    connections to Consul: 3 planned, 64 at most, 200 allowed by default, the agent's own limit is unknown"
)
READ_ALL = 'its policy needs service_prefix "" { policy = "read" } and node_prefix "" { policy = "read" }'


def test_all_is_well():
    assert lines() == WELL


def test_an_agent_out_of_reach_is_all_there_is_to_say():
    assert lines(leader=failed("connection refused", FailureKind.UNREACHABLE)) == [
        "error Consul at c:8500: connection refused; start it, or correct consul.address or CONSUL_HTTP_ADDR"
    ]


def test_services_that_are_listed_and_show_no_instance_name_the_right_that_is_missing():
    assert lines(empty=frozenset({WEB}), listed=frozenset({WEB}))[3] == (
        "error rights without a token: service(web): listed in the catalog, and no instance is shown; "
        'its policy needs node:read, node_prefix "" { policy = "read" }'
    )


@pytest.mark.parametrize(
    ("facts", "number", "expected"),
    [
        pytest.param(
            {"leader": ""},
            1,
            "error Consul's leader: none; look into the servers' logs; live files stay as they are meanwhile",
            id="no leader",
        ),
        pytest.param({"agent": agent("1.15.4+ent")}, 2, "ok    Consul's version: 1.15.4+ent", id="enterprise"),
        pytest.param({"agent": agent("1.20.0-dev")}, 2, "ok    Consul's version: 1.20.0-dev", id="development"),
        pytest.param(
            {"agent": agent("1.10.9")},
            2,
            "warn  Consul's version: 1.10.9 does not report that it leaves out what a token may not read; "
            "check the token's policy yourself, or use 1.11 or newer",
            id="old",
        ),
        pytest.param(
            {"agent": agent("1.8.7", ACLsEnabled=False)}, 2, "ok    Consul's version: 1.8.7", id="old without rights"
        ),
        pytest.param(
            {"agent": agent("1.8.7", ACLsEnabled=True)},
            2,
            "warn  Consul's version: 1.8.7 does not report that it leaves out what a token may not read; "
            "check the token's policy yourself, or use 1.11 or newer",
            id="old with rights",
        ),
        pytest.param(
            {"agent": DENIED},
            2,
            "warn  Consul's version: unknown, status 403: Permission denied; "
            'agent_prefix "" { policy = "read" } lets the token read it',
            id="version denied",
        ),
        pytest.param({"skew": -1.2}, 3, "ok    clock against Consul's: less than 5s apart", id="clock"),
        pytest.param(
            {"skew": 61.0},
            3,
            "warn  clock against Consul's: 61s behind; set both by NTP; times in logs cannot be compared",
            id="clock behind",
        ),
        pytest.param(
            {"skew": -61.0},
            3,
            "warn  clock against Consul's: 61s ahead; set both by NTP; times in logs cannot be compared",
            id="clock ahead",
        ),
        pytest.param(
            {"refused": {WEB: DENIED}, "has_token": True},
            3,
            "error rights of the token: service(web): status 403: Permission denied; "
            'its policy needs service "web" { policy = "read" } and node_prefix "" { policy = "read" }',
            id="one service denied",
        ),
        pytest.param(
            {"refused": {KeyQuery(path="nginx/limit"): DENIED, TreeQuery(prefix="lb/"): DENIED}},
            3,
            "error rights without a token: key(nginx/limit), tree(lb/): status 403: Permission denied; "
            'its policy needs key_prefix "" { policy = "read" }',
            id="keys denied",
        ),
        pytest.param(
            {"refused": {KeyQuery(path="nginx/limit"): DENIED, KeyQuery(path="nginx/lines/a"): DENIED}},
            3,
            "error rights without a token: key(nginx/limit), key(nginx/lines/a): status 403: Permission denied; "
            'its policy needs key_prefix "nginx/" { policy = "read" }',
            id="keys of a folder denied",
        ),
        pytest.param(
            {"refused": {KeyQuery(path="nginx/limit"): DENIED}},
            3,
            "error rights without a token: key(nginx/limit): status 403: Permission denied; "
            'its policy needs key "nginx/limit" { policy = "read" }',
            id="one key denied",
        ),
        pytest.param(
            {"refused": {ConnectQuery(name="web"): DENIED, CaLeafQuery(name="web"): DENIED, PeeringsQuery(): DENIED}},
            3,
            "error rights without a token: connect(web), ca_leaf(web), peerings(): status 403: Permission denied; "
            'its policy needs service_prefix "web" { policy = "read" } and node_prefix "" { policy = "read" } and '
            'service "web" { policy = "write" } and peering = "read"',
            id="mesh denied",
        ),
        pytest.param(
            {"refused": {ExportedServicesQuery(): DENIED, ImportedServicesQuery(partition="p"): DENIED}},
            3,
            "error rights without a token: exported_services(), imported_services(partition=p): status 403: "
            'Permission denied; its policy needs mesh = "read"; mesh is assumed: Consul documents no right for '
            "imported_services(partition=p)",
            id="a right that is assumed",
        ),
        pytest.param(
            {"refused": {LocalFileQuery(path="/x"): failed("lies in no folder", FailureKind.REFUSED)}},
            3,
            "error file(/x): lies in no folder; see [data] file_folders and the file's mode",
            id="file refused",
        ),
        pytest.param(
            {"refused": {WEB: DENIED, API: DENIED}},
            3,
            f"error rights without a token: service(web), service(api): status 403: Permission denied; {READ_ALL}",
            id="services denied",
        ),
        pytest.param(
            {"refused": {WEB: failed("status 500", FailureKind.FAILED)}},
            3,
            "error service(web): status 500; see what Consul says of it",
            id="failed",
        ),
        pytest.param(
            {"filtered": frozenset({ALL}), "empty": frozenset({ALL}), "has_token": True},
            3,
            f"error rights of the token: Consul left out data of services(); {READ_ALL}",
            id="filtered",
        ),
        pytest.param(
            {"empty": frozenset({ALL, WEB})},
            3,
            "error rights without a token: services() is empty, though Consul itself is always a service; " + READ_ALL,
            id="empty",
        ),
        pytest.param(
            {"denies_by_default": True},
            3,
            "error rights without a token: Consul denies by default, and left out data does not show; "
            "give a token by consul.token_file or CONSUL_HTTP_TOKEN_FILE",
            id="no token",
        ),
        pytest.param(
            {"untried": 7},
            3,
            "ok    rights without a token: all 2 queries of the templates were answered, 7 more not tried",
            id="many",
        ),
        pytest.param(
            {"agent": agent(limit=0)},
            4,
            "ok    connections to Consul: 3 planned, 64 at most, no limit",
            id="no limit",
        ),
        pytest.param(
            {"agent": agent(limit=2)},
            4,
            "error connections to Consul: 3 planned, 64 at most, 2 allowed; lower -max-connections below 2, "
            "or raise limits.http_max_conns_per_client of the agent",
            id="limit below the plan",
        ),
    ],
)
def test_a_fact_is_told_with_what_to_do(facts, number, expected):
    found = lines(**facts)
    others = [line for place, line in enumerate(found) if place != number and line not in WELL]
    assert (found[number], others) == (expected, [UNKNOWN_LIMIT] if facts.get("agent") is DENIED else [])


def test_an_unreadable_limit_is_taken_for_the_default():
    assert lines(agent=DENIED, max_connections=300)[-1] == (
        "warn  connections to Consul: 3 planned, 300 at most, 200 allowed by default, "
        "the agent's own limit is unknown; lower -max-connections below 200, "
        "or raise limits.http_max_conns_per_client of the agent"
    )


def test_what_may_not_be_used_is_named_with_the_setting_that_allows_it():
    rejections = tuple(
        Rejection(service="web", instance=f"i{number}", field="address", reason="'a'") for number in range(7)
    )
    found = [line for line in lines(templates=TemplateFacts(unusable=rejections)) if "left out" in line]
    first = "warn  left out: service 'web' instance 'i0': address: 'a'; correct the registration, or [data]"
    assert (found[0], len(found)) == (first, 6)
    assert found[-1] == "warn  left out: 2 more; ctemplate plan names them all"


def test_what_the_templates_do_not_find_and_leave_out_is_named_as_a_run_does():
    facts = TemplateFacts(
        remarks=('t.j2:1: service("wbe"): no such service is known',),
        absent=(KeyQuery(path="a/b"),),
        unusable=(Rejection(service="Web", field="name", reason="differs in case"),),
        unprintable=(Rejection(service="web", field="template", reason="t.j2:1: no key"),),
    )
    assert [line for line in lines(templates=facts) if line not in WELL] == [
        'warn  t.j2:1: service("wbe"): no such service is known',
        "error key(a/b): does not exist; create it, or give it a default in the template",
        "warn  left out: service 'Web': name: differs in case; write its name as it is registered",
        "warn  left out: service 'web': template: t.j2:1: no key; correct the registration, or the template",
    ]


@pytest.mark.parametrize(
    ("kind", "what", "fix"),
    [
        (FailureKind.UNREACHABLE, "connection refused", "start it, or correct"),
        (FailureKind.REFUSED, "status 404; is this Consul's HTTP address?", "correct"),
    ],
)
def test_an_address_at_which_no_consul_answers_is_one_line(kind, what, fix):
    (line,) = lines(leader=failed(what, kind))
    assert line == f"error Consul at c:8500: {what}; {fix} consul.address or CONSUL_HTTP_ADDR"
