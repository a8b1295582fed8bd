"""A template without an earlier rendering: what it takes for its own fault, and what for that of data."""

import pytest
from rendering import answers, instance, load

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer

HTTP = (ConfigPlace(inside=b"http"),)
TEXT = """\
{% for s in services(tag="http") %}
upstream {{ s.name }} {
{% for i in service(s.name) %}
    server {{ i.address }}:{{ i.port }}
        LINE
    ;
{% endfor %}
}
{% endfor %}
{% for i in service("consul") %}
# {{ i.address }}
{% endfor %}
"""
THEIRS = "{% if 'x' in i.meta %}\nPRINTED\n{% endif %}"
VALUE = THEIRS.replace("PRINTED", "{{ i.meta.x }}")
MISSING = THEIRS.replace("PRINTED", "{{ i.meta.y }}")
NUMBER = THEIRS.replace("PRINTED", "max_fails={{ i.meta.x | int('no') + 1 }}")
PREFIXED = "{% for t in i.tags if t.startswith('at:') %}\n{{ t[3:] }}\n{% endfor %}"
PAIRED = "{% for t in i.tags if '=' in t %}\n{{ t.split('=')[1] }}\n{% endfor %}"
IN_JSON = "{% if i.meta.x %}\n{{ (i.meta.x | from_json).v }}\n{% endif %}"
BAD = {"x": "a b"}
SERVED = "server 10.0.0.{}:80;"


def service(name, number, *metas, tags=("http",)):
    """A service with an instance for each meta, at an address made of the service's number and the instance's."""
    made = (
        instance(name, each, address=f"10.0.{each}.{number}", port=80, tags=tags, meta=meta)
        for each, meta in enumerate(metas)
    )
    return name, tags, tuple(made)


def tagged(count, tag):
    return [service(f"bad{number}", 100 + number, {}, tags=("http", tag)) for number in range(count)]


def honest(count):
    return [service(f"good{number}", number, {}) for number in range(count)]


def strangers(count, meta=BAD):
    return [service(f"bad{number}", 100 + number, meta) for number in range(count)]


CONSUL = service("consul", 99, {}, tags=())


def snapshot_of(*services):
    """The answers; that for consul is empty unless it is among the services."""
    return Snapshot(answers(("consul", (), ())) | answers(*services))


def render(line, services, live=""):
    renderer = Renderer([load(TEXT.replace("LINE", line))], live_text=lambda: live)
    return renderer.render(snapshot_of(*services), HTTP)


@pytest.mark.parametrize(
    ("line", "meta", "good", "bad"),
    [
        pytest.param(VALUE, BAD, 3, 1, id="a-value-of-one"),
        pytest.param(VALUE, BAD, 3, 5, id="values-of-more-than-the-others"),
        pytest.param(VALUE, BAD, 1, 30, id="values-of-many-more"),
        pytest.param(NUMBER, {"x": "none"}, 1, 5, id="values-that-break-the-template"),
        pytest.param(MISSING, BAD, 3, 1, id="a-line-that-is-wrong-itself-and-few-reach"),
        pytest.param(THEIRS.replace("PRINTED", "{{ i.tags | json }}"), BAD, 3, 2, id="such-a-line-with-quotes"),
    ],
)
def test_services_that_alone_reach_a_line_are_left_out(line, meta, good, bad):
    rendering = render(line, [*honest(good), *strangers(bad, meta)])
    assert {one.service for one in rendering.quarantined} == {f"bad{number}" for number in range(bad)}
    assert [f"upstream good{number} " in rendering.texts[0] for number in range(good)] == [True] * good


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        pytest.param(PREFIXED, tagged(5, "at:a b"), id="behind-a-mark"),
        pytest.param(PREFIXED, tagged(5, "at:"), id="nothing-behind-a-mark"),
        pytest.param(PREFIXED.replace("at:", "at-"), tagged(5, "at-{"), id="behind-a-dash"),
        pytest.param(PREFIXED.replace("at:", "at."), tagged(5, "at.x;"), id="behind-a-dot"),
        pytest.param(PAIRED, tagged(5, "a=; }=1"), id="between-two-marks"),
        pytest.param(PAIRED, tagged(5, "a=$x"), id="of-a-pair"),
        pytest.param(IN_JSON, strangers(5, {"x": '{"v": "a b"}'}), id="in-json"),
    ],
)
def test_services_whose_texts_choose_the_line_and_break_it_are_left_out(line, bad):
    rendering = render(line, [*honest(2), *bad])
    assert {one.service for one in rendering.quarantined} == {f"bad{number}" for number in range(5)}
    assert [f"upstream good{number} " in rendering.texts[0] for number in range(2)] == [True, True]


@pytest.mark.parametrize("line", ["{{ i.meta.x }}", VALUE])
def test_other_instances_of_the_service_acquit_the_line(line):
    rendering = render(line, [service("web", 1, {"x": "down"}, {"x": "a b"}, {"x": "backup"})])
    assert [(one.service, one.instance) for one in rendering.quarantined] == [("web", "web-1")]


def test_one_instance_that_alone_reaches_a_line_is_left_out():
    rendering = render(MISSING, [service("web", 1, {}, {}, BAD)])
    assert [(one.service, one.instance) for one in rendering.quarantined] == [("web", "web-2")]


@pytest.mark.parametrize(
    ("line", "services", "live", "words"),
    [
        pytest.param("{{ i.meta.z }}", honest(1), "", "no key 'z' here", id="the-only-service"),
        pytest.param("{{ i.meta.z }}", [*honest(3), CONSUL], "", "no key 'z' here", id="all-but-another-part"),
        pytest.param("{{ i.tags | json }}", [*honest(3), CONSUL], "", "is no plain token", id="quotes-in-all"),
        pytest.param(VALUE, strangers(1), "", "is no plain token", id="values-of-all"),
        pytest.param(
            VALUE, [*strangers(2), CONSUL], SERVED.format(100), "is no plain token", id="values-of-all-that-is-live"
        ),
        pytest.param(
            PREFIXED.replace("t[3:]", "i.meta.y"),
            [*honest(2), *tagged(3, "at:x")],
            "",
            "no key 'y' here",
            id="a-line-that-is-wrong-whatever-follows-the-mark",
        ),
        pytest.param(
            MISSING, [*honest(9), *strangers(1)], SERVED.format(100), "no key 'y' here", id="a-wrong-line-and-live"
        ),
    ],
)
def test_a_first_version_that_is_wrong_is_refused_whole(line, services, live, words):
    with pytest.raises(TemplateError, match=words):
        render(line, services, live)


@pytest.mark.parametrize("number", [0, 100], ids=["of-an-honest-service", "of-nobody-else"])
def test_a_live_address_freezes_no_service_where_the_value_is_the_fault(number):
    bad = ("bad", ("http",), (instance("bad", address=f"10.0.0.{number}", port=80, tags=("http",), meta=BAD),))
    rendering = render(VALUE, [*honest(3), bad], SERVED.format(number))
    assert [one.service for one in rendering.quarantined] == ["bad"]


def test_an_edit_at_a_line_that_only_a_stranger_reaches_goes_live_without_the_stranger():
    before = Renderer([load(TEXT.replace("LINE", ""))])
    snapshot = snapshot_of(*honest(2), *strangers(1))
    before.render(snapshot_of(*honest(2)), HTTP)
    before.accept()
    edited = Renderer([load(TEXT.replace("LINE", VALUE))], before=before)
    assert [one.service for one in edited.render(snapshot, HTTP).quarantined] == ["bad0"]
    wrong = Renderer([load(TEXT.replace("LINE", MISSING))], before=before)
    with pytest.raises(TemplateError, match="no key 'y' here"):
        wrong.render(snapshot, HTTP)


def test_an_error_that_follows_from_what_was_left_out_says_so():
    text = 'server { location / { proxy_pass http://{{ service("web")[0].name }}; } }\n'
    with pytest.raises(TemplateError) as caught:
        Renderer([load(text)]).render(Snapshot(answers(service("web", 1, {}))), HTTP)
    assert 'service("web") is empty, so it has no item 0; ' in str(caught.value)
    assert "; before that, service 'web' was left out: " in str(caught.value)
    assert "names no upstream of this configuration" in str(caught.value)
