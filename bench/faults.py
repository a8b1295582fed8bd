"""Count what clients of nginx notice of Consul's troubles: `python -m bench.faults [--times N] [--only WORD]`.

Real Consul, ctemplate and nginx on loopback, two steady clients of 25 requests a second each. For each trouble: what
the clients got while it lasted, how soon a change after it was served, and how much ctemplate's log said.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.agent import consul_version
from bench.scene import FIRST, LIMIT, NEW, Scene, Seen, accepted

from harness import Consul, wait_for
from harness.cluster import SIZE, Cluster

PAUSE = 60.0
CUT = 10.0  # seconds that servers are cut off
SERVICES = 300
LINES = 19  # of ctemplate's log for one trouble at most
DEFAULT_LIMIT = 200  # Consul's connections per client address

Trouble = Callable[["Options", ExitStack, Path], Iterator[Seen]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How long and how often."""

    times: int = 1
    pause: float = PAUSE
    cut: float = CUT


def one_agent(folder: Path, stack: ExitStack, *, persistent: bool = True) -> tuple[Consul, Scene]:
    """Start an agent that knows the first backends, and all that stands before it."""
    consul = Consul(folder, persistent=persistent)
    stack.callback(consul.kill)
    consul.start()
    scene = Scene(folder, stack, address=consul.address)
    scene.populate(consul)
    scene.start()
    return consul, scene


def killed_with_data(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGKILL of the agent, 3 s, start with its data."""
    consul, scene = one_agent(folder, stack)

    def trouble() -> None:
        consul.kill()
        time.sleep(3)
        consul.start()

    yield scene.through(trouble, lambda name, port: consul.catalog("web", name, port))


def killed_without_data(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGKILL of the agent, start without data; once held, all is registered again."""
    consul, scene = one_agent(folder, stack)

    def trouble() -> None:
        consul.kill()
        consul.restart(keep_data=False)
        scene.ctemplate.wait_for_log("WARNING held: ", LIMIT)
        scene.populate(consul)

    yield scene.through(trouble, lambda name, port: consul.catalog("web", name, port))


def frozen(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGSTOP of the agent for {pause:g} s."""
    consul, scene = one_agent(folder, stack)

    def trouble() -> None:
        consul.pause()
        time.sleep(options.pause)
        consul.resume()

    yield scene.through(trouble, lambda name, port: consul.catalog("web", name, port))


def restored(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """A snapshot without the backends restored over the live agent; once held, they are registered again."""
    consul = Consul(folder, persistent=True)
    stack.callback(consul.kill)
    consul.start()
    empty = consul.snapshot()
    scene = Scene(folder, stack, address=consul.address)
    scene.populate(consul)
    scene.start()

    def trouble() -> None:
        consul.restore(empty)
        wait_for(lambda: consul.health("web") == [], 10, "web gone")
        scene.ctemplate.wait_for_log("WARNING held: ", LIMIT)
        scene.populate(consul)

    yield scene.through(trouble, lambda name, port: consul.catalog("web", name, port))


def in_cluster(
    options: Options, stack: ExitStack, folder: Path, trouble: Callable[[Cluster], object]
) -> Iterator[Seen]:
    """Have the trouble so many times over in one cluster."""
    cluster = Cluster(folder)
    stack.callback(cluster.kill)
    cluster.start()
    scene = Scene(folder, stack, address=cluster.address)
    scene.populate(cluster.servers[0])
    scene.start()
    for _ in range(options.times):
        yield scene.through(lambda: trouble(cluster), lambda name, port: cluster.servers[0].catalog("web", name, port))
        accepted(lambda: cluster.servers[0].uncatalog(NEW))
        scene.wait_serving(FIRST)
        cluster.wait_whole()


def leader_killed(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGKILL of the leader of three servers, an election, start of the killed one."""

    def trouble(cluster: Cluster) -> None:
        old = cluster.leader()
        cluster.servers[old].kill()
        wait_for(lambda: cluster.leader() != old, 30, "new leader")
        cluster.servers[old].launch()
        cluster.wait_whole()

    yield from in_cluster(options, stack, folder, trouble)


def minority_frozen(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGSTOP for {cut:g} s of one server of three, the one that ctemplate asks."""

    def trouble(cluster: Cluster) -> None:
        with cluster.paused([0]):
            time.sleep(options.cut)
        cluster.wait_whole()

    yield from in_cluster(options, stack, folder, trouble)


def majority_frozen(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGSTOP for {cut:g} s of the leader and another server of three."""

    def trouble(cluster: Cluster) -> None:
        leader = cluster.leader()
        with cluster.paused([leader, (leader + 1) % SIZE]):
            time.sleep(options.cut)
        cluster.wait_whole()

    yield from in_cluster(options, stack, folder, trouble)


CLUSTER: tuple[Trouble, ...] = (leader_killed, minority_frozen, majority_frozen)
AGENT: tuple[Trouble, ...] = (killed_with_data, killed_without_data, frozen, restored)


def seen(trouble: Trouble, options: Options) -> list[Seen]:
    """Return what was seen of a trouble each time."""
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as folder, ExitStack() as stack:
        return list(trouble(options, stack, Path(folder)))


def verdict(seen: Seen) -> list[str]:
    """Return in words whatever a trouble did to the clients of nginx, or to the patience of who reads the log."""
    wrongs = {
        "requests failed": seen.failed,
        "requests reached a wrong backend": seen.wrong,
        "backends were not reached": len(seen.missing),
        "reloads without any change": seen.reloads,
        "log lines too many": max(0, len(seen.log) - LINES),
    }
    return [f"{number} {what}" for what, number in wrongs.items() if number] + seen.faults


def row(trouble: Trouble, options: Options, found: Sequence[Seen]) -> str:
    """Return a row of the table."""
    what = (trouble.__doc__ or "").rstrip(".").format(pause=options.pause, cut=options.cut)
    cells = [
        what,
        str(len(found)),
        str(sum(each.requests for each in found)),
        str(sum(each.failed for each in found)),
        str(sum(each.wrong for each in found)),
        str(sum(len(each.missing) for each in found)),
        str(sum(each.reloads for each in found)),
        f"{max(each.lasted for each in found):.0f} s",
        f"{statistics.median(each.catch_up for each in found):.1f} / {max(each.catch_up for each in found):.1f} s",
        str(max(len(each.log) for each in found)),
    ]
    return f"| {' | '.join(cells)} |"


HEAD = "| trouble | times | requests | failed | wrong upstream | upstream missing | reloads | lasted | old data | lines |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="for each trouble of the cluster (default 10)")
    parser.add_argument("--only", default="", help="troubles whose name holds this")
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds that the agent is frozen (default 60)")
    parser.add_argument("--log", action="store_true", help="print ctemplate's log as well")
    given = parser.parse_args()
    options = Options(times=given.times, pause=given.pause)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {consul_version()}\n")
    print(f"{HEAD}\n|{'---|' * HEAD.count(' | ')}---|")
    for trouble in (*AGENT, *CLUSTER):
        if given.only in trouble.__name__:
            found = seen(trouble, options)
            print(row(trouble, options, found), flush=True)
            for each in found:
                print(*each.faults, *(each.log if given.log else []), sep="\n", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
