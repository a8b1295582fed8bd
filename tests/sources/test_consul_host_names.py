"""Host names of agents: looked up beside all other blocking work, each address tried, a dead one only once."""

import asyncio
import socket
import threading

import pytest
from consul_fakes import Agent, answer

from ctemplate.sources.consul.http.address import parse_address
from ctemplate.sources.consul.http.host_names import SHARED_FOR, HostNames, ip_addresses
from ctemplate.sources.consul.http.transport import Connection, HttpRequest, NotConnected, TimedOut

ASKING = HttpRequest(head=b"GET / HTTP/1.1\r\n\r\n", connect_timeout=60.0, read_timeout=60.0)


class Resolver:
    """Answers each lookup when it is told to."""

    def __init__(self, *addresses):
        self.addresses = addresses
        self.hosts = []
        self.answers = threading.Event()

    def __call__(self, host):
        self.hosts.append(host)
        assert self.answers.wait(60)
        return self.addresses


def named(agent, names, **options):
    return Connection(parse_address(f"consul.test:{agent.port}"), names=names, **options)


@pytest.mark.parametrize("address", ["10.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(address):
    resolver = Resolver()
    assert await HostNames(resolver).find(address) == (address,)
    assert resolver.hosts == []


async def test_names_that_are_needed_together_are_looked_up_once_and_afresh_later():
    resolver = Resolver("10.0.0.1", "10.0.0.2")
    names = HostNames(resolver)
    waiting = [asyncio.create_task(names.find("consul")) for _ in range(50)]
    await asyncio.sleep(0)
    resolver.answers.set()
    assert await asyncio.gather(*waiting) == [("10.0.0.1", "10.0.0.2")] * 50
    assert resolver.hosts == ["consul"]
    names.prefer("consul", "10.0.0.2")
    assert await names.find("consul") == ("10.0.0.2", "10.0.0.1")
    assert resolver.hosts == ["consul", "consul"]


async def test_a_lookup_that_hangs_takes_no_thread_of_other_work_and_is_joined_for_a_while(leap):
    resolver = Resolver("10.0.0.1")
    names = HostNames(resolver)
    waiting = [asyncio.create_task(names.find("consul")) for _ in range(100)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 60) == "done"
    leap(SHARED_FOR)
    waiting += [asyncio.create_task(names.find("consul")) for _ in range(100)]
    await asyncio.sleep(0)
    for task in waiting[:50]:
        task.cancel()
    resolver.answers.set()
    assert await asyncio.gather(*waiting[50:]) == [("10.0.0.1",)] * 150
    assert resolver.hosts == ["consul"] * 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(socket.gaierror(socket.EAI_NONAME, "x"), "the host name cannot be resolved", id="unknown"),
        pytest.param(UnicodeError("label too long"), "the host name cannot be resolved", id="no name"),
    ],
)
async def test_a_name_that_nobody_knows_is_an_error(error, said):
    def resolve(_host):
        raise error

    async with Agent().listening() as agent:
        with pytest.raises(NotConnected) as caught:
            await named(agent, HostNames(resolve)).ask(ASKING)
        assert str(caught.value) == said


async def test_a_lookup_that_takes_too_long_is_named(leap):
    resolver = Resolver("127.0.0.1")
    async with Agent().listening() as agent:
        asked = asyncio.create_task(named(agent, HostNames(resolver)).ask(ASKING))
        await asyncio.sleep(0)
        leap(60)
        with pytest.raises(TimedOut) as caught:
            await asked
        assert str(caught.value) == "looking up the host name timed out after 60.0s"
    resolver.answers.set()


class HalfDead(Connection):
    """Has one address that accepts nothing, and never says so."""

    tried = ()

    async def _connect_to(self, place):
        self.tried = (*self.tried, place)
        if place == "10.9.9.9":
            await asyncio.Event().wait()
        return await super()._connect_to(place)


async def test_an_address_that_hangs_has_its_part_of_the_time_and_then_comes_last(leap):
    names = HostNames(lambda _host: ("10.9.9.9", "127.0.0.1"))
    async with Agent([answer(b"[1]"), answer(b"[2]")]).listening() as agent:
        first = HalfDead(parse_address(f"consul.test:{agent.port}"), names=names)
        asked = asyncio.create_task(first.ask(ASKING))
        async with asyncio.timeout(60):
            while not first.tried:  # noqa: ASYNC110 - a connection that is being opened has no event
                await asyncio.sleep(0.01)
        leap(30)
        assert (await asked).body == b"[1]"
        second = HalfDead(parse_address(f"consul.test:{agent.port}"), names=names)
        assert (await second.ask(ASKING)).body == b"[2]"
        assert [first.tried, second.tried] == [("10.9.9.9", "127.0.0.1"), ("127.0.0.1",)]
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        pytest.param(("127.0.0.2", "127.0.0.3"), "connection refused", id="all refuse"),
        pytest.param(("127.0.0.2", "::1"), "none of the host's addresses accepts connections", id="in various ways"),
    ],
)
async def test_an_error_says_what_all_addresses_have_in_common(addresses, said):
    class Refused(Connection):
        async def _connect_to(self, place):
            if place == "::1":
                raise OSError(101, "unreachable")
            return await super()._connect_to(place)

    async with Agent().listening() as agent:
        names = HostNames(lambda _host: addresses)
        with pytest.raises(NotConnected) as caught:
            await Refused(parse_address(f"consul.test:{agent.port}"), names=names).ask(ASKING)
        assert str(caught.value) == said


def test_addresses_are_found_once_each():
    assert set(ip_addresses("localhost")) <= {"127.0.0.1", "::1"}
    assert ip_addresses("127.0.0.1") == ("127.0.0.1",)
