"""The details of instances: what a query for them adds and leaves out, and what an ordinary query does not have."""

import json

import pytest
from rendering import load, text_of

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import (
    Answer,
    CheckReport,
    CheckState,
    Instance,
    InstanceDetails,
    Rejection,
    Snapshot,
    TaggedAddress,
    Weights,
)
from ctemplate.guard import Memory
from ctemplate.lint.kinds import of_field, of_result
from ctemplate.nginx.language.semantic_diff import Backend, BackendChange
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import KIND_FUNCTIONS, ConnectQuery, ServiceQuery, kind_of, resource_of
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sinks.plan import reasons
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.template import Renderer
from ctemplate.template.language.fields import FIELDS

HTTP = (ConfigPlace(inside=b"http"),)
PLAIN, DETAILED = ServiceQuery(name="web"), ServiceQuery(name="web", details=True)
NODE = {"Node": "n1", "ID": "1", "Address": "10.0.0.9", "TaggedAddresses": {"wan": "192.0.2.9", "bad": "169.254.0.1"}}
SERVICE = {
    "ID": "web-1",
    "Service": "web",
    "Address": "10.0.0.1",
    "Port": 80,
    "Weights": {"Passing": 5, "Warning": 2},
    "TaggedAddresses": {
        "wan": {"Address": "198.51.100.1", "Port": 8080},
        "v6": {"Address": "2001:db8::1", "Port": 81},
        "name": {"Address": "x.example; }", "Port": 1},
        "port": {"Address": "198.51.100.1", "Port": 70000},
    },
}
CHECK = {"CheckID": "c", "Name": "C", "Status": "passing", "ServiceID": "web-1", "Notes": "the disk", "Output": "ok 1"}
DETAILS = InstanceDetails(
    tagged_addresses={
        "v6": TaggedAddress(address="[2001:db8::1]", port=81),
        "wan": TaggedAddress(address="198.51.100.1", port=8080),
    },
    node_tagged_addresses={"wan": "192.0.2.9"},
    weights=Weights(passing=5, warning=2),
)


def body(*, service=None, check=None):
    row = {"Node": NODE, "Service": SERVICE | (service or {}), "Checks": [CHECK | (check or {})]}
    return json.dumps([row]).encode()


def decoded(query, found, **limits):
    return kind_of(query).decode(query, found, Decoder(DataLimits(**limits)))


@pytest.mark.parametrize("query", [DETAILED, ConnectQuery(name="web", details=True)], ids=["service", "connect"])
def test_a_query_for_details_has_further_addresses_weights_and_texts_of_checks(query):
    (found,), rejections = decoded(query, body())
    assert (found.details, found.checks[0].report, rejections) == (
        DETAILS,
        CheckReport(notes="the disk", output="ok 1"),
        (),
    )


def test_an_ordinary_query_has_none_so_that_a_new_output_changes_nothing():
    assert decoded(PLAIN, body()) == decoded(PLAIN, body(check={"Output": "ok 2", "Notes": "other"}))
    assert decoded(DETAILED, body()) != decoded(DETAILED, body(check={"Output": "ok 2"}))


def test_both_ask_the_same_path_and_are_two_queries():
    assert resource_of(PLAIN, ConsulSettings()) == resource_of(DETAILED, ConsulSettings())
    assert (PLAIN == DETAILED, str(DETAILED)) == (False, "service(web, details=True)")


@pytest.mark.parametrize(
    ("found", "field", "reason"),
    [
        (body(service={"Weights": {"Passing": 5, "Warning": 65536}}), "weights", "65536 is not 0 to 65535"),
        (body(check={"Output": "x" * 200}), "texts of a check", "longer than 100 bytes together"),
        (body(check={"Output": 7}), "details", "of an unknown form"),
        (body(service={"TaggedAddresses": ["x"]}), "details", "of an unknown form"),
    ],
    ids=["weight", "output", "type", "list"],
)
def test_an_instance_whose_details_are_invalid_is_left_out(found, field, reason):
    expected = ((), (Rejection(service="web", instance="web-1", field=field, reason=reason),))
    assert decoded(DETAILED, found, max_meta_bytes=100) == expected


def test_missing_details_are_empty():
    found = json.dumps(
        [{"Node": {"Node": "n1", "Address": "10.0.0.9"}, "Service": {"ID": "a", "Service": "web"}}]
    ).encode()
    (instance,), _ = decoded(DETAILED, found)
    assert instance.details == InstanceDetails()
    with pytest.raises(Undecodable):
        decoded(DETAILED, b"{")


@pytest.mark.parametrize(
    "field", ["weights.passing", "tagged_addresses", "node_tagged_addresses", "checks[0].output", "checks[0].notes"]
)
def test_a_template_that_did_not_ask_for_details_is_told(field):
    held = {PLAIN: Answer(query=PLAIN, value=decoded(PLAIN, body())[0])}
    name = field.partition(".")[0] if "[" not in field else field.rpartition(".")[2]
    with pytest.raises(TemplateError) as caught:
        text_of(f"{{{{ service('web')[0].{field} }}}}", Snapshot(held))
    assert f"{name!r} is one of the details; write service(…, details=true) or connect(…, details=true)" in str(
        caught.value
    )


def test_the_holders_of_details_are_no_fields():
    assert {"details", "report"}.isdisjoint(FIELDS[Instance] | FIELDS[CheckState])


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{ i.tagged_addresses.wan.address }}:{{ i.tagged_addresses.wan.port }}", "198.51.100.1:8080"),
        ("{{ i.tagged_addresses.v6.address }} {{ i.tagged_addresses.v6.ip }}", "[2001:db8::1] 2001:db8::1"),
        ("{{ i.node_tagged_addresses.wan }} {{ i.weights.warning }}", "192.0.2.9 2"),
        ("{{ i.checks[0].notes | comment }} {{ i.checks[0].output | quote }}", 'the%20disk "ok 1"'),
    ],
)
def test_details_are_printed(text, printed):
    held = {DETAILED: Answer(query=DETAILED, value=decoded(DETAILED, body())[0])}
    assert text_of(f"{{% set i = service('web', details=true)[0] %}}{text}", Snapshot(held)) == printed


def test_a_text_of_a_check_is_a_registrants():
    held = {DETAILED: Answer(query=DETAILED, value=decoded(DETAILED, body(check={"Output": "x; }"}))[0])}
    text = "{% for i in service('web', details=true) %}{{ i.checks[0].output }}{% endfor %}"
    with pytest.raises(TemplateError, match="'x; }' is no plain token"):
        text_of(text, Snapshot(held))


def test_a_capture_gives_the_details_again():
    value = decoded(DETAILED, body())[0]
    contents = parse_catalog(dump(recorded([Answer(query=DETAILED, value=value)])), name="c")
    (found,) = answer(contents, DETAILED).value
    assert (found.details, found.checks) == (DETAILS, value[0].checks)


def test_a_catalog_file_without_details_gives_empty_ones_and_none_to_ordinary_queries():
    text = "services: {web: {instances: [{address: 10.0.0.1, weight: 3, checks: [{id: c}]}]}}"
    contents = parse_catalog(text, name="c")
    (found,) = answer(contents, ServiceQuery(name="web", details=True)).value
    assert (found.weights, found.checks[0].output, found.tagged_addresses) == (Weights(passing=3, warning=3), "", {})
    assert answer(contents, PLAIN).value[0].details is None


def test_a_further_address_of_a_catalog_file_is_judged():
    text = """services: {web: {instances: [{address: 10.0.0.1, details: {tagged_addresses: {
        a: {address: "2001:db8::1"}, b: {address: "x; }"}, c: {address: 10.0.0.2, port: 5}}}}]}}"""
    (found,) = answer(parse_catalog(text, name="c"), DETAILED).value
    assert {tag: each.address for tag, each in found.tagged_addresses.items()} == {
        "a": "[2001:db8::1]",
        "c": "10.0.0.2",
    }


def test_details_outlive_the_process(tmp_path):
    memory = Memory(answer=Answer(query=DETAILED, value=decoded(DETAILED, body())[0], index=3, seen_at=1.5))
    path = tmp_path / "state" / "answers.json"
    assert save_answers(path, [memory], wall=10.0)
    assert load_answers(path, wall=10.0) == (memory,)


def test_lint_knows_the_fields_of_details():
    found = of_result(KIND_FUNCTIONS["service"]).items
    place = of_field(found, "tagged_addresses").items
    assert {"address", "ip", "port"} == place.fields
    assert [of_field(place, name).is_registered_text for name in ("address", "ip")] == [False, False]
    check = of_field(found, "checks").items
    assert [of_field(check, name).is_registered_text for name in ("notes", "output")] == [True, True]


def test_a_further_address_may_be_where_nginx_sends_requests():
    held = {DETAILED: Answer(query=DETAILED, value=decoded(DETAILED, body())[0])}
    text = (
        "http { upstream web { server {{ i.tagged_addresses.wan.address }}:{{ i.tagged_addresses.wan.port }};\n"
        "server {{ i.tagged_addresses.v6.address }}:{{ i.port }};\n"
        "server {{ i.node_tagged_addresses.wan }}:{{ i.port }}; } }"
    )
    printed = text_of("{% for i in service('web', details=true) %}" + text + "{% endfor %}", Snapshot(held))
    assert "server 198.51.100.1:8080;\nserver [2001:db8::1]:80;\nserver 192.0.2.9:80;" in printed


def test_json_has_the_fields_of_details_beside_the_others_or_none_of_them():
    held = {query: Answer(query=query, value=decoded(query, body())[0]) for query in (PLAIN, DETAILED)}
    text = "{{ service('web') | to_json }}\n{{ service('web', details=true) | to_json }}"
    plain, full = (json.loads(line)[0] for line in text_of(text, Snapshot(held), escape="none").split("\n"))
    added = {name: full[name] for name in full.keys() - plain.keys()}
    assert added == {
        "tagged_addresses": {
            "v6": {"address": "[2001:db8::1]", "port": 81},
            "wan": {"address": "198.51.100.1", "port": 8080},
        },
        "node_tagged_addresses": {"wan": "192.0.2.9"},
        "weights": {"passing": 5, "warning": 2},
    }
    assert plain["checks"] == [{"id": "c", "name": "C", "service_id": "web-1", "status": "passing"}]
    assert full["checks"] == [plain["checks"][0] | {"notes": "the disk", "output": "ok 1"}]


def test_a_plan_names_the_instance_of_a_further_address():
    answers = [Answer(query=DETAILED, value=decoded(DETAILED, body())[0], index=7)]
    changes = [
        BackendChange(upstream="web", address=address, old=None, new=Backend())
        for address in ("198.51.100.1:8080", "192.0.2.9:80", "198.51.100.1:9")
    ]
    said = "service web, instance web-1 on n1: passing, Consul index 7"
    assert list(reasons(changes, answers)) == [
        f"web 198.51.100.1:8080: {said}",
        f"web 192.0.2.9:80: {said}",
        "web 198.51.100.1:9: the template's own line",
    ]


def test_an_edit_from_the_own_address_to_a_further_one_loses_no_server():
    held = {query: Answer(query=query, value=decoded(query, body())[0]) for query in (PLAIN, DETAILED)}
    old = "upstream web { {% for i in service('web') %}server {{ i.address }}:{{ i.port }}; {% endfor %}}"
    further = "service('web', details=true) %}server {{ i.tagged_addresses.wan.address }}:8080"
    new = old.replace("service('web') %}server {{ i.address }}:{{ i.port }}", further)
    first = Renderer([load(old)])
    live = first.render(Snapshot(held), HTTP).texts[0]
    first.accept()
    rendering = Renderer([load(new)], before=first, live_text=lambda: live).render(Snapshot(held), HTTP)
    assert (rendering.texts[0], rendering.removed) == ("upstream web { server 198.51.100.1:8080; }", ())
