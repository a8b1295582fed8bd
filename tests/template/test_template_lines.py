"""Line breaks around tags: a line of block tags and comments prints nothing, all other lines print unchanged."""

import jinja2
import pytest
from hypothesis import given, strategies as st
from rendering import load, message, text_of, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Snapshot
from ctemplate.template import Renderer

CASES = {
    "block tags on lines of their own": ("a\n{% if true %}\n  b\n{% endif %}\nc\n", "a\n  b\nc\n"),
    "indented": ("a\n    {% if true %}\n  b\n  {% endif %}\nc", "a\n  b\nc"),
    "several on a line": ("{% if true %} {% set x = 1 %}\t{# c #}  \n{{ x }}\n  {% endif %}{# d #}\n", "1\n"),
    "text before a tag": ("server a;{% if true %} # b{% endif %}\nc\n", "server a; # b\nc\n"),
    "text behind a tag": ("  {% if true %}a{% endif %}\nb", "  a\nb"),
    "placeholder": ("u {\n  {% if false %}a;{% else %}# none{% endif %}\n}\n", "u {\n  # none\n}\n"),
    "print on the line": ("{{ 1 }}{% if true %}{% endif %}\nb", "1\nb"),
    "print with minus": ("a\n  {{- 1 -}}  \n  b\n", "a1b\n"),
    "comment of several lines": ("{# a\n  b #}\nc\n", "c\n"),
    "comment of several lines beside text": ("{# a\n  b #} c {# d\n #}\ne\n", " c \ne\n"),
    "tag of several lines": ("a\n{% set x = [\n  1,\n] %}\nb\n", "a\nb\n"),
    "tag of several lines behind text": ("a {% set x = [\n  1,\n] %}\nb\n", "a \nb\n"),
    "blank lines stay": ("\n{% if true %}\n\nb\n\n{% endif %}\n\nc", "\n\nb\n\n\nc"),
    "raw": ("{% raw %}\n  {{ a }}\n  {% if %}\n{% endraw %}\nb\n", "  {{ a }}\n  {% if %}\nb\n"),
    "raw beside text": ("x {% raw %}{{ a }}{% endraw %}\nb\n", "x {{ a }}\nb\n"),
    "no line break at the end": ("a\n{% if true %}{% endif %}  ", "a\n"),
    "carriage returns": ("a\r\n  {% if true %}\r\nb\r\n{% endif %} c{# d #}\r\ne", "a\nb\n c\ne"),
    "minus before": ("a\n\n  {%- if true %}\n\n  b{% endif %}", "a\n  b"),
    "minus behind": ("{% if true -%}\n\n  b\n{% endif %}", "b\n"),
    "minus between text": ("a  {%- if true -%}  b  {%- endif -%}  \n c", "abc"),
    "plus before": ("a\n  {%+ if true %}\n  b\n{% endif %}", "a\n    b\n"),
    "plus behind": ("a\n  {% if true +%}  \n  b\n{%+ endif +%}\nc", "a\n  \n  b\n\nc"),
    "macro": ("{% macro m(x) %}\n  [{{ x }}]\n{% endmacro %}\n{{ m(1) }}{{ m(2) }}", "  [1]\n  [2]\n"),
    "loop": ("{% for x in [1, 2] %}\n  {{ x }}{% if x > 1 %}!{% endif %}\n{% endfor %}\n", "  1\n  2!\n"),
    "set block": ("{% set x %}\n  a\n{% endset %}\n[{{ x }}]", "[  a\n]"),
    "a tag within quotes is text": ("{{ '{% if %}' }}\n", "{% if %}\n"),
}


@pytest.mark.parametrize(("source", "expected"), CASES.values(), ids=CASES.keys())
def test_lines_of_tags_leave_nothing_and_others_stay(source, expected):
    assert text_of(source) == expected


def test_included_and_imported_templates_follow_the_same_rule(tmp_path):
    (tmp_path / "i.j2").write_text("{% if true %}\n  i;{# c #}\n{% endif %}\n")
    (tmp_path / "m.j2").write_text("{% macro m() %}\n  m;{# c #}\n{% endmacro %}\n")
    source = '{% import "m.j2" as m %}\na\n  {% include "i.j2" %}\nb\n{{ m.m() }}c\n'
    assert text_of(source, folder=tmp_path) == "a\n  i;\nb\n  m;\nc\n"


def test_a_loop_over_services_cut_into_fragments_prints_the_same_each_time():
    body = "{% set all = service(s.name) %}\n  {{ s.name }}{% if all %};{% endif %}\n"
    source = f"{{% for s in services() %}}\n{body}{{% endfor %}}\n"
    renderer, snapshot = Renderer([load(source)]), world(web(name="a"), web(name="b"))
    first = renderer.render(snapshot)
    again = renderer.render(Snapshot({answer.query: answer for answer in world(web(name="a"), web(name="c"))}))
    assert (first.texts, again.texts) == (("  a;\n  b;\n",), ("  a;\n  c;\n",))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a\n{% if true %}\n\n{{ 1 / 0 }}\n{% endif %}", 4),
        ("{# a\nb #}\n\n  {% set x = [\n1] %}\n\n{{ 1 / 0 }}", 7),
        ("a\n\n  {%- if true -%}\n\n b\n{{ 1 / 0 }}\n{% endif %}", 6),
        ("{% raw %}\na\n{% endraw %}\n{{ 1 / 0 }}", 4),
        ("{% if true %}\r\na\r\n{% endif %}\r\n{{ 1 / 0 }}", 4),
    ],
)
def test_errors_name_the_line_of_the_source(source, line):
    template = load(source)
    with pytest.raises(TemplateError) as error:
        Renderer([template]).render(Snapshot({}))
    assert message(error) == f"t.j2:{line}: division by zero"


@pytest.mark.parametrize(("source", "line"), [("a\n{% if true %}\n{{ ! }}", 3), ("{% if %}\nb\n{{ ! }}", 1)])
def test_the_first_syntax_error_is_named(source, line):
    with pytest.raises(TemplateError) as error:
        load(source)
    assert message(error).startswith(f"t.j2:{line}: ")


def test_the_origin_of_a_line_is_known_behind_lines_of_tags():
    source = "a\n{% if true %}\n\nb{# c #}\n{% endif %}\n  {{ 1 }}\n"
    renderer = Renderer([load(source)])
    assert renderer.render(Snapshot({})).texts == ("a\n\nb\n  1\n",)
    assert [renderer.origin(0, line).rpartition(":")[2] for line in (1, 2, 3, 4)] == ["1", "3", "4", "6"]


# Whatever the lines: the same as plain Jinja makes of the source from which lines of tags were taken by hand.

_SIGNS = st.sampled_from(["", "", "", "-"])
_SPACE = st.sampled_from(["", "", " ", "\t", "   "])
_OPEN = ("{%", "if yes", "%}"), ("{%", "for x in two", "%}"), ("{%", "if no", "%}")
_TAGS = (("{%", "set x = 1", "%}"), ("{%", "set y = [1,\n 2]", "%}"), ("{#", "c", "#}"), ("{#", "c\n\n d", "#}"))


@st.composite
def _tag(draw, form):
    start, words, end = form
    return "tag", f"{start}{draw(_SIGNS)} {words} {draw(_SIGNS)}{end}"


_PARTS = st.one_of(
    st.sampled_from(_TAGS).flatmap(_tag),
    _SPACE.map(lambda space: ("space", space)),
    st.sampled_from([("text", "a"), ("text", "b; # c"), ("break", "\n"), ("break", "\n")]),
    _SIGNS.flatmap(lambda sign: st.just(("print", f"{{{{{sign} 7 {sign}}}}}"))),
)


@st.composite
def _bodies(draw, depth=2):
    parts = []
    for _ in range(draw(st.integers(0, 6))):
        if depth and draw(st.integers(0, 3)) == 0:
            form = draw(st.sampled_from(_OPEN))
            closing = "endfor" if "for" in form[1] else "endif"
            parts += [draw(_tag(form)), *draw(_bodies(depth=depth - 1)), draw(_tag(("{%", closing, "%}")))]
        else:
            parts.append(draw(_PARTS))
    return parts


def _by_hand(parts):
    """Return the source without the white space and line breaks of lines that hold nothing but tags."""
    lines, line = [], []
    for part in parts:
        line.append(part)
        if part[0] == "break":
            lines.append(line)
            line = []
    lines.append(line)
    kept = []
    for parts_of_line in lines:
        kinds = {kind for kind, text in parts_of_line if text}
        is_of_tags = "tag" in kinds and kinds <= {"tag", "space", "break"}
        kept += [text for kind, text in parts_of_line if not is_of_tags or kind == "tag"]
    return "".join(kept)


@given(_bodies())
def test_lines_are_those_of_plain_jinja_without_lines_of_tags(parts):
    names = {"yes": True, "no": False, "two": [1, 2]}
    plain = jinja2.Environment(keep_trailing_newline=True).from_string(_by_hand(parts)).render(names)  # noqa: S701
    source = "".join(text for _, text in parts)
    given_names = "{% set yes, no, two = true, false, [1, 2] %}"
    assert text_of(f"{given_names}\n{source}") == plain
