"""`ctemplate init` on this host, and its files beside a hand-written site on a real nginx and Consul."""

import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import free_port
from harness.backends import http_get

from ctemplate.setup.first_files import first_files
from ctemplate.setup.survey import ConsulFound, HostSurvey, NginxFound

LAYOUT = """\
{main}
http {{
    {http}
    include {prefix}/conf.d/*.conf;
    server {{
        listen 127.0.0.1:{port};
        location /web {{ proxy_pass http://web/; }}
        location / {{ return 200 own; }}
    }}
}}
stream {{ include {prefix}/stream.d/*.conf; }}
"""
WHOLE = """\
http {
HTTP
{% for s in services(tag="http") %}
upstream {{ s.name }} { {% for i in service(s.name) %}server {{ i.address }}:{{ i.port }};{% endfor %} }
server { listen 127.0.0.1:PORT; location / { proxy_pass http://{{ s.name }}; } }
{% endfor %}
}
"""
UPSTREAM_AT_FIRST = "upstream web { server 127.0.0.1:1 down; }\n"


@pytest.fixture
def host(tmp_path, nginx, consul):
    """A running nginx with a site that names an upstream, and the configuration that `init` would make for it."""
    for name in ("conf.d", "stream.d"):
        (nginx.prefix / name).mkdir()
    port = free_port()
    text = LAYOUT.format(main=nginx.main, http=nginx.http, prefix=nginx.prefix, port=port)
    nginx.conf.write_text(text)
    (nginx.prefix / "conf.d" / "ctemplate-http.conf").write_text(UPSTREAM_AT_FIRST)
    nginx.start()
    found = NginxFound(
        version="",
        conf=nginx.conf,
        http_folder=nginx.prefix / "conf.d",
        stream_folder=nginx.prefix / "stream.d",
        http_includes=(),
        stream_module="",
        worker_user=None,
        hosts=(),
    )
    survey = HostSurvey(
        distribution="x", user="root", is_root=True, nginx=found, consul=ConsulFound(address=consul.address)
    )
    folder = tmp_path / "etc"
    folder.mkdir()
    ours = {'"nginx -s reload"': f'"{nginx.reload_command}"', "always = []": 'always = ["web"]'}
    for name, made in first_files(survey, folder, is_complete=False).texts.items():
        text = made
        for stock, own in ours.items():
            text = text.replace(stock, own)
        (folder / name).write_text(text)
    return folder, port


def test_sites_that_name_an_upstream_outlive_its_service(nginx, consul, ctemplate, http_backend, host):
    folder, port = host
    daemon = ctemplate("-config", folder)
    daemon.wait_for_log("applied")
    assert http_get(port, "/web")[0] == 502
    backend, listen = http_backend("a"), free_port()
    consul.register("web", port=backend.port, tags=["http"])
    consul.register(f"db-{listen}", port=backend.port, tags=["tcp"])
    daemon.wait_for(lambda: http_get(port, "/web")[0] == 200, 60, "the service to be served")
    stream = nginx.prefix / "stream.d" / "ctemplate-stream.conf"
    daemon.wait_for(lambda: f"server 127.0.0.1:{backend.port}" in stream.read_text(), 60, "the listener")
    consul.deregister("web")
    daemon.wait_for(lambda: http_get(port, "/web")[0] == 502, 60, "the service to be gone")
    nginx.settle()
    assert http_get(port, "/")[1] == "own"
    assert nginx.check().returncode == 0


def nginx_files():
    return {path: path.stat().st_mtime_ns for path in Path("/etc/nginx").rglob("*") if path.exists()}


def test_init_writes_its_own_folder_and_nothing_of_nginx_s(tmp_path, ctemplate):
    before = nginx_files()
    folder = tmp_path / "etc"
    process = ctemplate("init", "-consul-addr", "127.0.0.1:9", folder)
    assert process.wait() == 0, process.output()
    assert "no plan, since Consul does not answer" in process.stdout()
    assert nginx_files() == before
    assert sorted(path.name for path in folder.iterdir()) == ["ctemplate.toml", "http.conf.j2", "stream.conf.j2"]
    texts = {path: path.read_bytes() for path in folder.iterdir()}
    again = ctemplate("init", folder, name="again")
    assert again.wait() == 2
    assert "ctemplate.toml: exists already; nothing is written" in again.stderr()
    assert {path: path.read_bytes() for path in folder.iterdir()} == texts


@pytest.mark.needs_root
def test_a_plan_that_is_refused_is_told_once_and_comes_before_what_is_next(tmp_path, consul):
    consul.register("web", port=80, tags=["http"])
    shutil.copytree("/etc/nginx", tmp_path / "nginx", symlinks=True)
    conf = tmp_path / "nginx" / "nginx.conf"
    conf.write_text(conf.read_text().replace("http {", "http {\n    nosuch on;", 1))
    words = ["-consul-addr", consul.address, "-state-dir", tmp_path / "state", tmp_path / "etc"]
    command = [sys.executable, "-m", "ctemplate", "init", *map(str, words)]
    script = f"mount --bind {shlex.quote(str(tmp_path / 'nginx'))} /etc/nginx && exec {shlex.join(command)}"
    result = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert (result.stdout.count("[emerg] unknown directive"), "[emerg]" in result.stderr) == (1, False)
    *_, first, second, _, _ = result.stdout.splitlines()
    assert first.endswith("The plan failed: first correct what it says above. Then:")
    assert second.split("#")[0].split() == ["ctemplate", "plan", "-config", str(tmp_path / "etc")]


def test_the_layout_changes_while_it_runs(nginx, consul, ctemplate, http_backend, host):
    folder, port = host
    tmp_path = folder.parent
    daemon = ctemplate("-config", folder)
    backend = http_backend("a")
    consul.register("web", port=backend.port, tags=["http"])
    daemon.wait_for(lambda: http_get(port, "/web")[0] == 200, 60, "the service beside the site")
    (tmp_path / "whole.conf.j2").write_text(nginx.main + WHOLE.replace("PORT", str(port)).replace("HTTP", nginx.http))
    config = folder / "ctemplate.toml"
    fragments = config.read_text()
    table = f'[[template]]\nsource = "{tmp_path}/whole.conf.j2"\ndestination = "{nginx.conf}"\ngroup = "nginx"\n'
    config.write_text(fragments.partition("[[template]]")[0] + table)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for(lambda: http_get(port)[1] == http_get(backend.port)[1], 60, "the service alone")
    assert "left out" not in daemon.log()
    daemon.wait_for_log(f"{nginx.conf}: replaces a file that ctemplate did not write; these vanish: ")
    assert (nginx.prefix / "conf.d" / "ctemplate-http.conf").exists()  # nobody includes it, and its names are free
    before = nginx.conf.read_text()
    nginx_conf = LAYOUT.format(main=nginx.main, http=nginx.http, prefix=nginx.prefix, port=port)
    restored = ctemplate("restore", "-config", folder, "original", name="restore")
    assert restored.wait() == 0, restored.output()
    assert nginx.conf.read_text() == nginx_conf != before
    config.write_text(fragments)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for(lambda: http_get(port, "/web")[0] == 200, 60, "the service beside the site again")
    nginx.settle()
    assert http_get(port)[1] == "own"
    assert "left out" not in daemon.log()
