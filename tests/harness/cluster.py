"""Three Consul servers that elect a leader, each on its own loopback address."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from harness.consul import START_LIMIT, Consul, ConsulRefusal
from harness.island import Island
from harness.waiting import wait_for

SIZE = 3


class Cluster:
    """Servers 0, 1 and 2, on 127.0.0.2 to 127.0.0.4, or 0 on an island and the others at its shore."""

    def __init__(self, folder: Path, island: Island | None = None, config: Mapping[str, Any] | None = None):
        """Describe the servers; `config` is added to what all of them are told."""
        config = CONFIG | dict(config or {})
        places = [f"127.0.0.{number + 2}" for number in range(SIZE)]
        if island:
            places = [island.place, island.shore, island.shore]
        self.servers = [
            Consul(folder, servers=SIZE, bind=place, name=f"server{number}", config=config, **_dwelling(number, island))
            for number, place in enumerate(places)
        ]
        self._names = {
            f"{place}:{server.ports['server']}": number
            for number, (place, server) in enumerate(zip(places, self.servers, strict=True))
        }
        for server in self.servers:
            server.join(
                [f"{place}:{other.ports['serf_lan']}" for place, other in zip(places, self.servers, strict=True)]
            )

    def start(self) -> Self:
        """Start all servers and wait for a leader that all of them know."""
        for server in self.servers:
            server.launch()
        self.wait_whole()
        return self

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    @property
    def address(self) -> str:
        """All addresses, in the order of the servers."""
        return ",".join(server.address for server in self.servers)

    def wait_whole(self) -> None:
        """Wait until every server answers and knows the same leader."""
        for server in self.servers:
            server.wait_leader()
        wait_for(lambda: len({_leader(server) for server in self.servers}) == 1, START_LIMIT, "one leader for all")

    def leader(self) -> int:
        """Return the number of the server that leads, waiting for an election that goes on."""

        def number() -> str:
            known = {_leader(server) for server in self.servers if server.process.is_running} - {""}
            return str(self._names[known.pop()]) if len(known) == 1 else ""

        return int(wait_for(number, START_LIMIT, "leader"))

    @contextmanager
    def paused(self, numbers: Sequence[int]) -> Iterator[None]:
        """Freeze servers: to the others they are cut off."""
        for number in numbers:
            self.servers[number].pause()
        try:
            yield
        finally:
            for number in numbers:
                self.servers[number].resume()


def _dwelling(number: int, island: Island | None) -> dict[str, str]:
    return {"host": island.clients_place, "namespace": island.name} if island and number == 0 else {}


CONFIG = {"autopilot": {"cleanup_dead_servers": False}}  # a frozen server is to come back as the one it was


def _leader(server: Consul) -> str:
    try:
        return str(server.api("GET", "/v1/status/leader") or "")
    except (OSError, ConsulRefusal):
        return ""
