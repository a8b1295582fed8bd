"""The filters and tests of templates: groups, texts, numbers, documents, patterns; each keeps a value's owner."""

import base64
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given, strategies as st
from rendering import instance, load, message, render, text_of, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer
from ctemplate.template.language import documents, encodings, patterns
from ctemplate.template.language.arithmetic import divide, modulo
from ctemplate.template.language.grouping import by_first_step, explode, natural_sort
from ctemplate.template.safety.limits import TIME_CHECK
from ctemplate.template.safety.render_pass import Run

HOSTILE = "x; } server { listen 81"


def several():
    meta = ({"zone": "b", "v": "1"}, {"zone": "a", "v": "2"}, {"v": "10"})
    return world(("web", ("http",), tuple(instance("web", n, tags=("t", f"t{n}"), meta=meta[n]) for n in range(3))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{% for t, all in service('web') | by_tag %}{{ t }}={% for i in all %}{{ i.id }}+{% endfor %}{% endfor %}",
            "t=web-0+web-1+web-2+t0=web-0+t1=web-1+t2=web-2+",
        ),
        ("{% for tag, found in services() | by_tag %}{{ tag }}={{ found[0].name }}{% endfor %}", "http=web"),
        (
            "{% for z, found in service('web') | by_meta('zone', 'none') %}{{ z }}:{{ found | length }} {% endfor %}",
            "a:1 b:1 none:1 ",
        ),
        (
            ("{% for (z, r), found in service('web') | by_meta(['zone', 'rack'], 'none') %}"
            "{{ z }}+{{ r }}:{{ found | length }} {% endfor %}"),
            "a+none:1 b+none:1 none+none:1 ",
        ),
        ("{{ {'a': {'x': 1}, 'b': 1} | merge({'a': {'y': 2}, 'b': 2}) | to_json }}",
         '{"a": {"x": 1, "y": 2}, "b": 2}'),
        ("{{ {'a': {'x': 1}, 'b': 1} | merge({'a': {'x': 2}, 'c': 3}, override=false) | to_json }}",
         '{"a": {"x": 1}, "b": 1, "c": 3}'),
        (("{% for i in interfaces() if i.name == 'lo' and i.ip == '127.0.0.1' %}{{ i.network }} {{ i.version }} "
         "{{ i.is_loopback }} {{ i.is_private }}{% endfor %}"), "127.0.0.0/8 4 True False"),
        ("{{ {'a': 'yes', 'n': 'x\ny', 'b': '01', 'c': 'a b'} | to_yaml }}",
         'a: "yes"\nb: "01"\nc: a b\n"n": |-\n  x\n  y'),
        ("{% for port, found in service('web') | by_port %}{{ port }}:{{ found[0].id }} {% endfor %}",
         "8000:web-0 8001:web-1 8002:web-2 "),
        ("{{ ['a', 'b'] | contains_all(['a', 'b']) }} {{ ['a'] | contains_all(['a', 'b']) }}", "True False"),
        ("{{ [1] | contains_all([]) }} {{ [1] | contains_any([]) }} {{ [] | contains_none([]) }}", "True False True"),
        ("{{ ['a', 'b'] | contains_any(['c', 'b']) }} {{ ['a', 'b'] | contains_none(['c']) }}", "True True"),
        ("{{ ['a', 'b'] | not_contains('a') }} {{ ['a'] | not_contains(['a', 'b']) }}", "False True"),
        ("{% if service('web')[0].tags is contains_all(['t', 't0']) %}yes{% endif %}", "yes"),
        ("{% for k, v in 'a=1,b=2=3,c' | split_map(',', '=') | dictsort %}{{ k }}:{{ v }} {% endfor %}", "a:1 b:2=3 "),
        ("{{ ['web-10', 'web-9', 'Web-1', 'web-09'] | natural_sort | join(' ') }}", "Web-1 web-09 web-9 web-10"),
        ("{{ service('web') | natural_sort(attribute='meta.v') | map(attribute='meta.v') | join(' ') }}", "1 2 10"),
        ("{{ [3, 20] | natural_sort(reverse=true) | join(' ') }}", "20 3"),
        ("{{ -7 | divide(2) }} {{ 7 | divide(-2) }} {{ 7.0 | divide(2) }}", "-3 -3 3.5"),
        ("{{ -7 | modulo(2) }} {{ 7 | modulo(-2) }}", "-1 1"),
        ("{{ 'True' | bool }} {{ 'off' | bool }} {{ '' | bool }}", "True False False"),
        ("{{ 'x' | bool }} {{ 'x' | bool(true) }}", "False True"),
        ("{{ 'web-8080' is regex_match('^[a-z]+-[0-9]+$') }} {{ 'web' | regex_match('[0-9]') }}", "True False"),
        ("{{ ['a1', 'b'] | select('regex_match', '[0-9]') | join }}", "a1"),
        ("{{ 'web-8080' | regex_search('[0-9]+') }} {{ 'web-80' | regex_search('(?P<n>[a-z]+)-', 'n') }}", "8080 web"),
        ("{{ 'web' | regex_search('[0-9]+') | default('none', true) }}", "none"),
        ("{{ 'a-b-c' | regex_replace('([a-z])-', '${1}_') }}", "a_b_c"),
        ("{{ 'a-b' | regex_replace('(?P<x>a)-(b)', '$2.${x}') }} {{ 'ab' | regex_replace('b', '$$') }}", "b.a a$"),
        ("{{ 'baac' | regex_replace('a*', 'X') }}", "XbXcX"),
        ("{{ 'é-ü' | regex_replace('.', 'x') }}", "xxx"),
        ("{{ 'hello' | b64encode }} {{ 'aGVsbG8=' | b64decode }}", "aGVsbG8= hello"),
        ("{{ '??>' | b64url_encode }} {{ 'Pz8-' | b64url_decode }} {{ 'YQ' | b64url_decode }}", "Pz8- ??> a"),
        ("{{ 'a' | md5 }}", "0cc175b9c0f1b6a831c399e269772661"),
        ("{{ 'a' | sha1 }}", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
        ("{{ 'a' | sha256 }}", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
("{{ 'a' | hmac_sha256('k') }}", "78da91511e675587f5b9df78bedebaf5560da2abb88162ee875dcdf744951d9e"),
        ("{% set t = '{\"a\": {\"b\": [1, true, null]}}' | from_json %}{{ t.a.b[0] }} {{ t.a.b | length }}", "1 3"),
        ("{% set t = 'd: 2024-01-01\nt: 22:22\nm: on\nz: 007' | from_yaml %}{{ t.d }} {{ t.t }} {{ t.m }} {{ t.z }}",
         "2024-01-01 22:22 True 007"),
        ("{% set t = 'a: {b: x}\nn: [1, 0x10, 1.5]' | from_yaml %}{{ t.a.b }} {{ t.n | join(' ') }}", "x 1 16 1.5"),
        ("{% set t = 'a = 1\n[b]\nc = \"x\"' | from_toml %}{{ t.a }} {{ t.b.c }}", "1 x"),
        ("{% set t = '[012, 1_000, .inf, -.Inf, .nan, 0o14, 0b11, .5, y, n]' | from_yaml %}{{ t | join(' ') }}",
         "012 1_000 .inf -.Inf .nan 0o14 0b11 .5 y n"),
        ("{% set t = '[yes, No, on, OFF, TRUE, =]' | from_yaml %}{{ t | map('lower') | join(' ') }}",
         "true false true false true ="),
        ("{{ '{1: a, true: b, 1.0: c, null: d, t: {0: e, false: f}}' | from_yaml | to_json }}",
         '{"1": "a", "1.0": "c", "null": "d", "t": {"0": "e", "false": "f"}, "true": "b"}'),
        ("{{ '{1: a, true: b, 1: c}' | go_from_yaml | to_json }}", '{"1": "c", "true": "b"}'),
        ("{{ '{a: &a {1: x, 2: y}, b: {<<: *a, 1: z}}' | from_yaml | to_json }}",
         '{"a": {"1": "x", "2": "y"}, "b": {"1": "z", "2": "y"}}'),
        ("{{ '' | from_json | length }}{{ ' ' | from_yaml | length }}{{ '' | from_toml | length }}", "000"),
        ("{{ {'b': 1, 'a': [true, 'x']} | to_json }}", '{"a": [true, "x"], "b": 1}'),
        ("{{ {'b': 1, 'a': ['x']} | to_yaml }}", "a:\n- x\nb: 1"),
        ("{{ {'a': 1, 'b': {'c': 'x'}} | to_toml }}", 'a = 1\n\n[b]\nc = "x"'),
        ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "13"),
        ("{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3"),
        ("{% do require([1, 2], 2) %}{{ require(service('web'), 3) | length }}", "3"),
        ("{{ ['a', 'b', 'c'] | random(seed='x') == ['a', 'b', 'c'] | random(seed='x') }}", "True"),
        ("{{ now('unix') | int > 1000000000 }} {{ now() | length }}", "True 20"),
        ("{{ interface_ip('lo') }}", "127.0.0.1"),
    ],
)  # fmt: skip
def test_helpers(text, expected):
    assert text_of(text, several(), escape="none") == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{{ 'a' | regex_replace('(a)', '$1_') }}",
            "regular expression '(a)' has no group '1_'; write ${1} before what follows",
        ),
        ("{{ 'a' | regex_search('a', 1) }}", "regular expression 'a' has no group '1'"),
        ("{{ 'a' is regex_match('(') }}", "regular expression '(': missing ): ("),
        ("{{ 'a' is regex_match('(?=a)') }}", "regular expression '(?=a)': invalid perl operator: (?="),
        ("{{ 'x' | b64decode }}", "'x' is not base64"),
        ("{{ '/w==' | b64decode }}", "'/w==' is base64 of what is no UTF-8"),
        (
            "{{ '{' | from_json }}",
            "from_json: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ("{{ 'NaN' | from_json }}", "from_json: NaN is not JSON"),
        ("{{ 1 | merge({}) }}", "merge: only tables can be merged"),
        ("{{ 'a: [' | from_yaml }}", "from_yaml: did not find expected node content: line 2 column 1"),
        (
            "{{ '{1: a, \"1\": b}' | from_yaml }}",
            "from_yaml: the key '1' is there as a text and as a number: line 1 column 8",
        ),
        (
            "{{ '{\"true\": a, on: b}' | go_from_yaml }}",
            "go_from_yaml: the key 'true' is there as a text and as a truth value: line 1 column 13",
        ),
        (
            "{{ '[a, !!bool x]' | from_yaml }}",
            "from_yaml: the value does not have the form of its tag 'bool': line 1 column 5",
        ),
        (
            "{{ '!!int \"\"' | from_yaml }}",
            "from_yaml: the value does not have the form of its tag 'int': line 1 column 1",
        ),
        (
            "{{ '{a: !!timestamp x}' | go_from_yaml }}",
            "go_from_yaml: the value does not have the form of its tag 'timestamp': line 1 column 5",
        ),
        (
            "{{ '!!int [a]' | go_from_yaml }}",
            "go_from_yaml: the value does not have the form of its tag 'int': line 1 column 1",
        ),
        ("{{ '!!map [1, 2]' | from_yaml }}", "from_yaml: only a table may have the tag of one: line 1 column 1"),
        ("{{ '{a: !!map x}' | go_from_yaml }}", "go_from_yaml: only a table may have the tag of one: line 1 column 5"),
        ("{{ '{? [a] : b}' | from_yaml }}", "from_yaml: a list or table as a key: line 1 column 4"),
        ("{{ 'a: !!python/none' | from_yaml }}", "from_yaml: could not determine a constructor for the tag"),
        ("{{ 'a=' | from_toml }}", "from_toml: Invalid value (at end of document)"),
        ("{{ [1] | to_toml }}", "to_toml: only a table can be written as TOML"),
        ("{{ 1 | divide(0) }}", "divide: by zero"),
        ("{{ '1' | divide(1) }}", "divide: '1' is no number; write | int"),
        ("{{ 1.5 | modulo(1) }}", "modulo: whole numbers only; write | int"),
        ("{{ [] | random }}", "random: there is nothing to choose from"),
        ("{{ {'a': 1, 'a/b': 2} | explode }}", "explode: 'a' in 'a/b' is a value and a folder at once"),
        ("{{ {'a/b': 2, 'a': 1} | explode }}", "explode: 'a' is a value and a folder at once, or there twice"),
        ("{{ interface_ip('nope') }}", "interface_ip: no IPv4 address on the interface 'nope'; interfaces: lo"),
        ("{{ interface_ip('lo', 5) }}", "interface_ip: version must be 4 or 6, got 5"),
        ("{{ fail('no backends') }}", "no backends"),
        ("{{ require([1], 3) }}", "require: found 1, needs at least 3"),
    ],
)
def test_what_cannot_be_done_is_said(text, said):
    with pytest.raises(TemplateError) as caught:
        text_of(text)
    assert message(caught).startswith(f"t.j2:1: {said}")


def test_explode_makes_nested_tables():
    text = "{% set t = {'a/b/c': 1, 'a/d': 2, 'e': 3} | explode %}{{ t.a.b.c }}{{ t.a.d }}{{ t.e }}{{ t.a | length }}"
    assert text_of(text) == "1232"


class Pair(msgspec.Struct, frozen=True):
    key: str
    value: str | bytes


def test_keys_are_grouped_by_their_first_step():
    pairs = [Pair("b/x/y", "1"), Pair("a/x", "2"), Pair("alone", "3"), Pair("b/z", "4")]
    assert by_first_step(pairs) == [("a", [Pair("x", "2")]), ("b", [Pair("x/y", "1"), Pair("z", "4")])]
    assert explode([*pairs, Pair("empty/", "")]) == {"b": {"x": {"y": "1"}, "z": "4"}, "a": {"x": "2"}, "alone": "3"}


def test_bytes_are_encoded_and_read_but_never_taken_for_text():
    assert encodings.b64encode(b"\xff") == "/w=="
    assert encodings.sha1(b"a") == encodings.sha1("a")
    assert documents.from_json(b"[1]") == [1]
    with pytest.raises(ValueError, match="from_json: is not UTF-8: byte 0xff"):
        documents.from_json(b"\xff")
    with pytest.raises(TypeError, match="a value that is no UTF-8 cannot be printed"):
        patterns.regex_match(b"a", "a")


def test_fail_refuses_the_render_whichever_service_was_read():
    text = (
        "{% for s in services() %}{% if not service(s.name)[1:] %}{{ fail(s.name ~ ': short') }}{% endif %}{% endfor %}"
    )
    with pytest.raises(TemplateError, match=r"t\.j2:1: b: short"):
        render(text, world(web(name="a", count=2), web(name="b")))


def test_require_waits_for_answers():
    rendering = render("{{ require(service('web'), 2) | length }}{{ service('api') | length }}{{ fail('x') }}")
    assert len(rendering.missing) == 2


@pytest.mark.parametrize(
    "text",
    [
        "{% break %}",
        "{% for i in [1] %}{% else %}{% break %}{% endfor %}",
        "{% for i in [1] %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}",
        "{% for i in [1] %}{% call f() %}{% break %}{% endcall %}{% endfor %}",
        "{% for i in [1] %}{% block b %}{% break %}{% endblock %}{% endfor %}",
    ],
)
def test_break_without_a_loop_is_told_with_its_line(text):
    with pytest.raises(TemplateError) as caught:
        load("\n" + text)
    assert message(caught) == "t.j2:2: break belongs in a loop; a macro or call block cannot leave one around it"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% for i in [1, 2] %}{% set x %}a{% break %}{% endset %}{{ x }}{% endfor %}.", "."),
        ("{% for i in [1, 2] %}{% filter upper %}a{% continue %}{% endfilter %}{% endfor %}.", "."),
        ("{% for i in [1, 2] %}{% for j in [] %}{% else %}{{ i }}{% break %}{% endfor %}{% endfor %}", "1"),
        (
            "{% for i in [1, 2] %}{% with %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endwith %}{% endfor %}",
            "2",
        ),
    ],
)
def test_break_and_continue_leave_what_is_within_the_turn(text, expected):
    assert text_of(text) == expected


def test_continue_in_a_loop_over_services():
    text = "{% for s in services() %}{% if not service(s.name) %}{% continue %}{% endif %}{{ s.name }} {% endfor %}."
    assert text_of(text, world(web(name="a"), ("b", (), ()), web(name="c"))) == "a c ."


def test_break_in_an_inner_loop_leaves_the_outer_one_alone():
    text = "{% for s in services() %}{% for i in service(s.name) %}{{ i.id }} {% break %}{% endfor %}{% endfor %}"
    renderer = Renderer([load(text)])
    for count in (3, 3, 2):
        assert renderer.render(world(web(name="a", count=3), web(name="b", count=count))).texts == ("a-0 b-0 ",)


def test_now_is_one_moment_in_all_passes_of_a_render_and_not_kept():
    text = "{% for s in services() %}{{ service(s.name)[0].id }} {{ now('unix') }} {% endfor %}"
    template, snapshot = load(text), world(web(name="a"), web(name="b"))
    first = Run(snapshot=snapshot, moment=1_000_000_000.0, keeps=True)
    assert template.render(first) == template.render(first.again(keeps=True)) == "a-0 1000000000 b-0 1000000000 "
    second = Run(snapshot=snapshot, moment=1_000_000_007.9, keeps=True)
    assert template.render(second) == "a-0 1000000007 b-0 1000000007 "


def test_now_and_chance_pass_the_proof_of_nginxs_text():
    text = "http { # {{ now() }} {{ [1, 2, 3, 4, 5, 6, 7, 8] | random }}\n }"
    rendering = Renderer([load(text)]).render(Snapshot({}), [ConfigPlace()])
    assert rendering.texts[0].startswith("http { # 2")


REGISTERED = "service('web')[0].meta.x"
OWN_TEXT = {"x": HOSTILE}
PASSING = (
    "{} | b64encode | b64decode",
    "{} | b64url_encode | b64url_decode",
    "{} | regex_replace('q', '')",
    "'q' | regex_replace('q', {})",
    "{} | regex_search('.*')",
    "({} ~ '=v') | split_map('&', '=') | list | first",
    "(('k=' ~ {}) | split_map('&', '=')).k",
    "{} | to_json | from_json",
    "({{'k': {}}} | to_json | from_json).k",
    "({{'k': {}}} | to_yaml | from_yaml).k",
    "({{'k': {}}} | to_toml | from_toml).k",
    "{} | to_json",
    "{} | to_yaml",
    "{{'k': {}}} | to_toml",
    "[{}] | natural_sort | first",
    "[{}] | random(seed='a')",
    "[{}] | random",
    "({{'a/b': {}}} | explode).a.b",
    "{{{}: 1}} | explode | first",
    "require([{}], 1) | first",
)


def is_kept_out(expression):
    """Whether what a hostile service registered is refused where it is printed by that expression."""
    text = "{% for s in services() %}{{ " + expression + " }} {% endfor %}"
    snapshot = world(
        web(meta={"x": HOSTILE}, tags=(HOSTILE,)), *(web(name=n, meta={"x": "a"}, tags=("a",)) for n in "abc")
    )
    try:
        rendering = render(text, snapshot)
    except TemplateError as exc:  # JSON and its like are no token for anybody
        return "is no plain token" in str(exc)
    return [rejection.service for rejection in rendering.quarantined] == ["web"] and HOSTILE not in rendering.texts[0]


@pytest.mark.parametrize("expression", PASSING)
def test_a_registered_value_stays_registered(expression):
    assert is_kept_out(expression.format("service(s.name)[0].meta.x"))


@pytest.mark.parametrize("expression", PASSING)
def test_the_operators_own_value_stays_the_operators(expression):
    text = "{{ " + expression.format("var.x") + " }}"
    assert "server" in text_of(text, variables=OWN_TEXT)


@pytest.mark.parametrize("group", ["by_meta('x')", "by_tag"])
def test_the_keys_of_groups_are_registered(group):
    assert is_kept_out(f"(service(s.name) | {group} | first)[0]")


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "hmac_sha256('k')"])
def test_sums_of_registered_values_print_as_they_are(name):
    assert text_of(f"{{{{ {REGISTERED} | {name} }}}}", world(web(meta={"x": HOSTILE}))).isalnum()


def repeated(first, form):
    """A text of YAML in which each line stands for thirty times the line before."""
    lines = (f"{new}: &{new} {form.format(', '.join([f'*{old}'] * 30))}" for old, new in pairwise("abcdefghi"))
    return "\n".join((f"a: &a {first}", *lines))


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        ("from_json", "[" * 100_000),
        ("from_json", "[" * 70 + "]" * 70),
        ("from_yaml", "[" * 100_000),
        ("go_from_yaml", "[" * 100_000),
        ("go_from_yaml", repeated("{k: v}", "{{<<: [{}]}}")),
        ("from_yaml", "- " * 5000),
        ("from_yaml", repeated("[x]", "[{}]")),
        ("from_yaml", "&a [*a]"),
        ("from_yaml", repeated("{k: v}", "{{<<: [{}]}}")),
        ("from_toml", "a = " + "[" * 100_000),
        ("from_json", "9" * 5000),
        ("from_json", " " * (documents.MAX_DOCUMENT + 1)),
    ],
)  # fmt: skip
def test_a_document_that_is_too_much_costs_its_owner_alone(reader, text):
    template = f"{{% for s in services() %}}{{{{ (service(s.name)[0].meta.x | {reader}) | length }}}} {{% endfor %}}"
    good = {"from_json": "[1]", "from_yaml": "[1]", "go_from_yaml": "[1]", "from_toml": "a = 1"}[reader]
    rendering = render(template, world(web(name="bad", meta={"x": text}), web(name="good", meta={"x": good})))
    assert [rejection.service for rejection in rendering.quarantined] == ["bad"]
    assert rendering.texts == ("1 ",)


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"(a|a)*b", r"(.*a){20}b", r"^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_pattern_takes_exponential_time(pattern):
    assert patterns.regex_match("a" * 40_000, pattern) in {True, False}  # Python's own takes years for some of these


def test_a_replacement_is_bounded():
    with pytest.raises(TemplateError, match="a text of more than"):
        text_of("{{ ('a' * 16000) | regex_replace('a', 'b' * 16000) }}")


@given(st.text(max_size=50))
def test_base64_gives_back_what_it_was_given(text):
    snapshot = world(web(meta={"x": text}))
    assert base64.b64encode(text.encode()).decode() == text_of(
        f"{{{{ {REGISTERED} | b64encode }}}}", snapshot, escape="none"
    )
    assert text_of(f"{{{{ {REGISTERED} | b64encode | b64decode }}}}", snapshot, escape="none") == text


plain_values = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)


def nested_values(inner):
    """Values, and lists and tables of them."""
    return inner | st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)


tables = nested_values(nested_values(nested_values(plain_values)))


@given(st.dictionaries(st.text(max_size=10), tables, min_size=1, max_size=4))
def test_documents_come_back_as_they_were_written(table):
    assert documents.from_json(documents.to_json(table)) == table
    line_end = "\n"  # behind the print, as in a file: without it a text that ends in a line break would lose that
    assert documents.from_yaml(documents.to_yaml(table) + line_end) == table
    assert documents.from_yaml(documents.yaml(table)) == table


def without_nothing(value):
    """TOML has no null."""
    if isinstance(value, dict):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    return [without_nothing(item) for item in value if item is not None] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=10), tables, min_size=1, max_size=4))
def test_toml_comes_back_as_it_was_written(table):
    table = without_nothing(table)
    assert documents.from_toml(documents.to_toml(table)) == table or not table


@given(st.integers(-1000, 1000), st.integers(-50, 50).filter(bool))
def test_division_is_gos(value, by):
    assert divide(value, by) == int(value / by)
    assert divide(value, by) * by + modulo(value, by) == value


@given(st.lists(st.text("ab01", max_size=6)))
def test_natural_order_is_one_order(values):
    assert natural_sort(None, values) == natural_sort(None, list(reversed(values)))


def test_the_time_of_a_render_is_looked_at_after_every_match():
    def over():
        raise TimeoutError

    token = TIME_CHECK.set(over)
    try:
        with pytest.raises(TimeoutError):
            patterns.regex_replace("a,a,a", "[^,]+(?:,.*;)?", "x")
    finally:
        TIME_CHECK.reset(token)


def test_the_time_of_a_render_ends_a_replacement_within_its_filter():
    text = "{{ ('a,' * 100000) | regex_replace('[^,]+(?:,.*;)?', 'x') | length }}"
    with pytest.raises(TemplateError, match="still rendering after"):
        render(text, timeout=0.05)


YAML_PIECES = [
    *"{}[]:, a1~\n<'\"#=|",
    "- ",
    "? ",
    "&a ",
    "*a",
    "<<",
    *(
        f"!!{tag} "
        for tag in [
            "map",
            "set",
            "omap",
            "pairs",
            "seq",
            "str",
            "int",
            "float",
            "bool",
            "null",
            "binary",
            "timestamp",
            "merge",
            "value",
        ]
    ),
]


@given(st.lists(st.sampled_from(YAML_PIECES), max_size=12).map("".join), st.sampled_from(["from_yaml", "go_from_yaml"]))
@example("!!map [1]", "from_yaml")
def test_any_text_of_yaml_is_a_value_or_an_error_of_its_own(text, reader):
    try:
        read = getattr(documents, reader)(text)
    except ValueError:
        return
    assert isinstance(read, dict | list | str | int | float | None)
