"""Each package on a clean Debian: built, installed and run by a person's commands, without this machine's Python.

CTEMPLATE_SUITE=trixie takes Debian 13 instead of 12 (`make roots` does both).
"""

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import ROOT, wait_for
from harness.containerfile import Image, context_of
from harness.roots import CleanRoot, clean_root, is_possible

SUITE = os.environ.get("CTEMPLATE_SUITE", "bookworm")
RELEASE = {"bookworm": "12", "trixie": "13"}[SUITE]
CATALOG = """
services:
  web: {tags: [http], instances: [{address: 10.0.0.1, port: 8080}, {address: 10.0.0.2, port: 8080}]}
"""
TEMPLATE = """\
{% for svc in services(tag="http") %}
upstream {{ svc.name | identifier }} {
    zone {{ svc.name | identifier }} 64k;
{% for i in service(svc.name) %}
    server {{ i.address }}:{{ i.port }};
{% endfor %}
}
server {
    listen 8099;
    location / { return 200 "{{ svc.name }}"; }
}
{% endfor %}
"""
CONFIG = """\
[[template]]
source = "upstreams.conf.j2"
destination = "/etc/nginx/conf.d/upstreams.conf"
command = "nginx -s reload"
"""
ASK = "python3 -c 'import urllib.request; print(urllib.request.urlopen(\"http://127.0.0.1:8099/\").read())'"
APPLY = f"""
nginx
{{ctemplate}} -config /etc/ctemplate -catalog /etc/ctemplate/catalog.yaml -state-dir /tmp/state{{name}} -once
{ASK}
rm /etc/nginx/conf.d/upstreams.conf
"""

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not is_possible(), reason="a clean root takes root"),
]


at_length = pytest.mark.skipif("CTEMPLATE_SUITE" not in os.environ, reason="takes minutes: make roots")


@contextmanager
def held(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder that all processes of one test run have in common."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "packages"


def built(shared, what, *arguments):
    """Build once in a test run; return the file."""
    with held(shared / "build.lock"):
        found = shared / f"{what}.built"
        if not found.exists():
            settings = {"BIN": str(Path(sys.executable).parent), "WORK": f"{shared}/work", "DIST": f"{shared}/dist"}
            settings["DPKG_DEB_COMPRESSOR_LEVEL"] = "1"  # a package for a release takes three times as long
            done = subprocess.run(
                ["packaging/build.sh", what, *arguments],
                cwd=ROOT,
                env=os.environ | settings,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            found.write_text(done.stdout.split()[-1])
    return Path(found.read_text())


@pytest.fixture
def host(shared):
    """A host with nginx and python3, as Debian makes them; one test at a time has it."""
    with held(shared / "host.lock"):
        folder = shared / "host"
        root = CleanRoot(folder) if folder.exists() else clean_root(SUITE, folder)
        root.install("python3", "nginx", "libnginx-mod-stream")
        for name, text in (("ctemplate.toml", CONFIG), ("upstreams.conf.j2", TEMPLATE), ("catalog.yaml", CATALOG)):
            root.write(f"/etc/ctemplate/{name}", text)
        yield root


def applied(root, ctemplate):
    """Have nginx serve what the catalog says, by way of the program; return all that was said."""
    return root.run(APPLY.format(ctemplate=ctemplate, name=hashlib.sha256(ctemplate.encode()).hexdigest()[:8]))


def test_debian_package_is_installed_used_upgraded_and_purged(shared, host):
    deb = built(shared, "deb", SUITE)
    host.put(deb, "/tmp/ctemplate.deb")
    host.run("apt-get -q -y install --no-install-recommends /tmp/ctemplate.deb", has_network=True)
    assert "b'web'" in applied(host, "ctemplate")
    unit = host.read("/usr/lib/systemd/system/ctemplate.service")
    assert re.search(r"^ExecStart=/usr/bin/ctemplate -config /etc/ctemplate$", unit, re.MULTILINE)
    assert "\\-template" in host.run("zcat /usr/share/man/man1/ctemplate.1.gz")
    assert host.run("zcat /usr/share/man/man1/ctemplate-plan.1.gz")

    host.run("echo '# mine' >> /etc/ctemplate/ctemplate.toml.example; dpkg -i /tmp/ctemplate.deb; ctemplate -version")
    assert host.read("/etc/ctemplate/ctemplate.toml.example").endswith("# mine\n")
    host.run("mkdir -p /var/lib/ctemplate/a/b /var/lib/ctemplate/c; touch /var/lib/ctemplate/c/ledger.json")
    host.run("apt-get -q -y purge ctemplate")
    gone = ("/usr/lib/ctemplate", "/usr/bin/ctemplate", "/etc/ctemplate/ctemplate.toml.example", "/var/lib/ctemplate")
    assert [path for path in gone if host.has(path)] == []
    assert host.has("/etc/ctemplate/ctemplate.toml")


def test_purge_keeps_the_files_that_ctemplate_replaced_first(host):
    """The script of the package alone: what it does is a matter of files."""
    host.put(ROOT / "packaging/debian/postrm", "/tmp/postrm")
    host.run("cd /var/lib; mkdir -p ctemplate/a/original/1 ctemplate/a/b; cd ctemplate/a; touch original/1/f b/f f")
    assert "keeps the files that ctemplate replaced first" in host.run("sh /tmp/postrm purge")
    assert host.run("cd /var/lib/ctemplate; find . -type f").split() == ["./a/original/1/f"]
    host.run("rm -rf /var/lib/ctemplate")


COMPLETE = """
. /usr/share/bash-completion/completions/ctemplate
COMP_WORDS=(ctemplate {word}) COMP_CWORD=1
_ctemplate_completion ctemplate 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_debian_package_completes_verbs_and_options_in_bash(shared, host):
    host.put(built(shared, "deb", SUITE), "/tmp/ctemplate.deb")
    host.run("apt-get -q -y install --no-install-recommends /tmp/ctemplate.deb", has_network=True)
    for word, completed in (("pl", ["plan"]), ("-temp", ["-template", "-template-language"])):
        host.write("/tmp/complete", COMPLETE.format(word=word))
        assert [line for line in host.run("bash /tmp/complete").split() if line in completed] == completed


@at_length
def test_debian_package_is_the_same_bytes_when_built_again(shared, tmp_path):
    first = built(shared, "deb", SUITE)
    second = built(tmp_path, "deb", SUITE)
    assert hashlib.sha256(first.read_bytes()).hexdigest() == hashlib.sha256(second.read_bytes()).hexdigest()


def test_one_file_runs_with_python3_alone(shared, host):
    host.put(built(shared, "zipapp"), "/usr/local/bin/ctemplate.pyz")
    assert "b'web'" in applied(host, "/usr/local/bin/ctemplate.pyz")
    assert host.run("ctemplate.pyz -version").startswith("ctemplate ")
    nobody = host.run("HOME=/nonexistent SHIV_ROOT=/tmp/nobody ctemplate.pyz -version", user="nobody:nogroup")
    assert nobody.startswith("ctemplate ")


@at_length
def test_pipx_and_a_virtual_environment_as_the_readme_has_them(shared, host):
    """Debian's python3-venv makes the environment, pipx one of its own; both from the folder of the source."""
    sources = shared / "sources"
    if not sources.exists():
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", sources], cwd=ROOT, check=True)
    (archive,) = sources.glob("*.tar.gz")
    host.put(archive, "/tmp/source.tar.gz")
    host.install("python3-venv", "pipx")
    host.trust_our_index()
    host.run("mkdir -p /src && tar -C /src --strip-components 1 -xf /tmp/source.tar.gz")
    host.run("cd /src; python3 -m venv /opt/ctemplate; /opt/ctemplate/bin/pip install .", has_network=True)
    assert "b'web'" in applied(host, "/opt/ctemplate/bin/ctemplate")
    host.run("cd /src; pipx install .", has_network=True)
    assert "b'web'" in applied(host, "/root/.local/bin/ctemplate")


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def started(command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            for pid in children(process.pid) if process.poll() is None else ():
                os.kill(pid, signal.SIGKILL)  # process 1 takes the others with it; as another user it outlives us
            process.kill()


def status_of(pid, field):
    return re.search(rf"^{field}:\s+(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1].split()


def test_container_serves_without_root_reaps_orphans_and_ends_in_order(shared, tmp_path):
    deb = built(shared, "deb", SUITE)
    image = Image(clean_root(SUITE, tmp_path / "image"))
    context = context_of(tmp_path / "context", ROOT, deb.parent)
    image.build(ROOT / "Containerfile", context, {"RELEASE": RELEASE})
    assert image.base == f"debian:{RELEASE}-slim"
    image.root.write("/etc/ctemplate/catalog.yaml", CATALOG)
    command = image.command(*image.arguments, "-catalog", "/etc/ctemplate/catalog.yaml")
    with started(command) as process:
        (first,) = wait_for(lambda: children(process.pid), 60, "process 1")
        inside = ["nsenter", "--net", "--pid", "--target", str(first)]
        ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/nginx-health').status)"

        def is_served():
            assert process.poll() is None, process.stdout.read()
            done = subprocess.run([*inside, sys.executable, "-c", ask], capture_output=True, text=True, check=False)
            return done.stdout.strip() == "200"

        wait_for(is_served, 120, "nginx in the container")
        assert status_of(first, "NSpid")[-1] == "1"
        assert b"ctemplate" in Path(f"/proc/{first}/cmdline").read_bytes()
        everybody = [first, *children(first), *(grand for child in children(first) for grand in children(child))]
        assert {status_of(pid, "Uid")[0] for pid in everybody} == {"65532"}
        (nginx,) = (pid for pid in children(first) if Path(f"/proc/{pid}/comm").read_text() == "nginx\n")

        subprocess.run([*inside, "sh", "-c", "(sleep 0.3 &) &"], check=True)
        wait_for(lambda: children(first) == [nginx], 60, "orphans that are reaped")
        os.kill(first, signal.SIGTERM)
        assert process.wait(60) == 0, process.stdout.read()
        assert not Path(f"/proc/{nginx}").exists()


def test_containerfile_has_nothing_to_complain_of():
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "--format", "json", ROOT / "Containerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout) == []
