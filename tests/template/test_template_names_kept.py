"""Who keeps a name, a port or a route that several services want: who had it, then what is live, then the oldest."""

import time

import msgspec
import pytest
from rendering import answers, instance, load

from ctemplate.core.model import Answer, Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import KeyQuery, NodesQuery, TreeQuery
from ctemplate.queries.key import KeyEntry
from ctemplate.queries.nodes import CatalogNode
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

NAMING = """
http {
{% for svc in services(tag="http") %}
{% for i in service(svc.name) %}
    server { server_name {{ i.meta.route }}; return 200 {{ i.name }}; }
{% endfor %}
{% endfor %}
}
"""
ROUTING = """
http {
    server {
{% for svc in services(tag="http") %}
{% for i in service(svc.name) %}
        location /{{ i.meta.route }} { return 200 {{ i.name }}; }
{% endfor %}
{% endfor %}
    }
}
"""

CHAINED = """
http {
{% for svc in services(tag="http") %}
{% for i in service(svc.name) %}
    upstream {{ i.meta.route }} { server {{ i.address }}:{{ i.port }}; }
{% endfor %}
{% endfor %}
}
"""


def one(name, route, *created):
    fields = {"tags": ("http",), "meta": {"route": route}, "address": f"10.0.0.{len(name)}"}
    return name, ("http",), tuple(instance(name, number, created=at, **fields) for number, at in enumerate(created))


def two(name, *routes, created):
    _, tags, instances = one(name, "", created, created)
    both = zip(instances, routes, strict=True)
    return name, tags, tuple(msgspec.structs.replace(each, meta={"route": route}) for each, route in both)


def rejected(rendering):
    """Return the services that are left out, or rendered with their last good data."""
    return [rejection.service for rejection in (*rendering.quarantined, *rendering.kept)]


class Site:
    """A renderer whose renderings become live; ``restart`` takes the baseline through its stored form.

    ``remembers``: the last answers were stored as well.
    """

    def __init__(self, text):
        self.template = load(text)
        self.renderer = Renderer([self.template])

    def left_out(self, *services):
        self.answers = answers(*services)
        rendering = self.renderer.render(Snapshot(self.answers), PLACE)
        self.renderer.accept()
        return rejected(rendering)

    def restart(self, *, remembers=False):
        stored, known = msgspec.json.encode(self.renderer.baseline), self.renderer.known_good
        self.renderer = Renderer([self.template], baseline=msgspec.json.decode(stored, type=Baseline))
        if remembers:
            self.renderer.remember(known)
            self.renderer.remember_answers(self.answers.values())


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


@pytest.mark.parametrize("text", [CLAIMING, PRINTING, NAMING, ROUTING])
@pytest.mark.parametrize("restarts", [False, True])
def test_an_older_live_service_does_not_take_a_name_that_another_had(text, restarts):
    site = Site(text)
    before = (one("db", "shop", 10), one("a-evil", "own", 5))
    assert site.left_out(*before) == []
    if restarts:
        site.restart(remembers=True)
    taking = one("a-evil", "shop", 5)
    assert site.left_out(one("db", "shop", 10), taking) == ["a-evil"]
    assert site.left_out(one("db", "other", 10), taking) == [], "it is free once that service has another"


@pytest.mark.parametrize("text", [CLAIMING, PRINTING, NAMING, ROUTING])
def test_a_live_service_that_wants_the_name_of_another_keeps_its_own_for_a_while(text):
    renderer, wanting = Renderer([load(text)], hold=lambda _: 60.0), one("web", "shop", 5)

    def rendered(*services, place=PLACE, now=None):
        rendering = renderer.render(Snapshot(answers(*services)), place, now=now)
        renderer.accept()
        return rendering

    rendered(one("db", "shop", 10), one("web", "own", 5))
    for route in ("shop", "shop"):
        rendering = rendered(one("db", route, 10), wanting)
        assert [rejection.service for rejection in rendering.kept] == ["web"]
        assert all(word in rendering.texts[0] for word in ("shop", "own"))
    assert rejected(rendered(one("db", "other", 10), wanting)) == [], "it is free"
    rendered(one("db", "shop", 10), one("web", "own", 5))
    rendered(one("db", "shop", 10), wanting)
    late = rendered(one("db", "shop", 10), wanting, now=time.monotonic() + 61.0)
    assert [rejection.service for rejection in late.quarantined] == ["web"]


def test_last_good_data_whose_name_another_file_takes_are_of_no_use():
    site, wanting = Site(PRINTING), one("web", "shop", 5)
    assert site.left_out(one("db", "shop", 10), one("web", "own", 5)) == []
    own = frozenset({("http upstream", b"own")})
    rendering = site.renderer.render(
        Snapshot(answers(one("db", "shop", 10), wanting)), (ConfigPlace(is_certain=True, taken=own),)
    )
    assert [rejection.service for rejection in rendering.quarantined] == ["web"]


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


@pytest.mark.parametrize(("text", "count"), [(CLAIMING, 75), (PRINTING, 0), (CHAINED, 149)])
def test_many_that_each_want_the_next_ones_name_lose_it_in_few_passes(text, count):
    """Every second service loses what it claims; of printed names each service loses that of one instance."""
    site = Site(text)
    honest = one("db", "shop", 10)
    assert site.left_out(honest) == []
    chain = [two(f"evil{number:03}", f"r{number}", f"r{number + 1}", created=100 + number) for number in range(150)]
    assert len(site.left_out(honest, *chain)) == count


def hosts(tag, more=""):
    return f"""{more}
{{% for svc in services(tag="{tag}") %}}{{% for i in service(svc.name) %}}
server {{ listen 80; server_name {{{{ i.meta.route }}}}; return 200 "{{{{ svc.name }}}}"; }}
{{% endfor %}}{{% endfor %}}
"""


class Texts:
    """A group of two texts in one http block: servers of the services with the tags http and api."""

    def __init__(self, tmp_path, more=""):
        texts = hosts("http", more), hosts("api")
        folders = tmp_path / "a", tmp_path / "b"
        for folder in folders:
            folder.mkdir()
        self.renderer = Renderer([load(text, folder=folder) for text, folder in zip(texts, folders, strict=True)])

    def left_out(self, *services):
        place = ConfigPlace(inside=b"http", is_certain=True)
        rendering = self.renderer.render(Snapshot(answers(*services)), (place, place))
        self.renderer.accept()
        return {rejection.service for rejection in rendering.quarantined}


def api(name, route, *created):
    name, _, instances = one(name, route, *created)
    return name, ("api",), tuple(msgspec.structs.replace(each, tags=("api",)) for each in instances)


def test_two_texts_of_a_group_share_the_names_of_their_servers(tmp_path):
    texts = Texts(tmp_path)
    assert texts.left_out(one("db", "shop.x", 10)) == set()
    evil = [api(f"evil{number}", "Shop.x", 5) for number in range(100)]
    assert texts.left_out(one("db", "shop.x", 20), *evil) == {name for name, _, _ in evil}
    assert texts.left_out(one("db", "shop.x", 20), *evil) == {name for name, _, _ in evil}, "nothing has changed"
    assert texts.left_out(one("db", "shop.x", 20), api("api", "api.x", 5)) == set()
    assert texts.left_out(api("evil0", "shop.x", 5)) == set(), "the name is free"


def test_of_two_texts_services_that_are_new_the_oldest_has_the_name(tmp_path):
    assert Texts(tmp_path).left_out(one("b", "shop.x", 20), api("c", "shop.x", 10), api("d", "shop.x", 30)) == {
        "b",
        "d",
    }


def test_a_server_that_another_text_of_the_group_has_itself_is_nobodys(tmp_path):
    texts = Texts(tmp_path, "server { listen 80; server_name own.x; }")
    assert texts.left_out(one("db", "shop.x", 10), api("api", "own.x", 5)) == {"api"}


def test_a_variable_that_another_text_of_the_group_has_itself_is_nobodys(tmp_path):
    texts = Texts(
        tmp_path, 'map $host $own { default x; }\n{% for s in services(tag="api") %}geo ${{ s.name }} {}\n{% endfor %}'
    )
    assert texts.left_out(one("db", "shop.x", 10), api("own", "own.x", 5), api("other", "o.x", 5)) == {"own"}


def test_a_service_may_be_served_by_two_texts_of_a_group(tmp_path):
    name, _, (single,) = one("db", "shop.x", 10)
    both = name, ("http", "api"), (msgspec.structs.replace(single, tags=("http", "api")),)
    assert Texts(tmp_path).left_out(both) == set()


PORTS = """
http {
{% for svc in services(tag="http") %}{% for i in service(svc.name) %}
    server { listen {{ i.meta.route }}; server_name {{ svc.name }}; return 200 {{ i.name }}; }
{% endfor %}{% endfor %}
}
stream {
{% for svc in services(tag="api") %}{% for i in service(svc.name) %}
    server { listen {{ i.meta.route }}; proxy_pass {{ i.address }}:{{ i.port }}; }
{% endfor %}{% endfor %}
}
"""


@pytest.mark.parametrize(
    "before",
    [
        [],
        [one("db", "8080", 10)],
        [one("db", "8080", 30), one("web", "8080", 31), api("evil", "9000", 20)],
    ],
)
def test_servers_of_http_keep_a_port_that_they_share(before):
    site = Site(PORTS)
    honest = [one for one in before if one[0] != "evil"] or [one("db", "8080", 10)]
    assert site.left_out(*before) == []
    more = [one(f"aaa{number}", "8080", 50) for number in range(40)]
    assert site.left_out(*honest, *more, api("evil", "8080", 20)) == ["evil"]
    assert site.left_out(*honest, *more) == []


def test_services_that_share_a_port_lose_it_to_an_older_one_in_few_passes():
    more = [one(f"aaa{number}", "8080", 50) for number in range(40)]
    assert sorted(Site(PORTS).left_out(*more, api("old", "8080", 20))) == sorted(name for name, _, _ in more)


def test_a_service_that_shares_a_port_of_http_may_not_take_it_in_stream_as_well():
    name, _, (single,) = one("evil", "8080", 20)
    both = name, ("http", "api"), (msgspec.structs.replace(single, tags=("http", "api")),)
    for created in (10, 30):
        assert Site(PORTS).left_out(one("db", "8080", created), both) == ["evil"]


def test_a_service_that_has_lost_a_port_by_one_tag_keeps_another_that_it_has_by_another_tag(tmp_path):
    texts = [
        f'{{% for s in services(tag="{tag}") %}}{{% for i in service(s.name) %}}'
        f"server {{ listen {{{{ {port} }}}}; return x; }}\n{{% endfor %}}{{% endfor %}}"
        for tag, port in (("tcp", "i.meta.route"), ("api", "i.meta.other"))
    ]
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    renderer = Renderer([load(text, folder=folder) for text, folder in zip(texts, folders, strict=True)])
    place = ConfigPlace(inside=b"stream", is_certain=True)
    services = [
        (name, tags, (instance(name, tags=tags, meta={"route": "9000", "other": "9001"}, created=created),))
        for name, tags, created in (("db", ("tcp",), 10), ("both", ("tcp", "api"), 20), ("new", ("api",), 30))
    ]
    rendering = renderer.render(Snapshot(answers(*services)), (place, place))
    assert {rejection.service for rejection in rendering.quarantined} == {"both", "new"}
    assert [text.count("listen") for text in rendering.texts] == [1, 1]


KEY, NODES = KeyQuery(path="site"), NodesQuery()
OF_NO_SERVICE = {
    "key": ('{{ key("site") }}', Answer(query=KEY, value=(KeyEntry(path="site", data=b"shop"),))),
    "node": (
        "{% for n in nodes() %}{{ n.name }}{% endfor %}",
        Answer(query=NODES, value=(CatalogNode(name="shop", address=""),)),
    ),
}


@pytest.mark.parametrize("owner", OF_NO_SERVICE)
@pytest.mark.parametrize("text", [PRINTING, NAMING])
@pytest.mark.parametrize("is_live", [False, True])
def test_a_service_takes_no_name_that_comes_from_a_key_or_a_node(owner, text, is_live):
    name, answer = OF_NO_SERVICE[owner]
    own = f"upstream {name} {{ server 10.1.1.1:80; }}\nserver {{ server_name {name}; }}\n"
    renderer = Renderer([load(text.replace("http {\n", "http {\n" + own))])

    def left_out(*services):
        rendering = renderer.render(Snapshot(answers(*services) | {answer.query: answer}), PLACE)
        renderer.accept()
        return rejected(rendering)

    assert left_out(one("db", "own", 10), *([one("evil", "other", 5)] if is_live else [])) == []
    assert left_out(one("db", "own", 10), one("evil", "shop", 5)) == ["evil"]


LISTENING = (
    'http { {% for s in services(tag="http") %}upstream {{ s.name }} { {% for i in service(s.name) %}\n'
    "server {{ i.address }}:80; # {{ i.meta.note }}\n{% endfor %} }\n{% endfor %} }\n"
    'stream { {% for s in services(tag="tcp") %}{% for i in service(s.name) %}'
    "server { listen {{ i.meta.route }}; return x; }\n{% endfor %}{% endfor %} }"
)


def tcp(name, created, *routes, tags=("http", "tcp"), **fields):
    """Return a service with an instance for each route."""
    each = tuple(
        instance(name, number, created=created, **{"meta": {"route": route, "note": "a"}, "tags": tags} | fields)
        for number, route in enumerate(routes)
    )
    return name, ("http", "tcp"), each


TREE = TreeQuery(prefix="pools/")
LISTED = {
    "key": (
        'tree("pools")',
        "key",
        lambda name: KeyEntry(path=f"pools/{name}"),
        TREE,
        "key 'pools/shop'",
    ),
    "node": ("nodes()", "name", lambda name: CatalogNode(name=name, address="10.1.1.1"), NODES, "node 'shop'"),
}


@pytest.mark.parametrize("owner", LISTED)
@pytest.mark.parametrize("text", [PRINTING, NAMING])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_key_or_a_node_takes_no_name_that_a_service_has(owner, text, restarts):
    call, field, made, query, thing = LISTED[owner]
    own = f"""{{% for each in {call} %}}
    upstream {{{{ each.{field} }}}} {{ server 10.1.1.1:80; }}
    server {{ server_name {{{{ each.{field} }}}}; }}
    {{% endfor %}}"""
    site = Site(text.replace("http {\n", f"http {{\n{own}"))

    def kept(names, *services):
        site.answers = answers(*services) | {query: Answer(query=query, value=tuple(map(made, names)))}
        rendering = site.renderer.render(Snapshot(site.answers), PLACE)
        site.renderer.accept()
        assert rendering.quarantined == ()
        return [rejection.thing for rejection in rendering.kept]

    db, other = one("db", "shop", 10), one("other", "other", 5)
    assert kept(["own"], db, other) == []
    for more in ([], [one("late", "late", 20)]):
        assert kept(["own", "shop"], db, other, *more) == [thing]
        assert "10.1.1.1" in site.renderer.text(0)
        if restarts:
            site.restart(remembers=True)
    assert kept(["own", "shop"], other) == [], "it is free once the service is gone"


@pytest.mark.parametrize("restarts", [False, True])
def test_a_port_is_not_that_of_a_service_that_was_left_out_of_its_tag(restarts):
    site = Site(LISTENING)
    assert site.left_out(tcp("db", 10, "8081"), tcp("evil", 5, "9000")) == []
    for address in ("10.0.0.7", "10.0.0.8"):
        assert site.left_out(tcp("db", 10, "8081"), tcp("evil", 5, "8081", address=address)) == ["evil"]
        if restarts:
            site.restart(remembers=True)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_port_is_not_that_of_a_service_whose_tag_only_an_instance_had_that_was_left_out(restarts):
    site = Site(LISTENING)
    db, (name, tags, (first, second)) = tcp("db", 10, "8081"), tcp("evil", 5, "8081", "8082")
    first, good = msgspec.structs.replace(first, tags=("http",)), (first, second)
    bad = msgspec.structs.replace(second, meta={"route": "8081", "note": "a\nb"})
    assert site.left_out(db) == []
    assert site.left_out(db, (name, tags, (first, bad))) == ["evil"]
    if restarts:
        site.restart(remembers=True)
    assert site.left_out(db, (name, tags, good)) == ["evil"]
    assert "listen 8081" in site.renderer.text(0)


SHARED = """
http {
    server {
        listen 80;
        server_name{% for s in services(tag="http") %} {{ s.name }}.x{% endfor %};
{% for s in services(tag="http") %}{% for i in service(s.name) %}
        location /{{ i.meta.route }} { return 200 {{ s.name }}; }
{% endfor %}{% endfor %}
    }
}
"""


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("comes", [one("aaa", "aaa", 20), None], ids=["comes first", "the first one goes"])
def test_a_path_stays_with_its_service_when_another_host_of_the_server_is_the_first(restarts, comes):
    site = Site(SHARED)
    before = one("db", "shop", 10), one("evil", "own", 5)
    assert site.left_out(*before, *([] if comes else [one("abc", "abc", 20)])) == []
    if restarts:
        site.restart(remembers=True)
    assert site.left_out(before[0], one("evil", "shop", 5), *([comes] if comes else [])) == ["evil"]


HOSTED = """
http {
{% for s in services(tag="http") %}
    upstream {{ s.name }} { {% for i in service(s.name) %}server {{ i.address }}:80; {% endfor %} }
{% endfor %}
{% for s in services(tag="api") %}{% for i in service(s.name) %}
    server { server_name {{ s.name }}; location / { PASS } }
{% endfor %}{% endfor %}
}
"""
PASSES = [
    "proxy_pass http://{{ i.address }};",
    "set $to {{ i.address }}; proxy_pass http://$to;",
    "fastcgi_pass {{ i.address }}:{{ i.port }};",
]


def hosted(name, tag, created, address):
    return name, (tag,), (instance(name, tags=(tag,), address=address, created=created),)


@pytest.mark.parametrize("text", PASSES)
@pytest.mark.parametrize("created", [5, 20])
def test_no_upstream_is_named_like_a_host_that_is_the_address_of_another_service(text, created):
    site = Site(HOSTED.replace("PASS", text))
    pay, more = hosted("pay", "api", 10, "pay.internal"), hosted("pay-2", "api", 11, "Pay.internal")
    assert site.left_out(pay, more, hosted("web", "http", 3, "10.0.0.1")) == []
    evil = hosted("pay.internal", "http", created, "10.6.6.6")
    assert site.left_out(pay, more, evil, hosted("web", "http", 3, "10.0.0.1")) == ["pay.internal"]
    assert site.left_out(evil) == []
    assert site.left_out(evil, pay) == ["pay"], "the upstream was there first"


def test_an_upstream_may_be_named_like_its_own_service_s_address_and_the_operator_s_like_any():
    own = 'upstream pay.internal { server 10.0.0.1; }\n{% for s in services(tag="api") %}'
    site = Site(HOSTED.replace("PASS", PASSES[0]).replace('{% for s in services(tag="api") %}', own))
    assert site.left_out(hosted("pay", "api", 10, "pay.internal")) == []
    site = Site(HOSTED.replace("PASS", PASSES[0]).replace('tag="api"', 'tag="http"'))
    assert site.left_out(hosted("pay.internal", "http", 10, "pay.internal"), hosted("web", "http", 3, "10.0.0.1")) == []


UPSTREAM = "upstream {{ s.name }} { {% for i in service(s.name) %}server {{ i.address }}:{{ i.port }}; {% endfor %}}"
OF_INSTANCES = {
    "server names": 'server { server_name {{ service(s.name) | map(attribute="meta.v") | unique | join(" ") }}; }',
    "variables": """{% for v in service(s.name) | map(attribute="meta.v") | unique %}
    map $uri $of_{{ v }} { default {{ s.name }}; }
    {% endfor %}""",
    "zones": """{% for v, g in service(s.name) | groupby("meta.v") %}
    limit_req_zone $uri zone={{ v }}:1m rate=5r/s;
    {% endfor %}""",
    "upstreams": """{% for v, g in service(s.name) | groupby("meta.v") %}
    upstream of_{{ v }} { server {{ g[0].address }}:{{ g[0].port }}; }
    {% endfor %}""",
    "tags": """{% for t in s.tags if t.startswith("v=") %}
    server { server_name {{ t[2:] }}; }
    {% endfor %}""",
}


def wanting(name, number, value, created):
    fields = {"tags": ("http", f"v={value}"), "meta": {"v": value}, "address": f"10.0.{len(name)}.{number}"}
    return instance(name, number, created=created, **fields)


def of(name, *instances):
    return name, tuple(sorted({tag for each in instances for tag in each.tags})), instances


@pytest.mark.parametrize("use", OF_INSTANCES.values(), ids=OF_INSTANCES)
@pytest.mark.parametrize("position", [0, 2])
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "first"])
def test_an_instance_that_wants_anothers_name_is_left_out_alone(use, position, is_live):
    text = f'http {{ {{% for s in services(tag="http") %}}\n{UPSTREAM}\n{use}\n{{% endfor %}} }}\n'
    web = [wanting("web", number, "web", created=1) for number in (1, 2)]
    shop = of("shop", *(wanting("shop", number, "shop", created=5) for number in (1, 2)))
    renderer = Renderer([load(text)], hold=lambda _: 60.0)
    if is_live:
        honest = renderer.render(Snapshot(answers(of("web", *web), shop)), PLACE)
        assert honest.quarantined == ()
        renderer.accept()
    mixed = of("web", *web[:position], wanting("web", 7, "shop", created=9), *web[position:])
    rendering = renderer.render(Snapshot(answers(mixed, shop)), PLACE)
    assert [(rejection.service, rejection.instance) for rejection in rendering.quarantined] == [("web", "web-7")]
    alone = Renderer([load(text)]).render(Snapshot(answers(of("web", *web), shop)), PLACE)
    assert rendering.texts == alone.texts


def test_an_instance_that_makes_a_name_of_its_own_service_a_second_time_is_left_out_alone():
    text = """http { {% for s in services() %}{% for i in service(s.name) %}
    upstream {{ s.name }}-{{ i.meta.v }} { server {{ i.address }}:{{ i.port }}; }
    {% endfor %}{% endfor %} }"""
    web = (wanting("web", 7, "a", created=9), wanting("web", 1, "a", created=1), wanting("web", 2, "b", created=1))
    rendering = Renderer([load(text)]).render(Snapshot(answers(of("web", *web))), PLACE)
    assert [rejection.instance for rejection in rendering.quarantined] == ["web-7"]


def test_a_service_all_of_whose_instances_want_anothers_name_is_left_out_at_once():
    text = f"http {{ {{% for s in services() %}}\n{UPSTREAM}\n{OF_INSTANCES['server names']}\n{{% endfor %}} }}\n"
    web = [wanting("web", number, "shop", created=9) for number in range(100)]
    shop = of("shop", wanting("shop", 1, "shop", created=5))
    rendering = Renderer([load(text)]).render(Snapshot(answers(of("web", *web), shop)), PLACE)
    assert [(rejection.service, rejection.instance) for rejection in rendering.quarantined] == [("web", "")]


class Counted:
    """A template that counts its passes."""

    def __init__(self, template):
        self._template, self.passes = template, 0

    def __getattr__(self, name):
        return getattr(self._template, name)

    def render(self, run):
        self.passes += 1
        return self._template.render(run)


def test_who_had_a_name_is_looked_up_once_while_the_last_good_data_stay():
    template = Counted(load(PRINTING))
    renderer = Renderer([template])
    known = answers(*(one(f"web{number}", f"web{number}", 10) for number in range(5)), one("evil", "own", 5))

    def passes(evil):
        before = template.passes
        rendering = renderer.render(
            Snapshot(known | {query: answer for query, answer in answers(evil).items() if query.argument}), PLACE
        )
        renderer.accept()
        return rejected(rendering), template.passes - before

    assert passes(one("evil", "own", 5)) == ([], 1)
    counts = []
    for created in ((5, 5), (5, 5, 5), (5, 5), (5,)):
        left_out, count = passes(one("evil", "web3", *created))
        assert left_out == ["evil"]
        counts.append(count)
    assert counts[0] > counts[1] == counts[2] == counts[3]
    assert passes(one("evil", "new", 5)) == ([], 1)
