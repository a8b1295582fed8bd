"""Nothing registered can write a directive: the typed edge, the templates and nginx's grammar, end to end.

Every field in every place through every filter, with known and generated break-out attempts. The grammar alone judges
the output, independently of the renderer's own proof.
"""

import json
import re

import pytest
from budget import examples
from hypothesis import assume, given, settings, strategies as st
from jinja2.filters import FILTERS as FILTERS_OF_JINJA

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import parse_config
from ctemplate.nginx.language.skeleton import skeleton
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.sources.consul.endpoints.decoding import Decoder, decode_services
from ctemplate.sources.consul.endpoints.settings import DataLimits
from ctemplate.template import Renderer, Template
from ctemplate.template.language.filters import filters

BREAK_OUTS = (
    ";",
    "{",
    "}",
    '"',
    "'",
    "\\",
    "\r",
    "\n",
    "\0",
    "$host",
    "${host}",
    "#",
    " ",
    "\t",
    "\v",
    "\x85",
    "\u2028",
    "\u202e",
    "\u200b",
    "../../etc/passwd",
    "~.*",
    "~*(a+)+$",
    "a" * 5000,
    "a;" * 2500,
    "x\nserver 6.6.6.6:80;",
    "x\r\nserver 6.6.6.6:80;",
    "127.0.0.1:1; } server { listen 81; location / { return 200 pwned; } } upstream b { server 1.1.1.1:1",
    '"; load_module /tmp/evil.so; "',
    "'; root /etc; '",
    '\\"; root /etc; #',
    "*/ } } env X; http { {",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "unix:/var/run/docker.sock",
    "default",
    "include",
    "content_by_lua_block",
    "%0a}",
    "\x1b[2J",
    "é",
    "\ufffd",
)

FIELDS = ("name", "tag", "meta key", "meta value", "address", "node", "node address", "id", "check")
PLACES = {
    "argument": "proxy_set_header X {};",
    "glued": "proxy_set_header X-{} a;",
    "double quotes": 'proxy_set_header X "{}";',
    "single quotes": "proxy_set_header X '{}';",
    "comment": "# {}\n",
    "upstream": "upstream {} {{ server 10.0.0.1:1; }}",
    "server_name": "server {{ server_name {}; }}",
    "map key": "map $a $b {{ {} 1; }}",
    "map value": "map $a $b {{ x {}; }}",
    "proxy_pass": "location /x {{ proxy_pass http://{}; }}",
    "location": "location {} {{ }}",
    "regex": "location ~ ^/{}$ {{ }}",
    "return": 'return 200 "{}";',
    "set": "set $x {};",
    "log_format": "log_format x '$remote_addr {} \"$request\"';",
}
FILTERS = (
    "",
    " | quote",
    " | comment",
    " | token",
    " | identifier",
    " | json | quote",
    " | trim",
    " | upper",
    ' | replace(" ", "_")',
    " | quote | trim",
    ' | default("x") | indent(2)',
    " | list | join ~ 'x'",
    " | string",
    " | b64encode",
    " | b64encode | b64decode",
    " | b64url_encode | b64url_decode",
    " | b64decode",
    " | md5",
    " | sha1",
    " | sha256",
    " | hmac_sha256('k')",
    " | regex_replace('[a-c]', 'x')",
    " | regex_replace('(.)', '$1')",
    " | regex_search('.+') | default('x', true)",
    " | to_json | from_json",
    " | to_yaml",
    " | to_yaml | from_yaml",
    " | to_json | quote",
    " | split_map(';', ' ') | list | join ~ 'x'",
    " | bool",
    " | go_text",
    " | go_json",
    " | go_quote",
    " | go_title",
    " | go_yaml",
    " | go_printf('%5s')",
    " | go_printf('%d')",
    " | go_printf('%x')",
    " | go_yaml | from_yaml",
    " | go_yaml | go_from_yaml",
    " | go_html",
    " | go_js",
    " | go_urlquery",
    " | go_slice(0)",
)
OPERATIONS = (
    '{} ~ "x"',
    '"x" + {}',
    '"%s" % {}',
    '"%s" | format({})',
    '"{{}}".format({})',
    "[{}] | join",
    "{}[:9]",
    "'a' | regex_replace('a', {})",
    "'a' | hmac_sha256({})",
    "'a=b' | split_map('b', {} ~ 'x') | list | join ~ 'x'",
    "({{'a': {}}} | to_json | from_json).a",
    "({{'a': {}}} | to_toml | from_toml).a",
    "({{'a': {}}} | to_yaml | from_yaml).a",
    "({{{}: 'a'}} | explode | list | join) ~ 'x'",
    "({{'a': {{}}}} | merge({{'a': {{'b': {}}}}})).a.b",
    "({{'a/b': {}}} | explode).a.b",
    "({{'a': {{}}}} | go_merge({{'a': {{'b': {}}}}})).a.b",
    "([i] | go_by_meta((i.meta | list)[0]) | first)[0] ~ {}",
    "[{}, 'a'] | natural_sort | join",
    "[{}] | random(seed='a')",
    "[{}] | go_values | first",
    "({{'a': {}}} | go_items | first)[1]",
    "require([{}], 1) | first",
    "([i] | by_tag | first)[0] ~ {}",
    "([i] | by_meta((i.meta | list)[0]) | first)[0] ~ {}",
    "[{}] is contains_any(['x'])",
    "{} is regex_match('[;{{}}]')",
)
ANSWERING = frozenset(
    {"by_port", "contains_all", "contains_none", "divide", "from_toml", "go_length", "modulo", "not_contains"}
)
"""Filters that give numbers or truths, or what another filter tried here gives."""

SELECTED = {
    "name": "s.name",
    "tag": "i.tags[0]",
    "meta key": "(i.meta | list)[0]",
    "meta value": "(i.meta.values() | list)[0]",
    "address": "i.address",
    "node": "i.node",
    "node address": "i.node_address",
    "id": "i.id",
    "check": "i.checks[0].name",
}

BEFORE, AFTER = "{% for s in services() %}{% for i in service(s.name) %}\nserver { } ", "\n{% endfor %}{% endfor %}\n"


OWN = {
    "good": {"address": "10.0.0.1", "node address": "10.0.0.3"},
    "other": {"address": "10.0.0.2", "node address": "10.0.0.4"},
}


def answers(field=None, text=""):
    """Two services, through Consul's JSON and the typed edge; in the second one's field stands the text."""
    services, found = {}, {}
    for owner, own in OWN.items():
        values = {key: f"{owner}-{key.replace(' ', '-')}" for key in FIELDS} | own
        if owner == "other" and field is not None:
            values[field] = text
        entry = {
            "Node": {"Node": values["node"], "Address": values["node address"]},
            "Service": {
                "ID": values["id"],
                "Service": values["name"],
                "Tags": [values["tag"]],
                "Meta": {values["meta key"]: values["meta value"]},
                "Address": values["address"],
                "Port": 80,
            },
            "Checks": [{"CheckID": "c", "Name": values["check"], "Status": "passing"}],
        }
        services[values["name"]] = [values["tag"]]
        body = json.dumps([entry]).encode()
        found[values["name"]] = Decoder(limits=DataLimits()).decode_instances(body, values["name"])[0]
    listed = decode_services(json.dumps(services).encode())
    known = {ServicesQuery(): listed} | {ServiceQuery(name=name): value for name, value in found.items()}
    return Snapshot({query: Answer(query=query, value=value) for query, value in known.items()})


def shapes(text):
    return list(skeleton(parse_config(text.encode("utf-8", "surrogateescape"), where="")))


def is_nginx(text):
    try:
        return bool(shapes(text)) or True
    except NginxSyntaxError:
        return False


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tmp_path_factory.mktemp("templates") / "t.j2"


def test_every_helper_is_tried():
    tried = " ".join((*FILTERS, *OPERATIONS))
    helpers = {name for name in filters() if name not in FILTERS_OF_JINJA} - {
        "by_key",
        "comment",
        "html",
        "shell",
        "yaml",
    }
    assert {name for name in helpers - ANSWERING if not re.search(rf"\b{name}\b", tried)} == set()


texts = st.one_of(
    st.sampled_from(BREAK_OUTS),
    st.lists(st.sampled_from((*BREAK_OUTS, "a", "b-1")), max_size=4).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
expressions = st.sampled_from([*("{}" + name for name in FILTERS), *OPERATIONS])


@settings(max_examples=examples(400))
@given(st.sampled_from(FIELDS), st.sampled_from(sorted(PLACES)), expressions, texts)
def test_the_skeleton_never_changes(source, field, place, expression, text):
    assume(text or field != "name")  # Consul has no service without a name
    value = "{{ " + expression.format(SELECTED[field]) + " }}"
    source.write_text(BEFORE + PLACES[place].format(value) + AFTER)
    template = Template.load(source, variables={}, environ={})
    try:
        harmless = Renderer([template]).render(answers(), [ConfigPlace()]).texts[0]
    except TemplateError:
        assume(False)
    assume(is_nginx(harmless))
    assume(shapes(harmless))  # an address names no upstream, so that even a harmless one is left out there
    one = shapes("server { } " + PLACES[place].format("x") + "\n")
    rendered = Renderer([template]).render(answers(field, text), [ConfigPlace()])
    assert shapes(rendered.texts[0]) in (one, one * 2)
