"""A Consul cluster of four hosts, two of them with nginx and ctemplate; run by `make cluster`.

Kills one host after the other, with all that runs on it, while a client goes on asking. Names of hosts as arguments
kill only those: `cluster.py node-3`. Ends after two minutes at the latest and leaves nothing behind, on Ctrl-C as well.
"""

import http.client
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from hosts import LIMIT, SERVICE, Cluster, DemoFailure, Host, wait_for

LONGEST = 120  # seconds that everything may take
PAUSE = 0.005  # seconds between two requests
HOST_NAME = f"{SERVICE}.example.com"
BEGAN = time.monotonic()


class Client:
    """Asks one balancer for the service again and again, and goes to the other when a connection is refused or ends.

    `lost` are the requests whose connection ended while they were under way, `errors` all else that is no answer.
    """

    def __init__(self, addresses: Sequence[str], port: int) -> None:
        """Begin with the first address; nothing is sent yet."""
        self._addresses = list(addresses)
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)
        self.answers: Counter[str] = Counter()
        self.lost = 0
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        """Begin to send."""
        self._thread.start()
        return self

    def __exit__(self, *_fault: object) -> None:
        """Stop sending."""
        self._stop.set()
        self._thread.join()

    @property
    def balancer(self) -> str:
        """The address that is asked now."""
        return self._addresses[0]

    def figures(self) -> tuple[int, int, int]:
        """Return how many requests were answered, lost and in error."""
        return self.answers.total(), self.lost, len(self.errors)

    def _run(self) -> None:
        while not self._stop.wait(PAUSE):
            for _ in self._addresses:
                if self._ask():
                    break
                self._addresses.append(self._addresses.pop(0))
            else:
                self.errors.append("no balancer takes connections")

    def _ask(self) -> bool:
        """Send a request; return whether the balancer took the connection and lived on."""
        try:
            connection = socket.create_connection((self.balancer, self._port), timeout=5)
        except OSError:
            return False
        try:
            with connection:
                connection.sendall(f"GET / HTTP/1.0\r\nHost: {HOST_NAME}\r\n\r\n".encode())
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                text = answer.read().decode(errors="replace").strip()
        except (OSError, http.client.HTTPException):
            self.lost += 1
            self._addresses.append(self._addresses.pop(0))
            return True
        if answer.status == http.HTTPStatus.OK:
            self.answers[text] += 1
        else:
            self.errors.append(f"{self.balancer}: {answer.status}")
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What the client saw while a host was dead and came back."""

    host: Host
    gone_after: float
    back_after: float
    answered: int
    lost: int

    def __str__(self) -> str:
        """Return it in a line."""
        times = f"out of nginx after {self.gone_after:.1f} s, back after {self.back_after:.1f} s"
        return f"  {self.host.name}  {self.host.role:22}  {times}; {self.answered} answers, {self.lost} lost, 0 errors"


class Play:
    """The story on a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        """Know the cluster; nothing happens yet."""
        self.cluster = cluster

    def run(self, names: Sequence[str]) -> list[Failure]:
        """Start everything, then kill these hosts, one after the other."""
        self.set_up()
        first, second = (host.address for host in self.cluster.balancers)
        say(f"a client asks for http://{HOST_NAME}/ at {first}, and at {second} when that one takes no connection")
        with Client((first, second), self.cluster.ports["nginx"]) as client:
            everywhere = {self.cluster.backend_of(host) for host in self.cluster.hosts}
            wait_for(lambda: client.answers.keys() == everywhere, "answers of all backends through nginx", LIMIT)
            return [self.fail(host, client) for host in self.cluster.hosts if host.name in names]

    def set_up(self) -> None:
        """Start all hosts and wait until both balancers know all backends."""
        cluster = self.cluster
        for host in cluster.hosts:
            say(f"{host.name}  {host.address}  {host.role}, a backend of the service {SERVICE!r}")
        say("starting the Consul agents; three servers elect a leader")
        cluster.start_consul()
        for host in cluster.hosts:
            cluster.wait_leader(host)
        say("starting a backend on each host, which registers with its host's agent")
        for host in cluster.hosts:
            cluster.start_web(host)
        say("starting nginx and ctemplate on the last two, each ctemplate with its host's agent as its Consul")
        for host in cluster.balancers:
            cluster.start_balancer(host)
        self.wait_served([host.name for host in cluster.hosts])
        say("both nginx send requests to all four hosts")

    def wait_served(self, names: Sequence[str]) -> None:
        """Wait until every balancer that lives sends requests to exactly these hosts."""
        balancers = [host for host in self.cluster.balancers if host.running]
        wait_for(
            lambda: all(self.cluster.served_by(one) == set(names) for one in balancers),
            f"nginx with {', '.join(names)} alone",
            LIMIT,
        )

    def fail(self, host: Host, client: Client) -> Failure:
        """Kill a host, wait until the others go on without it, start it again."""
        say(f"killing {host.name} ({host.role}) with everything on it")
        others = [one.name for one in self.cluster.hosts if one != host]
        before, began = client.figures(), time.monotonic()
        host.die()
        self.wait_served(others)
        gone = time.monotonic()
        say(f"  nginx goes on with {', '.join(others)}; the client asks {client.balancer}")
        self.cluster.start_host(host)
        self.wait_served([one.name for one in self.cluster.hosts])
        answered, lost, errors = (now - then for now, then in zip(client.figures(), before, strict=True))
        say(f"  it is back; {answered} requests answered meanwhile, {lost} lost in flight, {errors} errors")
        if errors or lost > 1:
            raise DemoFailure(f"only the request in flight was to be lost: {lost} lost, errors: {client.errors[:5]}")
        back_after = time.monotonic() - gone
        return Failure(host=host, gone_after=gone - began, back_after=back_after, answered=answered, lost=lost)


def say(text: str) -> None:
    """Tell the audience, with the time since the start."""
    print(f"{time.monotonic() - BEGAN:6.2f} s  {text}", flush=True)


def play(folder: Path, names: Sequence[str]) -> None:
    """Run the story, and say what every host's death cost."""
    with Cluster(folder) as cluster, undisturbed_end():
        known = [host.name for host in cluster.hosts]
        if unknown := set(names) - set(known):
            raise DemoFailure(f"no such host: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        try:
            found = Play(cluster).run(names or known)
        except DemoFailure as fault:
            raise DemoFailure(f"{fault}\n{cluster.last_words()}".rstrip()) from fault
        print("\nsummary", *found, sep="\n", flush=True)


@contextmanager
def undisturbed_end() -> Iterator[None]:
    """Let nothing interrupt the clean-up that follows the block."""
    try:
        yield
    finally:
        signal.alarm(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def out_of_time(_number: int, _frame: FrameType | None) -> None:
    """End the story."""
    raise DemoFailure(f"not done within {LONGEST} s")


def main() -> None:
    """Run the example; say what stands in its way."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(LONGEST)
    try:
        with tempfile.TemporaryDirectory(prefix="ctemplate-cluster-") as folder:
            Path(folder).chmod(0o755)  # nginx's workers may run as another user
            play(Path(folder), sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except DemoFailure as fault:
        sys.exit(f"cluster: {fault}")


if __name__ == "__main__":
    main()
