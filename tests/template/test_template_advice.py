"""Words and forms of other template languages are recognised, and the message says what to write here."""

import pytest
from rendering import answers, load, message, render, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Service, Snapshot
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.template import Renderer
from ctemplate.template.language.advice import FOREIGN_WORDS, service_call, services_call
from ctemplate.template.language.filters import filters
from ctemplate.template.language.functions import Functions

WEB = world(web(port=80))
ASKED = "-template-language go converts it as it is loaded"
GO = f"t.j2:1: this looks like a Go template, and templates are Jinja; {ASKED}; here one writes "


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('{{ range service "web" }}x{{ end }}', "{% for i in service(…) %} … {% endfor %}"),
        ("{{- range services -}}\n{{ .Name }}{{end}}", "{% for i in service(…) %} … {% endfor %}"),
        ("{{ .Name }}", "{{ i.address }}, the loop's variable with a field in lower case"),
        ('{{ with $x := service "web" }}', "{% set x = … %}"),
        ('{{ $n := "a" }}', "{% set x = … %}"),
        ("{{ if eq .Port 80 }}", "{% if … %} … {% endif %}"),
        ('{{ key "a/b" }}', '{{ f("…") }}, with parentheses'),
        ('{{ scratch.Set "a" "b" }}', "{% set x = … %}"),
        ('{{ define "x" }}', "{% macro … %} or {% include … %}"),
        ("{{/* said */}}", "{# … #}"),
    ],
)
def test_a_go_template_is_recognised(text, form):
    with pytest.raises(TemplateError) as error:
        load(text)
    assert message(error) == GO + form


def test_a_broken_jinja_template_is_not_taken_for_go():
    with pytest.raises(TemplateError) as error:
        load("{{ a b }}{% if x %}")
    assert message(error) == "t.j2:1: expected token 'end of print statement', got 'b'"


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('{% for i in service "web" %}', '; arguments stand in parentheses: service("…")'),
        ('{{ len (service "web") }}', '; arguments stand in parentheses: service("…")'),
        ('{{ "a,b" | split "," }}', '; write text.split(",")'),
        ('{% if eq "a" "b" %}', "; write it as an operator, such as a == b"),
        ("{% if a && b %}", "; write and"),
        ("{% if a || b %}", "; write or"),
        ("{% if !a %}", "; write not"),
        ("{% if a = 1 %}", "; write == to compare"),
        ("{{ a ? 1 : 2 }}", "; write a if condition else b"),
        ("{% if a %}{% elseif b %}", "; write elif"),
        ("{% for a in b %}{% end %}", "; write endfor or endif, as the block is"),
        ("{% foreach a in b %}", "; write for x in list"),
        ("{{ a b }}{{ '&&' }}{% set c = 1 %}", ""),
        ("{{ a b if c != d }}{{ f(x=1) }}{{ 'a?' ~ 'b' }}", ""),
        ("{% if a is startingwith 'x' b %}", ""),
    ],
)
def test_signs_of_other_languages_are_told_what_to_write(text, advice):
    with pytest.raises(TemplateError) as error:
        load(text)
    assert message(error).partition(";")[1:] == (advice[:1], advice[1:])


UNCALLED = "a function is used without a call; write parentheses behind it, such as services()"
JOIN = "cannot be computed; write ~ to join texts, | int to count"
UNPACKED = "a value cannot be divided into several names; write one name after 'for' or 'set', and read its fields"
LIST = "a list has no field 'address'; loop over it, or pick an item, such as list[0]"
WHOLE = "name must be a text, got a whole instance; write its name, such as svc.name"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{{ keyOrDefault('a/b', 'c') }}", '\'keyOrDefault\' is undefined; write key("…", default="…")'),
        ("{{ end }}", f"'end' is undefined; {FOREIGN_WORDS['end']}"),
        ("{{ printf('%s', 'a') }}", f"'printf' is undefined; {FOREIGN_WORDS['printf']}"),
        ("{{ domain }}", "'domain' is undefined; did you mean 'var.domain'?"),
        ("{{ service('web').address }}", LIST),
        ("{% for s in services %}{% endfor %}", UNCALLED),
        ("{{ services | length }}", UNCALLED),
        ("{% for name, tags in services() %}{% endfor %}", UNPACKED),
        ("{{ getv('/a') }}", "'getv' is undefined; write key(\"…\")"),
        (
            "{{ service('web', datacenter='x') }}",
            "service() got an unexpected keyword argument 'datacenter'; write dc=…",
        ),
        ("{{ services() }}", "a list cannot be printed; print its fields or items, or use | json | quote"),
        ("{{ services(tags='http') }}", "services() got an unexpected keyword argument 'tags'; did you mean 'tag'?"),
        ("{{ service(service('web')[0]) }}", WHOLE),
        ("{{ service('web')[0].port + 'x' }}", f"number + text {JOIN}"),
        ("{{ 'x' + service('web')[0].port }}", f"text + number {JOIN}"),
        (
            "{{ service('web')[0] < service('web')[0] }}",
            'instance and instance cannot be compared; name a field: | sort(attribute="…")',
        ),
        ("{{ 1 < 'a' }}", "number and text cannot be compared; | int makes a number of a text"),
        ("{{ services().contains('a') }}", "a list has no field 'contains'; write \"…\" in list"),
        ("{{ env.HOME }}", 'env is a function; write env("HOME")'),
        ("{{ env['HOME'] }}", 'env is a function; write env("HOME")'),
        ("{{ 'a,b'.contains('a') }}", "text has no field 'contains'; write \"…\" in list"),
        ("{{ service('web')[0].ServiceMeta }}", "instance has no field 'ServiceMeta'; did you mean 'meta'?"),
        ("{{ service('web')[0].Address }}", "instance has no field 'Address'; did you mean 'address'?"),
        ("{{ scratch.Set('a', 1) }}", f"'scratch' is undefined; {FOREIGN_WORDS['scratch']}"),
    ],
)
def test_other_words_are_told_what_to_write(text, sentence):
    with pytest.raises(TemplateError) as error:
        render(text, WEB, variables={"domain": "x"})
    assert message(error) == f"t.j2:1: {sentence}"


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("call", ["sort(attribute='prt')", "sort(false, false, 'id,prt')", "max(attribute='prt')"])
def test_a_field_that_no_item_has_leaves_out_no_instance(call, count):
    text = f"{{% for s in services() %}}{{{{ service(s.name) | {call} | length }}}}{{% endfor %}}"
    with pytest.raises(TemplateError) as error:
        render(text, world(web(name="web", count=count), web(name="api", count=1)))
    assert "t.j2:1: instance has no field 'prt'; did you mean 'port'?" in message(error)


def test_a_meta_key_that_the_only_instance_lacks_does_not_keep_it_from_being_sorted():
    text = "{{ service('web') | sort(attribute='meta.zone') | length }}"
    assert render(text, world(web(count=1))).texts == ("1",)


def test_filters_of_other_languages_are_told_what_to_write():
    for name, said in FOREIGN_WORDS.items():
        if name not in filters():
            with pytest.raises(TemplateError) as error:
                load(f"{{{{ 1 | {name} }}}}")
            assert message(error) == f"t.j2:1: no filter named {name!r}; {said}"


def test_no_word_of_ours_is_called_foreign():
    assert sorted(FOREIGN_WORDS.keys() & Functions({}, {}).table().keys()) == []


def test_a_name_that_is_no_token_is_offered_as_an_identifier():
    with pytest.raises(TemplateError) as error:
        render("{% for s in services() %}{{ s.name }}{% endfor %}", world(*(web(name=f"a b{n}") for n in range(6))))
    assert "is no plain token; a name prints through | identifier" in message(error)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("web", None),
        ("prod.web", 'service("web", tag="prod")'),
        ("web@dc1", 'service("web", dc="dc1")'),
        ("web~_agent", 'service("web", near="_agent")'),
        ("web|any", 'service("web", status="any")'),
        ("web|passing,warning", 'service("web", status=["passing", "warning"])'),
        (
            "a.b.web?ns=x&peer=y@dc2~n|any",
            'service("web", tag="a.b", ns="x", peer="y", dc="dc2", near="n", status="any")',
        ),
        ("a b", None),
        ("", None),
    ],
)
def test_the_grammar_of_names_is_translated(name, call):
    assert service_call(name) == call


@pytest.mark.parametrize(("tag", "call"), [("@dc1", 'services(dc="dc1")'), ("http", None), ("@", None)])
def test_the_grammar_of_services_is_translated(tag, call):
    assert services_call(tag) == call


UNKNOWN = "no such service is known"
STATE_LIST = '"passing,warning" are states and taken for a tag'
MEANT = "for what consul-template means by that"


def remarks(text, *services):
    """What is remarked on a template: over these services, and over names that have no instance at all."""
    known = answers(*services)
    empty = {query: Answer(query=query, value=()) for query in render(text, Snapshot(known)).missing}
    rendering = render(text, Snapshot(known | empty))
    assert rendering.missing == frozenset()
    return [remark.partition(": ")[2] for remark in rendering.remarks]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("prod.web", 'service("web", tag="prod")'),
        ("web@dc1", 'service("web", dc="dc1")'),
        ("web~near", 'service("web", near="near")'),
        ("web|any", 'service("web", status="any")'),
    ],
)
def test_a_name_in_consul_templates_grammar_is_never_silent(name, call):
    said = f'service("{name}"): {UNKNOWN}; write {call} {MEANT}'
    assert remarks(f"{{% set x = service('{name}') %}}", web()) == [said]


@pytest.mark.parametrize(
    ("asked", "call", "meant"),
    [
        ("key('a/b@dc1', '')", 'key("a/b@dc1")', 'key("a/b", dc="dc1")'),
        ("key_exists('a/b@dc1')", 'key_exists("a/b@dc1")', 'key_exists("a/b", dc="dc1")'),
        ("ls('a@dc1')", 'ls("a@dc1")', 'ls("a", dc="dc1")'),
        ("tree('a@dc1')", 'tree("a@dc1")', 'tree("a", dc="dc1")'),
    ],
)
def test_a_path_in_consul_templates_grammar_is_never_silent(asked, call, meant):
    assert remarks(f"{{% set x = {asked} %}}") == [f"{call}: nothing has this name; write {meant} {MEANT}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{% set x = connect('web|any') %}",
            f'connect("web|any"): {UNKNOWN}; write connect("web", status="any") {MEANT}',
        ),
        ("{% set x = service('a b@c') %}", f'service("a b@c"): {UNKNOWN}; a name has none of @ ~ | ?'),
        ("{% set x = services('@dc1') %}", f'no service has the tag "@dc1"; write services(dc="dc1") {MEANT}'),
        (
            "{% set x = service('web', 'any') %}",
            'service("web"): "any" is a state and taken for a tag; write service("web", status="any")',
        ),
        (
            "{% set x = service('web', 'passing,warning') %}",
            f'service("web"): {STATE_LIST}; write service("web", status=["passing", "warning"])',
        ),
        (
            "{% set x = service('web|any', filter='x') %}",
            f'service("web|any"): {UNKNOWN}; write service("web", status="any") {MEANT}',
        ),
        ("{% set x = service('wbe') %}", f'service("wbe"): {UNKNOWN}'),
        ("{% set x = services(tag='htp') %}", 'no service has the tag "htp"; did you mean "http"?'),
        ("{% set x = services('nosuch') %}", 'no service has the tag "nosuch"'),
        ("{% set x = service('web', 'htp') %}", 'service("web"): no instance has the tag "htp"; did you mean "http"?'),
        ("{% set x = service('web', 'nosuch') %}", 'service("web"): no instance has the tag "nosuch"'),
        (
            "{% set x = service('web', 'nosuch', status='any') %}",
            'service("web"): no instance has the tag "nosuch"',
        ),
        ("{% set all = services() %}{% set x = service('wbe') %}", f'service("wbe"): {UNKNOWN}; did you mean "web"?'),
    ],
)
def test_a_call_in_consul_templates_grammar_is_never_silent(text, said):
    assert remarks(text, web()) == [said]


@pytest.mark.parametrize(
    "text",
    [
        "{% set x = service('web') %}",
        "{% set x = service('web', 'http') %}",
        "{% set x = service('web', 'udp') %}",
        "{% set x = service('web', 'nosuch', filter='x') %}",
        "{% for s in services() %}{% set x = service(s.name, 'nosuch') %}{% endfor %}",
        "{% set x = service('web', status='critical') %}",
        "{% for s in services() %}{% set x = service(s.name) %}{% endfor %}",
        "{% set x = services(tag='http') %}",
        "{% set x = services(tag='udp') %}",
        "{% import 'nginx.j2' as nginx %}{{ nginx.http_upstreams('nosuch') }}",
        "{% set x = service('nosuch', filter='x') %}",
    ],
)
def test_what_may_well_be_empty_is_not_remarked_on(text):
    assert remarks(text, web(), ("empty", ("http",), ())) == []


def test_a_tag_of_one_datacenter_of_several_and_one_without_any_tag_are_not_remarked_on():
    east, west = ServicesQuery(dc="east"), ServicesQuery(dc="west")
    text = "{% set x = services(tag='htp', dc=['east', 'west']) %}"

    def remarks_on(**tags):
        lists = {
            query: Answer(query=query, value=(Service(name="web", tags=tags[query.dc]),)) for query in (east, west)
        }
        return [remark.partition(": ")[2] for remark in render(text, Snapshot(lists)).remarks]

    assert remarks_on(east=(), west=("htp",)) == []
    assert remarks_on(east=(), west=()) == []
    assert remarks_on(east=("http",), west=()) == ['no service has the tag "htp"; did you mean "http"?']


@pytest.mark.parametrize("name", ["prod.web", "web@dc1", "web~near", "web|any"])
def test_names_that_consul_really_knows_go_on(name):
    assert remarks(f"{{% set x = service('{name}') %}}", web(name=name), web()) == []


def test_a_state_that_is_really_a_tag_goes_on():
    assert remarks("{% set x = service('web', 'any') %}", web(tags=("any",))) == []


def test_a_remark_is_repeated_as_long_as_it_holds_in_a_loop_of_fragments():
    text = "{% for s in services(tag='http') %}{% for i in service(s.name ~ '@dc1') %}x{% endfor %}{% endfor %}"
    known = answers(web()) | {ServiceQuery(name="web@dc1"): Answer(query=ServiceQuery(name="web@dc1"), value=())}
    renderer = Renderer([load(text)])
    first = renderer.render(Snapshot(known))
    more = (
        known
        | answers(web(), web(name="api"))
        | {ServiceQuery(name="api@dc1"): Answer(query=ServiceQuery(name="api@dc1"), value=())}
    )
    assert set(first.remarks) < set(renderer.render(Snapshot(more)).remarks)
