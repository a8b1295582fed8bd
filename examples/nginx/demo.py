"""Consul, nginx, five backends and ctemplate between them, on this machine's loopback; run by `make demo`.

Shows requests spread over all backends, kills one, adds one, and says how fast traffic followed. KEEP=1 leaves
everything running until Ctrl-C. Nothing is left behind.
"""

import contextlib
import http.client
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from stage import WORKERS, DemoFailure, Running, Stage, wait_for

HTTP_NAME = "httpfront"
HTTP_CHECKS = ("http", "tcp", "ttl")
TCP_CHECKS = ("tcp", "ttl")
REQUESTS = 300
CONNECTIONS = 100
PAUSE = 0.004  # seconds between two requests of the steady client
RELOAD_INTERVAL = 1.0  # seconds; ctemplate reloads nginx no more often
BEGAN = time.monotonic()


def ask_http(port: int, host: str) -> str:
    """Return the id of the backend that answered, or why none did."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": host})
        response = connection.getresponse()
        text = response.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as fault:
        return f"failed: {fault!r}"
    finally:
        connection.close()
    return text if response.status == http.HTTPStatus.OK else f"failed: {response.status}"


def ask_tcp(port: int) -> str:
    """Return the id of the backend behind a connection, or why there was none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(1000).decode(errors="replace").strip() or "failed: nothing came"
    except OSError as fault:
        return f"failed: {fault!r}"


def count(ask: Callable[[], str], times: int) -> Counter[str]:
    """Ask so many times; return how often each backend answered."""
    return Counter(ask() for _ in range(times))


class SteadyClient:
    """Sends one request after the other within its block, and remembers who answered when."""

    def __init__(self, ask: Callable[[], str]) -> None:
        """Keep the question; nothing is sent yet."""
        self._ask = ask
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.answers: Counter[str] = Counter()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE):
            answer = self._ask()
            now = time.monotonic()
            self.first.setdefault(answer, now)
            self.last[answer] = now
            self.answers[answer] += 1

    def __enter__(self) -> Self:
        """Begin to send."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop sending."""
        self._stop.set()
        self._thread.join()

    @property
    def failed(self) -> int:
        """How many requests no backend answered."""
        return sum(times for answer, times in self.answers.items() if answer.startswith("failed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the demo saw; its text is what it says at the end."""

    http: Counter[str]
    tcp: Counter[str]
    killed: str
    gone_after: float
    requests: int
    failed: int
    added: str
    registered_after: float
    served_after: float

    def __str__(self) -> str:
        """Return a line for each fact."""
        gone = f"out of nginx after {_ms(self.gone_after)}"
        failed = f"{self.failed} of {self.requests} requests failed meanwhile"
        served = f"registered after {_ms(self.registered_after)}, first request {_ms(self.served_after)} later"
        return (
            "summary\n"
            f"  http    {_shares(self.http, 'requests')}\n"
            f"  tcp     {_shares(self.tcp, 'connections')}\n"
            f"  killed  {self.killed}: {gone}, {failed}\n"
            f"  added   {self.added}: {served}"
        )


def _shares(answers: Counter[str], what: str) -> str:
    shares = " / ".join(str(times) for _, times in sorted(answers.items()))
    return f"{answers.total()} {what} over {len(answers)} backends: {shares}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


class Play:
    """The story, act by act, on a stage."""

    def __init__(self, stage: Stage) -> None:
        """Know the stage; nothing happens yet."""
        self.stage = stage
        self.host = f"{HTTP_NAME}.localhost"
        self.http: dict[str, Running] = {}
        self.tcp: dict[str, Running] = {}

    def ask_http(self) -> str:
        """Send a request through nginx."""
        return ask_http(self.stage.http_port, self.host)

    def ask_tcp(self) -> str:
        """Open a connection through nginx."""
        return ask_tcp(self.stage.tcp_port)

    def run(self) -> Summary:
        """Play all acts."""
        self.set_up()
        http_answers, tcp_answers = self.spread()
        killed, gone_after, client = self.kill_one()
        added, registered_after, served_after = self.add_one()
        return Summary(
            http=http_answers,
            tcp=tcp_answers,
            killed=killed,
            gone_after=gone_after,
            requests=client.answers.total(),
            failed=client.failed,
            added=added,
            registered_after=registered_after,
            served_after=served_after,
        )

    def set_up(self) -> None:
        """Start everything and wait until every backend has its place in nginx."""
        say(f"starting Consul on {self.stage.consul}")
        self.stage.start_consul()
        say(f"starting nginx with nothing to serve; {HTTP_NAME} shall come on port {self.stage.http_port}")
        self.stage.start_nginx()
        say("starting three http and two tcp backends, which register themselves")
        for check in HTTP_CHECKS:
            self._add(self.http, HTTP_NAME, "http", check)
        for check in TCP_CHECKS:
            self._add(self.tcp, self.stage.tcp_name, "tcp", check)
        say("starting ctemplate")
        began = time.monotonic()
        self.stage.start_ctemplate()
        wait_for(lambda: all(self.is_in_conf(one) for one in (*self.http, *self.tcp)), "nginx.conf with all backends")
        wait_for(lambda: count(self.ask_http, 9).keys() == self.http.keys(), "answers of all http backends")
        wait_for(lambda: count(self.ask_tcp, 6).keys() == self.tcp.keys(), "answers of all tcp backends")
        wait_for(lambda: len(self.stage.nginx_workers()) == WORKERS, "nginx with one generation of workers")
        say(f"nginx serves them all {_ms(time.monotonic() - began)} later")

    def _add(self, cast: dict[str, Running], name: str, protocol: str, check: str) -> str:
        backend_id, backend = self.stage.start_backend(name, protocol, check)
        cast[backend_id] = backend
        say(f"  {backend_id} with {'an' if check == 'http' else 'a'} {check.upper()} check")
        return backend_id

    def is_in_conf(self, backend_id: str) -> bool:
        """Answer whether nginx's configuration sends traffic to the backend."""
        return f"server 127.0.0.1:{backend_id.rpartition('-')[2]} " in self.stage.conf.read_text()

    def spread(self) -> tuple[Counter[str], Counter[str]]:
        """Show that every backend gets its share."""
        say(f"sending {REQUESTS} http requests and {CONNECTIONS} tcp connections through nginx")
        answers = count(self.ask_http, REQUESTS), count(self.ask_tcp, CONNECTIONS)
        for backend_id, times in sorted((answers[0] + answers[1]).items()):
            say(f"  {backend_id}  {times}")
        for cast, seen in zip((self.http, self.tcp), answers, strict=True):
            demand(seen.keys() == cast.keys(), f"every backend was to answer, and nobody else: {dict(seen)}")
        return answers

    def kill_one(self) -> tuple[str, float, SteadyClient]:
        """Kill a backend under steady traffic; return it, the time until nginx had dropped it, and the client."""
        killed, backend = next(iter(self.http.items()))
        say(f"killing {killed} with SIGKILL; Consul checks it once a second")
        with SteadyClient(self.ask_http) as client:
            wait_for(lambda: killed in client.answers, f"request to {killed}")
            old_workers = self.stage.nginx_workers()
            began = time.monotonic()
            backend.kill()
            wait_for(lambda: not self.is_in_conf(killed), f"nginx.conf without {killed}")
            wait_for(lambda: not old_workers & self.stage.nginx_workers(), "nginx with new workers only")
            gone_after = time.monotonic() - began
            before = client.answers.copy()
            others = [one for one in self.http if one != killed]
            wait_for(lambda: all(client.answers[one] > before[one] for one in others), "traffic to the others")
        say(f"  out of nginx after {_ms(gone_after)}; {client.failed} of {client.answers.total()} requests failed")
        demand(client.last[killed] < began + gone_after, f"{killed} was dead and yet answered")
        del self.http[killed]
        return killed, gone_after, client

    def add_one(self) -> tuple[str, float, float]:
        """Add a backend under steady traffic; return it, the time until it registered, and until its first request."""
        say("adding a backend")
        with SteadyClient(self.ask_http) as client:
            time.sleep(RELOAD_INTERVAL)  # else the figure would be the rest of the interval since the last reload
            began = time.monotonic()
            added = self._add(self.http, HTTP_NAME, "http", "ttl")
            registered = time.monotonic()
            wait_for(lambda: added in client.answers, f"request to {added}")
        served_after = max(client.first[added] - registered, 0)
        say(f"  first request {_ms(served_after)} after it registered")
        demand(client.failed == 0, f"no request was to fail: {dict(client.answers)}")
        return added, registered - began, served_after

    def addresses(self) -> str:
        """Return where to look, for those who want to play on."""
        stage = self.stage
        backend = f"{sys.executable} {Path(__file__).with_name('backend.py')}"
        return (
            f"  Consul      http://{stage.consul}/ui/\n"
            f"  http        curl -H 'Host: {self.host}' http://127.0.0.1:{stage.http_port}/\n"
            f"  tcp         nc 127.0.0.1 {stage.tcp_port} </dev/null\n"
            f"  nginx.conf  {stage.conf}\n"
            f"  logs        {stage.folder}\n"
            f"  add one     {backend} {HTTP_NAME} --consul {stage.consul}"
        )


def demand(claim: bool, otherwise: str) -> None:  # noqa: FBT001  # reads as said
    """End the demo unless the claim holds."""
    if not claim:
        raise DemoFailure(otherwise)


def say(text: str) -> None:
    """Tell the audience, with the time since the start."""
    print(f"{time.monotonic() - BEGAN:6.2f} s  {text}", flush=True)


def play(folder: Path) -> None:
    """Set the stage, play, sum up; keep all running if asked to."""
    with Stage(folder) as stage, undisturbed_end():
        try:
            story = Play(stage)
            print(f"\n{story.run()}", flush=True)
            if os.environ.get("KEEP", "0") not in {"", "0"}:
                print(f"\nrunning on until Ctrl-C\n{story.addresses()}", flush=True)
                signal.pause()
        except DemoFailure as fault:
            raise DemoFailure(f"{fault}\n{stage.last_words()}".rstrip()) from fault


@contextlib.contextmanager
def undisturbed_end() -> Iterator[None]:
    """Let nothing interrupt the clean-up that follows the block."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """Run the demo; say what stands in its way."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="ctemplate-demo-") as folder:
            Path(folder).chmod(0o755)  # nginx's workers may run as another user
            play(Path(folder))
    except KeyboardInterrupt:
        sys.exit(0 if os.environ.get("KEEP") else 130)
    except DemoFailure as fault:
        sys.exit(f"demo: {fault}")


if __name__ == "__main__":
    main()
