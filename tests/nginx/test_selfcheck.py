from itertools import chain

import pytest

from ctemplate.nginx.selfcheck import Finding, Piece, Report, Unreadable, examine

STRUCTURE = "would change the structure of the configuration"


def report(source, *values, inside=b""):
    """Examine a source in which `@0`, `@1` … stand for the values."""
    first, *rest = source.split(b"@")
    pieces = [Piece(text=first)]
    for part in rest:
        number = int(part[:1])
        pieces += [Piece(text=values[number], data=number), Piece(text=part[1:])]
    return examine(pieces, inside=inside)


def breaks(*numbers):
    return Report(findings=tuple(Finding(data=number, reason=STRUCTURE, is_misplaced=False) for number in numbers))


@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        pytest.param(b"set $x @0;", (b"a",), Report(), id="a word"),
        pytest.param(b"set $x @0;", (b'"a b; c"',), Report(), id="a quoted word"),
        pytest.param(b"set $x @0;", (b"a; root /",), breaks(0), id="a second directive"),
        pytest.param(b"set $x @0;", (b"a b",), breaks(0), id="a second argument"),
        pytest.param(b"set $x a@0;", (b'"; root /; "',), breaks(0), id="a quoted word glued"),
        pytest.param(b"# @0\nset $x b;", (b"a\nroot /;",), breaks(0), id="a comment"),
        pytest.param(b"# @0\nset $x b;", (b"a; root /;",), Report(), id="a harmless comment"),
        pytest.param(b"# @0", (b"a\nroot /;",), breaks(0), id="a comment alone"),
        pytest.param(b"set $x @0; set $y @1; set $z @2;", (b"a", b"{", b"c"), breaks(1), id="the one among others"),
        pytest.param(b"a @0; b @1; c @2;", (b"x;y", b"z", b"u{}"), breaks(0, 2), id="two of three"),
        pytest.param(b"a @0; b @1;", (b'"x', b'y"'), breaks(0), id="the one that opens"),
        pytest.param(b"map $a $b { @0 1; }", (b"root",), Report(), id="a key"),
        pytest.param(b"map $a $b { @0 1; }", (b"include",), breaks(0), id="an instruction for a key"),
        pytest.param(b"server_name @0;", (b"~.",), breaks(0), id="a regular expression"),
        pytest.param(b"a {", (), Report(), id="no values"),
        pytest.param(b"a { @0;", (b"x",), Report(), id="not nginx's language at all"),
    ],
)
def test_values_that_change_the_structure_are_found(source, values, expected):
    assert report(source, *values) == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param(b"@0 x;", "would be the name of a directive", id="name"),
        pytest.param(b"proxy_@0 x;", "would be the name of a directive", id="part of a name"),
        pytest.param(b"load_module a/@0.so;", "would choose what 'load_module' loads", id="module"),
        pytest.param(b"http { include a b@0; }", "would choose what 'include' loads", id="include"),
        pytest.param(b"content_by_lua_block { x(@0) }", "would choose what 'content_by_lua_block' loads", id="lua"),
        pytest.param(b"error_log @0;", "would choose the file that 'error_log' opens", id="log"),
        pytest.param(b"ssl_certificate_key @0;", "would choose the file that 'ssl_certificate_key' opens", id="key"),
    ],
)
def test_values_in_places_where_none_belongs_are_found(source, reason):
    assert report(source, b"x") == Report(findings=(Finding(data=0, reason=reason),))


@pytest.mark.parametrize(
    "source", [b"ssl_certificate /etc/ssl/@0.pem;", b"access_log /var/log/@0.log;", b"upstream @0 { server @0:1; }"]
)
def test_values_within_a_path_or_a_name_are_fine(source):
    assert report(source, b"x") == Report()


def test_keys_of_a_file_within_a_map_are_data():
    assert report(b"@0 1;", b"root", inside=b"map") == Report()
    assert report(b"@0 1;", b"default", inside=b"map") == breaks(0)


def test_a_text_that_is_nginx_with_the_real_values_alone_is_unreadable():
    with pytest.raises(Unreadable) as caught:
        report(b'a "x"@0;', b"; root /")
    assert str(caught.value) == 'line 1: unexpected "\\x01"'


def test_a_word_of_many_values_that_is_too_long_is_theirs_alone():
    letters = [Piece(text=b"a", data=number) for number in range(10, 5010)]
    others = [[Piece(text=b"set $x "), Piece(text=b"b", data=number), Piece(text=b";")] for number in range(10)]
    pieces = [*chain(*others[:5]), Piece(text=b"set $y "), *letters, Piece(text=b";"), *chain(*others[5:])]
    found = {finding.data for finding in examine(pieces).findings}
    assert len(found) > 4000
    assert found.isdisjoint(range(10))


def test_many_values_of_one_print_are_one():
    pieces = [Piece(text=b"set $x "), *[Piece(text=b"a", data=0), Piece(text=b"")] * 5000, Piece(text=b";")]
    assert examine(pieces) == breaks(0)
