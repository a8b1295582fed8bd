"""SIGKILL in the middle of a transaction: the next start converges, whatever the moment was."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from harness.ctemplate import ForkedModule, run_module

DRIVER = Path(__file__).with_name("apply_driver.py")
ROOT = DRIVER.parents[2]
SIZE = 200  # lines in a file, so that a torn one would show


class Machine:
    """Two files, a state folder, and a program that runs a copy of the files that it took at its last reload."""

    def __init__(self, folder):
        self.folder = folder
        self.paths = [folder / "etc" / name for name in ("a.conf", "b.conf")]
        self.running = folder / "running"
        self.reloads = folder / "reloads"
        self.reloads.write_text("")
        self.running.mkdir()

    def spec(self, rounds, **options):
        take = " && ".join(f"cp {path} {self.running}/{path.name}" for path in self.paths)
        spec = {
            "state": str(self.folder / "state"),
            "destinations": [str(path) for path in self.paths],
            "rounds": [[text(one) for one in contents] for contents in rounds],
            "check": "! grep -q refused {candidate}",
            "reload": f"{take} && echo x >> {self.reloads}",
        } | options
        file = self.folder / "spec.json"
        file.write_text(json.dumps(spec))
        return file

    def run(self, *rounds, **options):
        spec = self.spec(rounds, **options)
        ended = run_module(DRIVER.stem, spec, cwd=DRIVER.parent, env=environment())
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    @property
    def live(self):
        return tuple(path.read_text() if path.exists() else None for path in self.paths)

    @property
    def runs(self):
        return tuple((self.running / path.name).read_text() for path in self.paths)

    @property
    def ledger(self):
        return json.loads(next(self.folder.glob("state/*/ledger.json")).read_text())

    @property
    def names(self):
        return sorted(path.name for path in (self.folder / "etc").iterdir())


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}


def text(word):
    return f"{word}\n" * SIZE


def texts(*words):
    return tuple(text(word) for word in words)


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    assert machine.run(["a1", "b1"]).stdout == "ready\napplied\n"
    return machine


@pytest.mark.parametrize(
    ("step", "nth", "live", "owes_reload"),
    [
        pytest.param("surveyed", 1, ("a1", "b1"), False, id="surveyed"),
        pytest.param("staged", 1, ("a1", "b1"), False, id="staged"),
        pytest.param("checked", 1, ("a1", "b1"), False, id="checked"),
        pytest.param("journaled", 1, ("a1", "b1"), False, id="journaled"),
        pytest.param("swapping", 1, ("a1", "b1"), True, id="first file swapped"),
        pytest.param("swapping", 2, ("a1", "b1"), True, id="second file swapped"),
        pytest.param("swapped", 1, ("a1", "b1"), True, id="swapped"),
        pytest.param("reloaded", 1, ("a1", "b1"), True, id="reloaded"),
        pytest.param("recorded", 1, ("a2", "b2"), False, id="recorded"),
    ],
)
def test_a_kill_at_a_named_step(machine, step, nth, live, owes_reload):
    killed = machine.run(["a2", "b2"], kill=step, nth=nth)
    assert killed.returncode == -9
    assert machine.run().stdout == "ready\n"
    assert machine.live == texts(*live)
    assert machine.names == ["a.conf", "b.conf"]
    assert machine.ledger["owes_reload"] is owes_reload
    reloads = machine.reloads.read_text()
    assert machine.run(live).stdout == ("ready\napplied\n" if owes_reload else "ready\nunchanged\n")
    assert machine.reloads.read_text() == reloads + ("x\n" if owes_reload else "")
    assert machine.runs == machine.live == texts(*live)
    machine.run(["a2", "b2"])
    assert machine.runs == machine.live == texts("a2", "b2")
    assert not machine.ledger["owes_reload"]


@pytest.mark.parametrize("step", ["restoring", "restored"])
def test_a_kill_while_a_failed_change_is_taken_back(machine, step):
    killed = machine.run(["a2", "b2"], kill=step, reload="false")
    assert killed.returncode == -9
    machine.run()
    assert machine.live == machine.runs == texts("a1", "b1")
    assert machine.ledger["owes_reload"] is True
    assert machine.run(["a1", "b1"]).stdout == "ready\napplied\n"
    assert not machine.ledger["owes_reload"]


def test_kills_spread_over_many_transactions(machine, programs):
    number = 1
    for turn in range(30):
        rounds = [[f"a{number + i}", f"b{number + i}"] for i in range(1, 40)]
        number += 40
        argv = [sys.executable, "-m", DRIVER.stem, machine.spec(rounds)]
        name = f"driver{turn}"
        process = ForkedModule(name, argv, machine.folder, cwd=DRIVER.parent, env=environment())
        programs.callback(process.kill)
        process.start().wait_for(process.stdout, 60, "readiness")
        time.sleep(turn * 0.005)  # the moment of the kill, wherever it falls
        process.signal(signal.SIGKILL)
        process.wait()
        assert machine.run().stdout == "ready\n"
        first, second = (live.split("\n", 1)[0] for live in machine.live)
        assert machine.live == texts(first, second), "a torn file"
        assert first[1:] == second[1:], "files of two renderings"
        assert machine.ledger["owes_reload"] or machine.runs == machine.live, "a forgotten reload"
        assert machine.names == ["a.conf", "b.conf"]
    machine.run(["end", "end"])
    assert machine.runs == machine.live == texts("end", "end")
