"""ctemplate's modes: once, dry, as a daemon; its configuration, signals, edits and commands, as processes."""

import json
import os
import signal
import tomllib
from pathlib import Path

import pytest
from harness import free_port, wait_for

NAMES = "{% for s in services() %}{{ s.name }}\n{% endfor %}"


@pytest.fixture
def folder(tmp_path):
    """The folder where ctemplate runs: `names.j2` prints the names of the services in `catalog.yaml`."""
    (tmp_path / "names.j2").write_text(NAMES)
    catalog(tmp_path, "web")
    return tmp_path


def catalog(folder, *names):
    """Rewrite the catalog file by rename, as an editor does."""
    fresh = folder / "fresh.yaml"
    fresh.write_text(json.dumps({"services": {name: {} for name in names}}))
    fresh.replace(folder / "catalog.yaml")


def counting(folder, name="runs"):
    """A command that adds a line to a file, and the function that counts the lines."""
    file = folder / name
    return f"echo run >> {file}", lambda: file.read_text().count("\n") if file.exists() else 0


def identity(path):
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def reads(path, text):
    return lambda: path.exists() and path.read_text() == text


CATALOG = ("-catalog", "catalog.yaml")
ONCE = (*CATALOG, "-once")


# once


def test_once_writes_runs_the_command_and_exits(folder, ctemplate):
    command, runs = counting(folder)
    process = ctemplate("-template", f"names.j2:deep/out:{command}", *ONCE)
    assert process.wait() == 0, process.log()
    assert ((folder / "deep/out").read_text(), runs()) == ("web\n", 1)


def test_once_again_touches_nothing_and_runs_nothing(folder, ctemplate):
    command, runs = counting(folder)
    args = ("-template", f"names.j2:out:{command}", *ONCE)
    assert ctemplate(*args).wait() == 0
    before = identity(folder / "out")
    assert ctemplate(*args, name="again").wait() == 0
    assert (identity(folder / "out"), runs()) == (before, 1)


def test_once_with_a_failing_command_owes_the_reload_to_the_next_run(folder, ctemplate):
    command = folder / "reload.sh"
    command.write_text(f"#!/bin/sh\necho run >> {folder}/runs\necho no luck >&2\ntest -e {folder}/mended\n")
    command.chmod(0o755)
    args = ("-template", f"names.j2:out:{command}", *ONCE)
    first = ctemplate(*args)
    assert first.wait() == 1
    told = first.log().partition(" ERROR ")[2]
    assert told == f"{command}: exit status 1; the new content stays live, its reload is pending\n    no luck\n"
    before = identity(folder / "out")
    (folder / "mended").touch()
    assert ctemplate(*args, name="second").wait() == 0
    assert ctemplate(*args, name="third").wait() == 0
    assert (identity(folder / "out"), (folder / "runs").read_text()) == (before, "run\nrun\n")


def test_once_without_consul_names_what_it_waited_for(folder, ctemplate):
    (folder / "two.j2").write_text('{{ services() | length }} {{ service("web") | length }}')
    address = f"127.0.0.1:{free_port()}"
    process = ctemplate("-template", "two.j2:out", "-consul-addr", address, "-once", "-timeout", "500ms")
    assert process.wait() == 3
    last = process.log().splitlines()[-1]
    assert last == f"Consul at {address}: no usable answer after 500ms to service(web), services()"
    assert not (folder / "out").exists()


def test_once_brings_one_group_live_when_another_is_broken(folder, ctemplate):
    (folder / "broken.j2").write_text("{{ unheard }}")
    process = ctemplate("-template", "broken.j2:broken", "-template", "names.j2:out", *ONCE)
    assert process.wait() == 1
    assert " ERROR broken.j2:1: 'unheard' is undefined\n" in process.log()
    assert ((folder / "out").read_text(), (folder / "broken").exists()) == ("web\n", False)


# dry


def test_dry_prints_and_writes_nothing_anywhere(folder, ctemplate):
    command, runs = counting(folder)
    before = files(folder)
    process = ctemplate("-template", f"names.j2:/none/out:{command}", "-template", "names.j2", *CATALOG, "-dry")
    assert process.wait() == 0, process.log()
    assert (process.stdout(), process.log(), runs()) == ("> /none/out\nweb\nweb\n", "", 0)
    assert files(folder) == sorted([*before, "ctemplate.err", "ctemplate.out"])


# configuration


def test_variables_of_the_command_line_win(folder, ctemplate):
    (folder / "v.j2").write_text("{{ var.a }} {{ var.b }} {{ var.c }}")
    (folder / "c.toml").write_text('vars = { a = "file", b = "file" }\n')
    process = ctemplate("-config", "c.toml", "-var", "b=line", "-var", "c=x=y", "-template", "v.j2", *CATALOG, "-dry")
    assert (process.wait(), process.stdout()) == (0, "file line x=y")


CONFIG = """
catalog = "catalog.yaml"
[[group]]
name = "g"
reload = ["sh", "-c", "echo run >> runs"]
[[template]]
source = "names.j2"
destination = "one"
perms = "0600"
group = "g"
[[template]]
source = "names.j2"
destination = "two"
group = "g"
"""


@pytest.mark.parametrize("kind", ["toml", "json", "folder"])
def test_configuration_as_toml_json_or_folder(folder, ctemplate, kind):
    name = {"toml": "c.toml", "json": "c.json", "folder": "."}[kind]
    if kind == "json":
        (folder / "c.json").write_text(json.dumps(tomllib.loads(CONFIG)))
    else:
        (folder / "c.toml").write_text(CONFIG)
    process = ctemplate("-config", name, "-once")
    assert process.wait() == 0, process.log()
    written = {name: (folder / name).read_text() for name in ("one", "two", "runs")}
    assert written == {"one": "web\n", "two": "web\n", "runs": "run\n"}
    assert ((folder / "one").stat().st_mode & 0o777, (folder / "two").stat().st_mode & 0o777) == (0o600, 0o644)


def test_empty_output_is_written_like_any_other(folder, ctemplate):
    (folder / "out").write_text("something")
    (folder / "empty.j2").write_text("")
    command, runs = counting(folder)
    assert ctemplate("-template", f"empty.j2:out:{command}", *ONCE).wait() == 0
    assert ((folder / "out").read_bytes(), runs()) == (b"", 1)


def test_symlink_is_followed_and_mode_is_kept(folder, ctemplate):
    (folder / "real").write_text("old")
    (folder / "real").chmod(0o640)
    (folder / "out").symlink_to("real")
    assert ctemplate("-template", "names.j2:out", *ONCE).wait() == 0
    assert (folder / "out").is_symlink()
    assert ((folder / "real").read_text(), (folder / "real").stat().st_mode & 0o777) == ("web\n", 0o640)


# the daemon


@pytest.fixture
def daemon(folder, ctemplate):
    """Start a daemon on `catalog.yaml` and wait until it has started."""

    def start(*args, source=CATALOG, **options):
        process = ctemplate(*args, *source, **options)
        process.wait_for_log("started: ")
        return process

    assert folder.exists()
    return start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_is_clean_and_the_pid_file_goes(folder, daemon, number):
    process = daemon("-template", "names.j2:out", "-pid-file", "pid")
    assert (folder / "pid").read_text() == f"{process.pid}\n"
    wait_for(reads(folder / "out", "web\n"), 10, "first output", log=process.log)
    process.signal(number)
    assert process.wait() == 0
    assert process.log().endswith(" INFO stopped\n")
    assert not (folder / "pid").exists()


def test_stop_before_the_first_answer_is_clean(daemon):
    address = f"127.0.0.1:{free_port()}"
    process = daemon("-template", "names.j2:out", source=("-consul-addr", address))
    process.terminate()
    assert process.wait() == 0


def test_stop_after_an_edit_before_the_first_answer_is_clean(folder, daemon):
    address = f"127.0.0.1:{free_port()}"
    process = daemon("-template", "names.j2:out", source=("-consul-addr", address))
    (folder / "names.j2").write_text("edited {{ services() | length }}")
    process.wait_for_log("reloaded: ")
    process.terminate()
    assert process.wait() == 0


def test_edited_catalog_is_brought_live(folder, daemon):
    command, runs = counting(folder)
    process = daemon("-template", f"names.j2:out:{command}")
    wait_for(lambda: runs() == 1, 10, "first command", log=process.log)
    catalog(folder, "db", "web")
    wait_for(reads(folder / "out", "db\nweb\n"), 10, "new output", log=process.log)
    wait_for(lambda: runs() == 2, 10, "second command", log=process.log)


def test_every_line_of_a_json_log_parses(folder, daemon):
    (folder / "broken.j2").write_text('\n{{ "a\\nb" ~ unheard }}')
    process = daemon("-template", "broken.j2:out", "-log-format", "json", "-log-level", "debug")
    process.wait_for_log("is undefined")
    process.stop()
    lines = [json.loads(line) for line in process.log().splitlines()]
    assert {key for line in lines for key in line} == {"time", "level", "logger", "message", "event", "fields"}
    assert {"started", "render_failed"} <= {line.get("event") for line in lines}
    assert ("error", "broken.j2:2: 'unheard' is undefined") in [(line["level"], line["message"]) for line in lines]


def test_quiet_log_level_tells_nothing_of_a_good_run(folder, ctemplate):
    process = ctemplate("-template", "names.j2:out", *ONCE, "-log-level", "warning")
    assert (process.wait(), process.log(), (folder / "out").read_text()) == (0, "", "web\n")


def test_hangup_reads_the_configuration_again(folder, ctemplate):
    config = folder / "c.toml"
    one = 'catalog = "catalog.yaml"\n[[template]]\nsource = "names.j2"\ndestination = "one"\n'
    config.write_text(one)
    process = ctemplate("-config", "c.toml")
    wait_for(reads(folder / "one", "web\n"), 10, "first output", log=process.log)
    config.write_text("catalog = \n")
    process.signal(signal.SIGHUP)
    process.wait_for_log("c.toml: is not TOML: invalid value (at line 1, column 11); keeping the running configuration")
    catalog(folder, "db")
    wait_for(reads(folder / "one", "db\n"), 10, "output of the kept configuration", log=process.log)
    config.write_text(one + '[[template]]\nsource = "names.j2"\ndestination = "two"\n')
    process.signal(signal.SIGHUP)
    wait_for(reads(folder / "two", "db\n"), 10, "output of the new template", log=process.log)
    process.wait_for_log("reloaded: 2 templates in 2 groups from catalog.yaml")
    catalog(folder, "web")
    for name in ("one", "two"):
        wait_for(reads(folder / name, "web\n"), 10, f"new {name}", log=process.log)


def test_hangup_does_not_read_a_template_that_is_being_written(folder, daemon):
    process = daemon("-template", "names.j2:out", "-log-level", "debug")
    wait_for(reads(folder / "out", "web\n"), 10, "first output", log=process.log)
    text = (folder / "names.j2").read_text()
    with (folder / "names.j2").open("w") as file:
        process.signal(signal.SIGHUP)
        catalog(folder, "db")
        wait_for(reads(folder / "out", "db\n"), 10, "output of the template before", log=process.log)
        assert "reloaded: " not in process.log()
        file.write("new " + text)
    wait_for(reads(folder / "out", "new db\n"), 10, "output of the whole template", log=process.log)


def test_hangup_onto_a_destination_of_another_instance_keeps_what_runs(folder, ctemplate, daemon):
    other = daemon("-template", "names.j2:taken", name="other")
    config = folder / "c.toml"
    text = 'catalog = "catalog.yaml"\n[[template]]\nsource = "names.j2"\ndestination = "{}"\n'
    config.write_text(text.format("own"))
    process = ctemplate("-config", "c.toml")
    wait_for(reads(folder / "own", "web\n"), 10, "first output", log=process.log)
    config.write_text(text.format("taken"))
    process.signal(signal.SIGHUP)
    process.wait_for_log(
        f"{folder}/taken: is held by another ctemplate, pid {other.pid}; keeping the running configuration"
    )
    catalog(folder, "db")
    wait_for(reads(folder / "own", "db\n"), 10, "new output", log=process.log)
    process.terminate()
    assert process.wait() == 0


def test_hangup_takes_another_source(folder, ctemplate):
    config = folder / "c.toml"
    text = 'catalog = "{}"\n[[template]]\nsource = "names.j2"\ndestination = "out"\n'
    (folder / "other.yaml").write_text("services: {other: {}}")
    config.write_text(text.format("catalog.yaml"))
    process = ctemplate("-config", "c.toml")
    wait_for(reads(folder / "out", "web\n"), 10, "first output", log=process.log)
    config.write_text(text.format("other.yaml"))
    process.signal(signal.SIGHUP)
    wait_for(reads(folder / "out", "other\n"), 10, "output from the other source", log=process.log)


def in_place(path, text):
    path.write_text(text)


def by_rename(path, text):
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(path)


@pytest.mark.parametrize("save", [in_place, by_rename])
def test_edited_template_is_picked_up(folder, daemon, save):
    process = daemon("-template", "names.j2:out")
    wait_for(reads(folder / "out", "web\n"), 10, "first output", log=process.log)
    for text in ("second", "third"):
        save(folder / "names.j2", text)
        wait_for(reads(folder / "out", text), 10, text, log=process.log)


def test_template_in_a_swapped_folder_is_picked_up(folder, daemon):
    mounted = folder / "mounted"
    for version in ("v1", "v2", "v3"):
        (mounted / version).mkdir(parents=True)
        (mounted / version / "t.j2").write_text(version)
    (mounted / "..data").symlink_to("v1")
    (mounted / "t.j2").symlink_to("..data/t.j2")
    process = daemon("-template", "mounted/t.j2:out")
    wait_for(reads(folder / "out", "v1"), 10, "first output", log=process.log)
    for version in ("v2", "v3"):
        (mounted / "..data_tmp").symlink_to(version)
        (mounted / "..data_tmp").rename(mounted / "..data")
        wait_for(reads(folder / "out", version), 10, version, log=process.log)


def test_edited_include_is_picked_up(folder, daemon):
    (folder / "outer.j2").write_text('{% include "inner.j2" %}')
    (folder / "inner.j2").write_text("first")
    process = daemon("-template", "outer.j2:out")
    wait_for(reads(folder / "out", "first"), 10, "first output", log=process.log)
    (folder / "inner.j2").write_text("second")
    wait_for(reads(folder / "out", "second"), 10, "edited include", log=process.log)


def test_broken_edit_keeps_the_running_template_and_a_mended_one_recovers(folder, daemon):
    process = daemon("-template", "names.j2:out")
    wait_for(reads(folder / "out", "web\n"), 10, "first output", log=process.log)
    (folder / "names.j2").write_text("{% for s in services() %}")
    process.wait_for_log("; keeping the running configuration")
    catalog(folder, "db")
    wait_for(reads(folder / "out", "db\n"), 10, "output of the kept template", log=process.log)
    (folder / "names.j2").write_text("mended")
    wait_for(reads(folder / "out", "mended"), 10, "mended template", log=process.log)


def test_template_that_is_broken_at_the_start_recovers_with_an_edit(folder, daemon):
    (folder / "broken.j2").write_text("{{ unheard }}")
    process = daemon("-template", "broken.j2:out", "-wait", "0")
    process.wait_for_log(" ERROR broken.j2:1: 'unheard' is undefined")
    (folder / "broken.j2").write_text("mended")
    wait_for(reads(folder / "out", "mended"), 10, "mended template", log=process.log)


def test_template_that_fails_on_some_data_recovers_with_the_data(folder, daemon):
    (folder / "first.j2").write_text("{{ services()[0].name }}")
    catalog(folder)
    process = daemon("-template", "first.j2:out")
    process.wait_for_log(" ERROR first.j2:1: ")
    catalog(folder, "web")
    wait_for(reads(folder / "out", "web"), 10, "output", log=process.log)
    catalog(folder)
    process.wait_for_log(" ERROR first.j2:1: ", times=2)
    catalog(folder, "db")
    wait_for(reads(folder / "out", "db"), 10, "new output", log=process.log)


# commands


def test_hanging_command_is_killed_with_its_group(folder, daemon):
    reload = f"echo $$ > {folder}/shell; sleep 1000 & echo $! > {folder}/sleep; wait"
    (folder / "c.toml").write_text(
        f"""
        [[group]]
        name = "slow"
        reload = "test -e {folder}/shell && exit; {reload}"
        timeout = "1s"
        [[template]]
        source = "names.j2"
        destination = "slow"
        group = "slow"
        """
    )
    process = daemon("-config", "c.toml")
    pids = [int(wait_for(lambda name=name: text_of(folder / name), 10, name)) for name in ("shell", "sleep")]
    process.wait_for_log("still running after 1s; its process group was killed")
    for pid in pids:
        wait_for(lambda pid=pid: not is_alive(pid), 10, f"end of {pid}")


def test_hanging_command_stops_neither_another_group_nor_a_second_stop(folder, daemon):
    process = daemon("-template", f"names.j2:out:echo $$ > {folder}/shell; sleep 1000", "-template", "names.j2:quick")
    shell = int(wait_for(lambda: text_of(folder / "shell"), 10, "command", log=process.log))
    catalog(folder, "db")
    wait_for(reads(folder / "quick", "db\n"), 10, "update of the other group", log=process.log)
    assert is_alive(shell)
    process.terminate()
    process.wait_for_log("stopping after the current work")
    process.terminate()
    assert process.wait() == 130
    assert process.log().endswith("ctemplate: interrupted\n")
    wait_for(lambda: not is_alive(shell), 10, "end of the command")


def test_killed_with_a_reload_under_way_the_next_run_pays_it(folder, daemon, ctemplate, programs):
    command = f"echo $$ >> {folder}/runs; test -e {folder}/mended || exec sleep 1000"
    process = daemon("-template", f"names.j2:out:{command}")
    orphan = int(wait_for(lambda: text_of(folder / "runs"), 10, "command", log=process.log))
    programs.callback(os.kill, orphan, signal.SIGKILL)
    process.kill()
    (folder / "mended").touch()
    again = ctemplate("-template", f"names.j2:out:{command}", *ONCE, name="again")
    assert again.wait() == 0, again.log()
    assert (text_of(folder / "runs").count("\n"), text_of(folder / "out")) == (2, "web\n")


def test_failed_reload_stays_owed_and_is_retried(folder, daemon):
    process = daemon("-template", f"names.j2:out:test -e {folder}/mended")
    process.wait_for_log(f"test -e {folder}/mended: exit status 1; the new content stays live, its reload is pending")
    process.wait_for_log("next try in")
    (folder / "mended").touch()
    process.wait_for_log(f"INFO test -e {folder}/mended: done in")


def test_command_does_not_see_the_token(folder, daemon, consul):
    env = {"CONSUL_HTTP_AUTH": "user:hidden", "CONSUL_TOKEN": "hidden", "KEPT": "yes"}
    env["CONSUL_HTTP_ADDR"] = consul.address
    (folder / "token").write_text("anonymous")
    process = daemon("-template", f"names.j2:out:env > {folder}/env", "-consul-token-file", "token", source=(), env=env)
    wait_for(lambda: "KEPT=yes" in text_of(folder / "env"), 10, "environment", log=process.log)
    names = {line.partition("=")[0] for line in text_of(folder / "env").splitlines()}
    assert not names & {"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH", "CONSUL_TOKEN"}
    assert "hidden" not in text_of(folder / "env") + process.log()


def test_second_instance_on_a_destination_is_refused_and_harms_nothing(folder, daemon, ctemplate):
    first = daemon("-template", "names.j2:out", "-pid-file", "pid")
    wait_for(reads(folder / "out", "web\n"), 10, "first output", log=first.log)
    second = ctemplate("-template", "names.j2:out", "-pid-file", "pid", *CATALOG, name="second")
    assert second.wait() == 2
    assert second.log() == f"{folder}/out: is held by another ctemplate, pid {first.pid}\n"
    assert (folder / "pid").read_text() == f"{first.pid}\n"
    catalog(folder, "db")
    wait_for(reads(folder / "out", "db\n"), 10, "update by the first", log=first.log)


def text_of(path):
    return path.read_text() if path.exists() else ""


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_once_says_what_it_did_and_what_was_as_it_should_be(tmp_path, ctemplate):
    (tmp_path / "t.j2").write_text("{% for i in service('web') %}{{ i.address }}{% endfor %}")
    (tmp_path / "c.yaml").write_text("services: {web: {instances: [{address: 10.0.0.1}, {address: web1.internal}]}}\n")
    first = ctemplate("-once=true", "-log-level", "WARN", "-template", "t.j2:out", "-catalog", "c.yaml", name="first")
    assert first.wait() == 0
    left_out = "'web1.internal' is not an IP address but a host name; data.allow_hostnames allows them; it is left out"
    assert first.log().partition(" ")[2] == f"WARNING c.yaml: service 'web' instance 'web-2': address: {left_out}\n"
    again = ctemplate("-once", "-template", "t.j2:out", "-catalog", "c.yaml", name="again")
    assert again.wait() == 0
    assert again.log().splitlines()[-1].partition(" ")[2] == "INFO out: unchanged, as rendered"


def test_host_names_of_a_catalog_are_taken_where_they_are_allowed(tmp_path, ctemplate):
    (tmp_path / "t.j2").write_text("{% for i in service('web') %}{{ i.address }}{% endfor %}")
    (tmp_path / "c.yaml").write_text("services: {web: {instances: [{address: web1.internal}]}}\n")
    (tmp_path / "c.toml").write_text("[data]\nallow_hostnames = true\n")
    once = ctemplate("-config", "c.toml", "-once", "-template", "t.j2:out", "-catalog", "c.yaml")
    assert (once.wait(), (tmp_path / "out").read_text()) == (0, "web1.internal")


def test_files_that_cannot_be_held_again_end_nothing_and_are_tried_again(folder, ctemplate):
    state, away = folder / "state", folder / "away"
    daemon = ctemplate(*CATALOG, "-template", "names.j2:out")
    daemon.wait_for(reads(folder / "out", "web\n"), 60, "the first output")
    daemon.wait_for_log("started", 60)
    state.rename(away)
    state.touch()  # a file where the folder was: neither the new nor the old assembly can hold anything
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("no file is written meanwhile; next try in", 60)
    catalog(folder, "web", "db")
    daemon.wait_for_log("read again", 60)  # the catalog file: the source goes on
    assert (folder / "out").read_text() == "web\n"
    state.unlink()
    away.rename(state)
    daemon.wait_for(reads(folder / "out", "db\nweb\n"), 60, "the output after the folder is back")
    assert daemon.stop() == 0, daemon.log()


def test_a_slow_render_is_waited_for_after_the_time_for_answers(folder, ctemplate):
    loop = "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}done\n"
    (folder / "slow.j2").write_text(loop)
    once = ctemplate("-catalog", "catalog.yaml", "-template", "slow.j2:out", "-once", "-timeout", "1ms")
    assert once.wait() == 0, once.log()
    assert (folder / "out").read_text() == "done\n"
