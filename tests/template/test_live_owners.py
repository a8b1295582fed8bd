"""The baseline that follows from what changed is the one that follows from everything."""

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st
from rendering import answers, instance, load

from ctemplate.core.model import Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer
from ctemplate.template.cache import fragments

TEMPLATE = load("""\
{% for svc in services() if svc.name != "d" %}
upstream {{ svc.name }} {
  {% for i in service(svc.name) %}
  server {{ i.address }}:{{ claim("tcp port", i.port, svc) if svc.name == "c" else i.port }};
  {% endfor %}
}
{% endfor %}
""")
TWICE = load("""\
{% for name in ["a", "c"] %}
{% for svc in services() %}
upstream {{ svc.name }}-{{ name }} {
  {% for i in service(svc.name) %}
  server {{ i.address }}:{{ i.port }};
  {% endfor %}
}
{% endfor %}
{% for i in service(name) %}
upstream {{ i.name }}-{{ i.port }} { server {{ i.address }}; }
{% endfor %}
{% endfor %}
""")
INSTANCES = st.dictionaries(st.integers(0, 3), st.sampled_from([0, 3, 5, 9]), max_size=4)
CATALOGS = st.lists(st.dictionaries(st.sampled_from("abcd"), INSTANCES, max_size=4), min_size=1, max_size=6)


def answers_of(catalog, known):
    """The answers for a catalog; those that are equal to a known one are that one."""
    registered = (
        (name, ("http",), [instance(name, number, created=created) for number, created in sorted(each.items())])
        for name, each in catalog.items()
    )
    found = answers(*registered)
    return found | {query: answer for query, answer in known.items() if found.get(query) == answer}


@settings(max_examples=examples(150))
@given(
    CATALOGS,
    st.sampled_from([None, ConfigPlace(inside=b"http")]),
    st.sampled_from([TEMPLATE, TWICE]),
    st.sampled_from([1, 2, 32]),
)
def test_a_baseline_is_the_same_from_changes_as_from_everything(catalogs, place, template, mean):
    lasting, known = Renderer([template]), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fragments, "STRETCH", mean)
        for catalog in catalogs:
            known = answers_of(catalog, known)
            anew = Renderer([template], baseline=lasting.baseline)
            for renderer in (lasting, anew):
                renderer.render(Snapshot(known), [place], now=0.0)
                renderer.accept()
            assert lasting.baseline == anew.baseline
