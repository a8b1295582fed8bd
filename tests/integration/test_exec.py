"""Exec mode on real processes: a program that starts, gets changes and signals, and ends with ctemplate."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from harness import Ctemplate, free_port, http_get, wait_for

LIMIT = 60.0
CHILD = """#!/bin/sh
# Says what happens to it in the file `told`; ends by SIGTERM with the status in the file `status`.
for name in HUP USR1 USR2 QUIT WINCH; do trap "echo $name >> told" $name; done
trap 'echo TERM >> told; exit $(cat status 2>/dev/null || echo 0)' TERM
echo "start $(cat out)" >> told
echo $$ > pid
while :; do sleep 0.05 & wait $!; done
"""
DEAF = """#!/bin/sh
trap '' TERM
sleep 1000 &
echo $! > inner
echo $$ > pid
while :; do wait; done
"""
TEMPLATE = "{% for s in services() %}{{ s.name }} {% endfor %}"
RUN = ("-catalog", "catalog.yaml", "-template", "names.j2:out")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "names.j2").write_text(TEMPLATE)
    catalog(tmp_path, "web")
    program(tmp_path / "child.sh", CHILD)
    program(tmp_path / "deaf.sh", DEAF)
    yield tmp_path
    for name in ("pid", "inner"):
        kill_own(tmp_path, number_in(tmp_path / name))


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)


def catalog(folder, *names):
    fresh = folder / "fresh.yaml"
    fresh.write_text(json.dumps({"services": {name: {} for name in names}}))
    fresh.replace(folder / "catalog.yaml")


def told(folder):
    path = folder / "told"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def number_in(path):
    """The process id in a file, 0 while there is none."""
    return int(path.read_text() or 0) if path.exists() else 0


def kill_own(folder, pid):
    """End a program that a test has left behind; a process of this number elsewhere is another one."""
    with contextlib.suppress(OSError):
        if pid and Path(f"/proc/{pid}/cwd").readlink() == folder:
            os.kill(pid, signal.SIGKILL)


def lives(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_caught(pid, number):
    """Whether a process has a handler for a signal."""
    (caught,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def started(folder, process):
    """Wait until the program runs; return its process id."""
    return process.wait_for(lambda: number_in(folder / "pid"), LIMIT, "the program")


def until_told(folder, process, *expected):
    process.wait_for(lambda: told(folder) == list(expected), LIMIT, f"{expected}, told was {told(folder)}")


def test_it_starts_once_all_is_rendered_and_is_started_anew_on_a_change(folder, ctemplate):
    process = ctemplate(*RUN, "-exec", "./child.sh")
    first = started(folder, process)
    until_told(folder, process, "start web ")
    catalog(folder, "db", "web")
    until_told(folder, process, "start web ", "TERM", "start db web ")
    process.wait_for(lambda: number_in(folder / "pid") not in {0, first}, LIMIT, "another process")
    process.terminate()
    assert process.wait(LIMIT) == 0
    assert told(folder)[-1] == "TERM"


def test_it_hears_of_files_of_items_that_come_and_go(folder, ctemplate):
    (folder / "site.j2").write_text("x")
    (folder / "out").write_text("fixed ")
    (folder / "each.toml").write_text(
        '[[template]]\nsource = "site.j2"\nfor_each = "services()"\ndestination = "sites/{{ item.name }}"\n'
    )
    process = ctemplate(
        "-config", "each.toml", "-catalog", "catalog.yaml", "-exec", "./child.sh", "-exec-reload-signal", "SIGHUP"
    )
    started(folder, process)
    seen = ["start fixed "]
    for names in (("db", "web"), ("db",)):
        catalog(folder, *names)
        seen.append("HUP")
        until_told(folder, process, *seen)
        assert {path.name for path in (folder / "sites").iterdir() if path.name[0] != "."} == set(names)


def test_it_does_not_start_while_a_template_cannot_be_rendered(folder, ctemplate):
    (folder / "broken.j2").write_text("{{ fails }}")
    process = ctemplate(*RUN, "-template", "broken.j2:other", "-exec", "./child.sh")
    process.wait_for_log("'fails' is undefined", LIMIT)
    process.wait_for((folder / "out").exists, LIMIT, "the file that can be rendered")
    assert told(folder) == []
    (folder / "broken.j2").write_text("mended")
    until_told(folder, process, "start web ")


def test_it_gets_the_reload_signal_instead(folder, ctemplate):
    process = ctemplate(*RUN, "-exec", "./child.sh", "-exec-reload-signal", "SIGHUP")
    pid = started(folder, process)
    catalog(folder, "db")
    until_told(folder, process, "start web ", "HUP")
    assert number_in(folder / "pid") == pid
    assert lives(pid)


@pytest.mark.parametrize("command", ["FOO=1 ./child.sh", "FOO='a b' ./child.sh \"$HOME\" >log 2>&1"])
def test_a_simple_command_replaces_the_shell_that_it_needs(folder, ctemplate, command):
    process = ctemplate(*RUN, "-exec", command, "-exec-reload-signal", "SIGHUP")
    pid = started(folder, process)
    catalog(folder, "db")
    until_told(folder, process, "start web ", "HUP")
    process.terminate()
    assert process.wait(LIMIT) == 0
    assert not lives(pid)


def test_what_a_shell_leaves_of_its_group_ends_with_it(folder, ctemplate):
    process = ctemplate(*RUN, "-exec", "true && ./child.sh; true", "-exec-reload-signal", "SIGHUP")
    pid = started(folder, process)
    catalog(folder, "db")
    assert process.wait(LIMIT) == 128 + signal.SIGHUP
    wait_for(lambda: not lives(pid), LIMIT, "the end of the program")
    assert told(folder)[-1] == "TERM"


def test_signals_are_handed_on(folder, ctemplate):
    process = ctemplate(*RUN, "-exec", "./child.sh")
    started(folder, process)
    seen = ["start web "]
    for name in ("USR1", "USR2", "QUIT", "WINCH"):
        process.signal(signal.Signals[f"SIG{name}"])
        seen.append(name)
        until_told(folder, process, *seen)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("status", [0, 3])
def test_its_own_end_is_the_end_of_ctemplate(ctemplate, status):
    process = ctemplate(*RUN, "-exec", f"exit {status}")
    assert process.wait(LIMIT) == status
    assert f"ended with status {status}; ctemplate ends as well" in process.log()


def test_killed_it_ends_ctemplate_as_a_shell_would_say(folder, ctemplate):
    process = ctemplate(*RUN, "-exec", "./child.sh")
    os.kill(started(folder, process), signal.SIGKILL)
    assert process.wait(LIMIT) == 128 + signal.SIGKILL


def test_its_status_after_sigterm_is_ctemplates(folder, ctemplate):
    (folder / "status").write_text("5")
    process = ctemplate(*RUN, "-exec", "./child.sh")
    started(folder, process)
    process.terminate()
    assert process.wait(LIMIT) == 5


def test_one_that_ignores_its_signal_is_killed_with_its_group(folder, ctemplate):
    process = ctemplate(*RUN, "-exec", "./deaf.sh", "-exec-kill-timeout", "200ms")
    pid = started(folder, process)
    inner = number_in(folder / "inner")
    process.terminate()
    assert process.wait(LIMIT) == 128 + signal.SIGKILL
    assert "still running after 200ms; its process group was killed" in process.log()
    wait_for(lambda: not lives(pid) and not lives(inner), LIMIT, "the end of the group")


def test_when_ctemplate_is_killed_the_program_ends(folder, ctemplate):
    process = ctemplate(*RUN, "-exec", "./child.sh")
    pid = started(folder, process)
    process.signal(signal.SIGKILL)
    process.wait(LIMIT)
    wait_for(lambda: not lives(pid), LIMIT, "the end of the program")
    first, *others = told(folder)
    assert first == "start web "
    assert set(others) == {"TERM"}  # the kernel repeats it when a program's threads die one after the other


def test_it_survives_a_reload_of_what_does_not_concern_it(folder, ctemplate):
    config = folder / "ctemplate.toml"
    template = '[[template]]\nsource = "names.j2"\ndestination = "out"\n'
    config.write_text(f'catalog = "catalog.yaml"\n[exec]\ncommand = "./child.sh"\n{template}')
    process = ctemplate("-config", "ctemplate.toml")
    pid = started(folder, process)
    config.write_text(
        f'catalog = "catalog.yaml"\n[exec]\ncommand = "./child.sh"\nsplay = "1ms"\n{template}perms = "0644"'
    )
    process.signal(signal.SIGHUP)
    process.wait_for_log("reloaded: ", LIMIT)
    config.write_text("garbage")
    process.signal(signal.SIGHUP)
    process.wait_for_log("keeping the running configuration", LIMIT)
    assert (told(folder), number_in(folder / "pid"), lives(pid)) == (["start web "], pid, True)
    command = 'command = ["./child.sh", "with", "arguments"]'
    config.write_text(f'catalog = "catalog.yaml"\n[exec]\n{command}\n{template}')
    process.signal(signal.SIGHUP)
    until_told(folder, process, "start web ", "TERM", "start web ")
    config.write_text(f'catalog = "catalog.yaml"\n{template}')
    process.signal(signal.SIGHUP)
    until_told(folder, process, "start web ", "TERM", "start web ", "TERM")
    assert process.is_running

    wait_for(lambda: not is_caught(process.pid, signal.SIGPWR), LIMIT, "signals that are not forwarded any more")
    process.signal(signal.SIGUSR2)
    process.signal(signal.SIGQUIT)
    assert process.wait(LIMIT) == 0


def test_a_change_that_waits_for_its_splay_does_not_hold_up_the_end(folder, ctemplate):
    process = ctemplate(*RUN, "-exec", "./child.sh", "-exec-splay", "1h")
    started(folder, process)
    catalog(folder, "db")
    process.wait_for(lambda: (folder / "out").read_text() == "db ", LIMIT, "the changed file")
    process.terminate()
    assert process.wait(LIMIT) == 0
    assert told(folder) == ["start web ", "TERM"]


SECRETS = {"CONSUL_HTTP_TOKEN": "secret", "CONSUL_HTTP_AUTH": "u:p", "CONSUL_HTTP_ADDR": "127.0.0.1:1", "KEPT": "1"}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param((), {"CONSUL_HTTP_ADDR": "127.0.0.1:1", "KEPT": "1"}, id="all but credentials"),
        pytest.param(("-exec-env-pristine",), {}, id="none"),
        pytest.param(("-exec-env-allowlist", "KE*", "-exec-env-allowlist", "PATH"), {"KEPT": "1"}, id="some"),
        pytest.param(("-exec-env-denylist", "KE??"), {"CONSUL_HTTP_ADDR": "127.0.0.1:1"}, id="not some"),
        pytest.param(
            ("-exec-env-pristine", "-exec-env-custom", "KEPT=a=b", "-exec-env-custom", "CONSUL_HTTP_TOKEN=given"),
            {"KEPT": "a=b", "CONSUL_HTTP_TOKEN": "given"},
            id="some of its own",
        ),
    ],
)
def test_its_environment_follows_the_lists(folder, ctemplate, args, expected):
    process = ctemplate(*RUN, "-exec", "/usr/bin/env > environ", *args, env=SECRETS)
    assert process.wait(LIMIT) == 0, process.log()
    found = dict(line.split("=", 1) for line in (folder / "environ").read_text().splitlines())
    assert {name: value for name, value in found.items() if name in SECRETS} == expected
    if "-exec-env-pristine" in args:
        assert found.keys() - expected.keys() <= {"PWD", "OLDPWD", "SHLVL", "_"}  # the shell's own


def test_once_becomes_the_program(folder, ctemplate):
    process = ctemplate(*RUN, "-once", "-exec", "cat out; echo $$ > pid; exit 4", env=SECRETS)
    assert process.wait(LIMIT) == 4
    assert process.stdout() == "web "
    assert number_in(folder / "pid") == process.pid


def test_once_does_not_run_it_where_a_template_fails(folder, ctemplate):
    (folder / "names.j2").write_text("{{ fails }}")
    process = ctemplate(*RUN, "-once", "-exec", "./child.sh")
    assert process.wait(LIMIT) == 1
    assert told(folder) == []


def test_a_program_that_is_not_there_is_told_at_the_start(folder, ctemplate):
    process = ctemplate(*RUN, "-exec", "no-such-program -x")
    assert process.wait(LIMIT) == 2
    assert process.log() == (
        "exec.command: no-such-program -x: cannot be started: no such program; install it, or write its full path\n"
    )
    assert not (folder / "out").exists()


@pytest.mark.needs_root
def test_as_process_1_it_reaps_what_is_left_behind_and_ends_with_the_status(folder, programs):
    orphan = "(setsid sh -c 'echo x >> orphans' &)"
    program(folder / "parent.sh", f"#!/bin/sh\nfor n in 1 2 3; do {orphan}; done\nexec ./child.sh\n")
    (folder / "status").write_text("6")
    process = Ctemplate(folder, *RUN, "-exec", "./parent.sh")
    process.argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *process.argv]
    programs.callback(process.kill)
    process.start()
    started(folder, process)
    (inner,) = children(process.pid)
    orphans = folder / "orphans"
    process.wait_for(lambda: orphans.exists() and orphans.read_text() == "x\nx\nx\n", LIMIT, "the orphans")
    process.wait_for(lambda: not any(map(is_zombie, children(inner))), LIMIT, "the end of zombies")
    os.kill(inner, signal.SIGTERM)
    assert process.wait(LIMIT) == 6


def children(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_zombie(pid):
    return Path(f"/proc/{pid}").exists() and not lives(pid)


def test_a_groups_commands_have_its_environment(folder, ctemplate):
    env = 'env = { denylist = ["KEPT"], custom = ["ADDED=1"] }'
    check = "check = 'env > of-check'"
    (folder / "c.toml").write_text(
        f"""catalog = "catalog.yaml"
[[group]]
name = "g"
reload = "env > of-reload"
{check}
{env}
[[template]]
source = "names.j2"
destination = "out"
group = "g"
[[template]]
source = "names.j2"
destination = "other"
command = ["sh", "-c", "env > of-command"]
{env}
"""
    )
    process = ctemplate("-config", "c.toml", "-once", env=SECRETS)
    assert process.wait(LIMIT) == 0, process.log()
    for name in ("of-check", "of-reload", "of-command"):
        found = dict(line.split("=", 1) for line in (folder / name).read_text().splitlines())
        assert {key: found.get(key) for key in (*SECRETS, "ADDED")} == dict.fromkeys(SECRETS) | {
            "CONSUL_HTTP_ADDR": "127.0.0.1:1",
            "ADDED": "1",
        }, name


NGINX = """{main}
http {{
{http}
    upstream web {{
{{% for s in services() %}}
        server 10.0.0.1:80; # {{{{ s.name | comment }}}}
{{% endfor %}}
    }}
    server {{ listen 127.0.0.1:{port}; return 200 "{{{{ services() | length }}}}"; }}
}}
"""


def test_nginx_as_the_program_is_reloaded_with_proof_and_not_started_anew(folder, nginx, ctemplate):
    port = free_port()
    (folder / "nginx.j2").write_text(NGINX.format(main=nginx.main, http=nginx.http, port=port))
    command = json.dumps([*nginx.arguments, "-g", "daemon off;"])
    (folder / "c.toml").write_text(
        f"""catalog = "catalog.yaml"
[exec]
command = {command}
[[template]]
source = "nginx.j2"
destination = "{nginx.conf}"
command = {json.dumps([*nginx.arguments, "-s", "reload"])}
"""
    )
    process = ctemplate("-config", "c.toml")
    process.wait_for(lambda: process.log().count(": applied") == 1, LIMIT, "the first proof")
    pid = number_in(nginx.pid_file)
    catalog(folder, "db", "web")
    process.wait_for(lambda: process.log().count(": applied") == 2, LIMIT, "the second proof")
    assert http_get(port) == (200, "2")
    assert (number_in(nginx.pid_file), lives(pid)) == (pid, True)
    process.terminate()
    assert process.wait(LIMIT) == 0
    wait_for(lambda: not lives(pid), LIMIT, "the end of nginx")


def test_a_new_configuration_is_reported_before_what_its_groups_do(folder, ctemplate):
    config, text = (
        folder / "c.toml",
        'catalog = "catalog.yaml"\n[[template]]\nsource = "names.j2"\ndestination = "{}"\n',
    )
    config.write_text(text.format("out") + '[exec]\ncommand = "./deaf.sh"\nkill_timeout = "2s"\n')
    process = ctemplate("-config", "c.toml")
    wait_for(lambda: number_in(folder / "inner"), LIMIT, "the program", log=process.log)
    config.write_text(text.format("two") + '[exec]\ncommand = "./child.sh"\n')
    process.signal(signal.SIGHUP)
    process.wait_for_log("two: applied", LIMIT)
    wait_for(lambda: told(folder), LIMIT, "the next program", log=process.log)
    said = process.log()
    assert 0 < said.index("configuration reloaded: ") < said.index("two: applied")
