"""`ctemplate doctor` against real Consul and real nginx: whole outputs, and the exit status."""

import asyncio
import json
import re
import subprocess

import pytest
from harness import free_port
from harness.users import as_nobody, open_to_all

from ctemplate.config.groups import GroupPlan
from ctemplate.config.schema import GroupSection
from ctemplate.doctor.host_probe import folder_facts, nginx_facts
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.recognition import recognise

TEMPLATE = """events {}
http {
{% for svc in services(tag="http") %}
{% set all = service(svc.name) %}
{% if all %}
    upstream {{ svc.name }} {
{% for i in all %}
        server {{ i.address }}:{{ i.port }};
{% endfor %}
    }
{% endif %}
{% endfor %}
}
"""
ROOT_TOKEN = "11111111-1111-1111-1111-111111111111"
ACL = {
    "primary_datacenter": "dc1",
    "acl": {
        "enabled": True,
        "default_policy": "deny",
        "tokens": {"master": ROOT_TOKEN, "agent": ROOT_TOKEN, "default": ROOT_TOKEN},
    },
}


@pytest.fixture
def site(nginx):
    """A folder with a template for an nginx that runs; its configuration is live."""
    (nginx.prefix.parent / "t.j2").write_text(TEMPLATE)
    nginx.conf.write_text(f"{nginx.main}http {{\n{nginx.http}server {{ listen 127.0.0.1:{free_port()}; }}\n}}\n")
    return nginx


def examined(ctemplate, nginx, *args, name="ctemplate", env=None):
    """Run the doctor on the site; return its exit status and its lines."""
    template = f"t.j2:{nginx.conf}:{nginx.reload_command}"
    process = ctemplate("doctor", "-template", template, *args, name=name, env=env)
    status = process.wait(60)
    assert process.log() == ""
    return status, process.stdout().splitlines()


def nginx_lines(nginx, *, master=None):
    stream = nginx.stream_module or "built in"
    running = f"ok    {nginx.program}: master: runs as process {nginx.process.pid}" if master is None else master
    return [
        running if line is None else line
        for line in (
            f"ok    {nginx.program}: version: {version(nginx)}",
            f"ok    {nginx.program}: stream module: {stream}",
            f"ok    {nginx.conf}: nginx accepts it",
            None,
        )
    ]


def version(nginx):
    said = subprocess.run([nginx.program, "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().partition("/")[2].split()[0]


def version_line(consul):
    agent = consul.api("GET", "/v1/agent/self", token=ROOT_TOKEN)
    found = agent["Config"]["Version"]
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < (1, 11) and agent["DebugConfig"]["ACLsEnabled"]:
        what = f"{found} does not report that it leaves out what a token may not read"
        return f"warn  Consul's version: {what}; check the token's policy yourself, or use 1.11 or newer"
    return f"ok    Consul's version: {found}"


def place_lines(nginx):
    state = nginx.prefix.parent / "state"
    return [
        f"ok    {nginx.conf}: can be replaced",
        f"ok    state folder {state}: does not exist yet and can be made",
    ]


def test_all_is_well(site, consul, ctemplate):
    site.start()
    consul.register("web", port=80, tags=["http"])
    status, lines = examined(ctemplate, site, "-consul-addr", consul.address)
    assert lines == [
        f"ok    Consul at {consul.address}: answers",
        f"ok    Consul's leader: {consul.api('GET', '/v1/status/leader')}",
        version_line(consul),
        "ok    clock against Consul's: less than 5s apart",
        "ok    rights without a token: all 2 queries of the templates were answered",
        "ok    connections to Consul: 2 planned, 64 at most, 200 allowed",
        *nginx_lines(site),
        *place_lines(site),
    ]
    assert status == 0
    assert not (site.prefix.parent / "state").exists()


def test_faults_are_told_with_what_to_do(site, ctemplate):
    address = f"127.0.0.1:{free_port()}"
    site.conf.write_text("http { bogus; }\n")
    status, lines = examined(ctemplate, site, "-consul-addr", address)
    assert lines[0] == (
        f"error Consul at {address}: connection refused; start it, or correct consul.address or CONSUL_HTTP_ADDR"
    )
    assert lines[3] == (
        f'error {site.conf}: nginx -t: exit status 1: nginx: [emerg] unknown directive "bogus" in {site.conf}:1; '
        "correct it; every candidate is judged together with it"
    )
    assert status == 1


def test_nothing_is_written_yet(site, consul, ctemplate):
    site.conf.unlink()
    status, lines = examined(ctemplate, site, "-consul-addr", consul.address)
    assert lines[-3:] == [
        f"ok    {site.conf}: not written yet",
        f"ok    {site.conf}: can be written",
        place_lines(site)[1],
    ]
    assert status == 0


def test_a_master_that_does_not_run_is_a_warning(site, consul, ctemplate):
    status, lines = examined(ctemplate, site, "-consul-addr", consul.address)
    (told,) = [line for line in lines if line.startswith(f"warn  {site.program}: master: ")]
    assert f"{site.pid_file} does not exist" in told  # other nginxes of this host may be named behind it
    assert status == 0


def test_websockets_and_long_hashes_are_warned_of(site, consul, ctemplate):
    """nginx hashes names only where several servers share a port."""
    port = free_port()
    names = [f"a-rather-long-name-{number}.example.com" for number in range(400)]
    servers = [
        f"server {{ listen 127.0.0.1:{port}; server_name {' '.join(part)}; }}" for part in (names[:9], names[9:])
    ]
    http = "\n".join(["proxy_set_header Upgrade $http_upgrade;", "server_names_hash_max_size 32;", *servers])
    site.conf.write_text(f"{site.main}http {{\n{site.http}{http}\n}}\n")
    _, lines = examined(ctemplate, site, "-consul-addr", consul.address)
    shutdown, hashes = (line for line in lines if "worker_shutdown_timeout" in line or "hash_max_size" in line)
    found = "not set, and there are websockets: old workers stay as long as their connections"
    fix = "set it at the top of the configuration, such as worker_shutdown_timeout 5m;"
    assert shutdown == f"warn  worker_shutdown_timeout: {found}; {fix}"
    assert hashes.startswith("warn  server_names_hash_max_size: 32 for 400 names: ")
    assert "could not build optimal server_names_hash" in hashes


def test_an_include_that_would_catch_a_candidate_is_a_fault(site, consul, ctemplate):
    folder = site.prefix / "sites"
    folder.mkdir()
    (folder / "a").write_text("")
    text = f"{site.main}http {{\n{site.http}include {folder}/.a*;\n}}\n"
    site.conf.write_text(text)
    line = 1 + text.splitlines().index(f"include {folder}/.a*;")
    template = f"t.j2:{folder}/a:{site.reload_command}"
    process = ctemplate("doctor", "-template", template, "-consul-addr", consul.address)
    assert process.wait(60) == 1
    found = f"its candidate would be included by {site.conf}:{line}: {folder}/.a*"
    faults = [line for line in process.stdout().splitlines() if line.startswith("error")]
    assert faults == [f"error {folder}/a: {found}; narrow the pattern, such as to *.conf"]


def test_a_token_without_rights_is_told_which_it_needs(site, start_consul, ctemplate):
    consul = start_consul(config=ACL)
    policy = {"Name": "nodes", "Rules": 'node_prefix "" { policy = "read" }'}
    consul.api("PUT", "/v1/acl/policy", policy, token=ROOT_TOKEN)
    made = consul.api("PUT", "/v1/acl/token", {"Policies": [{"Name": "nodes"}]}, token=ROOT_TOKEN)
    site.start()
    (site.prefix.parent / "token").write_text(made["SecretID"])
    options = ("-consul-addr", consul.address, "-consul-token-file", "token")
    status, lines = examined(ctemplate, site, *options)
    version, rights = (line for line in lines if not line.startswith("ok"))
    assert version.startswith("warn  Consul's version: unknown, status 403: Permission denied")
    assert version.endswith('; agent_prefix "" { policy = "read" } lets the token read it')
    assert rights.startswith("error rights of the token: ")
    assert rights.endswith(
        '; its policy needs service_prefix "" { policy = "read" } and node_prefix "" { policy = "read" }'
    )
    assert (status, made["SecretID"] in "".join(lines)) == (1, False)
    (site.prefix.parent / "token").write_text(ROOT_TOKEN)
    status, lines = examined(ctemplate, site, *options, name="again")
    assert [line for line in lines if not line.startswith("ok") and "version" not in line] == []
    assert status == 0


def test_a_wrong_token_is_refused(site, start_consul, ctemplate):
    consul = start_consul(config=ACL)
    wrong = {"CONSUL_HTTP_TOKEN": "22222222-2222-2222-2222-222222222222"}
    status, lines = examined(ctemplate, site, "-consul-addr", consul.address, env=wrong)
    (told,) = [line for line in lines if line.startswith("error")]
    assert told.startswith("error rights of the token: services(): status 403: ")
    assert (status, "2222" in "".join(lines)) == (1, False)


def test_an_agent_with_a_low_limit_is_told(site, start_consul, ctemplate):
    consul = start_consul(config={"limits": {"http_max_conns_per_client": 40}})
    _, lines = examined(ctemplate, site, "-consul-addr", consul.address)
    assert (
        "warn  connections to Consul: 1 planned, 64 at most, 40 allowed; lower -max-connections below 40, "
        "or raise limits.http_max_conns_per_client of the agent"
    ) in lines


def test_a_destination_held_by_another_ctemplate_is_told_and_one_of_the_running_one_is_well(site, consul, ctemplate):
    site.start()
    (site.prefix.parent / "t.j2").write_text(site.conf.read_text())
    template = f"t.j2:{site.conf}:{site.reload_command}"
    daemon = ctemplate("-template", template, "-consul-addr", consul.address, name="daemon")
    daemon.wait_for_log("started", 20)
    _, lines = examined(ctemplate, site, "-consul-addr", consul.address)
    assert f"ok    {site.conf}: is written by the running ctemplate, process {daemon.pid}" in lines
    elsewhere = ("-state-dir", site.prefix.parent / "elsewhere")
    _, lines = examined(ctemplate, site, "-consul-addr", consul.address, *elsewhere, name="elsewhere")
    assert (
        f"warn  {site.conf}: is held by another ctemplate, process {daemon.pid}; a second one on it would not start"
    ) in lines


@pytest.mark.needs_root
def test_a_folder_without_rights_is_told(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    open_to_all(tmp_path)
    assert as_nobody(lambda: (folder_facts(closed / "new").is_writable, folder_facts(closed).existing)) == str(
        (False, closed)
    )


def test_json_says_the_same(tmp_path, ctemplate):
    (tmp_path / "t.j2").write_text("x")
    (tmp_path / "c.json").write_text('{"services": {}}')
    args = ("doctor", "-catalog", "c.json", "-template", f"t.j2:{tmp_path}/out")
    text, machine = ctemplate(*args), ctemplate(*args, "-format", "json", name="json")
    assert (text.wait(), machine.wait()) == (0, 0)
    found = json.loads(machine.stdout())["findings"]
    assert [f"{line['mark']:<5} {line['what']}: {line['found']}" for line in found] == text.stdout().splitlines()


def test_what_a_catalog_file_has_and_may_not_be_used_is_named(tmp_path, ctemplate):
    (tmp_path / "t.j2").write_text('{% for s in services(tag="http") %}{{ service(s.name) | length }}{% endfor %}')
    (tmp_path / "c.yaml").write_text(
        "services:\n  web:\n    tags: [http]\n    instances: [{address: web1.internal, port: 80}]\n"
        "  aside:\n    instances: [{address: aside.internal, port: 80}]\n"
    )
    process = ctemplate("doctor", "-catalog", "c.yaml", "-template", f"t.j2:{tmp_path}/out")
    assert process.wait() == 0
    reason = "'web1.internal' is not an IP address but a host name; data.allow_hostnames allows them"
    assert process.stdout().splitlines()[:2] == [
        "ok    c.yaml: is used instead of Consul",
        f"warn  left out: service 'web' instance 'web-1': address: {reason}; correct the registration, or [data]",
    ]
    assert "aside" not in process.stdout()


CATALOG = """
services:
  web: {tags: [http], instances: [{address: 10.0.0.1, port: 80}, {address: 10.0.0.2, port: 80, meta: {zone: a}}]}
  api: {tags: [http], instances: [{address: 10.0.0.3, port: 80, meta: {zone: a}}]}
"""
LOOP = "{% for s in services() %}{% for i in service(s.name) %}EACH{% endfor %}{% endfor %}"
TYPO = '{{ services() | length }}{{ service("wbe") | length }}'
NAMED_BY_ALL = [
    (TYPO, 'service("wbe"): no such service is known; did you mean "web"?'),
    ('{{ services(tag="HTTP") | length }}', 'no service has the tag "HTTP"; did you mean "http"?'),
    (LOOP.replace("EACH", "{{ i.adress }}"), "instance has no field 'adress'; did you mean 'address'?"),
    (LOOP.replace("EACH", "{{ i.meta.zone }}"), "no key 'zone' here; give a default: | default(\"…\")"),
    ('{{ key("a/b") }}', "key(a/b)"),
]


@pytest.mark.parametrize(("text", "said"), NAMED_BY_ALL)
def test_once_plan_and_doctor_report_the_same(tmp_path, ctemplate, text, said):
    (tmp_path / "t.j2").write_text(text)
    (tmp_path / "c.yaml").write_text(CATALOG)
    given = ("-catalog", "c.yaml", "-template", f"t.j2:{tmp_path}/out", "-state-dir", "state", "-timeout", "1s")
    runs = [ctemplate(*verb, *given, name=str(verb)) for verb in (("plan",), ("doctor",), ("-once",))]
    for run in runs:
        run.wait(60)
    assert [said in run.log() + run.stdout() for run in runs] == [True, True, True]


@pytest.mark.needs_root
def test_a_user_who_cannot_write_the_pid_file_judges_the_configuration_as_the_daemon_does(site):
    site.start()
    open_to_all(site.prefix)
    site.conf.chmod(0o644)
    command = recognise(site.reload_command)
    plan = GroupPlan(settings=GroupSection(name="nginx", reload=site.reload_command), templates=())

    def seen():
        facts = asyncio.run(nginx_facts(Lookup(command=command), plan))
        return facts.refusal, facts.may_signal

    assert as_nobody(seen) == "(None, False)"


def test_files_without_a_check_are_reported_in_one_line(site, ctemplate):
    template = f"t.j2:{site.conf}:docker kill -s HUP web"
    process = ctemplate("doctor", "-template", template, "-consul-addr", "127.0.0.1:1")
    process.wait(60)
    said = "looks like nginx's, but its reload command is not known to be nginx's: neither checked nor proven"
    assert f"warn  {site.conf}: {said}" in process.stdout()


@pytest.mark.parametrize(("command", "count"), [("ngnix -s reload", 1), ("true", 0), ("cd / && ngnix", 0)])
def test_a_reload_command_without_its_program_is_an_error(tmp_path, ctemplate, command, count):
    (tmp_path / "t.j2").write_text("x")
    (tmp_path / "c.json").write_text('{"services": {}}')
    process = ctemplate("doctor", "-catalog", "c.json", "-template", f"t.j2:{tmp_path}/out:{command}")
    assert process.wait(60) == count
    line = f"error {command}: no such program; install it, or write its full path"
    assert process.stdout().splitlines().count(line) == count


def test_instances_that_are_left_out_are_named_with_the_setting(site, consul, ctemplate):
    site.start()
    consul.register("web", service_id="w1", address="app1.internal", port=80, tags=["http"])
    _, lines = examined(ctemplate, site, "-consul-addr", consul.address)
    allowed = "'app1.internal' is not an IP address but a host name; data.allow_hostnames allows them"
    fix = "correct the registration, or [data]"
    assert f"warn  left out: service 'web' instance 'w1': address: {allowed}; {fix}" in lines
