"""A key with an unusable new value keeps its last good value for a while; everything else continues."""

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st
from rendering import load, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import KeyQuery, NodesQuery, TreeQuery
from ctemplate.queries.key import KeyEntry
from ctemplate.queries.nodes import CatalogNode
from ctemplate.template import Owner, Renderer

HOLD = 300.0
LIMIT = KeyQuery(path="limit")
FOLDER = TreeQuery(prefix="set/")
KEY = "size {{ key('limit') }};\n"
TREE = "{% for pair in tree('set') %}set {{ pair.key }} {{ pair.value }};\n{% endfor %}"
SERVICES = "{% for s in services() %}{{ s.name }} {{ service(s.name) | length }};\n{% endfor %}"
BAD = "1m; } evil {"


def snapshot(*, limit=None, folder=None, services=("web",)):
    """Services with an instance each; a key's value, "" where it is not there; a folder's keys with their values."""
    known = {answer.query: answer for answer in world(*(web(name=name) for name in services))}
    if limit is not None:
        entries = (KeyEntry(path="limit", data=limit.encode()),) if limit else ()
        known[LIMIT] = Answer(query=LIMIT, value=entries)
    if folder is not None:
        entries = tuple(KeyEntry(path=f"set/{key}", data=value.encode()) for key, value in sorted(folder.items()))
        known[FOLDER] = Answer(query=FOLDER, value=entries)
    return Snapshot(known)


def live(template, first):
    """Return a renderer whose rendering over a snapshot is live."""
    renderer = Renderer([load(template)])
    renderer.render(first)
    renderer.accept()
    return renderer


def kept(rendering):
    return [str(rejection) for rejection in rendering.kept]


def test_a_value_that_cannot_be_printed_holds_up_nothing_else_for_a_while():
    renderer = live(KEY + SERVICES, snapshot(limit="1m"))
    bad = snapshot(limit=BAD, services=("api", "web"))
    rendering = renderer.render(bad, now=100.0)
    assert rendering.texts == ("size 1m;\napi 1;\nweb 1;\n",)
    (said,) = kept(rendering)
    assert said.startswith("key 'limit': ")
    assert "t.j2:1: '1m; } evil {' is no plain token" in said
    assert renderer.due_at() == 100.0 + HOLD
    assert renderer.render(snapshot(limit=BAD), now=100.0 + HOLD - 1).texts == ("size 1m;\nweb 1;\n",)
    with pytest.raises(TemplateError, match=r"t.j2:1: key 'limit': '1m; } evil {' is no plain token"):
        renderer.render(snapshot(limit=BAD), now=100.0 + HOLD)
    mended = renderer.render(snapshot(limit="3m"), now=100.0 + HOLD + 1)
    assert mended.texts == ("size 3m;\nweb 1;\n",)
    assert not mended.kept


def test_a_deleted_key_keeps_its_value_for_a_while_and_is_waited_for_then():
    renderer = live(KEY + SERVICES, snapshot(limit="1m"))
    rendering = renderer.render(snapshot(limit="", services=("api", "web")), now=100.0)
    assert rendering.texts == ("size 1m;\napi 1;\nweb 1;\n",)
    assert kept(rendering) == ["key 'limit': no longer exists"]
    assert not rendering.missing
    assert renderer.render(snapshot(limit=""), now=100.0 + HOLD).missing == {LIMIT}
    assert renderer.render(snapshot(limit="2m"), now=100.0 + HOLD + 1).texts == ("size 2m;\nweb 1;\n",)


def test_another_bad_value_does_not_begin_the_time_anew():
    renderer = live(KEY, snapshot(limit="1m"))
    for second, value in ((0.0, BAD), (100.0, "x{"), (200.0, ""), (299.0, BAD)):
        assert renderer.render(snapshot(limit=value), now=second).texts == ("size 1m;\n",)
    with pytest.raises(TemplateError, match="key 'limit'"):
        renderer.render(snapshot(limit="y{"), now=HOLD)


@pytest.mark.parametrize(
    ("folder", "text"),
    [
        pytest.param({"a": BAD, "b": "3"}, "set a 1;\nset b 3;\n", id="one has a bad value"),
        pytest.param({"a": "2", "b": "2", "c": BAD}, "set a 2;\nset b 2;\n", id="a new one has a bad value"),
        pytest.param({"a": BAD, "b": BAD, "c": "1"}, "set a 1;\nset b 1;\nset c 1;\n", id="two have"),
        pytest.param({"b": "1"}, "set b 1;\n", id="one is deleted, and not waited for"),
    ],
)
def test_of_a_folder_the_bad_keys_alone_keep_their_values(folder, text):
    renderer = live(TREE, snapshot(folder={"a": "1", "b": "1"}))
    assert renderer.render(snapshot(folder=folder)).texts == (text,)


def test_a_value_that_is_more_than_a_value_in_nginx_keeps_its_last_good_one():
    place = [ConfigPlace(inside=b"http")]
    renderer = Renderer(
        [load("server { location / { proxy_pass http://10.0.0.1:{{ key('limit') }}; } }\nupstream a { }\n")]
    )
    with pytest.raises(TemplateError, match="key 'limit': '80' would choose where 'proxy_pass' goes"):
        renderer.render(snapshot(limit="80"), place)
    renderer = Renderer([load("server { location / { proxy_pass http://{{ key('limit') }}; } }\nupstream a { }\n")])
    renderer.render(snapshot(limit="a"), place)
    renderer.accept()
    rendering = renderer.render(snapshot(limit="127.0.0.1:8500"), place)
    assert "proxy_pass http://a;" in rendering.texts[0]
    assert "key 'limit'" in kept(rendering)[0]


def test_a_bad_node_is_left_out_once_its_last_good_data_have_been_in_use_for_a_while():
    def nodes(*known):
        entries = tuple(CatalogNode(name=name, address="10.0.0.1", meta={"k": value}) for name, value in known)
        return Snapshot({NodesQuery(): Answer(query=NodesQuery(), value=entries)})

    source = "{% for n in nodes() %}{{ n.name }} {{ n.meta.k }};\n{% endfor %}"
    renderer = live(source, nodes(("a", "1"), ("b", "1")))
    bad = nodes(("a", BAD), ("b", "2"), ("c", BAD))
    assert renderer.render(bad, now=0.0).texts == ("a 1;\nb 2;\n",)
    assert renderer.render(bad, now=HOLD).texts == ("b 2;\n",)
    assert renderer.render(nodes(("a", "3")), now=HOLD + 1).texts == ("a 3;\n",)


def test_bytes_that_are_no_text_name_the_key():
    renderer = live(KEY, snapshot(limit="1m"))
    answer = Answer(query=LIMIT, value=(KeyEntry(path="limit", data=b"\xff\xfe"),))
    rendering = renderer.render(Snapshot({LIMIT: answer}))
    assert rendering.texts == ("size 1m;\n",)
    assert "key 'limit'" in kept(rendering)[0]
    with pytest.raises(TemplateError, match=r"t.j2:1: key 'limit': "):
        Renderer([load(KEY)]).render(Snapshot({LIMIT: answer}))


def test_an_edit_that_no_value_of_the_key_fits_is_refused():
    before = live(SERVICES, snapshot(limit=BAD))
    edited = Renderer([load(KEY + SERVICES)], before=before)
    with pytest.raises(TemplateError, match=r"t.j2:1: key 'limit'"):
        edited.render(snapshot(limit=BAD))


def test_release_ends_the_use_of_the_last_good_value():
    renderer = live(KEY, snapshot(limit="1m"))
    renderer.render(snapshot(limit=BAD))
    assert renderer.release("key 'limit'") == ("key 'limit'",)
    with pytest.raises(TemplateError, match="key 'limit'"):
        renderer.render(snapshot(limit=BAD))


def test_a_later_process_goes_on_with_the_last_good_value_for_the_rest_of_the_time():
    before = live(KEY, snapshot(limit="1m"))
    before.render(snapshot(limit=BAD))
    later = Renderer([load(KEY)], baseline=before.baseline)
    later.remember(before.known_good)
    rendering = later.render(snapshot(limit=BAD))
    assert rendering.texts == ("size 1m;\n",)
    assert before.due_at() <= later.due_at() < before.due_at() + HOLD / 2


def test_a_trial_without_a_key_has_its_last_good_value():
    renderer = live(KEY, snapshot(limit="1m"))
    new = snapshot(limit="much")
    assert renderer.last_good.changed_things(new) == {"key 'limit'"}
    assert renderer.trial(new, (), [Owner("", thing="key 'limit'")], {}).texts == ("size 1m;\n",)


VALUES = st.sampled_from(["1", "2", BAD, "", "x y"])


@settings(max_examples=examples(30))
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, st.sets(st.sampled_from("pqr"), min_size=1)), max_size=8))
def test_whatever_is_written_to_keys_services_are_always_new_and_good_values_are_used(steps):
    renderer = live(KEY + TREE + SERVICES, snapshot(limit="1", folder={"a": "1", "b": "1"}, services=["p"]))
    good = {"limit": "1", "a": "1", "b": "1"}
    for limit, a, b, services in steps:
        folder = {key: value for key, value in (("a", a), ("b", b)) if value}
        rendering = renderer.render(snapshot(limit=limit, folder=folder, services=sorted(services)))
        for key, value in (("limit", limit), ("a", a), ("b", b)):
            good[key] = good[key] if value in {BAD, "x y"} or (not value and key == "limit") else value
        pairs = "".join(f"set {key} {good[key]};\n" for key in "ab" if good[key])
        names = "".join(f"{name} 1;\n" for name in sorted(services))
        assert rendering.texts == (f"size {good['limit']};\n{pairs}{names}",)
        renderer.accept()


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        pytest.param({"a": BAD, "b": "1"}, {"a": BAD, "b": BAD}, "set a 1;\nset b 1;\n", id="then another turns bad"),
        pytest.param({"a": "1", "b": "1", "c": BAD}, None, "set a 1;\nset b 1;\n", id="a new one is bad"),
        pytest.param({"a": BAD, "b": "2"}, {"a": "3", "b": "2"}, "set a 3;\nset b 2;\n", id="it is mended"),
    ],
)
def test_a_restart_knows_the_last_good_values_of_all_keys_of_a_folder(before, after, text):
    first = live(TREE, snapshot(folder={"a": "1", "b": "1"}))
    now = snapshot(folder=before)
    first.render(now)
    first.accept()
    again = Renderer([load(TREE)], baseline=first.baseline)
    again.remember(first.known_good)
    again.remember_answers(now)
    assert again.render(snapshot(folder=after or before)).texts == (text,)
