"""Where consul-template is installed, it judges the recorded bytes: real Consul, the same catalog.

``RECORD=1`` writes what it gives beside the templates.
"""

import os
import shutil
import subprocess

import pytest
from corpus import CATALOG, ENVIRONMENT, TEMPLATES, TRAPS, expected_of
from harness.consul import Consul

CONSUL_TEMPLATE = shutil.which("consul-template")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CONSUL_TEMPLATE is None, reason="no consul-template here; the recorded bytes are tested anyway"),
]


def register(consul):
    """Put the catalog into Consul as it stands in the file."""
    for name, service in CATALOG.services.items():
        for instance in service.instances:
            address = instance.address.strip("[]")
            body = {
                "Node": instance.node,
                "Address": instance.node_address,
                "Service": {
                    "ID": instance.id,
                    "Service": name,
                    "Address": address,
                    "Port": instance.port,
                    "Tags": list(instance.tags or ()),
                    "Meta": instance.meta,
                },
                "Check": {
                    "CheckID": f"check-{instance.id}",
                    "Name": "c",
                    "Status": str(instance.status),
                    "ServiceID": instance.id,
                },
            }
            consul.api("PUT", "/v1/catalog/register", body)


@pytest.fixture(scope="module")
def consul(tmp_path_factory):
    agent = Consul(tmp_path_factory.mktemp("consul"))
    try:
        register(agent.start())
        yield agent
    finally:
        agent.kill()


@pytest.mark.parametrize("template", TEMPLATES + TRAPS, ids=lambda path: path.stem)
def test_consul_template_gives_the_recorded_bytes(template, consul, tmp_path):
    destination = tmp_path / "out"
    argv = [CONSUL_TEMPLATE, "-once", f"-consul-addr={consul.address}", f"-template={template}:{destination}"]
    done = subprocess.run(argv, capture_output=True, timeout=120, check=False, env=os.environ | ENVIRONMENT)
    assert done.returncode == 0, done.stderr.decode()
    if os.environ.get("RECORD"):
        expected_of(template).write_bytes(destination.read_bytes())
    assert destination.read_bytes() == expected_of(template).read_bytes()
