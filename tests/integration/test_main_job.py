"""The whole job on real programs: Consul's services and their health determine nginx's traffic."""

import pytest
from harness import ROOT, free_port, http_get, tcp_read, wait_for
from harness.shipped import shipped_variables

pytestmark = pytest.mark.by_exec

LIMIT = 15
INTERVAL = "200ms"  # of the backends' checks


@pytest.fixture
def balancer(nginx, ctemplate):
    """Start ctemplate with the shipped template, then nginx once there is a configuration."""

    def start(consul, *args):
        found = Balancer(nginx, free_port())
        template = f"{ROOT / 'templates/nginx.conf.j2'}:{nginx.conf}:{nginx.reload_command}"
        settings = shipped_variables(
            nginx, domain="test", http_port=found.port, worker_processes=2, error_log_level="notice"
        )
        found.process = ctemplate("-consul-addr", consul.address, "-template", template, *settings, *args)
        wait_for(nginx.conf.exists, LIMIT, "first nginx.conf", log=found.process.log)
        nginx.start()
        return found

    return start


class Balancer:
    """ctemplate and its nginx, seen by their clients."""

    def __init__(self, nginx, port):
        self.nginx = nginx
        self.port = port
        self.process = None

    def get(self, service):
        """Return status and text of a request to the service."""
        return http_get(self.port, host=f"{service}.test")

    def answering(self, service, count=12):
        """Return the names of the backends that answer so many requests, or the statuses instead."""
        answers = [self.get(service) for _ in range(count)]
        return {text.split()[0] if status == 200 else status for status, text in answers}

    def wait_answering(self, service, expected):
        self.wait(lambda: self.answering(service) == set(expected), f"{service} answered by {expected}")

    def wait_streaming(self, port, expected):
        self.wait(lambda: streaming(port) == set(expected), f"port {port} answered by {expected}")

    def wait(self, condition, what):
        return wait_for(condition, LIMIT, what, log=lambda: self.process.log() + self.nginx.error_log())


def streaming(port, count=12):
    """Return the names of the backends that answer so many connections; nothing when they are refused."""
    try:
        return {tcp_read(port).split()[0] for _ in range(count)}
    except (ConnectionRefusedError, IndexError):
        return set()


def http_check(backend):
    return {"HTTP": backend.health_url, "Interval": INTERVAL, "Timeout": "1s"}


def tcp_check(backend):
    return {"TCP": f"{backend.address}:{backend.port}", "Interval": INTERVAL, "Timeout": "1s"}


TTL = {"TTL": "1h", "Status": "passing"}


def register(consul, name, backend, tag, *checks):
    return consul.register(name, service_id=backend.name, port=backend.port, tags=[tag], checks=checks)


def test_traffic_reaches_every_instance_whatever_its_check(consul, balancer, http_backend, tcp_backend):
    by_http, by_tcp, by_ttl, unchecked = (http_backend(name) for name in ("by-http", "by-tcp", "by-ttl", "unchecked"))
    register(consul, "web", by_http, "http", http_check(by_http))
    register(consul, "web", by_tcp, "http", tcp_check(by_tcp))
    register(consul, "web", by_ttl, "http", TTL)
    register(consul, "web", unchecked, "http")
    raw, ticking = tcp_backend("raw"), tcp_backend("ticking")
    stream_port = free_port()
    register(consul, f"raw-{stream_port}", raw, "tcp", tcp_check(raw))
    register(consul, f"raw-{stream_port}", ticking, "tcp", TTL)
    balance = balancer(consul)
    balance.wait_answering("web", ["by-http", "by-tcp", "by-ttl", "unchecked"])
    balance.wait_streaming(stream_port, ["raw", "ticking"])
    assert balance.get("nobody") == (404, "no such host")


def test_killed_backends_leave_and_come_back(consul, balancer, http_backend, tcp_backend):
    stays, goes = http_backend("stays"), http_backend("goes")
    raw_stays, raw_goes = tcp_backend("raw-stays"), tcp_backend("raw-goes")
    stream_port = free_port()
    for backend in (stays, goes):
        register(consul, "web", backend, "http", http_check(backend))
    for backend in (raw_stays, raw_goes):
        register(consul, f"raw-{stream_port}", backend, "tcp", tcp_check(backend))
    balance = balancer(consul)
    balance.wait_answering("web", ["stays", "goes"])
    balance.wait_streaming(stream_port, ["raw-stays", "raw-goes"])
    goes.stop()
    raw_goes.stop()
    gone = (f":{goes.port} ", f":{raw_goes.port} ")
    balance.wait(lambda: not any(part in balance.nginx.conf.read_text() for part in gone), "conf without the dead")
    assert (balance.answering("web"), streaming(stream_port)) == ({"stays"}, {"raw-stays"})
    goes.start()
    raw_goes.start()
    balance.wait_answering("web", ["stays", "goes"])
    balance.wait_streaming(stream_port, ["raw-stays", "raw-goes"])


def test_failing_ttl_check_and_maintenance_take_instances_out(consul, balancer, http_backend):
    for name in ("a", "b", "c"):
        register(consul, "web", http_backend(name), "http", TTL)
    balance = balancer(consul)
    balance.wait_answering("web", ["a", "b", "c"])
    consul.set_check("service:a", "critical")
    balance.wait_answering("web", ["b", "c"])
    consul.maintenance("b", on=True)
    balance.wait_answering("web", ["c"])
    consul.maintenance("b", on=False)
    consul.set_check("service:a", "warning")
    balance.wait_answering("web", ["a", "b", "c"])


def test_last_instance_leaves_no_empty_upstream_and_comes_back(consul, balancer, http_backend, tcp_backend):
    web, raw, stream_port = http_backend("web1"), tcp_backend("raw1"), free_port()
    register(consul, "web", web, "http", TTL)
    register(consul, f"raw-{stream_port}", raw, "tcp", TTL)
    balance = balancer(consul)
    balance.wait_answering("web", ["web1"])
    balance.wait_streaming(stream_port, ["raw1"])
    consul.set_check("service:web1", "critical")
    consul.set_check("service:raw1", "critical")
    balance.wait_answering("web", [503])
    balance.wait_streaming(stream_port, [])
    consul.deregister("web1")
    consul.deregister("raw1")
    balance.wait_answering("web", [404])
    assert "    upstream " not in balance.nginx.conf.read_text()
    assert balance.nginx.check().returncode == 0
    assert balance.nginx.process.is_running
    register(consul, "web", web, "http", TTL)
    register(consul, f"raw-{stream_port}", raw, "tcp", TTL)
    balance.wait_answering("web", ["web1"])
    balance.wait_streaming(stream_port, ["raw1"])


def test_burst_of_registrations_costs_few_reloads(consul, balancer, http_backend):
    backend = http_backend("all")
    balance = balancer(consul)
    before = balance.nginx.reloads()
    balance.process.pause()
    for number in range(20):
        consul.register(f"web{number}", port=backend.port, tags=["http"])
    balance.process.resume()
    for number in range(20):
        balance.wait(lambda name=f"web{number}": balance.get(name)[0] == 200, f"web{number}")
    assert 1 <= balance.nginx.reloads() - before <= 4


def test_restarted_consul_is_followed_again(start_consul, balancer, http_backend):
    consul = start_consul(persistent=True)
    register(consul, "web", http_backend("before"), "http")
    balance = balancer(consul)
    balance.wait_answering("web", ["before"])
    conf = balance.nginx.conf.read_text()
    consul.stop()
    balance.process.wait_for_log("WARNING http://")
    assert (balance.nginx.conf.read_text(), balance.answering("web")) == (conf, {"before"})
    consul.start()
    register(consul, "web", http_backend("after"), "http")
    balance.wait_answering("web", ["before", "after"])


def test_consul_may_start_after_ctemplate(tmp_path, start_consul, ctemplate):
    port = free_port()
    (tmp_path / "t.j2").write_text("{% for s in services() %}{{ s.name }}\n{% endfor %}")
    process = ctemplate("-consul-addr", f"127.0.0.1:{port}", "-template", "t.j2:out")
    process.wait_for_log(f"WARNING http://127.0.0.1:{port}: connection refused")
    assert not (tmp_path / "out").exists()
    start_consul(http_port=port)
    wait_for((tmp_path / "out").exists, LIMIT, "output", log=process.log)
    assert (tmp_path / "out").read_text() == "consul\n"


def test_refused_configuration_stays_away_and_a_mended_one_comes(tmp_path, nginx, ctemplate):
    port = free_port()
    (tmp_path / "catalog.yaml").write_text("services: {}")
    good = f"{nginx.main}\nhttp {{\n{nginx.http}\nserver {{ listen 127.0.0.1:{port}; return 200 WORD; }}\n}}\n"
    template = tmp_path / "t.j2"
    template.write_text(good.replace("WORD", "first"))
    process = ctemplate("-catalog", "catalog.yaml", "-template", f"t.j2:{nginx.conf}:{nginx.reload_command}")
    wait_for(nginx.conf.exists, LIMIT, "first nginx.conf", log=process.log)
    nginx.start()
    process.wait_for_log(f"INFO {nginx.conf}: applied")  # the reload that was owed to an nginx that did not run yet
    before = (identities(nginx.conf), nginx.conf.read_text(), nginx.workers())
    template.write_text("{# a comment, which takes\ntwo lines #}\n" + good.replace("WORD", "second; garbage"))
    process.wait_for_log('unknown directive "garbage"')
    line = good[: good.index("WORD")].count("\n") + 1
    told = next(text for text in process.log().splitlines() if "garbage" in text)
    said = f'    nginx: [emerg] unknown directive "garbage" in {nginx.conf}:{line} (t.j2:{line + 2})'
    assert told == f"{said}; the templates from before the edit stay in use"
    assert (identities(nginx.conf), nginx.conf.read_text(), nginx.workers()) == before
    template.write_text(good.replace("WORD", "third"))
    wait_for(lambda: http_get(port)[1] == "third", LIMIT, "the mended configuration", log=process.log)


# bursts


@pytest.fixture
def counted(tmp_path, consul, ctemplate):
    """Two templates with one command, which adds a line to `runs`, and the function that counts the lines."""
    (tmp_path / "one.j2").write_text("{% for i in service('web') %}{{ i.id }}\n{% endfor %}")
    (tmp_path / "two.j2").write_text("{{ service('web') | length }}")
    runs = tmp_path / "runs"

    def start(*args):
        command = f"echo run >> {runs}"
        templates = [part for name in ("one", "two") for part in ("-template", f"{name}.j2:{name}:{command}")]
        process = ctemplate("-consul-addr", consul.address, *templates, *args)
        wait_for(lambda: count() == 1, LIMIT, "first run of the command", log=process.log)
        return process

    def count():
        return runs.read_text().count("\n") if runs.exists() else 0

    return start, count


def test_one_command_of_two_templates_runs_once_per_burst(tmp_path, consul, counted):
    start, count = counted
    process = start("-wait", "2s:20s")
    process.pause()  # so all of them fall into one window, however long this takes
    for number in range(5):
        consul.register("web", service_id=f"web{number}")
    process.resume()
    wait_for(lambda: (tmp_path / "two").read_text() == "5", LIMIT, "five instances", log=process.log)
    wait_for(lambda: count() == 2, LIMIT, "second run of the command", log=process.log)
    consul.register("web", service_id="last")
    wait_for(lambda: (tmp_path / "two").read_text() == "6", LIMIT, "six instances", log=process.log)
    wait_for(lambda: count() == 3, LIMIT, "third run of the command", log=process.log)


def test_change_that_reverts_within_the_window_does_nothing(tmp_path, consul, counted):
    start, count = counted
    (tmp_path / "end.j2").write_text("{{ service('end') | length }}")
    process = start("-wait", "2s:20s", "-template", "end.j2:end")
    end = tmp_path / "end"
    wait_for(lambda: end.exists() and end.read_text() == "0", LIMIT, "all files", log=process.log)
    before = identities(tmp_path / "one", tmp_path / "two")
    process.pause()  # so all of this falls into one window, however long it takes
    consul.register("web")
    consul.deregister("web")
    consul.register("end")
    process.resume()
    wait_for(lambda: end.read_text() == "1", LIMIT, "the end of the window", log=process.log)
    assert (identities(tmp_path / "one", tmp_path / "two"), count()) == (before, 1)
    consul.register("web")
    wait_for(lambda: (tmp_path / "two").read_text() == "1", LIMIT, "the change that stays", log=process.log)
    wait_for(lambda: count() > 1, LIMIT, "the next command", log=process.log)
    assert (process.stop(), count()) == (0, 2)


def identities(*paths):
    return [(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]
