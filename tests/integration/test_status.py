"""Status and metrics of a running ctemplate, on real Consul and nginx."""

import json
import re
import signal
import socket
import urllib.error
import urllib.request

import pytest
from harness import free_port, wait_for
from harness.waiting import PATIENCE
from prometheus_client.parser import text_string_to_metric_families

LIMIT = 60.0
TEMPLATE = """\
http {{
{http}
    {{% for svc in services() if svc.name != "consul" %}}
    upstream {{{{ svc.name | identifier }}}} {{
        {{% for i in service(svc.name) %}}
        server {{{{ i.address }}}}:{{{{ i.port }}}};
        {{% else %}}
        server 127.0.0.1:9;
        {{% endfor %}}
    }}
    {{% endfor %}}
}}
"""


class Asked:
    """The four paths of one address."""

    def __init__(self, port):
        self.port = port

    def get(self, path):
        """Return status code and text; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()
        except OSError:
            return 0, ""

    def report(self):
        return json.loads(self.get("/status")[1])

    def metric(self, name, **labels):
        """Return a sample's value, None where there is none."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        found = (sample for family in families for sample in family.samples)
        return next((each.value for each in found if (each.name, each.labels) == (f"ctemplate_{name}", labels)), None)


@pytest.fixture
def running(tmp_path, nginx, consul, ctemplate):
    """Start nginx and a ctemplate with a status address beside a Consul: `running()` returns both."""
    nginx.conf.write_text(f"{nginx.main}http {{ {nginx.http} }}")
    nginx.start()
    source = tmp_path / "nginx.conf.j2"
    source.write_text(nginx.main + TEMPLATE.format(http=nginx.http))
    config = tmp_path / "c.toml"

    def start(more=""):
        port = free_port()
        config.write_text(
            f'{more}\n[consul]\naddress = "{consul.address}"\n'
            'retry = { backoff = "100ms", max_backoff = "1s" }\n'
            f'[status]\naddress = "127.0.0.1:{port}"\nmax_age = "1s"\n'
            f'[[group]]\nname = "edge"\nreload = {json.dumps(nginx.reload_command)}\n'
            f'[[template]]\nsource = "nginx.conf.j2"\ndestination = "{nginx.conf}"\ngroup = "edge"\n'
        )
        daemon = ctemplate("-config", config)
        asked = Asked(port)
        daemon.wait_for(lambda: asked.get("/readyz")[0] == 200, LIMIT, "ready")
        return daemon, asked

    return start


def test_a_change_is_counted_and_reported(running, nginx, consul):
    daemon, asked = running()
    assert asked.get("/healthz") == (200, "ok\n")
    assert asked.metric("change_to_live_seconds_count", group="edge") == 0
    before = asked.metric("reloads_total", group="edge", result="applied")
    consul.catalog("web", "a", 8001)
    daemon.wait_for(lambda: asked.metric("change_to_live_seconds_count", group="edge"), LIMIT, "a change live")
    assert ":8001" in nginx.conf.read_text()
    assert asked.metric("reloads_total", group="edge", result="applied") > before
    assert asked.metric("consul_requests_total", result="ok") > 0
    assert asked.metric("consul_connections") > 0
    daemon.wait_for(lambda: asked.metric("ready") == 1, LIMIT, "ready")
    (group,) = wait_for(
        lambda: (found := asked.report()["groups"])[0]["last_change"] and found, LIMIT, "the last change"
    )
    assert (group["name"], group["state"], group["owes_reload"]) == ("edge", "applied", False)
    assert "web" in " ".join(group["last_change"])
    assert ":8001" in " ".join(group["last_change"])


def test_an_outage_of_consul_makes_it_unready_and_is_over(running, consul):
    daemon, asked = running()
    consul.kill()
    daemon.wait_for(lambda: asked.get("/readyz")[0] == 503 and " old" in asked.get("/readyz")[1], LIMIT, "not ready")
    assert asked.get("/healthz")[0] == 200
    daemon.wait_for(lambda: asked.metric("consul_outages_ongoing", cause="unreachable") == 1, LIMIT, "the outage")
    assert asked.metric("data_age_seconds") > 0
    consul.start()
    daemon.wait_for(lambda: not asked.report()["source"]["outages"], LIMIT, "the end of the outage")
    gone = LIMIT, "the end of the outage among the metrics"
    daemon.wait_for(lambda: asked.metric("consul_outages_ongoing", cause="unreachable") is None, *gone)


def test_a_broken_edit_is_reported_and_counted(running, tmp_path, nginx):
    daemon, asked = running()
    source = tmp_path / "nginx.conf.j2"
    text = source.read_text()
    source.write_text(text + "{{ nope }}")
    daemon.wait_for(lambda: "'nope' is undefined" in refused(asked), LIMIT, "the refusal of the renderer")
    source.write_text(text + "garbage;")
    daemon.wait_for(lambda: "garbage" in refused(asked), LIMIT, "the refusal of nginx")
    said, below = refused(asked).split("\n", 1)
    assert said.endswith("the live file is untouched")
    assert below.startswith("    nginx: [emerg] ")
    daemon.wait_for(lambda: asked.metric("edit_refused", group="edge") == 1, LIMIT, "the refusal among the metrics")
    assert asked.metric("checks_total", group="edge", result="refused") == 1
    daemon.wait_for(lambda: asked.get("/readyz") == (200, "ok\n"), LIMIT, "ready: the templates before the edit go on")
    source.write_text(text)
    daemon.wait_for(lambda: not refused(asked), LIMIT, "the end of the refusal")
    assert nginx.conf.read_text().count("garbage") == 0


def refused(asked):
    (group,) = asked.report()["groups"]
    return group["refused_edit"]


def test_a_reload_is_owed_while_nginx_does_not_run(running, nginx, consul):
    daemon, asked = running()
    assert asked.metric("program_running", group="edge") == 1
    nginx.stop()
    daemon.wait_for(lambda: asked.get("/readyz")[0] == 503, LIMIT, "that before any change")
    # Other nginxes may run on the machine: it "is not found", and many of them make a reason that is cut
    why = rf"nginx (does not run|is not found): {nginx.pid_file} does not exist.*(; start nginx|…)\n"
    assert re.fullmatch(f"group edge: {why}", asked.get("/readyz")[1])
    assert asked.metric("program_running", group="edge") == 0
    consul.catalog("web", "a", 8001)
    daemon.wait_for(lambda: asked.metric("reload_owed", group="edge") == 1, LIMIT, "the reload owed")
    owed = re.compile(f"group edge: the reload is pending: {why}")
    daemon.wait_for(lambda: owed.fullmatch(asked.get("/readyz")[1]), LIMIT, "that alone among the reasons")
    nginx.start()
    daemon.wait_for(lambda: asked.get("/readyz")[0] == 200, LIMIT, "ready again")
    daemon.wait_for(lambda: asked.metric("reload_owed", group="edge") == 0, LIMIT, "no reload owed")
    what = ["upstream web added: +127.0.0.1:8001"]
    daemon.wait_for(lambda: said(asked) == what, LIMIT, "what nginx loaded at its start")


def test_changes_that_are_loaded_together_are_the_last_change(running, nginx, consul):
    daemon, asked = running()
    nginx.stop()
    consul.catalog("web", "a", 8001)
    daemon.wait_for(lambda: asked.metric("reload_owed", group="edge") == 1, LIMIT, "the reload owed")
    consul.catalog("web", "b", 8002)
    daemon.wait_for(lambda: "8002" in nginx.conf.read_text(), LIMIT, "the second change")
    nginx.start()
    what = ["upstream web added: +127.0.0.1:8001, +127.0.0.1:8002"]
    daemon.wait_for(lambda: said(asked) == what, LIMIT, "both as one")


def said(asked):
    (group,) = asked.report()["groups"]
    return group["last_change"]


def test_the_address_can_be_changed_while_running(running, tmp_path):
    daemon, asked = running()
    other = Asked(free_port())
    config = tmp_path / "c.toml"
    config.write_text(config.read_text().replace(str(asked.port), str(other.port)))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for(lambda: other.get("/healthz")[0] == 200, LIMIT, "the new address")
    assert asked.get("/healthz") == (0, "")


def test_hostile_clients_disturb_nothing(running, consul):
    daemon, asked = running()
    lines = []
    for number in range(100):
        line = socket.socket()
        line.settimeout(PATIENCE)
        line.connect(("127.0.0.1", asked.port))
        line.sendall(
            [b"", b"GET /status HT", b"\x00" * 100, b"GET /status HTTP/1.1\r\n" + b"A: b\r\n" * 10][number % 4]
        )
        lines.append(line)
    consul.catalog("web", "a", 8001)
    daemon.wait_for(lambda: asked.metric("change_to_live_seconds_count", group="edge"), LIMIT, "a change live")
    for line in lines:
        line.close()
    assert asked.metric("internal_errors_total") == 0


@pytest.mark.parametrize("has_address", [True, False], ids=["address", "control socket"])
def test_the_verb_shows_the_same(scene, consul, has_address):
    consul.catalog("web", "a", 8001)
    more = f"[status]\naddress = '127.0.0.1:{free_port()}'\n" if has_address else ""
    it = scene(consul).start(more)
    it.wait({"web": ["127.0.0.1:8001"]})
    shown = it.process.wait_for(lambda: (run := it.run("status")).returncode == 0 and run, LIMIT, "ready")
    assert "ready: every group is live and current\n" in shown.stdout
    assert f"group {it.folder}" in shown.stdout or "group out" in shown.stdout
    given = json.loads(it.run("status", "-format", "json").stdout)
    assert (given["is_ready"], given["pid"], given["internal_errors"]) == (True, it.process.pid, 0)


def test_the_verb_says_that_no_ctemplate_runs(scene, consul):
    it = scene(consul).start()
    it.wait({})
    it.process.stop()
    shown = it.run("status")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "no running ctemplate" in shown.stderr


def test_a_hold_is_shown_with_its_cause(running, consul):
    consul.catalog("web", "a", 8001)
    daemon, asked = running()
    consul.restart(keep_data=False)
    daemon.wait_for(lambda: asked.report()["holds"], LIMIT, "a hold")

    def is_counted():
        causes = {hold["cause"] for hold in asked.report()["holds"]}
        return any(asked.metric("held_queries", cause=cause) for cause in causes)

    daemon.wait_for(is_counted, LIMIT, "the hold among the metrics")
    assert "held: " in asked.get("/readyz")[1]
    daemon.wait_for(lambda: asked.metric("events_total", event="hold_began"), LIMIT, "its report")
