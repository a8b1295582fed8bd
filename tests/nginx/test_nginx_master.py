import os
from pathlib import Path

import pytest

from ctemplate.errors import CommandFailed
from ctemplate.nginx.master import (
    Absence,
    DrainingWorker,
    Process,
    Worker,
    draining,
    find_master,
    generations,
    is_pending,
    process_of,
    workers,
)

NGINX = Path("/usr/sbin/nginx")
MASTER = "nginx: master process nginx -c /etc/nginx/nginx.conf"
WORKER = "nginx: worker process"
DRAINING = "nginx: worker process is shutting down"


class Proc:
    """A /proc with the files that are read, for the processes that are added."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "uptime").write_text("1000.00 2000.00\n")

    def add(self, pid, title, *, exe=NGINX, started=100, state="S", parent=1, children=(), nspid=None, pending=0):
        here = self.folder / str(pid)
        (here / "task" / str(pid)).mkdir(parents=True)
        (here / "task" / str(pid) / "children").write_text(" ".join(map(str, children)))
        fields = [state, str(parent), *["0"] * 17, str(started), "0"]
        (here / "stat").write_text(f"{pid} (nginx: ) x) {' '.join(fields)}\n")
        (here / "cmdline").write_bytes(title.encode() + b"\0\0")
        (here / "status").write_text(f"NSpid:\t{nspid or pid}\nSigPnd:\t{0:016x}\nShdPnd:\t{pending:016x}\n")
        (here / "smaps_rollup").write_text("Rss: 9 kB\nPss:                 300 kB\nPss_Anon: 1 kB\n")
        (here / "exe").symlink_to(exe)


@pytest.fixture
def proc(tmp_path):
    folder = tmp_path / "proc"
    folder.mkdir()
    return Proc(folder)


@pytest.fixture
def pid_file(tmp_path):
    file = tmp_path / "nginx.pid"
    file.write_text("10\n")
    return file


def test_a_master_is_found(proc, pid_file):
    proc.add(10, MASTER)
    assert find_master(pid_file, NGINX, proc=proc.folder) == Process(pid=10, started=100)


def test_a_master_whose_executable_was_replaced_is_found(proc, pid_file):
    proc.add(10, MASTER, exe=f"{NGINX} (deleted)")
    assert find_master(pid_file, NGINX, proc=proc.folder) == Process(pid=10, started=100)


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        pytest.param({"title": MASTER, "state": "Z"}, "{} names process 10, which has ended", id="zombie"),
        pytest.param(
            {"title": MASTER, "exe": "/bin/cat"},
            "{} names process 10, which runs /bin/cat, not /usr/sbin/nginx",
            id="program",
        ),
        pytest.param(
            {"title": MASTER, "nspid": "10\t1"},
            "{} names process 10, which runs in another pid namespace",
            id="container",
        ),
        pytest.param(
            {"title": WORKER}, "{} names process 10, which is no master but 'nginx: worker process'", id="worker"
        ),
    ],
)
def test_whoever_is_not_the_master_is_none(proc, pid_file, process, reason):
    proc.add(10, **process)
    assert find_master(pid_file, NGINX, proc=proc.folder) == Absence(reason=reason.format(pid_file))


def test_nginx_without_a_master_process_is_an_error(proc, pid_file):
    proc.add(10, "nginx -c /etc/nginx/nginx.conf")
    with pytest.raises(CommandFailed) as raised:
        find_master(pid_file, NGINX, proc=proc.folder)
    assert str(raised.value) == f"{pid_file}: process 10 runs without a master process; its reload cannot be proven"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("", "{} holds no pid, found ''", id="empty"),
        pytest.param("12 13", "{} holds no pid, found '12 13'", id="two"),
        pytest.param("\x1b[2J", "{} holds no pid, found '\\\\x1b[2J'", id="control characters"),
        pytest.param("0", "{} holds no pid, found '0'", id="zero"),
        pytest.param("77\n", "{} names process 77, which has ended", id="nobody"),
    ],
)
def test_a_pid_file_without_a_master_gives_the_reason(proc, pid_file, content, reason):
    pid_file.write_text(content)
    assert find_master(pid_file, NGINX, proc=proc.folder) == Absence(reason=reason.format(pid_file))


def test_no_pid_file_gives_the_reason(proc, pid_file):
    pid_file.unlink()
    assert find_master(pid_file, NGINX, proc=proc.folder) == Absence(reason=f"{pid_file} does not exist")


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
        Worker(process=Process(pid=12, started=50000), is_draining=True),
        Worker(process=Process(pid=11, started=90000), is_draining=False),
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


def test_a_zombie_is_no_process_and_a_title_with_brackets_confuses_nobody(proc):
    proc.add(10, MASTER, state="Z")
    proc.add(11, MASTER, started=7)
    assert process_of(10, proc=proc.folder) is None
    assert process_of(11, proc=proc.folder) == Process(pid=11, started=7)
    assert process_of(12, proc=proc.folder) is None


def test_a_waiting_signal_is_seen(proc):
    proc.add(10, MASTER, pending=1)
    proc.add(11, MASTER, pending=2)
    assert is_pending(Process(pid=10, started=100), 1, proc=proc.folder)
    assert not is_pending(Process(pid=11, started=100), 1, proc=proc.folder)
    assert not is_pending(Process(pid=12, started=100), 1, proc=proc.folder)
