"""Many services under steady change, then every answer compared with the agent's: `python -m bench.endurance`.

Runs the Consul source against an agent with default limits. Prints memory and connections as it goes, and at the end
how many answers differ from what the agent says; exits with 1 if any does.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import time

from bench.agent import Agent, running_agent, service_name
from bench.changes import INSTANCES
from bench.process import connections, cpu_seconds, resident_mb, sockets
from ctemplate.catalog import Catalog
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.source import ConsulSource

SETTLED = 60.0  # seconds after the last change until answers are compared
REPORT = 60.0
GLANCE = 10  # changes between two counts of the connections


class Warnings(logging.Handler):
    """Counts what an operator would have seen."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count and show a warning."""
        self.count += 1
        print(f"! {record.getMessage()}", flush=True)


def change(agent: Agent, services: int, draw: random.Random) -> None:
    """Change something, somewhere; half of the changes are to a few services."""
    number = draw.randrange(services) if draw.random() < 0.5 else draw.randrange(min(30, services))
    instance = draw.randrange(INSTANCES + 1)
    match draw.randrange(4):
        case 0:
            agent.register(number, instance, draw.randrange(1024, 60000))
        case 1:
            agent.deregister(number, instance)
        case _:
            status = draw.choice(["passing", "warning", "critical"])
            agent.register(number, instance, draw.randrange(1024, 60000), status)


def differing(agent: Agent, catalog: Catalog, services: int) -> list[str]:
    """Return the services whose answer is not what the agent says."""
    wrong = []
    for number in range(services):
        name = service_name(number)
        rows = agent.api("GET", f"/v1/health/service/{name}")
        truth = sorted((row["Service"]["ID"], row["Service"]["Port"], row["Checks"][-1]["Status"]) for row in rows)  # type: ignore[attr-defined]
        answer = catalog.get(ServiceQuery(name=name))
        value = () if answer is None else answer.value
        if answer is None or truth != sorted((one.id, one.port, one.status.value) for one in value):
            wrong.append(name)
    return wrong


async def follow(agent: Agent, services: int, seconds: float, rate: float) -> int:
    """Run source and changes; return the number of wrong answers."""
    catalog, pid, before = Catalog(), os.getpid(), sockets(agent.pid)
    catalog.want("bench", frozenset({ServicesQuery(), *(ServiceQuery(name=service_name(n)) for n in range(services))}))
    source = asyncio.create_task(ConsulSource(ConsulSettings(addresses=(agent.address,))).run(catalog))
    began, draw = time.monotonic(), random.Random(11)  # noqa: S311 - repeatable, not secret
    while catalog.missing():
        await asyncio.wait({source}, timeout=0.1)
    print(f"all answers after {time.monotonic() - began:.1f} s", flush=True)
    began, done, cpu, report = time.monotonic(), 0, cpu_seconds(pid), time.monotonic()
    most = held = 0
    while time.monotonic() - began < seconds:
        await asyncio.to_thread(change, agent, services, draw)
        done += 1
        await asyncio.sleep(max(0.0, began + done / rate - time.monotonic()))
        if done % GLANCE == 0:
            most = max(most, connections(agent.port) - 1)
            held = max(held, sockets(agent.pid) - before)
        if time.monotonic() >= report:
            report += REPORT
            used = (cpu_seconds(pid) - cpu) / (time.monotonic() - began)
            counts = f"at most {most} connections, {held} held by the agent"
            print(f"{done} changes, {resident_mb(pid):.0f} MB, {counts}, {used:.0%} CPU")
    await asyncio.sleep(SETTLED)
    wrong = await asyncio.to_thread(differing, agent, catalog, services)
    print(f"{done} changes, {resident_mb(pid):.0f} MB, {len(wrong)} of {services} answers differ {wrong[:5]}")
    source.cancel()
    return len(wrong)


def main() -> None:
    """Run for as long as asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=__doc__)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=17.0, help="changes a second (default 17, 10,000 in ten minutes)")
    options = parser.parse_args()
    warnings = Warnings()
    logging.getLogger("ctemplate").addHandler(warnings)
    with running_agent() as agent:
        agent.fill(options.services, INSTANCES)
        wrong = asyncio.run(follow(agent, options.services, options.seconds, options.rate))
    print(f"{warnings.count} warnings")
    sys.exit(1 if wrong or warnings.count else 0)


if __name__ == "__main__":
    main()
