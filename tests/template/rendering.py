"""Services and templates for the tests of rendering."""

import functools
import tempfile
from pathlib import Path

from ctemplate.core.model import Answer, Instance, Service, Snapshot
from ctemplate.queries import NginxBuildQuery, ServiceQuery, ServicesQuery
from ctemplate.template import Renderer, RenderLimits, Template


def instance(name, number=0, **fields):
    defaults = {
        "datacenter": "dc1",
        "id": f"{name}-{number}",
        "node": f"node{number}",
        "address": f"10.0.0.{number + 1}",
        "port": 8000 + number,
    }
    return Instance(name=name, **(defaults | fields))


def answers(*services):
    """Answers for services given as ``(name, tags, instances)``."""
    known = tuple(Service(name=name, tags=tuple(tags)) for name, tags, _ in sorted(services))
    found = {ServicesQuery(): Answer(query=ServicesQuery(), value=known)}
    for name, _, instances in services:
        query = ServiceQuery(name=name)
        found[query] = Answer(query=query, value=tuple(instances))
    return found


def world(*services):
    """A snapshot of services, on a host whose nginx is unknown."""
    nginx = NginxBuildQuery(path="nginx")
    return Snapshot(answers(*services) | {nginx: Answer(query=nginx, value=())})


def web(*, name="web", count=1, tags=("http",), **fields):
    """One service with that many instances."""
    return name, tags, tuple(instance(name, number, tags=tuple(tags), **fields) for number in range(count))


def load(text, *, folder=None, variables=None, environ=None, escape="nginx", **limits):
    """Load a template's text from a file named ``t.j2``."""
    source = Path(folder or _folder().name) / "t.j2"
    source.write_text(text)
    return Template.load(
        source, variables=variables or {}, environ=environ or {}, escape=escape, limits=RenderLimits(**limits)
    )


@functools.cache
def _folder():
    """One folder for all templates of this process: each is read when it is loaded, and no more."""
    return tempfile.TemporaryDirectory()


def anew(template):
    """A renderer of a template that has rendered nothing yet; compiling it again would take most of the time."""
    environment = template._environment
    environment.fragments._casts.clear()
    template._functions._made.clear()
    for compiled in environment.cache.values():
        compiled._made, compiled._constant = None, {}
    return Renderer([template])


def render(text, snapshot=None, **options):
    return Renderer([load(text, **options)]).render(snapshot or Snapshot({}))


def text_of(text, snapshot=None, **options):
    """The text of a template over a snapshot from which nothing is left out or missing."""
    rendering = render(text, snapshot, **options)
    assert rendering.quarantined == ()
    assert rendering.missing == frozenset()
    return rendering.texts[0]


def message(error, text="t.j2"):
    """The error's sentence without the folder of the test's template."""
    return str(error.value)[str(error.value).index(text) :]
