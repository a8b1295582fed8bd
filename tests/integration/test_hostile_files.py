"""Unusual files: loops, pipes, devices, half-written files, full disks; and a log without a reader."""

import fcntl
import json
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import Ctemplate, free_port, wait_for
from harness.meddler import Meddler
from harness.programs import ROOT
from harness.site import Site

SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ
CATALOG = {"services": {"web": {"instances": [{"address": "10.0.0.1", "port": 80}]}}}
TEMPLATE = "{% for i in service('web') %}{{ i.address }}:{{ i.port }} {% endfor %}"


@pytest.fixture
def folder(tmp_path):
    """A folder with a catalog, a template and a configuration that names both."""
    publish(tmp_path, 1)
    (tmp_path / "t.j2").write_text(TEMPLATE)
    (tmp_path / "c.toml").write_text('catalog = "catalog.json"\n[[template]]\nsource = "t.j2"\ndestination = "out"\n')
    return tmp_path


def publish(folder, number):
    """Replace the catalog as a whole."""
    text = json.dumps(CATALOG).replace("10.0.0.1", f"10.0.0.{number}")
    (folder / "catalog.new").write_text(text)
    (folder / "catalog.new").replace(folder / "catalog.json")


def wait_out(folder, text, timeout=20, log=str):
    out = folder / "out"
    wait_for(lambda: out.exists() and out.read_text() == text, timeout, f"{text!r} in the file", log=log)


def memory_and_threads(pid):
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]), int(fields["Threads"])


# Starts, hangups


@pytest.mark.by_exec
def test_hangups_leave_memory_threads_and_open_files_as_they_were(folder, ctemplate):
    shutil.copy(ROOT / "templates" / "nginx.conf.j2", folder / "t.j2")  # one that is costly to compile
    daemon = ctemplate("-config", "c.toml")
    daemon.wait_for_log("out: applied", 20)

    def hang_up(first, last):
        for times in range(first, last + 1):
            daemon.signal(signal.SIGHUP)
            daemon.wait_for_log("reloaded: ", 20, times=times)
        return memory_and_threads(daemon.pid)

    def open_files():
        return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))

    memory, threads = hang_up(1, 1)
    files = open_files()
    assert hang_up(2, 300)[0] < 1.1 * memory
    # Files of the configuration before may still be watched, a file may just be read
    wait_for(lambda: memory_and_threads(daemon.pid)[1] <= threads, 20, "as few threads as before")
    wait_for(lambda: open_files() <= files, 20, "as few open files as before")
    assert daemon.stop() == 0


@pytest.mark.parametrize("is_on", [True, False])
def test_without_free_descriptors_a_hangup_is_refused_and_the_end_is_clean(folder, ctemplate, is_on):
    status = f'[status]\naddress = "127.0.0.1:{free_port()}"\n'
    config = (folder / "c.toml").read_text()
    (folder / "c.toml").write_text(config + status * is_on)
    daemon = ctemplate("-config", "c.toml")
    wait_out(folder, "10.0.0.1:80 ")
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    none = 3, before[1]
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, none)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("too many open files; keeping the running configuration", 20)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
    (folder / "c.toml").write_text(config + status)
    publish(folder, 2)
    daemon.signal(signal.SIGHUP)
    wait_out(folder, "10.0.0.2:80 ")
    daemon.wait_for_log("reloaded: ", 20)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, none)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()
    assert "a defect of ctemplate's own" not in daemon.log()


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(folder, programs, closed):
    daemon = Ctemplate(folder, "-config", "c.toml")
    daemon.argv = ["sh", "-c", f"exec {shlex.join(daemon.argv)} {closed}"]
    programs.callback(daemon.kill)
    daemon.start()
    wait_out(folder, "10.0.0.1:80 ")
    publish(folder, 2)
    wait_out(folder, "10.0.0.2:80 ")
    assert Path(f"/proc/{daemon.pid}/fd/2").readlink() == Path("/dev/null")
    assert daemon.stop() == 0


def test_what_cannot_be_printed_is_an_error(folder):
    process = Ctemplate(folder, "-config", "c.toml", "-dry")
    process.argv = ["sh", "-c", f"exec {shlex.join(process.argv)} >/dev/full"]
    assert process.start().wait(20) == 1
    assert process.log() == "standard output: cannot be written: no space left on device\n"


def test_an_unread_log_stops_neither_work_nor_end(folder):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, SET_PIPE_SIZE, 2 * 4096)  # one page is never writable for poll once it holds a byte
    argv = [sys.executable, "-m", "ctemplate", "-config", "c.toml", "-log-level", "debug"]
    environment = os.environ | {"STATE_DIRECTORY": str(folder / "state")}
    with subprocess.Popen(argv, cwd=folder, stderr=writer, env=environment) as daemon:
        os.close(writer)
        try:
            wait_out(folder, "10.0.0.1:80 ")
            for number in range(2, 60):  # each is some lines
                publish(folder, number)
                wait_out(folder, f"10.0.0.{number}:80 ")
            assert is_full(reader)
            daemon.terminate()
            assert daemon.wait(60) == 0
        finally:
            daemon.kill()
            os.close(reader)


def is_full(reader):
    """Whether the pipe has no room for another line."""
    waiting = fcntl.ioctl(reader, 0x541B, b"\0\0\0\0")  # FIONREAD
    return int.from_bytes(waiting, sys.byteorder) > 4096 - 300


# What is read


@pytest.mark.parametrize("option", ["-catalog", "-template", "-config"])
@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "endless", "socket", "sparse"])
def test_a_start_with_what_is_no_file_ends_with_a_sentence(folder, programs, option, kind):
    path = folder / "odd.toml"
    if kind == "fifo":
        os.mkfifo(path)
        said = "a pipe that gave nothing within 2s"
    elif kind == "endless":
        os.mkfifo(path)
        endless = subprocess.Popen(["sh", "-c", f"exec yes '# nothing' > {path}"])
        programs.callback(endless.wait)
        programs.callback(endless.kill)
        said = "has more than|no end within 2s"  # whichever limit this machine reaches first
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        programs.callback(server.close)
        server.bind(str(path))
        said = "no such device or address"
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 10**12)
        said = "has more than"
    else:
        path = Path(kind)
        said = "is a device, not a file"
    args = {
        "-catalog": ["-catalog", path, "-template", "t.j2:out"],
        "-template": ["-catalog", "catalog.json", "-template", f"{path}:out"],
        "-config": ["-config", path],
    }[option]
    process = Ctemplate(folder, *args, "-once", name="odd")
    programs.callback(process.kill)
    assert process.start().wait(40) == 2
    assert process.log().startswith(str(path))
    assert re.search(said, process.log())
    assert process.log().count("\n") == 1


def test_process_substitution_is_read(folder):
    script = 'exec "$0" -m ctemplate -once -catalog <(sleep 0.3; cat catalog.json) -template <(cat t.j2):out'
    environment = os.environ | {"STATE_DIRECTORY": str(folder / "state")}
    subprocess.run(["bash", "-c", script, sys.executable], cwd=folder, env=environment, check=True, timeout=60)
    assert (folder / "out").read_text() == "10.0.0.1:80 "


def loop(path):
    path.unlink()
    path.symlink_to(path.name)


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def zero(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def null(path):
    path.unlink()
    path.symlink_to("/dev/null")


def empty(path):
    path.write_bytes(b"")


def no_text(path):
    path.write_bytes(b"\xff\xfe")


def nested(path):
    path.write_text("[" * 100_000)


@pytest.mark.parametrize("kind", [loop, fifo, zero, null, empty, no_text, nested])
def test_a_catalog_that_becomes_something_else_keeps_the_last_one(folder, ctemplate, kind):
    daemon = ctemplate("-config", "c.toml")
    wait_out(folder, "10.0.0.1:80 ", log=daemon.log)
    kind(folder / "catalog.json")
    daemon.wait_for_log("; keeping what was read last", 30)
    assert (folder / "out").read_text() == "10.0.0.1:80 "
    publish(folder, 2)
    wait_out(folder, "10.0.0.2:80 ", log=daemon.log)
    assert daemon.stop() == 0


@pytest.mark.parametrize("name", ["t.j2", "c.toml"])
@pytest.mark.parametrize("kind", [loop, fifo, zero, no_text])
def test_a_template_or_configuration_that_becomes_something_else_keeps_the_last_one(folder, ctemplate, kind, name):
    daemon = ctemplate("-config", "c.toml")
    wait_out(folder, "10.0.0.1:80 ", log=daemon.log)
    kind(folder / name)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("; keeping the running configuration", 30)
    publish(folder, 2)
    wait_out(folder, "10.0.0.2:80 ", log=daemon.log)
    assert daemon.stop() == 0


def test_a_catalog_is_read_once_its_slow_writer_has_ended(folder, ctemplate):
    daemon = ctemplate("-config", "c.toml")
    wait_out(folder, "10.0.0.1:80 ", log=daemon.log)
    seen = set()
    with (folder / "catalog.json").open("w") as file:
        file.write("services:\n  web:\n    instances:\n      - {address: 10.0.0.8, port: 80}\n")
        file.flush()
        deadline = time.monotonic() + 4  # longer than a file must be quiet
        while time.monotonic() < deadline:
            seen.add((folder / "out").read_text())
            time.sleep(0.05)
        file.write("      - {address: 10.0.0.9, port: 80}\n")
    wait_out(folder, "10.0.0.8:80 10.0.0.9:80 ", log=daemon.log)
    assert seen == {"10.0.0.1:80 "}
    assert daemon.stop() == 0


# Two of them


def test_a_second_one_with_another_state_folder_is_refused_by_pid(folder, ctemplate):
    first = ctemplate("-config", "c.toml", "-state-dir", "one", name="first")
    wait_out(folder, "10.0.0.1:80 ", log=first.log)
    second = ctemplate("-config", "c.toml", "-state-dir", "two", name="second")
    assert second.wait(20) == 2
    assert second.log() == f"{folder}/out: is held by another ctemplate, pid {first.pid}\n"
    first.kill()
    third = ctemplate("-config", "c.toml", "-state-dir", "two", "-once", name="third")
    assert third.wait(20) == 0
    assert [path.name for path in folder.iterdir() if ".ctemplate" in path.name] == []


# Consul's words


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'[{"Service": {"ID": "\xff"}}]', id="no UTF-8"),
        pytest.param(b'[{"Other": ' + b"[" * 200_000, id="nested without end"),
    ],
)
def test_an_answer_that_is_no_json_costs_a_retry(folder, consul, ctemplate, programs, body):
    consul.register("web", port=80, address="10.0.0.1")
    meddler = Meddler(consul.port).start()
    programs.callback(meddler.stop)

    def garble(request, response):
        if request.path.startswith("/v1/health/service/"):
            response.set_data(body)
        return response

    daemon = ctemplate("-consul-addr", meddler.address, "-template", "t.j2:out")
    wait_out(folder, "10.0.0.1:80 ", log=daemon.log)
    with meddler.meddling(garble):
        consul.register("web", port=81, address="10.0.0.1")
        daemon.wait_for_log("the answer cannot be read: ", 30)
        assert (folder / "out").read_text() == "10.0.0.1:80 "
    consul.register("web", port=82, address="10.0.0.1")
    wait_out(folder, "10.0.0.1:82 ", timeout=60, log=daemon.log)
    assert daemon.stop() == 0


# No room for a test


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", ["bytes", "names"])
def test_without_room_for_a_test_the_live_file_is_judged_in_its_place(tmp_path, nginx, ctemplate, programs, kind):
    site = Site(tmp_path, nginx)
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    nginx.start()
    room = tmp_path / "room"
    room.mkdir()
    daemon = Ctemplate(tmp_path, *site.args, env={"TMPDIR": str(room)})
    mount = f"mount -t tmpfs -o size=256k,nr_inodes=64 none {shlex.quote(str(room))}"
    daemon.argv = ["unshare", "--mount", "sh", "-c", f"{mount} && exec {shlex.join(daemon.argv)}"]
    programs.callback(daemon.kill)
    daemon.start()
    site.publish("2")
    site.wait_running("2", log=daemon.log)
    fill(Path(f"/proc/{daemon.pid}/root{room}"), kind)
    site.publish("3")
    site.wait_running("3", log=daemon.log)
    daemon.wait_for_log("has no room for what a test writes: ")
    daemon.wait_for_log("swapped in to be checked live; a refusal restores the old file at once")
    site.publish("} nonsense")
    assert "a defect of ctemplate's own" not in daemon.log()
    assert daemon.stop(20) == 0


def fill(room, kind):
    """Leave no byte, or no name, on a small disk."""
    try:
        for number in range(1000):
            (room / f"fill-{number}").write_bytes(b"x" * 4096 if kind == "bytes" else b"")
    except OSError:
        return
    pytest.fail("the disk has no end")


# Process 1


@pytest.mark.needs_root
def test_process_1_reaps_what_commands_leave_behind(folder, programs):
    template = {"source": "t.j2", "destination": "out", "command": "sleep 0.2 & sleep 0.3 & (sleep 0.1 &) ; true"}
    (folder / "c.json").write_text(json.dumps({"catalog": "catalog.json", "template": [template]}))
    daemon = Ctemplate(folder, "-config", "c.json")
    daemon.argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *daemon.argv]
    programs.callback(daemon.kill)
    daemon.start()
    wait_out(folder, "10.0.0.1:80 ", log=daemon.log)
    (first,) = children(daemon.pid)
    publish(folder, 2)
    wait_out(folder, "10.0.0.2:80 ", log=daemon.log)
    wait_for(lambda: daemon.log().count("out: applied") == 2, 20, "both commands", log=daemon.log)
    wait_for(lambda: children(first) == [], 20, "no child, alive or dead", log=daemon.log)
    os.kill(first, signal.SIGTERM)
    assert daemon.wait(20) == 0


def children(pid):
    """The processes whose parent is this one, those that ended and were not waited for among them."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


@pytest.mark.needs_root
def test_a_link_at_the_pid_file_that_others_put_there_is_not_followed(folder, ctemplate):
    sticky = folder / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    target = folder / "target"
    target.write_text("theirs")
    (sticky / "pid").symlink_to(target)
    os.lchown(sticky / "pid", 65534, 65534)
    daemon = ctemplate("-config", "c.toml", "-pid-file", sticky / "pid")
    assert daemon.wait(20) == 2
    assert "link of user nobody in a folder that is writable by everybody; it is not followed" in daemon.log()
    assert target.read_text() == "theirs"


@pytest.mark.needs_root
@pytest.mark.parametrize("name", ["control", "locks", "answers"])
def test_what_others_put_into_a_sticky_state_folder_is_not_used(folder, consul, ctemplate, name):
    state = folder / "sticky"
    state.mkdir()
    state.chmod(0o1777)
    target = folder / "target"
    target.mkdir(mode=0o755)
    consul.register("web", port=80, address="10.0.0.1")
    args = ["-consul-addr", f"127.0.0.1:{consul.port}", "-template", "t.j2:out", "-state-dir", state]
    if name == "answers":
        assert ctemplate(*args, "-once", name="first").wait(30) == 0
        (answers,) = state.glob("answers-*.json")
        os.chown(answers, 65534, 65534)
    else:
        (state / name).symlink_to(target)
    daemon = ctemplate(*args)
    if name == "locks":
        assert daemon.wait(20) == 2
        assert daemon.log() == f"{state}/locks: is not a folder that belongs to this user\n"
    else:
        said = "is not a folder that belongs to this user; 'ctemplate release' will not work"
        said = "cannot be read: belongs to user nobody; starting without" if name == "answers" else said
        daemon.wait_for_log(said, 20)
        wait_out(folder, "10.0.0.1:80 ", log=daemon.log)
        assert daemon.stop() == 0
    assert (target.stat().st_mode & 0o777, list(target.iterdir())) == (0o755, [])
