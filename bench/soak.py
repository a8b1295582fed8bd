"""Random changes and faults for as long as asked, with every byte compared: `make soak`, or `python -m bench.soak`.

Real Consul, ctemplate and nginx. A round makes a few changes: registrations, checks, keys, edits of templates and
configuration, SIGHUPs, restarts, kills and freezes of Consul and nginx, edits of the live file by hand. Then files and
what nginx serves have to become what the changes say. Exits with 1 where that does not come about, where a file was
ever torn, where ctemplate is not ready, reports a defect or ends badly, or where its descriptors, threads, tasks or
memory grow.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

from harness import Consul, Ctemplate, wait_for

from bench.agent import consul_version
from bench.process import resident_mb
from bench.scene import accepted
from bench.soak_site import BROKEN, GENERATION, NODE, SoakSite, Truth, replace_file

HOUR = 3600.0
LIMIT = 180.0  # seconds until what was changed has to be live
SERVICES, INSTANCES = 12, 4
LEAST_ROUNDS = 8  # fewer show no growth
GLANCE = 0.05  # seconds between two looks at whether a file is torn
REPORT = 60.0
ALLOWED = {"descriptors": 4.0, "threads": 2.0, "tasks": 4.0, "memory": 8.0}
"""By how much the median of the last quarter of a run may exceed that of the second quarter; memory in MB."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the process holds when a round is over."""

    at: float
    descriptors: int
    threads: int
    tasks: int
    memory: float


@dataclass
class Soaked:
    """What a run showed; without ``faults`` all is well."""

    seconds: float = 0.0
    changes: Counter[str] = field(default_factory=Counter)
    settled: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    reloads: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Soak:
    """Makes changes, each at Consul or nginx or in files and in the truth alike."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Describe the programs; nothing runs before `running`."""
        self.consul = Consul(folder, persistent=True)
        self.site = SoakSite(folder, self.consul.address)
        self.ctemplate = Ctemplate(folder, "-config", self.site.config)
        self.truth = Truth()
        self.result = Soaked()
        self.is_broken = False  # whether the templates have an edit that cannot be loaded
        self._draw = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._deck: list[Callable[[], None]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run all three programs, with what Consul knows live."""
        try:
            self.consul.start()
            self.generation()
            for _ in range(SERVICES):
                self.register()
            self.site.write_config(self.truth)
            self.site.write_templates(self.truth)
            self.ctemplate.start()
            self.ctemplate.wait_for(self.site.nginx.conf.exists, LIMIT, "first configuration")
            self.site.nginx.start()
            self.settle()
            yield
        finally:
            self.ctemplate.kill()
            self.site.nginx.stop()
            self.consul.kill()

    def round(self) -> None:
        """Make a few changes and wait until they are live."""
        for _ in range(self._draw.randint(1, 5)):
            change = self._next()
            self.result.changes[change.__name__] += 1
            change()
        self.generation()
        self.settle()
        if self.is_broken:
            self.edit_templates()
            self.settle()

    def settle(self) -> None:
        """Wait until every byte is what the truth says, and ctemplate calls itself ready."""
        began = time.monotonic()

        def is_settled() -> bool:
            return not self.site.differences(self.truth) and (self.is_broken or self.site.is_ready())

        try:
            self.ctemplate.wait_for(is_settled, LIMIT, "convergence")
        except AssertionError as fault:
            differences = self.site.differences(self.truth) or ["ctemplate is not ready"]
            raise AssertionError("\n".join([*differences, str(fault)])) from None
        self.result.settled.append(time.monotonic() - began)

    def sample(self) -> None:
        """Note what ctemplate's process holds."""
        pid = self.ctemplate.pid
        self.result.figures = self.site.metrics()
        sample = Sample(
            at=time.monotonic(),
            descriptors=_entries(f"/proc/{pid}/fd"),
            threads=_entries(f"/proc/{pid}/task"),
            tasks=int(self.result.figures["ctemplate_tasks"]),
            memory=resident_mb(pid),
        )
        self.result.samples.append(sample)

    def _next(self) -> Callable[[], None]:
        """Draw a change; each comes its number of times before the deck is shuffled again."""
        if not self._deck:
            self._deck = [change for change, times in self._changes() for _ in range(times)]
            self._draw.shuffle(self._deck)
        return self._deck.pop()

    def _changes(self) -> list[tuple[Callable[[], None], int]]:
        """Return every kind of change and how often it is in a deck."""
        data = [(self.register, 6), (self.deregister, 3), (self.fail, 3), (self.heal, 2), (self.generation, 2)]
        files = [(self.edit_templates, 2), (self.edit_config, 1), (self.hang_up, 2), (self.break_templates, 1)]
        nginx = [(self.restart_nginx, 1), (self.kill_nginx, 1), (self.stop_nginx, 1), (self.reload_nginx, 1)]
        consul = [(self.restart_consul, 1), (self.kill_consul, 1), (self.freeze_consul, 1)]
        return [*data, *files, (self.edit_live, 1), *nginx, *consul]

    # --- data

    def _put(self, path: str, body: object) -> None:
        accepted(lambda: self.consul.api("PUT", path, body))

    def _known(self) -> list[tuple[str, str]]:
        return [(name, key) for name, instances in self.truth.services.items() for key in instances]

    def register(self) -> None:
        """Register an instance, new or with another port."""
        name = f"svc-{self._draw.randrange(SERVICES):02}"
        key, port = f"{name}-{self._draw.randrange(INSTANCES)}", self._draw.randrange(1024, 60000)
        service = {"Service": name, "ID": key, "Address": "127.0.0.1", "Port": port, "Tags": ["http"]}
        self._put("/v1/catalog/register", {"Node": NODE, "Address": "127.0.0.1", "Service": service})
        self.truth.services.setdefault(name, {})[key] = port

    def deregister(self) -> None:
        """Deregister an instance."""
        if known := self._known():
            name, key = self._draw.choice(known)
            self._put("/v1/catalog/deregister", {"Node": NODE, "ServiceID": key})
            del self.truth.services[name][key]
            self.truth.failing.discard(key)

    def fail(self) -> None:
        """Have an instance fail its check."""
        if known := self._known():
            key = self._draw.choice(known)[1]
            self._check(key, "critical")
            self.truth.failing.add(key)

    def heal(self) -> None:
        """Have an instance that fails pass again."""
        if self.truth.failing:
            key = self._draw.choice(sorted(self.truth.failing))
            self._check(key, "passing")
            self.truth.failing.discard(key)

    def _check(self, key: str, status: str) -> None:
        name = key.rpartition("-")[0]
        check = {"CheckID": f"check-{key}", "Name": "soak", "ServiceID": key, "ServiceName": name, "Status": status}
        body = {"Node": NODE, "Address": "127.0.0.1", "SkipNodeUpdate": True, "Check": check | {"Output": "soak"}}
        self._put("/v1/catalog/register", body)

    def generation(self) -> None:
        """Put the next generation, which every file shows."""
        self.truth.generation += 1
        self._put(f"/v1/kv/{GENERATION}", f"g{self.truth.generation}")

    # --- files

    def edit_templates(self) -> None:
        """Edit both templates."""
        self.truth.mark += 1
        self.site.write_templates(self.truth)
        self.is_broken = False

    def break_templates(self) -> None:
        """Edit both templates so that they cannot be loaded: the last good ones stay in use.

        What was edited before has to be in use by then, or it never is.
        """
        if not self.is_broken:
            self.settle()
        self.site.write_templates(self.truth, BROKEN)
        self.is_broken = True

    def edit_config(self) -> None:
        """Edit the configuration, and have it read."""
        if not self.is_broken:
            self.truth.edition += 1
            self.site.write_config(self.truth)
            self.hang_up()

    def hang_up(self) -> None:
        """Send SIGHUP."""
        self.ctemplate.signal(signal.SIGHUP)

    def edit_live(self) -> None:
        """Edit a live file by hand."""
        text = self.site.nginx.conf.read_text()
        replace_file(self.site.nginx.conf, f"# by hand\n{text}# by hand\n")

    # --- nginx

    def restart_nginx(self) -> None:
        """Stop nginx and start it."""
        self.site.nginx.stop()
        self.site.nginx.start()

    def kill_nginx(self) -> None:
        """End nginx with SIGKILL and start it."""
        self.site.nginx.kill()
        self.site.nginx.start()

    def stop_nginx(self) -> None:
        """Stop nginx, change something, and start it a moment after that is written."""
        self.site.nginx.stop()
        if not self.is_broken:
            self.register()
            wait_for(lambda: self.site.written() == self.truth.listed(), LIMIT, "list", log=self.ctemplate.log)
        self.site.nginx.start()

    def reload_nginx(self) -> None:
        """Send nginx a HUP that is not ctemplate's."""
        self.site.nginx.process.signal(signal.SIGHUP)

    # --- Consul

    def restart_consul(self) -> None:
        """Stop Consul and start it with its data."""
        self.consul.restart()

    def kill_consul(self) -> None:
        """End Consul with SIGKILL and start it with its data."""
        self.consul.kill()
        self.consul.start()

    def freeze_consul(self) -> None:
        """Stop Consul for a few seconds with SIGSTOP."""
        self.consul.pause()
        time.sleep(3)
        self.consul.resume()
        self.consul.wait_leader()


def _entries(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


@contextmanager
def observed(soak: Soak) -> Iterator[None]:
    """Look again and again, while the block lasts, whether a file is torn."""
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(GLANCE):
            if len(soak.result.faults) < 5:  # the same fault a thousand times tells no more
                soak.result.faults += soak.site.torn()

    thread = threading.Thread(target=look, name="observer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def grown(samples: list[Sample]) -> list[str]:
    """Return what grew: the median of the last quarter against that of the second one."""
    quarter = len(samples) // 4
    found = []
    for name, allowed in ALLOWED.items():
        values = [float(getattr(sample, name)) for sample in samples]
        before, after = statistics.median(values[quarter : 2 * quarter]), statistics.median(values[-quarter:])
        if after > before + allowed:
            found.append(f"{name} grew from {before:g} to {after:g}, by more than {allowed:g}")
    return found


def soaked(folder: Path, *, seconds: float, seed: int, show: Callable[[Soaked], None] | None = None) -> Soaked:
    """Run for so long, at least a few rounds, and return what was seen."""
    soak = Soak(folder, seed)
    result, began, report = soak.result, time.monotonic(), time.monotonic() + REPORT
    with soak.running():
        try:
            with observed(soak):
                while time.monotonic() < began + seconds or len(result.samples) < LEAST_ROUNDS:
                    soak.round()
                    soak.sample()
                    if show and time.monotonic() >= report:
                        report += REPORT
                        show(result)
        except AssertionError as fault:
            result.faults.append(f"after {sum(result.changes.values())} changes: {fault}")
        result.seconds = time.monotonic() - began
        result.reloads = soak.site.nginx.reloads()
        result.faults += ended(soak)
    if len(result.samples) >= LEAST_ROUNDS:
        result.faults += grown(result.samples)
    return result


def ended(soak: Soak) -> list[str]:
    """Judge nginx's files, ctemplate's log and end; it is stopped here."""
    found = []
    if (check := soak.site.nginx.check()).returncode:
        found.append(f"nginx refuses the live files: {check.stderr}")
    if defects := soak.result.figures.get("ctemplate_internal_errors_total"):
        found.append(f"{defects:g} internal errors")
    if "Traceback" in (log := soak.ctemplate.log()):
        found.append("a traceback in the log: " + log.partition("Traceback")[2][:2000])
    if (status := soak.ctemplate.stop()) != 0:
        found.append(f"ctemplate ended with {status}")
    return found


def show(result: Soaked) -> None:
    """Print where a run stands."""
    last = result.samples[-1]
    holds = f"{last.descriptors} descriptors, {last.threads} threads, {last.tasks} tasks, {last.memory:.1f} MB"
    print(f"{sum(result.changes.values())} changes in {len(result.samples)} rounds; {holds}", flush=True)


def summarize(result: Soaked) -> None:
    """Print a table of what was held, and the figures of the run."""
    print(f"{result.seconds / 60:.0f} minutes, {len(result.samples)} rounds, {sum(result.changes.values())} changes:")
    print(", ".join(f"{count} {name}" for name, count in sorted(result.changes.items())))
    print(f"{result.reloads} reloads of nginx; {len(result.faults)} faults")
    slowest = max(result.settled, default=0.0)
    print(f"until live: median {statistics.median(result.settled or [0.0]):.1f} s, longest {slowest:.1f} s")
    print("| | first round | second quarter | last quarter | most |\n|---|---|---|---|---|")
    quarter = max(1, len(result.samples) // 4)
    for name in [one.name for one in fields(Sample) if one.name != "at"]:
        values = [float(getattr(sample, name)) for sample in result.samples] or [0.0]
        middle, last = statistics.median(values[quarter : 2 * quarter] or values), statistics.median(values[-quarter:])
        print(f"| {name} | {values[0]:.4g} | {middle:.4g} | {last:.4g} | {max(values):.4g} |")


def main() -> None:
    """Run for as long as asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=HOUR)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100_000, help="of the changes [by the clock]")
    options = parser.parse_args()
    print(f"{consul_version()}; Python {platform.python_version()}; {os.cpu_count()} cores; seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as folder:
        result = soaked(Path(folder), seconds=options.seconds, seed=options.seed, show=show)
        summarize(result)
        for fault in result.faults:
            print(f"! {fault}")
        if result.faults:
            print(Ctemplate(Path(folder)).log()[-20_000:])
    sys.exit(1 if result.faults else 0)


if __name__ == "__main__":
    main()
