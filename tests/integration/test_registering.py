"""The ways to register of examples/registering: each command of its README, with a real Consul and ctemplate."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from harness import ROOT, Consul, Process, free_port, program, wait_for

LIMIT = 60
README = (ROOT / "examples/registering/README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
AGENT, PROGRAM, WARMING, FILES, OUTSIDE = BLOCKS


@pytest.fixture
def folder(tmp_path):
    """A copy of the examples, with free ports in place of those that they name."""
    for name in ("nginx", "registering"):
        shutil.copytree(ROOT / "examples" / name, tmp_path / "examples" / name)
    folder = tmp_path / "examples/registering"
    replace_ports(folder, {"8101": free_port(), "8102": free_port()})
    return folder


def replace_ports(folder, ports):
    for path in folder.rglob("*.json"):
        text = path.read_text()
        for before, now in ports.items():
            text = text.replace(before, str(now))
        path.write_text(text)


def port_of(path, number=0):
    return re.findall(r'"port": (\d+)', path.read_text())[number]


@pytest.fixture
def consul(folder, tmp_path, programs):
    """An agent as the README starts it, on ports of its own."""
    flags = AGENT.split()[3:]
    assert AGENT.split()[:3] == ["consul", "agent", "-dev"]
    consul = Consul(tmp_path)
    consul.process.argv += flags
    consul.process.cwd = folder
    programs.callback(consul.kill)
    return consul.start()


@pytest.fixture
def shell(folder, tmp_path, consul, programs):
    """Run a block of the README to the end of all that it starts; stopped with the test."""

    def run(block, name):
        path = f"{Path(program('consul')).parent}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | {"CONSUL_HTTP_ADDR": consul.address, "PATH": path, "PYTHONUNBUFFERED": "1"}
        process = Process(name, ["sh", "-e", "-c", f"{block}\nwait"], tmp_path, env=env, cwd=folder)
        programs.callback(process.kill)
        return process.start()

    return run


def test_a_program_registers_itself_with_each_kind_of_check(scene, consul, shell):
    shown = scene(consul).start()
    process = shell(PROGRAM, "program")
    process.wait_for(lambda: process.stdout().count(" registered") == 4, LIMIT, "four registrations")
    ids = [line.split()[0] for line in process.stdout().splitlines()]
    consul.wait_passing("web", ids, LIMIT)
    ports = [each.rpartition("-")[2] for each in ids]
    shown.process.wait_for(
        lambda: sorted(shown.services().get("web", ())) == sorted(f"127.0.0.1:{port}" for port in ports),
        LIMIT,
        "all four",
    )
    kinds = {check["Type"] for entry in consul.health("web") for check in entry["Checks"] if check["ServiceID"]}
    assert kinds == {"ttl", "tcp", "http", "script"}
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    shown.process.wait_for(lambda: not shown.services().get("web"), LIMIT, "none after they ended")
    wait_for(lambda: consul.health("web") == [], LIMIT, "the end of their registrations")


def test_the_weight_of_a_new_instance_grows_with_its_age(consul, shell):
    process = shell(WARMING.replace("--warmup 30", "--warmup 20"), "warming")
    seen = []

    def weight():
        for entry in consul.health("fresh"):
            if (now := entry["Service"]["Weights"]["Passing"]) not in seen:
                seen.append(now)
        return len(seen)

    process.wait_for(lambda: weight() == 3, LIMIT, "three weights")
    assert seen == sorted(seen)


def test_files_of_consuls_configuration_and_a_reload(scene, consul, shell, folder):
    shown = scene(consul).start()
    first, second = port_of(folder / "consul.d/services.json"), port_of(folder / "more.json")
    shell(FILES.replace("8101", first).replace("8102", second), "files")
    expected = sorted(f"127.0.0.1:{port}" for port in (first, second))
    shown.process.wait_for(
        lambda: sorted(shown.services().get("files", ())) == expected,
        LIMIT,
        "both",
    )
    checks = {check["Name"]: check for entry in consul.health("files") for check in entry["Checks"]}
    assert re.search(r"^/: [\d.]+ % free", checks["space"]["Output"])
    (folder / "consul.d/more.json").unlink()
    shell("consul reload", "reload")
    shown.process.wait_for(lambda: shown.services().get("files") == [f"127.0.0.1:{first}"], LIMIT, "the first alone")


def test_what_no_agent_runs_beside_is_registered_over_the_catalog(scene, consul, shell):
    shown = scene(consul).start()
    lines = OUTSIDE.splitlines()
    assert [line.split()[1] for line in lines] == ["register", "critical", "passing", "deregister"]
    for line, expected in zip(lines, (["192.0.2.10:631"], None, ["192.0.2.10:631"], None), strict=True):
        process = shell(line, line.split()[1])
        assert (process.wait(), process.output()) == (0, "")
        shown.process.wait_for(
            lambda expected=expected: (shown.services().get("printer") or None) == expected, LIMIT, line
        )


def test_a_refusal_is_told_in_one_line(shell, folder):
    (folder / "bad.json").write_text('{"Service": {}}')
    process = shell("./catalog.py register bad.json", "bad")
    assert process.wait() == 1
    assert re.fullmatch(r"http://\S+/v1/catalog/register: 500 Must provide node\n", process.stderr())
