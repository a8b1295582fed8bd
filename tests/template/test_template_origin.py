"""Each line of an output can be traced to the line of the template that produced it."""

import pytest
from rendering import load, web, world

from ctemplate.template import Renderer

WORLD = world(web(name="api", count=2), web(name="shop"))

MACROS = """\
{% macro server(i) %}
    server {{ i.address }};
{% endmacro %}
"""

TEMPLATE = """\
{% import "m.j2" as m %}
# top

{% for svc in services() %}
upstream {{ svc.name }} {
  {% for i in service(svc.name) %}
{{ m.server(i) }}
  {%- endfor %}
}
{% endfor %}
{% set block %}
listen 80;
{% endset %}
{{ block | trim }}
{{ block }}
{{ 1 if false }}
end
"""


def test_every_line_has_its_origin(tmp_path):
    (tmp_path / "m.j2").write_text(MACROS)
    renderer = Renderer([load(TEMPLATE, folder=tmp_path)])
    lines = renderer.render(WORLD).texts[0].split("\n")
    origins = [renderer.origin(0, number + 1) for number in range(len(lines))]
    shown = [(line, (origin or "").removeprefix(f"{tmp_path}/")) for line, origin in zip(lines, origins, strict=True)]
    assert [pair for pair in shown if pair[0]] == [
        ("# top", "t.j2:2"),
        ("upstream api {", "t.j2:5"),
        ("    server 10.0.0.1;", "m.j2:2"),
        ("    server 10.0.0.2;", "m.j2:2"),
        ("}", "t.j2:9"),
        ("upstream shop {", "t.j2:5"),
        ("    server 10.0.0.1;", "m.j2:2"),
        ("}", "t.j2:9"),
        ("listen 80;", "t.j2:14"),
        ("listen 80;", "t.j2:12"),
        ("end", "t.j2:17"),
    ]


@pytest.mark.parametrize("line", [0, 3, 99])
def test_a_line_that_is_not_there_has_none(line):
    renderer = Renderer([load("one\ntwo")])
    renderer.render(WORLD)
    assert renderer.origin(0, line) is None


def test_a_text_that_marks_would_change_has_none():
    renderer = Renderer([load("{% macro f() %}abc{% endmacro %}{{ f() | length }}")])
    assert renderer.render(WORLD).texts == ("3",)
    assert renderer.origin(0, 1) is None


def test_an_edited_file_does_not_move_the_lines_of_what_runs(tmp_path):
    renderer = Renderer([load("one\ntwo", folder=tmp_path)])
    renderer.render(WORLD)
    (tmp_path / "t.j2").write_text("{% broken")
    assert renderer.origin(0, 2) == f"{tmp_path}/t.j2:2"


def test_nothing_has_an_origin_before_the_first_render():
    assert Renderer([load("x")]).origin(0, 1) is None
