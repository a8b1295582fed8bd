"""The defence behind the printing rule: a rendered text is proven to contain data only as values."""

import pytest
from rendering import instance, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Instance, Service, Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.template import Renderer, Template

GOOD = "good"


def snapshot(**services):
    """Services by name, each with one instance and the fields told; a good one is always there."""
    services = {GOOD: {}, "fine": {}, "well": {}} | services
    listed = tuple(Service(name=name, tags=tuple(fields.get("tags", ()))) for name, fields in sorted(services.items()))
    answers = {ServicesQuery(): listed}
    for name, fields in services.items():
        known = {"id": name, "name": name, "node": "n", "address": "10.0.0.1", "port": 80} | fields
        answers[ServiceQuery(name=name)] = (Instance(**known),)
    return Snapshot({query: Answer(query=query, value=value) for query, value in answers.items()})


@pytest.fixture
def render(tmp_path):
    def rendered(source, *, inside=b"", taken=frozenset(), is_new=False, **services):
        """Render services, those besides the good ones new; or over a template that is new itself."""
        file = tmp_path / "t.j2"
        file.write_text(source)
        template = Template.load(file, variables={"root": "/srv"}, environ={"HOME": "/home"})
        place = None if inside is None else ConfigPlace(inside=inside, taken=taken)
        renderer = Renderer([template])
        if not is_new:
            renderer.render(snapshot(), [place])
            renderer.accept()
        result = renderer.render(snapshot(**services), [place])
        assert not result.missing
        return result.texts[0], {
            rejection.service: rejection.reason.partition(": ")[2] for rejection in result.quarantined
        }

    return rendered


EACH = "{% for s in services() %}{% for i in service(s.name) %}"
END = "{% endfor %}{% endfor %}"
IF, FI = "{% if i.meta.d is defined %}", "{% endif %}"


@pytest.mark.parametrize(
    ("line", "evil"),
    [
        pytest.param('{{ i.meta.d | default("root") }} /x;', {"meta": {"d": "user"}}, id="name of a directive"),
        pytest.param("root {{ i.meta.d }};", {"meta": {"d": "/etc"}}, id="root"),
        pytest.param("root /srv/{{ i.meta.d }}/x;", {"meta": {"d": "etc"}}, id="within root"),
        pytest.param("include {{ i.meta.d | quote }};", {"meta": {"d": "/etc/x"}}, id="include"),
        pytest.param('alias {{ "/a/" ~ i.meta.d ~ "/" }};', {"meta": {"d": "b"}}, id="joined into alias"),
        pytest.param("{% set x %}load_module {{ i.meta.d }};{% endset %}{{ x }}", {"meta": {"d": "m.so"}}, id="set"),
        pytest.param("access_log {{ i.meta.d }};", {"meta": {"d": "/etc/cron.d/x"}}, id="a whole log file"),
        pytest.param("set $r {{ i.meta.d }}; root $r;", {"meta": {"d": "/etc"}}, id="root by a variable"),
        pytest.param("try_files {{ i.meta.d | quote }} =404;", {"meta": {"d": "/../../etc/x"}}, id="out of the root"),
        pytest.param(
            "access_log /var/log/{{ i.meta.d }}.{{ i.meta.e }};", {"meta": {"d": "/", "e": "./auth"}}, id="glued dots"
        ),
        pytest.param(
            "access_log /var/log/{{ i.meta.d }}{{ i.meta.e }};", {"meta": {"d": "./.", "e": "./a"}}, id="side by side"
        ),
        pytest.param(
            "access_log /var/log/{{ i.meta.d | comment }};", {"meta": {"d": "../../etc/cron.d/x"}}, id="as a comment"
        ),
        pytest.param("xslt_stylesheet {{ i.meta.d }};", {"meta": {"d": "/etc/x"}}, id="stylesheet"),
        pytest.param("ssl_conf_command Certificate {{ i.meta.d }};", {"meta": {"d": "/etc/x"}}, id="OpenSSL's own"),
    ],
)
def test_what_nginx_loads_comes_from_the_template_alone(render, line, evil):
    text, rejections = render(f"{EACH}{IF}{line}{FI}\nlisten {{{{ i.port }}}};{END}", evil=evil)
    assert set(rejections) == {"evil"}
    assert text.replace("\n", "") == "listen 80;" * 3


def test_the_reason_names_value_place_and_directive(render):
    _, rejections = render(f"{EACH}{IF}root {{{{ i.meta.d }}}};{FI}{END}", evil={"meta": {"d": "/etc"}})
    assert rejections == {"evil": "'/etc' would choose what 'root' loads"}


def test_a_line_that_many_services_would_break_is_the_templates_fault(render, tmp_path):
    many = {f"s{number}": {"meta": {"d": "x"}} for number in range(9)}
    with pytest.raises(TemplateError) as caught:
        render(f"{EACH}{IF}root {{{{ i.meta.d }}}};{FI}{END}", is_new=True, **many)
    what = "'x' would choose what 'root' loads (service 's0'); so it is for 9 of 9 services"
    assert str(caught.value) == f"{tmp_path}/t.j2:1: {what}"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("root {{ var.root }}/{{ env('HOME') }}/{{ loop.index }};", id="the operator's"),
        pytest.param("include {{ var.root ~ '/*.conf' }} {{ var.root | quote }};", id="joined of the operator's"),
        pytest.param("{% set r = var.root ~ '/x' %}{% set t %}{{ r }}/y{% endset %}root {{ t }};", id="captured"),
        pytest.param("{% macro m(x) %}{{ x }}{% endmacro %}root {{ m(var.root) }};", id="macro"),
        pytest.param('root {{ "%s/%s" | format(var.root, "x") }} {{ "{}".format(var.root) }};', id="formatted"),
        pytest.param("{% if i.name == 'good' %}root /srv/good;{% endif %}", id="chosen by data"),
        pytest.param("access_log /var/log/{{ i.name }}.log;", id="data within a log's path"),
        pytest.param("rewrite ^/{{ i.name }} {{ i.meta.to | default('/') }}; rewrite ^ a{{ i.name }};", id="rewrites"),
        pytest.param("access_log ../log/{{ i.name }}..log;", id="the template's own step"),
        pytest.param("server_name {{ (i.meta.hosts | default('x')).split(',') | join(' ') }};", id="a list split"),
        pytest.param(
            "{% for host in (i.meta.words | default('')).split() %}server_name {{ host }};{% endfor %}",
            id="words split",
        ),
        pytest.param(
            "server_name {{ i.meta.words | default('') | quote }}; # {{ i.meta.odd | default('') | comment }}",
            id="quoted",
        ),
        pytest.param(
            "map $a $b { {{ i.meta.words | default('') | quote }} {{ i.port }}; {{ i.name }} 1; }", id="keys of a map"
        ),
        pytest.param('{{ "server %s:%d weight=%-5s;" | format(i.address, i.port, i.name) }}', id="formatted data"),
        pytest.param('{{ "server " ~ i.address ~ ":" ~ i.port ~ ";" }}', id="a directive joined of parts"),
        pytest.param('{{ ["server", i.address] | join(" ") }};', id="joined by a space"),
        pytest.param(
            "{% filter indent(4) %}\nserver_name {{ i.meta.words | default('') | quote }};\n{% endfilter %}",
            id="indented",
        ),
    ],
)
def test_normal_templates_pass(render, line):
    meta = {"hosts": "a.com,b.com", "words": "a b  c", "odd": "; } evil"}
    text, rejections = render(EACH + line + END, good={"meta": meta})
    assert rejections == {}
    assert text


@pytest.mark.parametrize(
    ("line", "value", "reason"),
    [
        pytest.param("location {{ i.meta.d | quote }} { }", "=/web", "how 'location' takes it", id="one place"),
        pytest.param("location {{ i.meta.d | quote }} { }", "^~/", "how 'location' takes it", id="no patterns"),
        pytest.param("location {{ i.meta.d }} { }", "@web", "how 'location' takes it", id="a named place"),
        pytest.param("location {{ i.meta.d | quote }} /web { }", "^~", "how 'location' takes it", id="a modifier"),
        pytest.param("if ($a {{ i.meta.d | quote }} b) { }", "!=", "how 'if' takes it", id="an operator"),
        pytest.param("if ({{ i.meta.d }} b) { }", "-f", "how 'if' takes it", id="a file test"),
        pytest.param("try_files {{ i.meta.d | quote }} /a;", "=200", "how 'try_files' takes it", id="a status"),
        pytest.param("server_name {{ i.meta.d | quote }};", "*.org", "how 'server_name' takes it", id="a wildcard"),
        pytest.param("server_name {{ i.meta.d }};", "www.*", "how 'server_name' takes it", id="a wildcard's end"),
        pytest.param("server_name *.{{ i.meta.d }};", "a.*", "how 'server_name' takes it", id="a second wildcard"),
        pytest.param("server_name {{ i.meta.d }};", ".org", "how 'server_name' takes it", id="all below"),
        pytest.param("server_name {{ i.meta.d }};", "a..b", "how 'server_name' takes it", id="an empty label"),
        pytest.param("map $a $b { hostnames; {{ i.meta.d }} 1; }", "x.*", "how 'map' takes it", id="a wild key"),
        pytest.param("map $a $b { {{ i.meta.d }} 1; }", "volatile", "change the structure", id="volatile"),
        pytest.param("map $a $b { {{ i.meta.d }} 1; }", "hostnames", "change the structure", id="hostnames"),
        pytest.param("server_name ~^{{ i.meta.d }}$;", "a.*", "part of a regular", id="regex for hosts"),
        pytest.param("location ~ {{ i.meta.d | quote }} { }", "(a+)+", "part of a regular", id="slow regex"),
        pytest.param("location ~*^/{{ i.meta.d }} { }", "a?", "part of a regular", id="glued to a regex"),
        pytest.param("if ($a !~* {{ i.meta.d }}) { }", "a*", "part of a regular", id="regex in a condition"),
        pytest.param("rewrite {{ i.meta.d }} /x;", "a[b", "part of a regular", id="rewrite"),
        pytest.param("map $a $b { ~{{ i.meta.d }} 1; }", "a+", "part of a regular", id="regex for a key"),
        pytest.param("location {{ i.meta.d | quote }} { }", "~ (a+)+", "would be a pattern", id="regex for a path"),
        pytest.param("server_name {{ i.meta.d | quote }};", "~.", "would be a pattern", id="regex for a host"),
        pytest.param("map $a $b { {{ i.meta.d }} 1; }", "default", "change the structure", id="default of a map"),
        pytest.param("map $a $b { {{ i.meta.d }} /etc/passwd; }", "include", "change the structure", id="include"),
    ],
)
def test_a_value_that_changes_the_structure_leaves_out_its_service_alone(render, line, value, reason):
    text, rejections = render(f"{EACH}{IF}{line}{FI}{END}", evil={"meta": {"d": value}}, tame={"meta": {"d": "plain"}})
    assert set(rejections) == {"evil"}
    assert reason in rejections["evil"]
    assert "plain" in text


@pytest.mark.parametrize("target", [":8500/", "1:8500/", ".evil.org/", "evil.org"])
def test_a_target_of_a_rewrite_continues_no_host(render, target):
    """With ``proxy_pass http://web$uri`` it would: nginx puts no slash before it."""
    line = "rewrite ^ {{ i.meta.d }} break;"
    services = {"evil": {"meta": {"d": target}}, "tame": {"meta": {"d": "/plain"}}}
    text, rejections = render(f"{EACH}{IF}{line}{FI}{END}", **services, far={"meta": {"d": "https://example.org/"}})
    assert set(rejections) == {"evil"}
    assert "how 'rewrite' takes it" in rejections["evil"]
    assert "rewrite ^ /plain break;" in text


def test_of_two_locations_of_one_path_the_older_service_has_it(render):
    line = "location {{ i.meta.d | default('/' ~ i.name) }} { }"
    services = {"a0": {"meta": {"d": "/web"}, "created": 2}, "web": {"created": 1}}
    text, rejections = render(f"server {{ {EACH}{line}{END} }}", **services)
    assert set(rejections) == {"a0"}
    assert text.count("location /web ") == 1


def test_entries_of_a_map_in_a_file_of_their_own_are_data(render):
    text, rejections = render(f"{EACH}{{{{ s.name }}}} {{{{ i.port }}}};{END}", inside=b"map")
    assert (text, rejections) == ("fine 80;good 80;well 80;", {})
    _, rejections = render(f"{EACH}{{{{ s.name }}}} {{{{ i.port }}}};{END}", inside=b"map", include={})
    assert set(rejections) == {"include"}


def test_what_is_no_nginx_configuration_is_not_proven(render):
    assert render(f"root {EACH}{{{{ s.name }}}}{END};", inside=None) == ("root finegoodwell;", {})


SIMPLE = """
http {
    upstream static { server 10.9.9.9:1; }
{% for s in services() %}
    upstream {{ s.name }} {
{% for i in service(s.name) %}
        server {{ i.address }}:{{ i.port }};
{% endfor %}
    }
    server {
        listen 80;
        server_name {{ s.name }}.example.com;
    }
{% endfor %}
}
"""


@pytest.mark.parametrize(
    ("services", "rejection"),
    [
        pytest.param({"GOOD": {"created": 2}}, {"GOOD": "server_name"}, id="another case"),
        pytest.param({"static": {}}, {"static": "http upstream"}, id="the template's own upstream"),
        pytest.param({"Backend": {}}, {"Backend": "http upstream"}, id="an upstream of another file"),
        pytest.param({"www": {}}, {"www": "server_name"}, id="a host of another file"),
        pytest.param({f".{GOOD}": {"created": 2}}, {f".{GOOD}": "name"}, id="with all below it"),
        pytest.param({"other": {}}, {}, id="nobody's"),
    ],
)
def test_names_belong_to_the_longest_registered_or_to_the_configuration(tmp_path, services, rejection):
    file = tmp_path / "t.j2"
    file.write_text(SIMPLE)
    template = Template.load(file, variables={}, environ={})
    taken = frozenset({("http upstream", b"backend"), ("server_name", b"www.example.com on *:80")})
    known = {GOOD: {"created": 1}} | services
    result = Renderer([template]).render(snapshot(**known), [ConfigPlace(taken=taken)])
    assert {found.service: found.field for found in result.quarantined} in (
        rejection,
        dict.fromkeys(rejection, "http upstream"),
    )
    assert f"upstream {GOOD} " in result.texts[0]


def grouped(tmp_path, *texts, places, **services):
    """Render several templates of one group; return their texts, and whose values are left out."""
    templates = []
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.j2"
        file.write_text(text)
        templates.append(Template.load(file, variables={}, environ={}))
    renderer = Renderer(templates)
    result = renderer.render(snapshot(**services), places)
    return result.texts, {rejection.service for rejection in result.quarantined}


POOLS = EACH + "upstream {{ s.name }} { server {{ i.address }}:{{ i.port }}; }\n" + END
PASSES = "server { location / { proxy_pass http://$to; } location /a { proxy_pass http://good; } }"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param("server { location / { proxy_pass http://NAME; } }", id="another text's upstream"),
        pytest.param("server { set $to NAME; " + PASSES.removeprefix("server { "), id="by a variable"),
    ],
)
def test_an_upstream_may_stand_in_another_text_of_the_group(tmp_path, other):
    other = EACH + other.replace("NAME", "{{ s.name }}") + "\n" + END
    places = [ConfigPlace(inside=b"http")] * 2
    (_, text), left_out = grouped(tmp_path, POOLS, other, places=places, **{"10.9.9.9:1": {}})
    assert left_out == {"10.9.9.9:1"}
    assert all(name in text for name in ("good", "fine", "well"))


NAMED = EACH + "server { location / { set $v_{{ s.name }} TO; proxy_pass http://$v_{{ s.name }}; } }\n" + END


def test_a_variable_may_be_named_after_a_service_where_the_same_block_sets_it(tmp_path):
    source = POOLS + NAMED.replace("TO", "{{ i.meta.to | default(s.name) }}")
    evil = {"meta": {"to": "127.0.0.1:8500"}}
    (text,), left_out = grouped(tmp_path, source, places=[ConfigPlace(inside=b"http")], evil=evil, **{"my-app": {}})
    assert left_out == {"evil", "my-app"}
    assert all(f"set $v_{name} {name};" in text for name in ("good", "fine", "well"))


def test_an_error_about_a_variable_named_after_a_service_says_what_to_write(tmp_path):
    source = POOLS + NAMED.replace("set $v_{{ s.name }} TO;", "")
    what = r"0\.j2:2: 'fine' is part of the name of a variable .*; write the upstream's name in its place, or set"
    with pytest.raises(TemplateError, match=what):
        grouped(tmp_path, source, places=[ConfigPlace(inside=b"http")])


def test_a_file_within_a_map_leads_where_another_text_goes(tmp_path):
    keys = EACH + "{{ s.name }} {{ i.meta.to | default(s.name) }};\n" + END
    places = [ConfigPlace(inside=b"http"), ConfigPlace(inside=b"map", variable=b"to")]
    evil = {"meta": {"to": "127.0.0.1:8500"}}
    assert grouped(tmp_path, POOLS + PASSES, keys, places=places, evil=evil)[1] == {"evil"}
    assert grouped(tmp_path, POOLS, keys, places=places, evil=evil)[1] == set()


def test_a_line_that_only_diverging_services_print_freezes_no_service(tmp_path):
    line = POOLS + EACH + IF + "server { location / { proxy_pass http://{{ i.meta.d }}; } }" + FI + "\n" + END
    evil = {f"evil{number}": {"meta": {"d": "127.0.0.1:8500"}} for number in range(3)}
    evil |= {f"more{number}": {} for number in range(3)}
    assert grouped(tmp_path, line, places=[ConfigPlace(inside=b"http")], **evil)[1] == {"evil0", "evil1", "evil2"}


def test_a_line_by_which_most_go_astray_is_at_fault_itself(tmp_path):
    line = EACH + "server { location / { proxy_pass http://{{ s.name }}.internal; } }\n" + END
    with pytest.raises(TemplateError, match="would choose where 'proxy_pass' goes, and names no upstream"):
        grouped(tmp_path, line, places=[ConfigPlace(inside=b"http")])


def test_a_loopback_address_may_be_named_by_its_own_service_alone(tmp_path):
    line = EACH + "upstream {{ s.name }} { server {{ i.meta.at | default(i.address) }}:{{ i.port }}; }\n" + END
    local = {"address": "127.0.0.1", "port": 81}
    for at, left_out in (("127.0.0.1", {"evil"}), ("10.0.0.1", set())):
        found = grouped(tmp_path, line, places=[ConfigPlace(inside=b"http")], local=local, evil={"meta": {"at": at}})
        assert found[1] == left_out


@pytest.mark.parametrize(
    ("to", "left_out"),
    [
        pytest.param("10.1.0.1/admin", {"evil"}, id="bare, with a path"),
        pytest.param("10.1.0.1:22", {"evil"}, id="a port that nobody registered"),
        pytest.param("10.1.0.1:8080", set(), id="as registered"),
    ],
)
def test_another_service_s_address_counts_with_its_port_alone(tmp_path, to, left_out):
    line = EACH + "server { location / { proxy_pass http://{{ i.meta.to | default(s.name) }}; } }\n" + END
    other = {"address": "10.1.0.1", "port": 8080}
    found = grouped(
        tmp_path, POOLS + line, places=[ConfigPlace(inside=b"http")], other=other, evil={"meta": {"to": to}}
    )
    assert found[1] == left_out


def test_who_named_an_upstream_that_was_not_there_comes_back_with_it(tmp_path):
    file = tmp_path / "t.j2"
    file.write_text(
        POOLS + EACH + "server { location / { proxy_pass http://{{ i.meta.to | default(s.name) }}; } }\n" + END
    )
    renderer = Renderer([Template.load(file, variables={}, environ={})])
    place, user = [ConfigPlace(inside=b"http")], {"meta": {"to": "late"}}
    before = renderer.render(snapshot(user=user), place)
    assert [rejection.service for rejection in before.quarantined] == ["user"]
    assert renderer.render(snapshot(user=user, late={}), place).quarantined == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("8443", "08443", id="zeros"),
        pytest.param("127.0.0.1:8443", "127.0.0.01:8443", id="zeros in an address"),
        pytest.param("[::1]:8443", "[0:0::1]:8443", id="IPv6"),
        pytest.param("8443", "0.0.0.0:8443", id="any address"),
    ],
)
def test_an_address_belongs_to_the_longest_registered_however_it_is_spelled(tmp_path, one, other):
    file = tmp_path / "t.j2"
    file.write_text("""\
{% for s in services() %}{% for i in service(s.name) %}
server { listen {{ i.meta.at }}; proxy_pass {{ i.address }}:{{ i.port }}; }
{% endfor %}{% endfor %}
""")
    known = {"a": (9, other), "z": (1, one), "b": (2, "1"), "c": (3, "2")}
    services = [(name, (), (instance(name, created=at, meta={"at": port}),)) for name, (at, port) in known.items()]
    result = Renderer([Template.load(file, variables={}, environ={})]).render(
        world(*services), [ConfigPlace(inside=b"stream")]
    )
    assert [rejection.service for rejection in result.quarantined] == ["a"]


def test_one_service_that_has_a_name_twice_does_not_have_nginx_refuse_the_others(tmp_path):
    file = tmp_path / "t.j2"
    file.write_text("""\
{% for s in services() %}{% for i in service(s.name) %}
upstream {{ i.meta.pool }} { server {{ i.address }}:{{ i.port }}; }
{% endfor %}{% endfor %}
""")

    def twice(name):
        return name, (), tuple(instance(name, number, meta={"pool": f"{name}2"}) for number in range(2))

    plain = [(name, (), (instance(name, meta={"pool": name}),)) for name in ("b", "c", "d")]
    renderer = Renderer([Template.load(file, variables={}, environ={})])
    result = renderer.render(world(twice("a"), *plain), [ConfigPlace(inside=b"http")])
    assert [str(rejection) for rejection in result.quarantined] == [
        "service 'a': http upstream: http upstream a2 is there twice"
    ]
    with pytest.raises(TemplateError, match="is there twice"):
        renderer.render(world(*map(twice, "abcde")), [ConfigPlace(inside=b"http")])


DIRECT = """
http {
{% for s in services() %}{% for i in service(s.name) %}
    upstream {{ s.name | identifier }} { server {{ i.address }}:{{ i.port }}; }
    server { listen 80; server_name {{ i.id }}.x; location / { proxy_pass http://{{ i.address }}WITH_PORT; } }
{% endfor %}{% endfor %}
}
"""


@pytest.mark.parametrize("with_port", ["", ":{{ i.port }}"])
@pytest.mark.parametrize("name", ["10.0.0.1", "10.9.9.9", "10.0.0.1:80", "::1"])
def test_no_service_gives_an_upstream_the_name_of_an_address(render, name, with_port):
    text, left_out = render(
        DIRECT.replace("s.name | identifier", "s.name").replace("WITH_PORT", with_port),
        **{name: {"id": "evil", "address": "10.6.6.6"}},
    )
    assert set(left_out) == {name}
    assert "10.6.6.6" not in text
    assert "upstream good " in text


def test_the_identifier_of_an_address_is_refused_as_an_upstreams_name(tmp_path):
    file = tmp_path / "t.j2"
    file.write_text(DIRECT.replace("WITH_PORT", ""))
    template = Template.load(file, variables={}, environ={})
    evil = {"10.0.0.1": {"id": "evil", "address": "10.6.6.6"}}
    result = Renderer([template]).render(snapshot(**evil), [ConfigPlace()])
    (rejection,) = result.quarantined
    assert rejection.reason == "http upstream 10.0.0.1 is an address, which may not be the name of an upstream"


@pytest.mark.parametrize("name", ["10.0.0.1", "[::1]:80"])
def test_the_templates_own_upstream_may_be_named_like_an_address(render, name):
    text, left_out = render(f"http {{ upstream {name} {{ server 10.0.0.1:80; }} }}")
    assert (name in text, left_out) == (True, {})


@pytest.mark.parametrize("name", ["8080", "1", "10.0.0", "v1.2.3", "10.0.0.1.x", "web-10.0.0.1"])
def test_a_name_that_is_no_address_is_an_upstreams(render, name):
    _, left_out = render(f"http {{ {POOLS} }}", **{name: {}})
    assert left_out == {}
