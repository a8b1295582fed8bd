import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from harness import ROOT, run_ctemplate
from harness.schemas import schema_of

from ctemplate.cli.plan import Plan

TEMPLATE = """\
events {}
http {
{% for svc in services(tag="http") %}
{% set instances = service(svc.name) %}
{% if instances %}
    upstream {{ svc.name }} {
{% for i in instances %}
        server {{ i.address }}:{{ i.port }};
{% endfor %}
    }
{% endif %}
{% endfor %}
}
"""
BEFORE = """
services:
  web: {tags: [http], instances: [{address: 10.0.0.3, port: 8080}, {address: 10.0.0.4, port: 8080}]}
"""
AFTER = """
services:
  web: {tags: [http], instances: [{address: 10.0.0.7, port: 8080}, {address: 10.0.0.4, port: 8080}]}
"""
PLAN = """\
--- {conf} (live)
+++ {conf} (planned)
@@ -1,7 +1,7 @@
 events {{}}
 http {{
     upstream web {{
-        server 10.0.0.3:8080;
         server 10.0.0.4:8080;
+        server 10.0.0.7:8080;
     }}
 }}
what it means:
    web: −10.0.0.3:8080, +10.0.0.7:8080
why:
    web 10.0.0.3:8080: no longer registered
    web 10.0.0.7:8080: service web, instance web-1 on node-10.0.0.7: passing
check: accepted
then:
    echo reloaded

watch: 2 queries, 0 connections, 0 requests per second while nothing changes
1 of 1 group would change
"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "nginx.conf.j2").write_text(TEMPLATE)
    (tmp_path / "before.yaml").write_text(BEFORE)
    (tmp_path / "after.yaml").write_text(AFTER)
    (tmp_path / "ctemplate.toml").write_text(f"""
        state_dir = "{tmp_path}/state"
        [[group]]
        name = "nginx"
        check = "grep -q upstream {{candidate}}"
        reload = "echo reloaded"
        [[template]]
        source = "nginx.conf.j2"
        destination = "{tmp_path}/nginx.conf"
        group = "nginx"
    """)
    return Site(tmp_path)


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.conf = folder / "nginx.conf"

    def run(self, *words, catalog="before.yaml"):
        verb = [words[0]] if words and not words[0].startswith("-") else []
        options = ["-config", "ctemplate.toml", *(["-catalog", catalog] if catalog else [])]
        return run_ctemplate(*verb, *options, *words[len(verb) :], cwd=self.folder)

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())


def test_plan_shows_diff_meaning_reasons_verdict_and_commands(site):
    assert site.run("-once").returncode == 0
    names = site.names()
    result = site.run("plan", catalog="after.yaml")
    assert (result.stdout, result.stderr, result.returncode) == (PLAN.format(conf=site.conf), "", 0)
    assert site.names() == names
    assert "10.0.0.3" in site.conf.read_text()


def test_plan_tells_by_its_exit_code_whether_changes_are_pending(site):
    assert site.run("plan", "-exit-code").returncode == 4
    site.run("-once")
    assert site.run("plan", "-exit-code").returncode == 0


def test_refused_plan_shows_the_verdict_and_fails(site):
    (site.folder / "ctemplate.toml").write_text(
        (site.folder / "ctemplate.toml").read_text().replace("grep -q upstream", "grep upstrean")
    )
    result = site.run("plan")
    assert result.returncode == 1
    assert "check: refused:\n" in result.stdout
    assert not site.conf.exists()


def test_a_template_that_fails_is_not_called_unchanged(site):
    (site.folder / "nginx.conf.j2").write_text("{{ nothing }}")
    result = site.run("plan")
    assert result.returncode == 1
    assert ": not rendered; the error in the log says why\n" in result.stdout
    (group,) = json.loads(site.run("plan", "-format", "json").stdout)["groups"]
    assert group["verdict"] == "not rendered"


def test_plan_for_machines_follows_its_schema(site):
    made = json.loads(site.run("plan", "-format", "json").stdout)
    assert msgspec.convert(made, Plan).pending
    assert (ROOT / "docs/plan.schema.json").read_bytes() == schema_of(Plan)


def test_an_edit_that_removes_a_healthy_service_says_so_in_the_plan_and_once_in_the_log(site):
    two = BEFORE + "  api: {tags: [http], instances: [{address: 10.0.0.5, port: 8080}]}\n"
    two = two.replace("address:", "tags: [http], address:")
    (site.folder / "before.yaml").write_text(two)
    site.run("-once")
    edited = TEMPLATE.replace(
        "set instances =", 'set tag = "http" if svc.name == "web" else "x" %}\n{% set instances ='
    )
    (site.folder / "nginx.conf.j2").write_text(edited.replace("service(svc.name)", "service(svc.name, tag=tag)"))
    plan = site.run("plan")
    title = "services that lose every server by the edit, though they are healthy:"
    assert f"{title}\n    'api' (1)\n" in plan.stdout
    assert json.loads(site.run("plan", "-format", "json").stdout)["groups"][0]["removed"] == ["'api' (1)"]
    warning = f"WARNING {site.conf}: the edit removes every server of healthy services: 'api' (1)"
    assert warning in site.run("-once").stderr
    assert "WARNING" not in site.run("-once").stderr


def test_saved_plan_is_carried_out(site):
    site.run("-once")
    assert site.run("plan", "-o", "plan.json", catalog="after.yaml").returncode == 0
    assert site.run("apply", "plan.json", catalog="after.yaml").returncode == 0
    assert "10.0.0.7" in site.conf.read_text()


@pytest.mark.parametrize(
    ("moved", "message"),
    [
        pytest.param("before.yaml", "would now be something else than what was planned; make a new one", id="source"),
        pytest.param("after.yaml", "has changed since the plan was made; make a new one", id="live-file"),
    ],
)
def test_saved_plan_is_refused_when_the_world_has_moved_on(site, moved, message):
    site.run("-once")
    site.run("plan", "-o", "plan.json", catalog="after.yaml")
    if moved == "after.yaml":
        site.conf.write_text("# edited\n")
    before = site.conf.read_text()
    result = site.run("apply", "plan.json", catalog=moved)
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith(f"ERROR {site.conf}: {message}")
    assert site.conf.read_text() == before


def test_capture_of_a_real_consul_plays_back_to_the_same_bytes(site, consul):
    consul.register("web", address="10.0.0.3", port=80, tags=["http", "blue"], meta={"zone": "a", "secret": "s3cret"})
    consul.register("api", address="10.0.0.4", port=81, tags=["http"])
    at = ["-consul-addr", consul.address]
    live = site.run("-dry", *at, catalog=None)
    captured = site.run("capture", "-o", "captured.yaml", *at, catalog=None)
    assert (captured.stdout, captured.stderr, captured.returncode) == ("", "", 0)
    assert site.run("-dry", catalog="captured.yaml").stdout == live.stdout
    assert set(yaml.safe_load((site.folder / "captured.yaml").read_text())["services"]) == {"api", "consul", "web"}


def test_captured_secret_can_be_masked(site, consul):
    consul.register("web", address="10.0.0.3", port=80, tags=["http"], meta={"secret": "s3cret"})
    text = site.run("capture", "-mask", "sec*", "-consul-addr", consul.address, catalog=None).stdout
    assert "secret: masked" in text
    assert "s3cret" not in text


def test_golden_cases_are_written_compared_and_told_apart(site):
    case = site.folder / "cases" / "one"
    case.mkdir(parents=True)
    (case / "catalog.yaml").write_text(BEFORE)
    missing = site.run("test", "cases", catalog=None)
    assert missing.stdout.splitlines() == [
        "cases/one: differs",
        "    cases/one/nginx.conf: is missing; -update writes it",
        "0 passed, 1 failed",
    ]
    assert site.run("test", "-update", "cases", catalog=None).stdout == "cases/one: 1 written\n1 passed, 0 failed\n"
    assert site.run("test", "cases", catalog=None).stdout == "cases/one: ok\n1 passed, 0 failed\n"
    (case / "catalog.yaml").write_text(AFTER)
    changed = site.run("test", "cases", catalog=None)
    assert changed.returncode == 1
    assert "    -        server 10.0.0.3:8080;\n" in changed.stdout
    assert not site.conf.exists()


def test_plan_of_nginx_is_judged_by_nginx(tmp_path, nginx):
    nginx.conf.write_text(f"{nginx.main}\nhttp {{ {nginx.http} }}\n")
    nginx.start()
    template = tmp_path / "bad.j2"
    template.write_text(f"{nginx.main}\nhttp {{ {nginx.http}\n  garbage on;\n}}\n")
    command = [sys.executable, "-m", "ctemplate", "plan", "-catalog", "/dev/null"]
    command += ["-template", f"{template}:{nginx.conf}:{nginx.reload_command}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert re.search(r'unknown directive "garbage" in .*nginx\.conf:\d+', result.stdout)
    assert "check: refused" in result.stdout


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_ci_examples_are_yaml_that_runs_the_cases(name):
    text = (Path(ROOT) / "examples/ci" / name).read_text()
    assert yaml.safe_load(text)
    assert "ctemplate test -template nginx.conf.j2:/etc/nginx/nginx.conf tests/nginx" in text


STOCK = """\
user www-data;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    include {folder}/sites/*;
}}
"""
MINE = """\
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    server {{ listen 127.0.0.1:18099; server_name mine.test; }}
}}
"""


@pytest.fixture
def stock(tmp_path):
    """An nginx configuration that somebody else wrote, with a site of its own, and the arguments to replace it."""
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/blog").write_text("server { listen 127.0.0.1:18098; server_name blog.test; }")
    (tmp_path / "nginx.conf").write_text(STOCK.format(folder=tmp_path))
    (tmp_path / "mine.j2").write_text(MINE.format(folder=tmp_path))
    (tmp_path / "c.yaml").write_text("services: {}\n")
    command = f"nginx -c {tmp_path}/nginx.conf -s reload"
    return ["-template", f"mine.j2:{tmp_path}/nginx.conf:{command}", "-catalog", "c.yaml", "-state-dir", "state"]


def run(folder, *words):
    return run_ctemplate(*words, cwd=folder, env=os.environ)


def test_a_plan_tells_what_vanishes_with_the_hosts_own_configuration(tmp_path, stock):
    shown = run(tmp_path, "plan", *stock).stdout
    meant = shown.partition("what it means:\n")[2].partition("check:")[0]
    assert [line.strip() for line in meant.splitlines()] == [
        "replaces a file that ctemplate did not write",
        "server mine.test added",
        "server blog.test removed",
        "listener 127.0.0.1:18099 (http) added",
        "listener 127.0.0.1:18098 (http) removed",
        f"include {tmp_path}/sites/* removed",
        "user www-data removed",
    ]


def test_the_first_replacement_warns_of_what_vanishes_and_later_ones_do_not(tmp_path, stock):
    vanish = (
        "replaces a file that ctemplate did not write; these vanish: server blog.test, "
        f"listener 127.0.0.1:18098 (http), include {tmp_path}/sites/*, user www-data"
    )
    assert f"WARNING {tmp_path}/nginx.conf: {vanish}\n" in run(tmp_path, "-once", *stock).stderr
    (tmp_path / "mine.j2").write_text(MINE.format(folder=tmp_path) + "# another\n")
    assert "vanish" not in run(tmp_path, "-once", *stock).stderr
    assert "did not write" not in run(tmp_path, "plan", *stock).stdout


def test_options_mean_the_same_before_the_verb_and_behind_it(tmp_path, stock):
    before, behind = run(tmp_path, *stock, "plan"), run(tmp_path, "plan", *stock)
    assert before.stdout.startswith("--- ")
    assert (before.returncode, before.stdout) == (behind.returncode, behind.stdout)


def test_a_plan_lists_what_the_catalog_lacks_for_its_address(tmp_path, stock):
    (tmp_path / "mine.j2").write_text("{% for i in service('web') %}# {{ i.address }}\n{% endfor %}events {}\n")
    (tmp_path / "c.yaml").write_text("services: {web: {instances: [{address: web1.internal}]}}\n")
    shown = run(tmp_path, "plan", *stock).stdout
    left_out = "service 'web' instance 'web-1': address: 'web1.internal' is not an IP address but a host name"
    assert f"left out:\n    {left_out}; data.allow_hostnames allows them\n" in shown


def test_a_backend_that_several_services_share_is_told_by_the_upstreams_name(tmp_path, stock):
    text = (
        "events {}\nhttp {\n{% for s in services() %}\nupstream {{ s.name }} {\n{% for i in service(s.name) %}\nserver "
    )
    text += "{{ i.address }}:{{ i.port }};\n{% else %}\nserver 127.0.0.1:1 down;\n{% endfor %}\n}\n{% endfor %}\n}\n"
    (tmp_path / "mine.j2").write_text(text)
    row = "{instances: [{address: 10.0.0.1, port: 80}]}"
    (tmp_path / "c.yaml").write_text(f"services: {{api: {row}, web: {row}, empty: {{}}}}\n")
    why = run(tmp_path, "plan", *stock).stdout.partition("why:\n")[2].partition("check:")[0]
    assert [line.strip() for line in why.splitlines()] == [
        "api 10.0.0.1:80: service api, instance api-1 on node-10.0.0.1: passing",
        "empty 127.0.0.1:1: the template's own line",
        "web 10.0.0.1:80: service web, instance web-1 on node-10.0.0.1: passing",
    ]
