"""Who keeps a name, a port or a route that several services want: who had it, then what is live, then the oldest."""

import msgspec
import pytest
from rendering import answers, instance, load

from ctemplate.core.model import Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer
from ctemplate.template.baseline import Baseline

PLACE = (ConfigPlace(is_certain=True),)
CLAIMING = """
{% for svc in services(tag="http") %}
{% for i in service(svc.name) %}
# {{ i.name }} {{ claim("route", i.meta.route) }}
{% endfor %}
{% endfor %}
"""
PRINTING = """
http {
{% for svc in services(tag="http") %}
{% for i in service(svc.name) | sort(attribute="id") %}{% if loop.first %}
    upstream {{ i.meta.route }} { server {{ i.address }}:{{ i.port }}; }
{% endif %}{% endfor %}
{% endfor %}
}
"""


def one(name, route, *created):
    fields = {"tags": ("http",), "meta": {"route": route}, "address": f"10.0.0.{len(name)}"}
    return name, ("http",), tuple(instance(name, number, created=at, **fields) for number, at in enumerate(created))


class Site:
    """A renderer whose renderings become live; ``restart`` takes the baseline through its stored form."""

    def __init__(self, text):
        self.template = load(text)
        self.renderer = Renderer([self.template])

    def left_out(self, *services):
        rendering = self.renderer.render(Snapshot(answers(*services)), PLACE)
        self.renderer.accept()
        return [rejection.service for rejection in rendering.quarantined]

    def restart(self):
        stored = msgspec.json.encode(self.renderer.baseline)
        self.renderer = Renderer([self.template], baseline=msgspec.json.decode(stored, type=Baseline))


@pytest.mark.parametrize("text", [CLAIMING, PRINTING])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_rolling_deployment_keeps_what_the_service_had(text, restarts):
    site = Site(text)
    assert site.left_out(one("db", "shop", 10, 11)) == []
    assert site.left_out(one("db", "shop", 10, 11), one("a-evil", "shop", 20)) == ["a-evil"]
    assert site.left_out(one("db", "shop", 10, 11, 30), one("a-evil", "shop", 20)) == ["a-evil"]
    for created in ((30, 31), (31,), (32,)):
        if restarts:
            site.restart()
        assert site.left_out(one("db", "shop", *created), one("a-evil", "shop", 20)) == ["a-evil"]
    assert site.left_out(one("a-evil", "shop", 20)) == [], "free once the service that had it is gone"
    assert site.left_out(one("db", "shop", 40), one("a-evil", "shop", 20)) == ["db"]


@pytest.mark.parametrize("text", [CLAIMING, PRINTING])
def test_a_live_service_takes_nothing_from_one_that_is_older_but_was_deployed_since(text):
    site = Site(text)
    assert site.left_out(one("db", "shop", 10), one("a-evil", "own", 20)) == []
    assert site.left_out(one("db", "shop", 30), one("a-evil", "own", 20)) == []
    site.restart()
    assert site.left_out(one("db", "shop", 31), one("a-evil", "shop", 20)) == ["a-evil"]


def test_an_older_live_service_does_not_take_a_claim_that_another_had():
    site = Site(CLAIMING)
    assert site.left_out(one("db", "shop", 10), one("a-evil", "own", 5)) == []
    assert site.left_out(one("db", "shop", 10), one("a-evil", "shop", 5)) == ["a-evil"]


@pytest.mark.parametrize("first", ["a", "b"])
def test_of_two_that_swap_their_claims_one_stays(first):
    site = Site(CLAIMING)
    ages = {"a": (1, 2), "b": (2, 1)}[first]
    assert site.left_out(one("a", "x", ages[0]), one("b", "y", ages[1])) == []
    assert len(site.left_out(one("a", "y", ages[0]), one("b", "x", ages[1]))) <= 1


@pytest.mark.parametrize("text", [CLAIMING, PRINTING])
def test_of_two_that_are_new_the_oldest_has_the_name(text):
    assert Site(text).left_out(one("a", "shop", 20), one("b", "shop", 10)) == ["a"]


def test_a_baseline_of_an_earlier_release_tells_what_is_live():
    site = Site(PRINTING)
    site.left_out(one("db", "shop", 10))
    stored = msgspec.json.decode(msgspec.json.encode(site.renderer.baseline))
    earlier = {key: value for key, value in stored.items() if key not in {"claims", "created"}}
    site.renderer = Renderer([site.template], baseline=msgspec.convert(earlier, Baseline))
    assert site.left_out(one("db", "shop", 30), one("a-evil", "shop", 20)) == ["a-evil"]
