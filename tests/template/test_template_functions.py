"""The functions of templates: services, service, query, listen_port, claim, var, env."""

import pytest
from rendering import answers, instance, load, message, render, text_of, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Instance, Service, Snapshot, Status
from ctemplate.queries import PreparedQuery, ServiceQuery, ServicesQuery
from ctemplate.template import Renderer

WORLD = world(
    web(name="api", count=2, tags=("http", "v1")),
    web(name="db-5432", tags=("tcp",)),
    web(name="dns-53", tags=("tcp", "udp")),
)


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        pytest.param("{% for s in services() %}{{ s.name }} {% endfor %}", "api db-5432 dns-53 ", id="all, by name"),
        pytest.param('{% for s in services(tag="tcp") %}{{ s.name }} {% endfor %}', "db-5432 dns-53 ", id="by tag"),
        pytest.param('{% for s in services("http") %}{{ s.tags | join(",") }}{% endfor %}', "http,v1", id="tags"),
        pytest.param('{{ services("tcp") | map(attribute="listen_port") | join(" ") }}', "5432 53", id="ports"),
        pytest.param('{{ listen_port("db-5432") }}', "5432", id="port of a name"),
        pytest.param(
            '{% for i in service("api") %}{{ i.address }}:{{ i.port }};{% endfor %}',
            "10.0.0.1:8000;10.0.0.2:8001;",
            id="instances",
        ),
        pytest.param('{{ service("api", tag="v2") | length }}', "0", id="no instance with the tag"),
        pytest.param('{{ service("api") | map(attribute="node") | join(" ") }}', "node0 node1", id="nodes"),
    ],
)
def test_functions_answer_from_the_snapshot(template, shown):
    assert text_of(template, WORLD) == shown


def in_datacenters(**numbers):
    """A service with instances of these numbers, by datacenter."""
    found = {}
    for dc, given in numbers.items():
        services, query = ServicesQuery(dc=dc), ServiceQuery(name="web", dc=dc)
        instances = tuple(instance("web", number, datacenter=dc) for number in given)
        found[services] = Answer(query=services, value=(Service(name="web", tags=(dc,)),) if given else ())
        found[query] = Answer(query=query, value=instances)
    return Snapshot(found)


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        pytest.param('service("web", dc=["a", "b"])', "0 1 2", id="merged, in the order of the list"),
        pytest.param('service("web", dc=["b", "a", "b"])', "2 0 1", id="each once"),
        pytest.param('service("web", dc=["a", "b"], failover=true)', "0 1", id="the first"),
        pytest.param('service("web", dc=["c", "b", "a"], failover=true)', "2", id="the first that has any"),
        pytest.param('service("web", dc=["c"], failover=true)', "", id="none has any"),
    ],
)
def test_several_datacenters_are_merged_or_in_failover_order(call, shown):
    template = f'{{{{ {call} | map(attribute="id") | join(" ") }}}}'
    known = in_datacenters(a=[0, 1], b=[2], c=[])
    assert text_of(template, known) == " ".join(f"web-{number}" for number in shown.split())


def test_services_of_several_datacenters_have_all_their_tags():
    template = '{% for s in services(dc=["b", "a"]) %}{{ s.name }}: {{ s.tags | join(" ") }}{% endfor %}'
    assert text_of(template, in_datacenters(a=[0], b=[2])) == "web: a b"


LIVE = Answer(
    query=PreparedQuery(name="live"),
    value=(
        instance("web", 0, tags=("blue",), created=5),
        instance("web", 1, status=Status.WARNING),
        instance("web", 2, status=Status.CRITICAL, tags=("blue",)),
    ),
)


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        pytest.param('query("live")', "0 1 2", id="as Consul chose"),
        pytest.param('query("live", tag="blue")', "0 2", id="with a tag"),
        pytest.param('query("live", status=["passing", "warning"])', "0 1", id="in some states"),
    ],
)
def test_a_prepared_query_gives_what_it_chose(call, shown):
    template = f'{{{{ {call} | map(attribute="id") | join(" ") }}}}'
    assert text_of(template, Snapshot({LIVE.query: LIVE})) == " ".join(f"web-{number}" for number in shown.split())


def test_a_service_is_left_out_of_a_prepared_query_by_its_own_name():
    bad = instance("web", 0, meta={"root": "/srv; }"})
    good = instance("api", 0)
    snapshot = Snapshot(
        {
            query: Answer(query=query, value=(found,))
            for query, found in ((PreparedQuery(name="a"), bad), (PreparedQuery(name="b"), good))
        }
    )
    template = '{% for i in query("a") + query("b") %}{{ i.name }} {{ i.meta.root }};{% endfor %}'
    rendering = render(template.replace("i.meta.root", 'i.meta.get("root", "/")'), snapshot)
    assert rendering.texts == ("api /;",)
    assert [rejection.service for rejection in rendering.quarantined] == ["web"]


def test_who_a_prepared_query_shows_to_be_registered_first_wins():
    late = Answer(query=ServiceQuery(name="api"), value=(instance("api", 0, created=9),))
    template = '{% for i in service("api") + query("live") %}{{ claim("server_name", "x.test", i) }} {% endfor %}'
    rendering = render(template, Snapshot({late.query: late, LIVE.query: LIVE}))
    assert [rejection.service for rejection in rendering.quarantined] == ["api"]


def test_failover_waits_for_the_datacenters_before():
    query = ServiceQuery(name="web", dc="a")
    rendering = render('{{ service("web", dc=["a", "b"], failover=true) | length }}', in_datacenters(b=[2]))
    assert rendering.missing == {query}


@pytest.mark.parametrize(
    ("known", "missing"),
    [
        pytest.param({"a": [0], "b": [1]}, "", id="all answered"),
        pytest.param({"a": [0]}, "", id="the first has some"),
        pytest.param({"b": [1]}, "a", id="the first has not answered"),
        pytest.param({"a": []}, "b", id="the first has none"),
        pytest.param({}, "a", id="none answered"),
    ],
)
def test_failover_asks_every_datacenter_and_waits_only_for_those_it_needs(known, missing):
    template = "{% for name in ['x'] %}{{ service('web', dc=['a', 'b'], failover=true) | length }}{% endfor %}"
    renderer, snapshot = Renderer([load(template)]), in_datacenters(**known)
    for _ in range(2):
        rendering = renderer.render(snapshot)
        assert rendering.used == {in_dc("a"), in_dc("b")}
        assert rendering.missing == set(map(in_dc, missing))


def test_what_is_spare_in_one_call_is_awaited_by_another():
    spare, needed = "service('web', dc=['a', 'b'], failover=true)", "service('web', dc='b')"
    for calls in ((spare, needed), (needed, spare)):
        template = "".join("{{ CALL | length }}".replace("CALL", call) for call in calls)
        assert render(template, in_datacenters(a=[0])).missing == {in_dc("b")}


def test_a_spare_datacenter_is_used_as_soon_as_it_is_needed():
    template = "{% for name in ['web'] %}{{ service(name, dc=['a', 'b'], failover=true)[0].id }}{% endfor %}"
    renderer = Renderer([load(template)])
    for known, shown in (({"a": [0]}, "web-0"), ({"a": [0], "b": [1]}, "web-0"), ({"a": [], "b": [1]}, "web-1")):
        assert renderer.render(in_datacenters(**known)).texts == (shown,)


STATES = tuple(instance("api", number, status=status) for number, status in enumerate(Status))


@pytest.mark.parametrize(
    ("status", "numbers"),
    [
        pytest.param("", "0", id="passing unless asked"),
        pytest.param(', status="warning"', "1", id="one word"),
        pytest.param(', status=["passing", "critical"]', "0 2", id="a list"),
        pytest.param(', status="any"', "0 1 2 3", id="any"),
        pytest.param(', status=["maintenance"]', "3", id="maintenance"),
        pytest.param(", status=[]", "", id="none"),
    ],
)
def test_status_selects_instances(status, numbers):
    template = f'{{% for i in service("api"{status}) %}}{{{{ i.id }}}} {{% endfor %}}'
    assert text_of(template, world(("api", (), STATES))).split() == [f"api-{n}" for n in numbers.split()]


@pytest.mark.parametrize(
    ("call", "query"),
    [
        pytest.param(
            'services(dc="east", ns="n", partition="p")', ServicesQuery(dc="east", ns="n", partition="p"), id="services"
        ),
        pytest.param(
            'service("a b@c", dc="east", near="_agent", filter="x == 1", peer="q")',
            ServiceQuery(name="a b@c", dc="east", near="_agent", filter="x == 1", peer="q"),
            id="service",
        ),
        pytest.param(
            'query("a b", dc="east", near="_agent", ns="n", partition="p", tag="x", status="passing")',
            PreparedQuery(name="a b", dc="east", near="_agent", ns="n", partition="p"),
            id="query",
        ),
        pytest.param(
            'service("web", tag="x", status="any", dc="")', ServiceQuery(name="web"), id="choices are not asked"
        ),
    ],
)
def test_a_render_names_the_answers_it_lacks(call, query):
    rendering = render(f"{{{{ {call} | length }}}}")
    assert rendering.missing == rendering.used == frozenset({query})


def test_a_template_that_needs_an_answer_waits_for_it_instead_of_failing():
    rendering = render('{{ (service("api") | first).address }}')
    assert rendering.missing == frozenset({ServiceQuery(name="api")})


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("web-80", 80),
        ("a-b-65535", 65535),
        ("web-1", 1),
        ("--7", 7),
        ("a\n-8", 8),
        ("web-0", None),
        ("web-080", None),
        ("web-65536", None),
        ("web", None),
        ("80", None),
        ("-80", None),
        ("web-", None),
        ("web-8 0", None),
        ("web-٨", None),
        ("web-+1", None),
        ("web-1\n", None),
    ],
)
def test_the_port_stands_after_the_last_dash(name, port):
    rendering = render("{% for s in services() %}{{ s.listen_port }}{% endfor %}", world(web(name=name)))
    expected = ("", [name]) if port is None else (str(port), [])
    assert (rendering.texts[0], [rejection.service for rejection in rendering.quarantined]) == expected


def test_variables_and_environment_are_the_operators():
    variables = {"domain": "a; b", "ports": [80, "8 1"], "table": {"key": "x y"}, "items": "own"}
    template = '{{ var.domain }}|{{ var.ports | join("; ") }}|{{ var.table.key }}|{{ var.items }}|{{ env("A") }}'
    assert text_of(template, variables=variables, environ={"A": "{ }"}) == "a; b|80; 8 1|x y|own|{ }"


def test_defaults_stand_in_for_what_is_not_set():
    assert text_of('{{ var.none | default("a; b") }}{{ env("NONE", "c d") }}') == "a; bc d"


@pytest.mark.parametrize("name", ["CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH", "CONSUL_TOKEN"])
def test_credentials_are_out_of_reach(name):
    with pytest.raises(TemplateError) as error:
        render(f'{{{{ env("{name}", "x") }}}}', environ={name: "sesame"})
    assert message(error) == f"t.j2:1: env: {name} is a credential that templates cannot read"


def registered(name, created, **fields):
    return name, ("http", "tcp"), (instance(name, created=created, **fields),)


LISTEN = "{% for s in services() %}{{ s.listen_port }}{% set _ = service(s.name) %} {% endfor %}"
NAMED = '{% for s in services() %}{{ claim("server_name", s.name ~ ".x") }} {% set _ = service(s.name) %}{% endfor %}'


@pytest.mark.parametrize(
    ("template", "services", "text", "left_out"),
    [
        pytest.param(
            LISTEN, [registered("a-80", 9), registered("b-80", 5)], "80 ", "a-80", id="port, longest registered"
        ),
        pytest.param(LISTEN, [registered("a-80", 0), registered("b-80", 5)], "80 ", "a-80", id="port, known wins"),
        pytest.param(
            LISTEN, [registered("a-80", 0), registered("b-80", 0)], "80 ", "b-80", id="port, unknown: by name"
        ),
        pytest.param(
            NAMED, [registered("Web", 9), registered("web", 5)], "web.x ", "Web", id="server name, in any case"
        ),
    ],
)
def test_what_can_be_had_once_goes_to_the_longest_registered(template, services, text, left_out):
    rendering = render(template, world(*services))
    assert rendering.texts == (text,)
    assert [rejection.service for rejection in rendering.quarantined] == [left_out]


def test_both_claimants_are_named():
    rendering = render(LISTEN, world(registered("a-80", 9), registered("b-80", 5)))
    assert [str(rejection) for rejection in rendering.quarantined] == [
        "service 'a-80': tcp port: 80 belongs to service 'b-80', which came first"
    ]


def test_one_port_may_serve_tcp_and_udp():
    services = web(name="a-53", tags=("tcp",)), web(name="b-53", tags=("udp",))
    assert text_of("{% for s in services() %}{{ s.listen_port }} {% endfor %}", world(*services)) == "53 53 "


WITH_TCP = (
    "{% for s in services() %}{{ s.name }}{% if 'tcp' in s.tags %}:{{ s.listen_port }}{% endif %} "
    "{% set _ = service(s.name, 'tcp') %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        pytest.param(WITH_TCP, "a-80 b-80:80 web ", id="asked by tag"),
        pytest.param(
            "{% for s in services('http') %}{{ s.name }} {% endfor %}"
            + WITH_TCP.replace("services()", "services('tcp')"),
            "a-80 b-80 web b-80:80 ",
            id="listed by tag",
        ),
        pytest.param(LISTEN, "80 ", id="whatever its tags"),
    ],
)
def test_who_has_no_right_to_a_port_goes_on_without_it(template, text):
    services = registered("a-80", 9), registered("b-80", 5), registered("web", 1)
    rendering = render(template, world(*services))
    assert rendering.texts == (text,)
    assert {rejection.service: rejection.field for rejection in rendering.quarantined} == {
        "a-80": "tcp port",
        "web": "tcp port",
    }
    part = " (of what is listed by tag 'tcp' alone)" if template is not LISTEN else ""
    assert {rejection.reason for rejection in rendering.quarantined} == {
        f"80 belongs to service 'b-80', which came first{part}",
        f"the name does not end in a dash and a port from 1 to 65535{part}",
    }


def test_who_lost_a_port_has_it_back_when_the_other_lets_go():
    renderer = Renderer(
        [load("{% for s in services('tcp') %}{{ s.listen_port }}{% set _ = service(s.name) %}{% endfor %}")]
    )
    one, other = registered("a-80", 9), registered("b-80", 5)
    assert [rejection.service for rejection in renderer.render(world(one, other)).quarantined] == ["a-80"]
    assert renderer.render(world(one, ("b-80", ("http",), other[2]))).quarantined == ()


def test_templates_of_one_group_share_claims():
    one, two = (load(f'{{{{ services(tag="{tag}")[0].listen_port }}}}') for tag in ("one", "two"))
    snapshot = world(web(name="a-80", tags=("one",)), web(name="b-80", tags=("two",)), web(name="c-81", tags=("two",)))
    rendering = Renderer([one, two]).render(snapshot)
    assert rendering.texts == ("80", "81")
    assert [rejection.service for rejection in rendering.quarantined] == ["b-80"]


def test_losing_one_claim_frees_the_others():
    template = NAMED + "{% for s in services() %}{{ s.listen_port }} {% endfor %}"
    template = template.replace('s.name ~ ".x"', "s.tags[0]")
    services = [
        ("old-80", ("one", "tcp"), (instance("old-80", created=1),)),
        ("mid-80", ("two", "tcp"), (instance("mid-80", created=2),)),
        ("new-81", ("two", "tcp"), (instance("new-81", created=3),)),
    ]
    rendering = render(template, world(*services))
    assert [rejection.service for rejection in rendering.quarantined] == ["mid-80"]
    assert rendering.texts == ("two one 81 80 ",)


@pytest.mark.parametrize("name", ["~.*", ".x", "*", "a b"])
def test_a_server_name_is_one_hosts_name(name):
    rendering = render(
        '{% for s in services() %}{{ claim("server_name", s.name) | token }}{% endfor %}', world(web(name=name))
    )
    assert (rendering.texts[0], [str(f) for f in rendering.quarantined]) == (
        "",
        [f"service {name!r}: name: gives no host name"],
    )


def test_a_kept_text_is_the_same_object_until_an_answer_changes():
    known = answers(web(name="api"), web(name="other"))
    renderer = Renderer([load('{{ service("api")[0].address }}'), load('{{ service("other")[0].address }}')])
    first = renderer.render(Snapshot(known))
    query = ServiceQuery(name="api")
    moved = Instance(id="1", name="api", node="n", address="10.9.9.9", port=1)
    second = renderer.render(Snapshot(known | {query: Answer(query=query, value=(moved,))}))
    assert second.texts == ("10.9.9.9", "10.0.0.1")
    assert second.texts[1] is first.texts[1]


def test_equal_but_new_answers_are_rendered_again():
    known = answers(web(name="api"))
    renderer = Renderer([load('{{ service("api") | map(attribute="address") | join(" ") }}')])
    assert renderer.render(Snapshot(known)).texts == renderer.render(Snapshot(answers(web(name="api")))).texts


@pytest.mark.parametrize(
    ("call", "away", "printed", "missing"),
    [
        pytest.param('service("web", dc=["a", "b"])', "b", "2", set(), id="beside an answer"),
        pytest.param('service("web", dc=["b", "a"], failover=true)', "b", "2", set(), id="failed over from"),
        pytest.param('service("web", dc=["a", "b"], failover=true)', "b", "2", set(), id="not needed"),
        pytest.param('service("web", dc=["a", "b"])', "ab", "0", {"a", "b"}, id="all of them"),
        pytest.param('service("web", dc=["b", "a"], failover=true)', "ab", "0", {"a", "b"}, id="all to fail over to"),
        pytest.param('service("web", dc="b")', "b", "0", {"b"}, id="alone"),
    ],
)
def test_an_absent_datacenter_counts_only_beside_others(call, away, printed, missing):
    answers = {query.dc: Answer(query=query, value=(), absent=query.dc in away) for query in map(in_dc, "ab")}
    if "a" not in away:
        answers["a"] = Answer(query=in_dc("a"), value=(instance("web", 0), instance("web", 1)))
    snapshot = Snapshot({answer.query: answer for answer in answers.values()})
    renderer = Renderer([load("{% for name in ['x'] %}{{ " + call + " | length }}{% endfor %}")])
    for _ in range(2):
        rendering = renderer.render(snapshot)
        assert rendering.missing == set(map(in_dc, missing))
        assert missing or rendering.texts == (printed,)


def in_dc(dc):
    return ServiceQuery(name="web", dc=dc)
