"""Converted templates print what the oracle prints."""

import sys

import pytest
from budget import examples
from corpus import CATALOG, JINJA, KEYS, TEMPLATES, rendered
from go_evaluator import evaluated
from go_functions import EvaluationError
from go_scripts import scripts
from go_templates import sources, trees
from hypothesis import given, settings, strategies as st

from ctemplate.convert.conversion import convert
from ctemplate.convert.errors import GoSyntaxError
from ctemplate.convert.functions import FUNCTIONS
from ctemplate.convert.go_printer import printed


def conversion(source):
    return convert(source, "t.ctmpl")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            'upstream web {\n{{- range service "web" }}\n  server {{ .Address }}:{{ .Port }};\n{{- end }}\n}\n',
            'upstream web {\n  {% for i in service("web") %}\n  server {{ i.ip }}:{{ i.port }};\n  {% endfor %}\n}\n',
            id="the usual upstream",
        ),
        pytest.param(
            "{{ range services }}{{ .Name }} {{ end }}",
            "{% for svc in services() %}{{ svc.name }} {% endfor %}",
            id="services",
        ),
        pytest.param(
            '{{ range $i, $s := service "blue.web@dc1~_agent|passing,warning" }}{{ $i }}{{ end }}',
            '{% for s in service("web", tag="blue", dc="dc1", near="_agent", status=["passing", "warning"]) %}'
            "{{ loop.index0 }}{% endfor %}",
            id="grammar",
        ),
        pytest.param(
            '{{ range services }}{{ range service (printf "%s.%s|any" "blue" .Name) }}{{ .ID }}{{ end }}{{ end }}',
            '{% for svc in services() %}{% for i in service(svc.name, tag="blue", status="any") %}'
            "{{ i.id }}{% endfor %}{% endfor %}",
            id="computed grammar",
        ),
        pytest.param('{{ key "/a/b@dc1" }}', '{{ key("a/b", dc="dc1") }}', id="key"),
        pytest.param('{{ keyOrDefault "a" "b" }}', '{{ key("a", default="") or "b" }}', id="keyOrDefault"),
        pytest.param('{{ keyExists "a" }}', '{{ "true" if key_exists("a") else "false" }}', id="keyExists"),
        pytest.param(
            '{{ range ls "a" }}{{ .Key }}={{ .Value }} {{ end }}',
            '{% for pair in ls("a") %}{{ pair.key }}={{ pair.value }} {% endfor %}',
            id="ls",
        ),
        pytest.param(
            '{{ range tree "a" }}{{ .Path }}{{ end }}',
            '{% for pair in tree("a") %}{{ pair.path }}{% endfor %}',
            id="tree",
        ),
        pytest.param('{{ env "A" }}{{ mustEnv "B" }}', '{{ env("A", "") }}{{ env("B") }}', id="env"),
        pytest.param(
            '{{ range service "a" }}{{ if .Tags.Contains "x" }}y{{ end }}{{ end }}',
            '{% for i in service("a") %}{% if "x" in i.tags %}y{% endif %}{% endfor %}',
            id="method of older versions",
        ),
        pytest.param(
            '{{ range service "a" }}{{ with .ServiceMeta.w }}{{ . }}{{ else }}1{{ end }}{{ .ServiceMeta.w }}{{ end }}',
            '{% for i in service("a") %}{% if i.meta.w %}{{ i.meta.w }}{% else %}1{% endif %}'
            '{{ i.meta.w | default("") }}{% endfor %}',
            id="a key that was tested needs no default",
        ),
        pytest.param(
            '{{ $n := 1 }}{{ range service "a" }}{{ $n = add $n 1 }}{{ end }}{{ $n }}',
            '{% set n = namespace(value=1) %}\n{% for i in service("a") %}\n{% set n.value = n.value + 1 %}\n'
            "{% endfor %}\n{{ n.value }}",
            id="namespace where a loop assigns",
        ),
        pytest.param(
            '{{ range service "a" }}{{ $w := 1 }}{{ with .ServiceMeta.w }}{{ $w = . }}{{ end }}{{ $w }} {{ end }}',
            '{% for i in service("a") %}{% set w = 1 %}{% if i.meta.w %}{% set w = i.meta.w %}{% endif %}'
            "{{ w }} {% endfor %}",
            id="no namespace within one turn",
        ),
        pytest.param("{{/* a note */}}\nx", "{# a note #}\n\nx", id="comment"),
    ],
)  # fmt: skip
def test_output_reads_well(source, expected):
    result = conversion(source)
    assert (result.text, result.findings) == (expected, ())


@pytest.mark.parametrize(
    ("source", "finding", "text"),
    [
        pytest.param(
            'a\n{{ with secret "x" }}{{ .Data.y }}{{ end }}',
            "t.ctmpl:2:9: cannot convert the function 'secret'; give it as a file or a variable: env(), -var",
            "a\n{# line 2: cannot convert the function 'secret'; give it as a file or a variable: env(), -var #}\n"
            '{% set item = unconverted("secret \\"x\\"") %}\n{% if item %}{{ item.Data.y }}{% endif %}',
            id="Vault",
        ),
        pytest.param(
            "{{ timestamp }}",
            "t.ctmpl:1:4: cannot convert the function 'timestamp';"
            " leave it out: output that always differs reloads always; now() alone causes no render",
            "{# line 1: cannot convert the function 'timestamp';"
            " leave it out: output that always differs reloads always; now() alone causes no render #}\n"
            '{{ unconverted("timestamp") }}',
            id="timestamp",
        ),
        pytest.param(
            "{{ range services }}{{ .Nmae }}{{ end }}",
            "t.ctmpl:1:24: cannot convert .Nmae, which a service does not have; known: Name, Tags",
            "{% for svc in services() %}"
            "{# line 1: cannot convert .Nmae, which a service does not have; known: Name, Tags #}"
            '{{ unconverted(".Nmae") }}{% endfor %}',
            id="field",
        ),
        pytest.param(
            '{{ index (service "web") -1 }}',
            "t.ctmpl:1:4: cannot convert index of a list by a negative number;"
            " consul-template ends with an error here, too",
            "{# line 1: cannot convert index of a list by a negative number;"
            " consul-template ends with an error here, too #}\n"
            '{{ unconverted("index (service \\"web\\") -1") }}',
            id="negative index, which Jinja counts from the end",
        ),
        pytest.param(
            '{{ service "web|ok" }}',
            "t.ctmpl:1:4: cannot convert unknown status 'ok' in 'web|ok';"
            " known: any, critical, maintenance, passing, warning; consul-template ends with an error here, too",
            "{# line 1: cannot convert unknown status 'ok' in 'web|ok';"
            " known: any, critical, maintenance, passing, warning; consul-template ends with an error here, too #}\n"
            '{{ unconverted("service \\"web|ok\\"") }}',
            id="status",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_named_and_marked(source, finding, text):
    result = conversion(source)
    assert ([str(each) for each in result.findings], result.text) == ([finding], text)


@pytest.mark.parametrize(
    ("source", "notices"),
    [
        pytest.param(
            '{{ with key "a" }}{{ . }}{{ else }}b{{ end }}{{ or (key "a") "b" }}{{ if key "a" }}c{{ end }}',
            [
                f"t.ctmpl:1:{column}: note: consul-template renders nothing before this key exists;"
                " here a missing key counts as empty"
                for column in (9, 49, 74)
            ],
            id="a key that waits where a default is meant",
        ),
        pytest.param(
            '{{ range service "web|," }}{{ end }}',
            ["t.ctmpl:1:10: note: this filter names no state, so that nothing ever matches"],
            id="a filter that never matches",
        ),
        pytest.param(
            '{{ range service "" }}{{ end }}',
            ["t.ctmpl:1:10: note: service of an empty name gives nothing"],
            id="no name",
        ),
        pytest.param(
            '{{ range service (env "A") }}{{ end }}',
            ['t.ctmpl:1:10: note: env("A", "") is treated as a name only, without tag, datacenter or state in it'],
            id="a whole query that is computed",
        ),
        pytest.param(
            '{{ range ls "a/" }}{{ end }}{{ range tree "a" }}{{ end }}{{ range ls "b" }}{{ end }}',
            [
                (
                    "t.ctmpl:1:38: note: consul-template takes a prefix without '/' at its end"
                    " for the beginning of any path; here it names a folder"
                )
            ],
            id="a prefix that is a text there, said once",
        ),
        pytest.param(
            '{{ with env "A" | parseJSON }}{{ .a }}{{ .b }}{{ end }}',
            [
                (
                    "t.ctmpl:1:34: note: parsed values print '<no value>' where they are missing,"
                    " and numbers as Go's floats: | go_text keeps that"
                )
            ],
            id="no value, said once",
        ),
        pytest.param(
            '{{ printf "%d" "x" }}{{ printf "%s" }}{{ printf "a" 1 }}',
            [
                "t.ctmpl:1:4: note: printf prints %!d(string=… here, as consul-template does",
                "t.ctmpl:1:25: note: printf prints %!s(MISSING)… here, as consul-template does",
                "t.ctmpl:1:42: note: printf prints %!(EXTRA … here, as consul-template does",
            ],
            id="printf",
        ),
    ],
)
def test_what_may_not_be_meant_is_converted_as_written_with_a_notice(source, notices):
    result = conversion(source)
    assert (result.findings, [str(notice) for notice in result.notices]) == ((), notices)


@given(scripts())
def test_what_is_converted_prints_what_the_oracle_says(tmp_path_factory, source):
    try:
        expected = evaluated(source, CATALOG, {}, KEYS)
    except EvaluationError:
        return
    result = conversion(source)
    assert [str(finding) for finding in result.findings] == []
    assert rendered(result.text, tmp_path_factory.mktemp("t")).decode() == expected


@pytest.mark.parametrize("call", ["html", "js", "urlquery", "print", "printf `%s`", "toLower"])
def test_a_missing_meta_key_is_empty_in_each_function_of_texts(tmp_path, call):
    source = f'{{{{range service "web"}}}}[{{{{{call} .ServiceMeta.nowhere}}}}]{{{{end}}}}'
    assert rendered(conversion(source).text, tmp_path).decode() == evaluated(source, CATALOG, {}, KEYS)


def steps(source):
    """Count the calls that a conversion makes."""
    count = 0

    def profile(_frame, event, _argument):
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(profile)
    try:
        conversion(source)
    finally:
        sys.setprofile(None)
    return count


def is_jinja(text):
    """Whether Jinja reads it; names that nobody defines are lint's business."""
    JINJA.parse(text)
    return True


@given(sources)
def test_no_text_makes_it_raise_anything_else(source):
    try:
        result = conversion(source)
    except GoSyntaxError:
        return
    assert is_jinja(result.text)


@settings(max_examples=examples(30))
@given(trees)
def test_every_tree_is_converted_or_refused(tree):
    assert is_jinja(conversion(printed(tree)).text)


OPERANDS = (
    ". $ nil true 0 -1 1.5 'a' `` `a` `%d` `%s-%v` `a.b|any` $x .A .Tags .Name .Port .ServiceMeta services",
    r'"\xff" (service_`web`) (loop_3) (key_`a`) (index_.Tags_0) (index_.ServiceMeta_`a`) (print_`a`_.Port)',
    "(split_`,`_.Name) (or_.ServiceMeta.a_.Name) (not_.Port) (len_.Tags) (and_.Port_.Name) (eq_`a`_.Name)",
)
operands = st.sampled_from([word.replace("_", " ") for line in OPERANDS for word in line.split()])


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(operands, max_size=3), st.sampled_from(["range", "with", "if", ""]))
def test_every_call_is_converted_or_refused(name, arguments, block):
    call = " ".join([name, *arguments])
    body = f"{{{{{block} {call}}}}}x{{{{end}}}}" if block else f"{{{{{call}}}}}"
    source = '{{ $x := 1 }}{{ range service "web" }}' + body + "{{ end }}"
    assert is_jinja(conversion(source).text)


def test_a_long_template_is_converted_in_linear_steps():
    """The steps are counted, so that the machine's speed does not matter."""
    source = TEMPLATES[0].read_text() + TEMPLATES[-1].read_text()
    assert steps(source * 40) <= 5 * steps(source * 10)
