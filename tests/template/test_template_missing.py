"""A key that a mapping lacks tests as false; any other use of it is an error that says what to write."""

import pytest
from rendering import message, render, text_of, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Instance
from ctemplate.lint.kinds import of_field, of_result
from ctemplate.template.language.functions import Functions

WORLD = world(web(meta={"zone": "eu-1"}, node_meta={"rack": "7"}, address="[2001:db8::1]", node_address="10.0.0.9"))
EACH = '{{% for i in service("web") %}}{}{{% endfor %}}'


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% if i.meta.weight %}a{% else %}b{% endif %}", "b"),
        ("{% if not i.node_meta.weight %}a{% endif %}", "a"),
        ("{% if i.meta['weight'] %}a{% else %}b{% endif %}", "b"),
        ("{% if i.meta['values'] %}a{% else %}b{% endif %}", "b"),
        ("{{ i.meta.weight is defined }}{{ i.meta.zone is defined }}", "FalseTrue"),
        ("{{ i.meta.weight == '5' }}{{ i.meta.weight != '5' }}", "FalseTrue"),
        ("{{ 'weight' in i.meta }}{{ 'a' in i.meta.weight }}{{ i.meta.weight in ['a'] }}", "FalseFalseFalse"),
        ("{{ i.meta.weight | default('5') }}{{ i.meta.zone | default('5') }}", "5eu-1"),
        ("{{ i.meta.weight or 5 }}{{ i.meta.weight if i.meta.weight else 6 }}", "56"),
        ("{{ i.meta.get('weight', 5) }}{{ i.meta.get('zone') }}{{ i.node_meta.rack }}", "5eu-17"),
        ("{{ [i] | selectattr('meta.canary') | list | length }}", "0"),
        ("{{ {'a': 1}.b | default(2) }}{{ dict([('a', 1)]).b is defined }}", "2False"),
        ("{% for key in i.meta if key == 'weight' %}x{% endfor %}", ""),
    ],
)
def test_a_missing_key_tests_as_false(source, expected):
    assert text_of(EACH.format(source), WORLD) == expected


MISSING = "t.j2:1: no key 'weight' here; give a default: | default(\"…\")"


@pytest.mark.parametrize(
    "source",
    [
        "{{ i.meta.weight }}", "{{ i.meta['weight'] }}", "{{ i.node_meta.weight }}", "{{ i.meta.weight.x }}",
        "{{ i.meta.weight[0] }}",
        "{{ i.meta.weight | int }}", "{{ i.meta.weight | quote }}", "{{ i.meta.weight | json }}",
        "{{ 'a' ~ i.meta.weight }}",
        "{{ 'a' + i.meta.weight }}", "{{ i.meta.weight > 5 }}", "{% for x in i.meta.weight %}{% endfor %}",
        "{{ i.meta.weight | length }}", "{{ i.meta.weight() }}", "{{ [i.meta.weight] | join }}",
        "{{ '%s' % i.meta.weight }}",
        "{{ i.meta.weight | default(i.meta.weight) }}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("escape", ["nginx", "json", "lines"])
def test_any_other_use_of_a_missing_key_names_the_default(source, escape):
    with pytest.raises(TemplateError) as error:
        render(EACH.format(source), WORLD, escape=escape)
    assert message(error) == f"{MISSING} (service 'web')"


def test_a_key_that_is_nearly_there_is_named():
    with pytest.raises(TemplateError) as error:
        render(EACH.format("{{ i.meta.zoen }}"), WORLD)
    what = "no key 'zoen' here; did you mean 'zone'? else give a default: | default(\"…\")"
    assert message(error) == f"t.j2:1: {what} (service 'web')"


@pytest.mark.parametrize(
    "source", ["{% if var.weight %}{% endif %}", "{% if i.weigth %}{% endif %}", "{% if weight %}{% endif %}"]
)
def test_a_missing_name_field_or_variable_is_an_error_even_in_a_test(source):
    with pytest.raises(TemplateError):
        render(EACH.format(source), WORLD)


def test_addresses_have_a_form_without_brackets():
    text = text_of(EACH.format("{{ i.ip }} {{ i.address }} {{ i.node_ip }}"), WORLD)
    assert text == "2001:db8::1 [2001:db8::1] 10.0.0.9"
    kind = of_field(of_result(Functions({}, {}).table()["service"]).items, "ip")
    assert (kind.of, kind.field, kind.is_registered_text) == (str, "ip", False)
    assert {"ip", "node_ip"}.isdisjoint(Instance.__struct_fields__)
