"""The programs of the demo: where they are, how they are started on loopback, and how all of them end."""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LOWEST_PORT, HIGHEST_PORT = 15000, 32000  # below those that Linux gives to outgoing connections
WORKERS = 2
END_WITHIN = 5.0  # seconds that a program has after SIGTERM


class DemoFailure(Exception):
    """The demo cannot go on; the text says why."""


def program(name: str) -> str:
    """Return where `nginx`, `consul` or the `stream-module` is; scripts/tools.sh holds the rule."""
    found = subprocess.run([ROOT / "scripts/tools.sh", "which", name], capture_output=True, text=True, check=False)
    if found.returncode:
        raise DemoFailure(f"{name} is not here; run 'make demo', which installs it")
    return found.stdout.strip()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    while True:
        port = LOWEST_PORT + secrets.randbelow(HIGHEST_PORT - LOWEST_PORT)
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return port


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 20) -> None:
    """Return as soon as the condition holds; fail if it never does."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise DemoFailure(f"no {what} within {timeout:g} s")
        time.sleep(0.005)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A started program and the file that holds its words."""

    name: str
    popen: "subprocess.Popen[str]"
    log: Path

    def stop(self) -> None:
        """Ask it to end; insist after a while."""
        with contextlib.suppress(ProcessLookupError):
            self.popen.terminate()
        try:
            self.popen.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.popen.kill()
        self.popen.wait()

    def last_words(self, lines: int = 15) -> str:
        """Return the end of its log, indented."""
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in text[-lines:])


class Stage:
    """A folder, a set of ports, and the programs that run there; leaving the block ends them, last started first."""

    def __init__(self, folder: Path) -> None:
        """Look for the programs and choose ports; nothing runs yet."""
        self.folder = folder
        self.nginx_program = program("nginx")
        self.stream_module = program("stream-module")
        self.consul_program = program("consul")
        self.consul = f"127.0.0.1:{free_port()}"
        self.http_port = free_port()
        self.tcp_port = free_port()
        self.tcp_name = f"tcpfront-{self.tcp_port}"
        self.conf = folder / "nginx.conf"
        self.running: list[Running] = []

    def __enter__(self) -> Self:
        """Stand ready to start programs."""
        return self

    def __exit__(self, *_fault: object) -> None:
        """End what runs."""
        while self.running:
            self.running.pop().stop()

    def start(self, name: str, argv: Sequence[str | Path], *, stdout: int | IO[str] | None = None) -> Running:
        """Start a program in a process group of its own, which also ends when the demo is killed."""
        log = self.folder / f"{name}.log"
        guard = _ends_with(os.getpid()) if shutil.which("setpriv") else []
        with log.open("a") as words:
            popen = subprocess.Popen(
                [*guard, *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=stdout or words,
                stderr=words,
                text=True,
                cwd=self.folder,
                env=_environment(),
                process_group=0,
            )
        self.running.append(Running(name=name, popen=popen, log=log))
        return self.running[-1]

    def start_consul(self) -> None:
        """Start an agent in memory and wait until it leads itself."""
        config = self.folder / "consul.json"
        config.write_text(json.dumps(self._consul_config()))
        self.start("consul", [self.consul_program, "agent", "-dev", f"-config-file={config}"])
        wait_for(self._consul_leads, "Consul that leads itself", timeout=30)

    def _consul_config(self) -> dict[str, Any]:
        known = subprocess.run([self.consul_program, "agent", "-help"], capture_output=True, text=True, check=False)
        closed = ["dns", "https", "grpc", "serf_wan"] + ["grpc_tls"] * ("-grpc-tls-port" in known.stdout + known.stderr)
        own = {"http": int(self.consul.rpartition(":")[2]), "server": free_port(), "serf_lan": free_port()}
        return {
            "node_name": "demo",
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "ports": dict.fromkeys(closed, -1) | own,
            "disable_update_check": True,
        }

    def _consul_leads(self) -> bool:
        try:
            return bool(self.ask_consul("/v1/status/leader")) and bool(self.ask_consul("/v1/catalog/nodes"))
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def ask_consul(self, path: str) -> Any:
        """Return Consul's answer to a GET."""
        connection = http.client.HTTPConnection(self.consul, timeout=5)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    @property
    def nginx_command(self) -> list[str]:
        """The arguments that name the demo's nginx among others."""
        return [self.nginx_program, "-p", f"{self.folder}/", "-c", str(self.conf), "-e", f"{self.folder}/error.log"]

    def start_nginx(self) -> None:
        """Start nginx as on a new machine: with nothing to serve."""
        self.conf.write_text(f"pid {self.folder}/nginx.pid;\nevents {{\n}}\n")
        self.start("nginx", [*self.nginx_command, "-g", "daemon off;"])
        pid = self.folder / "nginx.pid"
        wait_for(lambda: pid.exists() and bool(pid.read_text().strip()), "nginx that has started")

    def nginx_workers(self) -> frozenset[int]:
        """Return the pids of all workers, those included that only finish their last requests."""
        (master,) = (one.popen.pid for one in self.running if one.name == "nginx")
        return frozenset(map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split()))

    def start_ctemplate(self) -> None:
        """Start ctemplate between Consul and nginx."""
        reload = " ".join([*self.nginx_command, "-s", "reload"])
        template = f"{ROOT}/templates/nginx.conf.j2:{self.conf}:{reload}"
        options = ["-consul-addr", self.consul, "-state-dir", str(self.folder / "state"), "-template", template]
        variables = [part for name, value in self._variables().items() for part in ("-var", f"{name}={value}")]
        self.start("ctemplate", [sys.executable, "-m", "ctemplate", *options, *variables])

    def _variables(self) -> dict[str, object]:
        return {
            "listen": "127.0.0.1",
            "http_port": self.http_port,
            "stream_module": self.stream_module,
            "user": "",
            "worker_processes": WORKERS,
            "worker_connections": 256,
            "worker_rlimit_nofile": "",
            "pid": self.folder / "nginx.pid",
            "error_log": self.folder / "error.log",
            "access_log": self.folder / "access.log",
            "stream_access_log": self.folder / "stream.log",
            "temp_dir": self.folder,
        }

    def start_backend(self, name: str, protocol: str, check: str) -> tuple[str, Running]:
        """Start a backend; return its id once it has registered itself."""
        script = HERE / "backend.py"
        options = ["--protocol", protocol, "--check", check, "--consul", self.consul]
        backend = self.start("backends", [sys.executable, script, name, *options], stdout=subprocess.PIPE)
        first_line = backend.popen.stdout.readline() if backend.popen.stdout else ""
        if not first_line:
            raise DemoFailure(f"a backend of {name} ended at once\n{backend.last_words()}")
        return first_line.split()[0], backend

    def last_words(self) -> str:
        """Return the ends of all logs, for a failure's report."""
        logs = {one.log: one for one in self.running if one.log.stat().st_size}
        return "\n".join(f"{one.name} said:\n{one.last_words()}" for one in logs.values())


def _ends_with(parent: int) -> list[str]:
    """Return what to write before a command so that it ends with its parent, even one that died meanwhile."""
    return ["setpriv", "--pdeathsig", "TERM", "sh", "-c", f'test "$PPID" = {parent} && exec "$@"', "sh"]


def _environment() -> dict[str, str]:
    """Return the environment without what would lead programs to another Consul; ctemplate is found uninstalled too."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONSUL_")}
    path = os.pathsep.join(part for part in (str(ROOT), inherited.get("PYTHONPATH", "")) if part)
    return inherited | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
