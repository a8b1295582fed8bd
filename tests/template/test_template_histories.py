"""After any history of answers, a renderer gives the same result as one that only saw the last answers."""

import itertools
import os
import subprocess
import sys

import pytest
from rendering import answers, instance, load

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer, Template
from ctemplate.template.safety import limits

HTTP = ConfigPlace(inside=b"http")


@pytest.fixture
def made(tmp_path):
    """Makes functions that load a template's text anew at each call, from the same place."""
    return lambda text, **options: lambda: load(text, folder=tmp_path, **options)


def service(name, *tags, created=0, **meta):
    return name, tags, (instance(name, tags=tags, created=created, meta=meta),)


def gone(name, *tags):
    return name, tags, ()


def snapshots(history):
    """The snapshots of a history; an answer with an equal value is the one before, as in the catalog."""
    known = {}
    for services in history:
        fresh = answers(*services)
        known = {
            query: known[query] if query in known and known[query].value == answer.value else answer
            for query, answer in fresh.items()
        }
        yield Snapshot(known)


def outcome(renderer, snapshot, place=HTTP):
    try:
        rendering = renderer.render(snapshot, (place,))
    except TemplateError as error:
        return str(error)
    return rendering.texts, tuple(map(str, rendering.quarantined)), rendering.missing


def same_as_fresh(make, history, place=HTTP):
    """Go through a history with one renderer, each step against a fresh one; return the outcomes."""
    living, outcomes = Renderer([make()]), []
    for snapshot in snapshots(history):
        outcomes.append(outcome(living, snapshot, place))
        assert outcomes[-1] == outcome(Renderer([make()]), snapshot, place)
    return outcomes


SHARED = """\
{% for s in services() if s.tags %}{% if service(s.name) %}
{% for dep in s.tags %}{% for i in service(dep) %}
LINE
{% endfor %}{% endfor %}{% endif %}{% endfor %}
"""
OPENED = """\
{% if services() | length > 3 %}
map $uri $kind {
{% endif %}
TEXT{% if services() | length > 3 %}
}
{% endif %}
"""
WITH_DEPENDENCY = [service("a", "x"), service("b", "x"), service("c")]
EVIL = service("x", key="autoindex")


def test_what_is_printed_for_two_services_stays_known_when_one_of_them_goes(made):
    text = SHARED.replace("LINE", "upstream {{ i.name }}-{{ i.meta.key }} { server {{ i.address }}; }")
    known = [service("x", created=5, key="k"), service("x-k", created=6, key="j"), service("c", "x-k")]
    users = [service("b", "x"), service("d", "x")]
    history = [[*known, service("a", "x"), users[0]], [*known, users[0]], [*known, *users]]
    last = same_as_fresh(made(text), history)[-1]
    assert "is there twice" in str(last)


def test_a_value_that_comes_to_name_a_directive_is_found_in_kept_text(made):
    text = OPENED.replace("TEXT", SHARED.replace("LINE", "{{ i.meta.key }} {{ i.address }};"))
    _, error = same_as_fresh(made(text), [[EVIL, *WITH_DEPENDENCY], [EVIL, *WITH_DEPENDENCY[1:]]])
    assert error.endswith("t.j2:6: 'autoindex' would be the name of a directive (service 'x')")


DATA = '{% set drained = service("drained") | map(attribute="address") | list %}'
LIBRARY = """\
{% from "data.j2" import drained %}
{% macro server(i) %}server {{ i.address }}:{{ i.port }}{{ " down" if i.address in drained }};{% endmacro %}
"""
OWN = """\
{% macro block(s) %}{% from "data.j2" import drained %}
upstream {{ s.name }} { # {{ drained | length }}
{% for i in service(s.name) %} server {{ i.address }}:{{ i.port }}{{ " down" if i.address in drained }};
{% endfor %}}
{% endmacro %}
"""
INCLUDING = '{% macro block(s) %}{% include "part.j2" %}{% endmacro %}'
PART = OWN.partition("%}")[2].partition("{% endmacro")[0]
SERVERS = """\
{% for s in services(tag="http") %}
upstream {{ s.name }} {
{% for i in service(s.name) %} {{ library.server(i) }}
{% endfor %}}
{% endfor %}
"""
BLOCKS = """\
{% import "library.j2" as library %}
{% for s in services(tag="http") %}{% if service(s.name) %}{{ library.block(s) }}{% endif %}{% endfor %}
"""


@pytest.mark.parametrize(
    ("main", "library"),
    [
        pytest.param(
            '{% from "data.j2" import drained %}{% import "library.j2" as library %}# {{ drained | length }}\n'
            + SERVERS,
            LIBRARY,
            id="imported-before-the-library-that-imports-it",
        ),
        pytest.param('{% import "library.j2" as library %}\n' + SERVERS, LIBRARY, id="imported-by-the-library-alone"),
        pytest.param(BLOCKS, OWN, id="imported-within-a-macro"),
        pytest.param(BLOCKS, INCLUDING, id="imported-by-what-a-macro-includes"),
    ],
)
def test_all_who_use_a_module_depend_on_what_it_read(tmp_path, main, library):
    for name, text in {"t.j2": main, "library.j2": library, "data.j2": DATA, "part.j2": PART}.items():
        (tmp_path / name).write_text(text)
    plain = [service(name, "http") for name in ("a", "b", "c")]
    drained = [("drained", (), tuple(instance("drained", number) for number in numbers)) for numbers in ([7], [0, 7])]
    outcomes = same_as_fresh(
        lambda: Template.load(tmp_path / "t.j2", variables={}, environ={}),
        [[*plain, drained[0]], [*plain, drained[1]], [*plain, drained[0]]],
    )
    assert [texts[0].count(" down;") for texts, _, _ in outcomes] == [0, 3, 0]


HOSTS = """\
{% for s in services() %}{% for i in service(s.name)[:1] %}
server { server_name PRINT; }
{% endfor %}{% endfor %}
"""
PROVEN = HOSTS.replace("PRINT", "{{ i.meta.host }}")
CLAIMED = HOSTS.replace("PRINT", "{{ claim('server_name', i.meta.host, s) }}")
YOUNG, OTHER = service("young", created=20, host="a.example"), service("z", created=5, host="z.example")
OLD = service("old", created=10, host="a.example")


@pytest.mark.parametrize("text", [PROVEN, CLAIMED], ids=["proven", "claimed"])
@pytest.mark.parametrize(
    ("winner", "served"),
    [
        pytest.param(service("old", created=10, host="b.example"), 3, id="takes-another-name"),
        pytest.param(service("old", created=10, host="a.example;"), 2, id="is-left-out-itself"),
        pytest.param(gone("old"), 2, id="has-no-instances-left"),
    ],
)
def test_who_lost_a_name_has_it_once_the_winner_lets_go(made, text, winner, served):
    (_, lost, _), (texts, quarantined, _) = same_as_fresh(made(text), [[YOUNG, OLD, OTHER], [YOUNG, winner, OTHER]])
    assert [rejection for rejection in lost if "'young'" in rejection]
    assert not [rejection for rejection in quarantined if "'young'" in rejection]
    assert texts[0].count("server_name") == served


def test_who_lost_to_one_that_is_found_out_only_later_is_served(made):
    named = HOSTS.replace(
        "PRINT; }",
        """{{ claim('server_name', i.meta.host, s) }};
access_log /l/{{ i.meta.word }}{{ i.meta.word }}/x; }""",
    )
    old = service("old", created=10, host="a.example", word=".")
    others = [service(f"s{number}", host=f"s{number}.example", word="w") for number in range(4)]
    young = service("young", created=20, host="a.example", word="w")
    ((texts, quarantined, _),) = same_as_fresh(made(named), [[young, old, *others]])
    assert "server_name a.example" in texts[0]
    assert "'old'" in quarantined[0]
    assert len(quarantined) == 1


def test_who_lost_a_name_to_another_file_has_it_once_it_is_free(made):
    text = """\
{% for s in services() %}{% if service(s.name) %}
upstream {{ s.name }} { server 127.0.0.1:1; }
{% endif %}{% endfor %}
"""
    renderer, (snapshot,) = Renderer([made(text)()]), snapshots([[service("web"), service("x"), service("y")]])
    taken = ConfigPlace(inside=b"http", taken=frozenset({("http upstream", b"web")}))
    assert "upstream web" not in outcome(renderer, snapshot, taken)[0][0]
    assert "upstream web" in outcome(renderer, snapshot)[0][0]


def test_who_broke_the_template_for_want_of_another_is_served_once_that_is_back(made):
    text = """\
{% for s in services(tag="http") %}{% for i in service(s.name) %}{% set cache = service(i.meta.cache) | first %}
map $uri $cache_{{ s.name }} { default {{ cache.address }}:{{ cache.port }}; }
{% endfor %}{% endfor %}
"""
    users = [service("a", "http", cache="one"), *(service(name, "http", cache="two") for name in "bcde")]
    one, two = service("one"), service("two")
    _, (_, broken, _), (texts, quarantined, _) = same_as_fresh(
        made(text), [[*users, one, two], [*users, gone("one"), two], [*users, one, two]]
    )
    assert "'a'" in broken[0]
    assert not quarantined
    assert "$cache_a" in texts[0]


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        pytest.param(PROVEN, "bad name", id="refused-as-it-is-printed"),
        pytest.param(PROVEN.replace("server_name", ""), "sendfile", id="refused-by-the-proof"),
    ],
)
def test_a_line_that_one_after_another_fails_is_at_fault_as_if_all_did_at_once(made, text, bad):
    names = "abcdefgh"
    history = [
        [service(name, host=bad if number < count else f"{name}.example") for number, name in enumerate(names)]
        for count in range(len(names) + 1)
    ]
    outcomes = same_as_fresh(made(text), history)
    assert isinstance(outcomes[-1], str)


LONG_LOOPS = """\
{% for s in services() %}
upstream {{ s.name }} {
{% for i in service(s.name) %} server {{ i.address }}:{{ i.port }};
{% endfor %}}
{% endfor %}
"""


def test_a_process_that_was_stopped_for_longer_than_a_render_may_take_blames_no_service(made):
    (snapshot,) = snapshots([[service(f"s{number:04}") for number in range(500)]])
    renderer = Renderer([made(LONG_LOOPS, timeout=1.0)()])
    waking = "import os, sys, time; pid = int(sys.argv[1]); os.kill(pid, 19); time.sleep(1.5); os.kill(pid, 18)"
    with subprocess.Popen([sys.executable, "-S", "-c", waking, str(os.getpid())]) as waker:
        while waker.poll() is None:
            texts, quarantined, _ = outcome(renderer, snapshot)
            renderer = Renderer([made(LONG_LOOPS, timeout=1.0)()])
            assert not quarantined
            assert texts[0].count("upstream") == 500
    assert waker.returncode == 0


def test_a_pass_that_ran_out_of_time_is_tried_anew(made, monkeypatch):
    renderer = Renderer([made("{% for k in range(3000) %}{{ k }} {% endfor %}")()])
    seconds = itertools.chain([0.0], itertools.repeat(100.0))
    monkeypatch.setattr(limits.time, "thread_time", lambda: next(seconds))
    assert "still rendering after 10s" in outcome(renderer, Snapshot({}))
    assert outcome(renderer, Snapshot({}))[0][0].endswith("2999 ")
