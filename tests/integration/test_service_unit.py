"""The shipped unit as systemd reads it, and the daemon as a service manager sees it."""

import configparser
import json
import shutil
import signal
import socket
import subprocess

import pytest
from harness.programs import ROOT
from harness.waiting import wait_for

UNIT = ROOT / "packaging" / "ctemplate.service"


def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "ctemplate.service"
    text = UNIT.read_text()
    for program in ("/usr/bin/ctemplate", "/bin/kill"):  # neither has to be on this machine
        text = text.replace(program, shutil.which("true"))
    unit.write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False, timeout=60
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_the_unit_names_what_the_daemon_keeps_to():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["StateDirectory"] == "ctemplate"  # the usual state folder of root's
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_the_page_installs_the_unit_for_the_program_that_is_on_the_path(tmp_path):
    (tmp_path / "ctemplate").write_text("#!/bin/sh\n")
    (tmp_path / "ctemplate").chmod(0o755)
    page = (ROOT / "docs" / "systemd.md").read_text()
    (command,) = [line for line in page.splitlines() if "packaging/ctemplate.service >" in line]
    subprocess.run(
        ["sh", "-c", command.replace("/etc/systemd/system", str(tmp_path))],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=True,
    )
    assert (tmp_path / UNIT.name).read_text() == UNIT.read_text().replace("/usr/bin/", f"{tmp_path}/")


@pytest.fixture
def manager(tmp_path):
    """Listen as a service manager does; `heard()` is all that has come."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(address))
        line.setblocking(False)
        messages = []

        def heard():
            try:
                while True:
                    messages.append(line.recv(65536).decode())
            except BlockingIOError:
                return messages

        yield address, heard


def test_a_stop_while_the_configuration_is_reloaded_starts_no_more_work(tmp_path, ctemplate):
    (tmp_path / "catalog.yaml").write_text("services: {}\n")
    (tmp_path / "t.j2").write_text("text\n")
    check = f"sh -c 'echo >> {tmp_path}/checks; until [ -e {tmp_path}/go ]; do sleep 0.05; done'"
    group = f'[[group]]\nname = "a"\ncheck = {json.dumps(check)}\nreload = "true"\n'
    template = '[[template]]\nsource = "t.j2"\ndestination = "{}"\ngroup = "a"\n'
    config, control = tmp_path / "c.toml", tmp_path / "state/control"
    config.write_text(f'catalog = "catalog.yaml"\n{group}{template.format("a")}')
    daemon = ctemplate("-config", config)
    daemon.wait_for((tmp_path / "checks").exists, 60, "the first check")
    daemon.wait_for(lambda: list(control.glob("*.sock")), 60, "a socket")
    config.write_text(config.read_text() + template.format("b"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for(lambda: not list(control.glob("*.sock")), 60, "the end of what the new configuration replaces")
    daemon.terminate()
    (tmp_path / "go").touch()
    assert daemon.wait(60) == 0
    assert (tmp_path / "checks").read_text() == "\n", "the check that was under way"
    assert [(tmp_path / name).exists() for name in ("a", "b")] == [True, False]


def test_a_service_manager_hears_of_the_life_of_the_daemon(tmp_path, ctemplate, manager):
    address, heard = manager
    (tmp_path / "catalog.yaml").write_text("services: {}\n")
    (tmp_path / "a.j2").write_text("{{ env('NOTIFY_SOCKET', 'nobody') }}")
    daemon = ctemplate(
        *("-catalog", tmp_path / "catalog.yaml", "-template", f"{tmp_path}/a.j2:{tmp_path}/a:true"),
        env={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "600000"},
    )
    daemon.wait_for(lambda: "STATUS=1 group: 1 applied" in heard(), 60, "a status")
    assert heard().index("READY=1\nSTATUS=started") < heard().index("STATUS=1 group: 1 applied")
    daemon.wait_for(lambda: heard().count("WATCHDOG=1") > 3, 60, "a watchdog that is fed")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for(lambda: "READY=1" in heard(), 60, "the end of the reload")
    order = [message.split("=")[0] for message in heard()]
    assert order.index("RELOADING") < len(order) - 1 - order[::-1].index("READY")
    assert (tmp_path / "a").read_text() == "nobody"  # programs that ctemplate starts cannot speak for it
    assert daemon.stop() == 0
    wait_for(lambda: "STOPPING=1\nSTATUS=stopping" in heard(), 60, "the end")


def test_ready_does_not_wait_for_consul(tmp_path, ctemplate, manager):
    address, heard = manager
    (tmp_path / "a.j2").write_text("{% for s in services() %}{{ s.name }}{% endfor %}")
    daemon = ctemplate(
        *("-consul-addr", "127.0.0.1:9", "-template", f"{tmp_path}/a.j2:{tmp_path}/a:true"),
        env={"NOTIFY_SOCKET": str(address)},
    )
    daemon.wait_for(lambda: "STATUS=1 group: 1 waiting" in heard(), 60, "a status")
    assert "READY=1\nSTATUS=started" in heard()
