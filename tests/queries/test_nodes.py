"""The nodes of a datacenter: the result of nodes(), its order, what is left out, and how it is stored."""

from pathlib import Path

import pytest

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.guard import Memory
from ctemplate.lint.kinds import of_field, of_result
from ctemplate.queries import KIND_FUNCTIONS, CatalogNode, NodesQuery, kind_of, resource_of
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.template import Renderer, Template

CATALOG = """
datacenter: dc1
nodes:
  b: {address: "2001:db8::1", id: id-b, meta: {rack: r1}, tagged_addresses: {wan: 192.0.2.1}}
  a: {address: 10.0.0.1}
datacenters: {east: {nodes: {e: {address: 10.1.0.1}}}}
"""
BODY = b"""[
 {"ID": "2", "Node": "b", "Address": "::1", "Datacenter": "dc1", "TaggedAddresses": {"wan": "1.1.1.1"}, "Meta": null},
 {"ID": "", "Node": "a", "Address": "10.0.0.1", "Datacenter": "dc1", "TaggedAddresses": null, "Meta": {"k": "v"}},
 {"ID": "", "Node": "z", "Address": "no address", "Datacenter": "dc1", "TaggedAddresses": null, "Meta": null}
]"""
A = CatalogNode(name="a", address="10.0.0.1", datacenter="dc1", meta={"k": "v"})
B = CatalogNode(name="b", address="[::1]", id="2", datacenter="dc1", tagged_addresses={"wan": "1.1.1.1"})


def text_of(text, folder, *, catalog=CATALOG):
    source, contents = Path(folder) / "t.j2", parse_catalog(catalog, name="c")
    source.write_text(text)
    renderer = Renderer([Template.load(source, variables={}, environ={})])
    wanted = renderer.render(Snapshot({})).used
    return renderer.render(Snapshot({query: answer(contents, query) for query in wanted})).texts[0]


def decoded(query, body, **limits):
    return kind_of(query).decode(query, body, Decoder(DataLimits(**limits)))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (
            "{% for n in nodes() %}{{ n.name }} {{ n.ip }};{% endfor %}",
            "a 10.0.0.1;b 2001:db8::1;",
        ),
        ("{{ nodes()[1].address }}", "[2001:db8::1]"),
        ("{{ nodes()[1].id }} {{ nodes()[1].meta.rack }} {{ nodes()[1].tagged_addresses.wan }}", "id-b r1 192.0.2.1"),
        ("{% for n in nodes(dc='east') %}{{ n.name }} {{ n.datacenter }}{% endfor %}", "e east"),
        ("{% for n in nodes(dc='west') %}{{ n.name }}{% else %}none{% endfor %}", "none"),
    ],
)
def test_nodes_come_by_name_with_their_fields(text, printed, tmp_path):
    assert text_of(text, tmp_path) == printed


def test_what_consul_says_is_decoded_and_sorted():
    value, rejections = decoded(NodesQuery(), BODY)
    assert value == (A, B)
    assert [str(rejection) for rejection in rejections] == ["node 'z': address: 'no address' is not an IP address"]


def test_near_keeps_consuls_order():
    assert decoded(NodesQuery(near="b"), BODY)[0] == (B, A)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_name_bytes": 3}, "node 'long': name: longer than 3 bytes"),
        ({"max_meta_bytes": 3}, "node 'long': meta: longer than 3 bytes together"),
    ],
)
def test_a_node_beyond_the_limits_is_left_out(limits, said):
    body = b'[{"Node": "long", "Address": "10.0.0.1", "Meta": {"k": "val"}}, {"Node": "b", "Address": "10.0.0.2"}]'
    value, rejections = decoded(NodesQuery(), body, **limits)
    assert ([node.name for node in value], [str(rejection) for rejection in rejections]) == (["b"], [said])


@pytest.mark.parametrize(("body", "value"), [(b"null", ()), (b"[]", ())])
def test_there_may_be_no_nodes(body, value):
    assert decoded(NodesQuery(), body) == (value, ())


def test_what_is_no_list_of_nodes_is_refused():
    with pytest.raises(Undecodable):
        decoded(NodesQuery(), b'{"a": 1}')


@pytest.mark.parametrize(
    ("query", "target"),
    [
        (NodesQuery(), "/v1/catalog/nodes"),
        (NodesQuery(dc="east", near="_agent"), "/v1/catalog/nodes?dc=east&near=_agent"),
    ],
)
def test_nodes_are_one_read(query, target):
    assert resource_of(query, ConsulSettings()).target() == target


@pytest.mark.parametrize(
    ("catalog", "printed", "said"),
    [
        ("nodes: {'a; }': {address: 10.0.0.1}}", "n.name", r"node 'a; }': 'a; }' is no plain token"),
        ("nodes: {a: {address: 10.0.0.1, meta: {k: 'x; }'}}}", "n.meta.k", r"node 'a': 'x; }' is no plain token"),
        ("nodes: {a: {address: 10.0.0.1, tagged_addresses: {k: '}'}}}", "n.tagged_addresses.k", r"node 'a': '}' is"),
    ],
)
def test_a_forbidden_text_refuses_the_render_and_names_its_node(catalog, printed, said, tmp_path):
    with pytest.raises(TemplateError, match=r"t\.j2:1: " + said):
        text_of(f"{{% for n in nodes() %}}{{{{ {printed} }}}}{{% endfor %}}", tmp_path, catalog=catalog)


def test_a_node_of_a_catalog_without_an_address_is_left_out_and_named():
    contents = parse_catalog("nodes: {a: {address: web.example.com}, b: {address: 10.0.0.1}}", name="c")
    found = answer(contents, NodesQuery())
    assert [node.name for node in found.value] == ["b"]
    assert [str(rejection) for rejection in found.rejections] == [
        "node 'a': address: 'web.example.com' is not an IP address but a host name; data.allow_hostnames allows them"
    ]
    assert [node.name for node in answer(contents, NodesQuery(), allow_hostnames=True).value] == ["a", "b"]


def test_nodes_are_recorded_and_read_again():
    answers = [
        Answer(query=NodesQuery(), value=(A, B)),
        Answer(query=NodesQuery(dc="dc1"), value=(A, B)),
        Answer(query=NodesQuery(dc="east"), value=(CatalogNode(name="e", address="10.0.0.9", datacenter="east"),)),
        Answer(query=NodesQuery(near="b"), value=(B, A)),
        Answer(query=NodesQuery(dc="dc1", near="b"), value=(B, A)),
        Answer(query=NodesQuery(partition="p"), value=(A,)),
        Answer(query=NodesQuery(partition="q"), value=()),
    ]
    contents = parse_catalog(dump(recorded(answers)), name="c")
    assert [answer(contents, each.query).value for each in answers] == [each.value for each in answers]


def test_meta_is_masked():
    assert recorded([Answer(query=NodesQuery(), value=(A,))], masks=["k*"]).nodes["a"].meta == {"k": "masked"}


def test_nodes_outlive_the_process(tmp_path):
    memory = Memory(answer=Answer(query=NodesQuery(), value=(A, B), index=3, seen_at=1.5))
    path = tmp_path / "state" / "answers.json"
    assert save_answers(path, [memory], wall=10.0)
    assert load_answers(path, wall=10.0) == (memory,)


def test_lint_knows_the_fields_of_nodes():
    node = of_result(KIND_FUNCTIONS["nodes"]).items
    assert {"name", "ip", "datacenter", "meta"} <= node.fields
    assert of_field(node, "name").is_registered_text
    assert not of_field(node, "ip").is_registered_text


def test_a_filter_is_consuls_to_apply():
    query = NodesQuery(filter='Meta.rack == "r1"')
    assert resource_of(query, ConsulSettings()).target() == "/v1/catalog/nodes?filter=Meta.rack%20%3D%3D%20%22r1%22"
    assert not kind_of(query).catalog.is_plain(query)
