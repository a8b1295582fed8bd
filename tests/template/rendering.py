"""Services and templates for the tests of rendering."""

from pathlib import Path

from ctemplate.core.model import Answer, Instance, Service, Snapshot
from ctemplate.queries import NginxBuildQuery, ServiceQuery, ServicesQuery
from ctemplate.template import Renderer, RenderLimits, Template
from ctemplate.template.language.source_text import SourceText

NOWHERE = Path("/no/such/folder")


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
    """Load a template's text, named ``t.j2``; in a folder it is a file."""
    source = Path(folder or NOWHERE) / "t.j2"
    if folder is not None:
        source.write_text(text)
    return Template.load(
        source,
        variables=variables or {},
        environ=environ or {},
        escape=escape,
        limits=RenderLimits(**limits),
        text=SourceText(path=source, contents=None if folder else text),
    )


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
