"""A template's own delimiters: used in it and its includes, but not in the shipped templates."""

from pathlib import Path

import pytest
from rendering import web, world

from ctemplate.config.groups import group_plans
from ctemplate.config.layers import Layer, build
from ctemplate.core.errors import TemplateError
from ctemplate.lint.templates import lint_template
from ctemplate.template import Renderer, Template
from ctemplate.template.language.source_text import SourceText

OURS = {
    "left_delimiter": "<<",
    "right_delimiter": ">>",
    "block_delimiters": ["<%", "%>"],
    "comment_delimiters": ["<#", "#>"],
}
BODY = """\
<# nothing #>
<% import "lib.j2" as lib %>
<% import "ctemplate/nginx.j2" as nginx %>
{{ stays }} {% as it is %} {# here #}
<% for s in services() %>
<< lib.name(s) >>
<%- endfor %>
"""
LIBRARY = "<% macro name(s) %>name << s.name >><% endmacro %>"


def plan(folder, body, **keys):
    (folder / "t.j2").write_text(body)
    section = {"source": str(folder / "t.j2"), "destination": "/srv/out", **keys}
    (group,) = group_plans(build([Layer(where="c.toml", values={"template": [section]})]))
    return group.templates[0]


def load(made):
    text = SourceText.of(made)
    return Template.load(made.source, variables={}, environ={}, escape="none", text=text)


def test_a_template_may_have_delimiters_of_its_own(tmp_path):
    (tmp_path / "lib.j2").write_text(LIBRARY)
    template = load(plan(tmp_path, BODY, **OURS))
    (text,) = Renderer([template]).render(world(web(name="a"))).texts
    assert text == "{{ stays }} {% as it is %} {# here #}\nname a"


def test_only_expressions_may_have_others(tmp_path):
    template = load(
        plan(tmp_path, "{% for s in services() %}[[ s.name ]]{% endfor %}", left_delimiter="[[", right_delimiter="]]")
    )
    assert Renderer([template]).render(world(web(name="a"))).texts == ("a",)


def test_errors_and_lint_know_the_lines(tmp_path):
    made = plan(tmp_path, "{{ x }}\n<% if x %>\n<% endfor %>\n", **OURS)
    with pytest.raises(TemplateError, match=r"t\.j2:3: "):
        load(made)
    found, _ = lint_template(plan(tmp_path, "{{ x }}\n<< nobody >>\n<# ok #>\n", **OURS), {}, {})
    assert [(Path(each.path).name, each.line, each.code) for each in found] == [("t.j2", 2, "CT102")]
    (tmp_path / "lib.j2").write_text(LIBRARY)
    assert lint_template(plan(tmp_path, BODY, escape="none", **OURS), {}, {})[0] == ()


def test_other_delimiters_are_another_template(tmp_path):
    plain, other = load(plan(tmp_path, "x")), load(plan(tmp_path, "x", **OURS))
    assert plain.text != other.text
    assert plain.identity != other.identity


def test_delimiters_for_all_templates_stand_above_them(tmp_path):
    section = {"source": str(tmp_path / "t.j2"), "destination": "/srv/out"}
    values = {
        "left_delimiter": "<<",
        "right_delimiter": ">>",
        "template": [section, section | {"destination": "/b", "left_delimiter": "[["}],
    }
    groups = group_plans(build([Layer(where="c.toml", values=values)]))
    assert [group.templates[0].delimiters for group in groups] == [("<<", ">>"), ("[[", ">>")]


def test_files_of_items_may_have_them_as_well(tmp_path):
    section = {
        "source": str(tmp_path / "t.j2"),
        "destination": "/srv/{{ item.name }}",
        "for_each": "services()",
        **OURS,
    }
    (tmp_path / "t.j2").write_text("<< item.name >> {{ x }}")
    (group,) = group_plans(build([Layer(where="c.toml", values={"template": [section]})]))
    template = load(group.templates[0])
    (text,) = Renderer([template]).render(world(web(name="a"))).texts
    assert [(part.name, part.text) for part in template.parts(text)] == [("a", "a {{ x }}")]
