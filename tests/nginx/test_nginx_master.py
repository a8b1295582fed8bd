import os

import pytest
from process_table import DRAINING, MASTER, WORKER, Proc

from ctemplate.nginx.master import (
    DrainingWorker,
    NginxWorker,
    Process,
    draining,
    generations,
    is_idle,
    process_of,
    workers,
)


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path / "proc")


def family(proc):
    proc.add(10, MASTER, children=(14, 11, 12, 13, 15))
    proc.add(11, WORKER, started=90000, parent=10)
    proc.add(12, DRAINING, started=50000, parent=10)
    proc.add(13, "nginx: cache manager process", parent=10)
    proc.add(14, MASTER, parent=10)  # the new master of an upgrade; 15 has just ended
    return Process(pid=10, started=100)


def test_workers_are_the_worker_processes_among_the_children(proc):
    master = family(proc)
    expected = (
        NginxWorker(process=Process(pid=12, started=50000), is_draining=True),
        NginxWorker(process=Process(pid=11, started=90000), is_draining=False),
    )
    assert workers(master, proc=proc.folder) == expected
    (proc.folder / "10/task/10/children").unlink()  # as on a kernel that keeps no list
    assert workers(master, proc=proc.folder) == expected


def test_draining_workers_have_age_and_memory(proc):
    ticks = os.sysconf("SC_CLK_TCK")
    assert draining(family(proc), proc=proc.folder) == (
        DrainingWorker(process=Process(pid=12, started=50000), age=1000 - 50000 / ticks, memory_bytes=300 * 1024),
    )


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        pytest.param((), 0, id="none"),
        pytest.param((5.0,), 1, id="one"),
        pytest.param((5.0, 5.01, 5.02), 1, id="one reload"),
        pytest.param((5.0, 5.01, 9.0, 9.02), 2, id="two reloads"),
    ],
)
def test_workers_of_one_reload_are_one_generation(ages, expected):
    old = tuple(
        DrainingWorker(process=Process(pid=number, started=1), age=age, memory_bytes=1)
        for number, age in enumerate(ages)
    )
    assert generations(old) == expected


def test_a_zombie_is_no_process_and_a_title_with_brackets_is_read(proc):
    proc.add(10, MASTER, state="Z")
    proc.add(11, MASTER, started=7)
    assert process_of(10, proc=proc.folder) is None
    assert process_of(11, proc=proc.folder) == Process(pid=11, started=7)
    assert process_of(12, proc=proc.folder) is None


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({}, True, id="waiting"),
        pytest.param({"pending": 1}, False, id="the signal waits"),
        pytest.param({"pending": 2}, True, id="another signal waits"),
        pytest.param({"blocked": 1}, False, id="reconfiguring"),
        pytest.param({"state": "R"}, False, id="running"),
        pytest.param({"state": "T"}, False, id="stopped"),
    ],
)
def test_a_master_is_idle_while_it_waits_for_signals(proc, facts, expected):
    proc.add(10, MASTER, **facts)
    assert is_idle(Process(pid=10, started=100), 1, proc=proc.folder) is expected


def test_a_master_that_has_ended_is_not_idle(proc):
    assert not is_idle(Process(pid=12, started=100), 1, proc=proc.folder)


def test_a_master_without_signal_masks_counts_as_idle(proc):
    proc.add(10, MASTER)
    (proc.folder / "10/status").write_text("NSpid:\t10\n")
    assert is_idle(Process(pid=10, started=100), 1, proc=proc.folder)
