import pytest

from ctemplate.nginx.language.parser import parse_config
from ctemplate.nginx.language.skeleton import departure, skeleton


def shapes(source):
    return list(skeleton(parse_config(source, where="x")))


def test_values_are_left_out():
    assert shapes(b"upstream a { server b:1 weight=2; }") == [
        (0, b"upstream", 1, True),
        (1, b"server", 2, False),
    ]
    assert shapes(b"upstream c { server [::1]:3 weight=4; }") == shapes(b"upstream a { server b:1 weight=2; }")


@pytest.mark.parametrize(
    ("benign", "hostile"),
    [
        pytest.param(b"a x;", b"a x y;", id="argument"),
        pytest.param(b"a x;", b"a;", id="argument-lost"),
        pytest.param(b"a x;", b"a x; b;", id="directive"),
        pytest.param(b"a { x; }", b"a { } x;", id="nesting"),
        pytest.param(b"a { }", b"a;", id="block"),
        pytest.param(b"map $a $b { k v; }", b"map $a $b { include v; }", id="include-as-key"),
        pytest.param(b"map $a $b { k v; }", b"map $a $b { default v; }", id="default-as-key"),
        pytest.param(b"map $a $b { k v; }", b"map $a $b { ~k v; }", id="regex-as-key"),
        pytest.param(b"server_name k;", b"server_name ~k;", id="regex-as-server-name"),
        pytest.param(b"include k;", b"include /etc/passwd;", id="include"),
        pytest.param(b"load_module k;", b"load_module /tmp/k.so;", id="module"),
        pytest.param(b"content_by_lua_block { a }", b"content_by_lua_block { b }", id="lua"),
        pytest.param(b"root k;", b"root /;", id="root"),
    ],
)
def test_structure_shows(benign, hostile):
    assert shapes(benign) != shapes(hostile)


def test_keys_of_a_map_are_data():
    assert shapes(b"map $a $b { x 1; y 2; }") == shapes(b"map $a $b { user 3; env 4; }")


def test_the_first_departure_is_named():
    candidate = parse_config(b"a b;\nc d;\nevil e;\nf;", where="x")
    expected = parse_config(b"a 1;\nc 2;\nf;", where="x")
    found, wanted = departure(candidate, skeleton(expected))
    assert (found.name, found.line, wanted) == (b"evil", 3, (0, b"f", 0, False))
    assert departure(candidate, skeleton(candidate)) is None


def test_a_departure_at_the_end_has_one_side():
    short, long = parse_config(b"a;", where="x"), parse_config(b"a; b;", where="x")
    assert departure(short, skeleton(long)) == (None, (0, b"b", 0, False))
    assert departure(long, skeleton(short)) == (long[1], None)
