"""Every error in a template is reported in one line that names the file and the line."""

import pytest
from rendering import load, message, render, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.template import Renderer, Template

API = world(web(name="api", meta={"zone": "x"}))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("\n{% for %}", "t.j2:2: expected an expression, got 'end of statement block'", id="syntax"),
        pytest.param(
            "{% if 1 %}",
            "t.j2:1: unexpected end of template. Jinja was looking for the following tags: 'elif' or "
            "'else' or 'endif'. The innermost block that needs to be closed is 'if'",
            id="unclosed block",
        ),
        pytest.param("{{ 'a }}", 't.j2:1: unexpected char "\'" at 3', id="unclosed text"),
        pytest.param("{{ 1 | quot }}", "t.j2:1: no filter named 'quot'; did you mean 'quote'?", id="unknown filter"),
        pytest.param(
            "{% if 0 %}{{ 1 | nope }}{% endif %}", "t.j2:1: no filter named 'nope'", id="unknown filter, not reached"
        ),
        pytest.param("{{ 1 is evn }}", "t.j2:1: no test named 'evn'; did you mean 'even'?", id="unknown test"),
        pytest.param(
            "{{ 1 | safe }}",
            "t.j2:1: no filter named 'safe'; leave it out; no value is escaped unless a filter does it",
            id="no HTML",
        ),
        pytest.param(
            "{% autoescape false %}{% endautoescape %}",
            "t.j2:1: autoescape is not supported: printing follows one rule",
            id="autoescape",
        ),
        pytest.param(
            "\n{% include 'gone.j2' %}", "t.j2:2: no template 'gone.j2' in the template's folders", id="include"
        ),
        pytest.param(
            "{% include '../../../../etc/passwd' %}",
            "t.j2:1: no template '../../../../etc/passwd' in the template's folders",
            id="outside",
        ),
        pytest.param(
            "{% include '/etc/passwd' %}", "t.j2:1: no template '/etc/passwd' in the template's folders", id="absolute"
        ),
    ],
)
def test_faults_show_when_a_template_is_loaded(text, sentence):
    with pytest.raises(TemplateError) as error:
        load(text)
    assert message(error) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(
            "{% set instances = 1 %}\n{{ instance }}",
            "t.j2:2: 'instance' is undefined; did you mean 'instances'?",
            id="name",
        ),
        pytest.param(
            "{{ var.domian }}", "t.j2:1: 'var.domian' is undefined; did you mean 'var.domain'?", id="variable"
        ),
        pytest.param(
            "{{ service('api')[0].adress }}",
            "t.j2:1: instance has no field 'adress'; did you mean 'address'?",
            id="field",
        ),
        pytest.param(
            "{{ service('api')[0].meta.zoen }}",
            "t.j2:1: no key 'zoen' here; did you mean 'zone'? else give a default: | default(\"…\")",
            id="key",
        ),
        pytest.param(
            "{{ service('api')[7].id }}", 't.j2:1: service("api") has 1 item, so no item 7', id="item of a short list"
        ),
        pytest.param(
            "{{ service('api', tag='none')[0].id }}",
            't.j2:1: service("api", tag="none") is empty, so it has no item 0; '
            "test it with if, or use | first | default(…)",
            id="item of an empty list",
        ),
        pytest.param(
            "{% set found = service('api', tag='none') %}{{ found[-1].id }}",
            "t.j2:1: found is empty, so it has no item -1; test it with if, or use | first | default(…)",
            id="item of a variable",
        ),
        pytest.param(
            "{{ (service('api') | list)[2] }}",
            "t.j2:1: the list has 1 item, so no item 2",
            id="item of a computed list",
        ),
        pytest.param("{{ service(1) }}", "t.j2:1: name must be a text, got 1", id="wrong type"),
        pytest.param(
            "{{ service('api', nod='x') }}", "t.j2:1: service() got an unexpected keyword argument 'nod'", id="argument"
        ),
        pytest.param(
            "{{ service('api', status='pasing') }}",
            "t.j2:1: status: unknown word 'pasing'; did you mean 'passing'?",
            id="status",
        ),
        pytest.param(
            "{{ 1 + 'a' }}",
            "t.j2:1: number + text cannot be computed; write ~ to join texts, | int to count",
            id="operands",
        ),
        pytest.param("{{ 1 / 0 }}", "t.j2:1: division by zero", id="division"),
        pytest.param(
            "{{ [1, 2] }}",
            "t.j2:1: a list cannot be printed; print its fields or items, or use | json | quote",
            id="list",
        ),
        pytest.param(
            "{{ {} }}",
            "t.j2:1: a table cannot be printed; print its fields or items, or use | json | quote",
            id="mapping",
        ),
        pytest.param(
            "{{ service('api')[0] }}",
            "t.j2:1: an instance cannot be printed; print its fields or items, or use | json | quote",
            id="object",
        ),
        pytest.param("{{ none }}", 't.j2:1: None cannot be printed; give a default: | default("…", true)', id="none"),
        pytest.param(
            "{{ 'x' ~ none }}",
            't.j2:1: None cannot be printed; give a default: | default("…", true)',
            id="none, joined",
        ),
        pytest.param(
            "{% macro f() %}{{ f() }}{% endmacro %}\n{{ f() }}",
            "t.j2:1: macros or includes call each other without end",
            id="recursion",
        ),
        pytest.param(
            "{% include 't.j2' %}", "t.j2:1: macros or includes call each other without end", id="own include"
        ),
        pytest.param(
            "{% include name %}", "t.j2:1: 'name' is undefined; did you mean 'namespace'?", id="computed include"
        ),
        pytest.param(
            "{{ env('NONE') }}", "t.j2:1: env: 'NONE' is not set; give a default: env('NONE', \"…\")", id="environment"
        ),
        pytest.param(
            "{{ '$x' | quote }}",
            "t.j2:1: '$x' '$' would start a variable, and nginx has no escape for it",
            id="own quote",
        ),
        pytest.param(
            "{{ claim('server_name', 'x') }}",
            "t.j2:1: claim: cannot tell whose server_name this is; name the service: claim(kind, value, svc)",
            id="claim",
        ),
        pytest.param("{{ ''.__class__ }}", "t.j2:1: text has no field '__class__'", id="internals"),
        pytest.param(
            "{{ service.__globals__ }}",
            "t.j2:1: access to attribute '__globals__' of 'method' object is unsafe",
            id="functions' internals",
        ),
        pytest.param("{{ var.values }}", "t.j2:1: 'var.values' is undefined", id="var's internals"),
    ],
)
def test_faults_show_with_their_line_when_a_template_runs(text, sentence):
    with pytest.raises(TemplateError) as error:
        render(text, API, variables={"domain": "x"})
    assert message(error) == sentence


def test_the_innermost_file_is_named(tmp_path):
    (tmp_path / "m.j2").write_text("{% macro f(x) %}\n\n{{ x.y }}\n{% endmacro %}")
    with pytest.raises(TemplateError) as error:
        render("{% import 'm.j2' as m %}\n{{ m.f(1) }}", folder=tmp_path)
    assert str(error.value) == f"{tmp_path}/m.j2:3: int has no field 'y'"


def test_faults_of_what_is_included_show_when_the_template_is_loaded(tmp_path):
    (tmp_path / "a.j2").write_text("{% include 'b.j2' %}")
    (tmp_path / "b.j2").write_text("\n\n{{ 1 | nope }}")
    with pytest.raises(TemplateError) as error:
        load("{% import 'a.j2' as a %}", folder=tmp_path)
    assert str(error.value) == f"{tmp_path}/b.j2:3: no filter named 'nope'"


def test_a_template_that_cannot_be_read_is_told_in_one_line(tmp_path):
    (tmp_path / "latin.j2").write_bytes(b"a\nb\xe9\n")
    said = {}
    for name in ("gone.j2", ".", "latin.j2"):
        with pytest.raises(TemplateError) as error:
            Template.load(tmp_path / name, variables={}, environ={})
        said[name] = str(error.value).removeprefix(str(tmp_path))
    assert said == {
        "gone.j2": "/gone.j2: cannot read the template: no such file or directory",
        ".": ": cannot read the template: is a directory",
        "latin.j2": "/latin.j2:2: is not UTF-8: byte 0xe9; save the file as UTF-8",
    }


def test_an_unknown_escape_is_refused():
    with pytest.raises(TemplateError) as error:
        load("", escape="latex")
    known = "nginx, haproxy, json, yaml, shell, html, lines, none"
    assert message(error) == f"t.j2: unknown escape 'latex'; known: {known}"


def test_an_error_shows_untrusted_text_escaped():
    hostile = world(web(name="a"), web(name="b"), web(name="c"), web(name="evil", meta={"x\n\x1b[31m": ""}))
    with pytest.raises(TemplateError) as error:
        render("{{ service('evil')[0].meta['x\\n\x1b[31n'] }}", hostile)
    assert str(error.value).isprintable()


def test_the_same_error_comes_again_without_a_change():
    renderer = Renderer([load("{{ 1 / 0 }}")])
    said = []
    for _ in range(2):
        with pytest.raises(TemplateError) as error:
            renderer.render(API)
        said.append(message(error))
    assert said == ["t.j2:1: division by zero"] * 2
