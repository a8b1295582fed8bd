"""Migrating from consul-template: its folder unchanged, then converted, with three public kinds of template.

The module contains the output of consul-template 0.42.1 for this folder, on a real Consul.
"""

import re

import pytest
from click.testing import CliRunner
from harness.programs import program

from ctemplate.cli import cli

LIMIT = 60
FOLDER = {
    "00-consul.hcl": """\
# the agent
consul {
  address = "%(consul)s"
  retry { enabled = true attempts = 12 backoff = "250ms" }
}
log_level = "warn"
wait { min = "1s" max = "5s" }
max_stale = "10m"
kill_signal = "SIGINT"
syslog { enabled = false }
""",
    "nginx.hcl": """\
template {
  source      = "%(folder)s/nginx.ctmpl"
  destination = "%(folder)s/out/conf.d/services.conf"
  perms       = 0644
  backup      = true
  command     = "true"
  command_timeout = "10s"
}
template {
  source      = "%(folder)s/hosts.ctmpl"
  destination = "%(folder)s/out/hosts"
}
""",
    "sub/haproxy.hcl": """\
template {
  source      = "%(folder)s/haproxy.ctmpl"
  destination = "%(folder)s/out/haproxy.cfg"
  exec { command = ["%(haproxy)s", "-c", "-f", "%(folder)s/out/haproxy.cfg"] timeout = "20s" }
}
""",
}
TEMPLATES = {
    "nginx.ctmpl": """\
{{- range services -}}{{- if .Tags | contains "http" }}
upstream {{ .Name }} {
  least_conn;
  {{- range service .Name }}
  server {{ .Address }}:{{ .Port }} max_fails=3 fail_timeout=60 weight=1;
  {{- else }}
  server 127.0.0.1:65535; # force a 502
  {{- end }}
}
{{- end }}{{- end }}

server {
  listen {{ keyOrDefault "nginx/port" "8099" }};
{{ range services }}{{ if .Tags | contains "http" }}
  location /{{ .Name }}/ {
    proxy_pass http://{{ .Name }}/;
    proxy_set_header Host $host;
  }{{ end }}{{ end }}
}
""",
    "haproxy.ctmpl": """\
global
    maxconn {{ key "haproxy/maxconn" }}
defaults
    mode {{ keyOrDefault "haproxy/mode" "http" }}
    timeout connect {{ key "haproxy/timeouts/connect" }}
    timeout client 5s
    timeout server 5s
{{ range $tag, $services := service "web" | byTag }}
# {{ $tag }} has {{ len $services }}
{{ end }}
listen http-in
    bind *:8000
    balance roundrobin{{ range service "web" }}
    server {{ .ID }} {{ .Address }}:{{ .Port }} check{{ end }}
""",
    "hosts.ctmpl": """\
127.0.0.1 localhost
{{ range services }}{{ range service .Name }}{{ .Address }} {{ .Name }}.service.consul
{{ end }}{{ end }}
""",
}
MADE = {
    "conf.d/services.conf": """\

upstream web {
  least_conn;
  server 127.0.0.1:8001 max_fails=3 fail_timeout=60 weight=1;
  server 127.0.0.1:8002 max_fails=3 fail_timeout=60 weight=1;
}

server {
  listen 8099;

  location /web/ {
    proxy_pass http://web/;
    proxy_set_header Host $host;
  }
}
""",
    "haproxy.cfg": """\
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s

# http has 2

# v1 has 1

# v2 has 1

listen http-in
    bind *:8000
    balance roundrobin
    server web1 127.0.0.1:8001 check
    server web2 127.0.0.1:8002 check
""",
    "hosts": """\
127.0.0.1 localhost
127.0.0.1 consul.service.consul
127.0.0.1 web.service.consul
127.0.0.1 web.service.consul

""",
}


@pytest.fixture
def folder(consul, tmp_path):
    for number in (1, 2):
        consul.register("web", service_id=f"web{number}", port=8000 + number, tags=["http", f"v{number}"])
    consul.api("PUT", "/v1/kv/haproxy/maxconn", "1000")
    consul.api("PUT", "/v1/kv/haproxy/timeouts/connect", "5s")
    names = {"consul": consul.address, "folder": tmp_path, "haproxy": program("haproxy")}
    for name, text in FOLDER.items():
        path = tmp_path / "consul-template.d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text % names)
    for name, text in TEMPLATES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def made(folder):
    return {name: (folder / "out" / name).read_text() for name in MADE}


def convert(path, to):
    done = CliRunner().invoke(cli, ["convert", str(path), "-o", str(to)])
    assert done.exit_code == 0, done.output


def test_a_folder_of_consul_templates_runs_as_it_is_and_converted(folder, ctemplate):
    as_it_is = ctemplate("-config", "consul-template.d", "-template-language", "go", "-once", name="as-it-is")
    assert as_it_is.wait(LIMIT) == 0, as_it_is.output()
    assert made(folder) == MADE
    convert(folder / "consul-template.d", folder / "ctemplate.toml")
    for name in TEMPLATES:
        convert(folder / name, folder / name.replace(".ctmpl", ".j2"))
    config = (folder / "ctemplate.toml").read_text()
    moved = re.sub(r'^template_language = "go"\n', "", config.replace(".ctmpl", ".j2"), flags=re.MULTILINE)
    (folder / "ctemplate.toml").write_text(moved)
    plan = ctemplate("plan", "-config", "ctemplate.toml", "-exit-code", name="plan")
    assert plan.wait(LIMIT) == 0, plan.output()
    assert "0 of 3 groups would change" in plan.output()
    assert not (folder / "out" / "conf.d" / "services.conf.bak").exists()
