"""A Consul without sockets or time: a registry with Consul's indexes, and a client that obeys the planner.

Wakes what the real one wakes: the services by every registration, the checks by every check, one service's instances
by whatever concerns that service.
"""

import heapq
import itertools
import math
import random
from collections import Counter
from dataclasses import dataclass, field, replace

from ctemplate.core.model import CheckState, Instance, Service
from ctemplate.core.timing import Backoff, TokenBucket
from ctemplate.queries import AlarmsQuery, CensusQuery, PreparedQuery, ServicesQuery
from ctemplate.sources.consul.endpoints.checks import StateRow
from ctemplate.sources.consul.watching.planner import Planner

LATENCY = 0.001  # seconds each way
WAIT = 60.0
POLL_INTERVAL = 0.1
POLL_BURST = 20
BACKOFF = Backoff(ceiling=15.0)
EPOCH = 1_000_000  # more indexes than are used between two restarts


@dataclass(frozen=True)
class Registered:
    node: str
    port: int
    tags: tuple[str, ...] = ()
    status: str | None = "passing"
    modified: int = 0


class World:
    """What is registered, with an index for everything that can be asked."""

    def __init__(self):
        self.index = EPOCH * 1000
        self.services = {}
        self.nodes = {}
        self.service_index = {}
        self.catalog_index = self.checks_index = self.extinction = self.index

    def register(self, name, key, **fields):
        known = self.services.setdefault(name, {}).get(key, Registered(node=f"n{sum(map(ord, key)) % 3}", port=1))
        self.index += 1
        entry = replace(known, **fields)
        has_turned = "status" in fields and entry.status is not None
        self.services[name][key] = replace(entry, modified=self.index) if has_turned else entry
        self.service_index[name] = self.catalog_index = self.index
        if has_turned:
            self.checks_index = self.index

    def deregister(self, name, key):
        entry = self.services.get(name, {}).pop(key, None)
        if entry is None:
            return
        self.index += 1
        self.service_index[name] = self.catalog_index = self.index
        if entry.status is not None:
            self.checks_index = self.index
        if not self.services[name]:
            del self.services[name], self.service_index[name]
            self.extinction = self.index

    def turn(self, name, key, status):
        entry = self.services.get(name, {}).get(key)
        if entry is None or entry.status is None:
            return
        self.index += 1
        self.services[name][key] = replace(entry, status=status, modified=self.index)
        self.service_index[name] = self.checks_index = self.index

    def turn_node(self, node, status):
        self.index += 1
        self.nodes[node] = (status, self.index)
        self.checks_index = self.index
        for name, entries in self.services.items():
            if any(entry.node == node for entry in entries.values()):
                self.service_index[name] = self.index

    def restart(self):
        """Come back with the same data under lower indexes than ever before."""
        self.index = (self.index // EPOCH - 1) * EPOCH
        self.catalog_index = self.checks_index = self.extinction = self.index
        self.service_index = dict.fromkeys(self.services, self.index)

    def index_of(self, query):
        if isinstance(query, ServicesQuery):
            return self.catalog_index
        if isinstance(query, AlarmsQuery | CensusQuery):
            return self.checks_index
        if isinstance(query, PreparedQuery):
            return 1  # whatever changes
        return self.service_index.get(query.name, self.extinction)

    def value_of(self, query):
        if isinstance(query, ServicesQuery):
            return tuple(
                Service(name=name, tags=tuple(sorted({tag for entry in entries.values() for tag in entry.tags})))
                for name, entries in sorted(self.services.items())
            )
        if isinstance(query, AlarmsQuery):
            return tuple(row for row in self._rows() if row.status != "passing")
        if isinstance(query, CensusQuery):
            return tuple(self._rows())
        return tuple(self._instance(query.name, key, entry) for key, entry in self._entries(query.name))

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


@dataclass
class Request:
    query: object
    since: int
    deadline: float
    is_poll: bool
    asked_at: float = 0.0
    is_over: bool = False


@dataclass
class Client:
    """Runs a planner against a world on a clock of its own, and keeps account of what it does.

    A prepared query has the name of its service, and gives all instances.
    """

    planner: Planner
    world: World
    connections_allowed: int
    failure_rate: float = 0.0
    jitter: float = 1.0
    is_away: bool = False
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

    def _at(self, moment, act, request=None):
        heapq.heappush(self._events, (moment, next(self._order), act, request))

    def _steer(self, _=None):
        plan = self.planner.plan(self.now)
        for query in self._polls.keys() - plan.polls:
            self._polls.pop(query).is_over = True
            self.abandoned += 1
        for query in self._paces.keys() - plan.polls:
            del self._paces[query]
        for query in self.values.keys() - self.wanted - plan.polls:
            del self.values[query], self.indexes[query]
        for query in plan.polls - self._polls.keys():
            self._poll(query)
        while len(self._reads) < plan.readers and (query := self.planner.take(self.now)) is not None:
            assert query not in [read.query for read in self._reads]
            self._reads.append(self._ask(query, self.now, is_poll=False))
        connections = len(self._polls) + len(self._reads)
        assert connections <= plan.connections <= self.connections_allowed
        self.most_connections = max(self.most_connections, connections)
        wake_at = self.planner.plan(self.now).wake_at
        if wake_at < math.inf and len(self._reads) < plan.readers:
            assert wake_at > self.now, "a planner that wants to be asked at once has nothing to say: a busy loop"
            self._steer_at(wake_at)

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
        if self.is_away or self._draw.random() < self.failure_rate:
            self._at(self.now + self._leg(), self._fail, request)
        elif self._is_due(request):
            self._serve(request)
        else:
            self._parked.append(request)
            self._at(request.deadline, self._expire, request)

    def _is_due(self, request):
        return self.world.index_of(request.query) != request.since

    def _serve(self, request):
        answer = (request, self.world.index_of(request.query), self.world.value_of(request.query))
        self._at(self.now + self._leg(), self._deliver, answer)

    def _leg(self):
        """Seconds that a request or an answer is on its way; with jitter, some overtake others."""
        return LATENCY if self.jitter == 1 else LATENCY * self._draw.uniform(1 / self.jitter, self.jitter)

    def _expire(self, request):
        if request in self._parked:
            self._parked.remove(request)
            self._serve(request)

    def _wake(self):
        due = [request for request in self._parked if self._is_due(request)]
        self._parked = [request for request in self._parked if not self._is_due(request)]
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
