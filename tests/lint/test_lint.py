"""Each rule on small templates: its findings with their places, and the texts without a finding."""

import pytest

from ctemplate.config.layers import Layer
from ctemplate.lint import LintInput, lint

NO_ENVIRONMENT = {}


@pytest.fixture
def linted(tmp_path, monkeypatch):
    """Lint a template, with variables and other templates beside it; return the lines of the findings."""
    monkeypatch.chdir(tmp_path)

    def run(text, *, variables=None, files=None, escape="nginx"):
        for name, content in ({"t": text} | (files or {})).items():
            (tmp_path / name).write_text(content)
        values = {"template": [{"source": "t", "escape": escape}], "vars": variables or {}}
        layer = Layer(where="command line", values=values)
        return [str(finding) for finding in lint(LintInput(layers=(layer,)), NO_ENVIRONMENT)]

    return run


def codes(lines):
    return [line.split()[1] for line in lines]


SERVICES = "{% for s in services(tag='x') %}"
INSTANCES = "{% for i in service('web') %}"
END = "{% endfor %}"


LIST = "a list has no field 'web'; loop over it, or pick an item, such as list[0]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\n{% if %}", ["t:2:7: CT101 expected an expression, got 'end of statement block'"], id="syntax"),
        pytest.param("a\r\n{% for x in [] %}", ["CT101"], id="unclosed"),
        pytest.param("{{ 'a }}", ['t:1:1: CT101 unexpected char "\'" at 3'], id="lexer"),
        pytest.param(
            "x{% include 'gone.j2' %}", ["t:1:5: CT101 no template 'gone.j2' in the template's folders"], id="include"
        ),
        pytest.param("{% include 'gone.j2' ignore missing %}", [], id="optional include"),
        pytest.param("{% block a %}{% endblock %}{% block a %}{% endblock %}", ["CT101"], id="found by loading alone"),
        pytest.param(
            "\n  {{ servces() }}", ["t:2:6: CT102 'servces' is undefined; did you mean 'services'?"], id="name"
        ),
        pytest.param("{% if x is defined %}{% endif %}{{ y | default(1) }}", [], id="name that may be missing"),
        pytest.param("{% macro m(a) %}{{ a }}{{ caller() }}{{ varargs }}{% endmacro %}{{ m(1) }}", [], id="macro"),
        pytest.param(
            "{% for a, b in [] %}{{ a }}{{ b }}{{ loop.index }}{% endfor %}{{ a }}", ["CT102"], id="loop scope"
        ),
        pytest.param("{% if 1 %}{% set a = 1 %}{% endif %}{{ a }}", [], id="set in a branch"),
        pytest.param("{% with a = 1 %}{{ a }}{% endwith %}{{ a }}", ["CT102"], id="with"),
        pytest.param("{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}", [], id="namespace"),
        pytest.param("{{ 1 | roud }}", ["t:1:8: CT103 no filter named 'roud'; did you mean 'round'?"], id="filter"),
        pytest.param("{{ [] | map('uper') | list }}", ["CT103"], id="filter by name"),
        pytest.param(
            "{{ [] | select('od') | list }}{{ [] | rejectattr('a', 'od') | list }}", ["CT104"] * 2, id="tests"
        ),
        pytest.param("{% set x %}{% filter nope %}a{% endfilter %}{% endset %}", ["CT103"], id="filter block"),
        pytest.param(f"{SERVICES}{{{{ s.tag }}}}{END}", ["CT105"], id="field of a service"),
        pytest.param(f"{SERVICES}{{{{ s['nam'] }}}}{END}", ["CT105"], id="item of a service"),
        pytest.param(f"{SERVICES}{{{{ s.name.upper().lowr() }}}}{END}", ["CT105"], id="method of a text"),
        pytest.param("{% for c in service('w')[0].checks %}{{ c.nme }}{% endfor %}", ["CT105"], id="field of a check"),
        pytest.param("{{ (service('w') | first).prt }}", ["CT105"], id="field of the first instance"),
        pytest.param(
            "{% set all = service('w') | sort(attribute='id') %}{{ all[0].prt }}", ["CT105"], id="through set"
        ),
        pytest.param(f"{SERVICES}{{{{ loop.indx }}}}{END}", ["CT105"], id="field of loop"),
        pytest.param("{{ services().web }}", [f"t:1:15: CT105 {LIST}"], id="field of a list"),
        pytest.param("{{ service('w') | map(attribute='prt') | list }}", ["CT105"], id="attribute of map"),
        pytest.param("{{ service('w') | sort(attribute='node,prt') | length }}", ["CT105"], id="second attribute"),
        pytest.param(
            "{{ services() | selectattr('Name', 'eq', 'w') | list }}", ["CT105"], id="attribute of selectattr"
        ),
        pytest.param("{{ service('w') | sort(attribute='meta.zone,port') | length }}", [], id="known attributes"),
        pytest.param("{{ service('w') | groupby('port') | length }}{{ 'a b'.split().x }}", ["CT105"], id="split"),
        pytest.param(f"{SERVICES}{END.join(['{{ service.web }}', ''])}", ["CT109"], id="field of a function"),
        pytest.param(
            "{% for s in services %}{% endfor %}",
            ["t:1:13: CT109 services is a function; write services(…)"],
            id="uncalled",
        ),
        pytest.param("{{ env.HOME }}{{ services | length }}", ["CT109"] * 2, id="functions without a call"),
        pytest.param("{% set service = 1 %}{{ service }}{{ services is defined }}", [], id="names of functions"),
        pytest.param("{{ service('w', tga='a') | length }}", ["CT106"], id="argument"),
        pytest.param("{{ dict(a=1) }}{{ namespace(a=1) }}", [], id="arguments of types"),
    ],
)
def test_names_are_known(linted, text, expected):
    found = linted(text)
    assert (codes(found) if expected and " " not in expected[0] else found) == expected


FOREIGN = 'CT107 the name "prod.web@dc1" is consul-template\'s way of asking'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{% set x = service('prod.web@dc1') %}",
            f'{FOREIGN}; write service("web", tag="prod", dc="dc1")',
        ),
        (
            "{% set x = service(name='web|any') %}",
            'CT107 the name "web|any" is consul-template\'s way of asking; write service("web", status="any")',
        ),
        ("{% set x = services('@dc1') %}", 'CT107 services(dc="dc1") is how this is written here'),
        (
            "{% set x = service('web', 'any') %}",
            'CT107 "any" is a state and taken for a tag; write status="any"',
        ),
        (
            "{% set x = service('web', tag='passing') %}",
            'CT107 "passing" is a state and taken for a tag; write status="passing"',
        ),
        (
            "{% set x = service('web', 'passing,warning') %}",
            'CT107 "passing,warning" are states and taken for a tag; write status=["passing", "warning"]',
        ),
        (
            "{% set x = connect('web|any') %}",
            'CT107 the name "web|any" is consul-template\'s way of asking; write connect("web", status="any")',
        ),
        *(
            (f"{{% set x = {asked} %}}", f'CT107 "{path}" is consul-template\'s way of asking; write {call}')
            for asked, path, call in [
                ("key('a/b@dc1', '')", "a/b@dc1", 'key("a/b", dc="dc1")'),
                ("key_exists('a/b@dc1')", "a/b@dc1", 'key_exists("a/b", dc="dc1")'),
                ("ls('a@dc1')", "a@dc1", 'ls("a", dc="dc1")'),
                ("tree(prefix='a@dc1')", "a@dc1", 'tree("a", dc="dc1")'),
                ("node('n1@dc1')", "n1@dc1", 'node("n1", dc="dc1")'),
                ("nodes('@dc1')", "@dc1", 'nodes(dc="dc1")'),
            ]
        ),
    ],
)
def test_consul_templates_way_of_asking_is_found(linted, text, expected):
    assert linted(text) == [f"t:1:12: {expected}"]


@pytest.mark.parametrize(
    "text", ["{% set x = service('web', 'http') %}", "{% set x = service('my-web', status='any') %}", "{{ var.a }}"]
)
def test_our_own_way_of_asking_is_no_finding(linted, text):
    assert [found for found in linted(text, variables={"a": "1"}) if "CT107" in found] == []


def test_words_of_other_languages_are_told_what_to_write(linted):
    assert linted("{{ 1 | toJSON }}") == ["t:1:8: CT103 no filter named 'toJSON'; write | to_json"]
    found = linted("{{ domain }}", variables={"domain": "x"})
    assert "t:1:4: CT102 'domain' is undefined; did you mean 'var.domain'?" in found
    assert linted("{{ range services }}")[0].startswith("t:1:10: CT101 this looks like a Go template")


def test_names_of_imported_templates_are_known(linted):
    pieces = {"pieces.j2": "{% macro one() %}1{% endmacro %}{% set two = 2 %}"}
    text = "{% import 'pieces.j2' as p %}{{ p.one() }}{{ p.tow }}{% from 'pieces.j2' import one, thre %}"
    assert linted(text, files=pieces) == [
        "t:1:48: CT105 pieces.j2 has no field 'tow'; did you mean 'two'?",
        "t:1:57: CT105 pieces.j2 has no field 'thre'",
    ]


def test_faults_of_included_templates_have_their_own_place(linted):
    found = linted("{% set a = 1 %}{% include 'part.j2' %}", files={"part.j2": "{{ a }}\n {{ b }}"})
    assert found == ["part.j2:2:5: CT102 'b' is undefined"]


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        pytest.param("{{ var.a }}", {"a": "1"}, [], id="given and used"),
        pytest.param(
            " {{ var.a }}",
            {},
            ["t:1:5: CT201 'var.a' has no value; give it by -var a=… or [vars], or write | default(…)"],
            id="missing",
        ),
        pytest.param("{{ var.doman }}{{ var.domain }}", {"domain": "x"}, ["CT201"], id="misspelt"),
        pytest.param("{{ var.a | default('') }}{{ 1 if var.a is defined }}", {}, [], id="defaulted"),
        pytest.param("{% if var.a | default('') %}{{ var.a }}{% endif %}", {}, [], id="guarded"),
        pytest.param("{% if var.a | default('') %}{% endif %}{{ var.a }}", {}, ["CT201"], id="guarded elsewhere"),
        pytest.param("{{ var['a'] }}", {"a": 1}, [], id="as an item"),
        pytest.param("{{ 1 }}", {"domian": 1}, ["-var: CT202 no template uses var.domian"], id="unused"),
        pytest.param("{% for n in ['a'] %}{{ var[n] }}{% endfor %}", {"a": 1}, [], id="names that only a render tells"),
    ],
)
def test_variables_are_given_and_used(linted, text, variables, expected):
    found = linted(text, variables=variables)
    assert (codes(found) if expected and " " not in expected[0] else found) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("{{ now() }}{{ [1] | random }}", ["CT301", "CT301"], id="clock and chance"),
        pytest.param("{{ uuid4() }}{{ 1 | shuffle }}", ["CT301", "CT301"], id="what others call chance"),
        pytest.param("{{ [1] | random(seed='a') }}", [], id="chance with a seed"),
        pytest.param(
            "{% for i in service('w', near='a') | natural_sort(attribute='id') %}{% endfor %}", [], id="natural"
        ),
        pytest.param("{% for i in service('w', near='_agent') %}{% endfor %}", ["CT302"], id="near"),
        pytest.param("{% set all = service('w', near='a') %}{% for i in all %}{% endfor %}", ["CT302"], id="near, set"),
        pytest.param("{% for i in service('w', near='a') | sort(attribute='id') %}{% endfor %}", [], id="near, sorted"),
        pytest.param("{{ (service('w', near='a') | first).address }}", [], id="the nearest one"),
        pytest.param(f"{INSTANCES}{{% for k in i.meta %}}{END}{END}", ["CT302"], id="mapping"),
        pytest.param(f"{INSTANCES}{{% for k, v in i.meta.items() %}}{END}{END}", ["CT302"], id="mapping's items"),
        pytest.param(f"{INSTANCES}{{% for k, v in i.meta | dictsort %}}{END}{END}", [], id="mapping, sorted"),
        pytest.param(f"{INSTANCES}{{% for t in i.tags %}}{END}{END}", [], id="list"),
        pytest.param(f"{SERVICES}zone a{{{{ loop.index0 }}}} 64k;{END}", ["CT303"], id="position"),
        pytest.param(f"{SERVICES}weight={{{{ loop.index }}}};{END}", [], id="position that names nothing"),
    ],
)
def test_outputs_are_stable(linted, text, expected):
    assert codes(linted(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("# {{ s.name }}\n", ["CT401"], id="comment"),
        pytest.param("# {{ s.name | comment }}\n", [], id="comment, escaped"),
        pytest.param("a#b {{ s.name }};", [], id="no comment"),
        pytest.param("# it's\na {{ s.name }};", [], id="quote in a comment"),
        pytest.param("a '{{ s.name }}';", ["CT402"], id="quotes"),
        pytest.param('a "\\"{{ s.name }}";', ["CT402"], id="escaped quote in quotes"),
        pytest.param('a b"c {{ s.name }};', [], id="quote within a token"),
        pytest.param('a "b" {{ s.name }};', [], id="after quotes"),
        pytest.param('a "{{ s.name | quote }}";', ["CT402"], id="quotes twice"),
        pytest.param("a {{ s.tags | first }};", ["CT403"], id="tag"),
        pytest.param("a {{ s.tags | join('-') }};", ["CT403"], id="tags"),
        pytest.param("a {{ s.tags | map('token') | join('-') }};", [], id="tags, escaped"),
        pytest.param("a {{ s.tags[0] | token }};", [], id="tag, escaped"),
        pytest.param("{% for t in s.tags %}a {{ 'x' ~ t }};{% endfor %}", ["CT403"], id="tag within a text"),
        pytest.param("{% set t = s.tags | first %}a {{ t }};", ["CT403"], id="tag, set"),
        pytest.param(
            "{% for i in service(s.name) %}a {{ i.meta['v'] | default('w') }};{% endfor %}", ["CT403"], id="meta"
        ),
        pytest.param("{% for i in service(s.name) %}# {{ i.address }}:{{ i.port }}\n{% endfor %}", [], id="address"),
        pytest.param("content_by_lua_block { x = '{{ s.name }}' }\n# {{ s.name }}\n", ["CT401"], id="after lua"),
    ],
)
def test_registered_values_are_escaped_for_their_place(linted, text, expected):
    assert codes(linted(f"{SERVICES}{text}{END}")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("{{ i.meta.v | token }}", ["CT405"], id="bare"),
        pytest.param("{{ (i.meta['v'] ~ i.node_meta.w) | token }}", ["CT405", "CT405"], id="item, and a node's"),
        pytest.param("{% set v = i.meta.v %}{{ v | token }}", ["CT405"], id="set"),
        pytest.param("{% set m = i.meta %}{{ m.v | token }}", ["CT405"], id="meta, set"),
        pytest.param("{{ i.meta.v | default('w') | token }}", [], id="default"),
        pytest.param("{% set v = i.meta.v | default('w') %}{{ v | token }}", [], id="default, set"),
        pytest.param("{% if i.meta.v %}{{ i.meta.v | token }}{% endif %}", [], id="if"),
        pytest.param("{% if i.meta.w %}{{ i.meta.v | token }}{% endif %}", ["CT405"], id="if of another key"),
        pytest.param("{% if not i.meta.v %}{% else %}{{ i.meta.v | token }}{% endif %}", [], id="else"),
        pytest.param("{% if 'v' in i.meta %}{{ i.meta.v | token }}{% endif %}", [], id="in"),
        pytest.param("{{ i.meta.v | token if i.meta.v }}", [], id="condition"),
        pytest.param("{{ (i.meta.v or 'w') | token }}", [], id="or"),
        pytest.param("{{ i.meta.get('v', 'w') | token }}", [], id="get"),
        pytest.param("{% for k, v in i.meta | dictsort %}{{ v | token }}{% endfor %}", [], id="items"),
        pytest.param("{{ i.meta.v is defined }}", [], id="defined"),
    ],
)
@pytest.mark.parametrize("escape", ["nginx", "none"])
def test_keys_of_meta_may_be_missing(linted, text, expected, escape):
    assert codes(linted(f"{INSTANCES}{text}{END}", escape=escape)) == expected


def test_a_loop_that_selects_by_a_key_has_it(linted):
    loop = "{% for i in service('w') | selectattr('meta.v') %}{{ i.meta.v | token }}{{ i.meta.w | token }}{% endfor %}"
    assert codes(linted(loop)) == ["CT405"]


def test_places_in_other_formats_are_not_nginx(linted):
    assert linted(f"{SERVICES}# {{{{ s.name }}}}\n{END}", escape="none") == []


SERVER = "server {{ i.address }}:{{ i.port }};"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"upstream a {{ {INSTANCES}{SERVER}{END} }}", ["CT501"], id="bare"),
        pytest.param(
            f"upstream a {{ zone a 64k; {INSTANCES}{SERVER}{END} keepalive 2; }}", ["CT501"], id="with others"
        ),
        pytest.param(f"upstream a {{ server b:1; {INSTANCES}{SERVER}{END} }}", [], id="a server of its own"),
        pytest.param(f"upstream a {{ {INSTANCES}{SERVER}{{% else %}}server b:1;{END} }}", [], id="else"),
        pytest.param(f"upstream a {{ {INSTANCES}{SERVER}{{% else %}}keepalive 2;{END} }}", ["CT501"], id="no server"),
        pytest.param(
            f"{{% set w = service('web') %}}{{% if w %}}upstream a {{ {{% for i in w %}}{SERVER}{END} }}{{% endif %}}",
            [],
            id="guarded",
        ),
        pytest.param(
            f"{{% if service('web') | length > 1 %}}upstream a {{ {INSTANCES}{SERVER}{END} }}{{% endif %}}",
            [],
            id="guarded by the same call",
        ),
        pytest.param(
            f"{{% if service('api') %}}upstream a {{ {INSTANCES}{SERVER}{END} }}{{% endif %}}",
            ["CT501"],
            id="guarded by another service",
        ),
        pytest.param(
            f"{{% macro u(all) %}}upstream a {{ {{% for i in all %}}{SERVER}{END} }}{{% endmacro %}}", [], id="macro"
        ),
        pytest.param(
            "{% import 'nginx.j2' as n %}upstream a { {% for i in service('w') %}{{ n.server(i) }}{% endfor %} }",
            ["CT501"],
            id="server by a macro",
        ),
        pytest.param(f"{SERVICES}server {{ listen {{{{ s.listen_port }}}}; }}{END}", [], id="port, claimed"),
        pytest.param(f"{SERVICES}listen {{{{ s.name.split('-')[1] | int }}}};{END}", ["CT502"], id="port of a name"),
        pytest.param(f"{INSTANCES}listen {{{{ i.port }}}};{END}", ["CT502"], id="port of an instance"),
        pytest.param("listen {{ var.port | default(80) }};", [], id="port of the operator"),
        pytest.param(f"{SERVICES}server_name {{{{ s.name }}}}.x;{END}", [], id="whole name"),
        pytest.param(
            f"{SERVICES}server_name {{{{ s.name | replace('.', '-') }}}};{END}", ["CT503"], id="part of a name"
        ),
        pytest.param(f"{SERVICES}server_name {{{{ s.tags | first | token }}}};{END}", ["CT503"], id="tag"),
        pytest.param(f"{SERVICES}server_name {{{{ claim('server_name', s.tags[0], s) }}}};{END}", [], id="claimed"),
    ],
)
def test_nginx_would_take_the_outcome(linted, text, expected):
    assert codes(linted(text)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("proxy_pass http://{{ s.name }};", ["CT404"], id="name"),
        pytest.param("proxy_pass http://{{ s.name | quote }};", ["CT404"], id="quoted"),
        pytest.param("proxy_pass http://{{ s.name | identifier }}/x;", [], id="identifier"),
        pytest.param("proxy_pass http://web/{{ s.name }};", [], id="path"),
        pytest.param("proxy_pass http://127.0.0.1:{{ i.meta.port | default('') | token }};", ["CT404"], id="port"),
        pytest.param("proxy_pass {{ i.address }}:{{ i.port }};", [], id="address"),
        pytest.param("proxy_pass http://127.0.0.1:{{ i.meta.p | default(1) | int }};", ["CT404"], id="number"),
        pytest.param(
            "proxy_pass http://127.0.0.1:{{ 1 + (i.meta.p | default(1) | int) }};", ["CT404"], id="calculated"
        ),
        pytest.param("proxy_pass http://127.0.0.1:{{ i.port | int + 1 }};", [], id="by form"),
        pytest.param("proxy_pass http://{{ i.address }}:{{ i.meta.p | default(1) | int }};", [], id="of an address"),
        pytest.param("proxy_pass http://{{ i.address }}:{{ i.meta.p | default(1) | token }};", [], id="own port"),
        pytest.param("client_max_body_size {{ i.meta.p | default(1) | int }};", [], id="a number elsewhere"),
        pytest.param("grpc_pass {{ i.meta.to | default('') | token }};", ["CT404"], id="grpc"),
        pytest.param("resolver {{ i.meta.dns | default('') | token }};", ["CT404"], id="resolver"),
        pytest.param("upstream a { server {{ i.id }}; }", ["CT404"], id="server"),
        pytest.param("upstream a { server {{ i.address }}:80 id={{ i.id }}; }", [], id="parameter of a server"),
        pytest.param("auth_request {{ i.id }};", ["CT404"], id="place"),
        pytest.param("auth_request /auth/{{ i.id }};", [], id="within a place"),
    ],
)
def test_a_registered_value_does_not_choose_where_nginx_goes(linted, line, expected):
    assert codes(linted(f"{SERVICES}{{% for i in service(s.name) %}}{line}{END}{END}")) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("{% if 'http' in s.tags %}{{ service(s.name) | length }}{% endif %}", ["CT601"], id="condition"),
        pytest.param("{% if 1 and 'http' in s.tags %}a{% endif %}", ["CT601"], id="condition among others"),
        pytest.param("{{ service(s.name, tag='http') | length }}", ["CT601"], id="tag of instances"),
        pytest.param("{% if 'http' in s.tags %}a{% else %}b{% endif %}", [], id="both ways"),
        pytest.param("{{ s.name }}{% if 'http' in s.tags %}a{% endif %}", [], id="all are printed"),
        pytest.param("{{ service(s.name, 'a') | length }}{{ service(s.name, 'b') | length }}", [], id="two tags"),
        pytest.param("{{ service(s.name) | length }}", [], id="no tag"),
    ],
)
def test_a_tag_is_asked_for_once(linted, body, expected):
    assert codes(linted(f"{{% for s in services() %}}{body}{{% endfor %}}")) == expected
    assert codes(linted(f"{{% for s in services(tag='http') %}}{body}{{% endfor %}}")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("{{ a }}{# ctemplate: ignore CT102 #}", [], id="same line"),
        pytest.param("{# ctemplate: ignore CT102 for now #}\n{{ a }}", [], id="line above"),
        pytest.param("{#- ctemplate:\n ignore CT999, CT102 -#}\n{{ a }}", [], id="several codes, several lines"),
        pytest.param("{# ctemplate: ignore CT103 #}\n{{ a }}", ["CT102"], id="another code"),
        pytest.param("{# ctemplate: ignore CT102 #}\n\n{{ a }}", ["CT102"], id="too far above"),
        pytest.param("x {# ctemplate: ignore CT102 #}\n{{ a }}", ["CT102"], id="behind something else"),
    ],
)
def test_a_comment_silences_a_code(linted, text, expected):
    assert codes(linted(text)) == expected
