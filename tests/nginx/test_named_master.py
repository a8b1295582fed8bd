"""A command that names a master by its pid file has that master's arguments."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from process_table import NGINX, Proc

from ctemplate.nginx.command import NginxCommand
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.master import Process
from ctemplate.nginx.named_master import named_command

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
        installation = await lookup.installation()
        return installation.command.conf, lookup.foreign and lookup.foreign.name

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
        (["unreadable", "gone"], None),
        (["a", "b"], None),
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
    (Path(lookup.command.prefix) / "unreadable").write_text("events {} include /nowhere;")
    assert (await lookup.installation()).command.conf == known
