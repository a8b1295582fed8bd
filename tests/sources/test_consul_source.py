import asyncio
import contextlib
import logging

import pytest
from consul_fakes import HANG, Agent, answer, entries, entry

from ctemplate.catalog import Catalog
from ctemplate.errors import ConfigError
from ctemplate.model import ServiceQuery, ServicesQuery
from ctemplate.sources.consul import ConsulSettings, ConsulSource, Limits

WEB, API, ALL = ServiceQuery(name="web"), ServiceQuery(name="api"), ServicesQuery()


@contextlib.asynccontextmanager
async def running(agent, **settings):
    """A source that follows a catalog, against a scripted agent."""
    source, catalog = ConsulSource(ConsulSettings(addresses=(agent.address,), **settings)), Catalog()
    task = asyncio.create_task(source.run(catalog))
    try:
        yield catalog
    finally:
        task.cancel()
        await asyncio.wait([task])


async def complete(catalog):
    async with asyncio.timeout(10):
        while catalog.missing():
            await catalog.news()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what happens on a socket sets no event of ours
            await asyncio.sleep(0.005)


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
        ConsulSource(ConsulSettings(limits=Limits(allowed_networks=("10.0.0.0/33",))))
    assert str(caught.value) == "allowed networks: '10.0.0.0/33' does not appear to be an IPv4 or IPv6 network"
