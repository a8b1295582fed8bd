"""Which nginx is ours, and which files it runs: masters that other programs start, upgrade, roll back and confuse."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import Nginx, free_port, http_get, wait_for
from harness.site import Site
from harness.waiting import PATIENCE

from ctemplate.nginx.master import parent_of

LOOK = 60.0  # seconds between two looks of the daemon


class Background:
    """An nginx as an init script starts it: in the background, known by its pid file; only such a one takes USR2."""

    def __init__(self, nginx: Nginx, programs: contextlib.ExitStack):
        self.nginx = nginx
        self.arguments = list(nginx.arguments)
        self._pids: set[int] = set()
        programs.callback(self._end)

    def start(self) -> int:
        subprocess.run(self.arguments, check=True, timeout=PATIENCE, cwd=self.nginx.prefix)
        return self.master()

    def master(self, pid_file: Path | None = None) -> int:
        """Return who the pid file names, once it has workers."""
        pid = int(wait_for(lambda: _text(pid_file or self.nginx.pid_file), 10, "pid file"))
        self._pids.add(pid)
        wait_for(lambda: workers(pid), 10, f"workers of {pid}")
        return pid

    def stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGQUIT)
        wait_for(lambda: not alive(pid), 10, f"end of {pid}")

    def upgrade(self, old: int) -> int:
        """Start a new master beside the old one."""
        os.kill(old, signal.SIGUSR2)
        wait_for(lambda: _text(self.nginx.pid_file) not in {"", str(old)}, 10, "new master")
        return self.master()

    def back(self, old: int, new: int) -> None:
        """Take an upgrade back: the old master serves alone again, with the configuration that it had."""
        os.kill(new, signal.SIGQUIT)
        wait_for(lambda: not alive(new) and _text(self.nginx.pid_file) == str(old), 10, "the old pid file")
        wait_for(lambda: workers(old), 10, "old workers")

    def _end(self) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _text(path):
    with contextlib.suppress(FileNotFoundError):  # nginx renames its pid file at any moment
        return path.read_text().strip()
    return ""


def alive(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def workers(master):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [int(pid) for pid in children if title(pid) == "nginx: worker process"]
    return []


def title(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().strip("\0 ")
    return ""


@pytest.fixture
def site(tmp_path, nginx):
    return Site(tmp_path, nginx)


@pytest.fixture
def background(site, programs):
    return Background(site.nginx, programs)


@pytest.fixture
def running(site, background, ctemplate):
    """A daemon whose nginx, in the background, runs generation 1; gives its master."""
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    return background.start()


@pytest.fixture
def daemon(site, running, ctemplate):  # noqa: ARG001 - nginx first
    daemon = ctemplate(*site.args)
    daemon.wait_for_log("started")
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], 10, "paid reload")
    site.wait_running("1", log=daemon.log)
    return daemon


def touch(site, generation):
    """Change an answer that the templates read, and nothing that they print of it."""
    site.publish(generation, key={"instances": [{"address": "10.0.0.1", "meta": {"key": "remote", "unprinted": "1"}}]})


def test_an_upgrade_that_is_taken_back_after_a_change_is_owed_a_reload(site, background, running, daemon):
    new = background.upgrade(running)
    site.publish("2")
    daemon.wait_for(lambda: proven(site) == [new], 20, "proof by the new master")
    background.back(running, new)
    assert site.running() == "1", "the old master never read generation 2"
    touch(site, "2")
    site.wait_running("2", log=daemon.log)
    daemon.wait_for_log(f"process {running} is not known to have loaded it; reloading")
    daemon.wait_for(lambda: proven(site)[-1:] == [running], 10, "proof by the old master")


def test_an_upgrade_that_is_taken_back_is_noticed_without_any_change(site, background, running, daemon):
    new = background.upgrade(running)
    site.publish("2")
    daemon.wait_for(lambda: proven(site) == [new], 20, "proof by the new master")
    background.back(running, new)
    daemon.wait_for(lambda: site.running() == "2", LOOK + 30, "the look")


def test_an_upgrade_is_taken_over_and_the_next_change_goes_to_the_new_master(site, background, running, daemon):
    new = background.upgrade(running)
    os.kill(running, signal.SIGQUIT)
    wait_for(lambda: not alive(running), 10, "end of the old master")
    site.publish("2")
    site.wait_running("2", log=daemon.log)
    daemon.wait_for(lambda: proven(site) == [new], 10, "proof by the new master")


def proven(site):
    return [process["pid"] for process in site.ledger()["proven"]]


def test_a_master_moved_aside_for_an_upgrade_is_still_ours(site, nginx, tmp_path, programs, ctemplate):
    program = tmp_path / "sbin" / "nginx"
    program.parent.mkdir()
    shutil.copy(nginx.program, program)
    site.config.write_text(site.config.read_text().replace(nginx.program, str(program)))
    nginx.arguments[0] = str(program)
    background = Background(nginx, programs)
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    old = background.start()
    program.rename(program.with_name("nginx.old"))
    shutil.copy(nginx.program, program)
    site.publish("2")
    assert ctemplate(*site.args, "-once", name="second").wait(20) == 0
    assert proven(site) == [old]
    assert site.running() == "2"


def test_a_master_started_long_after_the_files_runs_them_without_a_reload(site, background, running, daemon):
    background.stop(running)
    site.publish("2")
    daemon.wait_for_log("written; the reload is deferred")
    written = site.fragment.stat().st_ctime
    wait_for(lambda: time.time() > written + 8, 20, "a start that cannot have begun to read before")
    new = background.start()
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], 20, "proof")
    assert proven(site) == [new]
    daemon.wait_for_log(f"process {new} started after it was written and runs it")
    assert site.running() == "2"
    assert not re.search(rf"{new}#\d+: reconfiguring", site.nginx.error_log())


def test_a_restart_by_others_is_seen_at_the_next_start_of_ctemplate(site, background, running, daemon, ctemplate):
    daemon.stop()
    background.stop(running)
    new = background.start()
    again = ctemplate(*site.args, name="again")
    again.wait_for(lambda: proven(site)[-1:] == [new], 20, "proof by the new master")


@pytest.fixture
def other(tmp_path, programs):
    """Another nginx of the same executable, in the background."""
    other = Nginx(tmp_path, name="other")
    other.conf.write_text(f"{other.main}http {{ {other.http} server {{ listen 127.0.0.1:{free_port()}; }} }}")
    Background(other, programs).start()
    return other


def test_another_nginx_in_the_pid_file_is_not_signalled_and_nothing_counts_as_applied(
    site, other, running, background, daemon
):
    stranger = int(_text(other.pid_file))
    background.stop(running)
    site.nginx.pid_file.write_text(f"{stranger}\n")
    site.publish("2")
    said = f"names process {stranger}, which runs with {other.conf}, not {site.nginx.conf}"
    daemon.wait_for_log(said)
    daemon.wait_for_log("written; the reload is deferred")
    assert daemon.log().count(said) == 1
    assert other.reloads() == 0
    assert site.ledger()["owes_reload"]


OTHER_FILES = "cp -r {0} {1} && mount --bind {1} {0} && exec {2}"
SAME_FILES = "exec {2}"


@pytest.fixture
def namespaced(tmp_path, nginx, background):
    """Start nginx in a mount namespace of its own with a script; gives the arguments of ctemplate."""
    nginx.conf = tmp_path / "shared" / "nginx.conf"
    nginx.arguments[nginx.arguments.index("-c") + 1] = str(nginx.conf)
    nginx.conf.parent.mkdir()
    port = free_port()

    def text(body):
        return f"{nginx.main}http {{ {nginx.http} server {{ listen 127.0.0.1:{port}; return 200 {body}; }} }}"

    def start(script):
        nginx.conf.write_text(text("old"))
        (tmp_path / "n.j2").write_text(text("{{ services() | length }}"))
        (tmp_path / "catalog.yaml").write_text("services:\n  web:\n    instances: [{address: 10.0.0.1, port: 80}]\n")
        command = shlex.join(
            [*nginx.arguments, "-c", str(nginx.conf)] if "-c" not in nginx.arguments else nginx.arguments
        )
        inner = script.format(nginx.conf.parent, tmp_path / "copy", command)
        subprocess.run([*UNSHARED, "sh", "-c", inner], check=True, timeout=PATIENCE, cwd=nginx.prefix)
        background.master()
        return ("-once", "-catalog", "catalog.yaml", "-template", f"n.j2:{nginx.conf}:{nginx.reload_command}"), port

    return start


UNSHARED = ("unshare", "--mount", "--propagation", "private")


@pytest.mark.needs_root
def test_a_master_in_another_mount_namespace_that_sees_other_files_proves_nothing(namespaced, nginx, ctemplate):
    arguments, port = namespaced(OTHER_FILES)
    once = ctemplate(*arguments)
    assert once.wait(PATIENCE) == 0
    assert f"sees another file at {nginx.conf}: it runs in another mount namespace or root" in once.log()
    assert "written; the reload is deferred" in once.log()
    assert "applied" not in once.log()
    assert (http_get(port)[1], nginx.reloads()) == ("old", 0)


@pytest.mark.needs_root
def test_a_master_in_another_mount_namespace_that_sees_the_same_files_is_ours(namespaced, ctemplate):
    arguments, port = namespaced(SAME_FILES)
    once = ctemplate(*arguments)
    assert once.wait(PATIENCE) == 0
    assert "applied" in once.log()
    assert http_get(port)[1] == "1"


def test_a_pid_file_without_a_visible_nginx_is_one_warning(nginx, tmp_path, ctemplate):
    nginx.conf.write_text(nginx.main)
    nginx.pid_file.write_text("4194303\n")
    (tmp_path / "n.j2").write_text(f"{nginx.main}# {{{{ services() | length }}}}\n")
    (tmp_path / "catalog.yaml").write_text("services: {}\n")
    once = ctemplate("-once", "-catalog", "catalog.yaml", "-template", f"n.j2:{nginx.conf}:{nginx.reload_command}")
    assert once.wait(PATIENCE) == 0
    assert once.log().count("its master is not found") == 1
    assert f"its master is not found: {nginx.pid_file} names process 4194303, which has ended; " in once.log()


def test_a_master_without_a_pid_file_is_found_and_reloaded(site, running, daemon):
    site.nginx.pid_file.unlink()
    site.publish("2")
    site.wait_running("2", log=daemon.log)
    daemon.wait_for_log(f"{site.nginx.pid_file} does not exist; process {running} is its master")


def test_a_stuck_worker_never_brings_the_old_files_back(site, running, daemon):
    stuck = workers(running)
    for worker in stuck:
        os.kill(worker, signal.SIGSTOP)
    try:
        for generation in ("2", "3", "4"):
            site.publish(generation)
            site.wait_running(generation, log=daemon.log)
            daemon.wait_for(lambda: not site.ledger()["owes_reload"], 20, "proof")
            site.wait_clean(daemon.log)
            assert f"# generation {generation}\n" in site.fragment.read_text()
    finally:
        for worker in stuck:
            os.kill(worker, signal.SIGCONT)
    assert "rolled back" not in daemon.log()
    daemon.wait_for_log("does not end and keeps its old configuration")
    assert all(parent_of(worker) in {running, None} for worker in stuck)
