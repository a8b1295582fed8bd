import asyncio
import contextlib
import json

import pytest
from consul_fakes import entries, entry
from werkzeug import Response

from ctemplate.catalog import Catalog
from ctemplate.core.model import Server, ServerSet
from ctemplate.core.timing import Backoff
from ctemplate.guard import Cause, Policies
from ctemplate.queries import PreparedQuery, ServiceQuery, ServicesQuery
from ctemplate.sources.consul import confirm as confirming
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.source import ConsulSource

WEB, ALL = ServiceQuery(name="web", dc="east"), ServicesQuery()
AUTHORIZE = "/v1/internal/acl/authorize"
QUICK = Backoff(first=0.02, ceiling=0.05)


class Scene:
    """Consul as a test says: a body and an index for reads, an answer to questions about rights."""

    def __init__(self, httpserver):
        self.body, self.index, self.rights = b"[]", 10, Response("ACL support disabled", 401)
        self.confirmed = None  # body and index of consistent reads where they differ
        self.reads, self.asked = [], []
        self.servers, self.looks = Response("[]", 200, {"Content-Type": "application/json"}), []
        self.address = httpserver.url_for("/")
        httpserver.expect_request("/v1/health/service/web").respond_with_handler(self.read)
        httpserver.expect_request("/v1/catalog/services").respond_with_handler(self.read)
        httpserver.expect_request("/v1/query/live/execute").respond_with_handler(self.read)
        httpserver.expect_request("/v1/health/service/consul").respond_with_handler(self.look)
        httpserver.expect_request(AUTHORIZE, method="POST").respond_with_handler(self.authorize)

    def read(self, request):
        self.reads.append(request.query_string.decode())
        body, index = self.body, self.index
        if "consistent" in request.args and self.confirmed:
            body, index = self.confirmed
        return Response(body, 200, {"X-Consul-Index": str(index), "Content-Type": "application/json"})

    def look(self, request):
        self.looks.append(request.query_string.decode())
        return self.servers

    def authorize(self, request):
        self.asked.append((request.query_string.decode(), request.headers.get("X-Consul-Token"), request.json))
        return self.rights or Response(json.dumps([{"Allow": True}] * len(request.json)), 200)


@pytest.fixture
def scene(httpserver):
    return Scene(httpserver)


@contextlib.asynccontextmanager
async def following(scene, query):
    settings = ConsulSettings(addresses=(scene.address,), token="t", wait=0.05, query_interval=0.05, backoff=QUICK)
    source, catalog = ConsulSource(settings), Catalog(Policies())
    catalog.want("g", frozenset({query}))
    task = asyncio.create_task(source.run(catalog))
    try:
        yield catalog
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what happens on a socket sets no event of ours
            await asyncio.sleep(0.005)


async def seen(catalog, query, count):
    await until(lambda: (answer := catalog.get(query)) is not None and len(answer.value) == count)


def rights(*pairs):
    return [{"Resource": resource, "Segment": segment, "Access": "read"} for resource, segment in pairs]


async def test_a_loss_is_confirmed_by_a_consistent_read_and_the_rights(scene):
    scene.body = entries(entry())
    async with following(scene, WEB) as catalog:
        await seen(catalog, WEB, 1)
        scene.body, scene.index = b"[]", 11
        await seen(catalog, WEB, 0)
    assert scene.asked == [("dc=east", "t", rights(("service", "web"), ("node", "n1")))]
    assert [read for read in scene.reads if "consistent" in read] == ["dc=east&consistent"]
    assert scene.looks == ["dc=east&consistent"]


def servers(*rows):
    """The answer of Consul's own service: node ids and the indexes of their registration."""
    own = [{"Node": {"Node": id_, "ID": id_}, "Service": {"Service": "consul", "CreateIndex": n}} for id_, n in rows]
    return Response(json.dumps(own), 200, {"Content-Type": "application/json"})


async def test_who_answers_is_seen_at_the_start_and_then_now_and_then(scene, monkeypatch):
    monkeypatch.setattr(confirming, "FIRST_LOOK", 0.05)
    monkeypatch.setattr(confirming, "LOOK_INTERVAL", 0.05)
    scene.servers = servers(("a", 6))
    async with following(scene, WEB) as catalog:
        await until(lambda: catalog.memories(wall=0.0)[-1:])
        await until(lambda: isinstance(catalog.memories(wall=0.0)[-1], ServerSet))
        scene.servers = servers(("a", 6), ("b", 9))
        both = frozenset({Server(node_id="a", created=6), Server(node_id="b", created=9)})
        await until(lambda: catalog.memories(wall=0.0)[-1].servers == both)
    assert set(scene.looks) == {"dc=east&consistent"}


async def test_a_loss_is_held_where_another_consul_answers(scene):
    scene.body = entries(entry())
    async with following(scene, WEB) as catalog:
        await seen(catalog, WEB, 1)
        catalog.observe_servers(ServerSet(dc="east", servers=frozenset({Server(node_id="a", created=6)})))
        scene.body, scene.index, scene.servers = b"[]", 11, servers(("b", 6))
        await until(lambda: catalog.holds)
        assert [hold.cause for hold in catalog.holds] == [Cause.DIFFERENT_CLUSTER]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Response("Permission denied", 403), id="denied"),
        pytest.param(Response("no such path", 404), id="not passed on"),
        pytest.param(Response("{}", 200, {"Content-Type": "application/json"}), id="another shape"),
        pytest.param(servers(("", 6), ("b", 0)), id="neither id nor index"),
    ],
)
async def test_who_answers_is_no_evidence_where_it_cannot_be_seen(scene, answer):
    scene.body, scene.servers = entries(entry()), answer
    async with following(scene, WEB) as catalog:
        await seen(catalog, WEB, 1)
        catalog.observe_servers(ServerSet(dc="east", servers=frozenset({Server(node_id="a", created=6)})))
        scene.body, scene.index = b"[]", 11
        await seen(catalog, WEB, 0)


async def test_a_loss_that_the_consistent_read_does_not_show_is_over(scene):
    scene.body = entries(entry())
    scene.confirmed = (entries(entry()), 12)
    async with following(scene, WEB) as catalog:
        await seen(catalog, WEB, 1)
        scene.body, scene.index = b"[]", 11
        await until(lambda: any("consistent" in read for read in scene.reads))
        assert len(catalog.get(WEB).value) == 1


async def test_a_denied_right_holds_the_loss(scene):
    scene.body, scene.rights = b'{"web": [], "db": []}', Response('[{"Allow": true}, {"Allow": false}]', 200)
    async with following(scene, ALL) as catalog:
        await seen(catalog, ALL, 2)
        scene.body, scene.index = b"{}", 11
        await until(lambda: catalog.holds)
        assert [hold.cause for hold in catalog.holds] == [Cause.DENIED]
        assert len(catalog.get(ALL).value) == 2
    assert scene.asked[0][2] == rights(("service", "db"), ("service", "web"))


async def test_rights_are_asked_for_in_the_namespace_and_partition_of_the_query(scene):
    query = ServiceQuery(name="web", ns="n", partition="p")
    scene.body = entries(entry())
    async with following(scene, query) as catalog:
        await seen(catalog, query, 1)
        scene.body, scene.index = b"[]", 11
        await seen(catalog, query, 0)
    place = {"Namespace": "n", "Partition": "p"}
    assert scene.asked[0][2] == [right | place for right in rights(("service", "web"), ("node", "n1"))]


@pytest.mark.parametrize(
    ("rights_given", "kept"), [(None, 0), (Response('[{"Allow": false}, {"Allow": true}]', 200), 1)]
)
async def test_a_loss_of_a_prepared_query_is_confirmed_by_the_rights_to_its_service(scene, rights_given, kept):
    query = PreparedQuery(name="live")
    scene.body, scene.index = b'{"Service": "web", "Nodes": %b}' % entries(entry()), 1
    async with following(scene, query) as catalog:
        await seen(catalog, query, 1)
        scene.rights = rights_given
        scene.body = b'{"Service": "web", "Nodes": []}'
        await until(lambda: catalog.holds or not catalog.get(query).value)
        assert len(catalog.get(query).value) == kept
    assert scene.asked[0] == ("", "t", rights(("service", "web"), ("node", "n1")))
    assert "consistent" in scene.reads


async def test_many_rights_are_asked_for_in_portions(scene):
    names = [f"s{number:03}" for number in range(130)]
    scene.body, scene.rights = json.dumps({name: [] for name in names}).encode(), None
    async with following(scene, ALL) as catalog:
        await seen(catalog, ALL, 130)
        scene.body, scene.index = b"{}", 11
        await seen(catalog, ALL, 0)
    assert [len(asked) for _, _, asked in scene.asked] == [64, 64, 2]


async def test_a_confirmation_that_fails_is_tried_again(scene):
    scene.body = entries(entry())
    scene.confirmed = (b"No cluster leader", 11)
    async with following(scene, WEB) as catalog:
        await seen(catalog, WEB, 1)
        scene.body, scene.index = b"[]", 11
        await until(lambda: sum("consistent" in read for read in scene.reads) >= 3)
        assert len(catalog.get(WEB).value) == 1
        scene.confirmed = None
        await seen(catalog, WEB, 0)


async def test_a_doubt_that_cannot_be_confirmed_delays_no_other(scene, httpserver):
    httpserver.expect_request("/v1/health/service/api").respond_with_handler(
        lambda request: Response("no such filter", 400) if "consistent" in request.args else scene.read(request)
    )
    api = ServiceQuery(name="api", dc="east")
    async with following(scene, api) as catalog:
        await until(lambda: catalog.unverified_queries)
        catalog.want("h", frozenset({WEB}))
        await seen(catalog, WEB, 0)
        assert catalog.get(api) is None
