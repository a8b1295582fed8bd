"""Converted templates print what the oracle says."""

import pytest
from corpus import CATALOG, rendered
from go_evaluator import EvaluationError, evaluated
from go_scripts import scripts
from hypothesis import given

from ctemplate.convert.conversion import convert


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
            'a\n{% set item = unconverted("secret \\"x\\"") %}\n{% if item %}{{ item.Data.y }}{% endif %}',
            id="Vault",
        ),
        pytest.param(
            "{{ timestamp }}",
            "t.ctmpl:1:4: cannot convert the function 'timestamp';"
            " leave it out: output that always differs reloads always",
            '{{ unconverted("timestamp") }}',
            id="timestamp",
        ),
        pytest.param(
            "{{ range services }}{{ break }}{{ end }}",
            "t.ctmpl:1:24: cannot convert 'break'; write {% if %} around the rest",
            '{% for svc in services() %}{{ unconverted("break") }}{% endfor %}',
            id="break",
        ),
        pytest.param(
            "{{ range services }}{{ .Nmae }}{{ end }}",
            "t.ctmpl:1:24: cannot convert .Nmae, which a service does not have; known: Name, Tags",
            '{% for svc in services() %}{{ unconverted(".Nmae") }}{% endfor %}',
            id="field",
        ),
        pytest.param(
            '{{ service "web|ok" }}',
            "t.ctmpl:1:4: cannot convert unknown status 'ok' in 'web|ok';"
            " known: any, critical, maintenance, passing, warning",
            '{{ unconverted("service \\"web|ok\\"") }}',
            id="status",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_named_and_marked(source, finding, text):
    result = conversion(source)
    assert ([str(each) for each in result.findings], result.text) == ([finding], text)


@given(scripts())
def test_what_is_converted_prints_what_the_oracle_says(tmp_path_factory, source):
    try:
        expected = evaluated(source, CATALOG)
    except EvaluationError:
        return
    result = conversion(source)
    assert [str(finding) for finding in result.findings] == []
    assert rendered(result.text, tmp_path_factory.mktemp("t")).decode() == expected
