"""Histories of a folder's keys: an answer with reused entries equals one that is decoded anew, whatever came before."""

import asyncio
import base64

import msgspec
from budget import examples
from consul_fakes import ScriptedClient, reply
from hypothesis import given, settings, strategies as st

from ctemplate.queries import kind_of
from ctemplate.queries.key import KeyEntry, TreeQuery
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.settings import DataLimits
from ctemplate.sources.consul.http.outages import OutageLog
from ctemplate.sources.consul.watching.watch import Retries, Watch, with_known_entries

APP = TreeQuery(prefix="app/")
names = st.sampled_from(["a", "b", "b/", "b/c", "b/d", "e", "ü"])
values = st.sampled_from([None, b"", b"1", b"2", b"\xff\x00", "ü".encode()])
changes = st.one_of(
    st.tuples(st.just("put"), names, values),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("delete below"), names),
    st.tuples(st.just("restore"), st.dictionaries(names, values)),
    st.tuples(st.just("restart")),
)
entries = st.lists(st.integers(0, 3).map(lambda number: KeyEntry(path=f"k{number}")), max_size=8).map(tuple)


def body(keys, index):
    """Return Consul's answer for keys: their values in base64, null for an empty one."""
    rows = [
        {"Key": f"app/{name}", "Value": None if value is None else base64.b64encode(value).decode(), "Flags": 0}
        | {"LockIndex": 0, "CreateIndex": index, "ModifyIndex": index}
        for name, value in sorted(keys.items(), key=lambda item: item[0].encode())
    ]
    return msgspec.json.encode(rows)


def replayed(history):
    """Yield the body and the index after each change; a restore or a restart resets the index."""
    keys, index = {}, 10
    for change, *words in history:
        index += 1
        match change:
            case "put":
                keys[words[0]] = words[1]
            case "delete":
                keys.pop(words[0], None)
            case "delete below":
                keys = {name: value for name, value in keys.items() if not name.startswith(words[0])}
            case "restore":
                keys, index = dict(words[0]), 1
            case "restart":
                index = 1
        yield body(keys, index), index


class KeyStore(ScriptedClient):
    """Answers each read with the newest body, however often it is asked."""

    async def read(self, *_request, **_options):
        return self.newest


async def watched(history):
    """Yield the answer that a watch gives after each change, with the body that it was made of."""
    client, outages = KeyStore(), OutageLog()
    watch = Watch(APP, client, Decoder(DataLimits()), outages, Retries(client, outages))
    for text, index in replayed(history):
        client.newest = reply(text, index)
        yield await watch.read(client.connect()), text


async def compared(history):
    before, decode = (), kind_of(APP).decode
    async for answer, text in watched(history):
        assert (answer.value, answer.rejections) == decode(APP, text, Decoder(DataLimits()))
        if answer.value == before:
            assert answer.value is before
        if len(answer.value) == len(before):
            assert [new is old for old, new in zip(before, answer.value, strict=True)] == [
                new == old for old, new in zip(before, answer.value, strict=True)
            ]
        before = answer.value


@given(st.lists(changes, min_size=1, max_size=10))
@settings(max_examples=examples(100))
def test_an_answer_with_reused_entries_is_the_one_decoded_anew(history):
    asyncio.run(compared(history))


@given(entries, entries)
def test_equal_entries_are_the_earlier_ones(before, now):
    found = with_known_entries(now, before)
    assert found == now
    size = min(len(now), len(before))
    front = next((at for at in range(size) if now[at] != before[at]), size)
    assert all(found[at] is before[at] for at in range(front))
    back = min(next((at for at in range(size) if now[-1 - at] != before[-1 - at]), size), size - front)
    assert all(found[-1 - at] is before[-1 - at] for at in range(back))
