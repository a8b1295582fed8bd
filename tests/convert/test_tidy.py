"""``-tidy`` writes readable templates, and reports what they print differently."""

import re

import pytest
from corpus import JINJA, TEMPLATES, converted

from ctemplate.convert import convert


@pytest.mark.parametrize(
    ("source", "text", "notices"),
    [
        pytest.param(
            'a\n  {{ range service "web" }}\n  {{ .ID }}\n  {{ end }}\nb\n',
            'a\n  {% for i in service("web") %}\n  {{ i.id }}\n  {% endfor %}\nb\n',
            ["t:2:1: note: -tidy: the tags on these lines leave no line of their own: 2, 4"],
            id="lines of tags",
        ),
        pytest.param(
            '{{ $x := "a" }}\n{{/* note */}}\n{{ if $x }}\n{{ $x }}\n{{ else }}\nb\n{{ end }}\n',
            '{% set x = "a" %}\n{# note #}\n{% if x %}\n{{ x }}\n{% else %}\nb\n{% endif %}\n',
            ["t:1:1: note: -tidy: the tags on these lines leave no line of their own: 1, 2, 3, 5, 7"],
            id="every kind of tag",
        ),
        pytest.param(
            '{{ keyOrDefault "a" "b" }}',
            '{{ key("a", default="b") }}',
            ["t:1:1: note: -tidy: an empty value stays: the default is for a missing key"],
            id="default",
        ),
        pytest.param(
            '{{ $d := env "A" | parseJSON }}{{ range $d.list }}{{ .x }}{{ end }}{{ "a | go_text" }}',
            '{% set d = env("A", "") | from_json %}\n{% for item in d.list %}{{ item.x }}{% endfor %}a | go_text',
            [
                "t:1:1: note: -tidy: what is ranged over must be a list",
                (
                    "t:1:1: note: -tidy: parsed values print as Jinja prints them:"
                    " numbers are whole, and what is missing is an error"
                ),
            ],
            id="parsed values",
        ),
        pytest.param(
            '{{ range service "web" }}{{ range split "," .Name }}{{ . }}{{ end }}{{ end }}',
            '{% for i in service("web") %}{% for text in i.name.split(",") %}{{ text }}{% endfor %}{% endfor %}',
            ["t:1:1: note: -tidy: a text is split as it is, without trimming it first"],
            id="split",
        ),
        pytest.param(
            '{{ range service "web" }}{{ .Name | toTitle }}{{ .Name | printf "%q" }}{{ .Name | len }}{{ end }}',
            '{% for i in service("web") %}{{ i.name | title }}{{ i.name | json }}{{ i.name | length }}{% endfor %}',
            [
                "t:1:1: note: -tidy: words are lower-case but for their first letters",
                "t:1:1: note: -tidy: control characters are quoted as in JSON",
                "t:1:1: note: -tidy: the length of a text counts characters",
            ],
            id="filters",
        ),
        pytest.param(
            '{{ range $k, $v := service "web" | byMeta "zone" }}{{ $k }}{{ end }}{{ env "A" | parseJSON | toYAML }}',
            '{% for k, v in service("web") | by_meta("zone", "_no_zone_") %}{{ k }}{% endfor %}'
            '{{ env("A", "") | from_json | to_yaml }}',
            [
                (
                    "t:1:1: note: -tidy: groups are named by the values of meta as they are,"
                    " and an empty value is a separate group"
                ),
                "t:1:1: note: -tidy: texts in YAML are quoted by other rules",
            ],
            id="groups and YAML",
        ),
        pytest.param("a {{ 1 }}\n", "a 1\n", [], id="nothing to tidy"),
    ],
)
def test_what_tidy_changes_is_said(source, text, notices):
    result = convert(source, "t", tidy=True)
    assert (result.text, [str(notice) for notice in result.notices]) == (text, notices)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_tidy_text_is_jinja_without_filters_of_go(template):
    result = convert(template.read_bytes().decode(), template.name, tidy=True)
    assert JINJA.parse(result.text)
    assert not re.search(r"\| go_(?!by_meta|printf)", result.text), "these have no idiom in all their forms"


def test_where_tidy_says_nothing_it_changes_nothing():
    for template in TEMPLATES:
        result = convert(template.read_bytes().decode(), template.name, tidy=True)
        if not any("-tidy" in notice.what for notice in result.notices):
            assert result.text == converted(template)
