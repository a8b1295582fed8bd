"""The alert rules that ship, on Prometheus's own tool: each fires for its cause, and not before."""

import re
import shutil
import subprocess

import pytest
from harness import ROOT
from harness.programs import program

MONITORING = ROOT / "examples" / "monitoring"


def promtool(folder, *args):
    return subprocess.run([program("promtool"), *args], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path):
    """A copy of the example, which a test may change."""
    return shutil.copytree(MONITORING, tmp_path / "monitoring")


def test_each_alert_fires_for_its_cause_and_not_before(folder):
    done = promtool(folder, "test", "rules", "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_test():
    alerts = re.findall(r"- alert: (\w+)", MONITORING.joinpath("alerts.yml").read_text("utf-8"))
    tested = re.findall(r"^ +alertname: (\w+)", MONITORING.joinpath("alerts_test.yml").read_text("utf-8"), re.MULTILINE)
    assert (sorted(alerts), len(alerts)) == (sorted(tested), 13)


@pytest.mark.parametrize(
    ("rule", "instead"),
    [("ctemplate_program_running == 0", "ctemplate_program_running == 2"), ("for: 10m", "for: 1h")],
)
def test_a_rule_that_does_not_fire_fails_its_test(folder, rule, instead):
    alerts = folder / "alerts.yml"
    alerts.write_text(alerts.read_text("utf-8").replace(rule, instead), "utf-8")
    assert promtool(folder, "test", "rules", "alerts_test.yml").returncode == 1
