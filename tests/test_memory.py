import json
import math
import os
from dataclasses import replace

import msgspec
import pytest

from ctemplate.config.groups import group_plans
from ctemplate.config.layers import Layer, build
from ctemplate.core.model import Answer, CheckState, Instance, Server, ServerSet, Service, Status
from ctemplate.guard import Cause, Hold, Memory
from ctemplate.queries import PreparedQuery, ServiceQuery, ServicesQuery
from ctemplate.runtime import answer_store as memory
from ctemplate.runtime.stored_holds import release_stored

NOW = 1000.0
WEB, ALL = ServiceQuery(name="web", dc="east", filter='Service.Meta.x == "ü"'), ServicesQuery()
INSTANCE = Instance(
    id="w1",
    name="web",
    node="n1",
    address="[2001:db8::1]",
    port=80,
    tags=("a",),
    meta={"k": "v"},
    weight=3,
    status=Status.WARNING,
    node_id="5b1f",
    node_meta={"rack": "r1"},
    checks=(CheckState(id="c", status="warning", service_id="w1"),),
    created=7,
)
HOLD = Hold(
    query=WEB,
    entries=(INSTANCE,),
    cause=Cause.DENIED,
    since=100.5,
    until=math.inf,
    index=9,
    session=8.5,
    was_filtered=True,
)
MEMORIES = (
    Memory(
        answer=Answer(query=ALL, value=(Service(name="web", tags=("a",)), Service(name="db")), index=3, seen_at=1.5)
    ),
    Memory(
        answer=Answer(query=WEB, value=(INSTANCE,), index=9, seen_at=2.5, filtered=True, session=8.5), holds=(HOLD,)
    ),
    Memory(answer=Answer(query=PreparedQuery(name="live", near="_agent"), value=(INSTANCE,), seen_at=3.5)),
    ServerSet(servers=frozenset({Server(node_id="5b1f", created=6), Server(node_id="07aa", created=9)}), session=8.5),
    ServerSet(dc="east", servers=frozenset({Server(node_id="cc01", created=4)})),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "answers.json"


def test_what_is_saved_is_loaded(path):
    assert memory.save_answers(path, MEMORIES, wall=NOW)
    assert memory.load_answers(path, wall=NOW) == MEMORIES
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def held_until(memories):
    return [(hold.since, hold.until) for each in memories if isinstance(each, Memory) for hold in each.holds]


@pytest.mark.parametrize("later", [NOW + 7200.0, NOW - 3600.0], ids=["down for two hours", "clock set back"])
def test_the_time_of_a_hold_stands_still_while_no_process_runs(path, later):
    answer = Answer(query=WEB, value=(), index=9)
    hold = replace(HOLD, since=NOW - 10.0, until=NOW + 50.0)
    assert memory.save_answers(path, [Memory(answer=answer, holds=(hold,))], wall=NOW)
    assert held_until(memory.load_answers(path, wall=later)) == [(later - 10.0, later + 50.0)]


def test_a_release_without_a_process_leaves_the_time_of_other_holds(tmp_path):
    template = {"contents": "", "destination": str(tmp_path / "out")}
    plans = group_plans(build([Layer(where="test", values={"template": [template]})]))
    path = memory.memory_path(tmp_path / "state", [tmp_path / "out"])
    hold = replace(HOLD, cause=Cause.LOSS, since=NOW - 10.0, until=NOW + 50.0)
    memories = []
    for name in ("web", "api", "db"):
        query = msgspec.structs.replace(WEB, name=name)
        own = replace(hold, query=query, entries=(msgspec.structs.replace(INSTANCE, name=name),))
        memories.append(Memory(answer=Answer(query=query, value=(), index=9), holds=(own,)))
    assert memory.save_answers(path, memories, wall=NOW)
    for name in ("web", "api"):
        release_stored(plans, "", state_dir=tmp_path / "state", service=name)
    assert held_until(memory.load_answers(path, wall=NOW + 7200.0)) == [(NOW + 7190.0, NOW + 7250.0)]
    assert held_until(memory.load_answers(path)) == [(NOW - 10.0, NOW + 50.0)]


def test_a_file_of_an_earlier_release_is_read(path):
    path.parent.mkdir()
    hold = {"entries": [], "cause": "UNSEEN", "since": 90.0, "until": 130.0}
    answer = {"query": {"query": "service", "name": "web"}, "value": [], "holds": [hold]}
    path.write_text(json.dumps({"version": 1, "instances": [answer]}))
    os.utime(path, (100.0, 100.0))
    (found,) = memory.load_answers(path, wall=NOW)
    assert [(each.cause, each.since, each.until) for each in found.holds] == [
        (Cause.CONNECTION_GAP, NOW - 10.0, NOW + 30.0)
    ]


def test_nothing_kept_is_nothing_known(path, caplog):
    assert (memory.load_answers(path, wall=NOW), caplog.messages) == ((), [])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param(b"", "is damaged: Input data was truncated", id="empty"),
        pytest.param(b'{"version": 1, "instances": [{}]}', "is damaged: ", id="wrong shape"),
        pytest.param(b'{"version": 2, "instances": 5}', "is of version 2, not 1", id="a later version"),
        pytest.param(
            b'{"version":1,"services":[{"query":{"query":"services"},"value":[],'
            b'"holds":[{"entries":[],"cause":"X","since":0}]}]}',
            "is damaged: unknown cause 'X'",
            id="an unknown cause",
        ),
    ],
)
def test_an_unfit_file_is_told_and_left_aside(path, caplog, content, what):
    path.parent.mkdir()
    path.write_bytes(content)
    assert memory.load_answers(path, wall=NOW) == ()
    (message,) = caplog.messages
    assert message.startswith(f"{path}: {what}")
    assert message.endswith("; starting without the last good answers")


def test_too_much_is_neither_written_nor_read(path, caplog, monkeypatch):
    assert memory.save_answers(path, MEMORIES, wall=NOW)
    monkeypatch.setattr(memory, "ANSWERS_LIMIT_BYTES", 10)
    assert not memory.save_answers(path, MEMORIES, wall=NOW)
    assert memory.load_answers(path, wall=NOW) == ()
    assert [message.split("; ")[-1] for message in caplog.messages] == [
        "it is not written",
        "starting without the last good answers",
    ]


def test_a_folder_that_cannot_be_made_is_told(tmp_path, caplog):
    tmp_path.joinpath("file").touch()
    assert not memory.save_answers(tmp_path / "file" / "answers.json", MEMORIES, wall=NOW)
    (message,) = caplog.messages
    assert message.endswith("cannot be written: not a directory; a restart will not know the last good answers")


def test_each_set_of_destinations_has_its_own_file(tmp_path):
    tmp_path.joinpath("link").symlink_to(tmp_path / "a")
    one = memory.memory_path(tmp_path, [tmp_path / "a", tmp_path / "b"])
    assert memory.memory_path(tmp_path, [tmp_path / "b", tmp_path / "link"]) == one
    assert memory.memory_path(tmp_path, [tmp_path / "a"]) != one


@pytest.mark.parametrize(
    ("files", "newest", "left"),
    [
        pytest.param({}, "own", set(), id="none"),
        pytest.param({"own": "/c.toml"}, "own", {"own"}, id="its own"),
        pytest.param({"own": "/c.toml", "a": "/c.toml"}, "a", {"own"}, id="of destinations that it had meanwhile"),
        pytest.param({"a": "/c.toml", "own": "/c.toml"}, "own", {"own"}, id="of destinations that it had before"),
        pytest.param({"a": "/c.toml"}, "a", set(), id="of other destinations alone"),
        pytest.param({"own": "/c.toml", "a": "/d.toml"}, "own", {"own", "a"}, id="of another configuration"),
        pytest.param({"own": "", "a": ""}, "own", {"own", "a"}, id="without configuration files"),
        pytest.param({"own": "/c.toml", "a": None}, "own", {"own", "a"}, id="damaged"),
    ],
)
def test_the_newest_file_of_a_configuration_counts_whatever_its_destinations(tmp_path, files, newest, left):
    paths = {name: tmp_path / f"answers-{name}.json" for name in (*files, "own")}
    for at, (name, configuration) in enumerate(files.items()):
        if configuration is None:
            paths[name].write_bytes(b"{")
        else:
            memory.save_answers(paths[name], MEMORIES, wall=NOW, configuration=configuration)
        os.utime(paths[name], (at, at))
    configuration = files.get("own", "/c.toml")
    assert memory.newest_answers(paths["own"], configuration) == paths[newest]
    memory.forget_others(paths["own"], configuration)
    assert {path.stem.removeprefix("answers-") for path in tmp_path.iterdir()} == left


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", ["of another user", "a link", "writable by others", "a fifo"])
def test_answers_that_others_could_have_written_are_not_taken(tmp_path, caplog, kind):
    path = tmp_path / "answers.json"
    memory.save_answers(path, [Memory(answer=Answer(query=ALL, value=(), index=7))], wall=NOW)
    if kind == "of another user":
        os.chown(path, 65534, 65534)
        reason = "belongs to user nobody"
    elif kind == "a link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        reason = "is a link"
    elif kind == "writable by others":
        path.chmod(0o602)
        reason = "others may write it (mode 0602)"
    else:
        path.unlink()
        os.mkfifo(path, 0o600)
        reason = "not a regular file"
    assert memory.load_answers(path) == ()
    said = f"{path}: cannot be read: {reason}; starting without the last good answers"
    assert caplog.messages == [said]
