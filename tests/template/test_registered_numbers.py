"""A number made of a registered text stays registered: it prints as a value but chooses no host or port."""

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st
from rendering import load, text_of, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import KeyQuery
from ctemplate.queries.key import KeyEntry
from ctemplate.template import Renderer

META = {"n": "8500", "f": "8500.5", "j": '{"p": 8500, "l": [8500.5]}', "x": "12345678", "h": "2130706433"}
EACH, END = "{% for s in services() %}{% for i in service(s.name) %}", "{% endfor %}{% endfor %}"
AUTHORITY = "would choose where"

REGISTERED = (
    "(i.meta.n | int)",
    "(i.meta.f | float)",
    "(i.meta.j | from_json).p",
    "(i.meta.j | from_json).l[0]",
    "(i.meta.j | from_yaml).p",
    "('p = ' ~ i.meta.n) | from_toml | dictsort | first | last",
    "(i.meta.x | length)",
    "i.meta.n.count('0')",
    "i.meta.n.find('0')",
    "('8500x' | replace('x', i.meta.n)).index('0')",
    "(i.meta.x | wordcount)",
    "(i.meta.x | go_length)",
    "([i.meta.n] | map('int') | first)",
    "([i.meta.n | int] | sum)",
    "(range(i.meta.n | int, 8501) | first)",
    "(range(i.meta.n | int, 8501) | list | last)",
    "(i.meta | length)",
    "(i.meta.n | int).real",
    "([i.meta.n | int] | map(attribute='real') | first)",
    "(i.meta.n | int | attr('real'))",
    "i.meta.n | int | attr('numerator')",
    "s.listen_port",
)
OWN = ("i.port", "8", "('12' | int)", "(var.port | int)", "('[7]' | from_json)[0]", "2.5", "('abc' | length)")
OPERATIONS = (
    "({} + 1)", "(1 + {})", "(2.5 + {})", "({} - 1)", "(9.5 - {})", "({} * 2)", "(0.5 * {})", "({} // 1)", "({} / 1)",
    "({} ** 1)", "({} * 3 / 2)", "({} % 70000)", "(-{})", "(+{})", "({} | abs)", "({} | round)",
    "({} | int)", "({} | float)", "([1, {}] | sum)", "([{}] | max)", "([0, {}] | last)", "({} | string | float)",
    "(({} ~ '') | float)", "(('%s' % {}) | float)", "('{{}}'.format({}) | float)", "({} | json | from_json)",
    "([{}] | json | from_json)[0]", "dict(a={}).a", "({} | int | divide(1))", "({} | int | modulo(70000))",
    "({} if true else 1)", "namespace(k={}).k", "([{}] | batch(1) | first | first)",
    "([{}] | unique | first)",    "({{'k': {}}} | dictsort | first | last)", "({{'k': {}}} | to_yaml | from_yaml).k",
)  # fmt: skip


def made_of(atoms):
    """Expressions of up to three operations over one of the atoms."""

    def nested(atom, operations):
        for operation in operations:
            atom = operation.format(atom)
        return atom

    return st.builds(nested, st.sampled_from(atoms), st.lists(st.sampled_from(OPERATIONS), max_size=3))


def left_out(line, *services):
    """The faults of services in a template that prints the line for each; the line is not new, and others pass it."""
    source = f"http {{ {EACH}\nserver {{ location /{{{{ i.id }}}} {{ {line} }} }}{END}\n}}"
    renderer = Renderer([load(source, variables={"port": "9000"})])
    renderer.render(world(*GOOD), [ConfigPlace()])
    renderer.accept()
    rendering = renderer.render(world(*services), [ConfigPlace()])
    return rendering.texts[0], {rejection.service: rejection.reason for rejection in rendering.quarantined}


EVIL, GOOD = web(name="evil-8500", meta=META), [web(name=f"good{number}") for number in range(3)]


def only_for_evil(line):
    return f"{{% if i.meta %}}{line}{{% endif %}}"


@settings(max_examples=examples(40))
@given(made_of(REGISTERED))
def test_no_number_made_of_registered_text_chooses_a_port(expression):
    line = only_for_evil(f"proxy_pass http://127.0.0.1:{{{{ {expression} }}}}/;")
    text, rejections = left_out(line, EVIL, *GOOD)
    assert set(rejections) == {"evil-8500"}
    assert "proxy_pass" not in text


@settings(max_examples=examples(40))
@given(made_of(OWN))
def test_a_number_of_the_template_or_of_consuls_form_prints_anywhere(expression):
    text, rejections = left_out(f"proxy_pass http://127.0.0.1:{{{{ {expression} }}}}/;", EVIL, *GOOD)
    assert not rejections
    assert text.count("proxy_pass") == 4


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("proxy_pass http://{{ i.meta.h | int }};", id="a host that is a number"),
        pytest.param("proxy_pass http://127.0.0.{{ i.meta.n | int % 200 }}:80;", id="a part of a host"),
        pytest.param("fastcgi_pass 127.0.0.1:{{ i.meta.n | int }};", id="fastcgi"),
        pytest.param("resolver 10.0.0.1:{{ i.meta.n | int }};", id="resolver"),
        pytest.param("set $p {{ i.meta.n | int }}; proxy_pass http://127.0.0.1:$p;", id="by way of a variable"),
        pytest.param("access_log syslog:server=10.0.0.1:{{ i.meta.n | int }};", id="a log's server"),
        pytest.param("proxy_pass http://127.0.0.1:{{ '%05d' % (i.meta.n | int) }};", id="formatted"),
        pytest.param("proxy_pass http://127.0.0.1:{{ '{:05d}'.format(i.meta.n | int) }};", id="formatted otherwise"),
        pytest.param("proxy_pass {{ ['http://127.0.0.1', i.meta.n | int] | join(':') }};", id="joined"),
        pytest.param("proxy_pass http://127.0.0.1:{{ '1' * (i.meta.n | int % 5 + 2) }};", id="a text as often"),
        pytest.param("{% set p %}{{ i.meta.n | int }}{% endset %}proxy_pass http://127.0.0.1:{{ p | int }};", id="set"),
        pytest.param("{% set p = i.meta.n | int %}proxy_pass http://127.0.0.1:{{ p }};", id="by name"),
        pytest.param(
            "{% macro m(p) %}{{ p + 1 }}{% endmacro %}proxy_pass http://127.0.0.1:{{ m(i.meta.n | int) }};", id="macro"
        ),
        pytest.param(
            "{% for p in range(i.meta.n | int, 8501) %}proxy_pass http://127.0.0.1:{{ p }};{% endfor %}", id="range"
        ),
        pytest.param("root /srv/{{ i.meta.n | int }};", id="a folder"),
    ],
)
def test_a_number_of_registered_text_is_held_to_the_rule_of_values(line):
    text, rejections = left_out(only_for_evil(line), EVIL, *GOOD)
    assert set(rejections) == {"evil-8500"}
    assert text.count("location") == 3


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        pytest.param("client_max_body_size {{ i.meta.n | int }}k;", "client_max_body_size 8500k;", id="a size"),
        pytest.param("keepalive_timeout {{ i.meta.n | int / 100 }};", "keepalive_timeout 85.0;", id="a time"),
        pytest.param("proxy_set_header N {{ i.meta.x | length }};", "proxy_set_header N 8;", id="a length"),
        pytest.param("return {{ i.meta.n | int - 8300 }};", "return 200;", id="a status"),
        pytest.param(
            "proxy_pass http://{{ i.address }}:{{ i.meta.n | int }};", "http://10.0.0.1:8500;", id="own address"
        ),
        pytest.param("proxy_pass http://127.0.0.1:80/{{ i.meta.n | int }};", "127.0.0.1:80/8500;", id="in the path"),
        pytest.param("proxy_pass http://127.0.0.1:{{ '%05d' % i.port }};", "127.0.0.1:08000;", id="a port, formatted"),
        pytest.param("proxy_pass http://127.0.0.1:{{ '{:d}'.format(i.port) }};", "127.0.0.1:8000;", id="and otherwise"),
        pytest.param("proxy_pass http://127.0.0.1:{{ [i.port, 9] | max }};", "127.0.0.1:8000;", id="one of several"),
        pytest.param(
            "proxy_pass http://127.0.0.1:{{ i | attr('port') if false else i.port }};", ":8000;", id="a field"
        ),
    ],
)
def test_a_number_of_registered_text_prints_as_a_value(line, printed):
    text, rejections = left_out(only_for_evil(line), EVIL, *GOOD)
    assert not rejections
    assert printed in text


def test_a_number_made_of_a_key_refuses_the_render_and_names_the_key():
    query = KeyQuery(path="lb/port")
    answer = Answer(query=query, value=(KeyEntry(path="lb/port", data=b"8500"),))
    renderer = Renderer([load("location / { proxy_pass http://127.0.0.1:{{ key('lb/port') | int }}; }")])
    with pytest.raises(TemplateError, match=r"key 'lb/port'.*would choose where 'proxy_pass' goes"):
        renderer.render(Snapshot({query: answer}), [ConfigPlace(inside=b"server")])


def test_counters_and_errors_read_as_those_of_any_number():
    source = "{% for i in service('web') %}{{ i.meta.n | int + 'x' }}{% endfor %}"
    with pytest.raises(TemplateError, match=r"number \+ text cannot be computed"):
        text_of(source, world(web(meta={"n": "1"})))
    with pytest.raises(TemplateError, match=r"int has no field 'y'"):
        text_of("{% for i in service('web') %}{{ (i.meta.n | int).y }}{% endfor %}", world(web(meta={"n": "1"})))


BYTES = [
    "b[3]",
    "b[1:][2]",
    "b | first",
    "b | last",
    "b | length",
    "b | sum",
    "b | max",
    "(b | list)[3]",
    "(b | reverse | list)[0]",
    "(b | batch(2) | list)[1][1]",
    "b.strip()[3]",
    "b.split()[0][3]",
    "b.count(80)",
    "b.index(80)",
    "(b + b)[3]",
    "(b * 2)[3]",
    "{'a': b}.a[3]",
    "b[0] + 1",
    "b | random",
]


def of_key(expression, line="proxy_pass http://127.0.0.1:{{ v }};"):
    """Render a line with a value of an expression over the bytes of a key."""
    query = KeyQuery(path="bin")
    answer = Answer(query=query, value=(KeyEntry(path="bin", data=b"\xff\x00\x10P"),))
    text = f"{{% set b = key('bin') %}}{{% set v = {expression} %}}server {{ location / {{ {line} }} }}"
    return Renderer([load(text)]).render(Snapshot({query: answer}), [ConfigPlace()]).texts[0]


@pytest.mark.parametrize("expression", BYTES)
def test_a_byte_of_a_key_chooses_no_port_and_the_error_names_the_key(expression):
    with pytest.raises(TemplateError, match=f"key 'bin': .* {AUTHORITY}"):
        of_key(expression)


def test_a_byte_of_a_key_prints_as_a_value():
    assert "return 255;" in of_key("b[0]", "return {{ v }};")
    assert "X 351;" in of_key("b | sum", "add_header X {{ v }};")
