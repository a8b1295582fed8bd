"""Stretches: cached text of many keys at once never changes the output; it only saves rendering."""

import functools

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st
from rendering import anew, load

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import KeyQuery
from ctemplate.queries.key import KeyEntry, TreeQuery
from ctemplate.template import Renderer
from ctemplate.template.cache import fragments

BODIES = {
    "plain": "{% for p in tree('app') %}{{ p.key }}={{ p.value | quote }};\n{% endfor %}",
    "test": "{% for p in tree('app') if p.key != 'b' %}{{ p.key }};\n{% endfor %}",
    "test and else": "{% for p in tree('app') if p.key == 'b' %}{{ p.key }};\n{% else %}none;\n{% endfor %}",
    "test with the loop's number": "{% for p in tree('app') if p.key != 'b' %}{{ loop.index }};\n{% endfor %}",
    "else": "{% for p in ls('app') %}{{ p.key }};\n{% else %}none;\n{% endfor %}",
    "number of the loop": "{% for p in tree('app') %}{{ loop.index }} {{ p.key }};\n{% endfor %}",
    "break": "{% for p in tree('app') %}{% if p.key == 'c' %}{% break %}{% endif %}{{ p.key }};\n{% endfor %}",
    "named list": "{% set all = tree('app') %}{% for p in all %}{{ p.key }};\n{% endfor %}",
    "sorted": "{% for p in tree('app') | sort(attribute='value') %}{{ p.key }};\n{% endfor %}",
    "values alone": "{% for v in tree('app') | map(attribute='value') %}{{ v | quote }};\n{% endfor %}",
    "value around": "{% set n = tree('app') | length %}{% for p in tree('app') %}{{ p.key }}{{ n }};\n{% endfor %}",
    "list around": "{% set all = tree('app') %}{% for p in all %}{{ p.key }}{{ all[0].key }};\n{% endfor %}",
    "another key": "{% for p in tree('app') %}{{ p.key }}{{ key('other', 'none') }};\n{% endfor %}",
    "the same twice": "{% for n in [1, 2] %}{% for p in tree('app') %}{{ p.key }}{{ n }};\n{% endfor %}{% endfor %}",
    "each with each": "{% for p in tree('app') %}{% for o in ls('app') %}{{ p.key ~ o.key }}{% endfor %}{% endfor %};",
    "set block": "{% set x %}{% for p in tree('app') %}{{ p.key }}{% endfor %}{% endset %}{{ x }};",
    "macro": "{% macro m(l) %}{% for p in tree(l) %}{{ p.key }}{% endfor %}{% endmacro %}{{ m('app') ~ m('app/d') }};",
    "counter": "{% set ns = namespace(n=0) %}{% for p in tree('app') %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endfor %}",
    "part that breaks": "{% for p in tree('app') %}{{ 6 // (p.value | int(1)) }};\n{% endfor %}",
    "printed unchanged": "{% for p in tree('app') %}{{ p.value }};\n{% endfor %}",
    "time": "{% for p in tree('app') %}{% set t = now() %}{{ p.key }};\n{% endfor %}",
}
TREE = TreeQuery(prefix="app/")
keys = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d/", "d/e", "d/f", "g"]),
    st.sampled_from([b"", b"0", b"1", b"plain", b"with space", b"\xff", b"};"]),
)
histories = st.lists(st.tuples(keys, st.sampled_from([None, b"1", b"2"])), min_size=1, max_size=5)


def snapshot(pairs, other=None):
    """Return a snapshot with the keys below a folder, and one key elsewhere."""
    found = tuple(KeyEntry(path=f"app/{name}", data=data) for name, data in sorted(pairs.items()))
    below = tuple(entry for entry in found if entry.path.startswith("app/d/"))
    single = KeyQuery(path="other")
    values = {
        TREE: found,
        TreeQuery(prefix="app/d/"): below,
        single: () if other is None else (KeyEntry(path="other", data=other),),
    }
    return Snapshot({query: answer(query, value) for query, value in values.items()})


@functools.cache
def answer(query, value):
    """Return an answer; equal ones are the same, as in a catalog."""
    return Answer(query=query, value=value)


def outcome(renderer, state, places):
    """Return the rendering, or the error without its folder."""
    try:
        return renderer.render(state, places, now=0.0)
    except TemplateError as exc:
        return str(exc).rpartition("t.j2")[2]


@functools.cache
def loaded(body, _use):
    """A template for one use, compiled once for all histories."""
    return load(body)


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
@given(history=histories, mean=st.sampled_from([1, 2, 1000]), is_proven=st.booleans())
@settings(max_examples=examples(15))
def test_cached_text_is_that_of_a_render_from_scratch(body, history, mean, is_proven):
    places = [ConfigPlace(is_certain=False)] if is_proven else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fragments, "STRETCH", mean)
        renderer, plain = anew(loaded(body, "cached")), loaded(body, "from scratch")
        for pairs, other in history:
            state = snapshot(pairs, other)
            assert outcome(renderer, state, places) == outcome(anew(plain), state, places)


def printed(renderer):
    """Return the prints of the last pass, by identity."""
    return {id(record) for _, record in renderer._state.runs[0].prints}


@pytest.mark.parametrize("change", ["value", "gone", "new"])
def test_a_changed_key_renders_only_its_stretch_again(change):
    values = {f"k{number:04}": b"1" for number in range(1000)}
    renderer, places = Renderer([load(BODIES["named list"])]), [ConfigPlace(is_certain=False)]
    renderer.render(snapshot(values), places)
    before = renderer._state.runs[0].prints  # holds them, so that no identity is given away
    known = printed(renderer)
    changed = {"value": {"k0500": b"2"}, "gone": {}, "new": {"k0500a": b"1"}}[change]
    if change == "gone":
        del values["k0500"]
    renderer.render(snapshot(values | changed), places)
    again = printed(renderer) - known
    assert 0 < len(again) < len(before) / 2


def test_stretches_are_cut_where_the_entries_say():
    entries = [KeyEntry(path=f"k{number}") for number in range(2000)]
    whole, without = fragments.stretches(entries), fragments.stretches(entries[:1000] + entries[1001:])
    assert [entry for stretch in whole for entry in stretch] == entries
    assert 20 < len(whole) < 200
    assert len(set(whole) - set(without)) <= 2


@pytest.mark.parametrize("items", [["a"], [KeyEntry(path="a"), "b"], "text", 5, {"a": 1}], ids=repr)
def test_what_is_no_list_of_entries_is_not_cut(items):
    assert fragments.stretches(items) is None
