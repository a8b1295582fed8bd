"""A real Consul agent on loopback with its own ports."""

import functools
import http.client
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from harness.ports import free_port
from harness.processes import Process
from harness.programs import program
from harness.waiting import PATIENCE, wait_for

START_LIMIT = 30.0  # seconds until there is a leader; a busy machine takes several


class ConsulRefusal(AssertionError):  # an answer, not a fault of ours
    """An answer with a status of 400 or more."""

    def __init__(self, request: str, status: int, text: str):
        super().__init__(f"{request}: {status} {text}")
        self.status = status
        self.text = text


class Consul:
    """One agent: in memory (`-dev`) by default, a server with a data folder when persistent.

    `servers` is how many make a cluster; more than one are persistent, and so is a client agent, which joins servers.
    `bind` is where they hear each other, `host` where clients reach one, `namespace` the network namespace that it runs
    in. Limits are Consul's own unless `config`, in the words of Consul's configuration file, says otherwise.
    """

    def __init__(
        self,
        folder: Path,
        *,
        persistent: bool = False,
        config: Mapping[str, Any] | None = None,
        http_port: int | None = None,
        name: str = "consul",
        servers: int = 1,
        is_client: bool = False,
        bind: str = "127.0.0.1",
        host: str = "127.0.0.1",
        namespace: str = "",
    ):
        self.port = http_port or free_port()
        self.host = host
        self.address = f"{host}:{self.port}"
        self.persistent = persistent or servers > 1 or is_client
        self.data_dir = folder / f"{name}-data"
        self.config_file = folder / f"{name}.json"
        base, own = _config(name, self.port, bind, host), dict(config or {})
        self.ports: dict[str, int] = base["ports"] | own.pop("ports", {})
        self._config = base | own | {"ports": self.ports}
        as_server = [] if is_client else ["-server", f"-bootstrap-expect={servers}"]
        mode = [*as_server, f"-data-dir={self.data_dir}"] if self.persistent else ["-dev"]
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        argv = [*inside, program("consul"), "agent", *mode, f"-config-file={self.config_file}"]
        self.process = Process(name, argv, folder)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> Self:
        """Start the agent and wait until it is its own leader."""
        self.launch()
        self.wait_leader()
        return self

    def launch(self) -> None:
        """Start the agent, and wait for nothing."""
        self.config_file.write_text(json.dumps(self._config))
        self.process.start()

    def join(self, places: Sequence[str], *, wan: bool = False) -> None:
        """Have the agent join others, `ADDRESS:SERF_PORT` each, when it is started."""
        self._config["retry_join_wan" if wan else "retry_join"] = list(places)
        self._config["retry_interval_wan" if wan else "retry_interval"] = "1s"

    def rename(self, node_name: str) -> None:
        """Give the agent's node another name when it is next started."""
        self._config["node_name"] = node_name

    def stop(self) -> None:
        """End the agent with SIGTERM; a server that stops keeps its data and its registrations."""
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        """Freeze the agent: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def restart(self, *, keep_data: bool = True) -> None:
        """Stop and start on the same address; an agent in memory always forgets everything."""
        assert self.persistent or not keep_data, "an agent in memory keeps no data: start it with persistent=True"
        self.stop()
        if not keep_data:
            shutil.rmtree(self.data_dir, ignore_errors=True)
        self.start()

    def wait_leader(self, timeout: float = START_LIMIT) -> None:
        """Wait until writes are possible and the agent has registered itself."""
        self.process.wait_for(self._is_ready, timeout, "Consul with a leader and its own node")

    def _is_ready(self) -> bool:
        try:
            return bool(self.api("GET", "/v1/status/leader")) and bool(self.api("GET", "/v1/catalog/nodes"))
        except (OSError, http.client.HTTPException, ConsulRefusal):
            return False

    def log(self) -> str:
        return self.process.output()

    def api(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """Return the decoded JSON answer (None when empty); raise `ConsulRefusal` for a status of 400 or more.

        A body of `str` or `bytes` is sent as it is, anything else as JSON.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        data = body if isinstance(body, str | bytes | None) else json.dumps(body)
        try:
            connection.request(method, path, data, {"X-Consul-Token": token} if token else {})
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise ConsulRefusal(f"{method} {path}", response.status, text.strip())
        return _decoded(text)

    def register(
        self,
        name: str,
        *,
        service_id: str | None = None,
        address: str = "127.0.0.1",
        port: int = 0,
        tags: Sequence[str] = (),
        meta: Mapping[str, str] | None = None,
        checks: Sequence[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> str:
        """Register an instance with this agent and return its id; `fields` are further fields in Consul's spelling.

        Checks are Consul's: `{"TTL": "1h", "Status": "passing"}`, `{"HTTP": url, "Interval": "1s"}`,
        `{"TCP": "host:port", "Interval": "1s"}`. Without `CheckID` they are called `service:ID` or, when there are
        several, `service:ID:1` and so on.
        """
        service = {
            "ID": service_id or name,
            "Name": name,
            "Address": address,
            "Port": port,
            "Tags": list(tags),
            "Meta": dict(meta or {}),
            "Checks": [dict(check) for check in checks],
        }
        self.api("PUT", "/v1/agent/service/register?replace-existing-checks=true", service | fields)
        return service_id or name

    def deregister(self, service_id: str) -> None:
        self.api("PUT", f"/v1/agent/service/deregister/{_quoted(service_id)}")

    def catalog(self, name: str, service_id: str, port: int, *, address: str = "127.0.0.1") -> None:
        """Register an instance tagged `http` on a node of its own that no agent looks after: nobody repairs it."""
        service = {"Service": name, "ID": service_id, "Address": address, "Port": port, "Tags": ["http"]}
        self.api("PUT", "/v1/catalog/register", {"Node": "outside", "Address": address, "Service": service})

    def uncatalog(self, service_id: str) -> None:
        """Deregister what `catalog` registered."""
        self.api("PUT", "/v1/catalog/deregister", {"Node": "outside", "ServiceID": service_id})

    def snapshot(self) -> bytes:
        """Return a snapshot of all that Consul knows; `restore` takes it."""
        with urllib.request.urlopen(f"{self.url}/v1/snapshot", timeout=PATIENCE) as response:  # noqa: S310  # of our own
            return bytes(response.read())

    def restore(self, snapshot: bytes) -> None:
        self.api("PUT", "/v1/snapshot", snapshot)

    def set_check(self, check_id: str, status: str, output: str = "") -> None:
        """Report a TTL check as `passing`, `warning` or `critical`."""
        self.api("PUT", f"/v1/agent/check/update/{_quoted(check_id)}", {"Status": status, "Output": output})

    def maintenance(self, service_id: str, on: bool, reason: str = "test") -> None:  # noqa: FBT001  # reads as said
        query = urllib.parse.urlencode({"enable": str(on).lower(), "reason": reason})
        self.api("PUT", f"/v1/agent/service/maintenance/{_quoted(service_id)}?{query}")

    def health(self, name: str) -> list[dict[str, Any]]:
        """Return Consul's entries for all instances of a service, whatever their health."""
        return self.api("GET", f"/v1/health/service/{_quoted(name)}")

    def passing(self, name: str) -> list[str]:
        """Return the sorted ids of the instances that pass all their checks."""
        entries = self.api("GET", f"/v1/health/service/{_quoted(name)}?passing=1")
        return sorted(entry["Service"]["ID"] for entry in entries)

    def wait_passing(self, name: str, ids: Sequence[str], timeout: float = 15) -> None:
        """Wait until exactly these instances pass."""
        wait_for(lambda: self.passing(name) == sorted(ids), timeout, f"{name} passing as {ids}", log=self.log)


def _config(name: str, http_port: int, bind: str, host: str) -> dict[str, Any]:
    unused = {"dns": -1, "https": -1, "grpc": -1, "serf_wan": -1}
    if _version() >= (1, 14):
        unused["grpc_tls"] = -1
    return {
        "node_name": name,
        "bind_addr": bind,
        "client_addr": host,
        "ports": unused | {"http": http_port, "server": free_port(), "serf_lan": free_port()},
        "performance": {"raft_multiplier": 1},
        "disable_update_check": True,
        "log_level": "INFO",
    }


@functools.cache
def _version() -> tuple[int, ...]:
    text = subprocess.run([program("consul"), "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", text)
    assert found, text
    return tuple(int(part) for part in found.groups())


def _decoded(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except json.JSONDecodeError:
        return text


def _quoted(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def certificates(folder: Path, *, clients: int = 1) -> tuple[Any, ...]:
    """Make an authority, a server's and clients' certificates; return the authority and (certificate, key) pairs."""
    orders = [["ca", "create"], ["cert", "create", "-server"], *[["cert", "create", "-client"]] * clients]
    for order in orders:
        subprocess.run([program("consul"), "tls", *order], cwd=folder, check=True, capture_output=True)
    names = ["dc1-server-consul-0", *(f"dc1-client-consul-{number}" for number in range(clients))]
    pairs = [(str(folder / f"{name}.pem"), str(folder / f"{name}-key.pem")) for name in names]
    return (str(folder / "consul-agent-ca.pem"), *pairs)
