"""What is left out is a service, an instance or a service's listing by a tag: in combination, and undone again."""

import pytest
from rendering import answers, instance, load, web

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import ServiceQuery
from ctemplate.template import Renderer

HTTP = """\
{% for s in services(tag="http") %}{% for i in service(s.name, tag="http") %}
http {{ s.name }} {{ i.port }} {{ i.meta.v }};
{% endfor %}{% endfor %}
"""
STREAM = """\
{% for s in services(tag="tcp") %}{% for i in service(s.name, tag="tcp") %}
tcp {{ s.name }} {{ s.listen_port }} {{ i.port }};
{% endfor %}{% endfor %}
"""


def service(name, *values, tags=("http", "tcp"), created=1):
    instances = [
        instance(name, number, tags=tags, created=created, meta={"v": value}) for number, value in enumerate(values)
    ]
    return name, tags, tuple(instances)


def lines(rendering):
    return [line for text in rendering.texts for line in text.splitlines() if line]


def left_out(rendering):
    return [(rejection.service, rejection.instance, rejection.field) for rejection in rendering.quarantined]


def test_an_instance_and_a_port_of_one_service_are_left_out_beside_each_other_and_come_back_alone():
    first, other = service("a-99", "x", tags=("tcp",)), service("web", "1", tags=("http",))
    renderer = Renderer([load(HTTP), load(STREAM)], hold=lambda _: 0.0)

    def rendered(*values, others=(first, other)):
        return renderer.render(Snapshot(answers(*others, service("b-99", *values, created=2))), now=0.0)

    found = rendered("1", "two words")
    assert left_out(found) == [("b-99", "", "tcp port"), ("b-99", "b-99-1", "meta 'v'")]
    assert lines(found) == ["http b-99 8000 1;", "http web 8000 1;", "tcp a-99 99 8000;"]
    found = rendered("1", "2")
    assert left_out(found) == [("b-99", "", "tcp port")]
    assert lines(found) == ["http b-99 8000 1;", "http b-99 8001 2;", "http web 8000 1;", "tcp a-99 99 8000;"]
    found = rendered("1", "two words", others=(other,))
    assert left_out(found) == [("b-99", "b-99-1", "meta 'v'")]
    assert lines(found) == ["http b-99 8000 1;", "http web 8000 1;", "tcp b-99 99 8000;"]
    found = rendered("two words", "two words")
    assert left_out(found) == [("b-99", "b-99-0", "meta 'v'")]
    assert lines(found) == ["http web 8000 1;", "tcp a-99 99 8000;"]


def test_a_service_whose_last_good_data_stay_in_use_keeps_its_port_before_one_that_is_older():
    renderer = Renderer([load(HTTP), load(STREAM)], hold=lambda _: 10.0)
    renderer.render(Snapshot(answers(service("b-99", "1", created=2))), now=0.0)
    renderer.accept()
    found = renderer.render(
        Snapshot(answers(service("a-99", "x", tags=("tcp",)), service("b-99", "two words", created=2))), now=1.0
    )
    assert lines(found) == ["http b-99 8000 1;", "tcp b-99 99 8000;"]
    assert [rejection.service for rejection in found.kept] == ["b-99"]
    assert left_out(found) == [("a-99", "", "tcp port")]


def test_an_edit_that_takes_a_live_port_away_is_not_used():
    services = (service("a", "1", tags=("http",)), service("b-99", "1", created=2))
    live = Renderer([load(HTTP + STREAM)])
    live.render(Snapshot(answers(*services)), now=0.0)
    live.accept()
    edit = '{% for s in services(tag="http") %}{{ claim("tcp port", "99", s) }}\n{% endfor %}'
    with pytest.raises(TemplateError, match=r"it is live, so the edit is not used"):
        Renderer([load(edit + HTTP + STREAM)], before=live).render(Snapshot(answers(*services)), now=1.0)


@pytest.mark.parametrize("was_live", [True, False])
def test_who_uses_up_what_there_is_for_all_keeps_its_last_good_data_where_it_was_live(was_live):
    renderer = Renderer([load(HTTP, steps=2_000)], hold=lambda _: 10.0)
    others = [service(name, "1", tags=("http",)) for name in ("a", "b", "c")]
    before = [*others, service("big", "1", tags=("http",))] if was_live else others
    renderer.render(Snapshot(answers(*before)), now=0.0)
    renderer.accept()
    found = renderer.render(Snapshot(answers(*others, service("big", *["1"] * 3_000, tags=("http",)))), now=1.0)
    assert [line.split()[1] for line in lines(found)] == ["a", "b", *(["big"] if was_live else []), "c"]
    (rejection,) = found.kept if was_live else found.quarantined
    assert (rejection.service, rejection.field) == ("big", "size")
    again = renderer.render(Snapshot(answers(*others, service("big", "2", tags=("http",)))), now=2.0)
    assert (again.kept, again.quarantined, len(lines(again))) == ((), (), 4)


def test_a_value_in_the_wrong_place_of_another_format_costs_its_instance_alone():
    each = '{% for i in service(s.name) %}{"v": {{ i.meta.v }}},{% endfor %}'
    renderer = Renderer([load(f"[{{% for s in services() %}}{each}{{% endfor %}}0]", escape="json")])
    found = renderer.render(Snapshot(answers(service("a", "1", "x y", "3"), service("b", "4"))))
    assert found.texts == ('[{"v": 1},{"v": 3},{"v": 4},0]',)
    assert left_out(found) == [("a", "a-1", "meta 'v'")]


def test_a_remark_outlives_those_that_are_left_out():
    text = HTTP + '{% for i in service("wbe") %}{{ i.port }}{% endfor %}'
    snapshot = answers(web(meta={"v": "1"}), service("bad", "two words"))
    found = Renderer([load(text)], hold=lambda _: 0.0).render(
        Snapshot({**snapshot, **answers(("wbe", (), ()))} | {key: snapshot[key] for key in snapshot})
    )
    assert left_out(found) == [("bad", "bad-0", "meta 'v'")]
    assert ['service("wbe")' in remark for remark in found.remarks] == [True]


def test_a_text_is_proven_with_the_upstreams_of_another_while_one_instance_is_left_out():
    pools = load("{% for s in services() %}upstream {{ s.name }} { server 10.0.0.1:80; }\n{% endfor %}")
    sites = load(
        "{% for s in services() %}{% for i in service(s.name) %}"
        "server { location /{{ i.id }} { proxy_pass http://{{ i.meta.to | default(s.name) }}; } }\n"
        "{% endfor %}{% endfor %}"
    )
    bad = instance("web", 1, meta={"to": "10.9.9.9:1"})
    snapshot = answers(("web", ("http",), (instance("web"), bad)), ("api", ("http",), (instance("api"),)))
    renderer = Renderer([pools, sites], hold=lambda _: 0.0)
    found = renderer.render(Snapshot(snapshot), (ConfigPlace(inside=b"http"), ConfigPlace(inside=b"http")), now=0.0)
    assert left_out(found) == [("web", "web-1", "meta 'to'")]
    assert [line for line in lines(found) if "web-0" in line or "api-0" in line] == [
        "server { location /api-0 { proxy_pass http://api; } }",
        "server { location /web-0 { proxy_pass http://web; } }",
    ]
    assert ServiceQuery(name="web") in found.used
