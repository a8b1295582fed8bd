import contextlib
import re
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from ctemplate.nginx.language.lexer import TOKEN_LIMIT_BYTES, NginxSyntaxError, Word
from ctemplate.nginx.language.parser import MAX_DEPTH, Directive, parse_config, walk, words

CONFIG = b"""# main
user  www-data;
http {
    server_name
        "a b" ${x}c;
    empty { }
}
"""


def names_and_args(source):
    return [(directive.name, *directive.args) for directive in parse_config(source, where="x")]


def test_a_file_becomes_directives_with_lines_and_offsets():
    http = CONFIG.index(b"http")
    name = CONFIG.index(b"server_name")
    empty = CONFIG.index(b"empty")
    assert parse_config(CONFIG, where="x") == (
        Directive(name=b"user", args=(b"www-data",), line=2, last_line=2, start=7, end=7 + len(b"user  www-data;")),
        Directive(
            name=b"http",
            args=(),
            line=3,
            last_line=3,
            start=http,
            end=http + 6,
            block=(
                Directive(
                    name=b"server_name",
                    args=(b"a b", b"${x}c"),
                    line=4,
                    last_line=5,
                    start=name,
                    end=CONFIG.index(b"c;") + 2,
                ),
                Directive(name=b"empty", args=(), line=6, last_line=6, start=empty, end=empty + 7, block=()),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(b"a b;", [(b"a", b"b")], id="plain"),
        pytest.param(b"a b}c#d\"e'f;", [(b"a", b"b}c#d\"e'f")], id="special-at-the-start-only"),
        pytest.param(b'a "b;{}#" \'c"\';', [(b"a", b"b;{}#", b'c"')], id="quotes"),
        pytest.param(b"a \"\" '';", [(b"a", b"", b"")], id="empty-arguments"),
        pytest.param(rb"a b\"\'\\\t\r\n;", [(b"a", b"b\"'\\\t\r\n")], id="escapes"),
        pytest.param(rb"a \;\ \{\$\x;", [(b"a", rb"\;\ \{\$\x")], id="a-backslash-stays-before-others"),
        pytest.param(b"a ${b}{c;}", [(b"a", b"${b}")], id="a-brace-ends-a-token"),
        pytest.param(b"a ${{b;", [(b"a", b"${{b")], id="no-brace-opens-after-dollar"),
        pytest.param(b'a "b")c;', [(b"a", b"b", b")c")], id="a-parenthesis-may-follow-a-quote"),
        pytest.param(b"a # b;\n c;", [(b"a", b"c")], id="comment-within"),
        pytest.param(b"# a\rb;\nc;", [(b"c",)], id="carriage-return-ends-no-comment"),
        pytest.param(b"a\x0bb\x0c\x00c\xff;", [(b"a\x0bb\x0c\x00c\xff",)], id="odd-bytes-are-ordinary"),
        pytest.param(b'"a" b;', [(b"a", b"b")], id="quoted-name"),
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"# a", [], id="comment-without-end"),
    ],
)
def test_arguments_are_read_as_nginx_reads_them(source, expected):
    assert names_and_args(source) == expected


UNFINISHED = 'unexpected end of file, expecting ";" or "}"'


@pytest.mark.parametrize(
    ("source", "line", "what"),
    [
        pytest.param(b"a\n}", 2, 'unexpected "}"', id="brace-within"),
        pytest.param(b"a;\n\n}", 3, 'unexpected "}"', id="brace-too-many"),
        pytest.param(b";", 1, 'unexpected ";"', id="semicolon"),
        pytest.param(b"\n{", 2, 'unexpected "{"', id="opening"),
        pytest.param(b"a {\nb;", 2, 'unexpected end of file, expecting "}"', id="open-block"),
        pytest.param(b"a\nb\n", 3, UNFINISHED, id="no-semicolon"),
        pytest.param(b'a "b;', 1, UNFINISHED, id="open-quote"),
        pytest.param(b"a \\", 1, UNFINISHED, id="last-backslash"),
        pytest.param(b'a "b"c;', 1, 'unexpected "c"', id="after-a-quote"),
        pytest.param(b'a "b"\x1b;', 1, 'unexpected "\\x1b"', id="control-is-shown-escaped"),
        pytest.param(b"map $a $b {\n x y { z; } }", 2, 'unexpected "{"', id="block-in-a-map"),
        pytest.param(
            b"\n" + b"x" * TOKEN_LIMIT_BYTES + b";", 2, 'too long parameter "xxxxxxxxxx..." started', id="long-bare"
        ),
        pytest.param(
            b'a "' + b"x" * TOKEN_LIMIT_BYTES + b'";',
            1,
            'too long parameter, probably missing terminating """ character',
            id="long-quoted",
        ),
        pytest.param(
            b"#" + b"x" * TOKEN_LIMIT_BYTES + b"\n", 1, 'too long parameter "#xxxxxxxxx..." started', id="long-comment"
        ),
        pytest.param(
            b"a{" * (MAX_DEPTH + 1), 1, f"more than {MAX_DEPTH} blocks within each other", id="bottomless"
        ),
    ],
)  # fmt: skip
def test_a_fault_has_nginx_words_and_line(source, line, what):
    with pytest.raises(NginxSyntaxError) as raised:
        parse_config(source, where="a.conf")
    assert (raised.value.where, raised.value.line, raised.value.what) == ("a.conf", line, what)
    assert str(raised.value) == f"a.conf:{line}: {what}"


def test_entries_of_an_included_file_hold_no_blocks():
    with pytest.raises(NginxSyntaxError, match=r'unexpected "\{"'):
        parse_config(b"a { b; }", where="x", inside=b"map")


@pytest.mark.parametrize(
    "lua",
    [
        b'local a = "}" -- }\nif a then b = {1, {2}} end',
        b"--[[ } ]] a = [==[ }}} ]] ]==]",
        b"a = 'it\\'s }'",
        b"a = b - c[1] .. d[e[1]]",
    ],
)
def test_a_lua_block_is_one_argument(lua):
    source = b"content_by_lua_block {" + lua + b"}\nafter;"
    first, second = parse_config(source, where="x")
    assert (first.name, first.args, first.block) == (b"content_by_lua_block", (lua,), ())
    assert (second.name, second.line) == (b"after", 2 + lua.count(b"\n"))


@pytest.mark.parametrize("lua", [b"a", b'"}', b"[[ }", b"{ }"])
def test_an_open_lua_block_is_a_fault(lua):
    with pytest.raises(NginxSyntaxError, match='expecting "}"'):
        parse_config(b"x_by_lua_block {" + lua + b"", where="x")


def test_words_tell_where_each_argument_stands():
    source = b"x;\n include 'a b' # c\n \\\"d;"
    directive = parse_config(source, where="x")[1]
    assert words(source, directive) == (
        Word(value=b"include", start=4, end=11, quoted=False),
        Word(value=b"a b", start=12, end=17, quoted=True),
        Word(value=b'"d', start=23, end=26, quoted=False),
    )


def test_walk_goes_in_the_order_of_the_file():
    directives = parse_config(b"a { b { c; } d; } e;", where="x")
    assert [(depth, parent, directive.name) for depth, parent, directive in walk(directives)] == [
        (0, b"", b"a"),
        (1, b"a", b"b"),
        (2, b"b", b"c"),
        (1, b"a", b"d"),
        (0, b"", b"e"),
    ]


@given(st.text(alphabet=" \n;{}#\"'\\$a)", max_size=60).map(str.encode))
def test_any_text_is_read_or_refused_and_places_hold(source):
    with contextlib.suppress(NginxSyntaxError):
        check_places(source, parse_config(source, where="x"))


def check_places(source, directives):
    for _, _, directive in walk(directives):
        found = words(source, directive)
        assert tuple(word.value for word in found) == (directive.name, *directive.args)
        assert directive.start == found[0].start
        assert directive.line == source.count(b"\n", 0, directive.start) + 1
        assert directive.last_line == source.count(b"\n", 0, directive.end) + 1
        assert source[directive.end - 1 : directive.end] == (b";" if directive.block is None else b"{")


TOKENS = st.sampled_from(
    [
        b"a",
        b" ",
        b";",
        b"a b;",
        b"{",
        b"a {",
        b"}",
        b"\n",
        b"sought;",
        b"map {",
        b"x_by_lua_block {",
        b"-- }\n",
        b"# {\n",
        b"'",
        b'"',
        b"'}'",
        b"$",
        b"${a}",
        b"\\",
        b"a { b { sought c; } }",
        b"a { b { } d; }",
    ]
)


def whole_directives(blocks):
    return st.lists(TOKENS | blocks, max_size=6).map(lambda parts: b"a {" + b" ".join(parts) + b"}\n")


@given(st.lists(TOKENS | st.recursive(TOKENS, whole_directives, max_leaves=12), max_size=8).map(b"".join))
def test_what_is_sought_is_found_whatever_is_passed_over(source):
    def found(directives):
        every = walk(directives)
        return [(place, replace(one, block=None)) for *place, one in every if place[0] == 0 or b"sought" in one.name]

    with contextlib.suppress(NginxSyntaxError):
        whole = found(parse_config(source, where="x"))
        assert found(parse_config(source, where="x", sought=re.compile(b"sought"))) == whole


def test_blocks_without_what_is_sought_come_empty():
    source = b"a { b { c; } }\nd { sought; }\ne { f; # sought\n }\n"
    found = parse_config(source, where="x", sought=re.compile(b"sought"))
    assert [(one.name, one.line, len(one.block)) for one in found] == [(b"a", 1, 0), (b"d", 2, 1), (b"e", 3, 1)]


@given(st.lists(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=4), max_size=5))
def test_escaped_arguments_come_back(statements):
    def escaped(raw):
        return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'

    source = b"\n".join(b" ".join(map(escaped, statement)) + b";" for statement in statements)
    assert names_and_args(source) == [tuple(statement) for statement in statements]
