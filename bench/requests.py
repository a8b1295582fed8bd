"""From a registration to the first request that the new instance serves: `python -m bench --only requests`.

A real Consul, ctemplate with the shipped template, a real nginx with real backends, and a client that asks on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from harness import Consul, http_get, wait_for

from bench.agent import Agent
from bench.changes import INSTANCES
from bench.figures import Figure, spread, table
from bench.measuring import say
from bench.scene import FIRST, HOST, LIMIT, NEW, Scene

OTHERS = [0, 1000]  # services besides the one that changes
WAITS = {"`-wait 100ms:2s`": ("100ms", "2s"), "`-wait 0`": ("0s", "0s")}
SETTLED = 1.5  # seconds between changes: more than the least time between two reloads
GLANCE = 0.002  # seconds between two requests


def measure(changes: int) -> bool:
    """Measure each wait with each catalog and print a table; return whether all was served."""
    rows, is_fine = [], True
    for label, wait in WAITS.items():
        cells = [f"instance registered → first request served by it, {label}"]
        for others in OTHERS:
            try:
                figure: Figure | str = measured(others, wait, changes)
            except AssertionError as exc:
                figure, is_fine = "not served", False
                say(f"! {exc}")
            say(f"{others} other services: {cells[0]}: {figure}")
            cells.append(str(figure))
        rows.append(cells)
    heads = ["", *("one service" if not others else f"besides {others:,} others" for others in OTHERS)]
    print(f"\n### From Consul to a client of nginx\n\n{table(heads, rows)}", flush=True)
    return is_fine


def measured(others: int, wait: Sequence[str], changes: int) -> Figure:
    """Measure one scene of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-requests-") as folder, ExitStack() as stack:
        consul = Consul(Path(folder))
        stack.callback(consul.stop)
        consul.start()
        if others:
            Agent(consul.port, consul.process.pid).fill(others, INSTANCES)
        scene = Scene(Path(folder), stack, address=consul.address, debounce=(wait[0], wait[1]))
        scene.populate(consul)
        scene.start()
        return spread([registered(consul, scene) for _ in range(changes)])


def registered(consul: Consul, scene: Scene) -> float:
    """Return the seconds from a registration to the first answer of the new instance, and take it away again."""
    time.sleep(SETTLED)
    began = time.monotonic()
    consul.catalog("web", NEW, scene.backends[NEW].port)
    while not http_get(scene.port, host=HOST)[1].startswith(f"{NEW} "):
        if time.monotonic() > began + LIMIT:
            raise AssertionError(f"{NEW} served nothing within {LIMIT:.0f} s\n{scene.ctemplate.log()[-2000:]}")
        time.sleep(GLANCE)
    seconds = time.monotonic() - began
    consul.uncatalog(NEW)
    wait_for(lambda: scene.configured() == set(FIRST), LIMIT, "removal", log=scene.ctemplate.log)
    return seconds
