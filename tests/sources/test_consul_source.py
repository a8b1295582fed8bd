import asyncio
import contextlib
import json
import logging

import pytest
from consul_fakes import HANG, Agent, answer, entries, entry

from ctemplate.catalog import Catalog
from ctemplate.config.layers import Layer, build
from ctemplate.core.errors import ConfigError
from ctemplate.core.model import Snapshot
from ctemplate.queries import PreparedQuery, ServiceQuery, ServicesQuery
from ctemplate.runtime.assembly import consul_settings
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.consul.source import ConsulSource
from ctemplate.sources.consul.watching import poll_start
from ctemplate.template import Renderer, Template

WEB, API, ALL = ServiceQuery(name="web"), ServiceQuery(name="api"), ServicesQuery()
LIVE = PreparedQuery(name="live")


@contextlib.asynccontextmanager
async def running(agent, **settings):
    """A source that follows a catalog, against a scripted agent."""
    async with followed(ConsulSettings(addresses=(agent.address,), **settings)) as catalog:
        yield catalog


@contextlib.asynccontextmanager
async def followed(settings, **more):
    source, catalog = ConsulSource(settings, **more), Catalog()
    task = asyncio.create_task(source.run(catalog))
    try:
        yield catalog
    finally:
        task.cancel()
        await asyncio.wait([task])


async def complete(catalog):
    async with asyncio.timeout(60):
        while catalog.missing():
            await catalog.news()


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what happens on a socket sets no event of ours
            await asyncio.sleep(0.005)


async def test_long_polls_of_a_run_that_ends_with_its_answers_never_begin():
    async with Agent([answer(entries(entry()))] * 3).listening() as agent:
        async with followed(ConsulSettings(addresses=(agent.address,)), poll_delay=3600.0) as catalog:
            for wanted in ({WEB}, {WEB, API}, {WEB, API, ServiceQuery(name="db")}):
                catalog.want("g", frozenset(wanted))
                await complete(catalog)
        assert sorted(target.split("?")[0].rsplit("/", 1)[-1] for target in agent.targets) == ["api", "db", "web"]


async def test_long_polls_begin_once_first_answers_have_stopped_coming():
    async with Agent([answer(entries(entry())), answer(entries(entry(Port=81)), index=2)]).listening() as agent:
        async with followed(ConsulSettings(addresses=(agent.address,)), poll_delay=0.01) as catalog:
            catalog.want("g", frozenset({WEB}))
            await until(lambda: (found := catalog.get(WEB)) and found.value[0].port == 81)
        assert "/v1/health/service/web?stale&index=1&wait=60000ms" in agent.targets


class ManyServices(Agent):
    """An agent that answers every first request, and never a long poll."""

    async def _converse(self, reader, writer):
        while True:
            target = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]
            self.targets.append(target)
            if "index=" in target:
                await reader.read()
                return
            node = json.dumps([{"Node": "n1", "Address": "10.9.9.9"}]).encode()
            found = {"/v1/catalog/services": b"{}", "/v1/catalog/nodes": node, "/v1/catalog/node/n1": b"null"}
            path = target.split("?")[0]
            writer.write(answer(found.get(path, entries(entry(Service=path.rsplit("/", 1)[-1])))))

    def asked_for(self, path):
        return any(target.startswith(path) for target in self.targets)


async def test_nodes_are_read_after_the_first_files_are_written(monkeypatch):
    monkeypatch.setattr(poll_start, "FILES_PATIENCE", 3600.0)
    services = frozenset(ServiceQuery(name=f"web{number}") for number in range(20))
    async with ManyServices().listening() as agent, running(agent, max_connections=16) as catalog:
        catalog.want("g", services, is_growing=True)
        await complete(catalog)
        await until(lambda: agent.asked_for("/v1/catalog/nodes?stale&index="))
        catalog.want("g", services | {WEB}, is_growing=True)
        await complete(catalog)
        catalog.want("g", services | {WEB})
        assert not agent.asked_for("/v1/catalog/node/")
        catalog.note_step_end()
        await until(lambda: agent.asked_for("/v1/catalog/node/n1"))


async def test_wanted_queries_are_answered_and_kept_new():
    async with Agent([answer(entries(entry())), answer(entries(entry(Port=81)), index=2)]).listening() as agent:
        async with running(agent) as catalog:
            catalog.want("g", frozenset({WEB}))
            await until(lambda: (found := catalog.get(WEB)) and found.value[0].port == 81)
        assert agent.targets[:2] == [
            "/v1/health/service/web?stale",
            "/v1/health/service/web?stale&index=1&wait=60000ms",
        ]


async def test_a_query_that_stays_wanted_keeps_its_connection_and_index():
    async with Agent([answer(b"{}", index=9), HANG, answer()]).listening() as agent, running(agent) as catalog:
        catalog.want("g", frozenset({ALL}))
        await until(lambda: len(agent.targets) == 2)
        catalog.want("g", frozenset({ALL, WEB}))
        await complete(catalog)
        assert agent.connections == 2
        assert sum("catalog/services" in target for target in agent.targets) == 2


async def test_a_query_that_is_not_wanted_any_more_is_let_go():
    async with Agent([answer(b"{}")]).listening() as agent, running(agent) as catalog:
        catalog.want("g", frozenset({ALL}))
        await until(lambda: len(agent.targets) == 2)
        catalog.want("g", frozenset(set()))
        await until(lambda: not agent._tasks)


async def test_a_query_dropped_and_wanted_again_at_once_has_its_answer():
    async with Agent([answer(b"{}")]).listening() as agent, running(agent) as catalog:
        catalog.want("g", frozenset({ALL}))
        await until(lambda: len(agent.targets) == 2)
        catalog.want("g", frozenset(set()))
        catalog.want("g", frozenset({ALL}))
        await complete(catalog)
        assert len(agent.targets) == 2


async def test_more_queries_than_connections_share_them():
    script = [answer(entries(entry())) for _ in range(3)]
    async with Agent(script).listening() as agent, running(agent, max_connections=1) as catalog:
        catalog.want("g", frozenset({WEB, API, ServiceQuery(name="db")}))
        await complete(catalog)
        assert agent.connections == 1


async def test_what_is_left_out_is_logged_once(caplog):
    hostile = entries(*(entry("n1", f"i{n}", Address=f"x{n}\n;") for n in range(7)), entry("n2", "good"))
    script = [answer(hostile, index=n) for n in (1, 2)] + [answer(hostile + b" ", index=3)]
    async with Agent(script).listening() as agent, running(agent) as catalog:
        catalog.want("g", frozenset({WEB}))
        await until(lambda: len(agent.targets) == 4)
        assert [instance.id for instance in catalog.get(WEB).value] == ["good"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings[0] == "service 'web' instance 'i0': address: 'x0\\n;' is not an IP address; it is left out"
    assert warnings[5:] == ["service(web): 2 more are left out"]


def test_a_network_that_is_none_is_a_configuration_error():
    with pytest.raises(ConfigError) as caught:
        ConsulSource(ConsulSettings(limits=DataLimits(allowed_networks=("10.0.0.0/33",))))
    assert str(caught.value) == "allowed networks: '10.0.0.0/33' does not appear to be an IPv4 or IPv6 network"


def executed(*rows):
    return json.dumps({"Service": "web", "Nodes": rows}).encode()


async def test_a_prepared_query_is_asked_for_again_without_an_index():
    script = [answer(executed(entry())), answer(executed(entry(Port=81)))]
    async with Agent(script).listening() as agent, running(agent, query_interval=0.05) as catalog:
        catalog.want("g", frozenset({LIVE}))
        await until(lambda: (found := catalog.get(LIVE)) and found.value[0].port == 81)
        await until(lambda: len(agent.targets) > 2)
        assert set(agent.targets) == {"/v1/query/live/execute?stale"}
        assert catalog.get(LIVE).index == 0
        assert agent.connections == 1


async def test_equal_answers_to_a_prepared_query_in_another_order_are_no_news():
    one, two = entry(id_="a"), entry(id_="b", Port=81)
    script = [answer(executed(*rows)) for rows in ((one, two), (two, one), (one, two))]
    async with Agent(script).listening() as agent, running(agent, query_interval=0.05) as catalog:
        catalog.want("g", frozenset({LIVE}))
        await complete(catalog)
        await until(lambda: len(agent.targets) > 3)
        assert catalog.changes == 1


async def test_a_prepared_query_that_is_unknown_is_one_warning_and_keeps_its_answer(caplog):
    caplog.set_level(logging.INFO)
    unknown = answer(b"Query not found", status="404 Not Found", index=None)
    script = [answer(executed(entry())), unknown, unknown, answer(executed(entry(Port=81)))]
    async with Agent(script).listening() as agent, running(agent, query_interval=0.05) as catalog:
        catalog.want("g", frozenset({LIVE}))
        await until(lambda: len(agent.targets) > 2)
        assert catalog.get(LIVE).value[0].port == 80
        await until(lambda: catalog.get(LIVE).value[0].port == 81)
        told = [record.getMessage() for record in caplog.records]
        assert told[0] == (
            f"query(live): http://{agent.address}/v1/query/live/execute: no prepared query has this name or id; "
            "its last answer stays in use while it is retried"
        )
        assert [text.partition(" after ")[0] for text in told[1:]] == [
            "Consul: queries not known to Consul: outage over"
        ]


def test_the_cost_counts_prepared_queries():
    source = ConsulSource(ConsulSettings(query_interval=5.0))
    cost = source.cost([ALL, LIVE])
    assert (cost.queries, cost.connections, cost.requests_per_second) == (2, 2, pytest.approx(0.217))


SCOPED = {"namespace": "team", "partition": "blue"}


@pytest.mark.parametrize(
    ("call", "options", "target"),
    [
        pytest.param(
            'services(ns="n", partition="p")', {}, "/v1/catalog/services?ns=n&partition=p&stale", id="services"
        ),
        pytest.param(
            'service("web", ns="n", partition="p", peer="q")',
            {},
            "/v1/health/service/web?ns=n&partition=p&peer=q&stale",
            id="service",
        ),
        pytest.param(
            'query("live", ns="n", partition="p")', {}, "/v1/query/live/execute?ns=n&partition=p&stale", id="query"
        ),
        pytest.param("services()", SCOPED, "/v1/catalog/services?ns=team&partition=blue&stale", id="services, options"),
        pytest.param(
            'service("web", peer="q")',
            SCOPED,
            "/v1/health/service/web?ns=team&partition=blue&peer=q&stale",
            id="service, options",
        ),
        pytest.param(
            'query("live")', SCOPED, "/v1/query/live/execute?ns=team&partition=blue&stale", id="query, options"
        ),
    ],
)
async def test_what_a_template_or_the_options_say_of_the_scope_is_sent(tmp_path, call, options, target):
    (tmp_path / "t.j2").write_text(f"{{{{ {call} | length }}}}")
    template = Template.load(tmp_path / "t.j2", variables={}, environ={})
    async with Agent().listening() as agent:
        config = build([Layer(where="options", values={"consul": options | {"address": agent.address}})])
        async with followed(consul_settings(config)) as catalog:
            catalog.want("g", Renderer([template]).render(Snapshot({})).used)
            await until(lambda: agent.targets)
    assert agent.targets == [target]


async def test_sentinels_stay_in_the_scope_of_what_they_watch():
    async with Agent().listening() as agent, running(agent, max_connections=8) as catalog:
        catalog.want("g", frozenset(ServiceQuery(name=f"s{n}", ns="n", partition="p") for n in range(20)))
        await until(lambda: {target.partition("?")[0] for target in agent.targets} >= SENTINELS)
        assert all("ns=n&partition=p" in target for target in agent.targets)


SENTINELS = {"/v1/catalog/services", "/v1/health/state/any"}
