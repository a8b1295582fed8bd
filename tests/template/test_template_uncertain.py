"""Texts of which nothing says that they are nginx's: the text itself decides whether nginx's rules apply."""

import pytest
from rendering import load, web, world

from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer

OWN = "upstream web { server 10.9.0.1; }\n"
EACH = "{{% for s in services() %}}\n{}\n{{% endfor %}}\n"
NAMES = [
    "127.0.0.1:8500",
    "127.0.0.1",
    "10.0.0.7",
    "2130706433",
    "localhost",
    "unix:/run/x.sock",
    "consul.internal",
    "other",
]
TARGETS = [
    "location /{{ loop.index }} { proxy_pass http://{{ s.name }}; }",
    "server { location / { grpc_pass {{ s.name }}; } }",
    "  fastcgi_pass {{ s.name }};",
    "server { listen {{ loop.index }}; proxy_pass {{ s.name }}; }",
    "server { location / { set $to {{ s.name }}; proxy_pass http://$to; } }",
]


def rendering(text, *names, place):
    renderer = Renderer([load(text, escape="other")])
    return renderer.render(world(*(web(name=name) for name in names)), [place])


def left_out(text, *names, place):
    return [rejection.service for rejection in rendering(text, *names, place=place).quarantined]


@pytest.mark.parametrize("hostile", NAMES)
@pytest.mark.parametrize("line", TARGETS)
def test_a_target_in_a_text_that_looks_like_nginx_names_an_upstream(line, hostile):
    assert left_out(OWN + EACH.format(line), hostile, "web", place=ConfigPlace(is_certain=False)) == [hostile]


@pytest.mark.parametrize("hostile", NAMES)
def test_where_files_of_other_groups_do_not_exist_yet_a_bare_name_is_enough(hostile):
    text, is_bare = EACH.format(TARGETS[0]), hostile == "other"
    assert left_out(text, hostile, "web", place=ConfigPlace(is_open=True)) == ([] if is_bare else [hostile])


@pytest.mark.parametrize(
    "line",
    [
        "backend {{ s.name }}",
        "http://{{ s.name }}/ {",
        "server {{ s.name }} {{ s.name }}:80 check",
        "proxy-pass {{ s.name }}",
        "location = {{ s.name }}",
        "upstream {{ s.name }}",
        'server { "a": {{ s.name }} }} unbalanced {',
    ],
)
def test_a_text_of_another_format_keeps_its_values(line):
    found = rendering(EACH.format(line), "127.0.0.1:8500", "web", place=ConfigPlace(is_certain=False))
    assert found.quarantined == ()
    assert "127.0.0.1:8500" in found.texts[0]
