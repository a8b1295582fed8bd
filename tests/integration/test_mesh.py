"""The service mesh in templates, on a real Consul: proxies and certificates; and peerings, which it is too old for."""

from functools import partial

import pytest
from harness import once_that_says

LIMIT = 60


def reads(path, told):
    return lambda: path.exists() and told(path.read_text())


@pytest.fixture
def run(tmp_path, ctemplate):
    """Start a ctemplate that renders a template to `out`."""

    def start(consul, template, *args, verb=()):
        (tmp_path / "t.j2").write_text(template)
        source = () if consul is None else ("-consul-addr", consul.address)
        return ctemplate(*verb, *source, "-template", "t.j2:out", *args)

    return start


def sidecar(consul, name, port):
    service = {"Name": f"{name}-sidecar-proxy", "Kind": "connect-proxy", "Address": "10.0.0.1", "Port": port}
    consul.api("PUT", "/v1/agent/service/register", service | {"Proxy": {"DestinationServiceName": name}})


def test_the_proxies_of_a_service_are_rendered_and_followed(consul, run, tmp_path):
    sidecar(consul, "web", 21000)
    process = run(consul, "{% for i in connect('web') %}{{ i.name }} {{ i.address }}:{{ i.port }}\n{% endfor %}")
    out = tmp_path / "out"
    process.wait_for(reads(out, "web-sidecar-proxy 10.0.0.1:21000\n".__eq__), LIMIT, "the proxy")
    sidecar(consul, "web", 21001)
    process.wait_for(reads(out, "web-sidecar-proxy 10.0.0.1:21001\n".__eq__), LIMIT, "the proxy's new port")


def test_certificates_are_rendered_and_a_plan_hides_the_key(consul, run, tmp_path):
    template = (
        "{% for r in ca_roots() %}{{ r.pem }}{% endfor %}{% set l = ca_leaf('web') %}{{ l.pem }}{{ l.private_key }}"
    )
    planned = run(consul, template, verb=("plan",))
    assert planned.wait(LIMIT) == 0, planned.output()
    assert "-----BEGIN EC PRIVATE KEY----- [masked " in planned.output()
    applied = run(consul, template, "-once")
    assert applied.wait(LIMIT) == 0, applied.output()
    text = (tmp_path / "out").read_text()
    assert [text.count(f"-----BEGIN {label}-----") for label in ("CERTIFICATE", "EC PRIVATE KEY")] == [2, 1]
    key = text.partition("PRIVATE KEY-----\n")[2].splitlines()[0]
    assert key not in planned.output() + applied.output()


def test_a_consul_without_a_mesh_or_peerings_says_so(start_consul, run):
    consul = start_consul(config={"connect": {"enabled": False}})
    for call, said in (
        ("ca_roots()", "Connect must be enabled in order to use this endpoint"),
        ("ca_leaf('web').pem", "Connect must be enabled in order to use this endpoint"),
        ("peerings()", "this Consul has no cluster peering, which came with 1.13"),
    ):
        once_that_says(said, partial(run, consul, f"{{% if {call} %}}{{% endif %}}"))
