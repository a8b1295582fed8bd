"""A small HTTP or TCP server that registers itself with Consul, and deregisters when it is asked to end.

    backend.py httpfront --protocol http --check ttl
    backend.py tcpfront-9999 --protocol tcp --check tcp --consul 127.0.0.1:8500

It answers every request, or every connection, with its own id. Needs Python's standard library only.
"""

import argparse
import contextlib
import http.client
import http.server
import json
import os
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

ADDRESS = "127.0.0.1"
FULL_WEIGHT = 10
INTERVAL = 1.0  # seconds between two checks, or two heartbeats of a TTL check
CHECK = """\
import socket, sys
try:
    socket.create_connection(sys.argv[1].rsplit(":", 1), 1)
except OSError as fault:
    print(fault)
    sys.exit(2)  # critical; 1 is a warning
"""
STOP = {signal.SIGTERM, signal.SIGINT}


class HttpHandler(http.server.BaseHTTPRequestHandler):
    """Answers each GET with the instance's id."""

    protocol_version = "HTTP/1.1"  # keeps connections, as nginx does
    disable_nagle_algorithm = True  # head and body go out as two writes

    def do_GET(self) -> None:
        """Answer."""
        body = f"{_id(self.server)}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class TcpHandler(socketserver.BaseRequestHandler):
    """Answers each connection with the instance's id."""

    def handle(self) -> None:
        """Answer and hang up."""
        with contextlib.suppress(ConnectionError):  # a health check only knocks
            self.request.sendall(f"{_id(self.server)}\n".encode())


class Backend(socketserver.ThreadingTCPServer):
    """One instance of a service."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name: str, protocol: str, address: str, port: int) -> None:
        """Listen; port 0 takes any free one."""
        super().__init__((address, port), HttpHandler if protocol == "http" else TcpHandler)
        self.name = name
        self.address = address
        self.protocol = protocol
        self.port = self.socket.getsockname()[1]
        self.id = f"{name}-{self.port}" if address == ADDRESS else f"{name}-{address}-{self.port}"


def _id(server: socketserver.BaseServer) -> str:
    return server.id if isinstance(server, Backend) else ""


class Registration:
    """What Consul is told about a backend."""

    def __init__(self, consul: str, backend: Backend, check: str, warmup: float = 0.0) -> None:
        """Keep what is needed to register, again and again if Consul forgets; ``warmup`` is seconds."""
        self._consul = consul
        self._backend = backend
        self._check = check
        self._warmup = warmup
        self._began = time.monotonic()
        self._weight = 0

    def weight(self) -> int:
        """Return the weight for the time since the start: it grows from 1 to the full one."""
        age = time.monotonic() - self._began
        return max(1, int(FULL_WEIGHT * age / self._warmup)) if age < self._warmup else FULL_WEIGHT

    def register(self) -> bool:
        """Tell Consul's agent, and answer whether it agreed; with a TTL check, say at once that all is well."""
        self._weight = self.weight()
        service = {
            "ID": self._backend.id,
            "Name": self._backend.name,
            "Address": self._backend.address,
            "Port": self._backend.port,
            "Tags": [self._backend.protocol],
            **({"Weights": {"Passing": self._weight, "Warning": 1}} if self._warmup else {}),
            "Check": self._checks()[self._check] | {"DeregisterCriticalServiceAfter": "1m"},
        }
        return self._put("/v1/agent/service/register", service)

    def _checks(self) -> dict[str, dict[str, Any]]:
        where = f"{self._backend.address}:{self._backend.port}"
        return {
            "http": {"HTTP": f"http://{where}/", "Interval": f"{INTERVAL}s", "Timeout": "1s"},
            "tcp": {"TCP": where, "Interval": f"{INTERVAL}s", "Timeout": "1s"},
            "ttl": {"TTL": f"{3 * INTERVAL}s", "Status": "passing"},
            "script": {"Args": [sys.executable, "-c", CHECK, where], "Interval": f"{INTERVAL}s", "Timeout": "5s"},
        }

    def heartbeat(self) -> None:
        """Keep a TTL check passing; register again if Consul knows the check no more, or the weight has grown."""
        if self._warmup and self.weight() != self._weight:
            self.register()
        if self._check == "ttl" and not self._put(f"/v1/agent/check/pass/service:{self._backend.id}"):
            self.register()

    def deregister(self) -> None:
        """Take the instance out of Consul."""
        self._put(f"/v1/agent/service/deregister/{self._backend.id}")

    def _put(self, path: str, body: Any = None) -> bool:
        """Answer whether Consul agreed; say why not."""
        connection = http.client.HTTPConnection(self._consul, timeout=5)
        try:
            connection.request("PUT", path, json.dumps(body) if body else None)
            response = connection.getresponse()
            text = response.read().decode(errors="replace").strip()
        except (OSError, http.client.HTTPException) as fault:
            print(f"{self._backend.id}: {self._consul}: {fault}", file=sys.stderr)
            return False
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            print(f"{self._backend.id}: {path}: {response.status} {text}", file=sys.stderr)
        return response.status == http.HTTPStatus.OK


@contextlib.contextmanager
def serving(backend: Backend) -> Iterator[None]:
    """Answer requests within the block."""
    with backend:
        threading.Thread(target=backend.serve_forever, args=(0.05,), name=backend.id, daemon=True).start()
        yield
        backend.shutdown()


@contextlib.contextmanager
def registered(registration: Registration) -> Iterator[None]:
    """Be known to Consul within the block."""
    if not registration.register():
        sys.exit(1)
    try:
        yield
    finally:
        registration.deregister()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    options = _options()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # taken by sigtimedwait, and by no thread
    try:
        backend = Backend(options.name, options.protocol, options.address, options.port)
    except (OSError, OverflowError) as fault:
        sys.exit(f"{options.name}: port {options.port}: {fault}")
    registration = Registration(options.consul, backend, options.check, options.warmup)
    with serving(backend), registered(registration):
        print(f"{backend.id} registered", flush=True)
        while not signal.sigtimedwait(STOP, INTERVAL):
            registration.heartbeat()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="a server that registers itself with Consul")
    parser.add_argument("name", help="the service's name; a tcp service is called NAME-PORT")
    parser.add_argument("--protocol", choices=["http", "tcp"], default="http", help="what it speaks, and its tag")
    parser.add_argument(
        "--check", choices=["http", "tcp", "ttl", "script"], default="http", help="how Consul knows its health"
    )
    agent = os.environ.get("CONSUL_HTTP_ADDR", "127.0.0.1:8500")
    parser.add_argument("--consul", default=agent, help="the agent's address [CONSUL_HTTP_ADDR]")
    parser.add_argument("--address", default=ADDRESS, help="its address, where it listens and which it registers")
    parser.add_argument("--port", type=int, default=0, help="where it listens; any free port by default")
    parser.add_argument("--warmup", type=float, default=0.0, help="seconds until it takes its full share of traffic")
    options = parser.parse_args()
    if (options.protocol, options.check) == ("tcp", "http"):
        parser.error("a tcp server cannot pass an http check")
    return options


if __name__ == "__main__":
    main()
