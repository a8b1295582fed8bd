"""Keys below a prefix: the results of ls and tree, their order, and how they are stored."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.guard import Memory
from ctemplate.lint.kinds import KEY_FIELD, of_result
from ctemplate.queries import KIND_FUNCTIONS, KeyEntry, TreeQuery, kind_of, resource_of
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.template import Renderer, Template

CATALOG = """
kv: {lb/a: "1", lb/c/d: "2", lb2/x: "3", lb/: "", lb/c/: "", lb: own, lb/c/e: "", lb/é: "4"}
kv_base64: {lb/bin: //4=}
"""


def text_of(text, folder, *, catalog=CATALOG, trusted_keys=()):
    source, contents = Path(folder) / "t.j2", parse_catalog(catalog, name="c")
    source.write_text(text)
    renderer = Renderer([Template.load(source, variables={}, environ={}, trusted_keys=trusted_keys)])
    wanted = renderer.render(Snapshot({})).used
    return renderer.render(Snapshot({query: answer(contents, query) for query in wanted})).texts[0]


@pytest.mark.parametrize(
    ("call", "keys"),
    [
        ("ls('lb')", "a bin é"),
        ("ls('/lb/')", "a bin é"),
        ("ls('lb/c')", "d e"),
        ("ls('')", "lb"),
        ("ls('/')", "lb"),
        ("ls('none')", ""),
        ("tree('lb')", "a bin c/d c/e é"),
        ("tree('')", "lb lb/a lb/bin lb/c/d lb/c/e lb/é lb2/x"),
        ("tree('l')", ""),
    ],
)
def test_a_prefix_is_a_folder_and_markers_are_left_out(call, keys, tmp_path):
    text = f"{{% for pair in {call} %}}{{{{ pair.key | quote }}}} {{% endfor %}}"
    assert text_of(text, tmp_path).replace('"', "").split() == keys.split()


def test_a_pair_has_its_key_path_and_value(tmp_path):
    text = "{% for pair in tree('lb/c') %}{{ pair.key }} {{ pair.path }} {{ pair.value | quote }};{% endfor %}"
    assert text_of(text, tmp_path) == 'd lb/c/d "2";e lb/c/e "";'


def test_a_value_that_is_no_text_comes_as_bytes(tmp_path):
    text = "{% for pair in ls('lb') if pair.key == 'bin' %}{{ pair.value | length }}{% endfor %}"
    assert text_of(text, tmp_path) == "2"


def test_a_forbidden_value_names_its_key(tmp_path):
    with pytest.raises(TemplateError, match=r"t\.j2:1: key 'a/b': 'x; }' is no plain token"):
        text_of("{% for pair in ls('a') %}{{ pair.value }}{% endfor %}", tmp_path, catalog="kv: {a/b: 'x; }', a/a: y}")


def test_values_below_a_trusted_prefix_are_the_operators_text(tmp_path):
    text = "{% for pair in ls('a') %}{{ pair.value }}{% endfor %}"
    assert text_of(text, tmp_path, catalog="kv: {a/b: 'x; }'}", trusted_keys=("a/",)) == "x; }"


@pytest.mark.parametrize(
    ("query", "target"),
    [
        (TreeQuery(prefix="a b/"), "/v1/kv/a%20b/?recurse=true"),
        (TreeQuery(prefix="", dc="east"), "/v1/kv/?dc=east&recurse=true"),
    ],
)
def test_a_tree_is_one_recursive_read(query, target):
    assert resource_of(query, ConsulSettings()).target() == target


@given(st.lists(st.text(alphabet="ab/é~\U0001f600", min_size=1, max_size=6), unique=True))
def test_keys_come_in_the_order_of_their_bytes(paths):
    rows = ",".join(f'{{"Key": "{path}", "Value": null}}' for path in paths)
    query = TreeQuery(prefix="")
    value, _ = kind_of(query).decode(query, f"[{rows}]".encode(), Decoder(DataLimits()))
    assert [entry.path for entry in value] == sorted(paths, key=str.encode)


def test_trees_are_recorded_and_read_again():
    entries = tuple(KeyEntry(path=path, data=data) for path, data in [("a/", b""), ("a/b", b"1"), ("a/c", b"\xff")])
    answers = [
        Answer(query=TreeQuery(prefix="a/"), value=entries),
        Answer(query=TreeQuery(prefix="b/"), value=()),
        Answer(query=TreeQuery(prefix="a/", dc="east"), value=entries[:2]),
        Answer(query=TreeQuery(prefix="a/", partition="p"), value=entries[1:]),
    ]
    contents = parse_catalog(dump(recorded(answers)), name="c")
    assert [answer(contents, each.query).value for each in answers] == [each.value for each in answers]


def test_trees_outlive_the_process(tmp_path):
    entries = (KeyEntry(path="a/b", data=b"\xff"),)
    memory = Memory(answer=Answer(query=TreeQuery(prefix="a/"), value=entries, index=3, seen_at=1.5))
    path = tmp_path / "state" / "answers.json"
    assert save_answers(path, [memory], wall=10.0)
    assert load_answers(path, wall=10.0) == (memory,)


def test_lint_knows_values_of_keys_for_what_they_are():
    assert of_result(KIND_FUNCTIONS["key"]).field == KEY_FIELD
    pair = of_result(KIND_FUNCTIONS["tree"]).items
    assert {"key", "path", "value"} <= pair.fields


@pytest.mark.parametrize("function", ["ls", "tree"])
def test_a_required_folder_without_keys_is_waited_for(function, tmp_path):
    text = f"{{% for pair in {function}('a', required=true) %}}{{{{ pair.key }}}}{{% endfor %}}"
    (tmp_path / "t.j2").write_text(text)
    renderer = Renderer([Template.load(tmp_path / "t.j2", variables={}, environ={})])
    query = TreeQuery(prefix="a/")
    empty = renderer.render(Snapshot({query: Answer(query=query, value=())}))
    assert (empty.missing, empty.used) == (frozenset({query}), frozenset({query}))
    found = Answer(query=query, value=(KeyEntry(path="a/x", data=b"1"),))
    assert renderer.render(Snapshot({query: found})).texts == ("x",)


def test_a_folder_with_folders_alone_has_no_keys_of_its_own(tmp_path):
    (tmp_path / "t.j2").write_text("{{ ls('a', required=true) | length }}")
    renderer = Renderer([Template.load(tmp_path / "t.j2", variables={}, environ={})])
    query = TreeQuery(prefix="a/")
    deep = Answer(query=query, value=(KeyEntry(path="a/b/c", data=b"1"),))
    assert renderer.render(Snapshot({query: deep})).missing == {query}
