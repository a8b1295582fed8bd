"""A real nginx behind a real ctemplate, and steady clients that see whatever Consul's trouble does to them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import ROOT, Consul, Ctemplate, HttpBackend, Nginx, free_port, http_get, wait_for
from harness.consul import ConsulRefusal
from harness.load import Client, Count

LIMIT = 120.0
RATE = 25.0  # requests a second of each client
WAIT = 2.0  # seconds of a long poll: short, so that every trouble meets many questions
DEBOUNCE = ("20ms", "200ms")
HOST = "web.test"
FIRST = ("a", "b")  # the backends that are registered from the start
NEW = "new"  # the one that is registered once the trouble is over

CONFIG = """
[wait]
min = "{debounce[0]}"
max = "{debounce[1]}"
[consul]
address = "{address}"
wait = "{wait:g}s"
retry = {{ backoff = "100ms", max_backoff = "1s" }}
{consul}
[[template]]
source = "{source}"
destination = "{nginx.conf}"
command = "{nginx.reload_command}"
[vars]
domain = "test"
http_port = {port}
listen = "127.0.0.1"
stream_module = "{nginx.stream_module}"
user = ""
worker_processes = 2
worker_connections = 256
worker_rlimit_nofile = ""
pid = "{nginx.pid_file}"
error_log = "{nginx.error_log_file}"
error_log_level = "notice"
access_log = "off"
stream_access_log = "off"
temp_dir = "{nginx.prefix}/temp"
"""


@dataclass(kw_only=True)
class Seen:
    """What clients and operator saw of one trouble.

    ``missing`` are the backends that nobody reached, ``catch_up`` the seconds from a change that Consul accepted after
    the trouble until nginx served it, ``log`` what ctemplate told in all that time.
    """

    requests: int = 0
    failed: int = 0
    dropped: int = 0
    wrong: int = 0
    missing: frozenset[str] = frozenset()
    reloads: int = 0
    lasted: float = 0.0
    catch_up: float = 0.0
    log: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Scene:
    """ctemplate with the shipped template between a Consul and an nginx that serves ``web``."""

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        *,
        address: str,
        wait: float = WAIT,
        debounce: tuple[str, str] = DEBOUNCE,
        source: Path | None = None,
        consul: str = "",
    ) -> None:
        """Describe it: ``wait`` is that of long polls, ``source`` another template than the shipped one.

        ``consul`` are more lines of the configuration about Consul.
        """
        self.folder = folder
        self.nginx = Nginx(folder)
        self.port = free_port()
        self.backends = {name: self._backend(stack, name) for name in (*FIRST, NEW)}
        text = CONFIG.format(
            address=address,
            wait=wait,
            consul=consul,
            debounce=debounce,
            nginx=self.nginx,
            port=self.port,
            source=source or ROOT / "templates/nginx.conf.j2",
        )
        (folder / "ctemplate.toml").write_text(text)
        self.ctemplate = Ctemplate(folder, "-config", folder / "ctemplate.toml")
        stack.callback(self.ctemplate.kill)
        stack.callback(self.nginx.stop)

    def _backend(self, stack: ExitStack, name: str) -> HttpBackend:
        backend = HttpBackend(name)
        stack.callback(backend.stop)
        return backend.start()

    def populate(self, consul: Consul, names: Sequence[str] = FIRST) -> None:
        """Register backends."""
        for name in names:
            consul.catalog("web", name, self.backends[name].port)

    def start(self) -> None:
        """Start ctemplate, then nginx once there is a configuration, and wait until the first backends serve."""
        (self.nginx.prefix / "temp").mkdir()
        self.ctemplate.start()
        self.ctemplate.wait_for(self.nginx.conf.exists, LIMIT, "first configuration")
        self.nginx.start()
        self.wait_serving(FIRST)
        self.ctemplate.wait_for_log(": applied", LIMIT)

    def serving(self, host: str = HOST, count: int = 12) -> frozenset[str]:
        """Return the names of the backends that answer so many requests, or what came instead.

        The default lets each backend have its turn with each of nginx's workers.
        """
        found = set()
        for _ in range(count):
            try:
                found.add(http_get(self.port, host=host)[1].split(" ")[0])
            except OSError as exc:
                found.add(repr(exc))
        return frozenset(found)

    def wait_serving(self, names: Sequence[str], host: str = HOST) -> None:
        """Wait until exactly these backends are configured, and answer."""

        def is_serving() -> bool:
            return self.configured() == set(names) == self.serving(host)

        wait_for(is_serving, LIMIT, f"{names} serving", log=self.ctemplate.log)

    def configured(self) -> frozenset[str]:
        """Return the names of the backends in nginx's configuration."""
        text = self.nginx.conf.read_text()
        return frozenset(name for name, backend in self.backends.items() if f":{backend.port}" in text)

    @contextmanager
    def watched(self, allowed: Sequence[str] = FIRST, host: str = HOST) -> Iterator[Seen]:
        """Yield what is filled in when the block is left: what steady clients saw in it."""
        seen = Seen()
        lines, reloads, began = len(self.lines()), self.nginx.reloads(), time.monotonic()
        clients = [Client(self.port, keeps_alive=alive, rate=RATE, host=host) for alive in (False, True)]
        try:
            with clients[0], clients[1]:
                yield seen
                seen.lasted = time.monotonic() - began
        finally:
            _judge(seen, [client.count for client in clients], allowed)
            seen.log = self.lines()[lines:]
            seen.reloads = self.nginx.reloads() - reloads

    def lines(self) -> list[str]:
        """Return what ctemplate told so far."""
        return self.ctemplate.log().splitlines()

    def through(self, trouble: Callable[[], object], change: Callable[[str, int], object]) -> Seen:
        """Watch a trouble, and after it how long a change takes that Consul accepts; ``change`` registers a backend."""
        with self.watched() as during:
            trouble()
        with self.watched((*FIRST, NEW)) as after:
            accepted(lambda: change(NEW, self.backends[NEW].port))
            began = time.monotonic()
            self.wait_serving((*FIRST, NEW))
            after.catch_up = time.monotonic() - began
        return together(during, after)


def together(during: Seen, after: Seen) -> Seen:
    """Add what was seen after a trouble to what was seen in it."""
    return Seen(
        requests=during.requests + after.requests,
        failed=during.failed + after.failed,
        dropped=during.dropped + after.dropped,
        wrong=during.wrong + after.wrong,
        missing=during.missing,
        reloads=during.reloads,
        lasted=during.lasted,
        catch_up=after.catch_up or during.catch_up,
        log=during.log + after.log,
        faults=during.faults + after.faults,
    )


def accepted(change: Callable[[], object]) -> None:
    """Make a change as soon as Consul takes it."""

    def is_accepted() -> bool:
        try:
            change()
        except (OSError, ConsulRefusal):
            return False
        return True

    wait_for(is_accepted, LIMIT, "Consul that takes changes")


def _judge(seen: Seen, counts: Sequence[Count], allowed: Sequence[str]) -> None:
    answers: Counter[str] = Counter()
    for count in counts:
        seen.requests += count.requests
        seen.failed += count.failed
        seen.dropped += count.dropped
        seen.faults += count.faults
        answers += count.answers
    names = Counter({text.split(" ")[0]: 0 for text in answers})
    for text, number in answers.items():
        names[text.split(" ")[0]] += number
    seen.wrong = sum(number for name, number in names.items() if name not in allowed)
    seen.missing = frozenset(allowed) - names.keys()
