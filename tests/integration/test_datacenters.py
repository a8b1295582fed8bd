"""The example of two datacenters: real Consuls joined over the WAN, and traffic through a real nginx."""

from harness import ROOT, Consul, free_port, http_get, wait_for

LIMIT = 60
EXAMPLE = ROOT / "examples/datacenters/nginx.conf.j2"


def datacenter(folder, programs, name):
    consul = Consul(folder, persistent=True, name=name, config={"datacenter": name, "ports": {"serf_wan": free_port()}})
    programs.callback(consul.kill)
    return consul


def test_requests_stay_at_home_while_they_can(tmp_path, programs, nginx, ctemplate, http_backend):
    east, west = (datacenter(tmp_path, programs, name) for name in ("east", "west"))
    west.join([f"127.0.0.1:{east.ports['serf_wan']}"], wan=True)
    for consul in (east, west):
        consul.start()
    wait_for(lambda: set(east.api("GET", "/v1/catalog/datacenters")) == {"east", "west"}, LIMIT, "both datacenters")
    near, far = http_backend("near"), http_backend("far")
    east.register("web", port=near.port, tags=["http"])
    west.register("web", port=far.port, tags=["http"])
    west.register("far-only", port=far.port, tags=["http"])
    port = free_port()
    (tmp_path / "main.conf").write_text(nginx.main.partition("events")[0])
    (tmp_path / "http.conf").write_text(nginx.http)
    variables = {
        "own_dc": "east",
        "http_port": port,
        "listen": "127.0.0.1",
        "main_include": tmp_path / "main.conf",
        "http_include": tmp_path / "http.conf",
    }
    template = f"{EXAMPLE}:{nginx.conf}:{nginx.reload_command}"
    given = [part for name, value in variables.items() for part in ("-var", f"{name}={value}")]
    daemon = ctemplate("-consul-addr", east.address, "-wait", "50ms:200ms", "-template", template, *given)
    daemon.wait_for(lambda: nginx.conf.exists() and str(far.port) in nginx.conf.read_text(), LIMIT, "nginx.conf")
    nginx.start()

    def answers(host="web.example.com"):
        return {http_get(port, host=host) for _ in range(8)}

    at_home, abroad = {(200, f"near {near.port}")}, {(200, f"far {far.port}")}
    assert answers() == at_home
    assert answers("far-only.example.com") == abroad
    assert f"127.0.0.1:{far.port} max_fails=3 fail_timeout=5s weight=1 backup;" in nginx.conf.read_text()
    near.stop()
    assert answers() == abroad, "nginx goes on by itself while Consul knows nothing"
    east.deregister("web")
    daemon.wait_for(lambda: str(near.port) not in nginx.conf.read_text(), LIMIT, "the other datacenter alone")
    daemon.wait_for(lambda: answers() == abroad, LIMIT, "answers from the other datacenter")
    near.start()
    east.register("web", port=near.port, tags=["http"])
    daemon.wait_for(lambda: answers() == at_home, LIMIT, "answers from home again")
