"""More services than connections, on a real agent with its default limits: every kind of change is found."""

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest
from harness import wait_for

from ctemplate.catalog import Catalog
from ctemplate.core.model import Status
from ctemplate.queries import NodeContentQuery, ServiceQuery, ServicesQuery
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.source import ConsulSource

SERVICES = 300
CONNECTIONS = 16
CONNECTIONS_WITH_NODES = 64
HOSTS = 30
HANGUPS = 100
NODE = "outside"
LIMIT = 60.0
ESTABLISHED = "01"


def name(number):
    return f"svc{number}"


def service(number, node=NODE, **fields):
    entry = {"ID": f"{name(number)}-1", "Service": name(number), "Address": "10.0.0.1", "Port": 80} | fields
    return {"Service": {"Verb": "set", "Node": node, "Service": entry}}


def check(number, status="passing", node=NODE):
    id_ = f"{name(number)}-1"
    entry = {"Node": node, "CheckID": f"service:{id_}", "ServiceID": id_, "Status": status}
    return {"Check": {"Verb": "set", "Check": entry}}


@pytest.fixture
def filled(consul):
    """An agent with many services of one instance and a check each."""
    consul.api("PUT", "/v1/catalog/register", {"Node": NODE, "Address": "10.0.0.1"})
    for first in range(0, SERVICES, 30):
        numbers = range(first, min(first + 30, SERVICES))
        consul.api("PUT", "/v1/txn", [operation for n in numbers for operation in (service(n), check(n))])
    return consul


def node_of(number):
    return f"host{number % HOSTS}"


@pytest.fixture
def spread(consul):
    """An agent with many services of one instance and a check each, spread over nodes."""
    for host in range(HOSTS):
        consul.api("PUT", "/v1/catalog/register", {"Node": f"host{host}", "Address": f"10.0.0.{host + 1}"})
    for first in range(0, SERVICES, 30):
        numbers = range(first, min(first + 30, SERVICES))
        operations = [each for n in numbers for each in (service(n, node_of(n)), check(n, node=node_of(n)))]
        consul.api("PUT", "/v1/txn", operations)
    return consul


@contextlib.asynccontextmanager
async def watching_nodes(consul):
    """A catalog whose source has a long poll for each node."""
    async with watching(consul, CONNECTIONS_WITH_NODES) as catalog:
        queries = {NodeContentQuery(name=f"host{host}") for host in range(HOSTS)}
        await eventually(lambda: queries <= catalog.source.plan().polls)
        yield catalog


async def eventually(condition):
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - the plan of a source sets no event
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def watching(consul, max_connections=CONNECTIONS):
    source = ConsulSource(ConsulSettings(addresses=(consul.address,), max_connections=max_connections))
    catalog = Catalog()
    catalog.source = source
    catalog.want("test", frozenset({ServicesQuery(), *(ServiceQuery(name=name(n)) for n in range(SERVICES))}))
    task = asyncio.create_task(source.run(catalog))
    try:
        await until(catalog, lambda: not catalog.missing())
        yield catalog
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(catalog, condition):
    async with asyncio.timeout(LIMIT):
        while not condition():
            await catalog.news()


def connections(port):
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if int(row[2].split(":")[1], 16) == port and row[3] == ESTABLISHED)


def only(catalog, number):
    (instance,) = catalog.get(ServiceQuery(name=name(number))).value
    return instance


async def test_every_kind_of_change_is_found_within_the_connections_allowed(filled):
    async with watching(filled) as catalog:
        filled.api("PUT", "/v1/txn", [check(7, "critical")])
        await until(catalog, lambda: only(catalog, 7).status is Status.CRITICAL)
        filled.api("PUT", "/v1/txn", [service(8, Port=81)])
        await until(catalog, lambda: only(catalog, 8).port == 81)
        filled.api("PUT", "/v1/txn", [service(9, Meta={"version": "2"})])
        await until(catalog, lambda: only(catalog, 9).meta == {"version": "2"})
        filled.api("PUT", "/v1/txn", [service(10, ID="second", Port=82)])
        await until(catalog, lambda: len(catalog.get(ServiceQuery(name=name(10))).value) == 2)
        filled.api("PUT", "/v1/catalog/deregister", {"Node": NODE, "ServiceID": f"{name(11)}-1"})
        await until(catalog, lambda: catalog.get(ServiceQuery(name=name(11))).value == ())
        assert connections(filled.port) <= CONNECTIONS


async def test_every_kind_of_change_is_found_on_nodes_that_have_long_polls(spread):
    async with watching_nodes(spread) as catalog:
        spread.api("PUT", "/v1/txn", [check(7, "critical", node_of(7))])
        await until(catalog, lambda: only(catalog, 7).status is Status.CRITICAL)
        spread.api("PUT", "/v1/txn", [service(8, node_of(8), Port=81)])
        await until(catalog, lambda: only(catalog, 8).port == 81)
        spread.api("PUT", "/v1/txn", [service(9, node_of(9), Meta={"version": "2"})])
        await until(catalog, lambda: only(catalog, 9).meta == {"version": "2"})
        spread.api("PUT", "/v1/txn", [service(10, node_of(10), ID="second", Port=82)])
        await until(catalog, lambda: len(catalog.get(ServiceQuery(name=name(10))).value) == 2)
        spread.api("PUT", "/v1/catalog/deregister", {"Node": node_of(11), "ServiceID": f"{name(11)}-1"})
        await until(catalog, lambda: catalog.get(ServiceQuery(name=name(11))).value == ())
        assert connections(spread.port) <= CONNECTIONS_WITH_NODES


async def test_nodes_that_come_change_and_go_are_seen(spread):
    async with watching_nodes(spread) as catalog:
        entry = {"ID": "new", "Service": name(7), "Address": "10.0.0.1", "Port": 83}
        spread.api("PUT", "/v1/catalog/register", {"Node": "new", "Address": "10.0.1.1", "Service": entry})
        await until(catalog, lambda: len(catalog.get(ServiceQuery(name=name(7))).value) == 2)
        await eventually(lambda: NodeContentQuery(name="new") in catalog.source.plan().polls)
        spread.api("PUT", "/v1/catalog/register", {"Node": node_of(8), "Address": "10.0.2.2"})
        await until(catalog, lambda: only(catalog, 8).node_address == "10.0.2.2")
        identity = {"ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "SkipNodeUpdate": False}
        spread.api("PUT", "/v1/catalog/register", {"Node": node_of(8), "Address": "10.0.2.2"} | identity)
        await until(catalog, lambda: only(catalog, 8).node_id == identity["ID"])
        spread.api("PUT", "/v1/catalog/deregister", {"Node": node_of(9)})
        await until(catalog, lambda: catalog.get(ServiceQuery(name=name(9))).value == ())
        spread.api("PUT", "/v1/catalog/register", {"Node": node_of(9), "Address": "10.0.3.3"})
        spread.api("PUT", "/v1/txn", [service(9, node_of(9), Port=84)])
        await until(catalog, lambda: any(one.port == 84 for one in catalog.get(ServiceQuery(name=name(9))).value))
        assert connections(spread.port) <= CONNECTIONS_WITH_NODES


async def test_node_in_maintenance_takes_all_its_services_along(filled):
    async with watching(filled) as catalog:
        maintenance = {"Node": NODE, "CheckID": "_node_maintenance", "Status": "critical"}
        filled.api("PUT", "/v1/txn", [{"Check": {"Verb": "set", "Check": maintenance}}])
        await until(catalog, lambda: all(only(catalog, n).status is Status.MAINTENANCE for n in range(SERVICES)))


async def test_connections_never_exceed_what_is_allowed_while_everything_changes(filled):
    most = 0
    async with watching(filled) as catalog:
        for number in range(100):
            filled.api("PUT", "/v1/txn", [service(number, Port=90), check(number, "warning")])
            await asyncio.sleep(0)
            most = max(most, connections(filled.port))
        await until(catalog, lambda: all(only(catalog, n).status is Status.WARNING for n in range(100)))
        await until(catalog, lambda: all(only(catalog, n).port == 90 for n in range(100)))
        assert CONNECTIONS // 2 <= max(most, connections(filled.port)) <= CONNECTIONS


def descriptors(pid):
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def test_a_hundred_hangups_leave_no_descriptor_behind(filled, tmp_path, ctemplate):
    config, out = tmp_path / "c.toml", tmp_path / "out"
    config.write_text(
        f'[consul]\naddress = "{filled.address}"\nmax_connections = {CONNECTIONS}\n'
        '[[template]]\nsource = "ports.j2"\ndestination = "out"\n'
    )
    (tmp_path / "ports.j2").write_text(
        "{% for s in services() %}{% for i in service(s.name) %}{{ i.port }}\n{% endfor %}{% endfor %}"
    )
    process = ctemplate("-config", "c.toml")
    wait_for(out.exists, LIMIT, "the first file", log=process.log)
    before = descriptors(process.pid)
    for number in range(1, HANGUPS + 1):
        process.signal(signal.SIGHUP)
        process.wait_for_log("configuration reloaded", times=number)
    filled.api("PUT", "/v1/txn", [service(7, Port=81)])
    wait_for(lambda: "81\n" in out.read_text(), LIMIT, "the last port", log=process.log)
    assert descriptors(process.pid) <= before + CONNECTIONS, "one a hangup would be far more"
    assert connections(filled.port) <= CONNECTIONS
