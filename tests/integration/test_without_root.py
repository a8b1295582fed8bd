"""An nginx of root's, and a ctemplate without full rights: an ordinary user, and root as in the shipped unit."""

import asyncio
import configparser
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness import free_port
from harness.nginx import Nginx
from harness.programs import ROOT
from harness.sandbox import Sandboxed
from harness.waiting import PATIENCE

from ctemplate.nginx.check import can_mount

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not asyncio.run(can_mount()), reason="takes rights away, which only root can"
)
NOBODY = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]
WITH_KILL = [*NOBODY, "--inh-caps=-all,+kill", "--ambient-caps=+kill"]
SITE = """\
upstream web { {% for i in service("web") %}server {{ i.address }}:{{ i.port }} {{ i.meta.more or "" }};{% endfor %} }
server {
    listen PLACE:79;
    listen 127.0.0.1:PORT ssl;
    ssl_certificate site.crt;
    ssl_certificate_key keys/site.key;
    location / { return 200 "{% for i in service("web") %}{{ i.port }}{% endfor %}"; }
}
"""


class Host:
    """An nginx of root's with TLS on, its key, its pid file and its logs out of others' reach."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.nginx = nginx = Nginx(folder)
        self.port = free_port()
        self.site = nginx.prefix / "conf.d" / "site.conf"
        self.state, self.temporary = folder / "state", folder / "tmp"
        for private in ("keys", "run", "log"):
            (nginx.prefix / private).mkdir(mode=0o700)
        for own in (self.site.parent, self.state, self.temporary):
            own.mkdir()
        command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout keys/site.key -out site.crt"
        subprocess.run(command.split(), cwd=nginx.prefix, check=True, capture_output=True)
        nginx.pid_file = nginx.prefix / "run" / "nginx.pid"
        nginx.error_log_file.touch()
        nginx.conf.write_text(f"{nginx.main}http {{ {nginx.http} include conf.d/*.conf; }}\n")
        place = f"127.9.{os.getpid() % 250}.{os.getpid() // 250 % 250}"
        (folder / "site.conf.j2").write_text(SITE.replace("PORT", str(self.port)).replace("PLACE", place))
        self.publish(80)

    def publish(self, port: int, **meta: str) -> None:
        instance = {"address": "10.0.0.1", "port": port, "meta": meta}
        (self.folder / "catalog.yaml").write_text(json.dumps({"services": {"web": {"instances": [instance]}}}))

    def args(self, reload: str) -> list[str | Path]:
        template = f"{self.folder}/site.conf.j2:{self.site}:{reload}"
        return [
            *("-catalog", self.folder / "catalog.yaml", "-template", template),
            *("-state-dir", self.state, "-log-level", "debug"),
        ]

    def served(self) -> str:
        """Return what nginx says over TLS."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain, context.wrap_socket(plain) as line:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with line.makefile("rb") as reply:
                return reply.read().decode().rpartition("\r\n\r\n")[2]


@pytest.fixture
def host(programs):
    """A host below a folder that everybody may enter, with nginx running."""
    folder = Path(tempfile.mkdtemp(prefix="ctemplate-host-"))
    programs.callback(shutil.rmtree, folder)
    folder.chmod(0o755)
    host = Host(folder)
    programs.callback(host.nginx.stop)
    host.nginx.start()
    return host


@pytest.fixture
def run(programs):
    """Run a ctemplate with other rights to its end; return its status and its log."""

    def run(host, *args, **options):
        process = Sandboxed(host.folder, *args, **options)
        programs.callback(process.kill)
        status = process.start().wait()
        return status, process.output()

    return run


def given_to_nobody(host):
    for path in (host.site.parent, host.state, host.temporary):
        shutil.chown(path, "nobody", "nogroup")


def applied_by(host, run, reload, **options):
    """Apply two generations, and one that nginx refuses; look at what is served and what is said."""
    status, log = run(host, "-once", *host.args(reload), name="first", **options)
    assert status == 0, log
    assert f"{host.nginx.prefix}/keys/site.key: this user may not read it; candidates are checked with a" in log
    assert "swapped in to be checked live" not in log
    assert host.served() == "80"
    host.publish(81)
    status, log = run(host, "-once", *host.args(reload), name="second", **options)
    assert (status, host.served()) == (0, "81"), log
    host.publish(82, more="nonsense")
    status, log = run(host, "-once", *host.args(reload), name="third", **options)
    assert 'invalid parameter "nonsense"' in log, log
    assert host.served() == "81"
    host.publish(81)
    status, said = run(host, "doctor", *host.args(reload), name="doctor", **options)
    assert (status, [line for line in said.splitlines() if line.startswith("error")]) == (0, []), said
    assert f"ok    {host.nginx.conf}: nginx accepts it" in said


def test_an_ordinary_user_that_may_signal_nginx_needs_no_other_right(host, run):
    given_to_nobody(host)
    applied_by(host, run, host.nginx.reload_command, rights=WITH_KILL)


def test_an_ordinary_user_without_any_right_reloads_by_a_line_in_sudoers(host, run):
    given_to_nobody(host)
    lines = host.folder / "sudoers.d"
    lines.mkdir(mode=0o750)
    (lines / "ctemplate").write_text(f"nobody ALL=(root) NOPASSWD: {host.nginx.reload_command}\n")
    (lines / "ctemplate").chmod(0o440)
    reload = f"sudo -n {host.nginx.reload_command}"
    options = {"rights": NOBODY, "binds": {lines: Path("/etc/sudoers.d")}}
    status, log = run(host, "-once", *host.args(reload), name="first", **options)
    assert status == 0, log
    assert host.served() == "80", log
    status, said = run(host, "doctor", *host.args(reload), name="doctor", **options)
    assert (status, [line for line in said.splitlines() if line.startswith("error")]) == (0, []), said


@pytest.mark.parametrize("hidepid", ["1", "2"])
def test_an_nginx_that_hidepid_hides_is_not_taken_for_a_stopped_one(host, run, hidepid):
    given_to_nobody(host)
    options = {"rights": WITH_KILL, "hidepid": hidepid}
    status, log = run(host, "-once", *host.args(host.nginx.reload_command), name="first", **options)
    assert status == 0, log
    assert "its master is not found" in log
    assert "/proc is mounted with hidepid and shows only this user's own processes" in log
    assert "has ended" not in log
    assert "without a master" not in log


def test_a_file_of_roots_is_named_by_the_doctor_as_one_that_cannot_be_replaced(host, run):
    given_to_nobody(host)
    host.site.write_text("# root's\n")
    args = host.args(host.nginx.reload_command)
    status, log = run(host, "-once", *args, name="first", rights=WITH_KILL)
    assert status == 1, log
    what = f"{host.site}: belongs to user root, and only root may change the owner of a file"
    assert f"{what}; the live file is untouched" in log
    status, said = run(host, "doctor", *args, name="doctor", rights=WITH_KILL)
    assert (status, [line for line in said.splitlines() if line.startswith("error")]) == (
        1,
        [f"error {what}; correct the owner, or run ctemplate as root"],
    )


def test_root_with_the_rights_of_the_unit_that_ships(host, run):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string((ROOT / "packaging" / "ctemplate.service").read_text())
    names = unit["Service"]["CapabilityBoundingSet"].removeprefix("CAP_").lower().split(" cap_")
    kept = ",".join(f"+{name}" for name in names)
    rights = [f"--bounding-set=-all,{kept}", "--no-new-privs"]
    writable = (host.site.parent, host.state, host.temporary)
    options = {"rights": rights, "writable": writable, "read_only": True}
    status, log = run(host, "-once", *host.args(host.nginx.reload_command), name="first", **options)
    assert status == 0, log
    assert host.served() == "80", log
    host.publish(82, more="nonsense")
    status, log = run(host, "-once", *host.args(host.nginx.reload_command), name="second", **options)
    assert 'invalid parameter "nonsense"' in log, log
    assert host.served() == "80"
    host.publish(80)
    status, said = run(host, "doctor", *host.args(host.nginx.reload_command), name="doctor", **options)
    assert (status, [line for line in said.splitlines() if line.startswith("error")]) == (0, []), said
