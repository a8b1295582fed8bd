"""The cluster example as its users run it, in its short form: one host dies and comes back."""

import os
import re
import signal
import sys

import pytest
from harness import ROOT, Process, wait_for
from harness.processes import left_behind

LIMIT = 130  # seconds; the example itself gives up after two minutes
PREFIX = "ctemplate-cluster-"


@pytest.fixture
def cluster(tmp_path, programs):
    """Start the example with its temporary folder inside the test's own."""

    def start(*hosts) -> Process:
        env = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        process = Process("cluster", [sys.executable, ROOT / "examples/cluster/cluster.py", *hosts], tmp_path, env=env)
        programs.callback(process.stop, LIMIT)
        return process.start()

    return start


def test_a_host_with_server_and_balancer_dies_and_the_client_loses_at_most_the_request_in_flight(cluster, tmp_path):
    process = cluster("node-3")
    assert process.wait(LIMIT) == 0, process.output()
    (line,) = process.stdout().partition("\nsummary\n")[2].splitlines()
    name, answers, lost, errors = re.search(r"^  (\S+) .*; (\d+) answers, (\d+) lost, (\d+) errors$", line).groups()
    assert (name, int(answers) > 0, int(lost) <= 1, errors) == ("node-3", True, True, "0")
    assert "nginx goes on with node-1, node-2, node-4; the client asks 127.0.0.5" in process.stdout()
    assert process.stderr() == ""
    assert left_behind(tmp_path, PREFIX) == []


def test_interrupted_it_cleans_up(cluster, tmp_path):
    process = cluster()
    process.wait_for(lambda: "starting a backend" in process.stdout(), LIMIT, "backends")
    process.signal(signal.SIGINT)
    assert process.wait(LIMIT) == 130
    wait_for(lambda: left_behind(tmp_path, PREFIX) == [], LIMIT, "end of all programs")
    assert "Traceback" not in process.stderr()


def test_a_host_that_is_not_there_is_named(cluster, tmp_path):
    process = cluster("node-9")
    assert process.wait(LIMIT) == 1
    assert process.stderr() == "cluster: no such host: node-9; there are node-1, node-2, node-3, node-4\n"
    assert left_behind(tmp_path, PREFIX) == []
