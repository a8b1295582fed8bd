import re
import urllib.parse

import pytest
from hypothesis import assume, given, strategies as st

from ctemplate.nginx.language.parser import parse_config
from ctemplate.nginx.language.quoting import (
    MAX_COMMENT,
    MAX_QUOTED_BYTES,
    MAX_TOKEN,
    UnsafeTextError,
    comment,
    identifier,
    is_plain_token,
    quote,
)
from ctemplate.nginx.language.skeleton import skeleton

ANY = st.text(alphabet=st.one_of(st.sampled_from(" ;{}#\"'\\$\r\n\t\0)~./a\u202e\u200b"), st.characters()), max_size=40)
PLACES = ["a %s;", 'a "%s";', "a '%s';", "a x%s;", "a x%sy z;", "# %s\nx;", "%s b;", "a { b %s; } c;", "a %s { b; }"]


def arguments(source):
    (directive,) = parse_config(source.encode(), where="x")
    return [argument.decode() for argument in directive.args]


@pytest.mark.parametrize(
    "value",
    ["web", "10.0.0.1:80", "[2001:db8::1]:80", "http://a.b/c~d", "a@b+c%20", "...", "env=prod", "a,b", "a*b?c=d&e!"],
)
def test_plain_values_are_tokens(value):
    assert is_plain_token(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "a b",
        "a;",
        "a{",
        "a}",
        "a#",
        'a"',
        "a'",
        "a\\",
        "$a",
        "a\n",
        "a\r",
        "a\0",
        "\u00e4",
        "\u0661",
        "a\u200b",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "x" * (MAX_TOKEN + 1),
        "=a",
        "*",
        "!a",
        "?",
        "-a=b",
        "/a*",
        "a=b/../c",
        "a(b)",
    ],
)
def test_other_values_are_not(value):
    assert not is_plain_token(value)


@given(ANY)
def test_a_quoted_text_is_one_argument_with_the_text(value):
    try:
        quoted = quote(value)
    except UnsafeTextError:
        assert re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f$\ud800-\udfff]", value)
        return
    assert arguments(f"a {quoted};") == [value]
    assert "\n" not in quoted


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param("$x", "'$' would start a variable, and nginx has no escape for it", id="dollar"),
        pytest.param("a\nb", "control characters cannot be quoted", id="line-feed"),
        pytest.param("a\x85", "control characters cannot be quoted", id="next-line"),
        pytest.param("\ud800", "text is not valid Unicode", id="surrogate"),
        pytest.param("x" * (MAX_QUOTED_BYTES + 1), "more than 4093 bytes do not fit into an argument", id="long"),
        pytest.param("\u00e4" * 2047, "more than 4093 bytes do not fit into an argument", id="long-in-bytes"),
    ],
)
def test_what_quotes_cannot_carry_is_refused(value, message):
    with pytest.raises(UnsafeTextError) as raised:
        quote(value)
    assert str(raised.value) == message


def test_a_dollar_is_what_the_template_says():
    assert quote("a$b", dollar="${dollar}") == '"a${dollar}b"'


@given(ANY, st.sampled_from(PLACES))
def test_a_comment_changes_no_structure_anywhere(value, place):
    # as a name it names a directive, which is why the name is left out of the comparison
    shapes = [
        [shape[2:] for shape in skeleton(parse_config((place % text).encode(), where="x"))]
        for text in (comment(value), "x")
    ]
    assert shapes[0] == shapes[1]


@given(ANY)
def test_a_quoted_text_in_a_comment_stays_there(value):
    assume(not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f$\ud800-\udfff]", value))
    assert parse_config(f"# {quote(value)}\nx;".encode(), where="x") == parse_config(
        b"# " + b"." * len(quote(value).encode()) + b"\nx;", where="x"
    )


@given(ANY)
def test_a_quoted_text_within_single_quotes_stays_there(value):
    assume(not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f$\ud800-\udfff]", value))
    assert arguments(f"a '{quote(value)}';") == [f'"{value}"']


@given(ANY.filter(lambda value: not re.search(r"[\ud800-\udfff]", value)))
def test_a_comment_can_be_read_back(value):
    text = comment(value)
    assert len(text) <= MAX_COMMENT
    assert text.endswith("...") or value in ("", urllib.parse.unquote(text))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("v=1.2", "v=1.2"),
        ("", "-"),
        ("a b", "a%20b"),
        ("x\nserver 6.6.6.6;", "x%0Aserver%206.6.6.6%3B"),
        ("x" * 201, "x" * 197 + "..."),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_a_comment_reads_well(value, expected):
    assert comment(value) == expected


@pytest.mark.parametrize("name", ["web", "go.micro.srv.greeter", "my_svc-8080", "A", "x" * 63, "_a", "1"])
def test_a_plain_name_stays(name):
    assert identifier(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a b", "a_b-c8687a08aa5d6ed2"),
        ("", "_-e3b0c44298fc1c14"),
        ("..", "__-5ec1f7e700f37c3d"),
        ("a/../b", "a__._b-900ea8b7e0d8fe30"),
        ("web.", "web_-4534c3392c4e2bbe"),
        ("a..b", "a_.b-f62b42414c514fa6"),
        ("-a", "_a-c274891790345c56"),
        ("x" * 64, "x" * 46 + "-7ce100971f64e700"),
    ],
)
def test_another_name_keeps_its_readable_part(name, expected):
    assert identifier(name) == expected


def test_a_name_that_looks_made_is_made_anew():
    made = identifier("a b")
    assert identifier(made) not in (made, identifier("a b"))


def test_a_taken_name_is_made_anew():
    assert identifier("Backend", taken={"backend"}).startswith("Backend-")


NAMES = st.one_of(ANY, st.text(alphabet="ab_.- /", max_size=70), ANY.map(identifier))


@given(st.lists(NAMES, unique=True, min_size=2, max_size=8))
def test_no_two_names_share_an_identifier(names):
    made = [identifier(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(is_plain_token(name) and len(name) <= 63 and not name.startswith("-") for name in made)
    assert all(label for name in made for label in name.split("."))
