"""The filters of converted templates print as Go does; the expected output comes from consul-template 0.42.1."""

import jinja2
import pytest

from ctemplate.template.language.go_values import go_items, go_json, go_length, go_quote, go_text, go_title, go_values

SERVERS = [{"port": 80, "host": "a"}, {"host": "b"}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(8080, "8080", id="number"),
        pytest.param(1234567, "1.234567e+06", id="a large number of JSON is a float"),
        pytest.param(0.25, "0.25", id="fraction"),
        pytest.param(2.5e-7, "2.5e-07", id="small fraction"),
        pytest.param(1e21, "1e+21", id="exponent"),
        pytest.param(0, "0", id="zero"),
        pytest.param(-1500000.5, "-1.5000005e+06", id="negative"),
        pytest.param(True, "true", id="boolean"),
        pytest.param(None, "<no value>", id="null"),
        pytest.param(jinja2.Undefined(), "<no value>", id="missing"),
        pytest.param({"b": 1, "a": None}, "map[a:<nil> b:1]", id="table"),
        pytest.param(SERVERS, "[map[host:a port:80] map[host:b]]", id="nested"),
        pytest.param("x", "x", id="text"),
    ],
)
def test_values_print_as_in_go(value, expected):
    assert go_text(value) == expected


def test_whole_numbers_of_yaml_stay_whole():
    assert go_text([1234567, 1.5], whole=True) == "[1234567 1.5]"


def test_tables_go_in_the_order_of_their_keys():
    assert go_items({"b": 1, "a": 2}) == [("a", 2), ("b", 1)]
    assert go_items(["x", "y"]) == [(0, "x"), (1, "y")]
    assert go_values({"b": 1, "a": 2}) == [2, 1]
    assert (go_values(None), go_items(jinja2.Undefined())) == ([], [])


def test_what_cannot_be_ranged_over_is_an_error():
    with pytest.raises(TypeError, match="a str cannot be ranged over"):
        go_items("text")


def test_json_is_written_as_in_go():
    assert go_json({"b": [1.0, 0.5], "a": "<&>"}) == r'{"a":"\u003c\u0026\u003e","b":[1,0.5]}'
    assert go_json(SERVERS[1:], indent=2) == '[\n  {\n    "host": "b"\n  }\n]'


def test_texts_are_quoted_capitalised_and_measured_as_in_go():
    assert go_quote('a"\t\x07\x7fé\u2028') == r'"a\"\t\a\x7fé\u2028"'
    assert go_title("hello wORLD x-y it's") == "Hello WORLD X-Y It's"
    assert (go_length("é"), go_length([1, 2])) == (2, 2)
