"""Whose value breaks the text: also in texts made of a list, and where a value was made to look like another's."""

import pytest
from rendering import answers, instance, load, web

from ctemplate.core.model import Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer

NAMES = "services(tag='http') | map(attribute='name')"
LISTS = {
    "joined": f"server_name {{{{ {NAMES} | join(' ') }}}};",
    "with a suffix": f"server_name {{{{ {NAMES} | map('regex_replace', '$', '.com') | join(' ') }}}};",
    "one by one": f"server_name{{% for name in {NAMES} %}} {{{{ name ~ '.x ' ~ name }}}}{{% endfor %}};",
}
TAKERS = {
    "replaced": "{{ s.name | replace('_', '-') }}",
    "set": "{% set name = s.name | replace('_', '-') %}{{ name }}",
    "in a macro": "{% macro shown(name) %}{{ name | replace('_', '-') }}{% endmacro %}{{ shown(s.name) }}",
}


PARTS = """\
{% set all = namespace(names=[]) %}
{% for s in services() %}{% set all.names = all.names + [s.name] %}{% endfor %}
{% for name in all.names %}
{{ name.split("-")[1] }};
{% endfor %}"""


def rendered(template, *services):
    place = ConfigPlace(inside=b"http", taken=frozenset(), is_certain=True)
    return Renderer([load(template)]).render(Snapshot(answers(*services)), (place,), now=0.0)


def left_out(rendering):
    return {rejection.service for rejection in rendering.quarantined}


@pytest.mark.parametrize("line", [LISTS["joined"], LISTS["with a suffix"], LISTS["one by one"]])
@pytest.mark.parametrize("evil", [".evil", "*.evil"])
def test_of_names_printed_from_a_list_only_the_forbidden_ones_are_left_out(line, evil):
    found = rendered(f"server {{ {line} }}", *(web(name=name) for name in (evil, "api", "shop", "web")))
    assert left_out(found) == {evil}
    assert "api" in found.texts[0]
    assert "web" in found.texts[0]


def test_a_hundred_forbidden_names_in_one_list_leave_the_others_in_it():
    services = [web(name=f".evil{number}") for number in range(100)]
    found = rendered(f"server {{ {LISTS['with a suffix']} }}", web(name="api"), *services, web(name="web"))
    assert found.texts[0] == "server { server_name api.com web.com; }"


@pytest.mark.parametrize("printed", TAKERS.values(), ids=TAKERS)
def test_a_name_that_becomes_anothers_takes_nothing_from_it(printed):
    line = f"upstream {printed} {{ server {{{{ service(s.name)[0].address }}}}; }}"
    upstream = f"{{% for s in services() %}}{line}\n{{% endfor %}}"
    victim = "we-b", ("http",), (instance("we-b", created=1),)
    taker = "we_b", ("http",), (instance("we_b", address="10.9.9.9", created=2),)
    found = rendered(upstream, web(name="api"), victim, taker)
    assert left_out(found) == {"we_b"}
    assert "10.9.9.9" not in found.texts[0]


def test_a_value_that_becomes_anothers_text_does_not_leave_that_one_out():
    target = """\
{% for s in services() %}{% for i in service(s.name) %}
upstream {{ s.name }} { server {{ i.address }}; }
server { location / { proxy_pass http://{{ i.meta.to | default(s.name) | regex_replace('_', '') }}; } }
{% endfor %}{% endfor %}"""
    victim = "shop", ("http",), (instance("shop", meta={"floor": "ground-floor"}),)
    evil = "evil", ("http",), (instance("evil", meta={"to": "ground_-floor"}),)
    found = rendered(target, web(name="api"), victim, evil)
    assert left_out(found) == {"evil"}
    assert "upstream shop" in found.texts[0]


@pytest.mark.parametrize("count", [1, 3, 70])
def test_names_that_break_a_loop_over_a_list_leave_the_others_in_it(count):
    honest = [web(name=f"{name}-{name}") for name in ("api", "shop", "web")]
    renderer = Renderer([load(PARTS)])
    renderer.render(Snapshot(answers(*honest)), now=0.0)
    renderer.accept()
    evil = [web(name=f"evil{number}") for number in range(count)]
    found = renderer.render(Snapshot(answers(*honest, *evil)), now=1.0)
    assert found.texts[0] == "api;\nshop;\nweb;\n"
    assert left_out(found) == {name for name, _, _ in evil}


ALONE = """\
{% for s in services() %}{% for i in service(s.name) %}
upstream {{ s.name }}{{ "-new" if "new" in s.tags }} { server {{ i.address }}; }
{% if "new" in s.tags %}
upstream {{ s.name | replace("_", "-") }} { server {{ i.address }}; }
{% endif %}
{% endfor %}{% endfor %}"""
LISTED = """\
{% set all = namespace(names=[]) %}
{% for s in services() %}{% set all.names = all.names + [s.name | replace("_", "-")] %}{% endfor %}
{% for name in all.names %}
upstream {{ name }} { server 10.0.0.1; }
{% endfor %}"""


@pytest.mark.parametrize("template", [ALONE, LISTED], ids=["at a line of its own", "in a list"])
def test_trials_show_whose_value_became_anothers_name(template):
    victim = "we-b", ("http",), (instance("we-b", created=1),)
    taker = "we_b", ("http", "new"), (instance("we_b", address="10.9.9.9", created=2),)
    found = rendered(template, web(name="api"), victim, taker, web(name="zeta"))
    assert left_out(found) == {"we_b"}
    assert found.texts[0].count("upstream we-b {") == 1
    assert "10.9.9.9" not in found.texts[0]


def victim_of(taker):
    return taker.replace("_", "-")


@pytest.mark.parametrize(
    "takers",
    [
        pytest.param([f"v_{number}" for number in range(50)], id="fifty of as many"),
        pytest.param([f"v_{number}" for number in range(200)], id="two hundred of as many"),
        pytest.param(
            [f"v{a}b{b}c{c}d{d}e_f" for a in "-_" for b in "-_" for c in "-_" for d in "-_"], id="sixteen of one"
        ),
    ],
)
@pytest.mark.parametrize("is_live", [False, True], ids=["at a first start", "of live services"])
def test_many_values_that_become_others_names_take_nothing_from_them(takers, is_live):
    victims = [(name, ("http",), (instance(name, created=1),)) for name in sorted(set(map(victim_of, takers)))]
    strangers = [(name, ("http",), (instance(name, created=2),)) for name in takers]
    others = [web(name=f"other{number}") for number in range(20)]
    renderer = Renderer([load(LISTED)])
    place = ConfigPlace(inside=b"http", is_certain=True)
    if is_live:
        renderer.render(Snapshot(answers(*victims, *others)), (place,), now=0.0)
        renderer.accept()
    found = renderer.render(Snapshot(answers(*victims, *strangers, *others)), (place,), now=1.0)
    assert left_out(found) == set(takers)
    assert all(found.texts[0].count(f"upstream {name} {{") == 1 for name, _, _ in victims)


def test_trials_show_whose_value_became_anothers_text():
    target = (
        "{% for s in services() %}{% for i in service(s.name) %}upstream {{ s.name }} { server {{ i.address }}; }\n"
    )
    target += "{% if i.meta.to %}server { location / { proxy_pass http://{{ i.meta.to | replace('_', '') }}; } }\n"
    target += "{% endif %}{% endfor %}{% endfor %}"
    victim = "shop", ("http",), (instance("shop", meta={"floor": "ground-floor"}),)
    evil = "evil", ("http",), (instance("evil", meta={"to": "ground_-floor"}),)
    found = rendered(target, web(name="api"), victim, evil)
    assert left_out(found) == {"evil"}
    assert "upstream shop" in found.texts[0]


def test_addresses_from_a_list_are_those_of_the_instances():
    text = """\
{% set all = namespace(servers=[]) %}
{% for s in services() %}{% for i in service(s.name) %}
{% set all.servers = all.servers + [{"name": s.name, "at": i.address ~ ":" ~ i.port}] %}
{% endfor %}{% endfor %}
{% for name, own in all.servers | groupby("name") %}
upstream {{ name }} { {% for one in own %}server {{ one.at }}; {% endfor %}}
{% endfor %}"""
    found = rendered(text, *(web(name=name, count=2) for name in ("api", "shop", "web")))
    assert left_out(found) == set()
    assert found.texts[0].count("server 10.0.0.2:8001;") == 3


GROUPS = """\
{% for name, own in services() | groupby("name") %}
upstream {{ name | replace("q", "") }} {
    {% for s in own %}{% for i in service(s.name) %}server {{ i.address }}; {% endfor %}{% endfor %}
}
{% endfor %}"""


@pytest.mark.parametrize("count", [1, 3, 70])
@pytest.mark.parametrize("form", ["10.9.9.{}", "10.q9.9.{}", "10.0.0.{}", "10.q0.0.{}"])
def test_in_a_loop_over_groups_nobody_answers_for_the_group_after_its_own(count, form):
    """What is read last at the start of a turn is a service of the turn before, perhaps with the same text."""
    honest = [web(name=name) for name in ("api", "shop", "web")]
    evil = [web(name=form.format(number)) for number in range(1, count + 1)]
    found = rendered(GROUPS, *honest, *evil)
    assert left_out(found) == {name for name, _, _ in evil}
    assert found.texts[0].count("upstream ") == 3


def test_a_few_passes_show_whose_values_many_are():
    passes = []
    services = [web(name=f"10.q9.9.{number}") for number in range(100)]
    template = load(GROUPS)
    template.render = counted(template.render, passes)
    place = ConfigPlace(inside=b"http", is_certain=True)
    found = Renderer([template]).render(Snapshot(answers(web(name="api"), *services)), (place,), now=0.0)
    assert left_out(found) == {name for name, _, _ in services}
    assert 0 < len(passes) < 40


def counted(function, calls):
    def call(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return call
