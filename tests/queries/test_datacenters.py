"""The datacenters that Consul knows: their order, and how they are stored."""

import pytest

from ctemplate.core.model import Answer, Snapshot
from ctemplate.guard import Guard, Memory, Policies
from ctemplate.queries import DatacentersQuery, kind_of, resource_of
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.template import Renderer, Template

QUERY = DatacentersQuery()
TEMPLATE = "{% for dc in datacenters() %}{{ dc }} {% endfor %}"


def decoded(body):
    value, rejections = kind_of(QUERY).decode(QUERY, body, Decoder(DataLimits()))
    assert rejections == ()
    return value


def names(value):
    return [entry.name for entry in value]


def rendered(catalog, folder):
    (folder / "t.j2").write_text(TEMPLATE)
    renderer = Renderer([Template.load(folder / "t.j2", variables={}, environ={})])
    found = answer(parse_catalog(catalog, name="c"), QUERY)
    return renderer.render(Snapshot({QUERY: found})).texts[0]


@pytest.mark.parametrize(
    ("catalog", "printed"),
    [
        ("datacenter: m\ndatacenters: {z: {}, a: {}}", "m a z "),
        ("datacenter: m\ndatacenters: {m: {}}", "m "),
        ("services: {}", ""),
        ("datacenter: m\nanswers: [{question: {query: datacenters}, names: [z, m, a]}]", "z m a "),
    ],
)
def test_a_catalog_gives_its_own_datacenter_first(catalog, printed, tmp_path):
    assert rendered(catalog, tmp_path) == printed


@pytest.mark.parametrize(("body", "found"), [(b'["z", "a"]', ["z", "a"]), (b"[]", []), (b"null", [])])
def test_the_order_is_consuls(body, found):
    assert names(decoded(body)) == found


def test_what_is_no_list_of_names_is_refused():
    with pytest.raises(Undecodable):
        decoded(b"[1]")


def test_no_scope_is_asked_for():
    assert resource_of(QUERY, ConsulSettings(datacenter="east")).target() == "/v1/catalog/datacenters"


def test_datacenters_are_recorded_and_read_again():
    value = decoded(b'["z", "a"]')
    contents = parse_catalog(dump(recorded([Answer(query=QUERY, value=value)])), name="c")
    assert answer(contents, QUERY).value == value


def test_datacenters_outlive_the_process(tmp_path):
    memory = Memory(answer=Answer(query=QUERY, value=decoded(b'["z", "a"]'), seen_at=1.5))
    path = tmp_path / "state" / "answers.json"
    assert save_answers(path, [memory], wall=10.0)
    assert load_answers(path, wall=10.0) == (memory,)


@pytest.mark.parametrize(
    ("new", "shown"),
    [
        (b'["a", "z", "m"]', ["z", "a", "m"]),
        (b'["m", "a", "z", "b"]', ["m", "a", "z", "b"]),
        (b'["m", "a"]', ["m", "a"]),
        (b"[]", []),
    ],
)
@pytest.mark.parametrize("policies", [None, Policies()], ids=["unguarded", "guarded"])
def test_an_order_that_alone_has_changed_is_kept(new, shown, policies):
    guard = Guard(policies)
    guard.take(Answer(query=QUERY, value=decoded(b'["z", "a", "m"]'), seen_at=1.0), 1.0)
    found = guard.take(Answer(query=QUERY, value=decoded(new), seen_at=2.0), 2.0)
    assert names(found.value) == shown
