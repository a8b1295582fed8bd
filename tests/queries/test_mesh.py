"""The answers about Consul's service mesh and its peerings: proxies, certificates, other clusters."""

import base64
import json

import pytest
from consul_fakes import entries, entry
from msgspec.structs import replace

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.guard import Guard, GuardPolicy, Memory, Policies
from ctemplate.lint.kinds import of_field, of_result
from ctemplate.queries import (
    KIND_FUNCTIONS,
    CaLeafQuery,
    CaRootsQuery,
    ConnectQuery,
    PeeringsQuery,
    ServiceQuery,
    kind_of,
    resource_of,
)
from ctemplate.queries.ca_roots import checked_pem
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sinks.plan import secrets_of
from ctemplate.sinks.secrets import hidden_secrets
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import FailureKind, Meta, diagnose
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.template import Renderer, Template

BAD = "x; } evil {"
CONNECT = ConnectQuery(name="web")
LEAF = CaLeafQuery(name="web")


def pem(label, body):
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


CERTIFICATE = pem("CERTIFICATE", "TUlJQmNlcnRpZmljYXRl")
KEY = pem("EC PRIVATE KEY", "TUhjQ0FRRUVJTHd6bjZIVmU0c0NmL0RXSmhtYUZZMDk=")


def roots_body(*roots):
    return json.dumps({"ActiveRootID": "b", "TrustDomain": "x.consul", "Roots": roots or None}).encode()


def root_row(id_="b", **fields):
    return {"ID": id_, "Name": "CA", "RootCert": CERTIFICATE, "Active": True, "NotBefore": "2026"} | fields


def leaf_body(**fields):
    row = {
        "SerialNumber": "08",
        "CertPEM": CERTIFICATE,
        "PrivateKeyPEM": KEY,
        "Service": "web",
        "ServiceURI": "spiffe://x/web",
    }
    return json.dumps(row | fields).encode()


def peerings_body(*rows):
    return json.dumps(rows).encode()


def decoded(query, body):
    return kind_of(query).decode(query, body, Decoder(DataLimits()))


def answered(query, body):
    value, rejections = decoded(query, body)
    return Answer(query=query, value=value, rejections=rejections)


def rendered(text, folder, *answers):
    source = folder / "t.j2"
    source.write_text(text)
    renderer = Renderer([Template.load(source, variables={}, environ={})])
    return renderer.render(Snapshot({each.query: each for each in answers}))


@pytest.mark.parametrize(
    ("query", "target"),
    [
        (CONNECT, "/v1/health/connect/web"),
        (
            ConnectQuery(name="a/b", dc="east", peer="p", near="_agent", filter="Service.Port == 1"),
            "/v1/health/connect/a%2Fb?dc=east&peer=p&near=_agent&filter=Service.Port%20%3D%3D%201",
        ),
        (ConnectQuery(name="web", sameness_group="g"), "/v1/health/connect/web?sameness-group=g"),
        (ServiceQuery(name="web", sameness_group="g"), "/v1/health/service/web?sameness-group=g"),
        (CaRootsQuery(dc="east"), "/v1/connect/ca/roots?dc=east"),
        (LEAF, "/v1/agent/connect/ca/leaf/web"),
        (CaLeafQuery(name="web", ns="n"), "/v1/agent/connect/ca/leaf/web?ns=n"),
        (PeeringsQuery(partition="p"), "/v1/peerings?partition=p"),
    ],
)
def test_each_has_a_target(query, target):
    assert resource_of(query, ConsulSettings()).target() == target


def test_proxies_are_taken_under_their_own_names():
    body = entries(
        entry("n2", "w-proxy", Service="web-sidecar-proxy", Port=21000),
        entry("n1", "native", Service="web", Address="10.0.0.9"),
        entry("n1", "bad", Service="other", Address="no address"),
    )
    value, rejections = decoded(CONNECT, body)
    assert [(each.node, each.name, each.port) for each in value] == [
        ("n1", "web", 80),
        ("n2", "web-sidecar-proxy", 21000),
    ]
    assert [str(rejection) for rejection in rejections] == [
        "service 'other' instance 'bad': address: 'no address' is not an IP address"
    ]


def test_a_template_chooses_among_proxies(tmp_path):
    body = entries(
        entry("n1", "a", Service="web-sidecar-proxy", Tags=["v1"]), entry("n2", "b", Service="web-sidecar-proxy")
    )
    text = "{% for i in connect('web', 'v1') %}{{ i.node }} {% endfor %}{{ connect('web') | length }}"
    assert rendered(text, tmp_path, answered(CONNECT, body)).texts == ("n1 2",)


def test_a_bad_proxy_is_left_out_alone(tmp_path):
    body = entries(
        entry("n1", "a", Service="web-sidecar-proxy", Meta={"m": BAD}),
        entry("n2", "b", Service="web-sidecar-proxy", Meta={"m": "fine"}),
    )
    db = ServiceQuery(name="db")
    other = answered(db, entries(entry("n1", "db", Service="db", Meta={"m": "fair"})))
    text = "{% for i in connect('web') + service('db') %}{{ i.meta.m }} {% endfor %}"
    rendering = rendered(text, tmp_path, answered(CONNECT, body), other)
    assert rendering.texts == ("fine fair ",)
    assert [(one.service, one.instance) for one in rendering.quarantined] == [("web-sidecar-proxy", "a")]


def test_the_guard_holds_proxies_as_it_holds_instances():
    body = entries(entry("n1", "a", Service="web-sidecar-proxy", CreateIndex=5))
    guard = Guard(Policies(default=GuardPolicy()))
    before = Answer(query=CONNECT, value=decoded(CONNECT, body)[0], index=7, session=1.0)
    assert guard.take(before, 10.0).value == before.value
    shown = guard.take(Answer(query=CONNECT, value=(), index=8, session=1.0), 11.0)
    assert shown.value == before.value
    assert [doubt.services for doubt in guard.doubts()] == [("web-sidecar-proxy",)]


def test_peer_and_sameness_group_exclude_each_other(tmp_path):
    for function in ("connect", "service"):
        with pytest.raises(TemplateError, match=f"{function}: give peer or sameness_group, not both"):
            rendered(f"{{{{ {function}('web', peer='p', sameness_group='g') }}}}", tmp_path)


def test_the_root_that_signs_now_comes_first():
    body = roots_body(root_row("a", Active=False, IntermediateCerts=[CERTIFICATE]), root_row("b"))
    value, _ = decoded(CaRootsQuery(), body)
    assert [(root.id, root.is_active, root.intermediates) for root in value] == [
        ("b", True, ()),
        ("a", False, (CERTIFICATE,)),
    ]
    assert {root.trust_domain for root in value} == {"x.consul"}


def test_certificates_and_keys_print_as_they_stand(tmp_path):
    text = "{% for r in ca_roots() %}{{ r.pem }}{% endfor %}{% set l = ca_leaf('web') %}{{ l.pem }}{{ l.private_key }}"
    answers = answered(CaRootsQuery(), roots_body(root_row())), answered(LEAF, leaf_body())
    assert rendered(text, tmp_path, *answers).texts == (CERTIFICATE + CERTIFICATE + KEY,)


@pytest.mark.parametrize(
    "text",
    ["", "x", CERTIFICATE + "x; }", "-----BEGIN A-----\nx; }\n-----END A-----", pem("A", "").replace("END A", "END B")],
)
def test_what_is_no_pem_text_is_no_answer_and_is_not_shown(text):
    for query, body in ((CaRootsQuery(), roots_body(root_row(RootCert=text))), (LEAF, leaf_body(PrivateKeyPEM=text))):
        with pytest.raises(Undecodable) as error:
            decoded(query, body)
        assert str(error.value) == "a certificate or key is no PEM text"


def test_pem_texts_end_with_one_line_break_whatever_they_came_with():
    for text in (CERTIFICATE.strip(), CERTIFICATE + "\n", CERTIFICATE.replace("\n", "\r\n")):
        assert checked_pem(text) == CERTIFICATE


@pytest.mark.parametrize("query", [CaRootsQuery(), LEAF, PeeringsQuery()])
@pytest.mark.parametrize("body", [b"[1]", b"nonsense", b'{"Roots": 1, "CertPEM": 2}'])
def test_another_shape_is_undecodable(query, body):
    with pytest.raises(Undecodable):
        decoded(query, body)


def test_a_name_in_a_certificate_is_a_registrants_text(tmp_path):
    query = CaLeafQuery(name=BAD)
    with pytest.raises(TemplateError, match=r"certificate of 'x; } evil \{'"):
        rendered(f"{{{{ ca_leaf('{BAD}').uri }}}}", tmp_path, answered(query, leaf_body(ServiceURI=BAD, Service=BAD)))


def test_a_certificate_that_a_catalog_lacks_is_waited_for(tmp_path):
    found = answer(parse_catalog("services: {}", name="c"), LEAF)
    assert rendered("{{ ca_leaf('web').pem }}", tmp_path, found).missing == {LEAF}
    assert rendered("{{ 'y' if ca_leaf('web') else 'n' }}", tmp_path, found).texts == ("n",)


def test_peerings_come_by_name(tmp_path):
    body = peerings_body(
        {"Name": "west", "State": "ACTIVE", "StreamStatus": {"ImportedServices": ["b", "a"], "ExportedServices": None}},
        {"Name": "east", "State": "PENDING", "Meta": {"k": "v"}},
    )
    text = (
        "{% for p in peerings() %}{{ p.name }} {{ p.state }} {{ p.imported | join('+') }} "
        "{{ p.meta.k | default('-') }};{% endfor %}"
    )
    assert rendered(text, tmp_path, answered(PeeringsQuery(), body)).texts == ("east PENDING  v;west ACTIVE a+b -;",)


def test_a_forbidden_name_of_a_peering_refuses_the_render(tmp_path):
    body = peerings_body({"Name": BAD})
    with pytest.raises(TemplateError, match=r"peering 'x; } evil \{': 'x; } evil \{' is no plain token"):
        rendered("{% for p in peerings() %}{{ p.name }}{% endfor %}", tmp_path, answered(PeeringsQuery(), body))


def test_a_consul_without_peerings_says_so_in_one_message():
    not_found = resource_of(PeeringsQuery(), ConsulSettings()).not_found
    assert diagnose(404, Meta(), b"", not_found=not_found) == (
        FailureKind.REFUSED,
        "this Consul has no cluster peering, which came with 1.13",
    )
    assert diagnose(404, Meta(), b"another thing", not_found=not_found) == (
        FailureKind.REFUSED,
        "status 404: another thing",
    )


ANSWERS = [
    answered(
        CONNECT, entries(entry("n2", "w", Service="web-sidecar-proxy", Port=21000), entry("n1", "x", Service="native"))
    ),
    answered(CaRootsQuery(), roots_body(root_row("a", Active=False), root_row("b"))),
    answered(PeeringsQuery(), peerings_body({"Name": "east", "ID": "1", "Meta": {"k": "v"}})),
]


@pytest.mark.parametrize("given", ANSWERS, ids=lambda given: str(given.query))
def test_answers_are_recorded_and_read_again(given):
    again = answer(parse_catalog(dump(recorded([given], is_full=True)), name="c"), given.query).value
    assert [str(one) for one in again] == [str(one) for one in _as_recorded(given.value)]


def _as_recorded(value):
    """Without what a catalog file does not hold: ids of nodes, the order of registration."""
    return [
        replace(one, created=number, node_id="") if hasattr(one, "created") else one
        for number, one in enumerate(value, start=1)
    ]


def test_a_private_key_is_never_recorded():
    written = dump(recorded([answered(LEAF, leaf_body())], is_full=True))
    assert "private_key: masked" in written
    assert "TUhj" not in written


@pytest.mark.parametrize("given", [*ANSWERS, answered(LEAF, leaf_body())], ids=lambda given: str(given.query))
def test_answers_outlive_the_process_in_a_file_that_others_cannot_read(given, tmp_path):
    path = tmp_path / "state" / "answers.json"
    assert save_answers(path, [Memory(answer=given)], wall=10.0)
    assert load_answers(path, wall=10.0) == (Memory(answer=given),)
    assert path.stat().st_mode & 0o077 == 0


def test_a_private_key_does_not_show_in_a_representation():
    found = answered(LEAF, leaf_body())
    assert "TUhj" not in repr(found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"a\n{KEY}b", "a\n-----BEGIN EC PRIVATE KEY----- [masked 3d1f] -----END EC PRIVATE KEY-----\nb"),
        (
            f"key: {json.dumps(KEY)}",
            'key: "-----BEGIN EC PRIVATE KEY----- [masked 3d1f] -----END EC PRIVATE KEY-----\\n"',
        ),
        (KEY.splitlines()[1], "[masked 3d1f]"),
        (base64.b64encode(KEY.encode()).decode(), "[masked 3d1f]"),
        ("-----BEGIN PRIVATE KEY-----\nabc", "-----BEGIN PRIVATE KEY----- [masked 3d1f] "),
        (CERTIFICATE, CERTIFICATE),
        ("plain", "plain"),
    ],
)
def test_a_plan_hides_private_keys(text, shown):
    secrets = secrets_of([answered(LEAF, leaf_body()), *ANSWERS])
    found = hidden_secrets(text, secrets)
    start = found.find("[masked ")
    digest = found[start + 8 : start + 16]
    assert found.replace(digest, "3d1f") == shown if start >= 0 else found == shown
    assert "TUhj" not in found


def test_a_plan_tells_one_private_key_from_another():
    other = KEY.replace("TUhj", "XUhj")
    assert hidden_secrets(KEY) != hidden_secrets(other)
    assert hidden_secrets(KEY) == hidden_secrets(KEY)


@pytest.mark.parametrize(
    ("function", "field", "registered"),
    [("ca_leaf", "pem", False), ("ca_leaf", "private_key", False), ("ca_leaf", "uri", True)],
)
def test_lint_knows_whose_text_a_field_is(function, field, registered):
    assert of_field(of_result(KIND_FUNCTIONS[function]), field).is_registered_text is registered


@pytest.mark.parametrize(
    ("query", "rights"),
    [
        (CONNECT, [("service", "web", True, "read"), ("node", None, False, "read")]),
        (CaRootsQuery(), []),
        (LEAF, [("service", "web", False, "write")]),
        (PeeringsQuery(), [("peering", None, False, "read")]),
    ],
)
def test_each_needs_rights(query, rights):
    found = [(right.resource, right.name, right.is_prefix, right.access) for right in kind_of(query).rights(query)]
    assert found == rights
