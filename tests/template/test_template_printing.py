"""No data can write a directive: whatever a template does with a value, nginx reads the same structure."""

import functools

import pytest
from budget import examples
from hypothesis import HealthCheck, example, given, settings, strategies as st
from rendering import load, message, render, text_of, web, world

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import CheckState
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import parse_config
from ctemplate.nginx.language.skeleton import skeleton
from ctemplate.template import Renderer

BREAKOUTS = [
    ";", "{", "}", "#", '"', "'", "\\", "$", "\r", "\n", "\0", "\t", " ", "\x0b", "\x1c", "\x85", "\u2028", "\u2029",
    "; evil on;", "} evil {", "\nevil on;\n", "\n# ", "a#b;", '"; evil "', "'; evil '", "\\; evil on", "\\", "x\\",
    "${evil}", "$evil", "x" * 5000, "\u202e;evil", "\u200b;evil", "\ufeff", "../../etc", "..", "~.*", "~^(a+)+$", "*",
    "1.1.1.1:1; } server { listen 1; location / { return 200 pwned; } } upstream b { server 1.1.1.1:1",
    "%s", "%(a)s", "%c", "{0}", "{0.__class__}", "{}", "{{ 7 * 7 }}", "{% raw %}", "<b>", "&amp;", "\udc80", "ünï", "",
]  # fmt: skip

EXPRESSIONS = [
    "V", "V ~ ''", "'' ~ V", "V ~ V", "V ~ 'x'", "'a ' ~ V", "V ~ ' b'", "'x=' ~ V ~ '; y ' ~ 1", "V + ''", "'a ' + V",
    "V + ' b'", "' ' + V + ' '", "V * 2", "2 * V", "(' ' ~ V) * 2", "'%s' % V", "' %s ' % V", "'%s %s' % (V, V)",
    "' %(v)s' % {'v': V}", "V % ()", "' %5s %r' % (V, 1)", "' %.3s' % V", "'%r' % V", "' %s' % [V]",
    "' %s' | format(V)",
    "' {}'.format(V)", "' {0}{0}'.format(V)", "' {v}'.format(v=V)", "' {:>9}'.format(V)", "' {!r}'.format(V)",
    "' {:.3}'.format(V)", "' {:{}}'.format(1, V)", "' {v}'.format_map({'v': V})", "V.format(V)", "V.format_map({})",
    "' {0[0]}'.format([V])", "[V] | join", "[V, V] | join(' ')", "['a ', V] | join", "[' ', V] | join(V)",
    "' '.join([V, V])", "V.join(['a ', 'b '])", "[V, ' '] | join(', ')", "V[0:]", "V[1:]", "V[:-1]", "V[::-1]",
    "V[0]", "V | first", "V | last", "(' ' ~ V)[1:]", "(V | quote)[1:]", "(V | quote)[:-1]", "(V | quote) ~ ''",
    "V | quote | upper", "V | quote | replace('\"', '')", "V | quote | trim('\"')", "V | quote | trim",
    "V | quote | indent",
    "V | quote | truncate(4, true, '')", "V | quote | string", "V | quote | list | join", "V | comment | reverse",
    "V | comment | replace('%3B', ';') | replace('%20', ' ')", "V | replace('x', ' ')", "V | replace('', ' ')",
    "V.replace('a', ' ;')", "' x ' | replace('x', V)", "' x '.replace('x', V)", "V | upper", "V | lower", "V | title",
    "V | capitalize", "V.swapcase()", "V.strip()", "V | trim", "V | trim('x')", "V.lstrip('x')", "V.removeprefix('x')",
    "V.split(';') | join('-')", "V.split() | join('-')", "V.splitlines() | join('-')", "V.partition(';')[2]",
    "V.rsplit('x', 1) | last", "V | center(20)", "V.center(20)", "V.ljust(9, ';')", "' '.center(9, V | first)",
    "V.zfill(20)", "V.expandtabs()", "V | wordwrap(5)", "V | wordwrap(5, true, V)", "V | truncate(5)", "V | indent",
    "V | indent(2, true)", "' x\\ny' | indent(V)", "V | string", "V | list | join", "V | list | join(' ')",
    "V | reverse",
    "V | default('a b')", "'' | default(V, true)", "V | urlencode", "{'a b': V} | urlencode", "V | filesizeformat",
    "V | int", "V | float", "V | length", "V | wordcount", "[V] | min", "[V, V] | unique | first", "[V] | sort | first",
    "[V] | map('upper') | join(' ')", "[V] | map('quote') | join(' ')", "[V] | map('trim') | first", "V | json",
    "V | tojson",
    "V | tojson | quote", "[V] | json | comment", "V | yaml", "V | shell", "{'k': V} | json",
    "{V: 1} | dictsort | first | first",
    "{V: V}.keys() | first", "{'k': V}['k']", "dict(k=V).k", "dict(k=V).get('k')", "(V, V)[1]", "[V, V][1]",
    "[[V]] | sum(start=[]) | first", "[V] | batch(2, V) | first | last", "[V] | slice(1) | first | first",
    "[V] | groupby(0) | first | first", "[{'k': V}] | map(attribute='k') | join(' ')", "[{'k': V}] | join(' ', 'k')",
    "[V] | select('string') | first", "(V, ) | list | first", "V if true", "V or 'a b'", "'a b' and V",
    "V | attr('upper')",
    "V.upper()", "V.casefold()", "cycler(V, V).next()", "joiner(V)()", "namespace(k=V).k", "m(V)", "m(' ' ~ V)",
    "m(V) | upper",
    "m(V)[1:]", "m(V) ~ V", "V | token", "V | identifier", "V | comment", "V | quote", "('x ' ~ V) | quote",
    "V | token | upper",
    "claim('k', V)", "V | token ~ V | comment", "V | e", "V is string", "V == 'x'", "V in ' x'", "[V]", "{'k': V}",
    "(V,)",
    "V | list", "V | items", "V.encode()", "V.translate({120: ';'})", "V.__class__", "V.maketrans('a', 'b')",
]  # fmt: skip

BLOCKS = [
    "{{ E }}",
    "{% set x = E %}{{ x }}",
    "{% set x %}{{ E }}{% endset %}{{ x }}",
    "{% set x | upper %}{{ E }}{% endset %}{{ x }}",
    "{% set x | replace('_', ' ') %}{{ E }}{% endset %}{{ x }}",
    "{% set x | truncate(3, true, '') %}{{ E }}{% endset %}{{ x }}",
    "{% set x | quote %}{{ E }}{% endset %}{{ x }}",
    "{% filter lower %}{{ E }}{% endfilter %}",
    "{% filter truncate(4, true, '') %}{{ E }}{% endfilter %}",
    "{% filter replace('a', E) %}aaa{% endfilter %}",
    "{% filter format(E) %}%s{% endfilter %}",
    "{% call c() %}{{ E }}{% endcall %}",
    "{% call m(E) %}{% endcall %}",
    "{% call '{}'.format(E) %}{% endcall %}",
    "{% call dict(a=E).get('a') %}{% endcall %}",
    "{% with x = E %}{{ x }}{% endwith %}",
    "{% for x in [E] %}{{ x }}{{ loop.cycle(E) }}{% endfor %}",
    "{% for x in E %}{{ x }}{% endfor %}",
    "{% for x in [E] recursive %}{{ x }}{% if loop.depth < 2 %}{{ loop([x]) }}{% endif %}{% endfor %}",
    "{% set n = namespace(x='') %}{% for y in [1, 2] %}{% set n.x = n.x ~ E %}{% endfor %}{{ n.x }}",
    "{% if E %}{{ E }}{% else %}{{ E }}{% endif %}",
    "{% block b %}{{ E }}{% endblock %}",
    "{{ m(m(E)) | trim }}",
    "{% set x %}{{ E }} {% endset %}{{ x[:3] }}{{ x | indent }}",
]

PLACES = {
    "unquoted": "set @;",
    "second": "set a @ b;",
    "glued": "set a@b;",
    "double": 'set "@";',
    "single": "set '@';",
    "comment": "# @\n",
    "block": "upstream @ { server a; }",
    "server_name": "server_name @;",
    "location": "location @ { return 200; }",
    "map": "map $a $b { k@ 1; }",
    "log": 'log_format x "a @ b";',
    "directive": "set a\n    @;",
}

FIELDS = {
    "name": "s.name",
    "tag": "s.tags[0]",
    "node": "i.node",
    "address": "i.address",
    "meta": "i.meta.k",
    "meta key": "(i.meta | list)[1]",
    "check": "i.checks[0].name",
}

MACROS = "{% macro m(v) %}{{ v }}{% endmacro %}{% macro c() %}{{ caller() }}{% endmacro %}"
AROUND = "before a;\n@\nafter b;\n"


def template(place, block, expression, field):
    body = PLACES[place].replace("@", block.replace("E", expression.replace("V", FIELDS[field])))
    loops = "{% for s in services() %}{% for i in service(s.name) %}" + body + "\n{% endfor %}{% endfor %}"
    return MACROS + AROUND.replace("@", loops)


def registered(field, value):
    name = value if field == "name" else "svc"
    fields = {"node": "n", "address": "a", "meta": {"k": "v", "k2": "w"}, "checks": (CheckState(id="1", name="c"),)}
    changed = {
        "node": {"node": value},
        "address": {"address": value},
        "meta": {"meta": {"k": value, "k2": "w"}},
        "meta key": {"meta": {"k": "v", value: "w"}},
        "check": {"checks": (CheckState(id="1", name=value),)},
    }
    return web(name=name, tags=(value if field == "tag" else "t",), **(fields | changed.get(field, {})))


TOO_LONG = ("an argument longer than nginx reads, which its check refuses",)


def structure(text):
    try:
        return tuple(skeleton(parse_config(text.encode(errors="surrogatepass"), where="t")))
    except NginxSyntaxError as exc:
        return TOO_LONG if exc.what.startswith("too long") else None


def rendered(renderer, service):
    """The text over one service, None where the template fails; and whether the service was left out."""
    try:
        rendering = renderer.render(world(service))
    except TemplateError:
        return None, False
    assert all(str(rejection).isprintable() for rejection in rendering.quarantined)
    return rendering.texts[0], bool(rendering.quarantined)


@functools.lru_cache(maxsize=8)
def loaded(text):
    """The compiled template, None where it cannot be compiled; several values in a row have the same one."""
    try:
        return load(text)
    except TemplateError:
        return None


def assert_harmless(place, block, expression, field, value):
    """The hostile value is refused, or nginx reads what it reads with a harmless one in the same place.

    A pair of values is compared that is alike for the template: it may loop over characters or split at spaces.
    """
    compiled = loaded(template(place, block, expression, field))
    if compiled is None:
        return
    renderer = Renderer([compiled])
    hostile, left_out = rendered(renderer, registered(field, value))
    if hostile is None or not value:  # a template may well ask whether there is anything
        return
    if left_out:
        assert structure(hostile) == structure(AROUND.replace("@", ""))
        return
    alike = [registered(field, like) for like in ("v", "w" * len(value), "w" * 3 * len(value), "1")]
    benign = {shape_of(renderer, service) for service in alike}
    if benign == {None}:
        return  # the template is wrong for any value, and the check refuses it
    assert structure(hostile) in benign | plain_shapes(place, field) | {TOO_LONG}, hostile[:300]


@functools.cache
def plain_shapes(place, field):
    """The structures with nothing at all and with one plain token in the place: either may become of a value."""
    renderers = [Renderer([load(template(place, block, "V", field))]) for block in ("", "{{ 'w' }}")]
    return {shape_of(renderer, registered(field, "v")) for renderer in renderers}


def shape_of(renderer, service):
    text, _ = rendered(renderer, service)
    return None if text is None else structure(text)


PLACE, BLOCK, FIELD = st.sampled_from(list(PLACES)), st.sampled_from(BLOCKS), st.sampled_from(list(FIELDS))
PIECES = st.lists(st.sampled_from([*BREAKOUTS, "a", "x y"]), max_size=4).map("".join)
VALUE = st.sampled_from(BREAKOUTS) | PIECES | st.text(max_size=9)


@settings(max_examples=examples(200), suppress_health_check=list(HealthCheck))
@given(PLACE, BLOCK, st.sampled_from(EXPRESSIONS), FIELD, VALUE)
@example("unquoted", "{{ E }}", "V", "name", "; evil on;")
@example("unquoted", "{% call '{}'.format(E) %}{% endcall %}", "V", "meta", "; evil on;")
@example("unquoted", "{% set x | truncate(3, true, '') %}{{ E }}{% endset %}{{ x }}", "V | quote", "tag", '; evil "')
@example("unquoted", "{% filter truncate(4, true, '') %}{{ E }}{% endfilter %}", "V | quote", "tag", '; evil "')
def test_no_operation_lets_a_value_write_a_directive(place, block, expression, field, value):
    assert_harmless(place, block, expression, field, value)


@settings(max_examples=examples(120), suppress_health_check=list(HealthCheck))
@given(PLACE, FIELD, st.sampled_from(["V", "V | quote", "V | comment", "V | token", "V | identifier"]), VALUE)
def test_no_escape_in_any_place_lets_a_value_write_a_directive(place, field, expression, value):
    assert_harmless(place, "{{ E }}", expression, field, value)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_operation_stands_up_to_a_break_out(expression):
    for value in ("; evil on;", '" evil', "\nevil on;\n#"):
        assert_harmless("second", "{{ E }}", expression, "meta", value)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_stands_up_to_a_break_out(block):
    for value in ("; evil on;", '" evil', "\nevil on;\n#"):
        for expression in ("V", "V | quote", "V | comment", "' ' ~ V"):
            assert_harmless("second", block, expression, "tag", value)


PLAIN = "azAZ09._-:/@+~%[]"


@settings(max_examples=examples(50))
@given(st.text(alphabet=PLAIN, min_size=1, max_size=40).filter(lambda text: text[0] != "~" and ".." not in text))
def test_plain_tokens_print_as_they_are(token):
    template = "{% for s in services() %}{{ s.name }} {{ 'a=' ~ s.name }} {{ [s.name, 1] | join('; ') }}{% endfor %}"
    assert text_of(template, world(web(name=token))) == f"{token} a={token} {token}; 1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("{{ 'a; b' }}", "a; b", id="literal"),
        pytest.param("{{ 'a;' ~ ' ' ~ 1 ~ 'b' }}", "a; 1b", id="~"),
        pytest.param("{{ 'a;' + ' b' }}", "a; b", id="+"),
        pytest.param("{{ 'a;' * 2 }}", "a;a;", id="*"),
        pytest.param("{{ '%s; %3d %%' % ('a b', 3) }}", "a b;   3 %", id="%"),
        pytest.param("{{ '%(a)s;' % {'a': 'x y'} }}", "x y;", id="%, by name"),
        pytest.param("{{ '%s; %s' | format('a b', 'c') }}", "a b; c", id="format"),
        pytest.param("{{ '{}; {n:>4}'.format('a b', n=7) }}", "a b;    7", id="method format"),
        pytest.param("{{ ['a b', 2, 'c'] | join('; ') }}", "a b; 2; c", id="join"),
        pytest.param("{{ '; '.join(['a', 'b c']) }}", "a; b c", id="method join"),
        pytest.param("{{ ' a; ' | trim }}|", "a;|", id="trim"),
        pytest.param("{{ 'a;\nb;' | indent(2) }}", "a;\n  b;", id="indent"),
        pytest.param("{% macro f(x) %}{ {{ x }}; }{% endmacro %}{{ f('a b') ~ f(1) }}", "{ a b; }{ 1; }", id="macro"),
        pytest.param("{% set x %}a {{ 'b;' }}{% endset %}{{ x ~ x }}", "a b;a b;", id="set block"),
        pytest.param(
            "{% macro f() %}<{{ caller('x y') }}>{% endmacro %}{% call(v) f() %}{{ v }};{% endcall %}",
            "<x y;>",
            id="call",
        ),
        pytest.param("{% filter indent(2) %}a;\nb;{% endfilter %}", "a;\n  b;", id="filter block"),
        pytest.param("{% set x | trim %} a; {% endset %}{{ x }}", "a;", id="set block with a filter"),
        pytest.param("{% block b %}a;{% endblock %}{{ self.b() }}", "a;a;", id="block"),
        pytest.param("{% for x in [1, 2] %}{{ loop.cycle('a b', 'c;') }}{% endfor %}", "a bc;", id="cycle"),
        pytest.param("{{ 1.5 }} {{ true }} {{ -3 }} {{ 'a b' if false }}", "1.5 True -3 ", id="numbers and nothing"),
        pytest.param("{{ 'a b' | quote }}", '"a b"', id="quote"),
        pytest.param(
            "{{ 'a b;' | comment }} {{ 'a b' | token }} {{ 'ok' | token }}", "a%20b%3B a%20b ok", id="escapes"
        ),
        pytest.param("{{ '$x' | quote('${dollar}') }}", '"${dollar}x"', id="quote with a dollar"),
    ],
)
def test_trusted_text_stays_trusted_where_whole_parts_are_joined(text, shown):
    assert text_of(text) == shown


@pytest.mark.parametrize(
    ("text", "is_fine"),
    [
        pytest.param("set V;", True, id="an argument"),
        pytest.param("set\n  V V {\n", True, id="after a line feed, before a brace"),
        pytest.param("# tag=V\n", True, id="in a comment"),
        pytest.param("set a; #V", True, id="in a comment at the end"),
        pytest.param("set aV;", False, id="glued"),
        pytest.param('set "V";', False, id="in quotes"),
        pytest.param('set "a V";', False, id="in quotes, after a space"),
        pytest.param("set 'a # V';", False, id="in quotes, after a hash"),
        pytest.param('set don\'t "a\\" b" V;', True, id="after quotes"),
        pytest.param("set a#V;", False, id="after what is no comment"),
        pytest.param("set a\\ V;", False, id="after an escaped space"),
        pytest.param("set ${a}V;", False, id="after a variable"),
        pytest.param("set VV;", False, id="glued to another"),
        pytest.param("\n\n{% macro f() %}V{% endmacro %}{% set x = f() %}set a{{ x }};", False, id="by way of a macro"),
    ],
)
def test_a_quoted_value_has_to_start_an_argument(text, is_fine):
    template = "{% for s in services() %}" + text.replace("V", "{{ s.name | quote }}") + "{% endfor %}"
    if is_fine:
        expected = text.replace("V", '"; x"')
        assert text_of(template, world(web(name="; x"))) == expected
        return
    with pytest.raises(TemplateError) as error:
        render(template, world(web(name="; x")))
    said = message(error).split(":", 2)
    assert said[2] == " what | quote returns must start an argument, with a space before it (service '; x')"


def test_a_misplaced_quote_leaves_out_those_who_alone_reach_the_line():
    loop = '{% for t in s.tags if t.startswith("to:") %}set a{{ t | quote }};{% endfor %}'
    renderer = Renderer([load("{% for s in services() %}\n" + loop + "\n{% endfor %}")])
    renderer.render(world(web(), web(name="shop")))
    renderer.accept()
    rendering = renderer.render(world(web(), web(name="shop"), *(web(name=f"a{n}", tags=("to:x",)) for n in range(5))))
    assert {rejection.service for rejection in rendering.quarantined} == {f"a{n}" for n in range(5)}


def test_inheritance_prints_what_it_earned(tmp_path):
    (tmp_path / "base.j2").write_text("[{% block a %}x; {{ 1 }}{% endblock %}]")
    text = "{% extends 'base.j2' %}{% block a %}{{ super() ~ ' y;' }}{% endblock %}"
    assert text_of(text, folder=tmp_path) == "[x; 1 y;]"


def test_a_quoted_value_among_others_keeps_its_quotes():
    text = "{% for s in services() %}{{ 'x ' ~ s.tags | join('; ') | quote ~ ';' }}{% endfor %}"
    assert text_of(text, world(web(tags=("a b", "c;")))) == 'x "a b; c;";'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("{% for s in services() %}{{ s.name }} {{ s.tags }}{% endfor %}", "a;b ('x y',)", id="anything"),
        pytest.param(
            "{% for s in services() %}{{ s.tags | json }} {{ s | json }}{% endfor %}",
            '["x y"] {"name": "a;b", "tags": ["x y"]}',
            id="json",
        ),
        pytest.param(
            "{{ 'a\"b\nc' | json }} {{ {'b': 1, 'a': none} | tojson }}",
            '"a\\"b\\nc" {"a": null, "b": 1}',
            id="json texts",
        ),
        pytest.param("{{ 'a: b\nc' | yaml }} {{ 'no' | yaml }} {{ 5 | yaml }}", '"a: b\\nc" "no" 5', id="yaml"),
        pytest.param("{{ \"it's\" | shell }} {{ 'ok' | shell }}", "'it'\"'\"'s' ok", id="shell"),
    ],
)
def test_other_formats_print_anything_and_have_their_escapes(text, shown):
    assert text_of(text, world(web(name="a;b", tags=("x y",))), escape="none") == shown


def test_json_is_not_trusted_in_nginx():
    with pytest.raises(TemplateError) as error:
        render("{% for s in services() %}{{ {1: s.name} | json }}{% endfor %}", world(web(name="a b")))
    assert message(error).startswith('t.j2:1: \'{"1": "a b"}\' is no plain token')


def test_json_of_the_operators_own_text_prints_like_that_text():
    assert text_of("{{ {1: 'a b'} | json }}") == '{"1": "a b"}'
