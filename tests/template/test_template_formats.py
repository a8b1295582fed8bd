"""Formats other than nginx's: how a file's format is found, and that no value leaves its place for their parsers."""

import functools
import html
import html.parser
import itertools
import json
import subprocess
import typing
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, strategies as st
from rendering import load, message, render, text_of, web, world

from ctemplate.config.groups import STDOUT, TemplatePlan
from ctemplate.config.schema import Escape, GroupSection
from ctemplate.core.errors import TemplateError
from ctemplate.template import Renderer
from ctemplate.template.language.filters import HAPROXY_LONGEST
from ctemplate.template.language.formats import CHOICES, FORMATS, format_of

HOSTILE = [
    '"', "'", "\\", '\\"', "$", "`", "\n", "\r", "\t", "\0", "\x1b[31m", "\x85", "\u2028", "\udc80", "\ufdd1",
    "\ufffe", "", " ", "-", "- a", "a: b", "a:", ": a", " #b", "#b", "a #b", "[a", "{a: b}", "a, b",
    "!!python/object:x", "&a", "*a", "---", "...", "%YAML", "? a", "| a", "> a", "@a", "~", "=", "null", "true",
    "1", "1.0", "1e3", "0x1", '", "admin": true, "x": "', '1, "admin": true', "}, {", "$(id)", "`id`", "${HOME}",
    "$HOME", "; id", "| id", "&& id", "a\nid", "it's", "\\$x", "!x", "%[env(HOME)]", "%", "%%", "a\\", "<script>",
    "</p><p>", "<!--", "-->", "--", "&lt;", "' onload='x", '" onload="x', "<", ">", "a,b", "x=y", "Jane Doe",
    "1.1 (rc 1)", "http://h/p?q=1&r=2", "üñí", "\U0001f600", "\ufeff", "a" * 3000, "..", "~root",
]  # fmt: skip
"""What registrants write to get out of their place, and what they write in good faith."""

KIND = [value for value in HOSTILE if value.isprintable() and not set(value) & set("\"'\\<>$`%\ue000")]
"""What may stand within any quotes."""


@functools.cache
def loaded(source, escape):
    """Load a template once for all values that are printed by it, as the daemon does."""
    return load(source, escape=escape)


def printed(line, value, escape):
    """Return the text of a line over a service with that value; None where it is not printed.

    No other service shows that the line can be passed, so the first version of a template is refused for it.
    """
    template = f'{{% for i in service("web") %}}{line}{{% endfor %}}'
    source = template.replace("V", "i.meta.v")
    try:
        rendering = Renderer([loaded(source, escape)]).render(world(web(meta={"v": value})))
    except TemplateError as error:
        if not str(error).endswith("(service 'web')"):
            raise
        return None
    assert not rendering.quarantined
    return rendering.texts[0]


def test_each_choice_of_the_configuration_is_a_format():
    assert typing.get_args(Escape) == CHOICES
    assert set(CHOICES) < set(FORMATS)


@pytest.mark.parametrize(
    ("destination", "reload", "expected"),
    [
        ("/etc/nginx/nginx.conf", None, "nginx"),
        ("/srv/lb/lb.conf", "nginx -s reload", "nginx"),
        ("/srv/lb/lb.conf", ("openresty", "-s", "reload"), "nginx"),
        ("/etc/haproxy/haproxy.cfg", None, "haproxy"),
        ("/srv/lb/lb.cfg", "systemctl reload haproxy", "haproxy"),
        ("/srv/nginx/lb.cfg", "systemctl reload haproxy", "haproxy"),
        ("/etc/prometheus/targets/web.json", None, "json"),
        ("/etc/nginx/data.json", "nginx -s reload", "json"),
        ("/etc/traefik/dynamic.yml", None, "yaml"),
        ("/etc/app/config.yaml", "kill -HUP 1", "yaml"),
        ("/srv/www/status.html", None, "html"),
        ("/etc/default/app", None, "shell"),
        ("/srv/app/.env", None, "shell"),
        ("/srv/app/.env.production", None, "shell"),
        ("/srv/app/web.env", None, "shell"),
        ("/usr/local/bin/list.sh", None, "shell"),
        ("/etc/hosts", None, "lines"),
        ("/etc/hosts.consul", "nginx -s reload", "lines"),
        ("/var/lib/bind/consul.zone", None, "lines"),
        ("/srv/backends.txt", None, "lines"),
        ("/srv/dns/hosts.consul", None, "lines"),
        ("/etc/environment", None, "shell"),
        ("/etc/nginx/allowed.map", None, "nginx"),
        ("/etc/nginx/hosts.conf", None, "nginx"),
        ("/srv/conf.d/hosts", "nginx -s reload", "nginx"),
        ("/etc/nginx/env", None, "nginx"),
        ("/etc/app/app.conf", "systemctl reload app", "other"),
    ],
)
def test_the_format_comes_from_the_program_and_the_destination(destination, reload, expected):
    plan = TemplatePlan(
        source=Path("t.j2"), destination=Path(destination), mode=None, user=None, owner_group=None, escape=None
    )
    assert format_of(plan, GroupSection(name="g", reload=reload)) == expected


@pytest.mark.parametrize(
    ("source", "escape", "expected"),
    [
        ("hosts.j2", None, "lines"),
        ("a.json.tmpl", None, "json"),
        ("t.j2", None, "other"),
        ("a.json.j2", "none", "none"),
    ],
)
def test_the_format_of_what_is_only_printed_comes_from_the_template(source, escape, expected):
    plan = TemplatePlan(
        source=Path("/srv/nginx") / source, destination=STDOUT, mode=None, user=None, owner_group=None, escape=escape
    )
    assert format_of(plan, GroupSection(name="g")) == expected


ANY_TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(), st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join))
JSON_LINES = {
    '{"k": "{{ V }}"}': "v",
    '{"k": {{ V | json }} }': "v",
    '{"k": "a{{ V }}b"}': "avb",
    '{"k": ["{{ V }}", {{ V | tojson }}]}': ["v", "v"],
}


def filled(shape, value):
    """Return the structure with the value in place of ``v``."""
    if isinstance(shape, list):
        return [filled(one, value) for one in shape]
    return shape.replace("v", value) if isinstance(shape, str) else shape


@pytest.mark.parametrize("line", JSON_LINES)
@given(value=ANY_TEXT)
def test_json_reads_the_value_where_it_was_printed(line, value):
    text = printed(line, value, "json")
    if text is not None:
        assert json.loads(text) == {"k": filled(JSON_LINES[line], value)}
    else:
        assert '"{{' in line or '"a{{' in line
        assert set(value) & set('"\\') or not value.isprintable()


@given(value=ANY_TEXT)
def test_json_has_bare_values_only_where_they_are_numbers_or_constants(value):
    text = printed('{"k": {{ V }}}', value, "json")
    assert text is None or (
        json.loads(text).keys() == {"k"} and not isinstance(json.loads(text)["k"], str | dict | list)
    )


YAML_LINES = {
    'k: "{{ V }}"\nl: 1': "v", "k: '{{ V }}'\nl: 1": "v", "k: {{ V | yaml }}\nl: 1": "v",
    "k: {{ V | json }}\nl: 1": "v",
    "k: [{{ V | yaml }}]\nl: 1": ["v"], "k: |\n  {{ V }}\n  b\nl: 1": "v\nb\n", "k: |-\n  a: {{ V }}\nl: 1": "a: v",
    "k: a # {{ V }}\nl: 1": "a",
}  # fmt: skip


@pytest.mark.parametrize("line", YAML_LINES)
@given(value=ANY_TEXT)
@example(value="a b")
def test_yaml_reads_the_value_where_it_was_printed(line, value):
    text = printed(line, value, "yaml")
    if text is not None:
        assert yaml.safe_load(text) == {"k": filled(YAML_LINES[line], value), "l": 1}


@pytest.mark.parametrize(
    "key", ["{{ V }}", "{{ V | yaml }}", '"{{ V }}"', "'{{ V }}'", "a{{ V }}", "? {{ V | yaml }}\n"]
)
@pytest.mark.parametrize("length", [1, 398, 401, 5000])
def test_yaml_has_no_value_in_a_key_that_is_too_long_for_it(key, length):
    text = printed(f"{key}: 1\nl: 1", "v" * length, "yaml")
    assert (text is not None) == (length < 400)  # with its quotes
    assert text is None or len(yaml.safe_load(text)) == 2


@pytest.mark.parametrize("line", ["k: {{ V }}", "- {{ V }}", "k: a{{ V }}", '- "{{ V }}"'])
def test_yaml_has_long_plain_values_outside_keys(line):
    assert printed(line, "v" * 5000, "yaml") == line.replace("{{ V }}", "v" * 5000)


@pytest.mark.parametrize("line", ["k: {{ V }}\nl: 1", "k: [{{ V }}, {{ V }}]\nl: 1", "{k: {{ V }}, l: 1}", "- {{ V }}"])
@given(value=ANY_TEXT)
def test_yaml_has_bare_values_only_where_they_are_plain(line, value):
    text = printed(line, value, "yaml")
    if text is None:
        return
    read = yaml.safe_load(text)
    scalars = read if isinstance(read, list) else [*read.values()]
    scalars = [one for found in scalars for one in (found if isinstance(found, list) else [found])]
    assert len(scalars) == {"k: [": 3, "- {{": 1}.get(line[:4], 2)
    assert not any(isinstance(one, dict | list) for one in scalars)


class _Events(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.events = []

    def handle_starttag(self, tag, attrs):
        self.events.append((tag, tuple(name for name, _ in attrs), [value for _, value in attrs]))

    def handle_endtag(self, tag):
        self.events.append(("/", tag))

    def handle_comment(self, data):  # noqa: ARG002  # the base's signature
        self.events.append("comment")


HTML_LINES = {
    '<p title="{{ V }}">x</p>': (("title",), True), "<p title='{{ V }}'>x</p>": (("title",), True),
    "<p title={{ V }}>x</p>": (("title",), False), "<p>{{ V }}</p>": ((), False),
    '<p title="{{ V | e }}">{{ V | html }}</p>': (("title",), True), "<p>x</p><!-- {{ V }} -->": ((), False),
    "<p title=\"it's {{ V }}\">{{ V }}</p>": (("title",), False),
}  # fmt: skip


@pytest.mark.parametrize("line", HTML_LINES)
@given(value=ANY_TEXT)
def test_html_reads_the_value_where_it_was_printed(line, value):
    text = printed(line, value, "html")
    if text is None:
        return
    reader = _Events()
    reader.feed(text)
    reader.close()
    names, is_whole = HTML_LINES[line]
    (tag, found, values), *rest = reader.events
    assert (tag, found) == ("p", names)
    assert rest == [("/", "p"), *(["comment"] if "<!--" in line else [])]
    if is_whole:
        assert values == [value if "| e" in line else html.unescape(value)]


@pytest.mark.parametrize("line", ["<script>x = {{ V }}</script>", "<style>{{ V }}</style>", "<{{ V }}>", "<p {{ V }}>"])
@pytest.mark.parametrize("value", ["alert(1)", "a b", "a=b", "x/y", "<"])
def test_html_has_no_free_text_in_scripts_and_tags(line, value):
    assert printed(line, value, "html") is None


@pytest.mark.parametrize("line", ['"{{ V }}"', '"a {{ V }} b"'])
@pytest.mark.parametrize("escape", ["haproxy", "json", "yaml", "shell"])
def test_what_cannot_leave_quotes_may_stand_within_them(escape, line):
    own = {"haproxy": "acl x path ", "json": "", "yaml": "k: ", "shell": "A="}[escape]
    kind = [value for value in KIND if escape != "haproxy" or 0 < len(value) <= HAPROXY_LONGEST]
    shown = [printed(f"{own}{line}", value, escape) for value in kind]
    assert shown == [f"{own}{line}".replace("{{ V }}", value) for value in kind]


@given(value=ANY_TEXT)
def test_lines_stay_lines(value):
    text = printed("a {{ V }} b", value, "lines")
    assert text is None or (text.splitlines() == [text] and text == f"a {value} b")
    assert text is not None or not value.isprintable() or "\ufdd1" in value


@pytest.mark.parametrize(
    "line", ['A="{{ V }}"', "A='{{ V }}'", "A={{ V | shell }}", "A={{ V }}", "A=\"x\"{{ V }}'y'", "A=1 # {{ V }}"]
)
def test_sh_reads_the_value_where_it_was_printed(line, tmp_path):
    services = [web(name=f"s{number}", meta={"v": value}) for number, value in enumerate(HOSTILE)]
    body = f"{line}\nprintf '%s\\n%s\\0' {{{{ i.name }}}} \"$A\"\n".replace("V", "i.meta.v")
    source = f"{{% for s in services() %}}{{% for i in service(s.name) %}}{body}{{% endfor %}}{{% endfor %}}"
    rendering = Renderer([load(source, escape="shell")]).render(world(*services, web(name="z", meta={"v": "z"})))
    script = tmp_path / "script"
    script.write_bytes(rendering.texts[0].encode())
    done = subprocess.run(["sh", "-eu", script], capture_output=True, check=True)
    assert done.stderr == b""
    read = dict(one.split("\n", 1) for one in done.stdout.decode().split("\0")[:-1])
    expected = {f"s{number}": value for number, value in enumerate(HOSTILE)} | {"z": "z"}
    left_out = {rejection.service for rejection in rendering.quarantined}
    shown = {"A=1 #": lambda _: "1", 'A="x"': "x{}y".format}.get(line[:5], lambda value: value)
    assert read == {name: shown(value) for name, value in expected.items() if name not in left_out}
    if line[2] in "\"'" and "x" not in line:
        assert not left_out & {f"s{number}" for number, value in enumerate(HOSTILE) if value in KIND}


@pytest.mark.parametrize(
    ("escape", "line"),
    [
        ("json", '"{{ V | json }}"'), ("yaml", '"{{ V | yaml }}"'), ("yaml", "a{{ V | yaml }}"),
        ("shell", '"{{ V | shell }}"'),
        ("shell", "'{{ V | shell }}'"), ("haproxy", '"{{ V | quote }}"'), ("html", "<script>{{ V | e }}</script>"),
        ("html", "<p title={{ V | e }}>"), ("shell", "{% set x %}{{ V | shell }}{% endset %}'{{ x }}'"),
    ],
)  # fmt: skip
def test_a_filter_that_brings_its_own_quotes_within_others_is_the_templates_fault(escape, line):
    with pytest.raises(TemplateError) as error:
        printed(f"\n{line}", "a b", escape)
    assert message(error).startswith("t.j2:2: ")
    assert "adds quotes, and is within other quotes" in message(error)


@pytest.mark.parametrize("escape", [name for name in CHOICES if name not in {"none", "lines"}])
def test_the_operators_own_text_stays_trusted_however_it_is_cut(escape):
    source = (
        '{% set parts = env("LIST").split(";") %}{{ parts[0] }}|{{ parts[1][1:] }}|'
        '{{ var.x | replace("b", "$") | upper }}|'
        '{{ (var.x ~ ",").split(" ") | join("-") }}|{{ var.x.partition(" ")[2] }}|{{ (var.x | list)[1] }}|'
        "{% for c in var.x[:2] %}{{ c }}{% endfor %}|{{ var.x | truncate(3, true, '', 0) }}|{{ var.x.title() }}|"
        "{{ var.x | first }}"
    )
    text = render(source, escape=escape, environ={"LIST": "a; 'b"}, variables={"x": 'a "b"'}).texts[0]
    assert text == 'a|\'b|A "$"|a-"b",|"b"| |a |a "|A "B"|a'


@pytest.mark.parametrize("escape", [name for name in CHOICES if name != "none"])
@pytest.mark.parametrize(
    "expression",
    [
        '("a" ~ V)[0:]',
        '"aXb" | replace("X", V)',
        '"aXb".replace("X", V)',
        '("%s" % V)[0:]',
        '"a,b".split(V)[0] ~ V',
        "V | upper",
    ],
)
def test_what_is_made_with_data_is_judged_as_data(escape, expression):
    assert printed(f"{{{{ {expression} }}}}", "\n\"';", escape) is None


@pytest.mark.parametrize("escape", [name for name in CHOICES if name not in {"none", "nginx"}])
def test_captured_text_was_judged_where_it_was_printed(escape):
    source = '{% macro m(x) %}{{ x }}{% endmacro %}{% set y %}{{ m(V) }}{% endset %}{{ y }}{{ m("<\\"") }}'
    assert printed(source, "web", escape) in {'web<"', None}


def test_a_service_in_the_wrong_place_is_left_out_and_others_stay():
    services = [web(name=name, meta={"v": value}) for name, value in (("a", "1"), ("b", "2"), ("c", "x y"), ("d", "3"))]
    each = '{% for i in service(s.name) %}{"n": "{{ s.name }}", "v": {{ i.meta.v }}},{% endfor %}'
    source = f"[{{% for s in services() %}}{each}{{% endfor %}}0]"
    renderer = Renderer([load(source, escape="json")])
    for _ in itertools.repeat(None, 2):
        rendering = renderer.render(world(*services))
        assert json.loads(rendering.texts[0]) == [{"n": "a", "v": 1}, {"n": "b", "v": 2}, {"n": "d", "v": 3}, 0]
        (rejection,) = rendering.quarantined
        assert (rejection.service, rejection.field) == ("c", "meta 'v'")
        assert (
            "'x y' may not stand there in JSON; print it through | json, without quotes around it" in rejection.reason
        )


JOINED = [
    ("json", '["{{ names | join("\\", \\"") }}"]', '["api", "web"]'),
    ("yaml", '- "{{ names | join("\\"\\n- \\"") }}"', '- "api"\n- "web"'),
    ("haproxy", 'acl x str "{{ names | join("\\" \\"") }}"', 'acl x str "api" "web"'),
    ("shell", "x='{{ names | join(\"' '\") }}'", "x='api' 'web'"),
]


@pytest.mark.parametrize(("escape", "text", "expected"), JOINED)
@pytest.mark.parametrize("strangers", [0, 1, 30])
def test_of_joined_values_the_forbidden_ones_are_left_out_and_nothing_else(escape, text, expected, strangers):
    names = "{% set names = services() | map(attribute='name') %}"
    evil = [f"no\"'\\{number}" for number in range(strangers)]
    found = render(names + text, world(*(web(name=name) for name in ("api", "web", *evil))), escape=escape)
    assert {rejection.service for rejection in found.quarantined} == set(evil)
    assert found.texts[0] == expected


ALLOWED = [
    ("json", '["{{ names | join("\\", \\"") }}"]', '["a b", "api", "web"]', '"'),
    ("yaml", '- "{{ names | join("\\"\\n- \\"") }}"', '- "a b"\n- "api"\n- "web"', '"'),
    ("haproxy", 'acl x str "{{ names | join("\\" \\"") }}"', 'acl x str "a b" "api" "web"', "$"),
    ("shell", "x='{{ names | join(\"' '\") }}'", "x='a b' 'api' 'web'", "'"),
    ("lines", "{{ names | join('\\n') }}", "a b\napi\nweb", "\t"),
    ("html", "{{ names | join('</li><li>') }}", "a b</li><li>api</li><li>web", "<"),
]


@pytest.mark.parametrize(("escape", "text", "expected", "forbidden"), ALLOWED)
def test_joined_values_are_judged_one_by_one(escape, text, expected, forbidden):
    names = "{% set names = services() | map(attribute='name') %}"
    services = [web(name=name) for name in ("a b", "api", "web")]
    assert text_of(names + text, world(*services), escape=escape) == expected
    found = render(names + text, world(*services, web(name=f"evil {forbidden}")), escape=escape)
    assert [rejection.service for rejection in found.quarantined] == [f"evil {forbidden}"]
    assert found.texts[0] == expected


def test_parts_that_are_joined_twice_are_judged_one_by_one():
    text = '["{{ (names | join("\\", \\"")) ~ "\\", \\"" ~ (names | join("-")) }}"]'
    names = "{% set names = services() | map(attribute='name') | list %}"
    services = [web(name=name) for name in ("a b", "api")]
    assert text_of(names + text, world(*services), escape="json") == '["a b", "api", "a b-api"]'
