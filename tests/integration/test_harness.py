"""The harness itself, where an error in it would make other tests pass wrongly."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT, Ctemplate, Process, free_port, http_get, tcp_read, wait_for
from harness.forks import fork_server

BLOCKS = """
http {{
{http}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{http_backend}; }} }}
}}
stream {{
    server {{ listen 127.0.0.1:{stream_port}; proxy_pass 127.0.0.1:{tcp_backend}; }}
}}
"""


def test_consul_registers_checks_and_deregisters(consul, http_backend):
    backend = http_backend("a")
    consul.register("web", service_id="web/1", port=backend.port, checks=[{"TTL": "1h", "Status": "passing"}])
    consul.register(
        "web", service_id="web/2", port=backend.port, checks=[{"HTTP": backend.health_url, "Interval": "100ms"}]
    )
    consul.wait_passing("web", ["web/1", "web/2"])
    consul.set_check("service:web/1", "critical", "asked for")
    backend.healthy = False
    consul.wait_passing("web", [])
    backend.healthy = True
    consul.wait_passing("web", ["web/2"])
    consul.maintenance("web/2", on=True)
    consul.wait_passing("web", [])
    consul.maintenance("web/2", on=False)
    consul.wait_passing("web", ["web/2"])
    consul.deregister("web/1")
    consul.deregister("web/2")
    wait_for(lambda: consul.health("web") == [], 10, "web without instances")


def test_consul_restart_keeps_services_on_the_same_address(start_consul):
    consul = start_consul(persistent=True)
    consul.register("web", port=80)
    consul.restart()
    consul.wait_passing("web", ["web"])


def test_consul_restart_can_forget(start_consul):
    consul = start_consul(persistent=True)
    consul.register("web", port=80)
    consul.restart(keep_data=False)
    assert consul.health("web") == []


def test_consul_killed_comes_back(start_consul):
    consul = start_consul(persistent=True)
    consul.kill()
    with pytest.raises(ConnectionRefusedError):
        consul.api("GET", "/v1/status/leader")
    consul.start()


def test_consul_paused_accepts_and_does_not_answer(consul):
    consul.pause()
    with pytest.raises(TimeoutError):
        http_get(consul.port, "/v1/status/leader", timeout=0.2)
    consul.resume()
    consul.wait_leader()


def test_nginx_serves_http_and_stream_and_reloads(nginx, http_backend, tcp_backend):
    first, second, raw = http_backend("first"), http_backend("second"), tcp_backend("raw")
    port, stream_port = free_port(), free_port()

    def conf(backend):
        blocks = BLOCKS.format(
            http=nginx.http, port=port, http_backend=backend.port, stream_port=stream_port, tcp_backend=raw.port
        )
        return nginx.main + blocks

    nginx.conf.write_text(conf(first))
    nginx.start()
    before = nginx.workers()
    assert http_get(port) == (200, f"first {first.port}")
    assert tcp_read(stream_port) == f"raw {raw.port}"
    nginx.conf.write_text(conf(second))
    nginx.reload()
    assert (len(before), len(nginx.workers()), nginx.reloads()) == (2, 2, 1)
    assert not set(before) & set(nginx.workers())
    assert http_get(port) == (200, f"second {second.port}")
    assert (first.hits, second.hits, raw.hits) == (1, 1, 1)


def test_nginx_reload_refused_is_told_with_the_error_log(nginx):
    nginx.conf.write_text(nginx.main)
    nginx.start()
    nginx.conf.write_text("garbage;")
    with pytest.raises(AssertionError) as raised:
        nginx.reload(timeout=0.5, exactly=True)
    assert any('unknown directive "garbage"' in note for note in raised.value.__notes__)
    assert nginx.check().returncode == 1


def test_backend_stopped_refuses_and_starts_again_on_its_port(http_backend):
    backend = http_backend("a")
    backend.stop()
    with pytest.raises(ConnectionRefusedError):
        http_get(backend.port)
    backend.start()
    assert http_get(backend.port) == (200, f"a {backend.port}")


def test_wait_for_tells_what_was_missing_and_the_log():
    with pytest.raises(AssertionError) as raised:
        wait_for(list, 0, "sign of life", log=lambda: "one\ntwo", exactly=True)
    assert str(raised.value) == "no sign of life within 0s; last seen: []\n    one\n    two"


def test_process_that_ends_early_ends_the_wait(tmp_path):
    process = Process("early", ["sh", "-c", "echo gone >&2; exit 3"], tmp_path).start()
    with pytest.raises(AssertionError, match="early ended with 3 before readiness\n    gone"):
        process.wait_for(lambda: False, 10, "readiness")


def test_process_is_killed_with_its_group(tmp_path):
    process = Process("family", ["sh", "-c", "sleep 60 & echo $!; wait"], tmp_path).start()
    child = int(process.wait_for(process.stdout, 10, "pid of the child"))
    process.kill()
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: not is_alive(child), 10, "end of the child")


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("Process('sleeper', ['sleep', '60'], here)", id="exec"),
        pytest.param("Ctemplate(here, '-consul-addr', '127.0.0.1:9', '-template', 't.j2:out')", id="fork"),
    ],
)
def test_nothing_outlives_a_killed_pytest(tmp_path, program):
    (tmp_path / "t.j2").write_text("{{ services() }}")
    starter = (
        "import sys, time; from pathlib import Path; from harness import Ctemplate, Process; here = Path(sys.argv[1]);"
        f"print({program}.start().pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter, tmp_path],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
    ) as parent:
        orphan = int(parent.stdout.readline())
        comm = Path(f"/proc/{orphan}/comm")
        wait_for(lambda: comm.read_text() != "setpriv\n", 10, "the program, which setpriv becomes")
        assert is_alive(orphan)
        parent.kill()
    wait_for(lambda: not is_alive(orphan), 10, "end of the orphan")


SEEN = """
import json, os, signal, sys, threading, time
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "argv": sys.argv,
    "path": sys.path,
    "environ": dict(os.environ),
    "cwd": os.getcwd(),
    "streams": [os.readlink(f"/proc/self/fd/{number}") for number in range(3)],
    "unbuffered": [sys.stdout.write_through, sys.stderr.line_buffering],
    "descriptors": len(os.listdir("/proc/self/fd")),
    "leads a group": os.getpgid(0) == os.getpid(),
    "session": os.getsid(0),
    "threads": threading.active_count(),
    "status": [status[name] for name in ("Umask", "SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "CapEff")],
    "handlers": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
    "zone": time.tzname,
    "module": __name__,
}, indent=1))
sys.exit(7)
"""


@pytest.mark.parametrize("more", [{}, {"TZ": "UTC-5", "ODD": "\udcff\n"}], ids=["plain", "zone"])
def test_a_fork_sees_what_a_command_sees(tmp_path, more):
    (tmp_path / "seen.py").write_text(SEEN)
    environ = Ctemplate(tmp_path, env=more).env
    argv = ["-a", "b c", "\udcff", ""]
    before = os.umask(0o027)
    try:
        command = Process("seen", [sys.executable, "-m", "seen", *argv], tmp_path, env=environ).start()
        assert command.wait() == 7
        with (tmp_path / "fork.out").open("wb") as out, (tmp_path / "seen.err").open("ab") as err:
            fork = fork_server(environ).start("seen", argv, out=out, err=err, env=environ, cwd=tmp_path)
            assert fork.wait() == 7
    finally:
        os.umask(before)
    seen = (tmp_path / "fork.out").read_text().replace("fork.out", "seen.out")
    assert seen == command.stdout()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
