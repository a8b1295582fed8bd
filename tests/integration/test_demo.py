"""The demo as its users run it: it shows what it promises, and leaves nothing behind however it ends."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from harness import ROOT, Process, http_get, tcp_read, wait_for
from harness.processes import left_behind

LIMIT = 60  # seconds; the demo promises less


@pytest.fixture
def demo(tmp_path, programs):
    """Start the demo with its temporary folder inside the test's own."""

    def start(**environment) -> Process:
        env = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1", "KEEP": ""} | environment
        process = Process("demo", [sys.executable, ROOT / "examples/nginx/demo.py"], tmp_path, env=env)
        programs.callback(process.stop, LIMIT)
        return process.start()

    return start


def summary_of(process):
    """The facts of the summary, by name."""
    text = process.stdout()
    http, tcp = (
        [int(share) for share in re.search(rf"^  {name} .*: (.*)$", text, re.MULTILINE)[1].split(" / ")]
        for name in ("http", "tcp")
    )
    killed = re.search(r"^  killed  (\S+): out of nginx after (\d+) ms, (\d+) of (\d+) requests", text, re.MULTILINE)
    added = re.search(r"^  added   (\S+): registered after (\d+) ms, first request (\d+) ms", text, re.MULTILINE)
    return {"http": http, "tcp": tcp, "killed": killed.groups(), "added": added.groups()}


def test_the_demo_spreads_kills_adds_and_sums_up(demo, tmp_path):
    process = demo()
    assert process.wait(LIMIT) == 0, process.output()
    seen = summary_of(process)
    assert (len(seen["http"]), sum(seen["http"])) == (3, 300)
    assert (len(seen["tcp"]), sum(seen["tcp"])) == (2, 100)
    assert min(seen["http"] + seen["tcp"]) > 0
    killed, gone_after, failed, requests = seen["killed"]
    assert (int(failed), int(requests) > 0, int(gone_after) > 0) == (0, True, True)
    added, _, _ = seen["added"]
    assert added != killed
    assert process.stderr() == ""
    assert "\x1b" not in process.stdout()
    assert left_behind(tmp_path, "ctemplate-demo-") == []


def test_with_keep_everything_runs_on_until_interrupted(demo, tmp_path):
    process = demo(KEEP="1")
    process.wait_for(lambda: "add one" in process.stdout(), LIMIT, "addresses")
    text = process.stdout()
    http_port = int(re.search(r"^  http .*:(\d+)/$", text, re.MULTILINE)[1])
    tcp_port = int(re.search(r"^  tcp +nc 127.0.0.1 (\d+)", text, re.MULTILINE)[1])
    assert http_get(http_port, host="httpfront.localhost")[1].startswith("httpfront-")
    assert tcp_read(tcp_port).startswith("tcpfront-")
    process.signal(signal.SIGINT)
    assert process.wait(LIMIT) == 0
    assert left_behind(tmp_path, "ctemplate-demo-") == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_in_the_middle_it_cleans_up(demo, tmp_path, number, status):
    process = demo()
    process.wait_for(lambda: "starting ctemplate" in process.stdout(), LIMIT, "start of ctemplate")
    assert left_behind(tmp_path, "ctemplate-demo-") != []
    process.signal(number)
    assert process.wait(LIMIT) == status
    wait_for(lambda: left_behind(tmp_path, "ctemplate-demo-") == [], 10, "end of a check that was under way")
    assert "Traceback" not in process.stderr()


def test_a_killed_demo_takes_its_programs_with_it(demo, tmp_path):
    process = demo()
    process.wait_for(lambda: "starting ctemplate" in process.stdout(), LIMIT, "start of ctemplate")
    process.signal(signal.SIGKILL)
    process.wait(LIMIT)
    (folder,) = tmp_path.glob("ctemplate-demo-*")
    wait_for(lambda: left_behind(tmp_path, "ctemplate-demo-") == [folder], LIMIT, "end of all programs")


def test_a_missing_program_is_told_in_one_line(tmp_path):
    for part in ("examples/nginx", "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part)
    tools = tmp_path / "bin"  # all that the search needs, and no consul
    tools.mkdir()
    for name in ("dirname", "sed"):
        (tools / name).symlink_to(shutil.which(name))
    found = subprocess.run(
        [sys.executable, tmp_path / "examples/nginx/demo.py"],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert (found.returncode, found.stdout, found.stderr) == (
        1,
        "",
        "demo: consul is not here; run 'make demo', which installs it\n",
    )
