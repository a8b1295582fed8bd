"""A Consul without sockets or time: a registry with Consul's indexes, and a client that obeys the planner.

A long poll ends for the same changes as in the real Consul: the services by every registration, the checks by every
check, the checks of one status by those that get or lose it (by every check while none has it), one service's instances
by every change of that service, one node by every registration there, the list of nodes only by nodes. A node's answer
has the index of the whole catalog, and a long poll of a removed node does not end, as on Consul 1.8.7.
"""

import heapq
import itertools
import math
import random
from collections import Counter
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from ctemplate.core.model import CheckState, Instance, Service
from ctemplate.core.timing import Backoff, TokenBucket
from ctemplate.queries import (
    AlarmsQuery,
    CensusQuery,
    NodeContentQuery,
    NodeListQuery,
    PreparedQuery,
    ServicesQuery,
)
from ctemplate.sources.consul.endpoints.checks import StateRow
from ctemplate.sources.consul.endpoints.nodes import NodeEntry, PlacedService
from ctemplate.sources.consul.watching.planner import Planner

LATENCY = 0.001  # seconds each way
WAIT = 60.0
POLL_INTERVAL = 0.1
POLL_BURST = 20
BACKOFF = Backoff(ceiling=15.0)
STATUSES = {"critical", "warning"}
EPOCH = 1_000_000  # more indexes than are used between two restarts


class Registered(msgspec.Struct, frozen=True):
    node: str
    port: int
    tags: tuple[str, ...] = ()
    status: str | None = "passing"
    modified: int = 0  # its check
    written: int = 0  # itself


class World:
    """What is registered, with an index for everything that can be asked."""

    def __init__(self):
        self.index = EPOCH * 1000
        self.services = {}
        self.nodes = {}
        self.members = {}
        self.touched = Counter()
        self.statuses = Counter()  # how many checks have each; counting the rows anew would take most of the time
        self.hidden = set()  # nodes that our token may not read, "*" for all
        self._values, self._valued_at = {}, None  # what was asked for since the last change
        self._instances = {}  # of each service, with its index: most changes are changes of another one
        self.service_index = {}
        self.catalog_index = self.checks_index = self.nodes_index = self.extinction = self.index

    def register(self, name, key, **fields):
        known = self.services.setdefault(name, {}).get(key, Registered(node=f"n{sum(map(ord, key)) % 3}", port=1))
        self.index += 1
        has_turned = fields.get("status") is not None
        modified = self.index if has_turned else known.modified
        entry = replace(known, **fields, written=self.index, modified=modified)
        if entry.node not in self.members:
            self.members[entry.node] = NodeEntry(name=entry.node, id=f"id-{self.index}")
            self.nodes_index = self.index
        self.touched.update({known.node, entry.node})
        if has_turned:
            self._touch_checks(known.status, entry.status)
        self._store(name, key, entry)
        self.service_index[name] = self.catalog_index = self.index

    def deregister(self, name, key):
        entry = self.services.get(name, {}).pop(key, None)
        if entry is None:
            return
        self.statuses[entry.status] -= 1
        self.index += 1
        self.touched[entry.node] += 1
        self.service_index[name] = self.catalog_index = self.index
        if entry.status is not None:
            self._touch_checks(entry.status)
        if not self.services[name]:
            del self.services[name], self.service_index[name]
            self.extinction = self.index

    def turn(self, name, key, status):
        entry = self.services.get(name, {}).get(key)
        if entry is None or entry.status is None:
            return
        self.index += 1
        self._touch_checks(entry.status, status)
        self._store(name, key, replace(entry, status=status, modified=self.index))
        self.service_index[name] = self.index

    def _touch_checks(self, *statuses):
        """Note that a check came, went or was written, which had and has these statuses."""
        self.checks_index = self.index
        self.touched.update(status for status in STATUSES if status in statuses or not self.statuses[status])

    def _store(self, name, key, entry):
        known = self.services[name].get(key)
        if known is not None:
            self.statuses[known.status] -= 1
        self.statuses[entry.status] += 1
        self.services[name][key] = entry

    def turn_node(self, node, status):
        self.index += 1
        self._touch_checks(self.nodes.get(node, ("passing", 0))[0], status)
        if node in self.nodes:
            self.statuses[self.nodes[node][0]] -= 1
        self.statuses[status] += 1
        self.nodes[node] = (status, self.index)
        for name, entries in self.services.items():
            if any(entry.node == node for entry in entries.values()):
                self.service_index[name] = self.index

    def change_node(self, node, **fields):
        """Give a node another address, or register it anew under another id."""
        if node not in self.members:
            return
        self.index += 1
        self.members[node] = replace(self.members[node], **fields)
        self.nodes_index = self.index
        self.touched[node] += 1
        for name, entries in self.services.items():
            if any(entry.node == node for entry in entries.values()):
                self.service_index[name] = self.index

    def remove_node(self, node):
        """Remove a node with all that is registered there, as its agent's leave does."""
        for name, entries in list(self.services.items()):
            for key in [key for key, entry in entries.items() if entry.node == node]:
                self.deregister(name, key)
        if self.members.pop(node, None) is not None:
            self.index += 1
            self.nodes_index = self.index

    def rename_node(self, node, name):
        """Move a node with all that is registered there to another name."""
        moved = [(of, key, entry) for of, entries in self.services.items() for key, entry in entries.items()]
        self.remove_node(node)
        for of, key, entry in moved:
            if entry.node == node:
                self.register(of, key, node=name, port=entry.port, tags=entry.tags, status=entry.status)

    def hide_node(self, node):
        """Take away the right to read a node, ``*`` for all; no index moves."""
        self.hidden.add(node)

    def show_nodes(self):
        """Give all rights back; no index moves."""
        self.hidden.clear()

    def may_read(self, node):
        return not self.hidden & {node, "*"}

    def restart(self):
        """Come back with the same data under lower indexes than ever before."""
        self.index = (self.index // EPOCH - 1) * EPOCH
        self.catalog_index = self.checks_index = self.nodes_index = self.extinction = self.index
        self.service_index = dict.fromkeys(self.services, self.index)
        self.touched.update(self.touched.keys())
        for entries in self.services.values():
            for key, entry in entries.items():
                entries[key] = replace(entry, modified=self.index, written=self.index)

    def index_of(self, query):
        if isinstance(query, ServicesQuery):
            return self.catalog_index
        if isinstance(query, AlarmsQuery | CensusQuery):
            return self.checks_index
        if isinstance(query, PreparedQuery):
            return 1  # whatever changes
        if isinstance(query, NodeListQuery):
            return self.nodes_index
        if isinstance(query, NodeContentQuery):
            is_there = query.name in self.members and self.may_read(query.name)
            return max(self.catalog_index, self.nodes_index) if is_there else 1
        return self.service_index.get(query.name, self.extinction)

    def forget_values(self):
        """Have all values made anew: something has changed, perhaps without an index."""
        self._values.clear()

    def value_of(self, query):
        if self.index != self._valued_at:
            self.forget_values()
            self._valued_at = self.index
        if query not in self._values:
            self._values[query] = self._value_of(query)
        return self._values[query]

    def _value_of(self, query):
        if isinstance(query, ServicesQuery):
            return tuple(
                Service(name=name, tags=tuple(sorted({tag for entry in entries.values() for tag in entry.tags})))
                for name, entries in sorted(self.services.items())
            )
        if isinstance(query, AlarmsQuery):
            statuses = STATUSES if query.status is None else {query.status}
            return tuple(row for row in self._rows() if row.status in statuses)
        if isinstance(query, CensusQuery):
            return tuple(self._rows())
        if isinstance(query, NodeListQuery):
            return tuple(sorted((entry for entry in self.members.values() if self.may_read(entry.name)), key=str))
        if isinstance(query, NodeContentQuery):
            return tuple(self._placed(query.name)) if self.may_read(query.name) else ()
        return self._instances_of(query.name)

    def _instances_of(self, name):
        index, instances = self._instances.get(name, (None, ()))
        if index is None or index != self.service_index.get(name):
            instances = tuple(self._instance(name, key, entry) for key, entry in self._entries(name))
            self._instances[name] = self.service_index.get(name), instances
        return instances

    def _placed(self, node):
        for name, entries in self.services.items():
            for key, entry in entries.items():
                if entry.node == node:
                    yield PlacedService(id=key, service=name, modified=entry.written)

    def _entries(self, name):
        return sorted(self.services.get(name, {}).items())

    def _instance(self, name, key, entry):
        checks = [CheckState(id="serf", status=self.nodes[entry.node][0])] if entry.node in self.nodes else []
        checks += [CheckState(id=f"check:{key}", status=entry.status, service_id=key)] if entry.status else []
        return Instance(
            id=key,
            name=name,
            node=entry.node,
            address="10.0.0.1",
            node_id=self.members[entry.node].id,
            node_address=self.members[entry.node].address,
            port=entry.port,
            tags=entry.tags,
            checks=tuple(checks),
        )

    def _rows(self):
        for node, (status, modified) in self.nodes.items():
            yield StateRow(node=node, check_id="serf", status=status, modified=modified)
        for name, entries in self.services.items():
            for key, entry in entries.items():
                if entry.status:
                    yield StateRow(
                        node=entry.node,
                        check_id=f"check:{key}",
                        service=name,
                        service_id=key,
                        status=entry.status,
                        modified=entry.modified,
                    )


@dataclass(eq=False, slots=True)
class Request:
    query: object
    since: int
    deadline: float
    is_poll: bool
    asked_at: float = 0.0
    is_over: bool = False
    parked_on: tuple = ()


@dataclass
class Client:
    """Runs a planner against a world on a clock of its own, and keeps account of what it does.

    A prepared query has the name of its service, and gives all instances.
    """

    planner: Planner
    world: World
    connections_allowed: int
    failure_rate: float = 0.0
    broken: frozenset = frozenset()  # what fails always
    jitter: float = 1.0
    is_away: bool = False
    node_delay: float = 0.0  # seconds by which answers of nodes are later than others
    seed: int = 0
    now: float = 0.0
    requests: int = 0
    most_connections: int = 0
    abandoned: int = 0
    values: dict = field(default_factory=dict)
    indexes: dict = field(default_factory=dict)
    wanted: frozenset = frozenset()

    def __post_init__(self):
        self._events = []
        self._order = itertools.count()
        self._polls = {}
        self._paces = {}
        self._steered_at = 0.0
        self._steered_for = None
        self._failures = Counter()
        self._reads = []
        self._parked = []
        self._draw = random.Random(self.seed)  # noqa: S311 - repeatable, not secret

    def want(self, queries):
        self.wanted = frozenset(queries)
        self.planner.want(self.wanted, self.now)
        self._steer()

    def change(self, method, *arguments, **fields):
        getattr(self.world, method)(*arguments, **fields)
        self.world.forget_values()
        self._wake()

    def run(self, seconds):
        """Let time pass."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, act, request = heapq.heappop(self._events)
            act(request)
        self.now = until

    def stale(self):
        """Return the wanted queries whose answer is not the truth, or missing."""
        return {query for query in self.wanted if self.values.get(query) != self.world.value_of(query)}

    def unhealthy(self):
        """Return the wanted queries whose answer differs from the truth in more than checks that pass."""
        return {
            query for query in self.stale() if _health(self.values.get(query)) != _health(self.world.value_of(query))
        }

    def _at(self, moment, act, request=None):
        heapq.heappush(self._events, (moment, next(self._order), act, request))

    def _steer(self, _=None):
        plan = self.planner.plan(self.now)
        if (self.wanted, plan.polls) != self._steered_for:
            self._steered_for = self.wanted, plan.polls
            self._leave_all_but(plan.polls)
        for query in plan.polls - self._polls.keys():
            self._poll(query)
        while len(self._reads) < plan.readers and (query := self.planner.take(self.now)) is not None:
            assert query not in [read.query for read in self._reads]
            self._reads.append(self._ask(query, self.now, is_poll=False))
        connections = len(self._polls) + len(self._reads)
        assert connections <= plan.connections <= self.connections_allowed
        self.most_connections = max(self.most_connections, connections)
        if len(self._reads) < plan.readers and (wake_at := self.planner.plan(self.now).wake_at) < math.inf:
            assert wake_at > self.now, "a planner that wants to be asked at once has nothing to say: a busy loop"
            self._steer_at(wake_at)

    def _leave_all_but(self, polls):
        """End long polls that are to run no more, and forget what is neither wanted nor polled."""
        for query in self._polls.keys() - polls:
            self._polls.pop(query).is_over = True
            self.abandoned += 1
        for query in self._paces.keys() - polls:
            del self._paces[query]
        for query in self.values.keys() - self.wanted - polls:
            del self.values[query], self.indexes[query]

    def _steer_at(self, moment):
        """Have the planner asked again at that moment, or earlier."""
        if not self.now < self._steered_at <= moment:
            self._steered_at = moment
            self._at(moment, self._steer)

    def _poll(self, query):
        """Ask for another round, as soon as the pace or the backoff allows."""
        pace = self._paces.setdefault(query, TokenBucket(interval=POLL_INTERVAL, burst=POLL_BURST))
        failures = self._failures[query]
        delay = BACKOFF.delay(failures, draw=0.5) if failures else pace.delay(self.now)
        self._polls[query] = self._ask(query, self.now + delay, is_poll=True)

    def _ask(self, query, start, *, is_poll):
        request = Request(query, self.indexes.get(query, 0) if is_poll else 0, start + WAIT, is_poll, start)
        self._at(start + self._leg(), self._arrive, request)
        return request

    def _arrive(self, request):
        if request.is_over:
            return
        self.requests += 1
        if self.is_away or request.query in self.broken or self._draw.random() < self.failure_rate:
            self._at(self.now + self._leg(), self._fail, request)
        elif self._is_due(request):
            self._serve(request)
        else:
            request.parked_on = (self.world.touched[self._part_of(request)], self.world.index_of(request.query))
            self._parked.append(request)
            self._at(request.deadline, self._expire, request)

    def _is_due(self, request):
        index = self.world.index_of(request.query)
        if self._part_of(request) is None:
            return index != request.since
        is_touched = not request.parked_on or self.world.touched[self._part_of(request)] != request.parked_on[0]
        return is_touched and (index > request.since or (index < request.since and index > 1))

    @staticmethod
    def _part_of(request):
        """The node or status that wakes the request, although its index is that of more; None for no such part."""
        if isinstance(request.query, AlarmsQuery):
            return request.query.status
        return request.query.name if isinstance(request.query, NodeContentQuery) else None

    def _serve(self, request, index=None):
        index = self.world.index_of(request.query) if index is None else index
        answer = (request, index, self.world.value_of(request.query))
        delay = self.node_delay if isinstance(request.query, NodeContentQuery) else 0.0
        self._at(self.now + delay + self._leg(), self._deliver, answer)

    def _leg(self):
        """Seconds that a request or an answer is on its way; with jitter, some overtake others."""
        return LATENCY if self.jitter == 1 else LATENCY * self._draw.uniform(1 / self.jitter, self.jitter)

    def _expire(self, request):
        if request in self._parked:
            self._parked.remove(request)
            index = self.world.index_of(request.query)
            is_content = isinstance(request.query, NodeContentQuery) and index > 1
            self._serve(request, request.parked_on[1] if is_content else index)

    def _wake(self):
        parked, self._parked, due = self._parked, [], []
        for request in parked:
            (due if self._is_due(request) else self._parked).append(request)
        for request in due:
            self._serve(request)

    def _end(self, request):
        if request.is_over:
            return False
        request.is_over = True
        if request.is_poll:
            del self._polls[request.query]
        else:
            self._reads.remove(request)
        return True

    def _fail(self, request):
        if self._end(request):
            self._failures[request.query] += 1
            self.planner.failed(request.query, self.now, is_read=not request.is_poll)
            self._steer()

    def _confirm(self, request):
        """Ask once more before an index that went backwards is believed: the answer may have been overtaken."""
        self.indexes[request.query] = request.since = 0
        self._at(self.now + self._leg(), self._arrive, request)

    def _deliver(self, answer):
        request, index, value = answer
        query = request.query
        if index < self.indexes.get(query, 0) and not request.is_over:
            self._confirm(request)
            return
        if not self._end(request):
            return
        del self._failures[query]
        is_equal = self.values.get(query) == value
        if query in self.wanted or request.is_poll:
            self.values[query], self.indexes[query] = value, index
        news = None if is_equal else value
        waited = self.now - request.asked_at if request.is_poll else None
        self.planner.answered(query, index=index, value=news, waited=waited, now=self.now)
        self._steer()


def _health(value):
    """An answer without its checks that pass; their number and what they say decide nothing."""
    return value and [
        replace(entry, checks=tuple(check for check in entry.checks if check.status != "passing"))
        if isinstance(entry, Instance)
        else entry
        for entry in value
    ]
