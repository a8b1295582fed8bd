import sys

import pytest
from budget import examples
from go_templates import sources, trees
from hypothesis import given, settings, strategies as st

from ctemplate.convert import go_ast as go
from ctemplate.convert.errors import GoSyntaxError
from ctemplate.convert.go_lexer import Position
from ctemplate.convert.go_parser import MAX_NESTING, parse
from ctemplate.convert.go_printer import printed


def command(*operands):
    return go.GoCommand(operands)


def pipeline(*commands, **options):
    return go.GoPipeline(commands, **options)


def call(name, *operands):
    return pipeline(command(go.Identifier(name), *operands))


DOT_A = pipeline(command(go.Field(("A",))))
X = go.GoText("x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param("a {b} }}", (go.GoText("a {b} }}"),), id="text"),
        pytest.param("{{.}}", (go.Action(pipeline(command(go.Dot()))),), id="dot"),
        pytest.param("{{.A.B}}", (go.Action(pipeline(command(go.Field(("A", "B"))))),), id="fields"),
        pytest.param("{{$.A}}", (go.Action(pipeline(command(go.Variable("$", ("A",))))),), id="root"),
        pytest.param(
            '{{(key "a").B}}',
            (go.Action(pipeline(command(go.Chain(call("key", go.String('"a"')), ("B",))))),),
            id="chain",
        ),
        pytest.param(
            '{{.Tags.Contains "x"}}',
            (go.Action(pipeline(command(go.Field(("Tags", "Contains")), go.String('"x"')))),),
            id="method",
        ),
        pytest.param(
            '{{"x" | f 1 | g}}',
            (
                go.Action(
                    pipeline(
                        command(go.String('"x"')),
                        command(go.Identifier("f"), go.Number("1")),
                        command(go.Identifier("g")),
                    )
                ),
            ),
            id="pipeline",
        ),
        pytest.param("a \n{{- .A -}} \t b", (go.GoText("a"), go.Action(DOT_A), go.GoText("b")), id="trims"),
        pytest.param("a\v{{- .A}}", (go.GoText("a\v"), go.Action(DOT_A)), id="trims four characters only"),
        pytest.param(
            "{{-1}}", (go.Action(pipeline(command(go.Number("-1")))),), id="a minus without a space is no trim marker"
        ),
        pytest.param("a {{- /* c */ -}} b", (go.GoText("a"), go.Comment(" c "), go.GoText("b")), id="comment"),
        pytest.param("{{/* }} */}}", (go.Comment(" }} "),), id="delimiter in a comment"),
        pytest.param('{{"}}"}}', (go.Action(pipeline(command(go.String('"}}"')))),), id="delimiter in a string"),
        pytest.param("{{if .A}}x{{end}}", (go.If(DOT_A, (X,)),), id="if"),
        pytest.param(
            "{{if .A}}{{else if .A}}x{{else}}x{{end}}", (go.If(DOT_A, (), (go.If(DOT_A, (X,), (X,)),)),), id="else if"
        ),
        pytest.param(
            "{{with .A}}{{else with .A}}x{{end}}", (go.With(DOT_A, (), (go.With(DOT_A, (X,)),)),), id="else with"
        ),
        pytest.param(
            "{{range $i, $e := .A}}x{{else}}{{end}}",
            (go.Range(pipeline(*DOT_A.commands, variables=("$i", "$e")), (X,)),),
            id="range",
        ),
        pytest.param(
            "{{range .A}}{{break}}{{continue}}{{end}}",
            (go.Range(DOT_A, (go.Break(), go.Continue())),),
            id="loop control",
        ),
        pytest.param(
            "{{$x := 1}}{{$x = 2}}",
            (
                go.Action(pipeline(command(go.Number("1")), variables=("$x",))),
                go.Action(pipeline(command(go.Number("2")), variables=("$x",), is_assignment=True)),
            ),
            id="variables",
        ),
        pytest.param(
            '{{define "a"}}x{{end}}{{template "a"}}{{template `a` .A}}{{block "b" .A}}x{{end}}',
            (
                go.Define(go.String('"a"'), (X,)),
                go.GoTemplate(go.String('"a"')),
                go.GoTemplate(go.String("`a`"), DOT_A),
                go.GoBlock(go.String('"b"'), DOT_A, (X,)),
            ),
            id="templates",
        ),
        pytest.param("{{\n.A\n}}", (go.Action(DOT_A),), id="several lines"),
    ],
)
def test_a_template_is_read(text, expected):
    assert parse(text, "t") == expected


def test_delimiters_may_be_chosen():
    assert parse("{{ [[- .A -]] {{", "t", left="[[", right="]]") == (go.GoText("{{"), go.Action(DOT_A), go.GoText("{{"))


def test_empty_delimiters_mean_the_usual_ones():
    assert parse("{{.A}}", "t", left="", right="") == (go.Action(DOT_A),)


def test_nodes_know_their_places():
    body = parse("a\né {{if .A}}\n{{end}}{{ .A.B }}", "t")
    assert [(node.at.line, node.at.column) for node in body] == [(1, 1), (2, 5), (3, 8)]
    assert body[2].pipeline.commands[0].operands[0].at == Position(3, 11)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a\n{{", "t:2:1: the action is never closed, expected '}}'", id="open"),
        pytest.param("{{if .A}}\n", "t:1:3: 'if' is never closed, expected 'end'", id="no end"),
        pytest.param("{{end}}", "t:1:3: unexpected 'end', expected text or an action", id="end"),
        pytest.param("{{if}}{{end}}", "t:1:5: missing value in 'if'", id="no value"),
        pytest.param('{{"a}}', 't:1:3: a string is never closed, expected "', id="string"),
        pytest.param(r'{{"\q"}}', "t:1:3: unknown escape '\\\\q' in a string", id="escape"),
        pytest.param("{{(.A}}", "t:1:6: unclosed '(', expected ')'", id="parenthesis"),
        pytest.param("{{.A)}}", "t:1:5: unexpected ')', expected the end of the action", id="stray parenthesis"),
        pytest.param("{{$x}}", "t:1:3: undefined variable '$x'", id="variable"),
        pytest.param("{{if $x := .A}}{{end}}{{$x}}", "t:1:25: undefined variable '$x'", id="scope"),
        pytest.param("{{break}}", "t:1:3: 'break' outside of 'range'", id="break"),
        pytest.param("{{/* a }}", "t:1:1: the comment is never closed, expected '*/'", id="comment"),
        pytest.param(
            "{{/* a */ }}", "t:1:10: the comment ends before the action does, expected '}}'", id="comment end"
        ),
        pytest.param("{{12x}}", "t:1:3: '12x' is not a number", id="number"),
        pytest.param("{{.A#}}", "t:1:5: unexpected '#', expected a space or the end of the action", id="character"),
        pytest.param("{{f | 1}}", "t:1:8: part 2 of the pipeline is a value, expected a function", id="stage"),
        pytest.param(
            "{{if .A}}{{define `x`}}{{end}}{{end}}",
            "t:1:12: 'define' within another block, expected it outside of all blocks",
            id="define",
        ),
    ],
)
def test_an_error_says_where_and_what_was_expected(text, message):
    with pytest.raises(GoSyntaxError) as error:
        parse(text, "t")
    assert str(error.value) == message


@pytest.mark.parametrize("opening", ["{{if .A}}", "{{if .A}}{{else if .A}}", "{{range .}}"])
def test_depth_is_bounded(opening):
    with pytest.raises(GoSyntaxError, match=f"nested more than {MAX_NESTING} deep"):
        parse(opening * 5000, "t")
    with pytest.raises(GoSyntaxError, match=f"nested more than {MAX_NESTING} deep"):
        parse("{{" + "(" * 5000 + ".A" + ")" * 5000 + "}}", "t")


def test_the_deepest_allowed_is_read():
    inner = "(" * 5 + ".A" + ")" * 5
    text = "{{if .A}}" * (MAX_NESTING - 10) + "{{" + inner + "}}" + "{{end}}" * (MAX_NESTING - 10)
    tree = parse(text, "t")
    assert parse(printed(tree), "t") == tree


def test_a_long_chain_of_else_if_is_an_error_of_its_own():
    with pytest.raises(GoSyntaxError):
        parse("{{if .A}}" + "{{else if .A}}" * 2000 + "{{end}}", "t")


@settings(max_examples=examples(30))
@given(trees)
def test_what_is_printed_reads_the_same(tree):
    assert parse(printed(tree), "t") == tree


@settings(max_examples=examples(20))
@given(trees)
def test_what_is_printed_reads_the_same_with_other_delimiters(tree):
    assert parse(printed(tree, left="<%", right="%>"), "t", left="<%", right="%>") == tree


@given(sources, st.sampled_from([("{{", "}}"), ("[[", "]]"), ("<", ">")]))
def test_no_text_makes_it_raise_anything_else(text, delimiters):
    left, right = delimiters
    try:
        tree = parse(text, "t", left=left, right=right)
    except GoSyntaxError:
        return
    if "{{" not in text or left == "{{":
        assert parse(printed(tree, left=left, right=right), "t", left=left, right=right) == tree


def _steps(text):
    """Count the lines that parsing runs: a measure that no load of the machine changes."""
    count = 0

    def trace(_frame, event, _arg):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse(text, "t")
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "line",
    ["{{ .A | f 1 }}\n", "text {{- $x := 1 -}} \n", "{{if .A}}{{end}}", "{{/* c */}} ", "{ ", " ", "{{.A    -}}"],
)
def test_time_is_linear(line):
    assert _steps(line * 400) <= 5 * _steps(line * 100)
