import asyncio
import contextlib
import itertools

import pytest
from consul_fakes import ScriptedClient, entries, entry, reply

from ctemplate.core.model import Answer
from ctemplate.core.timing import Backoff
from ctemplate.queries import ServiceQuery, ServicesQuery, resource_of
from ctemplate.sources.consul.endpoints.blocking import IndexPosition, PollPace
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import Consistency, FailureKind, RequestFailed
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.consul.http.outages import OutageLog
from ctemplate.sources.consul.watching.poll_start import PollStart
from ctemplate.sources.consul.watching.watch import Retries, Watch, replies

pytestmark = pytest.mark.looptime

WEB = ServiceQuery(name="web")
STALE, DEFAULT = Consistency.STALE, Consistency.DEFAULT


def failure(kind=FailureKind.UNREACHABLE, what="connection refused"):
    return RequestFailed("http://a:8500", "/v1/health/service/web", what, kind)


def new_watch(client, query=WEB):
    outages = OutageLog()
    return Watch(query, client, Decoder(DataLimits()), outages, Retries(client, outages))


async def answers(watch):
    """Yield a watch's answers without its failures."""
    async with contextlib.aclosing(watch.events(watch.client.settings.pacing)) as events:
        async for event in events:
            if isinstance(event, Answer):
                yield event


async def taken(stream, count, timeout=3600):
    """Return the stream's next values, fewer when there are no more within the time."""
    found = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout), contextlib.aclosing(stream):
            async for value in stream:
                found.append(value)
                if len(found) == count:
                    break
    return found


def polled(client):
    settings = client.settings
    return replies(
        client,
        client.connect(),
        resource_of(WEB, settings),
        IndexPosition(),
        PollPace(settings.pacing),
        start=PollStart(),
    )


async def test_each_poll_carries_the_index_of_the_answer_before():
    client = ScriptedClient(reply(b"1", 5), reply(b"2", 9))
    assert [r.meta.index for r in await taken(polled(client), 3)] == [5, 9]
    assert client.asked == [("a", 0, STALE), ("a", 5, STALE), ("a", 9, STALE)]


@pytest.mark.parametrize(
    "suspicious",
    [
        pytest.param(reply(b"[]", 2), id="index went backwards"),
        pytest.param(reply(b"[]", 9, known_leader=False), id="no leader"),
        pytest.param(reply(b"[]", 9, last_contact=3.0), id="too old"),
    ],
)
async def test_a_suspicious_stale_answer_is_never_used(suspicious):
    client = ScriptedClient(reply(b"good", 5), suspicious, reply(b"confirmed", 7))
    assert [r.body for r in await taken(polled(client), 3)] == [b"good", b"confirmed"]
    assert client.asked == [("a", 0, STALE), ("a", 5, STALE), ("a", 0, DEFAULT), ("a", 7, STALE)]


async def test_without_stale_reads_the_leader_is_asked():
    client = ScriptedClient(reply(b"1", 5), settings=ConsulSettings(max_stale=0))
    await taken(polled(client), 2)
    assert client.asked == [("a", 0, DEFAULT), ("a", 5, DEFAULT)]


async def test_answers_without_news_never_make_a_busy_loop():
    client = ScriptedClient(*(reply(b"[]", 0) for _ in range(1000)))
    await taken(polled(client), 1000, timeout=100)
    assert len(client.asked) <= 5 + 100 / 2.0 + 1


async def test_changes_are_paced_only_when_they_keep_coming():
    client = ScriptedClient(*(reply(b"%d" % n, n + 1) for n in range(1000)))
    await taken(polled(client), 1000, timeout=10)
    assert 100 <= len(client.asked) <= 20 + 10 / 0.1 + 1


async def test_replies_end_when_another_address_is_current():
    client = ScriptedClient(reply(b"1", 5), reply(b"2", 6), addresses=("a", "b"))
    stream = polled(client)
    assert (await anext(stream)).body == b"1"
    client.switch(client.address)
    assert [r.body async for r in stream] == []


async def test_a_failure_is_retried_and_the_last_answer_stays():
    client = ScriptedClient(reply(entries(entry()), 5), failure(), failure(), reply(entries(entry()), 5))
    watch = new_watch(client)
    first, second = await taken(answers(watch), 2)
    assert first.value == second.value
    assert [index for _, index, _ in client.asked] == [0, 5, 0, 0]
    assert all(connection.is_closed for connection in client.connections)


async def test_retries_back_off_to_a_ceiling_and_never_end():
    settings = ConsulSettings(backoff=Backoff(first=0.25, ceiling=30.0))
    client = ScriptedClient(*(failure() for _ in range(200)), reply(entries(entry()), 5), settings=settings)
    (answer,) = await taken(answers(new_watch(client)), 1, timeout=10_000)
    gaps = [later - earlier for earlier, later in itertools.pairwise(client.asked_at)]
    assert len(answer.value) == 1
    assert 0.125 <= gaps[0] <= 0.25
    assert all(15.0 <= gap <= 30.0 for gap in gaps[10:])


@pytest.mark.parametrize(
    ("kind", "shortest"),
    [
        pytest.param(FailureKind.TOO_MANY_CONNECTIONS, 60.0, id="connection limit"),
        pytest.param(FailureKind.DENIED, 5.0, id="denied"),
        pytest.param(FailureKind.REFUSED, 15.0, id="refused"),
        pytest.param(FailureKind.OVERLOADED, 1.0, id="rate limit"),
    ],
)
async def test_some_troubles_are_left_alone_for_a_while(kind, shortest):
    client = ScriptedClient(failure(kind), reply(index=5))
    await taken(answers(new_watch(client)), 1)
    assert shortest <= client.asked_at[1] - client.asked_at[0] <= shortest * 2


@pytest.mark.parametrize(
    ("kind", "index"),
    [
        pytest.param(FailureKind.DENIED, 5, id="kept when denied"),
        pytest.param(FailureKind.OVERLOADED, 5, id="kept when rate limited"),
        pytest.param(FailureKind.UNREACHABLE, 0, id="starts over after an outage"),
        pytest.param(FailureKind.UNAVAILABLE, 0, id="starts over without leader"),
    ],
)
async def test_the_index_after_a_trouble(kind, index):
    client = ScriptedClient(reply(index=5), failure(kind), reply(index=5))
    await taken(answers(new_watch(client)), 2)
    assert client.asked[2][1] == index


async def test_the_next_address_is_tried_at_once_and_kept():
    client = ScriptedClient(
        reply(b"[]", 50), failure(), reply(entries(entry()), 3), reply(b"[]", 4), addresses=("a", "b")
    )
    found = await taken(answers(new_watch(client)), 3)
    assert [answer.index for answer in found] == [50, 3, 4]
    assert client.asked[:4] == [("a", 0, STALE), ("a", 50, STALE), ("b", 0, STALE), ("b", 3, STALE)]
    assert client.asked_at[2] == client.asked_at[1]


async def test_addresses_that_all_fail_are_not_hammered():
    client = ScriptedClient(*(failure() for _ in range(100)), addresses=("a", "b"))
    await taken(answers(new_watch(client)), 1, timeout=60)
    assert len(client.asked) < 20
    assert {host for host, _, _ in client.asked} == {"a", "b"}


async def test_another_datacenter_that_is_away_is_that_querys_own_trouble():
    client = ScriptedClient(failure(FailureKind.UNAVAILABLE, "status 500: No cluster leader"), addresses=("a", "b"))
    watch = new_watch(client, ServicesQuery(dc="east"))
    await taken(answers(watch), 1, timeout=0.5)
    assert client.address.host == "a"
    assert watch.outages.current == {"Consul: queries failed": frozenset({"services(dc=east)"})}


async def test_garbage_is_a_failure_and_not_an_answer():
    client = ScriptedClient(reply(b"[{", 5), reply(entries(entry()), 6))
    (answer,) = await taken(answers(new_watch(client)), 1)
    assert len(answer.value) == 1
    assert [index for _, index, _ in client.asked] == [0, 0]


async def test_equal_bytes_are_not_decoded_again():
    body = entries(entry())
    client = ScriptedClient(reply(body, 5), reply(body, 6), reply(entries(entry(Port=81)), 7))
    first, second, third = await taken(answers(new_watch(client)), 3)
    assert second.value is first.value
    assert (first.index, second.index) == (5, 6)
    assert [instance.port for instance in third.value] == [81]


async def test_an_answer_says_what_the_headers_said():
    client = ScriptedClient(reply(b"{}", 5, filtered_by_acls=True, last_contact=0.5))
    (answer,) = await taken(answers(new_watch(client, ServicesQuery())), 1)
    assert (answer.query, answer.value, answer.index) == (ServicesQuery(), (), 5)
    assert (answer.filtered, answer.known_leader, answer.last_contact) == (True, True, 0.5)


async def test_those_who_wait_for_the_agent_come_back_together():
    long = ConsulSettings(backoff=Backoff(first=1000.0, ceiling=1000.0))
    outages = OutageLog()
    clock = asyncio.get_running_loop().time
    client = ScriptedClient(settings=long)
    retries = Retries(client, outages)
    outages.note("other", failure(), clock())
    waiting = asyncio.create_task(retries.wait(failure(), client.connect(), 1))
    await asyncio.sleep(10)
    outages.over("other", clock())
    await waiting
    assert 10 <= clock() <= 10.6
