"""Templates are loaded from their own folder, the configured folders and the package, and from nowhere else."""

import os

import pytest
from rendering import load, text_of

from ctemplate.config.groups import group_plans
from ctemplate.config.layers import build, read_layers
from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Snapshot
from ctemplate.core.shipped import SHIPPED
from ctemplate.system.file_watch import signature
from ctemplate.template import Renderer, RenderLimits, Template
from ctemplate.template.cache import compiled_texts
from ctemplate.template.language.lines import PLAIN_SYNTAX
from ctemplate.template.language.source_text import SourceText
from ctemplate.template.safety.render_pass import Run


def test_names_are_found_in_the_own_folder_first_then_in_those_given(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    for folder, names in ((own, "ab"), (other, "bc")):
        (folder / "sub").mkdir(parents=True)
        for name in names:
            (folder / "sub" / f"{name}.j2").write_text(f"{folder.name}-{name} ")
    (own / "t.j2").write_text("{% include 'sub/a.j2' %}{% include 'sub/b.j2' %}{% include 'sub/c.j2' %}")
    template = Template.load(own / "t.j2", variables={}, environ={}, folders=(other,))
    assert Renderer([template]).render(None).texts == ("own-a own-b other-c ",)
    read = {own / "t.j2", own / "sub/a.j2", own / "sub/b.j2", other / "sub/c.j2"}
    assert template.files == {path: signature(path) for path in read} | {own / "sub/c.j2": None}


def test_files_have_their_signatures_from_before_they_were_read(tmp_path):
    part = tmp_path / "part.j2"
    part.write_text("one")
    before = signature(part)
    template = load("{% include 'part.j2' %}{% include 'none.j2' ignore missing %}", folder=tmp_path)
    Renderer([template]).render(None)
    part.write_text("edited since")
    assert (template.files[part], template.files[tmp_path / "none.j2"]) == (before, None)
    with pytest.raises(TemplateError) as error:
        load("{% include 'none.j2' %}", folder=tmp_path)
    assert error.value.inputs.keys() == {tmp_path / "t.j2", tmp_path / "none.j2", SHIPPED / "none.j2"}


def test_folders_of_the_configuration_come_after_the_own_one(tmp_path):
    for folder in ("own", "shared"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "nginx.j2").write_text(f"{folder} ")
    (tmp_path / "shared" / "part.j2").write_text("{% include 'nginx.j2' %}part")
    (tmp_path / "own" / "t.j2").write_text("{% include 'part.j2' %}")
    (tmp_path / "ctemplate.toml").write_text(
        'template_dirs = ["shared"]\n[[template]]\nsource = "own/t.j2"\ndestination = "out"\n'
    )
    (group,) = group_plans(build(read_layers(tmp_path / "ctemplate.toml")))
    text = SourceText.of(group.templates[0])
    template = Template.load(text.path, variables={}, environ={}, text=text)
    assert Renderer([template]).render(None).texts == ("own part",)
    assert tmp_path / "shared" / "part.j2" in template.files
    assert SourceText(path=text.path) != text  # so that a reload with other folders loads it anew


def test_shipped_macros_are_found_from_anywhere():
    template = load("{% import 'nginx.j2' as nginx %}{{ nginx.zone_size(1) }}")
    assert Renderer([template]).render(None).texts == ("64k",)
    assert SHIPPED / "nginx.j2" in template.files


def test_shipped_macros_have_a_name_of_their_own(tmp_path):
    (tmp_path / "nginx.j2").write_text("{% macro zone_size(n) %}mine{% endmacro %}")
    (tmp_path / "ctemplate").mkdir()
    (tmp_path / "ctemplate" / "nginx.j2").write_text("{% macro zone_size(n) %}nobody's{% endmacro %}")
    text = "{% import 'nginx.j2' as own %}{% import 'ctemplate/nginx.j2' as nginx %}"
    template = load(text + "{{ own.zone_size(1) }} {{ nginx.zone_size(1) }}", folder=tmp_path)
    assert Renderer([template]).render(None).texts == ("mine 64k",)
    with pytest.raises(TemplateError, match=r"no template 'ctemplate/\.\./t\.j2'"):
        load("{% include 'ctemplate/../t.j2' %}", folder=tmp_path)


MACRO = "{% import 'nginx.j2' as nginx %}[[ 7 ]]{{ nginx.zone_size(1) }}"


def code(template, name):
    """Return the code of one of a template's sources."""
    return template._environment.get_template(name).root_render_func.__code__


def test_an_equal_text_is_compiled_once_for_all_templates(monkeypatch):
    monkeypatch.setattr(compiled_texts, "_KNOWN", {})  # else other tests decide when it is full and cleared
    one, other = load(MACRO, variables={"x": 1}), load(MACRO + ";", variables={"x": 2})
    assert code(one, "nginx.j2") is code(other, "nginx.j2")
    assert code(one, "t.j2") is not code(other, "t.j2")
    assert code(one, "t.j2") is code(load(MACRO), "t.j2")
    assert [Renderer([each]).render(None).texts[0] for each in (one, other)] == ["[[ 7 ]]64k", "[[ 7 ]]64k;"]


def test_an_equal_text_is_compiled_again_where_it_means_something_else(tmp_path):
    def texts(**options):
        template = Template.load(tmp_path / "t.j2", variables={}, environ={}, **options)
        return Renderer([template]).render(None).texts[0]

    syntax = (("[[", "]]"), *PLAIN_SYNTAX[1:])
    brackets = SourceText(path=tmp_path / "t.j2", contents="[[ 7 ]] {{ 7 }}", syntax=syntax)
    braces = SourceText(path=tmp_path / "t.j2", contents="[[ 7 ]] {{ 7 }}")
    assert [texts(text=text) for text in (brackets, braces, brackets)] == ["7 {{ 7 }}", "[[ 7 ]] 7", "7 {{ 7 }}"]
    assert code(load(MACRO, escape="json"), "t.j2") is not code(load(MACRO), "t.j2")


def test_what_a_text_needs_is_looked_for_however_often_it_was_compiled(tmp_path):
    (tmp_path / "part.j2").write_text("part")
    text = "{% include 'part.j2' %}{{ nmae }}"
    assert load(text.replace("{{ nmae }}", ""), folder=tmp_path)
    template = load(text, folder=tmp_path)
    again = load(text, folder=tmp_path)
    assert again._environment.names == template._environment.names
    (tmp_path / "part.j2").unlink()
    with pytest.raises(TemplateError, match=r"t\.j2:1: no template 'part\.j2' in the template's folders"):
        load(text, folder=tmp_path)


def test_the_texts_that_are_kept_compiled_are_bounded():
    for number in range(2 * compiled_texts.MOST_TEXTS):
        load(f"{number}")
        assert len(compiled_texts._KNOWN) <= compiled_texts.MOST_TEXTS


def test_a_symlink_does_not_lead_out_of_the_folder(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("sesame")
    own = tmp_path / "own"
    own.mkdir()
    (own / "link.j2").symlink_to(secret)
    with pytest.raises(TemplateError, match=r"t\.j2:1: no template 'link\.j2' in the template's folders"):
        load("{% include 'link.j2' %}", folder=own)


def test_a_symlink_within_the_folder_is_followed_and_so_is_one_to_the_template(tmp_path):
    data = tmp_path / "..data"
    data.mkdir()
    (data / "t.j2").write_text("{% include 'i.j2' %}")
    (data / "i.j2").write_text("included")
    for name in ("t.j2", "i.j2"):
        (tmp_path / name).symlink_to(data / name)
    template = Template.load(tmp_path / "t.j2", variables={}, environ={})
    assert Renderer([template]).render(None).texts == ("included",)


def test_an_optional_include_may_be_missing():
    assert text_of("{% include 'gone.j2' ignore missing %}x") == "x"


def test_a_name_computed_from_data_stays_in_the_folders():
    with pytest.raises(TemplateError, match=r"no template '\.\./secret'"):
        text_of("{% include '../' ~ 'secret' %}")


def test_data_is_never_compiled():
    assert text_of("{{ '{{ 7 * 7 }}' }}") == "{{ 7 * 7 }}"


ARGUMENTS = {"variables": {"n": 1}, "environ": {"A": "b"}, "escape": "nginx", "limits": RenderLimits()}


def loaded(path):
    return Template.load(path, **ARGUMENTS)


def test_a_template_is_current_while_all_that_it_was_made_from_is_the_same(tmp_path):
    (tmp_path / "t.j2").write_text("{% include 'part' %}{% include 'missing' ignore missing %}")
    (tmp_path / "part").write_text("part")
    template = loaded(tmp_path / "t.j2")
    template.render(Run(snapshot=Snapshot({})))
    assert template.is_current(**ARGUMENTS)
    (tmp_path / "part").write_text("part")
    assert template.is_current(**ARGUMENTS)


def change_source(folder):
    (folder / "t.j2").write_text("other")


def change_part(folder):
    (folder / "part").write_text("more")


def remove_part(folder):
    (folder / "part").unlink()


def make_missing(folder):
    (folder / "missing").write_text("here now")


def loop_part(folder):
    (folder / "part").unlink()
    (folder / "part").symlink_to("part")


def hide_shipped(folder):
    (folder / "nginx.j2").write_text("own")


@pytest.mark.parametrize("change", [change_source, change_part, remove_part, make_missing, loop_part, hide_shipped])
def test_a_template_is_not_current_once_a_file_differs(tmp_path, change):
    (tmp_path / "t.j2").write_text(
        "{% import 'nginx.j2' as n %}{% include 'part' %}{% include 'missing' ignore missing %}"
    )
    (tmp_path / "part").write_text("part")
    template = loaded(tmp_path / "t.j2")
    template.render(Run(snapshot=Snapshot({})))
    change(tmp_path)
    assert not template.is_current(**ARGUMENTS)


@pytest.mark.parametrize(
    "other",
    [
        {"variables": {"n": True}},
        {"variables": {}},
        {"environ": {}},
        {"escape": "none"},
        {"limits": RenderLimits(timeout=1.0)},
    ],
)
def test_a_template_is_not_current_for_other_arguments(tmp_path, other):
    (tmp_path / "t.j2").write_text("x")
    assert not loaded(tmp_path / "t.j2").is_current(**ARGUMENTS | other)


@pytest.mark.parametrize("kind", ["loop", "zero", "fifo"])
def test_a_source_that_is_no_file_is_an_error_of_the_template(tmp_path, kind):
    path = tmp_path / "t.j2"
    if kind == "loop":
        path.symlink_to("t.j2")
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    with pytest.raises(TemplateError, match=r"t\.j2: cannot read the template: "):
        loaded(path)
