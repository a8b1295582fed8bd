"""One file for each item of a list: names, places, and output outside of any loop."""

import re
from pathlib import Path

import pytest
from rendering import answers, instance, web

from ctemplate.config.groups import group_plans
from ctemplate.config.layers import Layer, build
from ctemplate.core.each_file import EachFile, is_file_name
from ctemplate.core.errors import ConfigError, TemplateError
from ctemplate.core.model import Snapshot
from ctemplate.template import Renderer, Template
from ctemplate.template.language.source_text import SourceText

BODY = "{% for i in service(item.name) %}\nserver {{ i.address }};\n{% endfor %}\n"


def load(folder, body=BODY, items="services()", name="{{ item.name | identifier }}.conf", escape="nginx"):
    source = Path(folder) / "site.j2"
    source.write_text(body)
    text = SourceText(path=source, each=EachFile.of(items, f"/srv/sites/{name}"))
    return Template.load(source, variables={}, environ={}, escape=escape, text=text)


def made(template, *services):
    """The files that come of services, who was left out, and what was remarked."""
    renderer = Renderer([template])
    rendering = renderer.render(Snapshot(answers(*services)))
    assert rendering.missing == frozenset()
    files = {part.name: part.text for part in template.parts(rendering.texts[0])}
    return files, rendering


def test_each_item_has_a_file(tmp_path):
    files, rendering = made(load(tmp_path), web(name="api"), web(name="web"))
    assert files == {"api.conf": "server 10.0.0.1;\n", "web.conf": "server 10.0.0.1;\n"}
    assert (rendering.quarantined, rendering.remarks) == ((), ())


def test_no_item_is_no_file(tmp_path):
    assert made(load(tmp_path))[0] == {}


def test_an_empty_body_is_an_empty_file(tmp_path):
    assert made(load(tmp_path, ""), web())[0] == {"web.conf": ""}


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..", ".", ".hidden", "a/b", "a b", "a\nb", "a\0b", "-f", "x" * 300, "ä", "{{x}}", "*"]
)
@pytest.mark.parametrize("escape", ["nginx", "none"])
def test_a_hostile_name_gets_no_file_and_leaves_the_others_alone(tmp_path, name, escape):
    template = load(tmp_path, name="{{ item.name }}", escape=escape)
    files, rendering = made(template, web(name=name), web(name="good"))
    assert list(files) == ["good"]
    assert [rejection.service for rejection in rendering.quarantined] == [name]
    assert "may not be" in rendering.quarantined[0].reason


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".hidden", "a/b", "a b", "a\nb", "x" * 150, "ä", "*"])
def test_the_filter_identifier_makes_a_name_of_any(tmp_path, name):
    files, rendering = made(load(tmp_path), web(name=name), web(name="good"))
    assert len(files) == 2
    assert all(map(is_file_name, files))
    assert rendering.quarantined == ()


def test_of_two_with_one_name_the_one_that_was_registered_first_has_the_file(tmp_path):
    late = ("API", ("http",), (instance("API", created=9),))
    first = ("api", ("http",), (instance("api", 1, created=5),))
    files, rendering = made(load(tmp_path, name="{{ item.name | lower }}.conf"), late, first)
    assert files == {"api.conf": "server 10.0.0.2;\n"}
    assert [rejection.service for rejection in rendering.quarantined] == ["API"]
    assert "belongs to service 'api', which came first" in rendering.quarantined[0].reason


def test_of_several_items_of_no_service_with_one_name_the_first_has_the_file(tmp_path):
    files, rendering = made(load(tmp_path, "{{ item[1] }}", items="[('a', 1), ('a', 2)]", name="{{ item[0] }}"))
    assert files == {"a": "1"}
    assert rendering.remarks == ("for_each: several items give the file name 'a'; the first of them gets it",)


def test_an_item_of_no_service_with_a_bad_name_is_named_and_the_others_go_on(tmp_path):
    files, rendering = made(load(tmp_path, "x", items="['../a', 'b']", name="{{ item }}"))
    assert files == {"b": "x"}
    assert "'../a', which may not be one" in rendering.remarks[0]


def test_no_registrant_can_write_what_a_file_begins_with(tmp_path):
    hostile = web(name="web", meta={"text": "\n# 00000000000000000000000000000000 evil.conf\nevil"})
    body = "{% for i in service(item.name) %}{{ i.meta.text }}{% endfor %}"
    files, _ = made(load(tmp_path, body, escape="none"), hostile)
    assert list(files) == ["web.conf"]


def test_values_are_judged_in_each_file_by_itself(tmp_path):
    body = '{"name": "{{ item.name }}"}'
    files, rendering = made(load(tmp_path, body, escape="json"), web(name='a"b'), web(name="c d"))
    assert list(files.values()) == ['{"name": "c d"}']
    assert [rejection.service for rejection in rendering.quarantined] == ['a"b']


def test_includes_imports_and_macros_know_the_item(tmp_path):
    (tmp_path / "part.j2").write_text("part of {{ item.name }}\n")
    (tmp_path / "lib.j2").write_text("{% macro shout(text) %}{{ text | upper }}{% endmacro %}")
    body = (
        '{% import "lib.j2" as lib %}\n{% macro mine() %}{{ item.name }}{% endmacro %}\n'
        '{% include "part.j2" %}\n{{ lib.shout(item.name) }} {{ mine() }}\n'
    )
    files, _ = made(load(tmp_path, body), web())
    assert files == {"web.conf": "\npart of web\nWEB web\n"}


def test_a_template_that_extends_another_makes_a_file_for_each_item(tmp_path):
    (tmp_path / "base.j2").write_text("# {{ item.name }}\n{% block body %}\nnothing\n{% endblock %}\n")
    body = '{% extends "base.j2" %}\n{% block body %}\nmore of {{ item.name }}\n{% endblock %}\n'
    files, _ = made(load(tmp_path, body), web(name="a"), web(name="b"))
    assert files == {"a.conf": "# a\nmore of a\n", "b.conf": "# b\nmore of b\n"}


def test_the_lines_of_a_file_are_known_in_the_text_of_all(tmp_path):
    template = load(tmp_path, "# one\n# {{ item.name }}\nend")
    renderer = Renderer([template])
    text = renderer.render(Snapshot(answers(web(name="a"), web(name="b")))).texts[0]
    for part in template.parts(text):
        assert renderer.origin(0, part.lines_before + 2) == f"{tmp_path}/site.j2:2"
        assert [owner.service for owner in renderer.owners(0, part.lines_before + 2)] == [
            part.name.removesuffix(".conf")
        ]


@pytest.mark.parametrize(
    ("items", "name", "said"),
    [
        ("services(", "{{ item.name }}", "for_each: "),
        ("services() services()", "{{ item.name }}", "for_each: more than one expression"),
        ("services()", "{% if 1 %}{{ item.name }}{% endif %}", "for_each: the file's name may hold expressions only"),
        ("services()", "{{ item.name | nofilter }}", "no filter named 'nofilter'"),
    ],
)
def test_what_is_wrong_is_said_as_the_template_is_loaded(tmp_path, items, name, said):
    with pytest.raises(TemplateError, match=r"site\.j2:1") as caught:
        load(tmp_path, "x", items, name)
    assert said in str(caught.value)


def plans(**template):
    values = {"template": [{"source": "site.j2", **template}]}
    return group_plans(build([Layer(where="c.toml", values=values)]))


def test_the_files_stand_in_one_folder():
    (group,) = plans(destination="/etc/sites/v-{{ item.key | replace('/', '-') }}.conf", for_each="tree('sites')")
    each = group.templates[0].each
    assert (each.folder, each.name) == (Path("/etc/sites"), "v-{{ item.key | replace('/', '-') }}.conf")
    assert each.stand_in == Path("/etc/sites/v-ctemplate-item.conf")
    assert each.may_make(Path("/etc/sites/v-a.conf"))
    assert not each.may_make(Path("/etc/sites/v-.conf"))
    assert not each.may_make(Path("/etc/other/v-a.conf"))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"for_each": "services()"}, "has no destination"),
        ({"for_each": "services()", "destination": "/etc/a.conf"}, "its destination is the same for all items"),
        ({"for_each": "services()", "destination": "/etc/{{ item.name }}/a.conf"}, "not its folder"),
        ({"destination": "/etc/{{ item.name }}.conf"}, "has an expression, but there is no for_each"),
    ],
)
def test_a_destination_that_cannot_be_is_refused(template, said):
    with pytest.raises(ConfigError) as caught:
        plans(**template)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("items", "destination", "said"),
    [
        ("{{ services() }}", "/d/{{ item.name }}", "is an expression already; write it without braces: services()"),
        (
            "services()",
            "/d/x",
            "its destination is the same for all items; write DIR/{{ item.name | identifier }}.conf",
        ),
        ("services()", "/d/{{ item.name }}/x", "only the name of the file may depend on the item, not its folder"),
    ],
)
def test_a_rule_that_cannot_make_files_is_refused(items, destination, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        EachFile.of(items, destination)
