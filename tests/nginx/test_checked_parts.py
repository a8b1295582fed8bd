"""A part of a text is checked alike whatever numbers its values have, and as strictly as the text itself."""

import pytest
from hypothesis import given, strategies as st

from ctemplate.nginx.language.value_check import Piece, UnreadableText, check_part, examine

FORMS = (
    "upstream @ { server @:@; }\n",
    "server { listen @; server_name @ @; location @ { proxy_pass http://@; } }\n",
    'map $host $to { @ "@"; ~@ b; include @; }\n',
    "server { set $a @; proxy_pass http://$a; root /srv/@@/x; error_page 404 /@; }\n",
    "server { rewrite @ /@ last; if ($arg_a @ '@') { return 200; } access_log syslog:server=@,tag=a; }\n",
    "upstream a { server 10.0.0.1; # @\n } @\n",
)
VALUES = (
    "web",
    "10.0.0.1",
    "8080",
    "a b",
    "a;",
    "}",
    "{",
    '"',
    "'",
    "\\",
    "$host",
    "..",
    "~a",
    "*.a",
    "=",
    "",
    "a\n",
    "@",
)


def pieces(form, values, numbers):
    own = iter(zip(numbers, values, strict=True))
    found = []
    for number, text in enumerate(form.split("@")):
        if number:
            data, value = next(own)
            found.append(Piece(text=value.encode(), data=data))
        found.append(Piece(text=text.encode()))
    return found


@st.composite
def part(draw):
    form = draw(st.sampled_from(FORMS))
    count = form.count("@")
    values = draw(st.lists(st.sampled_from(VALUES), min_size=count, max_size=count))
    numbers = draw(st.lists(st.integers(0, 10_000), min_size=count, max_size=count, unique=True))
    return form, values, numbers


@given(part=part(), inside=st.sampled_from([b"", b"http", b"stream", b"map"]))
def test_the_numbers_of_values_change_nothing_but_themselves(part, inside):
    form, values, numbers = part
    found = check_part(pieces(form, values, numbers), inside=inside)
    counted = check_part(pieces(form, values, range(len(numbers))), inside=inside)
    assert found == (counted and counted.renumbered(numbers))


@given(part=part(), inside=st.sampled_from([b"", b"http", b"stream", b"map"]))
def test_a_part_that_passes_has_no_value_that_the_whole_text_would_refuse(part, inside):
    found = check_part(pieces(*part), inside=inside)
    try:
        report = examine(pieces(*part), inside=inside)
    except UnreadableText:
        assert found is None
        return
    of_its_own = [one for one in report.findings if not one.rests_on_others and "through" not in one.reason]
    assert found is None or not of_its_own


@pytest.mark.parametrize("order", [("web", "a;"), ("a;", "web")])
def test_parts_of_one_form_are_judged_by_their_own_values(order):
    judged = {value: check_part(pieces("upstream @ { }\n", [value], [7]), inside=b"http") for value in order}
    assert judged["a;"] is None
    assert judged["web"].uses.names == ((("http upstream", b"web"), frozenset({7})),)
