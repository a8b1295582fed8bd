"""Sections: cached text of a row of single keys never changes the output; it only saves rendering."""

import functools

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st
from rendering import anew, load

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import KeyQuery
from ctemplate.queries.key import KeyEntry
from ctemplate.template import Renderer
from ctemplate.template.cache import compiled_texts, sections

NAMES = ("a", "b", "c", "d")
PRINTS = [f"{{{{ key('{name}') }}}};\n" for name in NAMES] + [
    "{{ key('a', 'none') }};\n",
    "{{ key('b', default='a b') | quote }};\n",
    "{{ key('c') | default('-') }};\n",
    "{{ key('d') or 'none' }};\n",
    "{{ key('a') | int(0) + 1 }};\n",
    "{{ 6 // (key('b', '1') | int(1)) }};\n",
    "{{ key_exists('c') }};\n",
    "{{ 'own' }};\n",
    "{{ var.x }};\n",
    "{{ around }};\n",
    "{% set around = key('b', 'none') %}",
    "{% if key('a') %}{{ key('a') }};\n{% endif %}",
    "{% for n in [1, 2] %}{{ key('a', n) }};\n{% endfor %}",
]
BEFORE = [
    "{% set around = 'around' %}",
    "{% set around = key('a', 'none') %}",
    "{% set ns = namespace(n=0) %}{% macro key(path, d='') %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endmacro %}",
]
templates = st.tuples(st.sampled_from(BEFORE), st.lists(st.sampled_from(PRINTS), max_size=12)).map(
    lambda parts: parts[0] + "".join(parts[1])
)
values = st.sampled_from([None, b"", b"0", b"1", b"plain", b"a b", b"\xff", b"};"])
histories = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, values)), min_size=1, max_size=4)


@functools.cache
def answer(name, value):
    """Return the answer for a single key, None for one that is absent; equal ones are the same, as in a catalog."""
    query = KeyQuery(path=name)
    return Answer(query=query, value=() if value is None else (KeyEntry(path=name, data=value),))


def snapshot(data):
    """Return a snapshot with single keys."""
    return Snapshot({KeyQuery(path=name): answer(name, value) for name, value in data.items()})


def loaded(text, pieces=3):
    """Return a template with sections of that many pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "SECTION_PIECES", pieces)
        patch.setattr(compiled_texts, "_KNOWN", {})
        return load(text, variables={"x": "x"})


def outcome(renderer, state, places):
    """Return the rendering, or the error without its folder."""
    try:
        return renderer.render(state, places, now=0.0)
    except TemplateError as exc:
        return str(exc).rpartition("t.j2")[2]


@given(templates, histories, st.booleans())
@settings(max_examples=examples(150))
def test_cached_text_is_that_of_a_render_from_scratch(text, history, is_proven):
    places = [ConfigPlace(is_certain=False)] if is_proven else []
    renderer, plain, whole = Renderer([loaded(text)]), loaded(text), loaded(text, pieces=1000)
    for data in history:
        state = snapshot(data)
        found = outcome(renderer, state, places)
        assert found == outcome(anew(plain), state, places)
        assert found == outcome(anew(whole), state, places)


def test_a_changed_key_renders_only_its_section_again():
    text = "".join(f"{{{{ key('k{number}') }}}};\n" for number in range(500))
    renderer, places = Renderer([load(text)]), [ConfigPlace(is_certain=False)]
    data = {f"k{number}": b"1" for number in range(500)}
    renderer.render(snapshot(data), places)
    before = renderer._state.runs[0].prints  # holds them, so that no identity is given away
    rendering = renderer.render(snapshot(data | {"k250": b"2"}), places)
    again = {id(one) for _, one in renderer._state.runs[0].prints} - {id(one) for _, one in before}
    assert rendering.texts == ("1;\n" * 250 + "2;\n" + "1;\n" * 249,)
    assert 0 < len(again) <= sections.SECTION_PIECES


def test_an_included_template_follows_what_the_including_one_calls_key(tmp_path):
    (tmp_path / "row.j2").write_text("{{ key('a') }};\n" * 40)
    macro = "{% set ns = namespace(n=0) %}{% macro key(p) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endmacro %}"
    renderer = Renderer([load(macro + "{% include 'row.j2' %}", folder=tmp_path)])
    counted = "".join(f"{number};\n" for number in range(1, 41))
    assert [renderer.render(Snapshot({})).texts for _ in range(2)] == [(counted,)] * 2
