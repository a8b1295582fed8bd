"""ctemplate with unusual files and rights: full disks, mounts, links, no root, any program."""

import asyncio
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys

import pytest
from harness import Ctemplate, wait_for
from harness.site import Site, instances
from harness.users import as_nobody, open_to_all
from harness.waiting import PATIENCE

from ctemplate.config.layers import Layer
from ctemplate.runtime.assembly import Assembler
from ctemplate.runtime.daemon import Daemon

NOBODY = 65534


@pytest.fixture
def site(tmp_path, nginx, ctemplate):
    """A site whose nginx runs generation 1."""
    site = Site(tmp_path, nginx)
    assert ctemplate(*site.args, "-once", name="first").wait(20) == 0
    nginx.start()
    assert ctemplate(*site.args, "-once", name="second").wait(20) == 0
    return site


@pytest.fixture
def between_mounts(tmp_path, programs):
    """Start a ctemplate that sees mounts of its own: `between_mounts("mount …", *args)`."""

    def start(mounts: str, *args: str) -> Ctemplate:
        process = Ctemplate(tmp_path, *args)
        process.argv = ["unshare", "--mount", "sh", "-c", f"{mounts} && exec {shlex.join(process.argv)}"]
        programs.callback(process.kill)
        return process.start()

    return start


@pytest.mark.needs_root
def test_a_full_disk_leaves_the_live_files_and_mends_once_the_data_fits(site, between_mounts):
    folder = shlex.quote(str(site.fragment.parent))
    size = f"mount -t tmpfs -o size=64k none {folder}"
    daemon = between_mounts(f"cp {folder}/upstreams.conf {site.folder}/kept && {size} && cp {site.folder}/kept "
                            f"{folder}/upstreams.conf", *site.args)  # fmt: skip
    daemon.wait_for_log("started")
    identities = site.identities()
    site.publish("2", a=instances(*range(1, 5000), tags=("up", "web")))
    what = "cannot be staged: No space left on device; every live file is untouched"
    daemon.wait_for_log(f"{site.fragment}: {what}")
    assert (site.identities(), site.leftovers(), site.running()) == (identities, [], "1")
    site.publish("3")
    site.wait_running("3", log=daemon.log)


@pytest.mark.needs_root
def test_a_bind_mounted_file_is_written_in_place_with_a_warning_and_rolled_back_in_place(site, between_mounts):
    live = shlex.quote(str(site.nginx.conf))
    daemon = between_mounts(f"mount --bind {live} {live}", *site.args)
    daemon.wait_for_log("started")
    inode = site.nginx.conf.stat().st_ino
    site.publish("2")
    site.wait_running("2", log=daemon.log)
    busy = f"{site.nginx.conf}: cannot be renamed over (Device or resource busy); written in place"
    daemon.wait_for_log(busy)
    contents, port = site.contents(), site.port + 1
    source = site.folder / "nginx.conf.j2"
    edges = f"http {{ server {{ listen 127.0.0.1:{port}; }} "
    text = source.read_text().replace("http {", edges, 1)
    source.write_text(text.replace("stream {", f"stream {{ server {{ listen 127.0.0.1:{port}; return x; }} ", 1))
    daemon.wait_for_log("every live file is rolled back", 20)
    assert (site.contents(), site.running(), site.nginx.conf.stat().st_ino) == (contents, "2", inode)


def test_a_symlink_stays_one_and_its_target_changes(site, ctemplate):
    real = site.folder / "real" / "upstreams.conf"
    real.parent.mkdir()
    site.fragment.rename(real)
    site.fragment.symlink_to(real)
    daemon = ctemplate(*site.args)
    site.publish("2", a=instances(1, tags=("up", "web")))
    site.wait_running("2", log=daemon.log)
    assert site.fragment.is_symlink()
    assert real.read_text().startswith("# generation 2\n")
    site.publish("3", a=instances(1, tags=("up", "web"), kind="backup"))
    daemon.wait_for_log(f"in {site.fragment}:3 ({site.folder}/upstreams.conf.j2:5)")
    real.write_text("# mine\n")  # while a candidate is refused nobody can tell this from an older rendering
    site.publish("4")
    site.wait_running("4", log=daemon.log)
    real.write_text("# mine\n")
    daemon.wait_for_log(f"{site.fragment}: was changed by another program; overwritten with the rendered file")
    daemon.wait_for(lambda: real.read_text().startswith("# generation 4\n"), 10, "repaired file")


def once(site):
    """Run -once in this process; return what became of the group."""
    values = {"catalog": str(site.catalog_file), "state_dir": str(site.state)}
    assembler = Assembler(paths=(site.config,), flags=Layer(where="test", values=values), environ={})
    daemon = Daemon(assembler=assembler, assembly=assembler.assemble())
    asyncio.run(daemon.once(timeout=PATIENCE))
    return [str(worker.error or worker.result.outcome.value) for worker in daemon.workers]


@pytest.mark.needs_root
def test_a_run_without_root_checks_in_a_copy_and_reloads_its_own_nginx(tmp_path, nginx):
    site = Site(tmp_path, nginx)
    assert once(site) == ["pending start"]  # loads every module, which nobody may not be allowed to
    for path in (site.state, *site.files):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    open_to_all(tmp_path)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    assert as_nobody(lambda: once(site)) == "['pending start']"
    nginx.process.argv[:0] = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    nginx.start()
    site.publish("2")
    assert as_nobody(lambda: once(site)) == "['applied']"
    assert site.running() == "2"
    site.publish("3", a=instances(1, tags=("up", "web"), kind="backup"))
    assert as_nobody(lambda: once(site)) == "['applied']"
    assert (site.running(), site.leftovers(), "upstream" in site.fragment.read_text()) == ("3", [], False)
    site.fragment.parent.chmod(0o555)
    site.publish("4")
    said = as_nobody(lambda: once(site))
    assert f"{site.fragment}: cannot be staged: Permission denied; every live file is untouched" in said
    assert (site.running(), stat.S_IMODE(site.state.stat().st_mode)) == ("3", 0o700)


def test_a_configuration_that_cannot_be_copied_is_judged_where_it_stands(tmp_path, nginx, ctemplate):
    """A new file cannot be bound, and a glob before `..` cannot be copied: then the files are swapped to be judged."""
    site = Site(tmp_path, nginx)
    source = site.folder / "nginx.conf.j2"
    source.write_text(source.read_text().replace("include conf.d/*.conf;", "include conf.*/../conf.d/*.conf;"))
    fragment = site.folder / "upstreams.conf.j2"
    text = fragment.read_text()
    fragment.write_text("upstream empty { }\n" + text)
    bad = ctemplate(*site.args, "-once", name="bad")
    assert bad.wait(20) == 1
    told = "an include with a glob before '..' cannot be mirrored; swapped in to be checked live"
    assert told in bad.log()
    assert "nginx -t: exit status 1; every live file is rolled back" in bad.log()
    assert f"no servers are inside upstream in {site.nginx.prefix}/conf.d/../conf.d/upstreams.conf:1" in bad.log()
    assert (site.contents(), site.leftovers(), nginx.pid_file.exists()) == ((None, None), [], False)
    fragment.write_text(text)
    site.publish("2")
    good = ctemplate(*site.args, "-once", name="good")
    assert good.wait(20) == 0
    assert told in good.log()
    assert b"# generation 2\n" in site.contents()[1]
    assert not nginx.pid_file.exists()


SERVER = """
import json, signal, sys
from pathlib import Path

conf, running = Path(sys.argv[1]), Path(sys.argv[2])
def load(*_):
    running.write_text(json.loads(conf.read_text())["name"])
signal.signal(signal.SIGHUP, load)
load()
print("ready", flush=True)
while True:
    signal.pause()
"""
CHECK = "import json, sys; json.load(open(sys.argv[1]))['name']"


@pytest.fixture
def server(tmp_path, programs):
    """A program that reads JSON when it starts and on SIGHUP; `running` holds what it took."""
    conf, running = tmp_path / "server.json", tmp_path / "running"
    conf.write_text('{"name": "one"}')
    process = subprocess.Popen([sys.executable, "-c", SERVER, conf, running], stdout=subprocess.PIPE, text=True)
    programs.callback(process.communicate)
    programs.callback(process.kill)
    assert process.stdout.readline() == "ready\n"
    return process, conf, running


def test_any_program_is_checked_with_its_candidate_and_reloaded_by_its_command(tmp_path, server, ctemplate):
    process, conf, running = server
    catalog = tmp_path / "catalog.yaml"
    (tmp_path / "server.j2").write_text("{% for s in services() %}{{ s.tags | first }}{% endfor %}")
    check = [sys.executable, "-c", CHECK, "{candidate}"]
    (tmp_path / "c.toml").write_text(
        f'[[group]]\nname = "server"\ncheck = {json.dumps(check)}\nreload = "kill -HUP {process.pid}"\n'
        f'[[template]]\nsource = "server.j2"\ndestination = "{conf}"\ngroup = "server"\nescape = "none"\n'
    )

    def publish(text):
        new = catalog.with_suffix(".new")
        new.write_text(json.dumps({"services": {"a": {"tags": [text], "instances": []}}}))
        new.replace(catalog)

    publish('{"name": "two"}')
    daemon = ctemplate("-config", "c.toml", "-catalog", str(catalog))
    daemon.wait_for(lambda: running.read_text() == "two", 10, "name two running")
    daemon.wait_for_log("applied")
    touched = conf.stat()
    publish('{"name": ')
    daemon.wait_for_log("exit status 1; the live file is untouched")
    assert "json.decoder.JSONDecodeError" in daemon.log()
    assert (conf.stat().st_ino, conf.stat().st_mtime_ns) == (touched.st_ino, touched.st_mtime_ns)
    assert running.read_text() == "two"
    publish('{"name": "three"}')
    daemon.wait_for(lambda: running.read_text() == "three", 10, "name three running")
    conf.write_text("{}")
    daemon.wait_for_log(f"{conf}: was changed by another program; overwritten with the rendered file")
    wait_for(lambda: conf.read_text() == '{"name": "three"}', 10, "repaired file", log=daemon.log)
