"""Reloads of a real nginx: loaded, refused, impossible, and the processes that must never get HUP."""

import asyncio
import contextlib
import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from harness import Nginx, free_port, wait_for
from harness.users import CAP_KILL, as_nobody, open_to_all
from harness.waiting import PATIENCE

from ctemplate.apply import LiveChange
from ctemplate.core.errors import CommandFailed, ReloadRejected, ReloadTimedOut
from ctemplate.core.model import Outcome
from ctemplate.nginx.command import Installation
from ctemplate.nginx.identity import FoundMaster, find_master
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.master import Process, generations, process_of, send
from ctemplate.nginx.recognition import recognise
from ctemplate.nginx.reload import NginxReload

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="runs a process as another user")
UPSTREAM = "upstream web {{ zone web {zone}; {servers} }}\n"


def configured(nginx, *, http="", stream="", main=""):
    new = nginx.conf.with_name(".new")
    new.write_text(f"{nginx.main}{main}http {{\n{nginx.http}{http}\n}}\nstream {{\n{stream}\n}}\n")
    new.replace(nginx.conf)


def reload_of(nginx, **options):
    """Return the reload of an nginx; a busy machine is no reason to give a proof up."""
    return NginxReload(
        nginx=Lookup(command=recognise([*nginx.arguments, "-s", "reload"])), **{"timeout": PATIENCE} | options
    )


def listening(port, answer="old"):
    return f"server {{ listen 127.0.0.1:{port}; return 200 {answer}; }}"


def get(port):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(4096), b"")).partition(b"\r\n\r\n")[2].decode()


@pytest.fixture
def port():
    return free_port()


async def test_a_taken_reload_is_applied_and_runs_the_new_configuration(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    configured(nginx, http=listening(port, "new"))
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
    assert get(port) == "new"


def foreign_port(nginx, port, stack):
    other = stack.enter_context(socket.socket())
    other.bind(("127.0.0.1", 0))
    other.listen()
    taken = other.getsockname()[1]
    configured(nginx, http=listening(port, "new") + listening(taken))
    return r"still could not bind\(\)"


def http_and_stream_on_one_port(nginx, port, _):
    both = free_port()
    stream = f"server {{ listen 127.0.0.1:{both}; return x; }}"
    configured(nginx, http=listening(port, "new") + listening(both), stream=stream)
    return r"still could not bind\(\)"


def another_key_for_a_limit_zone(nginx, port, _):
    configured(nginx, http="limit_req_zone $server_addr zone=one:1m rate=1r/s;" + listening(port, "new"))
    return 'limit_req "one" uses the "\\$server_addr" key while previously it used the "\\$remote_addr" key'


def too_small_a_zone(nginx, port, _):
    servers = " ".join(f"server 127.0.0.1:{1000 + number};" for number in range(60))
    configured(nginx, http=UPSTREAM.format(zone="32k", servers=servers) + listening(port, "new"))
    return 'no memory in upstream zone "web"'


def only_backup(nginx, port, _):
    servers = "server 127.0.0.1:1 backup;"
    configured(nginx, http=UPSTREAM.format(zone="64k", servers=servers) + listening(port, "new"))
    return "no servers in upstream"


def duplicate_upstreams(nginx, port, _):
    twice = "upstream web { server 127.0.0.1:1; } upstream web { server 127.0.0.1:2; }"
    configured(nginx, http=twice + listening(port, "new"))
    return 'duplicate upstream "web"'


@pytest.mark.parametrize(
    "breaks",
    [
        foreign_port,
        http_and_stream_on_one_port,
        another_key_for_a_limit_zone,
        too_small_a_zone,
        only_backup,
        duplicate_upstreams,
    ],
)
async def test_a_rejected_reload_raises_nginx_own_words_and_leaves_the_old_configuration(nginx, port, breaks, programs):
    configured(nginx, http="limit_req_zone $remote_addr zone=one:1m rate=1r/s;" + listening(port))
    nginx.start()
    workers = wait_for(lambda: len(nginx.workers()) == 2 and nginx.workers(), 5, "both workers")
    words = breaks(nginx, port, programs)
    with pytest.raises(ReloadRejected) as raised:
        await reload_of(nginx).reload(LiveChange(files=(nginx.conf,)))
    error = raised.value
    assert (error.where, error.what) == (str(nginx.conf), "nginx kept its old configuration")
    assert re.search(words, "\n".join(error.output)), error.output
    assert nginx.workers() == workers
    assert get(port) == "old"


async def test_a_port_that_becomes_free_while_nginx_retries_is_no_rejection(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    async with asyncio.timeout(PATIENCE):
        while not await is_taken_while_a_port_becomes_free(nginx, port):
            configured(nginx, http=listening(port))
    assert get(port) == "new"


async def is_taken_while_a_port_becomes_free(nginx, port):
    """Give a port free while nginx tries to bind it; False when it gave up first: it tries for two seconds only."""
    begun, taken = len(nginx.error_log()), free_port()
    with socket.create_server(("127.0.0.1", taken)):
        configured(nginx, http=listening(port, "new") + listening(taken))
        reloading = asyncio.create_task(reload_of(nginx).reload(LiveChange(files=(nginx.conf,))), name="reload")
        await asyncio.to_thread(wait_for, lambda: "bind() to" in nginx.error_log()[begun:], PATIENCE, "failed bind")
    try:
        return await reloading is Outcome.APPLIED
    except ReloadRejected:
        if "still could not bind()" not in nginx.error_log()[begun:]:
            raise
        return False


async def test_without_an_error_log_file_a_rejection_times_out(nginx, port):
    silent = nginx.main.replace(f"{nginx.error_log_file} notice", "/dev/null")
    nginx.conf.write_text(f"{silent}http {{\n{nginx.http}{listening(port)}\n}}\n")
    nginx.start()
    nginx.conf.write_text(f"{silent}http {{\n{nginx.http}upstream web {{ }}\n}}\n")
    with pytest.raises(ReloadTimedOut) as raised:
        await reload_of(nginx, timeout=1.0).reload(LiveChange(files=(nginx.conf,)))
    unread = "nginx has no error log that is readable here"
    assert str(raised.value) == f"{nginx.conf}: no proof within 1.0s that nginx took it; {unread}"


async def test_an_error_log_that_cannot_be_read_is_named_where_a_reload_is_not_proven(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    nginx.error_log_file.unlink()
    nginx.error_log_file.mkdir()
    with pytest.raises(ReloadTimedOut) as raised:
        await reload_of(nginx, timeout=1.0).reload(LiveChange(files=(nginx.conf,)))
    unread = f"nginx would say why in {nginx.error_log_file}, not readable here"
    assert str(raised.value) == f"{nginx.conf}: no proof within 1.0s that nginx took it; {unread}"


async def test_an_error_log_rotated_during_the_reload_is_read_from_its_start(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    nginx.conf.write_text(nginx.conf.read_text() + "garbage;")
    assert nginx.error_log_file.stat().st_size > 0
    nginx.error_log_file.rename(nginx.prefix / "error.log.1")
    nginx.process.signal(signal.SIGUSR1)
    wait_for(nginx.error_log_file.exists, 5, "reopened log")
    with pytest.raises(ReloadRejected) as raised:
        await reload_of(nginx).reload(LiveChange(files=(nginx.conf,)))
    assert 'unknown directive "garbage"' in str(raised.value)


async def test_no_master_is_pending_start_and_nginx_is_not_started(nginx, port):
    configured(nginx, http=listening(port))
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.PENDING_START
    nginx.start()
    nginx.kill()
    assert nginx.pid_file.exists()
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.PENDING_START


@pytest.mark.parametrize("content", ["", "garbage\n", "0\n", "-1\n", "99999999\n"])
async def test_a_pid_file_that_names_no_process_is_pending_start(nginx, port, content):
    configured(nginx, http=listening(port))
    nginx.pid_file.write_text(content)
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.PENDING_START


@pytest.fixture
def other():
    """A process that is no nginx, and that HUP would end."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


async def test_hup_never_reaches_another_program(nginx, port, other):
    configured(nginx, http=listening(port))
    nginx.pid_file.write_text(f"{other.pid}\n")
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.PENDING_START
    assert other.poll() is None


async def test_hup_reaches_the_master_when_the_pid_file_names_a_worker(nginx, port, caplog):
    caplog.set_level("INFO")
    configured(nginx, http=listening(port))
    nginx.start()
    worker = nginx.workers()[0]
    nginx.pid_file.write_text(f"{worker}\n")
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
    named = f"{nginx.pid_file} names process {worker}, which is no master but 'nginx: worker process'"
    assert f"{named}; process {nginx.master_pid} is its master" in caplog.text


def test_a_signal_does_not_reach_a_later_process_of_the_same_pid(other):
    now = process_of(other.pid)
    earlier = Process(pid=now.pid, started=now.started - 1)
    assert not send(earlier, signal.SIGKILL)
    assert other.poll() is None
    assert send(now, signal.SIGKILL)
    assert other.wait(10) == -signal.SIGKILL


async def test_a_replaced_executable_is_still_the_same_nginx(nginx, port, tmp_path):
    program = tmp_path / "nginx-copy" / "nginx"
    program.parent.mkdir()
    shutil.copy(nginx.program, program)
    nginx.process.argv[nginx.process.argv.index(nginx.program)] = str(program)
    nginx.arguments[0] = str(program)
    configured(nginx, http=listening(port))
    nginx.start()
    shutil.copy(nginx.program, tmp_path / "new")
    (tmp_path / "new").replace(program)
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED


async def test_nginx_without_a_master_process_is_refused_with_the_reason(nginx, port):
    configured(nginx, http=listening(port), main="master_process off;\n")
    nginx.process.start()
    wait_for(lambda: nginx.pid_file.exists() and nginx.pid_file.read_text(), 5, "pid file")
    with pytest.raises(CommandFailed, match=r"runs without a master process, .* set proof = false"):
        await reload_of(nginx).reload(LiveChange(files=(nginx.conf,)))


async def test_a_moved_pid_file_is_followed(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    reload = reload_of(nginx)
    assert await reload.reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
    nginx.conf.write_text(nginx.conf.read_text().replace("nginx.pid", "moved.pid"))
    assert await reload.reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
    assert (nginx.prefix / "moved.pid").exists()
    assert await reload.reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED


async def test_a_reload_behind_a_foreign_one_proves_its_own(nginx, port):
    servers = " ".join(f"upstream u{number} {{ zone u{number} 64k; server 127.0.0.1:1; }}\n" for number in range(1500))
    configured(nginx, http=servers + listening(port))
    nginx.start()
    for _ in range(5):
        configured(nginx, http=servers + listening(port, "foreign"))
        nginx.process.signal(signal.SIGHUP)
        await asyncio.sleep(0.02)  # the foreign reload is on its way, or not begun, or done: all must come out right
        configured(nginx, http=servers + listening(port, "ours"))
        assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
        assert get(port) == "ours"


async def test_a_rejection_behind_a_foreign_reload_is_seen(nginx, port):
    servers = " ".join(f"upstream u{number} {{ zone u{number} 64k; server 127.0.0.1:1; }}\n" for number in range(1500))
    configured(nginx, http=servers + listening(port))
    nginx.start()
    nginx.process.signal(signal.SIGHUP)
    wait_for(lambda: nginx.reloads() == 1, 5, "foreign reload")
    nginx.conf.write_text(nginx.conf.read_text() + "garbage;")
    with pytest.raises(ReloadRejected, match="garbage"):
        await reload_of(nginx).reload(LiveChange(files=(nginx.conf,)))


async def test_two_reloads_at_a_time_are_proven_one_after_the_other(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    outcomes = await asyncio.gather(*(reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) for _ in range(3)))
    assert outcomes == [Outcome.APPLIED] * 3
    assert nginx.reloads() == 3


async def test_draining_workers_are_told_with_age_and_memory(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    reload = reload_of(nginx)
    assert await reload.draining() == ()
    with contextlib.ExitStack() as connections:
        for _ in range(2):
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")  # an unfinished request keeps its worker
            await asyncio.to_thread(time.sleep, 0.7)  # generations are told apart by the age of their workers
            assert await reload.reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
        await asyncio.to_thread(wait_for, lambda: len(nginx.old_workers()) == 2, PATIENCE, "end of the idle workers")
        old = await reload.draining()
        assert {worker.process.pid for worker in old} == set(nginx.old_workers())  # pids may have begun anew
        assert all(worker.age > 0.5 and worker.memory_bytes > 0 for worker in old)
        assert generations(old) == 2
    wait_for(lambda: not nginx.old_workers(), 10, "end of the old workers")
    assert await reload.draining() == ()


async def test_a_broken_start_of_all_new_workers_is_no_success(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    configured(nginx, http=listening(port), main="working_directory /nonexistent;\n")
    with pytest.raises(ReloadTimedOut) as raised:
        await reload_of(nginx).reload(LiveChange(files=(nginx.conf,)))
    assert raised.value.what == "the old workers are gone and nginx reported a failure"
    assert "cannot be respawned" in str(raised.value)


async def test_an_old_worker_that_is_killed_meanwhile_is_no_failure(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    victim = wait_for(lambda: len(nginx.workers()) == 2 and nginx.workers(), 5, "both workers")[0]
    reloading = asyncio.create_task(reload_of(nginx).reload(LiveChange(files=(nginx.conf,))), name="reload")
    await asyncio.to_thread(wait_for, lambda: nginx.reloads() == 1, 5, "reload")
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    assert await reloading is Outcome.APPLIED


async def test_a_master_that_ends_during_the_reload_is_no_success(nginx, port):
    servers = " ".join(f"upstream u{number} {{ zone u{number} 64k; server 127.0.0.1:1; }}\n" for number in range(1500))
    configured(nginx, http=servers + listening(port))
    nginx.start()
    reloading = asyncio.create_task(reload_of(nginx).reload(LiveChange(files=(nginx.conf,))), name="reload")
    await asyncio.to_thread(wait_for, lambda: nginx.reloads() == 1, 5, "reload")
    nginx.kill()
    with pytest.raises(ReloadTimedOut, match="the master ended during the reload"):
        await reloading


@pytest.mark.needs_root
def test_the_master_of_another_user_is_neither_signalled_nor_taken_for_absent(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    open_to_all(nginx.prefix)
    reload = reload_of(nginx)

    said = as_nobody(lambda: outcome_of(reload, nginx))
    assert said == f"process {nginx.master_pid}: SIGHUP cannot be sent: Operation not permitted"
    assert nginx.reloads() == 0


def outcome_of(reload, nginx):
    """Return a reload's outcome or its error, for another process to tell."""
    try:
        return asyncio.run(reload.reload(LiveChange(files=(nginx.conf,))))
    except (CommandFailed, ReloadRejected, ReloadTimedOut) as error:
        return error


@pytest.mark.needs_root
def test_a_user_who_may_only_signal_proves_reloads_and_sees_refusals(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    open_to_all(nginx.prefix)
    configured(nginx, http=listening(port, "new"))
    nginx.conf.chmod(0o644)
    kill = {"capabilities": [CAP_KILL]}
    assert as_nobody(lambda: outcome_of(reload_of(nginx), nginx), **kill) == "Outcome.APPLIED"
    assert get(port) == "new"
    nginx.conf.write_text(nginx.conf.read_text() + "garbage;")
    said = as_nobody(lambda: outcome_of(reload_of(nginx), nginx), **kill)
    assert said.startswith(f"{nginx.conf}: nginx kept its old configuration\n"), said
    assert 'unknown directive "garbage"' in said


@pytest.fixture
def locked(nginx):
    """A function that has another user lock a file for the rest of the test."""
    with contextlib.ExitStack() as stack:

        def locks(path):
            nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            argv = [*nobody, "flock", str(path), "sh", "-c", "echo held; exec sleep 600"]
            holder = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True))
            stack.callback(os.killpg, holder.pid, signal.SIGKILL)
            assert holder.stdout.readline() == b"held\n"

        open_to_all(nginx.prefix)
        yield locks


@needs_root
async def test_a_lock_of_another_user_on_the_pid_file_delays_no_reload(nginx, port, locked):
    configured(nginx, http=listening(port))
    nginx.start()
    locked(nginx.pid_file)
    configured(nginx, http=listening(port, "new"))
    assert await reload_of(nginx, timeout=10.0).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
    assert get(port) == "new"


@pytest.fixture
def helper(nginx, tmp_path):
    """What sudo or polkit would be: it reloads nginx as root when somebody asks by a file."""
    asked = tmp_path / "asked"
    asked.mkdir()
    asked.chmod(0o777)
    script = f"while :; do [ -e {asked}/now ] && rm {asked}/now && kill -HUP $(cat {nginx.pid_file}); sleep 0.02; done"
    with subprocess.Popen(["sh", "-c", script]) as process:
        yield ("touch", f"{asked}/now")
        process.kill()


@pytest.mark.needs_root
def test_a_user_without_any_right_proves_what_another_reloads_for_him(nginx, port, helper):
    configured(nginx, http=listening(port))
    nginx.start()
    open_to_all(nginx.prefix)
    open_to_all(Path(helper[1]).parent.parent)
    Path(helper[1]).parent.chmod(0o777)
    command = dataclasses.replace(recognise([*nginx.arguments, "-s", "reload"]), announce=helper)
    configured(nginx, http=listening(port, "new"))
    nginx.conf.chmod(0o644)
    assert as_nobody(lambda: outcome_of(NginxReload(nginx=Lookup(command=command)), nginx)) == "Outcome.APPLIED"
    assert get(port) == "new"
    nginx.conf.write_text(nginx.conf.read_text() + "garbage;")
    said = as_nobody(lambda: outcome_of(NginxReload(nginx=Lookup(command=command)), nginx))
    assert said.startswith(f"{nginx.conf}: nginx kept its old configuration\n"), said


async def test_the_master_is_found_by_its_own_pid_file(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    installation = await Installation.find(recognise([*nginx.arguments, "-s", "reload"]))
    found = find_master(installation, (nginx.pid_file,))
    assert found == FoundMaster(process=process_of(nginx.master_pid), pid_file=nginx.pid_file)


async def test_another_nginx_that_the_pid_file_names_is_not_signalled(nginx, port, tmp_path, programs, caplog):
    other = Nginx(tmp_path, name="other")
    programs.callback(other.stop)
    configured(other, http=listening(free_port()))
    other.start()
    configured(nginx, http=listening(port))
    nginx.pid_file.write_text(f"{other.master_pid}\n")
    for _ in range(2):
        assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.PENDING_START
    assert other.reloads() == 0
    assert (
        f"{nginx.conf}: its master is not found: {nginx.pid_file} names process {other.master_pid}, "
        f"which runs with {other.conf}, not {nginx.conf}" in caplog.text
    )
    assert await reload_of(other).reload(LiveChange(files=(other.conf,))) is Outcome.APPLIED


def remove(nginx):
    nginx.pid_file.unlink()


def empty(nginx):
    nginx.pid_file.write_text("")


def stale(nginx):
    nginx.pid_file.write_text("99999999\n")


@pytest.mark.parametrize("spoil", [remove, empty, stale])
async def test_a_master_that_no_pid_file_names_is_found_in_the_process_table(nginx, port, spoil, caplog):
    caplog.set_level("INFO")
    configured(nginx, http=listening(port))
    nginx.start()
    spoil(nginx)
    configured(nginx, http=listening(port, "new"))
    reload = reload_of(nginx)
    assert await reload.reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
    assert get(port) == "new"
    assert f"process {nginx.master_pid} is its master" in caplog.text


async def test_a_pid_file_named_on_the_command_line_of_the_master_alone_hides_nothing(nginx, port):
    configured(nginx, http=listening(port))
    nginx.conf.write_text(nginx.conf.read_text().replace(f"pid {nginx.pid_file};\n", ""))
    nginx.process.argv[-1] += f" pid {nginx.prefix}/named.pid;"
    nginx.start()
    configured_text = nginx.conf.read_text().replace("200 old", "200 new")
    nginx.conf.write_text(configured_text)
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
    assert get(port) == "new"


async def test_a_pid_file_behind_a_linked_folder_is_followed(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    link = nginx.prefix.with_name("linked")
    link.symlink_to(nginx.prefix)
    linked = [part.replace(str(nginx.prefix), str(link)) for part in nginx.arguments]
    configured(nginx, http=listening(port, "new"))
    reload = NginxReload(nginx=Lookup(command=recognise([*linked, "-s", "reload"])))
    assert await reload.reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
    assert get(port) == "new"


async def test_a_master_whose_title_was_cut_is_known_by_its_pid_file(nginx, port):
    nginx.process.argv = ["env", "-i", *nginx.process.argv]
    configured(nginx, http=listening(port))
    nginx.start()
    assert str(nginx.error_log_file) not in title(nginx.master_pid)
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED


def title(pid):
    return Path(f"/proc/{pid}/cmdline").read_text()


async def test_workers_without_a_master_are_told(nginx, port, caplog):
    configured(nginx, http=listening(port))
    nginx.start()
    workers = wait_for(lambda: len(nginx.workers()) == 2 and nginx.workers(), 5, "both workers")
    os.kill(nginx.master_pid, signal.SIGKILL)
    nginx.process.wait()
    try:
        assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.PENDING_START
        named = {int(pid) for pid in re.search(r"workers run without a master: (.*)", caplog.text)[1].split(", ")}
        assert set(workers) <= named
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)


async def test_a_worker_that_does_not_finish_is_a_warning(nginx, port, caplog):
    configured(nginx, http=listening(port))
    nginx.start()
    stuck = wait_for(lambda: len(nginx.workers()) == 2 and nginx.workers(), 5, "both workers")
    reload = reload_of(nginx)
    for worker in stuck:
        os.kill(worker, signal.SIGSTOP)
    try:
        for answer in ("second", "third"):
            configured(nginx, http=listening(port, answer))
            assert await reload.reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
            assert get(port) == answer
        configured(nginx, http=listening(port, "fourth"))
        assert (
            await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
        )  # one that knows of nothing stuck
        assert get(port) == "fourth"
        nginx.conf.write_text(nginx.conf.read_text() + "garbage;")
        with pytest.raises(ReloadRejected, match="garbage"):
            await reload.reload(LiveChange(files=(nginx.conf,)))
    finally:
        for worker in stuck:
            os.kill(worker, signal.SIGCONT)
    for worker in stuck:
        assert f"{nginx.conf}: worker {worker} does not end and keeps its old configuration" in caplog.text


@contextlib.contextmanager
def storm(pid, per_second):
    """Send HUP again and again."""
    with subprocess.Popen(["sh", "-c", f"while kill -HUP {pid}; do sleep {1 / per_second}; done"]) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("size", [0, 1500], ids=["small", "large"])
async def test_reloads_among_many_of_others_are_proven_and_refusals_seen(nginx, port, size):
    servers = " ".join(f"upstream u{number} {{ zone u{number} 64k; server 127.0.0.1:1; }}\n" for number in range(size))
    configured(nginx, http=servers + listening(port))
    nginx.start()
    with storm(nginx.master_pid, 20):
        for answer in ("second", "third", "fourth"):
            configured(nginx, http=servers + listening(port, answer))
            assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
            assert get(port) == answer
            good = nginx.conf.read_text()
            nginx.conf.write_text(good + "garbage;")
            with pytest.raises(ReloadRejected, match="garbage"):
                await reload_of(nginx).reload(LiveChange(files=(nginx.conf,)))
            nginx.conf.write_text(good)


async def test_a_master_that_takes_no_signals_is_not_told_anything(nginx, port):
    configured(nginx, http=listening(port))
    nginx.start()
    nginx.process.pause()
    with pytest.raises(ReloadTimedOut) as raised:
        await reload_of(nginx, timeout=0.5).reload(LiveChange(files=(nginx.conf,)))
    assert raised.value.what == "nginx was busy with another reload for 0.5s; this one was not begun"
    nginx.process.resume()
    assert await reload_of(nginx).reload(LiveChange(files=(nginx.conf,))) is Outcome.APPLIED
    assert nginx.reloads() == 1
