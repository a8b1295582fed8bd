"""A service with unprintable data is left out; the others are rendered, and no other service is blamed."""

import re

import pytest
from rendering import answers, instance, load, message, render, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, CheckState, Snapshot
from ctemplate.queries import ServiceQuery
from ctemplate.template import Renderer

EVIL = 'x";}{ $evil #\\'
LOOP = "{% for s in services() %}{{ s.name }}{% for i in service(s.name) %} WHAT{% endfor %};{% endfor %}"


def left_out(rendering):
    return [(rejection.service, rejection.instance, rejection.field) for rejection in rendering.quarantined]


@pytest.mark.parametrize(
    ("printed", "fields", "blamed"),
    [
        pytest.param("{{ i.id }}", {"id": EVIL}, (EVIL, "id"), id="id"),
        pytest.param("{{ i.node }}", {"node": EVIL}, ("evil-0", "node"), id="node"),
        pytest.param("{{ i.address }}", {"address": EVIL}, ("evil-0", "address"), id="address"),
        pytest.param("{{ i.datacenter }}", {"datacenter": EVIL}, ("evil-0", "datacenter"), id="datacenter"),
        pytest.param("{{ i.tags[0] }}", {"tags": (EVIL,)}, ("evil-0", "tags"), id="tag"),
        pytest.param(
            "{% for k in i.meta %}{{ k }}{% endfor %}", {"meta": {EVIL: ""}}, ("evil-0", "meta key"), id="meta key"
        ),
        pytest.param("{{ i.meta.a | default('') }}", {"meta": {"a": EVIL}}, ("evil-0", "meta 'a'"), id="meta"),
        pytest.param(
            "{{ i.node_meta.a | default('') }}", {"node_meta": {"a": EVIL}}, ("evil-0", "node_meta 'a'"), id="node meta"
        ),
        pytest.param(
            "{% for c in i.checks %}{{ c.name }}{% endfor %}",
            {"checks": (CheckState(id="1", name=EVIL),)},
            ("evil-0", "checks"),
            id="check",
        ),
        pytest.param("{{ i.node | upper }}", {"node": EVIL}, ("evil-0", "node"), id="in another case"),
        pytest.param("{{ 'n=' ~ i.node }}", {"node": EVIL}, ("evil-0", "node"), id="joined"),
        pytest.param("{{ i.node[3:] }}", {"node": EVIL}, ("", "value"), id="a slice"),
        pytest.param("{{ i.node | replace('e', 'o') }}", {"node": EVIL}, ("", "value"), id="replaced"),
        pytest.param("{{ i.node | quote }}", {"node": EVIL}, ("evil-0", "node"), id="what quoting cannot carry"),
        pytest.param(
            "{{ i.meta.n | default(0) | int }}", {"meta": {"n": "1" * 2000}}, ("evil-0", "meta 'n'"), id="a long number"
        ),
        pytest.param("{{ i.node }}", {"node": "~x"}, ("evil-0", "node"), id="a pattern"),
        pytest.param("{{ i.node }}", {"node": "../x"}, ("evil-0", "node"), id="a way out of a folder"),
        pytest.param("{{ i.node }}", {"node": ""}, ("evil-0", "node"), id="empty"),
        pytest.param("{{ i.node }}", {"node": "x" * 5000}, ("evil-0", "node"), id="long"),
    ],
)
def test_the_owner_of_a_forbidden_value_is_left_out(printed, fields, blamed):
    snapshot = world(web(name="api"), web(name="evil", **fields), web(name="web"))
    rendering = render(LOOP.replace("WHAT", printed), snapshot)
    clean = render(LOOP.replace("WHAT", printed), world(web(name="api"), web(name="web")))
    assert rendering.texts == clean.texts
    assert left_out(rendering) == [("evil", *blamed)]


def test_the_reason_names_the_line_and_shows_the_value_escaped():
    snapshot = world(web(name="a"), web(name="evil", tags=("x\n\x1b[31m",)))
    rendering = render("\n{% for s in services() %}{{ s.tags[0] }}{% endfor %}", snapshot)
    (rejection,) = rendering.quarantined
    shown = rejection.reason[rejection.reason.index("t.j2") :]
    said = "is no plain token; print it through | quote, | comment or | token"
    assert shown == f"t.j2:2: 'x\\\\n\\\\x1b[31m' {said}"
    assert str(rejection).isprintable()


def test_a_hostile_name_is_left_out_of_every_answer_and_template():
    snapshot = world(web(name="a"), web(name=EVIL))
    templates = [load("{% for s in services() %}{{ s.name }};{% endfor %}"), load("{{ services() | length }}")]
    rendering = Renderer(templates).render(snapshot)
    assert rendering.texts == ("a;", "1")
    assert left_out(rendering) == [(EVIL, "", "name")]


def test_instances_of_a_service_left_out_are_not_answered_either():
    snapshot = world(web(name="evil", node=EVIL), web(name="a"))
    each = "{% for n in ['a', 'evil'] %}{% for i in service(n) %}{{ i.node }}{% endfor %}{% endfor %}"
    rendering = render(each + "{{ service('evil') | length }}", snapshot)
    assert rendering.texts == ("node00",)


def test_values_that_are_never_printed_leave_no_service_out():
    meta = {f"{EVIL}{number}": EVIL for number in range(5)}
    services = [web(name="a"), web(name="b", meta=meta, tags=("http", EVIL)), web(name="c", node=EVIL)]
    template = (
        "{% for s in services() %}{{ s.name }}{{ service(s.name)[0].meta | length }}"
        "{% if 'b' in s.tags %}{% endif %} {% endfor %}"
    )
    rendering = render(template, world(*services))
    assert (rendering.texts, rendering.quarantined) == (("a0 b5 c0 ",), ())


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("{{ services() | map(attribute='name') | join(' ') }}", id="joined, names"),
        pytest.param("{{ services() | map(attribute='name') | map('upper') | join(' ') }}", id="joined, upper"),
        pytest.param(
            "{{ services() | map(attribute='name') | map('replace', 'e', 'o') | join(' ') }}", id="joined, changed"
        ),
        pytest.param(
            "{% for s in services() | list %}{% set x = s.name %}"
            "{% for i in service('good01') %}{{ x }} {% endfor %}{% endfor %}",
            id="read long before",
        ),
        pytest.param(
            "{% set names = services() | map(attribute='name') | list %}{% for n in names %}{{ n }} {% endfor %}",
            id="kept",
        ),
        pytest.param("{{ services() | map(attribute='name') | map('truncate', 6, true, '') | join(' ') }}", id="cut"),
    ],
)
def test_owners_are_found_wherever_their_values_are_printed(template):
    good = [web(name=f"good{number:02}", meta={"note": "free text; unprinted"}) for number in range(40)]
    bad = [web(name=f"e{number};{{}}") for number in range(3)]
    rendering = render(template, world(*good, *bad))
    assert rendering.texts == render(template, world(*good)).texts
    assert [rejection.service for rejection in rendering.quarantined] == [name for name, _, _ in bad]


def test_one_whose_text_is_cut_out_of_anothers_is_not_blamed():
    services = [web(name="zz a;b zz"), web(name="innocent", meta={"x": "a;b"}), web(name="other")]
    template = "{{ services() | map(attribute='name') | map('replace', 'zz', '') | join('-') }}"
    rendering = render(template, world(*services))
    assert rendering.texts == ("innocent-other",)
    assert [rejection.service for rejection in rendering.quarantined] == ["zz a;b zz"]


def test_many_owners_of_one_text_are_told_apart():
    bad = [web(name=f"bad{number:03};") for number in range(300)]
    rendering = render("{{ services() | map(attribute='name') | join(' ') }}", world(web(name="good"), *bad))
    assert rendering.texts == ("good",)
    assert len(rendering.quarantined) == 300


def test_an_innocent_that_holds_a_like_text_is_not_blamed():
    services = [web(name="a;b"), web(name="innocent", tags=("a;b",)), web(name="other", meta={"x": "a;b c"})]
    rendering = render("{{ services() | map(attribute='name') | join(' ') }}", world(*services))
    assert rendering.texts == ("innocent other",)
    assert [rejection.service for rejection in rendering.quarantined] == ["a;b"]


def test_a_line_that_fails_for_every_service_is_the_templates_fault():
    services = [web(name=f"s{number}", checks=(CheckState(id="1", name="Serf Health Status"),)) for number in range(6)]
    with pytest.raises(TemplateError) as error:
        render(
            "{% for s in services() %}{% for i in service(s.name) %}\n{{ i.address }} {{ i.checks[0].name }}"
            "{% endfor %}{% endfor %}",
            world(*services),
        )
    assert message(error) == (
        "t.j2:2: 'Serf Health Status' is no plain token; print it through | quote, | comment or | token "
        "(service 's0'); so it is for 6 of 6 services"
    )


@pytest.mark.parametrize("escape", ["quote", "quote ~ ''"])
def test_a_line_that_honest_values_pass_through_an_escape_is_not_at_fault(escape):
    services = [web(name=f"s{number}", meta={"v": "$x" if number else "two words"}) for number in range(6)]
    template = "{% for s in services() %}{% for i in service(s.name) %}{{ i.meta.v | ESCAPE }};{% endfor %}{% endfor %}"
    rendering = render(template.replace("ESCAPE", escape), world(*services))
    assert rendering.texts == ('"two words";',)
    assert [rejection.service for rejection in rendering.quarantined] == [f"s{number}" for number in range(1, 6)]


def test_many_hostile_services_are_left_out_in_a_few_passes():
    bad = [web(name=f"bad{number:03};") for number in range(200)]
    rendering = render("{% for s in services() %}{{ s.name }} {% endfor %}", world(web(name="good"), *bad))
    assert rendering.texts == ("good ",)
    assert len(rendering.quarantined) == 200


def test_a_service_left_out_stays_watched_and_comes_back_when_its_data_is_mended():
    renderer = Renderer(
        [load("{% for s in services() %}{% for i in service(s.name) %}{{ i.node }} {% endfor %}{% endfor %}")]
    )
    known = answers(web(name="a"), web(name="b", node=EVIL))
    first = renderer.render(Snapshot(known))
    assert (first.texts, left_out(first)) == (("node0 ",), [("b", "b-0", "node")])
    assert first.used == frozenset(known)
    assert renderer.render(Snapshot(known)).used == frozenset(known)
    mended = known | {ServiceQuery(name="b"): Answer(query=ServiceQuery(name="b"), value=(instance("b", node="fine"),))}
    second = renderer.render(Snapshot(mended))
    assert (second.texts, left_out(second)) == (("node0 fine ",), [])


def test_another_services_change_does_not_bring_it_back():
    renderer = Renderer(
        [load("{% for s in services() %}{% for i in service(s.name) %}{{ i.node }} {% endfor %}{% endfor %}")]
    )
    known = answers(web(name="a"), web(name="b", node=EVIL))
    renderer.render(Snapshot(known))
    query = ServiceQuery(name="a")
    moved = renderer.render(Snapshot(known | {query: Answer(query=query, value=(instance("a", node="new"),))}))
    assert (moved.texts, left_out(moved)) == (("new ",), [("b", "b-0", "node")])
    assert moved.used == frozenset(known)


def test_a_service_that_breaks_the_template_outright_is_left_out():
    services = [web(name=f"s{number}", meta={"zone": "x"}) for number in range(5)]
    template = "{% for s in services() %}{{ service(s.name)[0].meta.zone }} {% endfor %}"
    rendering = render(template, world(*services, web(name="bare")))
    assert rendering.texts == ("x " * 5,)
    (rejection,) = rendering.quarantined
    assert (rejection.service, rejection.field) == ("bare", "template")
    assert rejection.reason.endswith("t.j2:1: no key 'zone' here; give a default: | default(\"…\")")


def test_a_template_that_breaks_over_many_services_is_at_fault_itself():
    services = [web(name=f"s{number}") for number in range(20)]
    with pytest.raises(TemplateError) as error:
        render("{% for s in services() %}{{ service(s.name)[0].meta.zone }} {% endfor %}", world(*services))
    text = "t.j2:1: no key 'zone' here; give a default: | default(\"…\") (service 's0'); so it is for 20 of 20 services"
    assert message(error) == text


ALL = """\
{% set ns = namespace(all=[]) %}{% for s in services() %}{% for i in service(s.name) %}
{% set ns.all = ns.all + [i] %}{% endfor %}{% endfor %}
"""
IDS = '{{ ns.all | map(attribute="id") | join(" ") }}'
OF_ALL = {
    "groupby": '{% for zone, g in ns.all | groupby("meta.zone") %}' + IDS.replace("ns.all", "g") + " {% endfor %}",
    "sort": '{% for i in ns.all | sort(attribute="meta.zone") %}{{ i.id }} {% endfor %}',
    "map": '{{ ns.all | map(attribute="meta.zone") | map("upper") | list | length }} ' + IDS,
}
HONEST = [web(name=name, count=2, meta={"zone": "x"}, created=1) for name in ("shop", "web")]


@pytest.mark.parametrize("use", OF_ALL.values(), ids=OF_ALL)
@pytest.mark.parametrize(
    "strangers", [["aaa"], ["zzz"], ["aaa", "bbb"], [f"t{number}" for number in range(30)]], ids=len
)
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "first"])
def test_services_that_break_a_list_of_all_are_left_out_alone(use, strangers, is_live):
    renderer = Renderer([load(ALL + use)])
    if is_live:
        renderer.render(Snapshot(answers(*HONEST)))
        renderer.accept()
    rendering = renderer.render(Snapshot(answers(*HONEST, *(web(name=name) for name in strangers))))
    assert {rejection.service for rejection in rendering.quarantined} == set(strangers)
    assert sorted(re.findall(r"\S+-\d", rendering.texts[0])) == ["shop-0", "shop-1", "web-0", "web-1"]


OF_ONE = """{% for s in services() %}{% set all = service(s.name) | SORT %}
{{ s.name }}: {{ all | map(attribute="id") | join(" ") }}
{% endfor %}
"""


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(ALL + use, id=f"{name}-of-all") for name, use in OF_ALL.items()),
        pytest.param(OF_ONE.replace("SORT", 'sort(attribute="meta.zone")'), id="sort"),
        pytest.param(OF_ONE.replace("SORT", 'sort(attribute="meta.zone") | list'), id="list"),
        pytest.param(
            "{% for s in services() %}{% for zone, g in service(s.name) | groupby('meta.zone') %}\n"
            "{{ g | map(attribute='id') | join(' ') }}\n{% endfor %}{% endfor %}",
            id="groupby",
        ),
    ],
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_instance_that_breaks_the_list_of_its_service_is_left_out_alone(text, position):
    name, tags, instances = HONEST[1]
    bad = instance("web", 7, created=9)
    mixed = (name, tags, (*instances[:position], bad, *instances[position:]))
    renderer = Renderer([load(text)], hold=lambda _: 60.0)
    renderer.render(Snapshot(answers(*HONEST)))
    renderer.accept()
    rendering = renderer.render(Snapshot(answers(HONEST[0], mixed)))
    assert [(rejection.service, rejection.instance) for rejection in rendering.quarantined] == [("web", "web-7")]
    assert rendering.kept == ()
    assert sorted(re.findall(r"\S+-\d", rendering.texts[0])) == ["shop-0", "shop-1", "web-0", "web-1"]


@pytest.mark.parametrize("created", [0, 9], ids=["oldest", "newest"])
@pytest.mark.parametrize("name", ["aaa", "zzz"])
def test_of_services_that_break_a_list_only_together_most_stay(name, created):
    use = "{% for n in ns.all | map(attribute='meta.zone') | map('from_json') | sort %}{{ n }} {% endfor %}"
    honest = [web(name=f"s{number}", meta={"zone": '"x"'}, created=5) for number in range(5)]
    rendering = render(ALL + use, Snapshot(answers(*honest, web(name=name, meta={"zone": "3"}, created=created + 1))))
    assert [rejection.service for rejection in rendering.quarantined] == [name]
    assert rendering.texts[0].split() == ["x"] * 5


@pytest.mark.parametrize("count", [3, 300])
def test_a_list_of_all_that_breaks_for_every_service_is_the_templates_fault(count):
    services = [web(name=f"s{number}") for number in range(count)]
    with pytest.raises(TemplateError, match="no key 'zone' here"):
        render(ALL + OF_ALL["groupby"], Snapshot(answers(*services)))


def test_a_hostile_claimant_does_not_push_out_a_good_one():
    services = [
        ("bad-80", (), (instance("bad-80", created=1, node=EVIL),)),
        ("good-80", (), (instance("good-80", created=2),)),
    ]
    template = LOOP.replace("s.name }}", "s.listen_port }}").replace("WHAT", "{{ i.node }}")
    rendering = render(template, world(*services))
    assert (rendering.texts, left_out(rendering)) == (("80 node0;",), [("bad-80", "bad-80-0", "node")])


def test_a_service_with_an_empty_name_costs_itself_alone():
    each = "{% for i in service(s.name) %} {{ i.meta.x }}{% endfor %}"
    source = f"{{% for s in services() %}}server {{{{ s.name }}}}{each};\n{{% endfor %}}"
    nameless = web(name="", meta={"x": "a;b"})
    rendering = render(source, world(nameless, web(name="api", meta={"x": "1"}), web(meta={"x": "1"})))
    assert rendering.texts == ("server api 1;\nserver web 1;\n",)
    assert [fault.service for fault in rendering.quarantined] == [""]


@pytest.mark.parametrize(
    "printed",
    [
        pytest.param("{% for t in s.tags if t.startswith('h=') %}{{ t[2:] }} {% endfor %}", id="slice"),
        pytest.param("{% for t in s.tags if '=' in t %}{{ t.split('=')[1] }} {% endfor %}", id="split"),
        pytest.param("{% for t in s.tags %}{{ t | regex_replace('h=', '') }} {% endfor %}", id="regex"),
        pytest.param("{% for i in service(s.name) %}{{ i.meta.h[:9] }} {% endfor %}", id="meta"),
    ],
)
@pytest.mark.parametrize("position", [0, 2])
def test_an_instance_is_left_out_alone_for_a_part_of_its_tag_or_meta(printed, position):
    web = [instance("web", number, tags=("h=a",), meta={"h": "a"}) for number in range(2)]
    web.insert(position, instance("web", 7, tags=("h=b;c",), meta={"h": "b;c"}))
    service = "web", ("h=a", "h=b;c"), tuple(web)
    text = "{% for s in services() %}{% for i in service(s.name) %}{{ i.id }} {% endfor %}" + printed + "{% endfor %}"
    rendering = render(text, Snapshot(answers(service)))
    assert [(rejection.service, rejection.instance) for rejection in rendering.quarantined] == [("web", "web-7")]
    assert rendering.texts[0].split()[:3] == ["web-0", "web-1", "a"]
