"""Measure ctemplate against a real Consul agent with default limits: `python -m bench [--services N…]`.

Prints Markdown: medians and 95th percentiles, for the Consul source alone and for the whole program.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Sequence

from bench.agent import consul_version, running_agent
from bench.changes import INSTANCES, Change, Kind, mixed_changes, single_changes
from bench.process import cpu_seconds
from bench.subjects import Ctemplate, PatientCtemplate, SourceAlone, Subject

IDLE = 10.0
BURST = 10.0
PAUSES = {Kind.TURN_BACK: 0.3, Kind.TURN: 0.3, Kind.MOVE_AGAIN: 0.3}
PAUSE = 1.0  # seconds between changes that take long to find, so that each meets a quiet source


def spread(latencies: Sequence[float]) -> str:
    """Return median and 95th percentile in milliseconds."""
    ordered = sorted(latencies)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{statistics.median(ordered) * 1000:.1f} / {p95 * 1000:.1f} ms"


def show(what: str, value: str) -> None:
    """Print a row of the table."""
    print(f"| {what} | {value} |", flush=True)


def measure_start(subject: Subject) -> None:
    """Measure what it takes until everything is there, and what quiet times cost."""
    show("start to complete", f"{subject.wait_complete():.2f} s, {subject.cpu:.2f} s CPU")
    time.sleep(3.0)
    show("resident memory", f"{subject.memory:.0f} MB")
    show("connections", str(subject.connections))
    ours, agents = subject.cpu, cpu_seconds(subject.agent.pid)
    time.sleep(IDLE)
    theirs = (cpu_seconds(subject.agent.pid) - agents) / IDLE
    show("idle CPU", f"{(subject.cpu - ours) / IDLE:.2%} (agent {theirs:.2%})")


def measure_single(subject: Subject, changes: Sequence[Change]) -> None:
    """Measure changes that come one by one, each after the one before was seen."""
    kind, before, latencies = changes[0].kind, subject.cpu, []
    for change in changes:
        subject.expect(change)
        latencies += subject.latencies([change])
        time.sleep(PAUSES.get(kind, PAUSE))
    cpu = (subject.cpu - before) / len(changes)
    show(kind.value, f"{spread(latencies)}, {cpu * 1000:.1f} ms CPU each")


def measure_burst(subject: Subject, changes: Sequence[Change]) -> None:
    """Measure many changes in ten seconds."""
    ours, agents, began = subject.cpu, cpu_seconds(subject.agent.pid), time.monotonic()
    for step, change in enumerate(changes):
        subject.expect(change)
        time.sleep(max(0.0, began + (step + 1) * BURST / len(changes) - time.monotonic()))
    spent, cpu = time.monotonic() - began, subject.cpu - ours
    latencies = subject.latencies(changes)
    theirs = cpu_seconds(subject.agent.pid) - agents
    value = f"{cpu:.2f} s CPU (agent {theirs:.1f} s), seen after {spread(latencies)}"
    show(f"{len(changes)} mixed changes in {spent:.1f} s", value)
    show("then: connections, resident memory", f"{subject.connections}, {subject.memory:.0f} MB")


def run(services: int, count: int, kind: type[Subject], *, is_burst: bool) -> None:
    """Measure one subject at one size, against an agent of its own."""
    with running_agent() as agent:
        agent.fill(services, INSTANCES)
        with kind(agent, services) as subject:
            print(f"\n### {services} services of {INSTANCES} instances, {subject.name}\n\n| | |\n|---|---|")
            measure_start(subject)
            if not is_burst:
                for changes in single_changes(services, min(count, services // 8)):
                    measure_single(subject, changes)
            else:
                measure_burst(subject, mixed_changes(services, 500))


def main() -> None:
    """Measure everything that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--services", type=int, nargs="*", default=[100, 1000, 5000])
    parser.add_argument("--changes", type=int, default=50, help="of each kind (default 50)")
    parser.add_argument("--only", choices=["source", "ctemplate"], help="measure this alone")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {consul_version()}")
    for services in options.services:
        if options.only != "ctemplate":
            run(services, options.changes, SourceAlone, is_burst=False)
            run(services, options.changes, SourceAlone, is_burst=True)
        if options.only != "source":
            run(services, options.changes, Ctemplate, is_burst=False)
            run(services, options.changes, PatientCtemplate, is_burst=True)


if __name__ == "__main__":
    main()
