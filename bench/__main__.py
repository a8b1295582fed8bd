"""Measure the Consul source at several sizes: `python -m bench [--services N]…`."""

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.agent import ROOT, Agent, consul_version, running_agent, service_name
from bench.process import connections, cpu_seconds, resident_mb

LIMIT = 120.0
INSTANCES = 3


@dataclass
class Subject:
    """A process that watches the agent and tells what changed and when."""

    process: subprocess.Popen[str]
    started: float
    lines: list[tuple[float, int, frozenset[str]]] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            moment, missing, *names = line.split()
            with self.news:
                self.lines.append((float(moment), int(missing), frozenset(names)))
                self.news.notify_all()

    def wait(self, is_it: Callable[[tuple[float, int, frozenset[str]]], bool], start: int) -> float:
        """Return the moment of the first line from ``start`` on that is it."""
        deadline = time.monotonic() + LIMIT
        with self.news:
            while True:
                for line in self.lines[start:]:
                    if is_it(line):
                        return line[0]
                if not self.news.wait(max(0.0, deadline - time.monotonic())):
                    raise RuntimeError("nothing came")


@contextmanager
def running_subject(agent: Agent) -> Iterator[Subject]:
    started = time.monotonic()
    command = [sys.executable, "-m", "bench.source", agent.address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    subject = Subject(process, started)
    threading.Thread(target=subject.listen, daemon=True).start()
    try:
        yield subject
    finally:
        process.terminate()
        process.wait()


@dataclass
class Result:
    name: str
    latencies: list[float]
    cpu_ms: float

    def __str__(self) -> str:
        ordered = sorted(self.latencies)
        p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
        median = statistics.median(ordered) * 1000
        return f"{self.name:34} median {median:8.1f} ms   p95 {p95 * 1000:8.1f} ms   cpu {self.cpu_ms:6.1f} ms/change"


def measured(name: str, subject: Subject, changes: Sequence[tuple[int, Callable[[], None]]], pause: float) -> Result:
    """Carry out the changes one after the other, each a service's number and what to do; wait for each one's answer."""
    latencies = []
    before = cpu_seconds(subject.process.pid)
    for number, change in changes:
        start, began = len(subject.lines), time.monotonic()
        change()
        latencies.append(subject.wait(lambda line, n=service_name(number): n in line[2], start) - began)  # type: ignore[misc]
        time.sleep(pause)
    cpu = cpu_seconds(subject.process.pid) - before
    return Result(name, latencies, cpu / len(changes) * 1000)


def watched(services: int, count: int, draw: random.Random) -> list[int]:
    """Draw different services that are watched."""
    return [number * 2 for number in draw.sample(range((services + 1) // 2), min(count, (services + 1) // 2))]


def series(agent: Agent, subject: Subject, services: int, count: int) -> Iterator[Result]:
    draw = random.Random(7)
    numbers = iter(watched(services, 5 * count, draw))

    def some() -> list[int]:
        return [number for number, _ in zip(numbers, range(count), strict=False)]

    turning = some()
    yield measured("check turns", subject, [(n, lambda n=n: agent.turn(n, 0, "critical")) for n in turning], 0.3)  # type: ignore[misc]
    yield measured(
        "check turns back (watched lately)",
        subject,
        [(n, lambda n=n: agent.turn(n, 0, "passing")) for n in turning[-20:]],
        0.3,
    )  # type: ignore[misc]
    yield measured("instance registered", subject, [(n, lambda n=n: agent.register(n, 3)) for n in some()], 1.3)  # type: ignore[misc]
    yield measured("instance removed", subject, [(n, lambda n=n: agent.deregister(n, 2)) for n in some()], 1.3)  # type: ignore[misc]
    moving = some()
    yield measured("instance moved", subject, [(n, lambda n=n: agent.move(n, 1, 9999)) for n in moving], 1.3)  # type: ignore[misc]
    yield measured(
        "instance moved again", subject, [(n, lambda n=n: agent.move(n, 1, 9998)) for n in moving[-20:]], 0.3
    )  # type: ignore[misc]


def burst(agent: Agent, subject: Subject, services: int) -> str:
    """500 mixed changes in ten seconds; return what they cost, and how long the last answers took."""
    draw = random.Random(8)
    candidates = watched(services, 500, draw)
    before, began = cpu_seconds(subject.process.pid), time.monotonic()
    seen_from = len(subject.lines)
    due = {}
    for step in range(500):
        number = candidates[step % len(candidates)]
        kind = step % 4
        if kind == 0:
            agent.turn(number, 0, draw.choice(["critical", "warning"]))
        elif kind == 1:
            agent.register(number, 4 + step // len(candidates))
        elif kind == 2:
            agent.deregister(number, step // len(candidates) % 3)
        else:
            agent.move(number, 1, 10000 + step)
        due[service_name(number)] = time.monotonic()
        time.sleep(max(0.0, began + (step + 1) / 50 - time.monotonic()))
    spent = time.monotonic() - began
    cpu = cpu_seconds(subject.process.pid) - before
    time.sleep(5.0)
    delays = sorted(
        min(
            (line[0] - moment for line in subject.lines[seen_from:] if name in line[2] and line[0] >= moment - 0.005),
            default=99.0,
        )
        for name, moment in due.items()
    )
    later = cpu_seconds(subject.process.pid) - before
    return (
        f"500 mixed changes in {spent:.1f} s: {cpu:.2f} s CPU ({later:.2f} s with the five seconds after); "
        f"median {delays[len(delays) // 2] * 1000:.0f} ms, p95 {delays[int(len(delays) * 0.95)] * 1000:.0f} ms, unseen {sum(d > 90 for d in delays)}"
    )


def run(services: int, count: int) -> None:
    with running_agent() as agent:
        began = time.monotonic()
        agent.fill(services, INSTANCES)
        print(
            f"\n## {services} services of {INSTANCES} instances (filled in {time.monotonic() - began:.1f} s)",
            flush=True,
        )
        with running_subject(agent) as subject:
            complete = subject.wait(lambda line: line[1] == 0 and len(subject.lines) > 1, 0)
            print(
                f"start to all answers {complete - subject.started:.2f} s, {cpu_seconds(subject.process.pid):.2f} s CPU"
            )
            time.sleep(2.0)
            print(f"resident {resident_mb(subject.process.pid):.0f} MB, connections {connections(agent.port)}")
            before, agents = cpu_seconds(subject.process.pid), cpu_seconds(agent.pid)
            time.sleep(10.0)
            print(
                f"idle {(cpu_seconds(subject.process.pid) - before) * 10:.2f} % CPU, "
                f"agent {(cpu_seconds(agent.pid) - agents) * 10:.2f} %",
                flush=True,
            )
            for result in series(agent, subject, services, count):
                print(result, flush=True)
            agents = cpu_seconds(agent.pid)
            print(burst(agent, subject, services), f"; agent {cpu_seconds(agent.pid) - agents:.1f} s CPU", flush=True)
            print(
                f"resident {resident_mb(subject.process.pid):.0f} MB, connections {connections(agent.port)}", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--services", type=int, nargs="*", default=[100, 1000, 5000])
    parser.add_argument("--changes", type=int, default=50)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {consul_version()}")
    for services in options.services:
        run(services, options.changes)


if __name__ == "__main__":
    main()
