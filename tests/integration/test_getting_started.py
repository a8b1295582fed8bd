"""The guide from an empty machine to a canary, run on a clean Debian as its reader runs it."""

import subprocess
import sys

import pytest
from harness import ROOT
from harness.guide import Reader, Step, steps
from harness.roots import is_possible

from integration.test_packages import SUITE, at_length, host, shared  # noqa: F401  # fixtures

PAGE = ROOT / "docs/getting-started.md"
INSTALL = 1
REST = range(2, 11)

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not is_possible(), reason="a clean root takes root"),
    pytest.mark.skipif(SUITE != "bookworm", reason="the guide shows what Debian 12 prints"),
]


@at_length
def test_the_guide_does_what_it_says_from_the_installation_on(shared, host, tmp_path):  # noqa: F811
    sources = shared / "guide"
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", sources], cwd=ROOT, check=True)
    (archive,) = sources.glob("*.tar.gz")
    host.put(archive, "/tmp/source.tar.gz")
    host.run("rm -rf /opt/ctemplate /etc/ctemplate /etc/nginx/conf.d/*; mkdir -p /srv /src")
    host.run("tar -C /src --strip-components 1 -xf /tmp/source.tar.gz")
    host.write("/etc/apt/apt.conf.d/99yes", 'APT::Get::Assume-Yes "true";\n')  # as a person answers
    for line in "".join(step.commands for step in steps(PAGE, [INSTALL])).splitlines():
        host.trust_our_index()  # each time: the first line installs Debian's certificates in place of ours
        host.run(f"cd /src; {line}", has_network=True)
    with Reader(host.command(["/bin/sh"]), tmp_path / "guide.log") as reader:
        reader.follow(Step(commands="nginx"))  # as Debian starts it on a machine with systemd
        for step in steps(PAGE, REST):
            reader.follow(step)
