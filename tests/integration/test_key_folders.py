"""Many keys below one folder, on a real Consul: one long poll, with the same answers as separate requests."""

import asyncio
import base64
import contextlib

import pytest

from ctemplate.catalog import Catalog
from ctemplate.queries import KeyQuery, TreeQuery
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.source import ConsulSource

LIMIT = 60.0
KEYS = 120
ROOT_TOKEN = "11111111-1111-1111-1111-111111111111"
ACL = {
    "primary_datacenter": "dc1",
    "acl": {
        "enabled": True,
        "default_policy": "deny",
        "tokens": {"master": ROOT_TOKEN, "agent": ROOT_TOKEN, "default": ROOT_TOKEN},
    },
}
FOLDER = TreeQuery(prefix="cfg/")


def key(number):
    return KeyQuery(path=f"cfg/k{number}")


def fill(consul, numbers, **options):
    operations = [
        {"KV": {"Verb": "set", "Key": key(number).path, "Value": base64.b64encode(b"v%d" % number).decode()}}
        for number in numbers
    ]
    for start in range(0, len(operations), 60):
        consul.api("PUT", "/v1/txn", operations[start : start + 60], **options)


@contextlib.asynccontextmanager
async def watched(consul, queries, **settings):
    """A catalog whose source answers the queries."""
    catalog, source = Catalog(), ConsulSource(ConsulSettings(addresses=(consul.address,), **settings))
    catalog.want("group", frozenset(queries))
    task = asyncio.create_task(source.run(catalog))
    try:
        yield catalog, source
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(condition):
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - neither a plan nor an answer sets an event for us
            await asyncio.sleep(0.01)


def value(catalog, query):
    answer = catalog.get(query)
    return None if answer is None else [entry.data for entry in answer.value]


def is_only_folder(source):
    return lambda: source.plan().polls == {FOLDER} and source.health.connections == 1


async def test_many_keys_of_a_folder_are_one_connection(consul):
    fill(consul, range(KEYS))
    queries = {key(number) for number in range(KEYS + 10)}
    async with watched(consul, queries) as (catalog, source):
        await eventually(lambda: not catalog.missing())
        await eventually(is_only_folder(source))
        assert value(catalog, key(3)) == [b"v3"]
        assert value(catalog, key(KEYS)) == []
        await asyncio.to_thread(consul.api, "PUT", "/v1/kv/cfg/k3", "new")
        await eventually(lambda: value(catalog, key(3)) == [b"new"])
        await asyncio.to_thread(consul.api, "PUT", "/v1/kv/cfg/k4", "")
        await eventually(lambda: value(catalog, key(4)) == [b""])
        await asyncio.to_thread(consul.api, "DELETE", "/v1/kv/cfg/k3")
        await eventually(lambda: value(catalog, key(3)) == [])
        await asyncio.to_thread(fill, consul, [KEYS, 3])
        await eventually(lambda: value(catalog, key(KEYS)) == [b"v%d" % KEYS] and value(catalog, key(3)) == [b"v3"])
        await eventually(is_only_folder(source))
        await asyncio.to_thread(consul.api, "DELETE", "/v1/kv/cfg/?recurse")
        await eventually(lambda: all(value(catalog, query) == [] for query in queries))


async def test_a_folder_that_is_far_larger_than_what_is_wanted_is_not_followed(consul):
    fill(consul, range(400))
    queries = {key(number) for number in range(10)}
    async with watched(consul, queries) as (catalog, source):
        await eventually(lambda: not catalog.missing() and source.plan().polls == queries)
        await asyncio.to_thread(consul.api, "PUT", "/v1/kv/cfg/k3", "new")
        await eventually(lambda: value(catalog, key(3)) == [b"new"])


@pytest.mark.parametrize("may_list", [True, False])
async def test_a_token_that_may_read_single_keys_alone_reads_them(start_consul, may_list):
    config = {**ACL, "acl": {**ACL["acl"], "enable_key_list_policy": not may_list}}
    consul = await asyncio.to_thread(start_consul, config=config)
    fill(consul, range(12), token=ROOT_TOKEN)
    rules = "".join(f'key "{key(number).path}" {{ policy = "read" }}' for number in range(11))
    policy = {"Name": "keys", "Rules": rules + 'node_prefix "" { policy = "read" }'}
    consul.api("PUT", "/v1/acl/policy", policy, token=ROOT_TOKEN)
    token = consul.api("PUT", "/v1/acl/token", {"Policies": [{"Name": "keys"}]}, token=ROOT_TOKEN)["SecretID"]
    async with watched(consul, {key(number) for number in range(12)}, token=token) as (catalog, source):
        await eventually(lambda: catalog.missing() == {key(11)} and len(source.outages.current) == 1)
        assert value(catalog, key(10)) == [b"v10"]
        assert list(source.outages.current.values()) == [frozenset({str(key(11))})]
        assert (FOLDER in source.plan().polls) is may_list
        await asyncio.to_thread(consul.api, "PUT", "/v1/kv/cfg/k3", "new", token=ROOT_TOKEN)
        await eventually(lambda: value(catalog, key(3)) == [b"new"])
