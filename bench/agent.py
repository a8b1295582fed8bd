"""A real Consul agent on loopback, filled with services, and the changes to measure."""

import contextlib
import http.client
import json
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness import Process, free_port

ROOT = Path(__file__).parents[1]
NODES = 40  # hosts that the instances are spread over, as in the field: some tens of instances each
SPREAD = 3  # instances of a service that were there from the start are on different nodes
START_LIMIT = 30.0
OPERATIONS = 60  # per transaction; Consul allows 64
RAISED = {"http_max_conns_per_client": 10_000}  # for a connection per service; Consul wants as many open files


def consul_program() -> str:
    """Return the path of consul; scripts/tools.sh holds the rule."""
    command = [str(ROOT / "scripts/tools.sh"), "which", "consul"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def consul_version() -> str:
    command = [consul_program(), "version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


class Agent:
    """Speaks to one agent over one kept connection."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self.address = f"127.0.0.1:{port}"
        self.nodes = NODES
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def api(self, method: str, path: str, body: object = None) -> object:
        """Return the decoded answer; raises RuntimeError for any status but 200."""
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != http.client.OK:
            raise RuntimeError(f"{method} {path}: {response.status} {text.decode(errors='replace')}")
        return json.loads(text) if text else None

    def is_ready(self) -> bool:
        """Whether the agent has a leader and knows itself."""
        with contextlib.suppress(OSError, http.client.HTTPException, RuntimeError):
            return bool(self.api("GET", "/v1/status/leader") and self.api("GET", "/v1/catalog/nodes"))
        self._connection.close()
        return False

    def fill(self, services: int, instances: int, nodes: int = NODES) -> None:
        """Register services, every other one tagged http, each instance with a passing check, spread over nodes."""
        self.nodes = nodes
        operations: list[object] = [
            {"Node": {"Verb": "set", "Node": {"Node": node_name(node), "Address": "10.0.0.1"}}} for node in range(nodes)
        ]
        for number in range(services):
            for instance in range(instances):
                operations += self._registration(number, instance)
        for start in range(0, len(operations), OPERATIONS):
            self.api("PUT", "/v1/txn", operations[start : start + OPERATIONS])

    def _node(self, number: int, instance: int) -> str:
        return node_name((number * SPREAD + instance) % self.nodes)

    def _registration(
        self, number: int, instance: int, port: int | None = None, status: str = "passing"
    ) -> list[object]:
        return registration(self._node(number, instance), number, instance, port, status)

    def register(self, number: int, instance: int, port: int | None = None, status: str = "passing") -> None:
        """Register an instance with its check, as an agent does."""
        self.api("PUT", "/v1/txn", self._registration(number, instance, port, status))

    def move(self, number: int, instance: int, port: int) -> None:
        """Change an instance's port and nothing else."""
        self.api("PUT", "/v1/txn", self._registration(number, instance, port)[:1])

    def deregister(self, number: int, instance: int) -> None:
        """Remove an instance with its check."""
        entry = {"Node": self._node(number, instance), "ServiceID": f"{service_name(number)}-{instance}"}
        self.api("PUT", "/v1/catalog/deregister", entry)

    def turn(self, number: int, instance: int, status: str) -> None:
        """Turn an instance's check."""
        self.api("PUT", "/v1/txn", self._registration(number, instance, status=status)[1:])


def node_name(node: int) -> str:
    """Return the name of a node by its number."""
    return f"bench-node-{node:04}"


def service_name(number: int) -> str:
    """Return the name of a service by its number."""
    return f"svc{number:05}"


def address_of(number: int, instance: int) -> str:
    """Return the address of an instance; no two have the same."""
    return f"10.{1 + instance}.{number // 250}.{number % 250 + 1}"


def registration(
    node: str, number: int, instance: int, port: int | None = None, status: str = "passing"
) -> list[object]:
    """Return the operations that register an instance and its check on a node."""
    name = service_name(number)
    id_ = f"{name}-{instance}"
    service = {
        "ID": id_,
        "Service": name,
        "Tags": ["http"] if number % 2 == 0 else ["other"],
        "Address": address_of(number, instance),
        "Port": 8000 + instance if port is None else port,
    }
    check = {"Node": node, "CheckID": f"service:{id_}", "Name": "alive", "ServiceID": id_, "Status": status}
    return [
        {"Service": {"Verb": "set", "Node": node, "Service": service}},
        {"Check": {"Verb": "set", "Check": check}},
    ]


@contextlib.contextmanager
def running_agent(limits: Mapping[str, object] | None = None) -> Iterator[Agent]:
    """Run a development agent in memory; ``limits`` as in Consul's configuration, its defaults when None."""
    port = free_port()
    ports = {"http": port, "server": free_port(), "serf_lan": free_port()}
    config = {
        "node_name": "bench",
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "ports": {"dns": -1, "https": -1, "grpc": -1, "serf_wan": -1} | ports,
        "disable_update_check": True,
        "log_level": "ERR",
    }
    if limits:
        config["limits"] = limits
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # connections are files, here and in what is started
    with tempfile.TemporaryDirectory(prefix="bench-consul-") as folder:
        file = Path(folder) / "consul.json"
        file.write_text(json.dumps(config))
        process = Process("consul", [consul_program(), "agent", "-dev", f"-config-file={file}"], Path(folder))
        process.start()
        try:
            agent = Agent(port, process.pid)
            process.wait_for(agent.is_ready, START_LIMIT, "Consul with a leader and its own node")
            yield agent
        finally:
            process.stop()
