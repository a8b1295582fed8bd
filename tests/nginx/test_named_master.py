"""A command that names a master by its pid file has that master's arguments."""

import asyncio
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from process_table import NGINX, Proc

from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.last_master import LastMaster
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.master import Process
from ctemplate.nginx.named_master import named_command, service_commands

STARTED = "nginx: master process nginx -p /srv/web/ -c web.conf -g pid /run/web.pid; -e stderr"


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path / "proc")


@pytest.fixture
def command(tmp_path):
    pid_file = tmp_path / "nginx.pid"
    pid_file.write_text("10\n")
    return NginxCommand(program="nginx", pid_file=pid_file, follows=pid_file, announce="kill -HUP $(cat nginx.pid)")


def test_the_master_tells_program_prefix_configuration_directives_and_log(proc, command):
    proc.add(10, STARTED)
    assert named_command(command, proc=proc.folder) == replace(
        command,
        program=str(NGINX),
        prefix="/srv/web/",
        conf="web.conf",
        globals="pid /run/web.pid;",
        error_log="stderr",
    )


def test_relative_paths_count_from_the_masters_working_folder(proc, command):
    proc.add(10, "nginx: master process sbin/nginx -p web", exe="/opt/sbin/nginx (deleted)")
    (proc.folder / "10" / "cwd").symlink_to("/opt")
    found = named_command(command, proc=proc.folder)
    assert (found.program, found.prefix, found.conf) == ("/opt/sbin/nginx", "/opt/web", None)


def test_an_executable_that_has_gone_is_found_by_its_name(proc, command):
    proc.add(10, "nginx: master process nginx", exe=f"{NGINX} (deleted)")
    assert named_command(command, proc=proc.folder).program == "nginx"


@pytest.mark.parametrize(
    ("title", "facts"),
    [
        pytest.param("nginx: worker process", {}, id="no master"),
        pytest.param("haproxy -f x", {}, id="another program"),
        pytest.param(STARTED, {"room": len(STARTED)}, id="a title that was cut"),
        pytest.param(STARTED, {"nspid": "10\t7"}, id="another namespace"),
        pytest.param(STARTED, {"uid": os.geteuid() + 4321}, id="another user"),
        pytest.param("nginx: master process ./nginx -p web", {}, id="a working folder that cannot be known"),
    ],
)
def test_a_master_that_cannot_be_believed_tells_nothing(proc, command, title, facts):
    proc.add(10, title, **facts)
    assert named_command(command, proc=proc.folder) is None


@pytest.mark.parametrize("text", ["", "-1\n", "10 11\n", "99999\n", None])
def test_a_pid_file_that_names_no_process_tells_nothing(proc, command, text):
    proc.add(10, STARTED)
    if text is None:
        command.follows.unlink()
    else:
        command.follows.write_text(text)
    assert named_command(command, proc=proc.folder) is None


@pytest.mark.parametrize(
    ("title", "facts", "pids"),
    [
        pytest.param(STARTED, {}, [10], id="a worker that has its master's title yet"),
        pytest.param(STARTED, {"children": [12]}, [10, 11], id="an upgrade"),
        pytest.param(STARTED, {"parent": 1}, [10, 11], id="a master of its own"),
        pytest.param("nginx: worker process", {}, [10], id="a worker"),
        pytest.param("nginx: master process nginx", {"exe": "/usr/sbin/angie"}, [10], id="another program"),
    ],
)
def test_the_masters_of_a_service_are_those_that_serve(proc, command, title, facts, pids):
    proc.add(10, STARTED, children=[11])
    proc.add(11, title, **{"parent": 10} | facts)
    found = service_commands(replace(command, follows=None, is_service=True), proc=proc.folder)
    assert [process.pid for process, _ in found] == pids


@pytest.mark.parametrize(
    ("program", "is_found"),
    [("nginx", True), ("/opt/n/nginx", True), ("/opt/other/nginx", False), ("resty", True), ("angie", False)],
)
def test_a_program_is_found_by_its_name_its_path_or_its_link(proc, command, monkeypatch, program, is_found):
    tmp_path = proc.folder.parent
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    paths = [tmp_path / "opt/n/nginx", tmp_path / "opt/other/nginx", tmp_path / "bin/resty"]
    for path in paths:
        path.parent.mkdir(parents=True)
    paths[2].symlink_to(paths[0])
    for path in paths[:2]:
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    proc.add(10, STARTED, exe=paths[0])
    given = f"{tmp_path}{program}" if "/" in program else program
    found = service_commands(replace(command, follows=None, is_service=True, program=given), proc=proc.folder)
    assert bool(found) == is_found


def test_an_executable_that_cannot_be_seen_is_the_one_that_its_name_means(proc, command, monkeypatch, tmp_path):
    program = tmp_path / "nginx"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    proc.add(10, STARTED, exe="/nowhere (deleted)")
    given = replace(command, follows=None, is_service=True, program=str(program))
    assert len(service_commands(given, proc=proc.folder)) == 1


@pytest.fixture
def told(command, monkeypatch, tmp_path):
    """A lookup, and a function that gives what it finds while the pid file names a master with a configuration."""
    program = tmp_path / "nginx"
    program.write_text('#!/bin/sh\necho "nginx version: nginx/1.22.1" >&2\n')
    program.chmod(0o755)
    named = []
    monkeypatch.setattr(
        "ctemplate.nginx.lookup.named_command", lambda given: replace(given, conf=named[-1]) if named[-1] else None
    )
    site = tmp_path / "site.conf"
    lookup = Lookup(command=replace(command, program=str(program), prefix=str(tmp_path), files=(site,)))
    for name, text in (("a", f"include {site};"), ("b", f"include {tmp_path}/*.conf;"), ("strange", "")):
        (tmp_path / name).write_text(f"events {{}} http {{ {text} }}\n")

    async def found(conf):
        named.append(conf)
        located = await lookup.located()
        return located.installation.command.conf, located.foreign and located.foreign.name

    found.lookup = lookup
    return found


async def test_what_a_master_told_counts_until_another_one_that_reads_the_file_runs(told):
    confs = [None, "a", None, "strange", None, "b", "strange", "b", "a"]
    assert [await told(conf) for conf in confs] == [
        (None, None), ("a", None), ("a", None), ("a", "strange"), ("a", None),
        ("b", None), ("b", "strange"), ("b", None), ("a", None),
    ]  # fmt: skip


async def test_a_master_that_reads_no_file_is_not_remembered(told):
    assert [await told(conf) for conf in ("strange", None, "a")] == [("strange", "strange"), (None, None), ("a", None)]


@pytest.mark.parametrize(
    ("running", "known"),
    [
        (["a"], "a"),
        (["a", "strange"], "a"),
        (["a", "unreadable"], "a"),
        (["unreadable", "a", "gone"], "a"),
        (["unreadable"], "unreadable"),
        (["unreadable", "gone"], "unreadable"),
        (["unreadable", "broken"], None),
        (["gone"], None),
        (["a", "b"], "b"),
        (["b", "strange", "a"], "a"),
        (["strange"], None),
        ([], None),
    ],
)
async def test_the_master_of_a_service_is_the_one_that_reads_the_file(told, monkeypatch, running, known):
    masters = [(Process(pid=pid, started=1), name) for pid, name in enumerate(running, start=2)]
    monkeypatch.setattr(
        "ctemplate.nginx.lookup.service_commands",
        lambda given: [(process, replace(given, conf=name)) for process, name in masters],
    )
    lookup = Lookup(command=replace(told.lookup.command, follows=None, is_service=True))
    lookup.command.files[0].touch()
    for name in ("unreadable", "broken"):
        (Path(lookup.command.prefix) / name).write_text("events {} include /nowhere;")
    assert (await lookup.installation()).command.conf == known


@pytest.fixture
def again(told, tmp_path):
    """A function that makes the lookup of a later process, with the state of the group."""
    folder = tmp_path / "state" / "group"
    folder.mkdir(parents=True, mode=0o700)
    command = replace(told.lookup.command, announce="kill -HUP $(cat nginx.pid)")
    command.files[0].touch()

    def makes(folder=folder, **options):
        command_now = replace(command, **options)
        return Lookup(command=command_now, last=LastMaster(folder=folder, is_written=True))

    makes.folder = folder
    return makes


async def conf_of(lookup):
    return (await lookup.installation()).command.conf


@pytest.fixture
def named(monkeypatch):
    """A function that says which configuration the master in the pid file runs with."""

    def names(conf):
        monkeypatch.setattr(
            "ctemplate.nginx.lookup.named_command", lambda given: replace(given, conf=conf) if conf else None
        )

    return names


async def test_what_a_master_told_counts_in_a_later_process_until_another_master_runs(again, named):
    found = []
    for conf in (None, "a", None, "strange", "b", None):
        named(conf)
        found.append(await conf_of(again()))
    assert found == [None, "a", "a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("spoil", "known"),
    [
        pytest.param(lambda again: again(announce="service nginx reload"), None, id="another command"),
        pytest.param(lambda again: again(follows=None, is_service=False), None, id="a command that names all itself"),
        pytest.param(lambda again: (again.file.write_text("{"), again())[1], None, id="no JSON"),
        pytest.param(lambda again: (again.file.chmod(0o666), again())[1], None, id="others may write it"),
        pytest.param(lambda again: (again.file.unlink(), os.mkfifo(again.file), again())[2], None, id="a pipe"),
        pytest.param(lambda again: (again.folder.chmod(0o777), again())[1], None, id="others may replace it"),
        pytest.param(lambda again: (again.conf("a").write_text("events {}"), again())[1], "a", id="nothing reads it"),
        pytest.param(lambda again: (again.default(), again())[1], None, id="only the default reads it"),
        pytest.param(lambda again: (again.conf("a").write_text("events {"), again())[1], "a", id="unreadable"),
        pytest.param(lambda again: (again.conf("a").unlink(), again())[1], "a", id="gone"),
        pytest.param(lambda again: again(again.beside), "a", id="a file more in the group"),
        pytest.param(lambda again: again(again.beside, files=(Path("/x"),)), None, id="no file of the group"),
        pytest.param(lambda again: again(), "a", id="nothing"),
    ],
)
async def test_a_record_counts_only_for_its_command_and_files_and_if_only_we_wrote_it(again, named, spoil, known):
    named("a")
    await conf_of(again())
    named(None)
    again.file = again.folder / "master.json"
    again.beside = again.folder.with_name("beside")
    again.beside.mkdir(mode=0o700)
    prefix = Path(again().command.prefix)
    again.conf = prefix.joinpath

    def default():
        (prefix / "conf").mkdir()
        again.conf("conf/nginx.conf").write_text(again.conf("a").read_text())
        again.conf("a").write_text("events {}")

    again.default = default
    assert await conf_of(spoil(again)) == known


async def test_the_record_of_another_command_is_forgotten(again, named):
    named("a")
    await conf_of(again())
    named(None)
    await conf_of(again(announce="service nginx reload"))
    assert await conf_of(again()) is None


async def test_the_program_that_has_gone_is_looked_for_by_its_name(again, named, monkeypatch, tmp_path):
    gone = tmp_path / "gone"
    shutil.copy(again().command.program, gone)
    monkeypatch.setattr(
        "ctemplate.nginx.lookup.named_command", lambda given: replace(given, conf="a", program=str(gone))
    )
    await conf_of(again())
    gone.unlink()
    named(None)
    installation = await again().installation()
    assert (installation.command.conf, installation.command.program) == ("a", again().command.program)


async def test_an_unreadable_master_does_not_replace_one_that_is_known_to_read_the_file(again, monkeypatch):
    process = Process(pid=2, started=1)
    lookup = again(follows=None, is_service=True)
    for name in ("unreadable", "broken"):
        (Path(lookup.command.prefix) / name).write_text("events {} include /nowhere;")
    found = []
    for conf in ("a", "unreadable", None):
        running = [(process, replace(lookup.command, conf=conf))] if conf else []
        monkeypatch.setattr("ctemplate.nginx.lookup.service_commands", lambda _, running=running: running)
        found.append(await conf_of(again(follows=None, is_service=True)))
    assert found == ["a", "a", "a"]


async def test_a_record_that_cannot_be_written_is_reported_once_and_known_meanwhile(again, named, caplog):
    lookup = again()
    (again.folder / "master.json.new").mkdir()
    named("a")
    assert [await conf_of(lookup), await conf_of(lookup)] == ["a", "a"]
    assert caplog.text.count("cannot be written") == 1
    (again.folder / "master.json.new").rmdir()
    await conf_of(lookup)
    named(None)
    assert await conf_of(again()) == "a"


async def test_a_record_that_was_deleted_is_written_again(again, named):
    lookup = again()
    named("a")
    await conf_of(lookup)
    (again.folder / "master.json").unlink()
    await conf_of(lookup)
    assert (again.folder / "master.json").exists()


async def test_two_that_ask_at_the_same_time_learn_the_same(again, monkeypatch):
    def slowly(given):
        threading.Event().wait(0.05)
        return [(Process(pid=2, started=1), replace(given, conf="a"))]

    monkeypatch.setattr("ctemplate.nginx.lookup.service_commands", slowly)
    lookup = again(follows=None, is_service=True)
    assert await asyncio.gather(conf_of(lookup), conf_of(lookup)) == ["a", "a"]


@pytest.mark.parametrize(
    ("runs", "known"),
    [
        pytest.param([["a"], ["a", "b"]], ["a", "a"], id="another one beside it"),
        pytest.param([["a"], [], ["b"]], ["a", "a", "b"], id="another one in its place"),
        pytest.param([["a", "b"], ["a"]], ["b", "a"], id="the newest of two has ended"),
        pytest.param([["a"], ["b", "c"]], ["a", "c"], id="two others in its place"),
    ],
)
async def test_a_master_counts_until_it_ends_then_the_next_one_at_once(told, monkeypatch, runs, known):
    lookup = Lookup(command=replace(told.lookup.command, follows=None, is_service=True))
    lookup.command.files[0].touch()
    prefix = Path(lookup.command.prefix)
    (prefix / "c").write_text((prefix / "a").read_text())
    found = []
    for names in runs:
        masters = {Process(pid=10 + ord(name), started=1): name for name in names}
        running = [(process, replace(lookup.command, conf=name)) for process, name in masters.items()]
        monkeypatch.setattr("ctemplate.nginx.lookup.service_commands", lambda _, running=running: running)
        alive = {process.pid: process for process in masters}
        monkeypatch.setattr("ctemplate.nginx.lookup.process_of", alive.get)
        found.append(await conf_of(lookup))
        if not names:
            lookup._scan_at = 0.0
    assert found == known


async def test_a_choice_between_several_masters_is_not_stored(again, monkeypatch):
    lookup = again(follows=None, is_service=True)
    running = [(Process(pid=pid, started=1), replace(lookup.command, conf=conf)) for pid, conf in ((2, "a"), (3, "b"))]
    monkeypatch.setattr("ctemplate.nginx.lookup.service_commands", lambda _: running)
    located = await lookup.located()
    assert located.installation.command.conf == "b"
    assert located.choice.startswith("process 3 is the newest of 2 masters with different arguments")
    assert not (again.folder / "master.json").exists()
