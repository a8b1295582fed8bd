"""Reload commands as operators write them: the command reloads, and check and proof are ours."""

import json
import os
import shlex
import shutil
import socket

import pytest
from harness import Nginx, free_port
from harness.site import Site

LIMIT = 60


def forms(nginx):
    reload, test = (shlex.join([*nginx.arguments, *words]) for words in (["-s", "reload"], ["-t"]))
    return {
        "test first": f"{test} -q && {reload}",
        "never mind": f"{reload} || true",
        "quiet": f"{reload} >/dev/null 2>&1",
        "shell": f"bash -c {shlex.quote(f'{test} && {reload}')}",
        "environment": f"env LANG=C {reload}",
        "time limit": ["timeout", "10", *nginx.arguments, "-s", "reload"],
    }


@pytest.fixture
def foreign(programs):
    """A port that another process holds."""
    other = programs.enter_context(socket.socket())
    other.bind(("127.0.0.1", free_port()))
    other.listen()
    return other.getsockname()[1]


def started(site, ctemplate):
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    site.nginx.start()
    daemon = ctemplate(*site.args)
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], 20, "paid reload")
    return daemon


def keeps_every_promise(site, daemon, foreign):
    """A change goes live; an edit that the check or the reload refuses never stays."""
    site.publish("2")
    site.wait_running("2", log=daemon.log)
    contents, source = site.contents(), site.folder / "nginx.conf.j2"
    text = source.read_text()
    source.write_text(text.replace("http {", "htttp {", 1))
    daemon.wait_for_log("nginx -t: exit status 1; every live file is untouched", 20)
    assert site.contents() == contents
    source.write_text(text.replace("stream {", f"stream {{ server {{ listen {foreign}; return x; }}"))
    daemon.wait_for_log("every live file is rolled back", 30)
    assert (site.contents(), site.running()) == (contents, "2")
    source.write_text(text)
    site.publish("5")
    site.wait_running("5", log=daemon.log)


@pytest.mark.parametrize("form", ["test first", "never mind", "quiet", "shell", "environment", "time limit"])
def test_a_wrapped_command_keeps_every_promise(tmp_path, nginx, ctemplate, foreign, form):
    site = Site(tmp_path, nginx, reload=forms(nginx)[form])
    daemon = started(site, ctemplate)
    assert "neither checked nor proven" not in daemon.log()
    keeps_every_promise(site, daemon, foreign)


def with_key(site, **key):
    """Add the group's nginx key; TOML's inline tables look like this."""
    inner = ", ".join(f"{name} = {json.dumps(value)}" for name, value in key.items())
    site.config.write_text(site.config.read_text().replace("[[template]]", f"nginx = {{ {inner} }}\n[[template]]", 1))


@pytest.fixture
def script(tmp_path, nginx):
    """A program that reloads nginx, of which nobody can tell by its name."""
    path = tmp_path / "again"
    path.write_text(f"#!/bin/sh\n{shlex.join([*nginx.arguments, '-s', 'reload'])}\n")
    path.chmod(0o755)
    return path


def test_a_group_that_says_so_is_nginx(tmp_path, nginx, ctemplate, foreign, script):
    site = Site(tmp_path, nginx, reload=str(script))
    with_key(site, binary=nginx.program, config=str(nginx.conf), prefix=f"{nginx.prefix}/")
    daemon = started(site, ctemplate)
    assert "neither checked nor proven" not in daemon.log()
    keeps_every_promise(site, daemon, foreign)


def test_a_group_whose_nginx_is_out_of_sight_is_checked_and_not_proven(tmp_path, nginx, ctemplate, script):
    site = Site(tmp_path, nginx, reload=str(script))
    with_key(site, binary=nginx.program, config=str(nginx.conf), prefix=f"{nginx.prefix}/", proof=False)
    nginx.conf.parent.mkdir(exist_ok=True)
    script.write_text("#!/bin/sh\ntrue\n")
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    assert site.ledger()["owes_reload"] is False
    contents = site.contents()
    source = site.folder / "nginx.conf.j2"
    source.write_text(source.read_text().replace("http {", "htttp {", 1))
    second = ctemplate(*site.args, "-once", name="second")
    assert second.wait(20) != 0
    assert "nginx -t: exit status 1; every live file is untouched" in second.log()
    assert site.contents() == contents


def test_files_that_look_like_nginx_and_are_not_checked_are_one_warning(tmp_path, nginx, ctemplate, script):
    site = Site(tmp_path, nginx, reload=str(script))
    script.write_text("#!/bin/sh\ntrue\n")
    daemon = ctemplate(*site.args)
    daemon.wait_for_log("applied")
    daemon.signal(1)
    daemon.wait_for_log("reloaded")
    said = (
        f"{site.fragment}: looks like nginx's, but its reload command is not known to be nginx's: "
        "neither checked nor proven; give its group a check or an nginx key"
    )
    assert daemon.log().count(said) == 1


def told(site, text):
    """Give the group another reload command; its files and its nginx stay."""
    lines = site.config.read_text().splitlines(keepends=True)
    site.config.write_text(
        "".join(f"reload = {json.dumps(text)}\n" if one.startswith("reload") else one for one in lines)
    )


@pytest.mark.parametrize("form", ["kill -HUP $(cat {})", 'kill -s HUP "$(cat {})"'])
def test_the_master_in_the_pid_file_tells_the_configuration(tmp_path, nginx, ctemplate, foreign, form):
    site = Site(tmp_path, nginx)
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    nginx.start()
    told(site, form.format(nginx.pid_file))
    daemon = ctemplate(*site.args)
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], 20, "paid reload")
    keeps_every_promise(site, daemon, foreign)
    assert "does not read it" not in daemon.log()


def test_what_no_configuration_reads_is_never_called_accepted(tmp_path, nginx, ctemplate):
    site = Site(tmp_path, nginx)
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    nginx.start()
    away = tmp_path / "away" / "x.conf"
    (tmp_path / "bad.j2").write_text("garbage\n")
    arguments = ["-catalog", str(site.catalog_file), "-state-dir", str(tmp_path / "s")]
    arguments += ["-template", f"{tmp_path}/bad.j2:{away}:kill -HUP $(cat {nginx.pid_file})"]
    said = f"{away}: {nginx.conf} does not read it: no include and no other directive names it"
    plan = ctemplate("plan", *arguments, name="plan")
    assert plan.wait(20) == 0
    assert "check: not read:" in plan.stdout()
    assert ctemplate(*arguments, "-once", name="once").wait(20) == 0
    for verb in (["doctor"], ["-once"], ["plan"]):  # also once it is there, and nothing changes
        run = ctemplate(*verb, *arguments, name=f"{verb[0]}-after")
        run.wait(20)
        assert said in run.output(), verb


def test_a_master_that_reads_no_file_of_the_group_is_not_signalled(tmp_path, nginx, ctemplate, programs):
    site = Site(tmp_path, nginx)
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    nginx.start()
    other = Nginx(tmp_path, name="other")
    programs.callback(other.stop)
    other.conf.write_text(f"{other.main}http {{\n{other.http}}}\n")
    other.start()
    its_workers = set(other.workers())
    told(site, f"kill -HUP $(cat {nginx.pid_file})")
    right = nginx.pid_file.read_text()
    daemon = ctemplate(*site.args)
    site.publish("2")
    site.wait_running("2", log=daemon.log)
    nginx.pid_file.write_text(other.pid_file.read_text())
    site.publish("3")
    said = f"{nginx.pid_file} names a master that runs with {other.conf}; this configuration reads no file of the group"
    daemon.wait_for_log(said, LIMIT)
    daemon.wait_for(lambda: site.ledger()["owes_reload"], LIMIT, "the pending reload")
    assert f"{other.conf} does not read it" not in daemon.log()
    daemon.terminate()
    daemon.wait(LIMIT)
    site.publish("4")  # nothing is remembered now
    again = ctemplate(*site.args, "-once", name="again")
    assert again.wait(LIMIT) == 0
    assert said in again.log()
    assert site.ledger()["owes_reload"]
    assert (set(other.workers()), site.running()) == (its_workers, "2")
    nginx.pid_file.write_text(right)
    assert ctemplate(*site.args, "-once", name="paid").wait(LIMIT) == 0
    site.wait_running("4")


def test_names_are_not_compared_with_those_of_a_configuration_that_does_not_read_the_file(tmp_path, nginx, ctemplate):
    nginx.conf.write_text(
        f"{nginx.main}http {{\n{nginx.http}server {{ listen 127.0.0.1:{free_port()}; server_name a.test; }}\n}}\n"
    )
    nginx.start()
    (tmp_path / "site.j2").write_text(
        "{% for s in services() %}server { listen 127.0.0.1:8; server_name {{ s.name }}.test; }\n{% endfor %}"
    )
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"services": {"a": {"instances": [{"address": "10.0.0.1", "port": 80}]}}}))
    site = tmp_path / "away" / "site.conf"
    run = ctemplate(
        "-catalog", str(catalog), "-state-dir", str(tmp_path / "s"), "-once",
        "-template", f"{tmp_path}/site.j2:{site}:kill -HUP $(cat {nginx.pid_file})",
    )  # fmt: skip
    assert run.wait(LIMIT) == 0
    assert "server_name a.test;" in site.read_text()
    assert "left out" not in run.log()
    assert "reads no file of the group" in run.log()


@pytest.fixture
def service(tmp_path, nginx):
    """A folder for PATH with programs that reload nginx, or print its processes, without naming a configuration.

    The real ones would signal every nginx of this host.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    master = f"$(cat {nginx.pid_file})"
    for name, line in (
        ("systemctl", f"kill -HUP {master}"),
        ("pkill", f"kill -HUP {master} $(cat /proc/{master}/task/{master}/children)"),
        ("pidof", f"echo {master} $(cat /proc/{master}/task/{master}/children)"),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    "form", ["systemctl reload nginx", "pkill -HUP -x nginx", "kill -HUP $(pidof nginx)", "cd / && pkill -HUP nginx"]
)
def test_the_running_master_of_a_service_tells_the_configuration(tmp_path, nginx, ctemplate, service, form):
    site = Site(tmp_path, nginx)
    assert ctemplate(*site.args, "-once", name="first").wait(LIMIT) == 0
    nginx.start()
    told(site, form)
    daemon = ctemplate(*site.args, env=service)
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], LIMIT, "paid reload")
    site.publish("2")
    site.wait_running("2", log=daemon.log)
    assert "does not read it" not in daemon.log()
    contents, source = site.contents(), site.folder / "nginx.conf.j2"
    source.write_text(source.read_text().replace("http {", "htttp {", 1))
    daemon.wait_for_log("nginx -t: exit status 1; every live file is untouched", LIMIT)
    assert site.contents() == contents


def test_a_service_may_run_an_executable_with_another_name(tmp_path, nginx, ctemplate, service, foreign):
    site = Site(tmp_path, nginx, reload="systemctl reload nginx")
    executable = tmp_path / "nginx-1.22"
    shutil.copy(nginx.program, executable)
    assert ctemplate(*site.args, "-once", name="first").wait(LIMIT) == 0
    nginx.process.argv[0] = str(executable)
    nginx.start()
    daemon = ctemplate(*site.args, env=service)
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], LIMIT, "paid reload")
    assert "does not read it" not in daemon.log()
    keeps_every_promise(site, daemon, foreign)


def test_a_script_that_starts_nginx_is_checked_and_proven(tmp_path, nginx, ctemplate, foreign):
    script = tmp_path / "bin" / "nginx"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {nginx.program} "$@"\n')
    script.chmod(0o755)
    site = Site(tmp_path, nginx, reload=[str(script), *nginx.arguments[1:], "-s", "reload"])
    keeps_every_promise(site, started(site, ctemplate), foreign)


def test_a_main_file_that_is_gone_is_known_by_the_master_that_read_it(tmp_path, nginx, ctemplate, service):
    site = Site(tmp_path, nginx)
    assert ctemplate(*site.args, "-once", name="first").wait(LIMIT) == 0
    nginx.start()
    told(site, "systemctl reload nginx")
    shutil.rmtree(site.state)
    nginx.conf.unlink()
    break_template(site)
    broken = ctemplate(*site.args, "-once", env=service, name="broken")
    assert broken.wait(LIMIT) == 1, broken.log()
    assert "does not read it" not in broken.log()
    assert not nginx.conf.exists()


BROKEN = "nginx -t: exit status 1; every live file is untouched"


def break_template(site):
    source = site.folder / "nginx.conf.j2"
    source.write_text(source.read_text().replace("http {", "htttp {", 1))


def mend_template(site):
    source = site.folder / "nginx.conf.j2"
    source.write_text(source.read_text().replace("htttp {", "http {", 1))


@pytest.mark.parametrize("form", ["systemctl reload nginx", "kill -HUP $(cat {})"])
def test_what_the_master_told_outlives_it_an_edit_and_a_restart(tmp_path, nginx, ctemplate, service, form):
    site = Site(tmp_path, nginx)
    assert ctemplate(*site.args, "-once", name="first").wait(LIMIT) == 0
    nginx.start()
    told(site, form.format(nginx.pid_file))
    daemon = ctemplate(*site.args, env=service)
    daemon.wait_for(lambda: not site.ledger()["owes_reload"], LIMIT, "paid reload")
    contents = site.contents()
    nginx.stop()
    break_template(site)  # which has the configuration read again
    daemon.wait_for_log(BROKEN, LIMIT)
    daemon.stop()
    assert site.contents() == contents
    for verb in ("-once", "plan", "doctor"):
        run = ctemplate(verb, *site.args, env=service, name=f"{verb}-broken")
        assert run.wait(LIMIT) == 1 or verb == "doctor", run.output()
        assert "does not read it" not in run.output()
        assert site.contents() == contents
    mend_template(site)
    site.publish("2")
    assert ctemplate(*site.args, "-once", env=service, name="mended").wait(LIMIT) == 0
    nginx.start()
    site.wait_running("2")


def test_of_several_masters_that_read_the_file_one_checks_it(tmp_path, nginx, ctemplate, service, programs):
    site = Site(tmp_path, nginx)
    told(site, "systemctl reload nginx")
    assert ctemplate(*site.args, "-once", env=service, name="first").wait(LIMIT) == 0
    for name in ("old", "new"):
        other = Nginx(tmp_path, name=name)
        programs.callback(other.stop)
        server = f"server {{ listen 127.0.0.1:{free_port()}; }}"
        other.conf.write_text(f"{other.main}http {{\n{other.http}include {site.fragment};\n{server}\n}}\n")
        other.start()
    contents = site.contents()
    (site.folder / "upstreams.conf.j2").write_text("garbage;\n")
    broken = ctemplate(*site.args, "-once", env=service, name="broken")
    assert broken.wait(LIMIT) == 1
    assert BROKEN in broken.log()
    assert "is the newest of 2 masters with different arguments" in broken.log()
    assert site.contents() == contents


def test_a_master_whose_configuration_is_gone_checks_nothing(tmp_path, nginx, ctemplate, service, programs):
    site = Site(tmp_path, nginx)
    told(site, "systemctl reload nginx")
    other = Nginx(tmp_path, name="gone")
    programs.callback(other.stop)
    other.conf.write_text(f"{other.main}http {{\n{other.http}server {{ listen 127.0.0.1:{free_port()}; }}\n}}\n")
    other.start()
    other.conf.unlink()
    once = ctemplate(*site.args, "-once", env=service, name="first")
    assert once.wait(LIMIT) == 0, once.log()


def test_a_file_more_in_the_group_keeps_what_the_master_told(tmp_path, nginx, ctemplate, service):
    site = Site(tmp_path, nginx)
    told(site, "systemctl reload nginx")
    assert ctemplate(*site.args, "-once", env=service, name="first").wait(LIMIT) == 0
    nginx.start()
    assert ctemplate(*site.args, "-once", env=service, name="second").wait(LIMIT) == 0
    nginx.stop()
    (site.folder / "more.j2").write_text("garbage;\n")
    more = site.fragment.with_name("more.conf")
    text = f'[[template]]\nsource = "more.j2"\ndestination = "{more}"\ngroup = "nginx"\n'
    site.config.write_text(site.config.read_text() + text)
    third = ctemplate(*site.args, "-once", env=service, name="third")
    assert third.wait(LIMIT) == 1
    assert BROKEN in third.log()
    assert not more.exists()


def test_another_reload_command_forgets_what_the_master_told(tmp_path, nginx, ctemplate, service):
    site = Site(tmp_path, nginx)
    assert ctemplate(*site.args, "-once", name="first").wait(LIMIT) == 0
    nginx.start()
    told(site, "systemctl reload nginx")
    assert ctemplate(*site.args, "-once", env=service, name="second").wait(LIMIT) == 0
    nginx.stop()
    told(site, "service nginx reload")
    third = ctemplate(*site.args, "-once", env=service, name="third")
    third.wait(LIMIT)
    assert f"{nginx.conf}: " in third.log()
    assert "does not read it" in third.log()
