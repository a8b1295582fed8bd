"""Whether a service would be left out because of an edited template or because of changed data."""

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st
from rendering import answers, instance, load

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Baseline, Renderer

HTTP = (ConfigPlace(inside=b"http"),)
TEXT = """\
{% for s in services(tag="http") %}{% for i in service(s.name) %}
server { server_name {{ s.name }}.x; # {{ i.address }}
LINE
}
{% endfor %}{% endfor %}
"""


def service(name, *instances, tags=("http",)):
    return name, tags, tuple(instance(name, number, tags=tags, **fields) for number, fields in enumerate(instances))


def plain(*names):
    return [service(name, {}) for name in names]


def rendered(text, services, *, before=None, baseline=None, hold=0.0, now=0.0):
    """A renderer that has rendered, and the rendering, which counts as live."""
    renderer = Renderer([load(text)], before=before, baseline=baseline, hold=lambda _: hold)
    rendering = renderer.render(Snapshot(answers(*services)), HTTP, now=now)
    renderer.accept()
    return renderer, rendering


def left_out(rendering):
    return [(rejection.service, rejection.instance) for rejection in rendering.quarantined]


def refusal(text, services, **options):
    with pytest.raises(TemplateError) as caught:
        rendered(text, services, **options)
    return str(caught.value).partition("t.j2:")[2]


WRONG = [
    pytest.param("return 200 {{ i.tags | json }};", "3: '[\"http\"]' is no plain token", id="printed-as-it-is"),
    pytest.param("return 200 {{ i.meta.weigth }};", "3: no key 'weigth' here", id="a-key-that-nobody-has"),
    pytest.param("root {{ s.name }};", "3: 's0' would choose what 'root' loads", id="where-no-value-belongs"),
]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
@pytest.mark.parametrize(("line", "words"), WRONG)
@pytest.mark.parametrize("is_edit", [False, True], ids=["first", "edit"])
def test_a_line_that_no_service_passes_is_at_fault_whatever_their_number(count, line, words, is_edit):
    names = [f"s{number}" for number in range(count)]
    services = [*plain(*names), *(service(f"other{number}", {}, tags=()) for number in range(20))]
    before = rendered(TEXT.replace("LINE", ""), services)[0] if is_edit else None
    said = refusal(TEXT.replace("LINE", line), services, before=before)
    assert said.startswith(words)
    assert "(service 's0')" in said


def test_an_edit_that_would_leave_out_what_is_live_is_refused_and_what_was_before_goes_on():
    services = [*plain("a", "b", "c"), service("d", {"meta": {"k": "v"}})]
    live, _ = rendered(TEXT.replace("LINE", ""), services)
    said = refusal(TEXT.replace("LINE", "return 200 {{ i.meta.k }};"), services, before=live)
    what = "no key 'k' here; give a default: | default(\"…\") (service 'a')"
    assert said == f"3: {what}; it is live, so the edit is not used"
    assert "a.x" in live.render(Snapshot(answers(*services)), HTTP).texts[0]


def test_what_was_live_is_known_to_the_next_process():
    services = [service("a", {}), service("b", {"meta": {"k": "v"}})]
    live, _ = rendered(TEXT.replace("LINE", ""), services)
    known = Baseline(template=live.baseline.template, lines=live.baseline.lines, live=live.baseline.live)
    assert "it is live" in refusal(TEXT.replace("LINE", "return 200 {{ i.meta.k }};"), services, baseline=known)


def test_strangers_that_half_fail_at_a_new_line_are_the_edits_fault():
    live, _ = rendered(TEXT.replace("LINE", ""), plain("a"))
    new = "{% if 'x' in i.meta %}\nreturn 200 {{ i.meta.x }};\n{% endif %}"
    bad, good = {"meta": {"x": "a b"}}, {"meta": {"x": "ab"}}
    services = [*plain("a"), service("n1", bad), service("n2", good)]
    assert "so it is" not in refusal(TEXT.replace("LINE", new), services, before=live)
    _, rendering = rendered(TEXT.replace("LINE", new), [*services, service("n3", good)], before=live)
    assert left_out(rendering) == [("n1", "n1-0")]


@pytest.mark.parametrize("count", [1, 4, 5, 30])
@pytest.mark.parametrize(
    ("line", "bad"),
    [
        pytest.param("return 200 {{ i.meta.k | default('v') }};", {"meta": {"k": "a b"}}, id="a-line-that-others-pass"),
        pytest.param(
            "{% if 'x' in i.meta %}return 200 {{ i.meta.x }};{% endif %}", {"meta": {"x": "a b"}}, id="a-line-of-theirs"
        ),
        pytest.param(
            "{% if 'x' in i.meta %}{{ i.meta.x | int + i.meta.y }}{% endif %}", {"meta": {"x": "1"}}, id="a-break"
        ),
        pytest.param(
            "{% if 'x' in i.meta %}root {{ i.meta.x }};{% endif %}", {"meta": {"x": "/etc"}}, id="where-none-belongs"
        ),
        pytest.param(
            "{% if 'x' in i.meta %}return 200 {{ i.meta.x | quote }};{% endif %}",
            {"meta": {"x": "a$b"}},
            id="what-no-quotes-can-carry",
        ),
    ],
)
def test_however_many_strangers_come_they_alone_are_left_out(count, line, bad):
    text = TEXT.replace("LINE", line)
    live, before = rendered(text, plain("a", "b"))
    strangers = [service(f"n{number:02}", bad) for number in range(count)]
    rendering = live.render(Snapshot(answers(*plain("a", "b"), *strangers)), HTTP)
    assert rendering.texts == before.texts
    assert [name for name, _ in left_out(rendering)] == [name for name, _, _ in strangers]


def test_the_next_process_takes_strangers_for_strangers_where_the_template_is_the_same():
    text = TEXT.replace("LINE", "{% if 'x' in i.meta %}return 200 {{ i.meta.x }};{% endif %}")
    live, before = rendered(text, plain("a"))
    same = Renderer([load(text)])
    same.baseline = Baseline.of(same._templates, ())
    assert same.baseline.lines == live.baseline.lines
    rendering = same.render(Snapshot(answers(*plain("a"), service("n", {"meta": {"x": "a b"}}))), HTTP)
    assert (rendering.texts, left_out(rendering)) == (before.texts, [("n", "n-0")])


INSTANCES = """\
{% for s in services(tag="http") %}{% set found = service(s.name) %}
upstream {{ s.name }} {
{% for i in found %}
server {{ i.address }}:{{ i.port }} PRINT;
{% endfor %}
}
{% endfor %}
"""
PARAMETER = "{% for t in i.tags if t != 'http' %} {{ t }}{% endfor %}"


@pytest.mark.parametrize(
    ("printed", "bad"),
    [
        pytest.param(PARAMETER, {"tags": ("http", "max_fails=3;")}, id="tag"),
        pytest.param("{{ i.meta.v | default('') }}", {"meta": {"v": "1.1 (rc 1)"}}, id="meta"),
        pytest.param(
            "weight={{ i.meta.w | default('1') | int + i.meta.n | default(0) }}", {"meta": {"n": "x"}}, id="break"
        ),
    ],
)
def test_one_instance_is_left_out_while_others_remain(printed, bad):
    text = INSTANCES.replace("PRINT", printed)
    good = [instance("web", number, tags=("http",)) for number in range(2)]
    third = instance("web", 2, **({"tags": ("http",)} | bad))
    live, _ = rendered(text, [("web", ("http",), (*good, third)), *plain("api")])
    rendering = live.render(Snapshot(answers(("web", ("http",), (*good, third)), *plain("api"))), HTTP)
    assert left_out(rendering) == [("web", "web-2")]
    assert rendering.texts[0].count("server 10.0.0") == 3


def test_a_tag_of_a_service_that_one_instance_brought_goes_with_that_instance():
    count = "{% set n = service(s.name) | length %}"
    text = "{% for s in services() %}" + count + "\n# {{ s.tags | join('/') }} {{ n }}\n{% endfor %}"
    instances = (instance("web", 0, tags=("a",)), instance("web", 1, tags=("a", "b c")))
    _, rendering = rendered(text, [("web", ("a", "b c"), instances), service("api", {}, tags=("z",))])
    assert left_out(rendering) == [("web", "web-1")]
    assert [line for line in rendering.texts[0].split("\n") if line] == ["# z 1", "# a 1"]


BAD = {"meta": {"v": "a b"}}


def test_the_last_good_data_of_a_service_stay_for_a_while_when_all_its_instances_fail():
    text = INSTANCES.replace("PRINT", "{{ i.meta.v | default('') }}")
    live, before = rendered(text, [service("web", {}, {}), *plain("api")], hold=60.0)
    both = Snapshot(answers(service("web", BAD, BAD), *plain("api")))
    rendering = live.render(both, HTTP, now=1.0)
    live.accept()
    assert (rendering.texts, [rejection.service for rejection in rendering.kept]) == (before.texts, ["web"])
    assert live.due_at() == 61.0
    still = live.render(Snapshot(answers(service("web", BAD), *plain("api"))), HTTP, now=50.0)
    assert still.texts == before.texts, "what fails anew does not begin a new while"
    late = live.render(both, HTTP, now=61.0)
    assert (left_out(late), late.kept) == ([("web", "web-0")], ())
    assert "upstream web" not in late.texts[0]
    mended = live.render(Snapshot(answers(service("web", {}, {}), *plain("api"))), HTTP, now=70.0)
    assert (mended.texts, mended.quarantined, live.due_at()) == (before.texts, (), None)


def test_a_service_that_was_never_live_has_no_data_to_keep():
    text = INSTANCES.replace("PRINT", "{{ i.meta.v | default('') }}")
    live, before = rendered(text, plain("api"), hold=60.0)
    rendering = live.render(Snapshot(answers(service("web", BAD), *plain("api"))), HTTP, now=1.0)
    assert (rendering.texts, left_out(rendering)) == (before.texts, [("web", "web-0")])


def test_an_error_after_a_loop_is_not_taken_for_a_fault_of_the_last_service():
    with pytest.raises(TemplateError) as caught:
        rendered(TEXT.replace("LINE", "") + "{{ unheard }}", plain("a", "b", "c", "d", "e", "f", "g"))
    assert str(caught.value).endswith("'unheard' is undefined")


STRANGERS = st.lists(
    st.lists(st.sampled_from([BAD, {"meta": {"x": "/etc"}}, {"meta": {"v": "a;}"}}, {}]), min_size=1, max_size=3),
    max_size=8,
)


@settings(max_examples=examples(20))
@given(st.lists(STRANGERS, max_size=4))
def test_whatever_strangers_register_the_honest_stay_and_nothing_of_theirs_is_more_than_a_value(history):
    line = "return 200 {{ i.meta.v | default('v') }};{% if 'x' in i.meta %}root {{ i.meta.x }};{% endif %}"
    honest = plain("a", "b", "c")
    live, _ = rendered(TEXT.replace("LINE", line), honest)
    for strangers in history:
        new = [service(f"n{number}", *instances) for number, instances in enumerate(strangers)]
        (text,) = live.render(Snapshot(answers(*honest, *new)), HTTP, now=0.0).texts
        live.accept()
        assert all(f"server_name {name}.x;" in text for name in "abc")
        assert not any(bad in text for bad in ("/etc", "a;}", "a b"))
