"""An edit after which no live server is printed, although the services are there, is refused; others pass."""

import pytest
from rendering import answers, instance, load

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Snapshot, Status
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer

HTTP = (ConfigPlace(inside=b"http"),)
LIST = """\
{% for s in services(tag="http") %}
upstream {{ s.name }} {
{% for i in service(s.name) %}server {{ i.address }}:{{ i.port }};
{% else %}server 127.0.0.1:1 down;
{% endfor %}}
server { server_name {{ s.name }}; location / { proxy_pass http://{{ s.name }}; } }
{% endfor %}
"""
ONE = """\
upstream web { {% for i in service("web") %}server {{ i.address }}:{{ i.port }}; {% endfor %}server 127.0.0.1:1 down; }
"""
LOOP, IF = "for i in service(s.name) %", "for i in service(s.name) if i.meta.weigth %"
WEB_LOOP = 'service("web")'


def services(**changed):
    fields = {"tags": ("http",), "meta": {"host": "web-1.example", "weight": "5"}} | changed
    web = ("web", ("http",), (instance("web", 0, **fields), instance("web", 1, **fields)))
    return web, ("api", ("http",), (instance("api", 2, **fields),))


def edit(old, new, before=None, after=None, places=HTTP):
    """An edit of a live template, and its rendering."""
    first = Renderer([load(old)])
    live = first.render(Snapshot(answers(*(before or services()))), places).texts[0]
    first.accept()
    second = Renderer([load(new)], before=first, live_text=lambda: live)
    return second, second.render(Snapshot(answers(*(after or services()))), places)


def edited(old, new, before=None, after=None, places=HTTP):
    """The text of an edit of a live template."""
    return edit(old, new, before, after, places)[1].texts[0]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        pytest.param(LIST, LIST.replace(LOOP, IF), "live servers (3) of service 'api' and 1 more", id="key"),
        pytest.param(LIST, LIST.replace('"http"', '"htpp"'), "live servers (3) of service 'api' and 1 more", id="tag"),
        pytest.param(
            LIST,
            LIST.replace("service(s.name)", 'service(s.name, tag="htpp")'),
            "live servers (3)",
            id="tags",
        ),
        pytest.param(
            ONE, ONE.replace(WEB_LOOP, 'service("web", tag="htpp")'), "live servers (2) of service 'web'", id="by-name"
        ),
        pytest.param(
            LIST,
            ONE.replace(WEB_LOOP, 'service("web", tag="x")'),
            "live servers (2) of service 'web'",
            id="read",
        ),
    ],
)
def test_an_edit_that_prints_no_live_server_is_refused(old, new, what):
    with pytest.raises(TemplateError) as caught:
        edited(old, new)
    assert what in str(caught.value)
    assert "it is live, so the edit is not used" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(ONE, "upstream web { server 127.0.0.1:1 down; }\n", id="the-call-is-taken-out"),
        pytest.param(LIST, LIST.replace("services(tag=", "[] and services(tag="), id="nothing-is-read"),
        pytest.param(LIST, ONE, id="one-service-is-left"),
        pytest.param(ONE, ONE.replace(WEB_LOOP, 'service("api")'), id="another-service"),
        pytest.param(ONE, ONE.replace(WEB_LOOP, 'service("new")'), id="another-service-without-instances"),
        pytest.param(LIST, LIST.replace("i.address }}", "i.meta.host }}"), id="host-names-instead"),
        pytest.param(LIST, LIST.replace("{{ i.address }}", "127.0.0.1"), id="ports-of-a-tunnel"),
        pytest.param(LIST, LIST.replace("{{ i.address }}", "{{ i.node }}"), id="nodes-instead"),
        pytest.param(
            ONE, 'upstream web { {% if service("web") %}server web.service.consul:80;{% endif %} }\n', id="names-of-dns"
        ),
        pytest.param(
            LIST,
            '{% for s in services(tag="http") %}location / { proxy_pass http://{{ s.name }}; }\n{% endfor %}',
            id="upstreams-of-another-file",
        ),
        pytest.param(ONE, ONE + "# edited\n", id="a-harmless-edit"),
    ],
)
def test_an_edit_on_purpose_passes(old, new):
    after = (*services(), ("new", (), ()))
    edited(old, new, after, after, places=())


@pytest.mark.parametrize("status", [Status.CRITICAL, Status.WARNING])
def test_data_that_lose_their_servers_during_an_edit_pass(status):
    gone = [("web", ("http",), ()), ("api", ("http",), ())]
    assert "down" in edited(LIST, LIST + "# edited\n", after=gone)
    edited(LIST, LIST.replace(LOOP, IF), after=services(status=status))


TWO = """\
upstream web { {% for i in service("web") %}server {{ i.address }}:{{ i.port }}; {% endfor %}server 127.0.0.1:1 down; }
upstream api { {% for i in service("api") %}server {{ i.address }}:{{ i.port }}; {% endfor %}server 127.0.0.1:1 down; }
"""
API_LOOP = 'service("api")'
ONE_HOST = {"address": "10.0.0.9", "node": "n", "node_address": "10.0.0.9", "meta": {"host": "h-1.example"}}


@pytest.mark.parametrize(
    ("old", "new", "removed"),
    [
        pytest.param(TWO, TWO.replace(WEB_LOOP, 'service("web", tag="x")'), ["'web' (2)"], id="a-tag-nobody-has"),
        pytest.param(TWO, TWO.replace(WEB_LOOP, f'{WEB_LOOP} | rejectattr("address")'), ["'web' (2)"], id="a-filter"),
        pytest.param(TWO, TWO.replace(WEB_LOOP, "[]"), ["'web' (2)"], id="the-call-is-taken-out"),
        pytest.param(TWO, TWO.replace(API_LOOP, "[]").replace(WEB_LOOP, "[]"), ["'api' (1)", "'web' (2)"], id="both"),
        pytest.param(LIST, LIST.replace(LOOP, f'{LOOP[:-2]} if s.name != "web" %'), ["'web' (2)"], id="an-if"),
        pytest.param(TWO, TWO.replace(WEB_LOOP, f"{WEB_LOOP}[:1]"), [], id="one-server-stays"),
        pytest.param(LIST, LIST.replace("{{ i.address }}", "{{ i.node }}"), [], id="nodes-instead"),
        pytest.param(LIST, LIST.replace("i.address }}", "i.meta.host }}"), [], id="host-names-instead"),
        pytest.param(TWO, TWO.replace(WEB_LOOP, "[]") + "# web.service.consul\n", [], id="names-of-dns"),
        pytest.param(TWO, TWO + "# edited\n", [], id="a-harmless-edit"),
    ],
)
@pytest.mark.parametrize("fields", [{}, ONE_HOST], ids=["hosts", "one-host"])
def test_services_that_an_edit_removes_are_named_once(old, new, removed, fields):
    renderer, rendering = edit(old, new, services(**fields), services(**fields), places=())
    assert [str(one) for one in rendering.removed] == removed
    renderer.accept()
    assert renderer.render(Snapshot(answers(*services(**fields)))).removed == ()


@pytest.mark.parametrize(
    ("gone", "status"), [(True, Status.PASSING), (False, Status.CRITICAL)], ids=["deregistered", "failing"]
)
def test_a_service_that_is_gone_or_fails_is_not_named(gone, status):
    after = (("web", ("http",), ()) if gone else services(status=status)[0], services()[1])
    assert edit(TWO, TWO.replace(WEB_LOOP, 'service("web", tag="x")'), after=after)[1].removed == ()


def listed(*names):
    """A snapshot with the list of services alone."""
    found = answers(*((name, ("http",), ()) for name in names))
    return Snapshot({query: answer for query, answer in found.items() if answer.value})


def test_a_later_process_knows_live_servers_by_the_list_and_the_live_file():
    first = Renderer([load(LIST)])
    live = first.render(Snapshot(answers(*services())), HTTP).texts[0]
    first.accept()
    edit = load(LIST.replace('"http"', '"htpp"'))
    later = Renderer([edit], baseline=first.baseline, live_text=lambda: live)
    with pytest.raises(TemplateError, match=r"live servers \(3\) of service 'api' and 1 more"):
        later.render(listed("web", "api"), HTTP)
    for text, snapshot in ((live, listed("new")), ("server 127.0.0.1:1 down;\n", listed("web", "api"))):
        later = Renderer([edit], baseline=first.baseline, live_text=lambda text=text: text)
        assert later.render(snapshot, HTTP).texts[0].strip() == ""
