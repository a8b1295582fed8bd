"""One node with its services: the result of node(name), its order, what is left out, and how it is stored."""

import pytest

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.guard import Memory
from ctemplate.queries import AgentQuery, NodeQuery, NodesQuery, kind_of, resource_of
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.template import Renderer, Template

CATALOG = """
datacenter: dc1
nodes: {a: {address: 10.0.0.1, meta: {rack: r1}}, b: {address: 10.0.0.2}}
node_services:
  a:
    - {service: web, id: w2, address: "2001:db8::1", port: 80, tags: [b, a], meta: {k: v}}
    - {service: web, id: w1, port: 81}
    - {service: api}
"""
BODY = b"""{"Node": {"ID": "1", "Node": "a", "Address": "10.0.0.1", "Datacenter": "dc1", "Meta": null},
 "Services": {
  "w2": {"ID": "w2", "Service": "web", "Tags": ["b", "a"], "Address": "10.0.0.9", "Port": 80, "Meta": {"k": "v"}},
  "w1": {"ID": "w1", "Service": "web", "Tags": null, "Address": "", "Port": 81, "Meta": null},
  "x": {"ID": "x", "Service": "bad", "Tags": null, "Address": "no address", "Port": 81, "Meta": null}}}"""
QUERY = NodeQuery(name="a")


def rendering_of(text, folder, catalog=CATALOG):
    contents = parse_catalog(catalog, name="c")
    (folder / "t.j2").write_text(text)
    renderer = Renderer([Template.load(folder / "t.j2", variables={}, environ={})])
    wanted = renderer.render(Snapshot({})).used
    return renderer.render(Snapshot({query: answer(contents, query) for query in wanted}))


def decoded(body):
    return kind_of(QUERY).decode(QUERY, body, Decoder(DataLimits()))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{ node('a').node.ip }} {{ node('a').node.meta.rack }} {{ node('a').node.datacenter }}", "10.0.0.1 r1 dc1"),
        (
            "{% for s in node('a').services %}{{ s.name }} {{ s.id }} {{ s.port }};{% endfor %}",
            "api api 0;web w1 81;web w2 80;",
        ),
        ("{% set s = node('a').services[-1] %}{{ s.ip }} {{ s.address }}", "2001:db8::1 [2001:db8::1]"),
        ("{{ node('a').services[-1].tags | join('-') }} {{ node('a').services[-1].meta.k }}", "a-b v"),
        ("{{ node('b').services | length }}", "0"),
        ("{% if node('none') %}there{% else %}away{% endif %}", "away"),
    ],
)
def test_a_node_has_its_fields_and_services(text, printed, tmp_path):
    rendering = rendering_of(text, tmp_path)
    assert (rendering.missing, rendering.texts[0]) == (frozenset(), printed)


def test_a_node_that_is_not_there_is_waited_for(tmp_path):
    assert rendering_of("{{ node('none').node.ip }}", tmp_path).missing == {NodeQuery(name="none")}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("node('')", "node: '' is no name of a node"),
        ("node('..')", "node: '..' is no name of a node"),
        ("node('a//b')", "node: 'a//b' is no name of a node"),
        ("node(1)", "node: the name must be a text, not int"),
    ],
)
def test_a_name_is_needed(call, said, tmp_path):
    with pytest.raises(TemplateError, match=said):
        rendering_of(f"{{{{ {call} }}}}", tmp_path)


def test_a_forbidden_text_refuses_the_render_and_names_the_node(tmp_path):
    catalog = "nodes: {a: {address: 10.0.0.1}}\nnode_services: {a: [{service: web, meta: {k: 'x; }'}}]}"
    with pytest.raises(TemplateError, match=r"t\.j2:1: node 'a': 'x; }' is no plain token"):
        rendering_of("{% for s in node('a').services %}{{ s.meta.k }}{% endfor %}", tmp_path, catalog)


def test_without_a_name_it_is_the_agents_node(tmp_path):
    body = b'{"Config": {"Datacenter": "dc1", "NodeName": "a"}, "Member": {}}'
    agent, _ = kind_of(AgentQuery()).decode(AgentQuery(), body, Decoder(DataLimits()))
    contents = parse_catalog(dump(recorded([Answer(query=AgentQuery(), value=agent)])), name="c")
    found = answer(contents, AgentQuery())
    node = Answer(query=QUERY, value=decoded(BODY)[0])
    (tmp_path / "t.j2").write_text("{{ node().node.name }}")
    renderer = Renderer([Template.load(tmp_path / "t.j2", variables={}, environ={})])
    assert renderer.render(Snapshot({})).missing == {AgentQuery()}
    assert renderer.render(Snapshot({AgentQuery(): found})).missing == {QUERY}
    assert renderer.render(Snapshot({AgentQuery(): found, QUERY: node})).texts[0] == "a"


def test_what_is_no_agent_is_refused():
    with pytest.raises(Undecodable):
        kind_of(AgentQuery()).decode(AgentQuery(), b"{}", Decoder(DataLimits()))


def test_what_consul_says_is_decoded_and_sorted():
    (found,), rejections = decoded(BODY)
    assert (found.node.name, found.node.address) == ("a", "10.0.0.1")
    assert [(each.id, each.address, each.tags) for each in found.services] == [
        ("w1", "", ()),
        ("w2", "10.0.0.9", ("a", "b")),
    ]
    assert [str(rejection) for rejection in rejections] == [
        "service 'bad' instance 'x': address: 'no address' is not an IP address"
    ]


def test_a_node_that_is_not_there_is_nothing():
    assert decoded(b"null") == ((), ())


def test_what_is_no_node_is_refused():
    with pytest.raises(Undecodable):
        decoded(b"[]")


def test_the_name_is_quoted():
    assert resource_of(NodeQuery(name="a/b c"), ConsulSettings()).target() == "/v1/catalog/node/a%2Fb%20c"


def test_a_node_is_recorded_beside_the_list_and_read_again():
    value, _ = decoded(BODY)
    node = value[0].node
    answers = [
        Answer(query=QUERY, value=value),
        Answer(query=NodesQuery(), value=(node,)),
        Answer(query=NodeQuery(name="none"), value=()),
        Answer(query=NodeQuery(name="a", partition="p"), value=value),
    ]
    contents = parse_catalog(dump(recorded(answers)), name="c")
    assert [answer(contents, each.query).value for each in answers] == [each.value for each in answers]


def test_a_node_outlives_the_process(tmp_path):
    memory = Memory(answer=Answer(query=QUERY, value=decoded(BODY)[0], index=3, seen_at=1.5))
    path = tmp_path / "state" / "answers.json"
    assert save_answers(path, [memory], wall=10.0)
    assert load_answers(path, wall=10.0) == (memory,)
