"""Jinja, under our line rule, parses every laid-out text into exactly the same texts and tags."""

import jinja2
import pytest
from hypothesis import given, strategies as st

from ctemplate.convert.layout import Exact, LayoutBlock, Note, Print, Tag, laid_out, quoted
from ctemplate.template.language.lines import LineLexer


class LineEnvironment(jinja2.Environment):
    """Jinja with our line rule and nothing else of ours."""

    lexer = property(LineLexer)


ENVIRONMENT = LineEnvironment(keep_trailing_newline=True, autoescape=False)  # no HTML here

texts = st.builds(Exact, st.text('a {%#}-+\n\t\r"\\', max_size=8))
simple = st.one_of(
    texts,
    st.just(Print('"p"')),
    st.just(Tag("set x = 1")),
    st.builds(Note, st.sampled_from(["", "c", "- a #} -", "a\nb", "+"])),
)


def blocks(pieces):
    body = st.lists(pieces, max_size=4).map(tuple)
    return st.one_of(
        st.builds(
            lambda turns, inner: LayoutBlock(((f"for i in range({turns})", inner),), "endfor"), st.integers(0, 2), body
        ),
        st.builds(
            lambda test, yes, no: LayoutBlock(((f"if {test}", yes), ("else", no)), "endif"),
            st.sampled_from(["true", "false"]),
            body,
            body,
        ),
    )


pieces = st.lists(st.recursive(simple, blocks, max_leaves=8), max_size=6)


def output(pieces):
    """What the pieces mean."""
    parts = []
    for piece in pieces:
        if isinstance(piece, Exact):
            parts.append(piece.text)
        elif isinstance(piece, Print):
            parts.append("p")
        elif isinstance(piece, LayoutBlock):
            parts.append(meant(piece))
    return "".join(parts)


def meant(block):
    tag, body = block.branches[0]
    if tag.startswith("for"):
        return output(body) * int(tag[-2])
    return output(body if tag == "if true" else block.branches[1][1])


@given(pieces)
def test_the_layout_leaves_just_those_bytes(pieces):
    assert ENVIRONMENT.from_string(laid_out(pieces)).render() == output(pieces)


@given(st.text())
def test_a_text_in_quotes_is_that_text(text):
    assert ENVIRONMENT.from_string("{{ " + quoted(text) + " }}").render() == text


def loop(*body):
    return LayoutBlock((("for i in x", body),), "endfor")


LOOP, ENDED = "{% for i in x %}", "{% endfor %}"


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param((Exact("a\n"), loop(Exact("  b\n")), Exact("c")), f"a\n  {LOOP}\n  b\n  {ENDED}\nc", id="lines"),
        pytest.param((Exact("a "), loop(Exact("b")), Exact("\n")), f"a {LOOP}b{ENDED}\n", id="within a line"),
        pytest.param((Exact("  "), loop(Exact("b")), Exact("\n")), f"  {LOOP}b{ENDED}\n", id="text keeps it"),
        pytest.param((Exact("  "), loop(Exact("\n"))), "  {%+ for i in x +%}\n{% endfor %}\n", id="kept by a sign"),
        pytest.param((Exact("a {"), Tag("set x = 1"), Exact("b")), 'a {{ "{" }}{% set x = 1 %}b', id="brace"),
        pytest.param(
            (Exact("a {"), loop(Exact("\n  b;"))), "a {\n  {%- for i in x +%}\n  b;\n  {%- endfor %}", id="break"
        ),
        pytest.param((Exact("{{ {% {# {"),), '{{ "{" }}{ {{ "{" }}% {{ "{" }}# {', id="like Jinja"),
        pytest.param((Exact("a\r\n"),), 'a{{ "\\r" }}\n', id="carriage return"),
    ],
)
def test_how_it_looks(pieces, expected):
    assert laid_out(pieces) == expected
