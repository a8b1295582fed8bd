"""An installed consul-template confirms the recorded bytes: real Consul, the same catalog and keys.

``RECORD=1`` writes its output beside the templates. Without consul-template this module has no tests: the recorded
bytes are tested elsewhere in any case.
"""

import os
import shutil
import subprocess
import urllib.parse

import pytest
from corpus import CALLS, CATALOG, ENVIRONMENT, FOLDER, KEYS, TEMPLATES, TRAPS, expected_of
from harness.consul import Consul

from ctemplate.core.model import CheckReport, InstanceDetails

CONSUL_TEMPLATE = shutil.which("consul-template")

pytestmark = pytest.mark.integration


def register(consul):
    """Put the catalog and the keys into Consul as they stand in the files."""
    for name, service in CATALOG.services.items():
        for instance in service.instances if name != "consul" else ():  # the agent is there already
            consul.api("PUT", "/v1/catalog/register", registration(name, instance))
    for path, value in KEYS.items():
        consul.api("PUT", f"/v1/kv/{urllib.parse.quote(path)}", value)


def registration(name, instance):
    """What registers an instance, with a check that gives it its status."""
    is_maintained = instance.status == "maintenance"
    details = instance.details or InstanceDetails()
    report = next((check.report for check in instance.checks if check.report), CheckReport())
    further = details.tagged_addresses.items()
    return {
        "TaggedAddresses": details.node_tagged_addresses,
        "Node": instance.node,
        "Address": instance.node_address,
        "Service": {
            "ID": instance.id,
            "Service": name,
            "Address": instance.address.strip("[]"),
            "Port": instance.port,
            "Tags": list(instance.tags or ()),
            "Meta": instance.meta,
            "Weights": {"Passing": details.weights.passing, "Warning": details.weights.warning},
            "TaggedAddresses": {tag: {"Address": each.ip, "Port": each.port} for tag, each in further},
        },
        "Check": {
            "CheckID": f"_service_maintenance:{instance.id}" if is_maintained else f"check-{instance.id}",
            "Name": "c",
            "Status": "critical" if is_maintained else str(instance.status),
            "ServiceID": instance.id,
            "Notes": report.notes,
            "Output": report.output,
        },
    }


@pytest.fixture(scope="module")
def consul(tmp_path_factory):
    agent = Consul(tmp_path_factory.mktemp("consul"))
    try:
        register(agent.start())
        yield agent
    finally:
        agent.kill()


if CONSUL_TEMPLATE is not None:

    @pytest.mark.parametrize("template", TEMPLATES + TRAPS, ids=lambda path: path.stem)
    def test_consul_template_gives_the_recorded_bytes(template, consul, tmp_path):
        destination = tmp_path / "out"
        argv = [CONSUL_TEMPLATE, "-once", f"-consul-addr={consul.address}", f"-template={template}:{destination}"]
        environment = os.environ | ENVIRONMENT
        done = subprocess.run(argv, capture_output=True, timeout=120, check=False, cwd=FOLDER, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        if os.environ.get("RECORD"):
            expected_of(template).write_bytes(destination.read_bytes())
        assert destination.read_bytes() == expected_of(template).read_bytes()

    def test_consul_template_prints_the_recorded_calls(consul, tmp_path):
        argv = [CONSUL_TEMPLATE, "-once", f"-consul-addr={consul.address}"]
        for number, call in enumerate(CALLS):
            source = tmp_path / f"{number}.ctmpl"
            source.write_text(call["template"])
            argv.append(f"-template={source}:{tmp_path / str(number)}")
        done = subprocess.run(
            argv, capture_output=True, timeout=120, check=False, cwd=FOLDER, env=os.environ | ENVIRONMENT
        )
        assert done.returncode == 0, done.stderr.decode()
        shown = [(tmp_path / str(number)).read_bytes().decode() for number in range(len(CALLS))]
        assert shown == [call["prints"] for call in CALLS]
