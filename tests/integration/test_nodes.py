"""Nodes of Consul's catalog in templates, on a real Consul."""

import pytest
from harness import Consul, free_port

LIMIT = 60
TEMPLATE = "{% for node in nodes() if node.name != 'consul' %}{{ node.ip }} {{ node.name }}\n{% endfor %}"


def register(consul, name, address, **fields):
    consul.api("PUT", "/v1/catalog/register", {"Node": name, "Address": address, **fields})


def reads(path, text):
    return lambda: path.exists() and path.read_text() == text


@pytest.fixture
def consul(start_consul):
    return start_consul()


@pytest.fixture
def run(tmp_path, ctemplate):
    """Start a ctemplate that renders a template to `out`."""

    def start(consul, template, *args, verb=()):
        (tmp_path / "t.j2").write_text(template)
        source = () if consul is None else ("-consul-addr", consul.address)
        return ctemplate(*verb, *source, "-template", "t.j2:out", *args)

    return start


def test_nodes_are_rendered_and_followed(consul, run, tmp_path):
    register(consul, "beta", "10.0.0.2")
    register(consul, "alpha", "2001:db8::1")
    process = run(consul, TEMPLATE)
    out = tmp_path / "out"
    process.wait_for(reads(out, "2001:db8::1 alpha\n10.0.0.2 beta\n"), LIMIT, "the nodes")
    register(consul, "alpha", "10.0.0.1")
    process.wait_for(reads(out, "10.0.0.1 alpha\n10.0.0.2 beta\n"), LIMIT, "the new address")
    consul.api("PUT", "/v1/catalog/deregister", {"Node": "beta"})
    process.wait_for(reads(out, "10.0.0.1 alpha\n"), LIMIT, "the node that is left")


def test_a_node_without_a_usable_address_is_left_out_and_named(consul, run, tmp_path):
    register(consul, "alpha", "10.0.0.1")
    register(consul, "beta", "no address; }")
    process = run(consul, TEMPLATE, "-once")
    assert process.wait(LIMIT) == 0, process.output()
    assert (tmp_path / "out").read_text() == "10.0.0.1 alpha\n"
    assert "node 'beta': address: 'no address; }' is not an IP address; it is left out" in process.output()


def test_a_name_that_breaks_the_printing_rule_costs_its_node_alone_and_is_named(consul, run, tmp_path):
    register(consul, "alpha", "10.0.0.1")
    process = run(consul, TEMPLATE)
    process.wait_for(reads(tmp_path / "out", "10.0.0.1 alpha\n"), LIMIT, "the node")
    register(consul, "x; } evil {", "10.0.0.2")
    said = "node 'x; } evil {': t.j2:1: 'x; } evil {' is no plain token"
    process.wait_for(lambda: said in process.output(), LIMIT, "the node's fault")
    assert (tmp_path / "out").read_text() == "10.0.0.1 alpha\n"


def test_nodes_are_captured_and_played_back(consul, run, tmp_path):
    register(
        consul, "alpha", "10.0.0.1", NodeMeta={"rack": "r1", "token": "hidden"}, TaggedAddresses={"wan": "192.0.2.1"}
    )
    template = (
        "{% for node in nodes() if node.name == 'alpha' %}{{ node.name }} {{ node.address }} {{ node.datacenter }} "
        "{{ node.meta.rack }} {{ node.meta.token }} {{ node.tagged_addresses.wan }}{% endfor %}\n"
    )
    captured = run(consul, template, "-o", "catalog.yaml", "-mask", "tok*", verb=("capture",))
    assert captured.wait(LIMIT) == 0, captured.output()
    played = run(None, template, "-once", "-catalog", "catalog.yaml")
    assert played.wait(LIMIT) == 0, played.output()
    assert (tmp_path / "out").read_text() == "alpha 10.0.0.1 dc1 r1 masked 192.0.2.1\n"


def test_a_node_is_waited_for_and_its_services_are_followed(consul, run, tmp_path):
    text = "{% for s in node('alpha').services %}{{ s.name }} {{ s.ip }}:{{ s.port }};{% endfor %}\n"
    process = run(consul, text)
    out = tmp_path / "out"
    process.wait_for(lambda: "still missing: node(alpha)" in process.output(), LIMIT, "the missing node's name")
    register(consul, "alpha", "10.0.0.1", Service={"ID": "w1", "Service": "web", "Address": "10.0.0.2", "Port": 80})
    process.wait_for(reads(out, "web 10.0.0.2:80;\n"), LIMIT, "the node")
    register(consul, "alpha", "10.0.0.1", Service={"ID": "a1", "Service": "api", "Address": "10.0.0.3", "Port": 81})
    process.wait_for(reads(out, "api 10.0.0.3:81;web 10.0.0.2:80;\n"), LIMIT, "one service more")
    captured = run(consul, text, "-o", "catalog.yaml", verb=("capture",))
    assert captured.wait(LIMIT) == 0, captured.output()
    process.stop()
    out.unlink()
    played = run(None, text, "-once", "-catalog", "catalog.yaml")
    assert played.wait(LIMIT) == 0, played.output()
    assert out.read_text() == "api 10.0.0.3:81;web 10.0.0.2:80;\n"


def test_without_a_name_it_is_the_agents_own_node(consul, run, tmp_path):
    process = run(consul, "{{ node().node.name }} {{ node().services[0].name }}\n", "-once")
    assert process.wait(LIMIT) == 0, process.output()
    name = consul.api("GET", "/v1/agent/self")["Config"]["NodeName"]
    assert (tmp_path / "out").read_text() == f"{name} consul\n"


def test_datacenters_are_rendered_and_one_more_is_seen(start_consul, run, tmp_path, programs):
    consul = start_consul(config={"ports": {"serf_wan": free_port()}})
    (tmp_path / "ctemplate.toml").write_text('[consul]\nquery_interval = "1s"\n')
    template = "{% for dc in datacenters() %}{{ dc }} {% endfor %}\n"
    process = run(consul, template, "-config", "ctemplate.toml")
    process.wait_for(reads(tmp_path / "out", "dc1 \n"), LIMIT, "the datacenter")
    far = Consul(tmp_path, name="far", config={"datacenter": "dc2", "ports": {"serf_wan": free_port()}})
    programs.callback(far.kill)
    far.join([f"127.0.0.1:{consul.ports['serf_wan']}"], wan=True)
    far.start()
    process.wait_for(reads(tmp_path / "out", "dc1 dc2 \n"), LIMIT, "both datacenters")
    captured = run(consul, template, "-o", "catalog.yaml", verb=("capture",))
    assert captured.wait(LIMIT) == 0, captured.output()
    process.stop()
    played = run(None, template, "-once", "-catalog", "catalog.yaml")
    assert played.wait(LIMIT) == 0, played.output()
    assert (tmp_path / "out").read_text() == "dc1 dc2 \n"
