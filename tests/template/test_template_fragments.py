"""Fragments: cached text of an earlier pass never changes the output; it only saves rendering."""

import itertools
import re
import sys
from pathlib import Path

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st
from rendering import anew, answers, instance, load, web

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot, Status
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import ServiceQuery
from ctemplate.template import Renderer
from ctemplate.template.cache import fragments

LIBRARY = """\
{% set marks = ["a", "b"] %}
{% set deep = {"a": [1, 2]} %}
{% macro one(i) %}{{ i.address }}:{{ i.port }} {{ marks[0] }}{{ deep.a[1] }};{% endmacro %}
{% macro all(tag) %}
{% for s in services(tag=tag) %}{{ s.name }}={% for i in service(s.name) %}{{ one(i) }}{% endfor %};
{% endfor %}
{% endmacro %}
"""
COUNTING = """\
{% set ns = namespace(n=0) %}
{% macro count() %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endmacro %}
"""
READING = '{% set names = services() | map(attribute="name") | list %}{% set first = names[:1] %}'
LOOP = "{% for s in services() %}BODY;\n{% endfor %}"
BODIES = {
    "plain": "{{ s.name }} {% for i in service(s.name) %}{{ i.address }}:{{ i.port }} {{ i.weight }}{% endfor %}",
    "service alone": "{{ s.name }} {{ s.tags | join }}",
    "claim of the service alone": "{{ claim('name', s.name) }}{{ around }}",
    "value of all beside the service alone": "{{ s.name }}{{ total }}",
    "number of the loop": "{{ loop.index }} {{ service(s.name) | length }}",
    "neighbour in the loop": "{{ (loop.previtem | default(s)).name }}{{ service(s.name) | length }}",
    "number of an inner loop": "{% for i in service(s.name) %}{{ loop.index }}{{ i.port }}{% endfor %}",
    "namespace": "{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ service(s.name) | length }}",
    "own namespace": "{% set own = namespace(n=0) %}{% for i in service(s.name) %}{% set own.n = own.n + i.port %}"
    "{% endfor %}{{ own.n }}",
    "cycler": "{{ turn.next() }}{{ service(s.name) | length }}",
    "cycler's method": "{{ next() }}{{ service(s.name) | length }}",
    "counting macro": "{{ counted() }}{{ service(s.name) | length }}",
    "counting module": "{{ counting.count() }}{{ service(s.name) | length }}",
    "reading module": "{{ reading.first | join }}{{ reading.names | length }}{{ service(s.name) | length }}",
    "library": "{% for i in service(s.name) %}{{ library.one(i) }}{% endfor %}",
    "macro that loops": '{{ library.all("http") }}{{ service(s.name) | length }}',
    "set by a branch": "{% if service(s.name) %}{% set around = s.name %}{% endif %}{{ around }}",
    "set around": "{{ around }}{% set around = s.name %}{{ around }}{{ service(s.name) | length }}",
    "value of all": "{{ total }}{{ service(s.name) | length }}",
    "list of all": "{{ names | length }}{{ names[0] }}{{ service(s.name) | length }}",
    "other service": "{{ service(first) | length }}{{ service(s.name) | length }}",
    "statuses": "{{ service(s.name, status=['passing', 'critical']) | length }}",
    "claim": "{{ claim('name', s.name) }}{{ service(s.name) | length }}",
    "claim of who was read last": "{{ claim('name', 'all') }}{{ service(s.name) | length }}",
    "port": "{% if 'tcp' in s.tags %}{{ s.listen_port }}{% endif %}{{ service(s.name) | length }}",
    "call block": "{% call library.one(service(s.name)[0] if service(s.name) else first_one) %}{% endcall %}",
    "filter block": "{% filter upper %}{{ s.name }}{{ service(s.name) | length }}{% endfilter %}",
    "block set": "{% set x %}{{ s.name }}{{ service(s.name) | length }}{% endset %}{{ x }}{{ x }}",
    "include": "{% include 'part.j2' %}{{ service(s.name) | length }}",
    "quoted": "{% for i in service(s.name) %} {{ i.node | quote }} {{ i.meta.x | default('-') | quote }}{% endfor %}",
    "printed as it is": "{% for i in service(s.name) %}{{ i.meta.x | default('-') }}{% endfor %}",
}
TOP = """\
{% import "library.j2" as library %}
{% import "counting.j2" as counting %}
{% import "reading.j2" as reading %}
{% from "library.j2" import one %}
{% set ns = namespace(n=0) %}
{% set turn = cycler("a", "b") %}
{% set next = turn.next %}
{% set around = "around" %}
{% set names = services() | map(attribute="name") | list or ["-"] %}
{% set total = names | length %}
{% set first = names[0] %}
{% set first_one = {"address": "-", "port": 0} %}
{% macro counted() %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endmacro %}
"""
TOP_NAME = re.compile(r"{% (?:import \S+ as|from \S+ import|set|macro) (\w+)")

services = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c-80", "d-80", "e"]),
        st.sampled_from([("http",), ("tcp",), ("http", "tcp")]),
        st.lists(
            st.tuples(
                st.integers(1, 3),
                st.sampled_from([Status.PASSING, Status.CRITICAL]),
                st.sampled_from(["n1", "n 2"]),
                st.sampled_from(["ok", "not ok;"]),
            ),
            max_size=2,
        ),
    ),
    max_size=5,
    unique_by=lambda service: service[0],
)


def made(service):
    name, tags, rows = service
    found = [
        instance(name, number, port=port, status=status, node=node, meta={"x": x}, tags=tags, created=port)
        for number, (port, status, node, x) in enumerate(rows)
    ]
    return name, tags, tuple(found)


def next_world(known, wanted):
    """The answers for what is registered now; an answer that did not change is the very same."""
    new = answers(*map(made, wanted))
    return {
        query: known[query] if query in known and known[query].value == answer.value else answer
        for query, answer in new.items()
    }


def outcome(renderer, snapshot, places=()):
    try:
        return renderer.render(snapshot, places)
    except TemplateError as exc:
        return str(exc)


def template_of(folder, body):
    (folder / "library.j2").write_text(LIBRARY)
    (folder / "counting.j2").write_text(COUNTING)
    (folder / "reading.j2").write_text(READING)
    (folder / "part.j2").write_text("{{ s.name }}{{ ns.n }}")
    loop = LOOP.replace("BODY", body)
    return load(top_for(body) + loop + loop, folder=folder)


def top_for(body):
    """Return the lines of TOP that a body needs."""
    needed, lines = body.replace("part.j2", "ns"), []
    for line in reversed(TOP.splitlines(keepends=True)):
        if set(re.findall(r"\w+", TOP_NAME.search(line)[1])) & set(re.findall(r"\w+", needed)):
            needed += line
            lines.insert(0, line)
    return "".join(lines)


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])
def test_a_text_with_fragments_is_the_text_without(body, tmp_path_factory):
    folder = tmp_path_factory.mktemp("templates")
    template, plain = template_of(folder, body), template_of(folder, body)

    @settings(max_examples=examples(8))
    @given(st.lists(services, min_size=2, max_size=5), st.booleans(), st.sampled_from([1, 2, 32]))
    def check(worlds, is_proven, mean):
        places = (ConfigPlace(),) if is_proven else ()
        renderer, known = anew(template), {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fragments, "STRETCH", mean)
            for wanted in worlds:
                known, other = next_world(known, wanted), anew(plain)
                found = outcome(renderer, Snapshot(known), places)
                assert found == outcome(other, Snapshot(known), places)
                assert isinstance(found, str) or recorded(renderer) == recorded(other)

    check()


def recorded(renderer):
    """What the last pass recorded of data, besides its text; the numbers of prints go on from one pass to the next."""
    return [
        (run.used, run.claims, [record for _, record in run.prints or ()], frozenset().union(*run.printing))
        for run in renderer._state.runs
    ]


def kept(renderer):
    """The fragments of the last pass."""
    casts = renderer._templates[0]._environment.fragments._casts.values()
    memos = [memo for each in casts for memo in each.values()]
    found = {id(one): one for memo in memos for one in memo.now.values()}
    singles = (one for memo in memos for stretch in memo.stretches.values() for one in stretch.singles.values())
    return [*(found | {id(one): one for one in singles}).values()]


def names(count):
    return [f"s{number}" for number in range(count)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{% for s in services() %}{{ s.name }}{{ service(s.name) | length }}{% endfor %}", id="loop"),
        pytest.param('{% import "nginx.j2" as nginx %}{{ nginx.http_upstreams() }}', id="shipped macros"),
    ],
)
def test_only_the_fragment_of_what_changed_is_rendered_anew(text):
    renderer = Renderer([load(text)])
    before = answers(*(web(name=name) for name in names(5)))
    renderer.render(Snapshot(before))
    first = kept(renderer)
    after = before | {query: answer for query, answer in answers(web(name="s3", count=2)).items() if query in before}
    after = {query: before[query] if query == next(iter(before)) else answer for query, answer in after.items()}
    read_again = ServiceQuery(name="s1")
    after[read_again] = Answer(query=read_again, value=before[read_again].value, index=7)
    renderer.render(Snapshot(after))
    second = kept(renderer)
    assert (len(first), len(second)) == (5, 5)
    assert sum(any(new is old for old in first) for new in second) == 4


@pytest.mark.parametrize(
    "loop", ["services()", 'services(tag="http") | sort(attribute="name")', 'services() if "http" in s.tags']
)
def test_a_loop_over_services_that_reads_nothing_else_is_cut(loop):
    renderer = Renderer([load(f"{{% for s in {loop} %}}{{{{ s.name }}}};\n{{% endfor %}}")])
    renderer.render(Snapshot(answers(*(web(name=name) for name in names(5)))))
    first = kept(renderer)
    renderer.render(Snapshot(answers(*(web(name=name) for name in names(4)), web(name="s4", tags=("http", "new")))))
    second = kept(renderer)
    assert (len(first), len(second)) == (5, 5)
    assert sum(any(new is old for old in first) for new in second) == 4


def test_what_is_no_longer_printed_is_forgotten():
    renderer = Renderer([load("{% for s in services() %}{{ s.name }}{{ service(s.name) | length }}{% endfor %}")])
    for count in (5, 2):
        renderer.render(Snapshot(answers(*(web(name=name) for name in names(count)))))
    assert len(kept(renderer)) == 2


def test_fragments_of_those_left_out_are_bounded():
    text = "{% for s in services() %}{{ s.name }}{% for i in service(s.name) %}{{ i.node }}{% endfor %}{% endfor %}"
    renderer = Renderer([load(text)])
    everybody = names(12)
    for evil in itertools.islice(itertools.cycle(everybody), 24):
        world = answers(*(web(name=name, node="evil;" if name == evil else "n") for name in everybody))
        assert [rejection.service for rejection in renderer.render(Snapshot(world)).quarantined] == [evil]
    assert len(renderer._templates[0]._environment.fragments._casts) <= 4


def calls_of_a_change(services, template):
    """Return how many functions are called when one of so many services gets another instance."""
    renderer = Renderer([load(template)])
    shown = answers(*(web(name=f"s{number:03}") for number in range(services)))
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    for number in (1, 2):  # the first change fills the caches
        more = answers(web(name=f"s{number:03}", count=4))
        shown |= {query: answer for query, answer in more.items() if query.argument}
        calls, snapshot = 0, Snapshot(shown)
        sys.setprofile(count)
        try:
            renderer.render(snapshot)
            renderer.accept()
        finally:
            sys.setprofile(None)
    return calls


def test_a_change_takes_a_few_calls_for_each_service_that_did_not_change():
    template = (Path(__file__).parents[2] / "templates/nginx.conf.j2").read_text()
    few, many = (calls_of_a_change(services, template) for services in (100, 300))
    assert many - few < 200 * 6  # less than one for each of its three instances and for what is claimed of it
