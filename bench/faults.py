"""Count what clients of nginx notice of Consul's troubles: `python -m bench.faults [--times N] [--only WORD]`.

Real Consul, ctemplate and nginx on one machine, two steady clients of 25 requests a second each. For each trouble: what
the clients got, how soon a change after it was served, and how much ctemplate's log said.
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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import Consul, free_port, wait_for
from harness.cluster import SIZE, Cluster
from harness.island import Island
from harness.meddler import Meddler, Meddling, alternating, cut_off, empty, limited, slow

from bench.access import certificates_rotated, rights_lost, socket_gone
from bench.agent import consul_version
from bench.process import Connections, connections
from bench.scene import FIRST, LIMIT, NEW, Scene, Seen, accepted, together

PAUSE = 60.0
CUT = 10.0  # seconds that servers are cut off
SERVICES = 300
LINES = 19  # of ctemplate's log for one trouble at most
DEFAULT_WAIT = 60.0  # seconds of a long poll
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


def killed_with_data(_options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGKILL of the agent, 3 s, start with its data."""
    consul, scene = one_agent(folder, stack)

    def trouble() -> None:
        consul.kill()
        time.sleep(3)
        consul.start()

    yield scene.through(trouble, lambda name, port: consul.catalog("web", name, port))


def killed_without_data(_options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
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


def restored(_options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Restore a snapshot without the backends over the live agent; once held, register them again."""
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
        back_to_first(cluster, scene)


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
        with cluster.paused([asked(cluster)]):
            time.sleep(options.cut)
        cluster.wait_whole()

    yield from in_cluster(options, stack, folder, trouble)


def hung_quietly(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGSTOP of one server of three, the one that is asked by long polls of 60 s, and a change elsewhere meanwhile."""
    cluster = Cluster(folder)
    stack.callback(cluster.kill)
    cluster.start()
    scene = Scene(folder, stack, address=cluster.address, wait=DEFAULT_WAIT)
    scene.populate(cluster.servers[0])
    scene.start()
    for _ in range(options.times):
        hung = asked(cluster)
        other = cluster.servers[(hung + 1) % SIZE]
        with cluster.paused([hung]):
            yield scene.through(lambda: time.sleep(1), lambda name, port, other=other: other.catalog("web", name, port))
        back_to_first(cluster, scene)


def asked(cluster: Cluster) -> int:
    """Return the number of the server to which ctemplate is connected."""
    return max(range(SIZE), key=lambda number: connections(cluster.servers[number].port))


def majority_frozen(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """SIGSTOP for {cut:g} s of the leader and another server of three."""

    def trouble(cluster: Cluster) -> None:
        leader = cluster.leader()
        with cluster.paused([leader, (leader + 1) % SIZE]):
            time.sleep(options.cut)
        cluster.wait_whole()

    yield from in_cluster(options, stack, folder, trouble)


@contextmanager
def on_island(folder: Path, stack: ExitStack) -> Iterator[tuple[Island, Cluster, Scene]]:
    """Start a cluster of which server 0, the one that is asked first, can be cut off from the others."""
    island = Island()
    stack.callback(island.remove)
    island.make()
    cluster = Cluster(folder, island)
    stack.callback(cluster.kill)
    cluster.start()
    scene = Scene(folder, stack, address=cluster.address)
    accepted(lambda: scene.populate(cluster.servers[1]))
    scene.start()
    yield island, cluster, scene


def minority_cut(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Cut a server, at first the one asked, off from two others for {cut:g} s, with a change there meanwhile."""
    with on_island(folder, stack) as (island, cluster, scene):
        for _ in range(options.times):
            with island.cut():
                yield scene.through(
                    lambda: time.sleep(options.cut), lambda name, port: cluster.servers[1].catalog("web", name, port)
                )
            back_to_first(cluster, scene)


def stale_reads(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Leave only a server that was cut off and missed a change, for {cut:g} s."""
    with on_island(folder, stack) as (island, cluster, scene):
        for _ in range(options.times):
            with island.cut():
                accepted(lambda: cluster.servers[1].catalog("web", NEW, scene.backends[NEW].port))
                scene.wait_serving((*FIRST, NEW))
                with scene.watched((*FIRST, NEW)) as during:
                    for server in cluster.servers[1:]:
                        server.kill()
                    time.sleep(options.cut)
            for server in cluster.servers[1:]:
                server.launch()
            with scene.watched((*FIRST, NEW)) as after:
                during.catch_up = back_to_first(cluster, scene)
            yield together(during, after)


def back_to_first(cluster: Cluster, scene: Scene) -> float:
    """Deregister the new backend; return the seconds from Consul's consent until nobody reaches it.

    A registration that reached a frozen server may be carried out only now: then it is deregistered again.
    """
    cluster.wait_whole()
    began = 0.0

    def is_gone() -> bool:
        nonlocal began
        if any(row["Service"]["ID"] == NEW for row in cluster.servers[1].api("GET", "/v1/health/service/web")):
            accepted(lambda: cluster.servers[1].uncatalog(NEW))
            began = time.monotonic()
        return scene.configured() == set(FIRST)

    wait_for(is_gone, LIMIT, "deregistered backend gone", log=scene.ctemplate.log)
    scene.wait_serving(FIRST)
    return time.monotonic() - began


def crowded(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """300 services, default limit of 200 connections, SIGKILL of the agent, start with its data."""
    consul = Consul(folder, persistent=True)
    stack.callback(consul.kill)
    consul.start()
    scene = Scene(folder, stack, address=consul.address)
    scene.populate(consul)
    for number in range(SERVICES):
        consul.catalog(f"other{number}", f"other{number}", scene.backends["a"].port)
    scene.start()
    with Connections(consul.port) as connections:

        def trouble() -> None:
            consul.kill()
            consul.start()
            time.sleep(options.cut)

        found = scene.through(trouble, lambda name, port: consul.catalog("web", name, port))
    if connections.most >= DEFAULT_LIMIT:
        found.faults.append(f"{connections.most} connections")
    yield found


def datacenter_killed(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """One of two joined datacenters killed, a change in the other."""
    here, there = (datacenter(folder, name) for name in ("dc1", "dc2"))
    there.join([f"127.0.0.1:{here.ports['serf_wan']}"], wan=True)
    for consul in (here, there):
        stack.callback(consul.kill)
        consul.start()
    wait_for(lambda: set(here.api("GET", "/v1/catalog/datacenters")) == {"dc1", "dc2"}, LIMIT, "both datacenters")
    scene = Scene(folder, stack, address=here.address, source=folder / "dc.j2")
    http = f"{scene.nginx.main}http {{\n{scene.nginx.http}\n"
    (folder / "dc.j2").write_text(http + BOTH_DATACENTERS.format(port=scene.port))
    scene.populate(here, FIRST[:1])
    scene.populate(there, FIRST[1:])
    scene.start()

    def trouble() -> None:
        there.kill()
        time.sleep(options.cut)

    yield scene.through(trouble, lambda name, port: here.catalog("web", name, port))


BOTH_DATACENTERS = """\
upstream web {{
    {{% for i in service("web", dc=["dc1", "dc2"]) %}}
    server {{{{ i.address }}}}:{{{{ i.port }}}};
    {{% endfor %}}
}}
server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://web; }} }}
}}
"""


def datacenter(folder: Path, name: str) -> Consul:
    """Return an agent that is a datacenter of its own."""
    config = {"datacenter": name, "ports": {"serf_wan": free_port()}}
    return Consul(folder, persistent=True, name=name, config=config)


def meddled(options: Options, stack: ExitStack, folder: Path, meddling: Meddling) -> Iterator[Seen]:
    """Have answers changed for a while."""
    consul = Consul(folder, persistent=True)
    stack.callback(consul.kill)
    consul.start()
    meddler = Meddler(consul.port)
    stack.callback(meddler.stop)
    meddler.start()
    scene = Scene(folder, stack, address=meddler.address)
    scene.populate(consul)
    scene.start()

    def trouble() -> None:
        with meddler.meddling(meddling):
            time.sleep(options.cut)

    yield scene.through(trouble, lambda name, port: consul.catalog("web", name, port))
    if not meddler.meddled:
        raise AssertionError("nobody asked while answers were meddled with")


def empty_answers(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Empty answers of status 200 for {cut:g} s."""
    yield from meddled(options, stack, folder, empty)


def alternating_replicas(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Every other stale answer is older and lacks half, for {cut:g} s."""
    yield from meddled(options, stack, folder, alternating())


def limited_without_body(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Status 429 without a body for {cut:g} s."""
    yield from meddled(options, stack, folder, limited(""))


def limited_by_servers(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Status 429, resource exhausted, for {cut:g} s."""
    yield from meddled(options, stack, folder, limited("Resource Exhausted: rate limit exceeded"))


def limited_connections(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Status 429, too many connections, for {cut:g} s."""
    body = "Your IP is issuing too many concurrent connections, please rate limit your calls"
    yield from meddled(options, stack, folder, limited(body))


def slow_bytes(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Answers that take two seconds from first byte to last, for {cut:g} s."""
    yield from meddled(options, stack, folder, slow)


def cut_bodies(options: Options, stack: ExitStack, folder: Path) -> Iterator[Seen]:
    """Half of each body for {cut:g} s."""
    yield from meddled(options, stack, folder, cut_off)


CLUSTER: tuple[Trouble, ...] = (leader_killed, minority_frozen, majority_frozen, hung_quietly)
CUT_OFF: tuple[Trouble, ...] = (minority_cut, stale_reads)  # for root only
ACCESS: tuple[Trouble, ...] = (rights_lost, certificates_rotated, socket_gone)
AGENT: tuple[Trouble, ...] = (killed_with_data, killed_without_data, frozen, restored, crowded, datacenter_killed)
MEDDLED: tuple[Trouble, ...] = (
    empty_answers,
    alternating_replicas,
    limited_without_body,
    limited_by_servers,
    slow_bytes,
    cut_bodies,
)
PATIENT: tuple[Trouble, ...] = (limited_connections,)  # the limit is given a minute to pass


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


SEEN = ["trouble", "times", "requests", "failed", "wrong upstream", "upstream missing"]
COLUMNS = [*SEEN, "reloads", "lasted", "old data", "lines"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="for each trouble of the cluster (default 10)")
    parser.add_argument("--only", nargs="*", default=[""], help="troubles whose names hold one of these")
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds that the agent is frozen (default 60)")
    parser.add_argument("--log", action="store_true", help="print ctemplate's log as well")
    given = parser.parse_args()
    options = Options(times=given.times, pause=given.pause)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {consul_version()}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    cut_off = CUT_OFF if Island.is_allowed() else ()
    for trouble in (*AGENT, *ACCESS, *CLUSTER, *cut_off, *MEDDLED, *PATIENT):
        if any(word in trouble.__name__ for word in given.only):
            found = seen(trouble, options)
            print(row(trouble, options, found), flush=True)
            for each in found:
                print(*each.faults, *(each.log if given.log else []), sep="\n", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
