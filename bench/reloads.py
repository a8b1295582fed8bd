"""Count what clients of nginx notice of its reloads: `python -m bench.reloads [--reloads N] [--rate R]`.

A real ctemplate and a real nginx on loopback; each change of the catalog is one reload, proven before the next.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from harness import Ctemplate, Nginx, program, wait_for
from harness.load import Client, Count
from harness.site import Site

LIMIT = 30.0


def measured(folder: Path, *, reloads: int, rate: float) -> tuple[dict[str, Count], list[float], int]:
    """Return each client's count, the seconds from each change to its proven reload, and nginx's own count."""
    with ExitStack() as stack:
        nginx = Nginx(folder)
        site = Site(folder, nginx, min_interval="1ms", backups=0)
        _once(folder, site)
        stack.callback(nginx.stop)
        nginx.start()
        daemon = Ctemplate(folder, *site.args)
        stack.callback(daemon.kill)
        daemon.start()
        wait_for(lambda: not site.ledger()["owes_reload"], LIMIT, "paid reload", log=daemon.log)
        daemon.wait_for_log(": applied")  # said after the ledger is written; changes are counted from here on
        before = nginx.reloads()
        clients = {
            name: stack.enter_context(Client(site.port, keeps_alive=keeps_alive, rate=rate))
            for name, keeps_alive in (("no keep-alive", False), ("keep-alive", True))
        }
        durations = [_changed(site, daemon, str(number + 2)) for number in range(reloads)]
        return {name: client.count for name, client in clients.items()}, durations, nginx.reloads() - before


def _once(folder: Path, site: Site) -> None:
    once = Ctemplate(folder, *site.args, "-once", name="first").start()
    if once.wait(LIMIT):
        sys.exit(once.log())


def _changed(site: Site, daemon: Ctemplate, generation: str) -> float:
    """Publish a change and wait until the ledger holds it: the seconds that took."""
    lines = daemon.log().count(": applied")
    began = time.monotonic()
    site.publish(generation)
    daemon.wait_for(lambda: daemon.log().count(": applied") > lines, LIMIT, f"generation {generation} applied")
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second of each client")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-reloads-") as folder:
        counts, durations, reloads = measured(Path(folder), reloads=options.reloads, rate=options.rate)
    version = subprocess.run([program("nginx"), "-v"], capture_output=True, text=True, check=True).stderr.strip()
    print(f"{version}; Python {platform.python_version()}; {os.cpu_count()} cores; {reloads} reloads")
    print(
        f"change to proven reload: median {statistics.median(durations) * 1000:.0f} ms, "
        f"longest {max(durations) * 1000:.0f} ms"
    )
    print("| client | requests | failed | kept connections dropped by nginx | slowest answer |")
    print("|---|---|---|---|---|")
    for name, count in counts.items():
        print(f"| {name} | {count.requests} | {count.failed} | {count.dropped} | {count.slowest * 1000:.0f} ms |")
        print(*count.faults, sep="\n", end="")


if __name__ == "__main__":
    main()
