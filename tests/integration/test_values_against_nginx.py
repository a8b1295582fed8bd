"""Honest registered values, printed unchanged, on a real nginx: how nginx interprets them."""

import http.client
import re
import urllib.parse

import pytest
from harness import ROOT, free_port
from harness.waiting import PATIENCE

from ctemplate.core.model import Answer, Instance, Service, Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.template import Renderer, Template

HONEST = (
    "env=prod",
    "a,b",
    "version=1.2.3",
    "urlprefix-/foo,strip=/foo",
    "traefik.enable=true",
    "traefik.http.services.x.loadbalancer.server.port=80",
    "https://example.com/a?b=c&d=e",
    "user@example.com",
    "10.0.0.0/8,192.168.0.0/16",
    "team:web!",
    "release-2024*",
    "8.5",
)
PLACES = {
    "argument": "add_header X-Value {{ v }};",
    "within a word": "set $x a-{{ v }}-b;",
    "within quotes": 'set $x "a {{ v }} b";',
    "comment": "# {{ v }}",
    "condition": "if ($host = {{ v }}) { set $x 1; }",
    "last words": "try_files /x {{ v }} =404;",
    "text": "return 200 {{ v }};",
    "query": "return 302 http://example.com/{{ v }};",
}
OUTSIDE = {
    "place": "location /{{ v }} { }",
    "whole place": "location = {{ v }} { }",
    "place alone": "location {{ v }} { }",
}
HEADER = "map $host $m{{ n }} { {{ v }} 1; default 2; } map $http_x $n{{ n }} { x{{ n }} {{ v }}; {{ v }} found; }"
TEMPLATE = """
{main}
http {{
    {http}
    variables_hash_bucket_size 256; map_hash_bucket_size 256; server_names_hash_bucket_size 256;
{{% for s in services() %}}{{% for i in service(s.name) %}}{{% set v = i.meta.v %}}{{% set n = i.port %}}
    {outside}
    server {{ listen 127.0.0.1:{port}; server_name {{{{ s.name }}}}; {inside} }}
{{% endfor %}}{{% endfor %}}
}}
"""


def rendered(tmp_path, text, values):
    """Render the text over a service for each value; return it with the services left out."""
    file = tmp_path / "t.j2"
    file.write_text(text)
    answers = {ServicesQuery(): tuple(Service(name=f"s{number}") for number, _ in enumerate(values, 1))}
    for number, value in enumerate(values, 1):
        one = Instance(id="i", name=f"s{number}", node="n", address="10.0.0.1", port=number, meta={"v": value})
        answers[ServiceQuery(name=one.name)] = (one,)
    snapshot = Snapshot({query: Answer(query=query, value=value) for query, value in answers.items()})
    result = Renderer([Template.load(file, variables={}, environ={})]).render(snapshot, [ConfigPlace()])
    return result.texts[0], {rejection.service: str(rejection) for rejection in result.quarantined}


def template(nginx, *, inside, outside="", port=None):
    return TEMPLATE.format(main=nginx.main, http=nginx.http, inside=inside, outside=outside, port=port or free_port())


@pytest.mark.parametrize("place", [*PLACES, *OUTSIDE])
def test_an_honest_value_is_one_argument_wherever_it_is_printed(nginx, tmp_path, place):
    inside = OUTSIDE.get(place) or f"location / {{ {PLACES[place]}\n }}"
    text, rejections = rendered(tmp_path, template(nginx, inside=inside), HONEST)
    assert rejections == {}
    nginx.conf.write_text(text)
    assert nginx.check().returncode == 0, nginx.check().stderr


def test_nginx_takes_an_honest_value_for_what_it_says(nginx, tmp_path):
    port = free_port()
    inside = "location / { return 200 {{ v }}; } location = /map { return 200 $n{{ n }}; }"
    inside += " location = /{{ v }} { return 200 here; }"
    text, rejections = rendered(tmp_path, template(nginx, inside=inside, outside=HEADER, port=port), HONEST)
    assert rejections == {}
    nginx.conf.write_text(text)
    nginx.start()
    for number, value in enumerate(HONEST, 1):
        assert asked(port, number, "/") == value
        assert asked(port, number, "/map", x=f"x{number}") == value
        assert asked(port, number, "/map", x=value) == "found"
        assert "//" in value or asked(port, number, "/" + urllib.parse.quote(value)) == "here"


def asked(port, number, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Host": f"s{number}"} | headers)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


NAMES = ("team/app", "web:8080", "[x]", "web.", "server.name.", "unix:", "unix:/x", "n" * 70, "n" * 300, "a..b", "...")
NAMES += ("127.0.0.1:8500", "é", "a b", "-x", "localhost", "*", "~x", "_", "web")


def test_nginx_takes_the_small_template_of_the_readme_under_any_name(nginx, tmp_path):
    (template,) = re.findall(r"^```jinja\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    file = tmp_path / "readme.j2"
    main = nginx.main.replace("events { worker_connections 256; }", "")
    template = template.replace("listen 80", f"listen {free_port()}")  # where an ordinary user may listen
    file.write_text(main + template.replace("http {", f"http {{ {nginx.http}", 1))
    answers = {ServicesQuery(): tuple(Service(name=name, tags=("http",)) for name in sorted(NAMES))}
    for name in NAMES:
        one = Instance(id="i", name=name, node="n", address="10.0.0.1", port=81)
        nobody = Instance(id="j", name=name, node="n", address="10.0.0.1", port=0)
        answers[ServiceQuery(name=name)] = (one, nobody)
    snapshot = Snapshot({query: Answer(query=query, value=value) for query, value in answers.items()})
    result = Renderer([Template.load(file, variables={}, environ={})]).render(snapshot, [ConfigPlace()])
    assert result.quarantined == ()
    assert result.texts[0].count("upstream ") == len(NAMES)
    nginx.conf.write_text(result.texts[0])
    assert nginx.check().returncode == 0, nginx.check().stderr


@pytest.mark.parametrize(
    ("inside", "value"),
    [
        pytest.param("location ~ ^/{{ v }}$ { }", "a*", id="place by pattern"),
        pytest.param("server_name ~^{{ v }}$;", "a?b", id="host by pattern"),
        pytest.param("server_name {{ v }};", "www.*", id="hosts of any end"),
        pytest.param("if ($host ~ {{ v }}) { set $x 1; }", "a*", id="condition by pattern"),
        pytest.param("rewrite ^/{{ v }} /x;", "a*", id="rewrite"),
    ],
)
def test_a_value_that_would_mean_more_there_leaves_out_its_service_alone(nginx, tmp_path, inside, value):
    text, rejections = rendered(tmp_path, template(nginx, inside=inside), ("plain", "a,b=c&d!", value))
    assert set(rejections) == {"s3"}
    nginx.conf.write_text(text)
    assert nginx.check().returncode == 0, nginx.check().stderr
