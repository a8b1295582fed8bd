"""The example for containers: what Registrator writes into a real Consul, and where a real nginx then sends traffic."""

import json

import pytest
import yaml
from harness import ROOT, free_port, http_get, tcp_read, wait_for
from harness.backends import UdpBackend, udp_ask

EXAMPLE = ROOT / "examples/registrator"
LIMIT = 60
CONFIG = """\
[consul]
address = "{consul.address}"
[wait]
min = "50ms"
max = "200ms"
[[template]]
source = "{source}"
destination = "{nginx.conf}"
command = "{nginx.reload_command}"
[vars]
listen = "127.0.0.1"
http_port = {port}
pid = "{nginx.pid_file}"
temp_dir = "{nginx.prefix}"
error_log = "{nginx.error_log_file}"
access_log = "off"
stream_access_log = "off"
stream_module = "{nginx.stream_module}"
"""


def payloads():
    return {payload["ID"]: payload for payload in json.loads((EXAMPLE / "payloads.json").read_text())}


def test_the_payloads_are_those_of_the_containers():
    containers = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]
    published = {
        f"{name}:{port.removesuffix('/tcp').replace('/', ':')}"
        for name, container in containers.items()
        for port in container.get("ports", ())
    }
    registered = {key.partition(":")[2].replace("-1:", ":").replace("-2:", ":") for key in payloads()}
    assert registered == published
    assert containers["balancer"]["volumes"] == ["./nginx.conf.j2:/etc/ctemplate/site.j2:ro"]


@pytest.fixture
def site(tmp_path, consul, nginx, ctemplate):
    """Start ctemplate with the example's template between Consul and nginx; return the port of HTTP."""
    port = free_port()
    text = CONFIG.format(consul=consul, nginx=nginx, source=EXAMPLE / "nginx.conf.j2", port=port)
    (tmp_path / "ctemplate.toml").write_text(text)

    def start():
        daemon = ctemplate("-config", tmp_path / "ctemplate.toml")
        daemon.wait_for(nginx.conf.exists, LIMIT, "nginx.conf")
        nginx.start()
        daemon.wait_for_log(": applied")
        return port

    return start


EXPOSED = {5672: free_port(), 5353: free_port(), 6379: free_port()}
"""The ports that containers expose, and free ones in their place: others of this machine may use 5672."""


def registration(key, port):
    """What Registrator writes for a container that is published at this port of 127.0.0.1."""
    payload = payloads()[key]
    text = json.dumps(payload | {"Port": port}).replace(f"10.0.0.5:{payload['Port']}", f"127.0.0.1:{port}")
    text = text.replace("10.0.0.5", "127.0.0.1").replace('"10s"', '"1s"').replace('"2s"', '"1s"')
    for exposed, free in EXPOSED.items():
        text = text.replace(f":{exposed}", f":{free}").replace(f"-{exposed}", f"-{free}")
    return json.loads(text)


@pytest.fixture
def containers(http_backend, tcp_backend, programs):
    """What runs in the containers, by the id that Registrator gives to each port."""
    udp = UdpBackend("dns-udp")
    programs.callback(udp.stop)
    udp.start()
    return {
        "host1:web-1:80": http_backend("web"),
        "host1:queue-1:15672": http_backend("ui"),
        "host1:queue-1:5672": tcp_backend("queue"),
        "host1:dns-1:5353": tcp_backend("dns"),
        "host1:dns-1:5353:udp": udp,
        "host1:cache-1:6379": tcp_backend("cache"),
    }


def test_registrations_as_registrator_writes_them_lead_to_their_containers(site, consul, containers):
    ports = {key: container.port for key, container in containers.items()}
    ports["host1:web-2:80"] = free_port()  # a container that is gone, and whose check fails
    for key in payloads():
        consul.api("PUT", "/v1/agent/service/register", registration(key, ports[key]))
    dangling = {"ID": "host1:old:15672", "Name": "queue-ui", "Tags": ["http"], "Address": "127.0.0.1", "Meta": {}}
    consul.api("PUT", "/v1/agent/service/register", dangling | {"Port": free_port(), "Checks": None})
    consul.wait_passing("web", ["host1:web-1:80"], LIMIT)
    consul.wait_passing("redis-6", [f"host1:cache-1:{EXPOSED[6379]}"], LIMIT)
    consul.wait_passing(f"queue-{EXPOSED[5672]}", [f"host1:queue-1:{EXPOSED[5672]}"], LIMIT)
    port = site()
    assert http_get(port, host="web.example.com") == (200, f"web {ports['host1:web-1:80']}")
    answers = {http_get(port, host="queue-ui.example.com") for _ in range(6)}
    assert answers == {(200, f"ui {ports['host1:queue-1:15672']}")}, "nginx asks the next one while one is dangling"
    assert http_get(port, host="nobody.example.com")[0] == 404
    assert tcp_read(EXPOSED[5672]) == f"queue {ports['host1:queue-1:5672']}"
    assert {tcp_read(EXPOSED[5353]) for _ in range(4)} == {f"dns {ports['host1:dns-1:5353']}"}, "not the port of UDP"
    assert udp_ask(EXPOSED[5353]) == f"dns-udp {ports['host1:dns-1:5353:udp']}"
    assert tcp_read(EXPOSED[6379]) == f"cache {ports['host1:cache-1:6379']}"


def test_what_was_left_behind_and_a_container_that_is_replaced_leave_nginx(site, consul, nginx, tcp_backend):
    old, new = tcp_backend("old"), tcp_backend("new")
    first = registration("host1:cache-1:6379", old.port)
    dangling = registration("host1:queue-1:15672", free_port())
    for each in (first, dangling):
        consul.api("PUT", "/v1/agent/service/register", each)
    consul.wait_passing("redis-6", [first["ID"]], LIMIT)
    site()
    assert tcp_read(EXPOSED[6379]) == f"old {old.port}"
    consul.deregister(dangling["ID"])  # as -cleanup does
    wait_for(lambda: str(dangling["Port"]) not in nginx.conf.read_text(), LIMIT, "nginx without what is dangling")
    again = registration("host1:cache-1:6379", new.port)
    consul.deregister(first["ID"])
    consul.api("PUT", "/v1/agent/service/register", again | {"ID": first["ID"].replace("cache-1", "cache-2")})
    old.stop()

    def is_new():
        try:
            return tcp_read(EXPOSED[6379]) == f"new {new.port}"
        except OSError:
            return False

    wait_for(is_new, LIMIT, "the container that replaced the other", log=nginx.error_log)
