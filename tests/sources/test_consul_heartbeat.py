import asyncio
import contextlib
import math
from dataclasses import dataclass, field

import pytest
from consul_fakes import CLOSE, HANG, Agent, answer

from ctemplate.sources.consul.endpoints.paths import FailureKind, RequestFailed, Resource
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.http.client import Client
from ctemplate.sources.consul.http.heartbeat import LIMIT, SILENCE, ask_at, is_hung, listen
from ctemplate.sources.consul.http.outages import OutageLog

X = Resource(path="/v1/x")


@pytest.mark.parametrize(
    ("contact_at", "is_waiting", "moment"),
    [
        pytest.param(95.0, True, 105.0, id="when it has been silent"),
        pytest.param(-math.inf, True, -math.inf, id="at once when it never said a word"),
        pytest.param(50.0, False, 110.0, id="not while it owes nobody an answer"),
    ],
)
def test_when_an_agent_is_asked(contact_at, is_waiting, moment):
    assert ask_at(100.0, contact_at=contact_at, is_waiting=is_waiting) == moment


@pytest.mark.parametrize(
    ("lives", "contact_at", "hangs"),
    [
        pytest.param(False, 99.0, True, id="nothing came"),
        pytest.param(False, 101.0, False, id="a part of another answer came meanwhile"),
        pytest.param(None, 99.0, False, id="what failed may be ours"),
        pytest.param(True, 101.0, False, id="it answered"),
    ],
)
def test_what_proves_that_an_agent_hangs(lives, contact_at, hangs):
    assert is_hung(lives=lives, contact_at=contact_at, asked_at=100.0) is hangs


@dataclass
class Spot:
    address: str

    def close(self):
        pass


@dataclass
class Agents:
    """A client of agents on a clock: those that hang are silent, the others say something when asked."""

    addresses: list = field(default_factory=lambda: ["a"])
    hung: set = field(default_factory=set)
    is_waiting: bool = True
    contacts: dict = field(default_factory=dict)
    knocks: list = field(default_factory=list)
    given_up: list = field(default_factory=list)
    settings: ConsulSettings = field(default_factory=ConsulSettings)

    @property
    def address(self):
        return self.addresses[0]

    @property
    def contact_at(self):
        return self.contacts.get(self.address, -math.inf)

    def connect(self):
        return Spot(self.address)

    async def ping(self, connection, *, limit):
        now = asyncio.get_running_loop().time
        self.knocks.append((connection.address, now()))
        until = now() + limit
        while connection.address in self.hung:
            if now() >= until:
                return False
            await asyncio.sleep(0.5)
        self.contacts[connection.address] = now()
        return True

    def give_up(self, address, what):
        self.given_up.append((address, asyncio.get_running_loop().time(), what))
        self.addresses.append(self.addresses.pop(0))


@contextlib.asynccontextmanager
async def listening(agents):
    outages = OutageLog()
    task = asyncio.create_task(listen(agents, outages))
    try:
        yield outages
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.looptime
async def test_a_quiet_agent_is_asked_once_in_a_while():
    agents = Agents()
    async with listening(agents):
        await asyncio.sleep(600)
    assert 50 <= len(agents.knocks) <= 60
    assert agents.given_up == []


@pytest.mark.looptime
async def test_an_agent_that_talks_is_not_asked():
    agents = Agents()
    async with listening(agents):
        for moment in range(300):
            agents.contacts["a"] = float(moment)
            await asyncio.sleep(1)
    assert agents.knocks == []


@pytest.mark.looptime
async def test_an_agent_of_whom_nothing_is_wanted_is_not_asked():
    agents = Agents(is_waiting=False)
    async with listening(agents):
        await asyncio.sleep(300)
    assert agents.knocks == []


@pytest.mark.looptime
async def test_a_hung_agent_is_given_up_within_seconds():
    agents = Agents(contacts={"a": 0.0})
    async with listening(agents):
        agents.hung.add("a")
        await asyncio.sleep(SILENCE + LIMIT + 1)
    assert agents.given_up == [("a", 15.0, "hangs: nothing came from it for 15.0s")]


@pytest.mark.looptime
async def test_a_part_of_a_long_answer_is_a_sign_of_life():
    agents = Agents(hung={"a"})
    async with listening(agents):
        for moment in range(300):
            agents.contacts["a"] = float(moment * 2)
            await asyncio.sleep(2)
    assert agents.given_up == []


@pytest.mark.looptime
async def test_the_next_address_is_looked_at_from_then_on():
    agents = Agents(addresses=["a", "b"], hung={"a", "b"})
    async with listening(agents):
        await asyncio.sleep(60)
    assert [address for address, _, _ in agents.given_up[:3]] == ["a", "b", "a"]
    assert agents.given_up[2][1] <= 3 * (SILENCE + LIMIT)


@pytest.mark.looptime
async def test_those_who_wait_for_a_hung_agent_go_on_the_moment_it_lives():
    agents = Agents(hung={"a"})
    async with listening(agents) as outages:
        await asyncio.sleep(47)
        waiting = asyncio.create_task(outages.recovered())
        await asyncio.sleep(1)
        assert not waiting.done()
        agents.hung.clear()
        await asyncio.sleep(0.6)
        assert waiting.done()


def client_of(*addresses):
    return Client(ConsulSettings(addresses=addresses))


@pytest.mark.parametrize(
    ("step", "lives"),
    [
        pytest.param(answer(b"Consul Agent"), True, id="a page"),
        pytest.param(answer(b"", status="500 Oops"), True, id="an error"),
        pytest.param(HANG, False, id="silence"),
        pytest.param(CLOSE, None, id="closed"),
    ],
)
async def test_a_knock(step, lives, leap):
    async with Agent([step]).listening() as agent:
        client = client_of(f"http://{agent.address}/sub")
        knock = asyncio.create_task(client.ping(client.connect(), limit=60.0))
        while not agent.targets:  # noqa: ASYNC110 - what happens on a socket sets no event of ours
            await asyncio.sleep(0.005)
        if step is HANG:
            leap(60.0)
        assert await knock is lives
        assert agent.targets == ["/sub/"]
    if lives is False:
        assert await client.ping(client.connect(), limit=60.0) is False  # refused


async def test_giving_up_an_address_ends_its_requests_and_moves_on():
    async with Agent().listening() as first, Agent().listening() as second:
        client = client_of(first.address, second.address)
        assert not client.is_waiting
        polls = [asyncio.create_task(client.read(client.connect(), X, index=5)) for _ in range(3)]
        while len(first.targets) < 3:  # noqa: ASYNC110 - what happens on a socket sets no event of ours
            await asyncio.sleep(0.005)
        assert client.is_waiting
        failed = client.address
        client.give_up(failed, "hangs")
        for failure in await asyncio.gather(*polls, return_exceptions=True):
            assert isinstance(failure, RequestFailed)
            assert (failure.kind, failure.what) == (FailureKind.UNREACHABLE, "hangs")
        assert client.address != failed


async def test_whatever_comes_is_a_sign_of_life():
    async with Agent([([b"HTTP/1.1 200 OK\r\n"], 5, False)]).listening() as agent:
        client = client_of(agent.address)
        assert client.contact_at == -math.inf
        poll = asyncio.create_task(client.read(client.connect(), X, index=5))
        while client.contact_at == -math.inf:  # noqa: ASYNC110 - what happens on a socket sets no event of ours
            await asyncio.sleep(0.005)
        assert not poll.done()
        poll.cancel()
        await asyncio.wait([poll])
