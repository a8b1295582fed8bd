"""The HCL reader gives the same results as HashiCorp's reader, hashicorp/hcl 1.0.0."""

import contextlib

import pytest
from hypothesis import given, strategies as st

from ctemplate.config.hcl_parser import DEEPEST, HclBody, OctalNumber, parse_hcl
from ctemplate.core.errors import ConfigError


def plain(value):
    """Return a tree as HashiCorp's reader decodes it: blocks are lists, a repeated key's last value counts."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, HclBody):
        return value
    found = {}
    for item in value.items:
        inner = plain(item.value)
        for label in reversed(item.labels):
            inner = {label: [inner]}
        if isinstance(inner, dict):
            inner = [inner]
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            inner = [*found.get(item.key, []), *inner]
        found[item.key] = inner
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('consul = {\n address = "x"\n}', {"consul": [{"address": "x"}]}, id="block with equals sign"),
        pytest.param('consul {\n address = "x"\n}', {"consul": [{"address": "x"}]}, id="block"),
        pytest.param('wait { min = "1s" max = "2s" }', {"wait": [{"min": "1s", "max": "2s"}]}, id="block on one line"),
        pytest.param('a = {x = "1", y = "2",}', {"a": [{"x": "1", "y": "2"}]}, id="commas in a block"),
        pytest.param("a = 1 b = 2", {"a": 1, "b": 2}, id="two keys on one line"),
        pytest.param("a = 1, b = 2", {"a": 1, "b": 2}, id="comma between keys"),
        pytest.param('t = [{ s = "a" }, { s = "b" }]', {"t": [{"s": "a"}, {"s": "b"}]}, id="list of blocks"),
        pytest.param('t { s = "a" }\nt { s = "b" }', {"t": [{"s": "a"}, {"s": "b"}]}, id="repeated blocks"),
        pytest.param('t = { s = "a" }\nt = { s = "b" }', {"t": [{"s": "a"}, {"s": "b"}]}, id="repeated, with equals"),
        pytest.param('"consul" { "address" = "x" }', {"consul": [{"address": "x"}]}, id="keys in quotes"),
        pytest.param('s "web" "b" { a = 1 }', {"s": [{"web": [{"b": [{"a": 1}]}]}]}, id="labels"),
        pytest.param('# a\n// b\n/* c\nd */\nx = "y" // e', {"x": "y"}, id="comments"),
        pytest.param('x = "a" # b', {"x": "a"}, id="comment at the end of the file"),
        pytest.param("a = 1\na = 2", {"a": 2}, id="repeated key"),
        pytest.param("a.b = 1\nc-d = 2\né = 3", {"a.b": 1, "c-d": 2, "é": 3}, id="names"),
        pytest.param("x = 1.5\ny = -1\nz = 1e3\nh = 0x1F", {"x": 1.5, "y": -1, "z": 1000.0, "h": 31}, id="numbers"),
        pytest.param("x = 0644", {"x": 0o644}, id="octal"),
        pytest.param("x = true\ny = false", {"x": True, "y": False}, id="booleans"),
        pytest.param('x = [\n"a",\n"b"\n,]', {"x": ["a", "b"]}, id="list on lines"),
        pytest.param('x = ["a", <<E\nb\nE\n, "c"]', {"x": ["a", "b\n", "c"]}, id="heredoc in a list"),
        pytest.param(r'x = "a\tb\u00e9\x41\101\"\\"', {"x": 'a\tbéAA"\\'}, id="escapes"),
        pytest.param(r'x = "{{ key \"a\" }}"', {"x": '{{ key "a" }}'}, id="a Go template in quotes"),
        pytest.param(r'x = "$A ${B:-\"c\"} \"d\""', {"x": r'$A ${B:-\"c\"} "d"'}, id="interpolation stays as it is"),
        pytest.param('x = <<EOF\n {{ a "b" }} ${c} \\n\n\nEOF\n', {"x": ' {{ a "b" }} ${c} \\n\n\n'}, id="heredoc"),
        pytest.param("x = <<EOF\nEOF\n", {"x": ""}, id="empty heredoc"),
        pytest.param("x = <<EOF\nEOFX\nEOF\n", {"x": "EOFX\n"}, id="heredoc with a line that begins as its end"),
        pytest.param("x = <<EOF\n  a\n  EOF\n", {"x": "  a\n  "}, id="heredoc whose end is indented"),
        pytest.param("x = <<-EOF\n   a\n     b\n   EOF\n", {"x": "a\n  b\n"}, id="indented heredoc"),
        pytest.param(
            "x = <<-EOF\n    a\n\n    b\n    EOF\n", {"x": "    a\n\n    b\n"}, id="one that has a blank line"
        ),
        pytest.param("x = <<-EOF\n a\n   EOF\n", {"x": " a\n"}, id="one that is indented less than its end"),
        pytest.param("x = <<EOF\r\na\r\nEOF\r\ny = 1\r\n", {"x": "a\n", "y": 1}, id="carriage returns"),
    ],
)
def test_a_text_is_read_as_hashicorp_reads_it(text, expected):
    assert plain(parse_hcl(text, "c.hcl")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("\ufeffa = 1", {"a": 1}, id="byte order mark"),
        pytest.param("x = <<EOF\na\nEOF", {"x": "a\n"}, id="no line break behind a heredoc"),
    ],
)
def test_two_things_are_read_that_hashicorp_refuses(text, expected):
    assert plain(parse_hcl(text, "c.hcl")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("consul {\n", "c.hcl:1:8: this brace is never closed"),
        (
            "x =\ny = 1",
            "c.hcl:2:1: expected a value: text in quotes, a number, true, false, a list or a block, found a bare word",
        ),
        (
            "x = yes",
            "c.hcl:1:5: expected a value: text in quotes, a number, true, false, a list or a block, found a bare word",
        ),
        ('x = {"a": 1}', "c.hcl:1:9: unexpected character ':'"),
        ('x "a" = 1', "c.hcl:1:7: expected {, found '='"),
        ("x 1", "c.hcl:1:3: expected = or {, found '1'"),
        ("= 1", "c.hcl:1:1: expected a key, found '='"),
        ("}", "c.hcl:1:1: expected a key, found '}'"),
        ('x = ["a" "b"]', "c.hcl:1:10: expected , or ], found 'b'"),
        ('x = ["a"', "c.hcl:1:9: expected , or ], found the end of the file"),
        ('x = "a\n"', "c.hcl:1:5: this text has no closing quote on its line; write <<EOF for several lines"),
        ('x = "${a"', "c.hcl:1:5: this text has a ${ without its }"),
        (r'x = "\q"', r"c.hcl:1:6: unknown escape; write \\ for a backslash"),
        ("x = <<EOF\na\n", "c.hcl:1:5: no line with 'EOF' alone ends this heredoc"),
        ("x = <<EOF a\nEOF\n", "c.hcl:1:5: a heredoc begins with <<NAME or <<-NAME at the end of its line"),
        ("/* x", "c.hcl:1:1: this comment has no end; write */"),
        ("x = " + "[" * 100, f"c.hcl:1:{5 + DEEPEST}: is nested too deeply"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_hcl(text, "c.hcl")
    assert str(caught.value) == message


def test_lines_comments_and_octal_numbers_are_kept():
    body = parse_hcl("# above\n\n/* and\n * more */\nperms = 0644 // behind\nx { # in it\n y = 1\n}\n# end\n", "c.hcl")
    first, second = body.items
    assert (first.line, first.comments) == (5, ("above", "and", "more", "behind"))
    assert isinstance(first.value, OctalNumber)
    assert second.value.items[0].comments == ("in it",)
    assert body.comments == ("end",)


@given(st.text(alphabet='ab{}[]="\n#/*\\$<E,1 .-', max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text):
    where = "c.hcl:"
    with contextlib.suppress(ConfigError):
        try:
            parse_hcl(text, "c.hcl")
        except ConfigError as exc:
            where = exc.where
            raise
    assert where.startswith("c.hcl:")
