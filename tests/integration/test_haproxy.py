"""The HAProxy example: the same transaction with a real HAProxy, whose reload its master's socket proves."""

import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from harness import ROOT, Process, free_port, http_get, program, tcp_read, wait_for
from harness.waiting import PATIENCE

LIMIT = 60
EXAMPLE = ROOT / "examples/haproxy"


@pytest.fixture
def site(tmp_path, consul, ctemplate, programs):
    """The example beside a Consul, with its paths inside the test's folder and free ports."""
    return Site(tmp_path, consul, ctemplate, programs)


class Site:
    def __init__(self, folder, consul, ctemplate, programs):
        short = Path(tempfile.mkdtemp(prefix="h"))  # HAProxy takes 97 bytes at most as the path of a socket
        programs.callback(shutil.rmtree, short)
        self.etc, self.live, self.master = folder / "etc", folder / "haproxy.cfg", short / "master.sock"
        shutil.copytree(EXAMPLE, self.etc)
        config = self.etc / "ctemplate.toml"
        text = config.read_text().replace("/etc/haproxy/haproxy.cfg", str(self.live))
        text = text.replace("/run/haproxy-master.sock", str(self.master))
        text = text.replace("/etc/ctemplate-haproxy/", f"{self.etc}/").replace(
            '"haproxy -c', f'"{program("haproxy")} -c'
        )
        self.port = free_port()
        places = f'[vars]\nlisten = "127.0.0.1"\nhttp_port = {self.port}\n[wait]\nmin = "50ms"\nmax = "200ms"\n'
        config.write_text(text + places)
        self.start_ctemplate = lambda: ctemplate("-config", config, "-consul-addr", consul.address)
        self.haproxy = Process("haproxy", [program("haproxy"), "-W", "-S", self.master, "-f", self.live], folder)
        programs.callback(self.haproxy.stop)

    def start(self):
        daemon = self.start_ctemplate()
        daemon.wait_for_log(": applied")
        self.haproxy.start()
        wait_for(self.answer, LIMIT, "an answer", log=self.haproxy.output)
        return daemon

    def reload(self):
        command = [sys.executable, EXAMPLE / "reload_haproxy.py", self.master, self.live]
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)

    def answer(self):
        try:
            status, text = http_get(self.port, host="web.example.com")
        except OSError:
            return ""
        return text if status == 200 else ""


def test_changes_reach_haproxy_and_its_reload_is_proven(site, consul, http_backend, tcp_backend):
    one, two, queue = http_backend("one"), http_backend("two"), tcp_backend("queue")
    consul.register("web", service_id="one", port=one.port, tags=["http"])
    listens = free_port()
    consul.register(f"queue-{listens}", port=queue.port, tags=["tcp"])
    daemon = site.start()
    assert site.answer() == f"one {one.port}"
    assert tcp_read(listens) == f"queue {queue.port}"
    assert http_get(site.port, host="other.example.com")[0] == 404
    consul.register("web", service_id="two", port=two.port, tags=["http"])
    consul.deregister("one")
    daemon.wait_for(lambda: site.answer() == f"two {two.port}", LIMIT, "the other backend")
    assert "ERROR" not in daemon.log()


@pytest.mark.parametrize(
    ("is_looked_for", "message"),
    [
        pytest.param(True, "another program uses 127.0.0.1:{port}; HAProxy was not reloaded", id="seen before"),
        pytest.param(False, "the master could not use the new configuration and goes on with the old one", id="tried"),
    ],
)
def test_a_reload_that_haproxy_does_not_take_is_rolled_back_and_its_cause_left_out(
    site, consul, http_backend, is_looked_for, message
):
    one = http_backend("one")
    if not is_looked_for:
        config = site.etc / "ctemplate.toml"
        config.write_text(config.read_text().replace(f"{site.master} {site.live}", str(site.master)))
    consul.register("web", port=one.port, tags=["http"])
    with socket.create_server(("127.0.0.1", 0)) as owner:  # haproxy -c binds nothing: only the reload finds out
        daemon = site.start()
        before = site.live.read_text()
        taken = owner.getsockname()[1]
        consul.register(f"queue-{taken}", port=one.port, tags=["tcp"])
        message = f"{site.master}: {message.format(port=taken)}"
        daemon.wait_for_log(message)
        daemon.wait_for(lambda: site.live.read_text() == before, LIMIT, "the file as it was")
        assert site.answer() == f"one {one.port}"
        daemon.wait_for_log(f"service 'queue-{taken}': refused: {message}")
        assert ("Paused frontend" in site.haproxy.output()) is not is_looked_for
    consul.deregister(f"queue-{taken}")
    other = free_port()
    consul.register(f"queue-{other}", port=one.port, tags=["tcp"])
    daemon.wait_for(lambda: f":{other}" in site.live.read_text(), LIMIT, "the next change")
    wait_for(lambda: listens(other), LIMIT, "HAProxy with the next change", log=site.haproxy.output)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def test_a_candidate_that_haproxy_refuses_leaves_the_live_file(site, consul, http_backend):
    consul.register("web", port=http_backend("one").port, tags=["http"])
    daemon = site.start()
    before = site.live.read_text()
    template = site.etc / "haproxy.cfg.j2"
    template.write_text(template.read_text().replace("balance roundrobin", "balance nonsense"))
    daemon.wait_for_log("the live file is untouched")
    assert site.live.read_text() == before
    assert "balance only supports 'roundrobin'" in daemon.log(), "in HAProxy's own words"
    assert site.answer()


@pytest.mark.parametrize("quiet", ["", "-q "], ids=["named by its line", "found by bisection"])
def test_an_instance_that_haproxy_refuses_is_left_out_and_the_others_are_updated(site, consul, http_backend, quiet):
    template, config = site.etc / "haproxy.cfg.j2", site.etc / "ctemplate.toml"
    template.write_text(template.read_text().replace(" check", ' {{ i.meta.option | default("check") }}'))
    config.write_text(config.read_text().replace(" -c -f", f" -c {quiet}-f"))
    consul.register("web", service_id="one", port=http_backend("one").port, tags=["http"])
    daemon = site.start()
    consul.register("web", service_id="bad", port=7001, tags=["http"], meta={"option": "nonsense"})
    daemon.wait_for_log("service 'web' instance 'bad': refused: ")
    later = http_backend("two")
    consul.register("web", service_id="two", port=later.port, tags=["http"])
    wait_for(lambda: str(later.port) in site.live.read_text(), LIMIT, "the next instance", log=daemon.log)
    assert "nonsense" not in site.live.read_text()
    assert ("haproxy.cfg.j2:" in daemon.log()) == (not quiet)


def test_an_haproxy_whose_socket_is_gone_does_not_count_as_stopped(site, consul, http_backend):
    one, two = http_backend("one"), http_backend("two")
    consul.register("web", service_id="web", port=one.port, tags=["http"])
    daemon = site.start()
    site.reload()  # it listens there, and the daemon's own first reload is over
    before = site.live.read_text()
    site.master.unlink()
    consul.register("web", service_id="web", port=two.port, tags=["http"])
    daemon.wait_for_log(f"{site.master}: No such file or directory, but HAProxy runs (process {site.haproxy.pid})")
    daemon.wait_for(lambda: site.live.read_text() == before, LIMIT, "the file as it was")
    assert site.answer() == f"one {one.port}"
    site.haproxy.stop()
    site.haproxy.start()
    daemon.wait_for(lambda: site.answer() == f"two {two.port}", LIMIT, "the other backend")


def test_without_haproxy_there_is_nothing_to_reload(tmp_path):
    command = [sys.executable, EXAMPLE / "reload_haproxy.py", tmp_path / "none.sock"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    said = f"{tmp_path}/none.sock: HAProxy does not run; it reads the file when it starts\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
