"""Gates: each may make a change wait; files that are already live wait for none."""

from pathlib import Path

import pytest

from ctemplate import apply
from ctemplate.apply import Group, StateFolder
from ctemplate.core.errors import CommandFailed
from ctemplate.core.model import Outcome, Output, Target
from ctemplate.nginx.master import DrainingWorker, Process
from ctemplate.sinks.live import DrainGate, LiveSink


class Gate:
    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    async def should_wait(self, _now):
        self.asked += 1
        return self.answers.pop(0) if self.answers else False


@pytest.fixture
def sink(tmp_path):
    """Make a sink with gates: ``sink(gate, ...)`` returns it with an output."""
    target = Target(destination=tmp_path / "out")
    group = Group(name="g", targets=(target,))
    with StateFolder(tmp_path / "state").hold(group) as state:
        yield lambda *gates: LiveSink(state=state, gates=gates)


def output(folder, content):
    return (Output(target=Target(destination=folder / "out"), content=content),)


@pytest.mark.parametrize(
    ("answers", "outcomes"),
    [
        pytest.param([[], []], [Outcome.APPLIED], id="none waits"),
        pytest.param([[True], []], [Outcome.DELAYED, Outcome.APPLIED], id="the first waits"),
        pytest.param([[], [True]], [Outcome.DELAYED, Outcome.APPLIED], id="the second waits"),
        pytest.param([[True], [True, True]], [Outcome.DELAYED, Outcome.DELAYED, Outcome.APPLIED], id="both wait"),
    ],
)
async def test_a_change_waits_for_every_gate(tmp_path, sink, answers, outcomes):
    gates = [Gate(*each) for each in answers]
    live = sink(*gates)
    assert [await live.apply(output(tmp_path, b"one")) for _ in outcomes] == outcomes
    assert [gate.asked for gate in gates] == [len(outcomes)] * 2


async def test_what_is_live_already_asks_no_gate(tmp_path, sink):
    gate = Gate()
    live = sink(gate)
    await live.apply(output(tmp_path, b"one"))
    assert await live.apply(output(tmp_path, b"one")) is Outcome.UNCHANGED
    assert gate.asked == 1


class Draining:
    """A program with so many old generations of workers."""

    def __init__(self, count):
        self.count = count

    async def draining(self):
        if self.count is None:
            raise CommandFailed("nginx", "cannot be asked")
        return tuple(
            DrainingWorker(process=Process(pid=number, started=number), age=10.0 * number, memory_bytes=0)
            for number in range(self.count)
        )


@pytest.mark.parametrize(
    ("counts", "waits"),
    [
        pytest.param([(0.0, 1)], [False], id="few"),
        pytest.param([(0.0, 4), (1.0, 4), (59.0, 4), (60.0, 4)], [True, True, True, False], id="many for a minute"),
        pytest.param([(0.0, 4), (1.0, 3), (2.0, 4), (61.0, 4)], [True, False, True, True], id="many again"),
        pytest.param([(0.0, None)], [False], id="nobody can tell"),
    ],
)
async def test_old_generations_have_a_reload_wait_but_not_for_ever(counts, waits):
    program = Draining(0)
    gate = DrainGate(program=program, limit=4, max_delay=60.0)
    found = []
    for now, program.count in counts:
        found.append(await gate.should_wait(now))
    assert found == waits


class Seen:
    """A reload that keeps what it was given."""

    def __init__(self):
        self.changes = []

    async def reload(self, change):
        self.changes.append(change)
        return Outcome.APPLIED


async def test_a_reload_gets_what_was_replaced_before_and_after(tmp_path):
    paths = tuple(tmp_path / name for name in ("a", "b"))
    targets = tuple(Target(destination=path) for path in paths)
    seen = Seen()

    async def bring(*contents):
        outputs = tuple(Output(target=target, content=text) for target, text in zip(targets, contents, strict=True))
        await apply.apply(outputs, state=state, reload=seen)

    with StateFolder(tmp_path / "state").hold(Group(name="g", targets=targets)) as state:
        await bring(b"a1", b"b1")
        await bring(b"a1", b"b2")
    first, second = seen.changes
    assert (first.files, second.files) == (paths, paths)
    assert (first.before, first.after) == (dict.fromkeys(paths), {paths[0]: b"a1", paths[1]: b"b1"})
    assert (second.before, second.after) == ({Path(paths[1]): b"b1"}, {Path(paths[1]): b"b2"})
