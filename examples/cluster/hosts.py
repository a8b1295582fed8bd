"""Four hosts on this machine's loopback: which programs run on each, and how a host dies and comes back."""

import contextlib
import http.client
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1]
sys.path.append(str(EXAMPLES / "nginx"))
from stage import HIGHEST_PORT, LOWEST_PORT, ROOT, DemoFailure, Running, Stage, wait_for  # noqa: E402  # the demo's

SERVICE = "web"
LIMIT = 60.0  # seconds that the cluster has for any step
PORTS = ("http", "server", "serf_lan", "web", "nginx")
SHARED = Path(__file__).with_name("consul.json")


@dataclass(kw_only=True)
class Host:
    """A host: its own address and folder, and what runs on it."""

    name: str
    address: str
    folder: Path
    is_server: bool
    is_balancer: bool
    running: list[Running] = field(default_factory=list)

    @property
    def role(self) -> str:
        """What the host is for, in words."""
        return ("Consul server" if self.is_server else "Consul client") + ", nginx" * self.is_balancer

    @property
    def conf(self) -> Path:
        """Nginx's configuration."""
        return self.folder / "nginx.conf"

    def die(self) -> None:
        """Kill every program of the host at once."""
        for one in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.popen.pid, signal.SIGKILL)
        for one in self.running:
            one.popen.wait()
        self.running.clear()


class Cluster(Stage):
    """Three Consul servers and a client, a backend on each; nginx and ctemplate on the last two hosts.

    As on real hosts, every host uses the same ports: only the addresses differ.
    """

    def __init__(self, folder: Path) -> None:
        """Describe the hosts; nothing runs yet."""
        super().__init__(folder)
        self.hosts = [
            Host(
                name=f"node-{number}",
                address=f"127.0.0.{number + 1}",
                folder=folder / f"node-{number}",
                is_server=number <= 3,  # noqa: PLR2004
                is_balancer=number >= 3,  # noqa: PLR2004
            )
            for number in range(1, 5)
        ]
        addresses = [host.address for host in self.hosts]
        self.ports = dict(zip(PORTS, _free_ports(addresses, len(PORTS)), strict=True))
        for host in self.hosts:
            host.folder.mkdir()
            host.folder.chmod(0o755)

    def __exit__(self, *fault: object) -> None:
        """Ask all programs to end at once, then wait for each."""
        for one in self.running:
            if one.popen.poll() is None:
                one.popen.terminate()
        super().__exit__(*fault)

    @property
    def balancers(self) -> list[Host]:
        """The hosts that clients talk to."""
        return [host for host in self.hosts if host.is_balancer]

    def launch(self, host: Host, program: str, argv: Sequence[str | Path], **options: Any) -> Running:
        """Start a program of a host."""
        running = self.start(f"{host.name}-{program}", argv, **options)
        host.running.append(running)
        return running

    def start_consul(self, host: Host | None = None) -> None:
        """Start the agent of a host, a server or a client, or those of all hosts."""
        for one in [host] if host else self.hosts:
            own = one.folder / "consul.json"
            own.write_text(json.dumps({"ports": self._consul_ports()}))
            joined = [f"-retry-join={other.address}:{self.ports['serf_lan']}" for other in self.hosts if other != one]
            role = ["-server", "-bootstrap-expect=3"] if one.is_server else []
            places = [f"-bind={one.address}", f"-client={one.address}", f"-data-dir={one.folder}/data"]
            files = [f"-config-file={SHARED}", f"-config-file={own}"]
            argv = [self.consul_program, "agent", f"-node={one.name}", *role, *places, *files, *joined]
            self.launch(one, "consul", [*argv, "-retry-interval=1s"])

    def _consul_ports(self) -> dict[str, int]:
        known = subprocess.run([self.consul_program, "agent", "-help"], capture_output=True, text=True, check=False)
        closed = ["dns", "https", "grpc", "serf_wan"] + ["grpc_tls"] * ("-grpc-tls-port" in known.stdout + known.stderr)
        return dict.fromkeys(closed, -1) | {name: self.ports[name] for name in ("http", "server", "serf_lan")}

    def start_web(self, host: Host) -> None:
        """Start the backend of a host, which registers itself with the host's agent."""
        where = ["--address", host.address, "--port", str(self.ports["web"])]
        argv = [EXAMPLES / "nginx/backend.py", SERVICE, *where, "--consul", f"{host.address}:{self.ports['http']}"]
        backend = self.launch(host, "web", [sys.executable, *argv], stdout=subprocess.PIPE)
        if not (backend.popen.stdout and backend.popen.stdout.readline()):
            raise DemoFailure(f"the backend of {host.name} ended at once\n{backend.last_words()}")

    def start_balancer(self, host: Host) -> None:
        """Start nginx with the files that are there, and ctemplate, which asks the host's own agent."""
        if not host.conf.exists():
            host.conf.write_text(f"pid {host.folder}/nginx.pid;\nevents {{\n}}\n")
        nginx = [self.nginx_program, "-p", f"{host.folder}/", "-c", host.conf, "-e", host.folder / "error.log"]
        self.launch(host, "nginx", [*nginx, "-g", "daemon off;"])
        reload = " ".join(map(str, [*nginx, "-s", "reload"]))
        options = ["-consul-addr", f"{host.address}:{self.ports['http']}", "-state-dir", host.folder / "state"]
        options += ["-template", f"{ROOT}/templates/nginx.conf.j2:{host.conf}:{reload}", "-wait", "200ms:1s"]
        variables = itertools.chain(*(("-var", f"{name}={value}") for name, value in self._vars_of(host).items()))
        self.launch(host, "ctemplate", [sys.executable, "-m", "ctemplate", *options, *variables])

    def _vars_of(self, host: Host) -> dict[str, object]:
        """Return what differs from a host of its own: there, none of these is needed but `domain`."""
        logs = {name: host.folder / f"{name}.log" for name in ("error_log", "access_log", "stream_access_log")}
        return (
            self._variables()
            | logs
            | {
                "domain": "example.com",
                "listen": host.address,
                "http_port": self.ports["nginx"],
                "pid": host.folder / "nginx.pid",
                "temp_dir": host.folder,
            }
        )

    def start_host(self, host: Host) -> None:
        """Start all programs of a host, as after its boot."""
        self.start_consul(host)
        self.wait_leader(host)
        self.start_web(host)
        if host.is_balancer:
            self.start_balancer(host)

    def wait_leader(self, host: Host) -> None:
        """Wait until a host's agent has a leader."""
        wait_for(lambda: self.ask(host, "/v1/status/leader"), f"Consul with a leader at {host.name}", LIMIT)

    def ask(self, host: Host, path: str) -> Any:
        """Return the answer of a host's agent; None while there is none."""
        connection = http.client.HTTPConnection(host.address, self.ports["http"], timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return json.loads(answer.read()) if answer.status == http.HTTPStatus.OK else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def backend_of(self, host: Host) -> str:
        """Return the id with which a host's backend answers."""
        return f"{SERVICE}-{host.address}-{self.ports['web']}"

    def served_by(self, balancer: Host) -> set[str]:
        """Return the hosts to which a balancer's nginx may send requests, by its configuration."""
        text = balancer.conf.read_text()
        return {host.name for host in self.hosts if f"server {host.address}:{self.ports['web']} max_fails" in text}


def _free_ports(addresses: Sequence[str], count: int) -> list[int]:
    """Return ports that are free at all of these addresses, for TCP and UDP."""
    found: set[int] = set()
    while len(found) < count:
        port = LOWEST_PORT + secrets.randbelow(HIGHEST_PORT - LOWEST_PORT)
        with contextlib.ExitStack() as sockets, contextlib.suppress(OSError):
            for address, kind in itertools.product(addresses, (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
                sockets.enter_context(socket.socket(socket.AF_INET, kind)).bind((address, port))
            found.add(port)
    return sorted(found)
