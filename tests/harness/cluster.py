"""Three Consul servers that elect a leader, each on a loopback address of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from harness.consul import START_LIMIT, Consul, ConsulRefusal
from harness.waiting import wait_for

SIZE = 3


class Cluster:
    """Servers 0, 1 and 2, on 127.0.0.2 to 127.0.0.4; their HTTP addresses are on 127.0.0.1."""

    def __init__(self, folder: Path):
        self.servers = [
            Consul(folder, servers=SIZE, bind=f"127.0.0.{number + 2}", name=f"server{number}", config=CONFIG)
            for number in range(SIZE)
        ]
        places = [f"127.0.0.{number + 2}:{server.ports['serf_lan']}" for number, server in enumerate(self.servers)]
        for server in self.servers:
            server.join(places)

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
            return str(self._number(known.pop())) if len(known) == 1 else ""

        return int(wait_for(number, START_LIMIT, "leader"))

    def _number(self, leader: str) -> int:
        return int(leader.split(":")[0].rsplit(".", 1)[1]) - 2

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


CONFIG = {"autopilot": {"cleanup_dead_servers": False}}  # a frozen server is to come back as the one it was


def _leader(server: Consul) -> str:
    try:
        return str(server.api("GET", "/v1/status/leader") or "")
    except (OSError, ConsulRefusal):
        return ""
