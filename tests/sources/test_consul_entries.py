import json

import msgspec
import pytest
from consul_fakes import entries, entry
from hypothesis import given, strategies as st

from ctemplate.core.model import CheckState, Instance, Rejection, Service, Status
from ctemplate.queries import (
    AlarmsQuery,
    NodeContentQuery,
    NodeListQuery,
    PreparedQuery,
    ServiceQuery,
    ServicesQuery,
    kind_of,
)
from ctemplate.sources.consul.endpoints.decoding import (
    Decoder,
    Undecodable,
    aggregate,
    decode_node_content,
    decode_node_list,
    decode_servers,
    decode_services,
    drop_unqueryable_names,
)
from ctemplate.sources.consul.endpoints.nodes import NodeEntry, PlacedService
from ctemplate.sources.consul.endpoints.paths import granted
from ctemplate.sources.consul.endpoints.settings import DataLimits

FULL = {
    "Node": {
        "ID": "5b1f",
        "Node": "n1",
        "Address": "10.9.9.9",
        "Datacenter": "dc1",
        "TaggedAddresses": {"lan": "10.9.9.9"},
        "Meta": {"rack": "r1"},
        "CreateIndex": 3,
    },
    "Service": {
        "ID": "web-1",
        "Service": "web",
        "Tags": ["v2", "http", "v2"],
        "Address": "2001:db8::7",
        "Meta": {"version": "2"},
        "Port": 8080,
        "Weights": {"Passing": 10, "Warning": 3},
        "EnableTagOverride": False,
        "CreateIndex": 42,
        "ModifyIndex": 43,
    },
    "Checks": [
        {"Node": "n1", "CheckID": "service:web-1", "Name": "http", "Status": "warning", "Output": "x" * 99,
         "ServiceID": "web-1"},
        {"Node": "n1", "CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "passing", "ServiceID": ""},
    ],
}  # fmt: skip


def answered(body, query):
    return kind_of(query).decode(query, body, Decoder(DataLimits()))


def decoded(*rows, limits=None, **options):
    return Decoder(limits or DataLimits()).decode_instances(entries(*rows), "web", **options)


def test_an_entry_becomes_an_instance():
    assert decoded(FULL) == (
        (
            Instance(
                id="web-1",
                name="web",
                node="n1",
                address="[2001:db8::7]",
                port=8080,
                tags=("http", "v2"),
                meta={"version": "2"},
                weight=3,
                status=Status.WARNING,
                node_id="5b1f",
                node_address="10.9.9.9",
                node_meta={"rack": "r1"},
                checks=(
                    CheckState(id="serfHealth", name="Serf Health Status", status="passing"),
                    CheckState(id="service:web-1", name="http", status="warning", service_id="web-1"),
                ),
                datacenter="dc1",
                created=42,
            ),
        ),
        (),
    )


def test_a_service_without_address_has_its_nodes():
    (instance,), _ = decoded(entry(Address=""))
    assert instance.address == "10.9.9.9"


@pytest.mark.parametrize("body", [b"[]", b"null"])
def test_an_unknown_service_has_no_instances(body):
    assert Decoder(DataLimits()).decode_instances(body, "web") == ((), ())


def test_instances_are_sorted_by_node_then_id():
    rows = [entry("n2", "a"), entry("n1", "b"), entry("n1", "a")]
    instances, _ = decoded(*rows)
    assert [(i.node, i.id) for i in instances] == [("n1", "a"), ("n1", "b"), ("n2", "a")]


def test_consuls_order_is_kept_where_it_is_asked_for():
    instances, _ = decoded(entry("n2", "a"), entry("n1", "b"), keep_order=True)
    assert [i.node for i in instances] == ["n2", "n1"]


def test_the_same_id_on_two_nodes_is_two_instances():
    instances, _ = decoded(entry("n1", "a"), entry("n2", "a"), entry("n1", "a", Port=81))
    assert [(i.node, i.port) for i in instances] == [("n1", 80), ("n2", 80)]


@pytest.mark.parametrize(
    ("kind", "output", "has_run", "always_has_output"),
    [
        pytest.param("tcp", "", False, True, id="has not run"),
        pytest.param("http", "200 OK", True, True, id="has run"),
        pytest.param("script", "", False, False, id="script"),
        pytest.param("ttl", "", True, False, id="reported"),
        pytest.param("", "", True, False, id="of a node"),
    ],
)
def test_a_check_tells_whether_it_has_run(kind, output, has_run, always_has_output):
    row = entry() | {"Checks": [{"CheckID": "c", "Status": "critical", "Type": kind, "Output": output}]}
    ((instance,), _) = decoded(row)
    (check,) = instance.checks
    assert (check.has_run, check.always_has_output) == (has_run, always_has_output)


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        pytest.param([], Status.PASSING, id="none"),
        pytest.param([("c", "passing"), ("d", "passing")], Status.PASSING, id="passing"),
        pytest.param([("c", "warning"), ("d", "passing")], Status.WARNING, id="warning"),
        pytest.param([("c", "warning"), ("d", "critical")], Status.CRITICAL, id="critical wins over warning"),
        pytest.param([("c", "critical"), ("d", "warning")], Status.CRITICAL, id="critical stays"),
        pytest.param([("c", "critical"), ("_node_maintenance", "critical")], Status.MAINTENANCE, id="node"),
        pytest.param([("_service_maintenance:web-1", "passing")], Status.MAINTENANCE, id="service"),
        pytest.param([("c", "unknown")], Status.CRITICAL, id="another word"),
        pytest.param([("c", "")], Status.CRITICAL, id="no word"),
        pytest.param([("_service_maintenance", "passing")], Status.PASSING, id="nearly maintenance"),
    ],
)
def test_one_state_comes_of_all_checks(checks, status):
    assert aggregate([CheckState(id=id_, status=word) for id_, word in checks]) == status


@given(st.permutations([("a", "passing"), ("b", "warning"), ("c", "critical"), ("_node_maintenance", "critical")]))
def test_the_order_of_checks_does_not_matter(checks):
    found = [CheckState(id=id_, status=word) for id_, word in checks]
    assert aggregate(found) == Status.MAINTENANCE
    assert aggregate([check for check in found if len(check.id) == 1]) == Status.CRITICAL


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        pytest.param(entry(Address="evil;"), "address", "'evil;' is not an IP address", id="address"),
        pytest.param(entry(Port=65536), "port", "65536 is not 0 to 65535", id="port"),
        pytest.param(entry(Port=-1), "port", "-1 is not 0 to 65535", id="negative port"),
        pytest.param(entry(Weights={"Passing": 70000, "Warning": 1}), "weight", "70000 is not 0 to 65535", id="weight"),
        pytest.param(entry(Tags=["a", "b", "c", "d"]), "tags", "4 of them, at most 3 are taken", id="tags"),
        pytest.param(entry(Tags=["é" * 11]), "tags", "longer than 20 bytes together", id="size of tags"),
        pytest.param(entry(Meta={"k": "v" * 30}), "meta", "longer than 30 bytes together", id="size of meta"),
        pytest.param(entry("n" * 17), "node", "longer than 16 bytes", id="node"),
    ],
)
def test_what_is_not_valid_is_left_out_with_a_reason(row, field, reason):
    limits = DataLimits(max_tags=3, max_tag_bytes=20, max_meta_bytes=30, max_name_bytes=16)
    instances, rejections = decoded(row, entry("n2", "good"), limits=limits)
    assert [instance.id for instance in instances] == ["good"]
    assert rejections == (Rejection(service="web", instance="web-1", field=field, reason=reason),)


def test_the_weight_that_counts_is_the_one_of_the_status():
    (instance,), rejections = decoded(entry(Weights={"Passing": 5, "Warning": 70000}))
    assert (instance.weight, rejections) == (5, ())


def test_an_entry_of_another_shape_is_left_out_alone():
    instances, rejections = decoded(entry(Port="80"), entry("n2", "good"))
    assert [instance.id for instance in instances] == ["good"]
    assert rejections == (
        Rejection(service="web", field="entry", reason="Expected `int`, got `str` - at `$.Service.Port`"),
    )


def test_an_answer_of_another_shape_throughout_is_no_answer():
    with pytest.raises(Undecodable, match="Expected `int`, got `str`"):
        decoded(entry(Port="80"), entry("n2", Port="81"))


def test_beyond_the_cap_the_longest_registered_stay():
    rows = [entry("n1", f"i{n}", CreateIndex=100 - n) for n in range(5)]
    instances, rejections = decoded(*rows, limits=DataLimits(max_instances=3))
    assert [instance.id for instance in instances] == ["i2", "i3", "i4"]
    reason = "5 of them, at most 3 are taken, the longest registered"
    assert rejections == (Rejection(service="web", field="instances", reason=reason),)


def test_beyond_so_many_values_the_longest_registered_stay():
    rows = [
        entry(f"n{n}", f"i{n}", CreateIndex=n, Tags=[f"t{t}" for t in range(count)])
        for n, count in enumerate([2, 9, 3])
    ]
    instances, rejections = decoded(*rows, limits=DataLimits(max_values=5))
    assert [instance.id for instance in instances] == ["i0", "i2"]
    reason = "14 tags and meta pairs in 3 of them, at most 5 are taken, those of the longest registered"
    assert rejections == (Rejection(service="web", field="instances", reason=reason),)


@pytest.mark.parametrize("body", [b"", b"[{", b'{"a":1}', b'"x"', b"[1,", b"\xff"])
def test_a_body_that_is_no_list_is_undecodable(body):
    with pytest.raises(Undecodable):
        Decoder(DataLimits()).decode_instances(body, "web")


def test_equal_parts_are_shared_across_answers():
    edge = Decoder(DataLimits())
    row = FULL | {"Service": FULL["Service"] | {"ID": "web-2"}}
    (first,), _ = edge.decode_instances(entries(FULL), "web")
    (second,), _ = edge.decode_instances(entries(row), "web")
    assert first.id != second.id
    assert first.tags is second.tags
    assert first.meta is second.meta
    assert first.node is second.node
    assert first.checks[0] is second.checks[0]


def test_services_are_sorted_with_sorted_tags():
    body = json.dumps({"web": ["b", "a", "b"], "api": [], "db": None}).encode()
    assert decode_services(body) == (
        Service(name="api"),
        Service(name="db"),
        Service(name="web", tags=("a", "b")),
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"web":"x"}'])
def test_services_of_another_shape_are_undecodable(body):
    with pytest.raises(Undecodable):
        decode_services(body)


TEXT = st.text(max_size=30)
ROW = st.fixed_dictionaries(
    {
        "Node": st.fixed_dictionaries({"Node": TEXT, "Address": TEXT}),
        "Service": st.fixed_dictionaries(
            {"ID": TEXT, "Service": TEXT, "Address": TEXT | st.ip_addresses().map(str), "Port": st.integers()},
            optional={"Tags": st.lists(TEXT) | st.none(), "Meta": st.dictionaries(TEXT, TEXT)},
        ),
    },
    optional={"Checks": st.lists(st.fixed_dictionaries({"CheckID": TEXT, "Status": TEXT})) | st.none()},
)


@given(st.lists(ROW, max_size=8))
def test_whatever_is_registered_each_row_is_an_instance_a_fault_or_a_double(rows):
    instances, rejections = decoded(*rows)
    keys = {(row["Node"]["Node"], row["Service"]["ID"]) for row in rows}
    assert {(i.node, i.id) for i in instances} <= keys
    assert len(keys) <= len(instances) + len(rejections) <= len(rows)
    assert all(0 <= i.port <= 65535 and i.address and i.address.isprintable() for i in instances)
    assert all(str(rejection).isprintable() for rejection in rejections)


@pytest.mark.parametrize(
    "name",
    [".", "..", "a//b", "/a", "/", "a/./b", "a/../b", "a\nb", "a\0b", "a\u200bb", "a\u202eb", "\u2028", "\xa0", ""],
)
def test_a_name_that_consul_cannot_be_asked_for_is_left_out(name):
    kept, rejections = drop_unqueryable_names((Service(name=name), Service(name="web")))
    assert kept == (Service(name="web"),)
    assert [(rejection.service, rejection.field) for rejection in rejections] == [(name, "name")]


@pytest.mark.parametrize("name", ["web", "a/b", "a/", "...", "a b", " ", "a?b", "a%b", "a#b", "é", "a\\b", "x" * 300])
def test_any_other_name_is_opaque(name):
    assert drop_unqueryable_names((Service(name=name),)) == ((Service(name=name),), ())


def test_an_instance_of_a_name_that_differs_in_case_is_not_the_services():
    row = {"Node": {"Node": "n", "Address": "10.0.0.1"}, "Service": {"ID": "x", "Service": "WEB"}}
    instances, rejections = Decoder(limits=DataLimits()).decode_instances(json.dumps([row]).encode(), "web")
    assert instances == ()
    reason = "differs in case from 'web', which was asked for"
    assert rejections == (Rejection(service="WEB", instance="x", field="name", reason=reason),)


def executed(*rows, near=None, service="web"):
    body = json.dumps({"Service": service, "Nodes": rows, "Datacenter": "dc1", "Failovers": 0}).encode()
    return answered(body, PreparedQuery(name="live", near=near))


@given(st.permutations([("n2", "a"), ("n1", "b"), ("n1", "a"), ("n3", "a"), ("bad", "a"), ("bad", "b")]))
def test_what_a_prepared_query_gives_does_not_depend_on_lots(places):
    rows = [entry(node, id_, **({"Address": "x y"} if node == "bad" else {})) for node, id_ in places]
    instances, rejections = executed(*rows)
    assert [(instance.node, instance.id) for instance in instances] == [
        ("n1", "a"),
        ("n1", "b"),
        ("n2", "a"),
        ("n3", "a"),
    ]
    assert [rejection.instance for rejection in rejections] == ["a", "b"]


def test_near_keeps_the_order_of_nodes_alone():
    instances, _ = executed(entry("n2", "b"), entry("n1", "a"), entry("n2", "a"), near="_agent")
    assert [(instance.node, instance.id) for instance in instances] == [("n2", "a"), ("n2", "b"), ("n1", "a")]


def test_a_prepared_query_without_instances_gives_none():
    assert answered(b'{"Service": "web", "Nodes": null}', PreparedQuery(name="live")) == ((), ())


def test_a_proxy_that_stands_for_the_service_is_left_out():
    instances, rejections = executed(entry("n1", "web-proxy", Service="web-sidecar-proxy"), entry("n1", "web-1"))
    assert [instance.id for instance in instances] == ["web-1"]
    reason = "Consul counts it to 'web', whose proxy it is; proxies are not taken"
    assert rejections == (Rejection(service="web-sidecar-proxy", instance="web-proxy", field="name", reason=reason),)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"Service": "web", "Nodes": {}}', b'{"Service": 1}', b"{"])
def test_an_execution_of_another_shape_is_undecodable(body):
    with pytest.raises(Undecodable):
        answered(body, PreparedQuery(name="live"))


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "query",
    [
        ServiceQuery(name="web"),
        PreparedQuery(name="q"),
        ServicesQuery(),
        AlarmsQuery(),
        NodeListQuery(),
        NodeContentQuery(name="n"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'[{"Service": {"ID": "\xff"}, "Name": "\xff", "CheckID": "\xff"}]', id="no UTF-8, as a list"),
        pytest.param(b'{"w\xffb": ["\xff"], "Service": "\xff", "Nodes": []}', id="no UTF-8, as a table"),
        pytest.param(b'[{"Other": %b' % DEEP, id="nested without end, as a list"),
        pytest.param(b'{"Other": {"Other": %b' % DEEP, id="nested without end, as a table"),
        pytest.param(DEEP, id="nothing but nesting"),
    ],
)
def test_what_no_json_is_made_of_is_undecodable_for_every_query(query, body):
    with pytest.raises(Undecodable):
        answered(body, query)


@pytest.mark.parametrize("body", [b'[{"Node": {"ID": "\xff"}}]', b'[{"Other": %b' % DEEP])
def test_servers_that_cannot_be_read_are_no_servers(body):
    assert decode_servers(body) == frozenset()


def test_rights_that_cannot_be_read_are_not_known():
    assert granted(200, b'[{"Allow": true, "Other": %b' % DEEP, asked=1) is None


def test_nodes_are_sorted_and_read_by_what_changes_them():
    body = b"""[{"Node": "n2", "ID": "2", "Address": "10.0.0.2", "Meta": {"rack": "a"}, "ModifyIndex": 7, "Other": 1},
        {"Node": "n1", "ID": "", "Address": "10.0.0.1", "Meta": null, "ModifyIndex": 8}]"""
    first, second = NodeEntry(name="n1", address="10.0.0.1"), NodeEntry(name="n2", id="2", address="10.0.0.2")
    assert decode_node_list(body) == (first, msgspec.structs.replace(second, meta={"rack": "a"}))
    assert decode_node_list(b"null") == ()


def test_what_is_on_a_node_is_read_with_its_indexes_alone():
    body = b"""{"Node": {"Node": "n1"}, "Services": {
        "a-1": {"ID": "a-1", "Service": "a", "Port": 80, "Tags": ["x"], "CreateIndex": 5, "ModifyIndex": 7},
        "b-1": {"ID": "b-1", "Service": "b", "ModifyIndex": 6}}}"""
    placed = PlacedService(id="a-1", service="a", modified=7), PlacedService(id="b-1", service="b", modified=6)
    assert decode_node_content(body) == placed


@pytest.mark.parametrize("body", [b"null", b'{"Node": {}, "Services": {}}', b'{"Node": {}, "Services": null}'])
def test_node_that_is_not_there_or_empty_has_no_services(body):
    assert decode_node_content(body) == ()


@pytest.mark.parametrize(
    ("fields", "port", "ports"),
    [
        ({"Port": 80}, 80, {}),
        ({"Port": 80, "Ports": None}, 80, {}),
        ({"Port": 0, "Ports": [{"Name": "http", "Port": 8080, "Default": True}]}, 8080, {"http": 8080}),
        (
            {"Port": 0, "Ports": [{"Name": "b", "Port": 2}, {"Name": "a", "Port": 1, "Default": False}]},
            0,
            {"a": 1, "b": 2},
        ),
        ({"Port": 80, "Ports": [{"Name": "admin", "Port": 81, "Default": True}]}, 80, {"admin": 81}),
    ],
)
def test_named_ports_are_taken_and_the_default_one_is_the_port(fields, port, ports):
    ((instance,), rejections) = Decoder(DataLimits()).decode_instances(entries(entry(**fields)), "web")
    assert (instance.port, instance.ports, rejections) == (port, ports, ())


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        ([{"Name": "a", "Port": 0}], "port 'a': 0 is not 1 to 65535"),
        ([{"Name": "a", "Port": 65536}], "port 'a': 65536 is not 1 to 65535"),
        ([{"Name": "n" * 600, "Port": 1}], "port name: longer than 512 bytes"),
    ],
)
def test_an_instance_with_a_port_that_is_none_is_left_out(ports, said):
    instances, rejections = Decoder(DataLimits()).decode_instances(entries(entry(Ports=ports)), "web")
    assert (instances, [str(each).partition(": ")[2] for each in rejections]) == ((), [said])
