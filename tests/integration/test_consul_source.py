"""The Consul source with a real agent: the data that it reads, and its reaction to failures."""

import asyncio
import contextlib
import functools
import logging
import shutil

import pytest
from harness import free_port, wait_for
from harness.consul import ConsulRefusal, certificates

from ctemplate.catalog import Catalog
from ctemplate.core.model import Status
from ctemplate.core.timing import Backoff
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.source import ConsulSource

ALL, WEB = ServicesQuery(), ServiceQuery(name="web")
TTL = {"TTL": "1h", "Status": "passing"}
LIMIT = 60.0  # seconds for anything that is waited for; a busy machine elects slowly


@contextlib.asynccontextmanager
async def watching(*queries, addresses, **settings):
    """Yield a catalog that a source keeps new."""
    backoff = Backoff(first=0.1, ceiling=1.0)
    source, catalog = ConsulSource(ConsulSettings(addresses=addresses, backoff=backoff, **settings)), Catalog()
    catalog.want("test", frozenset(queries))
    task = asyncio.create_task(source.run(catalog))
    try:
        yield catalog
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(catalog, condition):
    """Wait for answers until the condition holds; it looks at the whole state each time."""
    async with asyncio.timeout(LIMIT):
        while not condition():
            await catalog.news()


def ids(catalog, query=WEB):
    answer = catalog.get(query)
    return None if answer is None else [instance.id for instance in answer.value]


def operator_lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]


async def test_registration_health_and_deregistration_are_seen(consul):
    async with watching(WEB, ALL, addresses=(consul.address,)) as catalog:
        await until(catalog, lambda: not catalog.missing())
        assert ids(catalog) == []
        consul.register("web", service_id="w1", port=80, tags=["b", "a"], meta={"v": "1"}, checks=[TTL])
        await until(catalog, lambda: ids(catalog) == ["w1"])
        await until(catalog, lambda: ("web", ("a", "b")) in [(s.name, s.tags) for s in catalog.get(ALL).value])
        (instance,) = catalog.get(WEB).value
        assert (instance.address, instance.port, instance.tags) == ("127.0.0.1", 80, ("a", "b"))
        assert (instance.meta, instance.status, instance.weight) == ({"v": "1"}, Status.PASSING, 1)
        for status in (Status.CRITICAL, Status.WARNING, Status.PASSING):
            consul.set_check("service:w1", status)
            await until(catalog, lambda status=status: catalog.get(WEB).value[0].status is status)
        consul.maintenance("w1", on=True)
        await until(catalog, lambda: catalog.get(WEB).value[0].status is Status.MAINTENANCE)
        consul.deregister("w1")
        await until(catalog, lambda: ids(catalog) == [])


@pytest.mark.parametrize("name", ["a b", "a.b@dc|x~y", "käse", "a%2Fb", "semi;colon", 'q"uote', "hash#?x=1&y"])
async def test_any_name_that_consul_takes_is_found(consul, name):
    consul.register(name, port=80)
    query = ServiceQuery(name=name)
    async with watching(query, addresses=(consul.address,)) as catalog:
        await until(catalog, lambda: ids(catalog, query) == [name])
        assert catalog.get(query).value[0].name == name


async def test_a_restarted_agent_is_followed_again_without_losing_an_answer(start_consul, caplog):
    caplog.set_level(logging.INFO)
    consul = start_consul(persistent=True)
    consul.register("web", service_id="w1", port=80)
    async with watching(WEB, ALL, addresses=(consul.address,)) as catalog:
        await until(catalog, lambda: ids(catalog) == ["w1"])
        await asyncio.to_thread(consul.kill)
        await asyncio.sleep(0.5)
        assert ids(catalog) == ["w1"]
        await asyncio.to_thread(consul.start)
        await asyncio.to_thread(consul.register, "web", service_id="w2", port=81)
        await until(catalog, lambda: ids(catalog) == ["w1", "w2"])
        await told(caplog, ": outage over after ")
    lines = operator_lines(caplog)
    assert ["first for service" in line for line in lines] == [True, False]


async def test_an_agent_that_lost_everything_is_followed_from_the_start(start_consul):
    consul = start_consul()
    for number in range(20):
        consul.register("other", service_id=f"o{number}", port=1)
    consul.register("web", service_id="w1", port=80)
    async with watching(WEB, addresses=(consul.address,)) as catalog:
        await until(catalog, lambda: ids(catalog) == ["w1"])
        index = catalog.get(WEB).index
        await asyncio.to_thread(consul.restart, keep_data=False)
        await asyncio.to_thread(consul.register, "web", service_id="w2", port=81)
        await until(catalog, lambda: ids(catalog) == ["w2"])
        assert catalog.get(WEB).index < index


async def test_the_next_address_takes_over_and_is_kept(start_consul, caplog):
    caplog.set_level(logging.INFO)
    first, second = start_consul(name="first"), start_consul(name="second")
    for consul in (first, second):
        consul.register("web", service_id=consul.process.name, port=80)
    async with watching(WEB, addresses=(first.address, second.address)) as catalog:
        await until(catalog, lambda: ids(catalog) == ["first"])
        await asyncio.to_thread(first.kill)
        await until(catalog, lambda: ids(catalog) == ["second"])
        await asyncio.to_thread(first.start)
        await asyncio.to_thread(second.register, "web", service_id="third", port=80)
        await until(catalog, lambda: ids(catalog) == ["second", "third"])


async def test_a_rotated_token_is_picked_up_and_a_deleted_one_never_empties(start_consul, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    master = "2f1d7a0e-7b6c-4f0e-9a51-d1f4c2a3b4c5"
    acl = {"enabled": True, "default_policy": "deny", "tokens": {"master": master, "agent": master, "default": master}}
    consul = start_consul(config={"acl": acl})
    rules = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'
    policy = functools.partial(consul.api, "PUT", "/v1/acl/policy", {"Name": "read", "Rules": rules}, token=master)
    wait_for(lambda: accepted(policy), LIMIT, "a policy taken, once ACLs are set up")
    tokens = [consul.api("PUT", "/v1/acl/token", {"Policies": [{"Name": "read"}]}, token=master) for _ in range(2)]
    consul.api("PUT", "/v1/agent/service/register", {"ID": "w1", "Name": "web", "Port": 80}, token=master)
    file = tmp_path / "token"
    file.write_text(tokens[0]["SecretID"])
    async with watching(WEB, addresses=(consul.address,), token_file=str(file), wait=1.0) as catalog:
        await until(catalog, lambda: ids(catalog) == ["w1"])
        accessor = tokens[0]["AccessorID"]
        await asyncio.to_thread(consul.api, "DELETE", f"/v1/acl/token/{accessor}", token=master)
        await told(caplog, "status 403")
        assert ids(catalog) == ["w1"]
        file.write_text(tokens[1]["SecretID"])
        service = {"ID": "w2", "Name": "web", "Port": 81}
        await asyncio.to_thread(consul.api, "PUT", "/v1/agent/service/register", service, token=master)
        await until(catalog, lambda: ids(catalog) == ["w1", "w2"])
    assert not any(token["SecretID"] in caplog.text for token in tokens)


def accepted(request):
    try:
        return request() is not None
    except ConsulRefusal:
        return False


async def test_a_unix_socket_is_an_address(start_consul, tmp_path):
    socket = tmp_path / "http.sock"
    consul = start_consul(config={"addresses": {"http": f"127.0.0.1 unix://{socket}"}})
    consul.register("web", service_id="w1", port=80)
    async with watching(WEB, addresses=(f"unix://{socket}",)) as catalog:
        await until(catalog, lambda: ids(catalog) == ["w1"])


async def told(caplog, text):
    """Wait until the operator was told so."""
    async with asyncio.timeout(LIMIT):
        while not any(text in line for line in operator_lines(caplog)):  # noqa: ASYNC110 - logging sets no event
            await asyncio.sleep(0.05)


async def test_tls_with_client_certificates_and_their_rotation(start_consul, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    authority, server, client = certificates(tmp_path)
    ports = {"http": free_port(), "https": free_port(), "server": free_port(), "serf_lan": free_port()}
    tls = {"ca_file": authority, "cert_file": server[0], "key_file": server[1], "verify_incoming_https": True}
    off = {"dns": -1, "grpc": -1, "serf_wan": -1}
    consul = start_consul(config=tls | {"ports": ports | off}, http_port=ports["http"])
    consul.register("web", service_id="w1", port=80)
    address = f"https://127.0.0.1:{ports['https']}"
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(client[0], cert)
    shutil.copy(client[1], key)
    ours = {"ca_cert": authority, "cert": str(cert), "key": str(key)}
    async with watching(WEB, addresses=(address,), **ours) as catalog:
        await until(catalog, lambda: ids(catalog) == ["w1"])
        cert.write_text("half written")
        await asyncio.to_thread(consul.register, "web", service_id="w2", port=80)
        await until(catalog, lambda: ids(catalog) == ["w1", "w2"])
        await told(caplog, "the files read before stay in use")
        shutil.copy(client[0], cert)
        await asyncio.to_thread(consul.register, "web", service_id="w3", port=80)
        await told(caplog, "consul TLS files: read again")
        await until(catalog, lambda: ids(catalog) == ["w1", "w2", "w3"])
    async with watching(WEB, addresses=(address,), ca_cert=authority):
        await told(caplog, "first for service(web)")
    async with watching(WEB, addresses=(address,)):
        await told(caplog, "the certificate cannot be verified")
