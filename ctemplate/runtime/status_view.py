"""The report on a running daemon: what its parts say when asked, and a little that only events tell.

Knows nothing of how a report is served or shown.
"""

from __future__ import annotations

import asyncio
import os
import pkgutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import field
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

import msgspec

from ctemplate import __version__
from ctemplate.catalog import Catalog
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import Event, emit
from ctemplate.core.events import ConfigurationRead, ConfigurationRefused, DefectFound, LoopMeasured, Started
from ctemplate.core.group_events import Applied, EditRefused
from ctemplate.core.model import Fault, Outcome, Query
from ctemplate.core.values import dataclass
from ctemplate.guard import Hold
from ctemplate.runtime.assembly import Assembly
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.status.health import readiness_problems, stuck_groups
from ctemplate.status.http_server import JSON_TYPE, Reply, StatusRoutes
from ctemplate.status.report import (
    ConfigurationStatus,
    GroupCondition,
    GroupStatus,
    HoldStatus,
    LeftOut,
    OutageStatus,
    QueryCondition,
    QueryCount,
    Report,
    ReportNow,
    SourceStatus,
)

if TYPE_CHECKING:
    from ctemplate.status.metrics import Metrics

FRESH = 0.5  # seconds for which a report serves everybody who asks
LOOP_INTERVAL = 1.0  # seconds between two measurements of the event loop
ITEMS_NAMED = 20  # missing queries and sentences of a change that a report names
LEFT_OUT_NAMED = 1000


@dataclass(slots=True, kw_only=True)
class StatusView:
    """Makes reports; ``take`` subscribes to the daemon's events. Metrics are counted once somebody may ask for them."""

    catalog: Catalog
    started_at: float = field(default_factory=time.time)
    _configuration: ConfigurationStatus = field(init=False)
    _metrics: Metrics | None = None
    _applied_at: dict[str, float] = field(default_factory=dict)
    _refused_edits: dict[str, str] = field(default_factory=dict)
    _internal_errors: int = 0
    _lag: float = 0.0
    _report: Report | None = None
    _made_at: float = 0.0
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._configuration = ConfigurationStatus(read_at=self.started_at, refused="")

    def counted(self) -> Metrics:
        """Return the metrics, which count from the first call on; most daemons serve none and do without the import."""
        if self._metrics is None:
            self._metrics = pkgutil.resolve_name("ctemplate.status.metrics:Metrics")()
        return self._metrics

    def take(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Started | ConfigurationRead):
            self._configuration = ConfigurationStatus(read_at=time.time(), refused="")
            self._refused_edits.clear()
        elif isinstance(event, EditRefused):
            self._refused_edits[event.group] = printable(event.reason)
        elif isinstance(event, ConfigurationRefused):
            refused = printable(event.reason)
            self._configuration = msgspec.structs.replace(self._configuration, refused=refused)
        elif isinstance(event, DefectFound):
            self._internal_errors += 1
        elif isinstance(event, LoopMeasured):
            self._lag = event.lag
        elif isinstance(event, Applied):
            self._applied_at[event.group] = time.time()
        if self._metrics is not None:
            self._metrics.take(event)

    async def report(self, assembly: Assembly, workers: Iterable[GroupWorker]) -> Report:
        """Return the state of the daemon, at most half a second old."""
        async with self._making:
            if self._report is None or time.monotonic() - self._made_at > FRESH:
                self._report = await self._new_report(assembly, tuple(workers))
                self._made_at = time.monotonic()
            return self._report

    async def _new_report(self, assembly: Assembly, workers: tuple[GroupWorker, ...]) -> Report:
        holds = self.catalog.holds
        report = Report(
            ctemplate=__version__,
            pid=os.getpid(),
            started_at=self.started_at,
            at=time.time(),
            is_ready=False,
            problems=(),
            configuration=self._configuration,
            source=self._source(assembly),
            queries=self._queries(holds),
            groups=tuple([await self._group(worker) for worker in workers]),
            holds=tuple(_hold(hold) for hold in holds),
            unverified=tuple(sorted(map(str, self.catalog.blind))),
            internal_errors=self._internal_errors,
            loop_lag=self._lag,
        )
        problems = readiness_problems(report, max_age=assembly.config.status.max_age)
        return msgspec.structs.replace(report, problems=problems, is_ready=not problems)

    def _source(self, assembly: Assembly) -> SourceStatus:
        health = assembly.source.health
        ages = [outage.seconds for outage in health.outages]
        if self.catalog.stale:
            ages.append(time.time() - self.catalog.oldest())
        seen = (answer.seen_at for query in self.catalog.wanted if (answer := self.catalog.get(query)) is not None)
        return SourceStatus(
            name=assembly.source_name,
            connections=health.connections,
            outages=tuple(
                OutageStatus(
                    cause=each.cause, subject=each.subject, since=time.time() - each.seconds, queries=each.queries
                )
                for each in health.outages
            ),
            data_age=max(ages, default=0.0),
            oldest_answer_at=min((at for at in seen if at), default=None),
        )

    def _queries(self, holds: Iterable[Hold]) -> tuple[QueryCount, ...]:
        held = {hold.query for hold in holds}
        blind, stale = self.catalog.blind, self.catalog.stale
        counts = Counter(
            (str(query.__struct_config__.tag), self._query_state(query, held, blind, stale))
            for query in self.catalog.wanted
        )
        return tuple(QueryCount(kind=kind, state=state, count=n) for (kind, state), n in sorted(counts.items()))

    def _query_state(
        self, query: Query, held: set[Query], blind: frozenset[Query], stale: frozenset[Query]
    ) -> QueryCondition:
        if query in held:
            return "held"
        if query in blind:
            return "unverified"
        if query in stale:
            return "recalled"
        answer = self.catalog.get(query)
        if answer is None:
            return "waiting"
        return "absent" if answer.absent else "answered"

    async def _group(self, worker: GroupWorker) -> GroupStatus:
        pipeline, sink = worker.pipeline, await worker.pipeline.sink.status()
        missing = sorted(printable(query, 80) for query in worker.missing)
        left_out = [_left_out(fault, is_kept=False) for fault in pipeline.quarantined]
        left_out += [_left_out(fault, is_kept=True) for fault in pipeline.kept]
        return GroupStatus(
            name=pipeline.name,
            files=tuple(map(str, pipeline.destinations)),
            state=group_condition(worker),
            error=str(worker.error) if worker.error is not None else "",
            refused_edit=self._refused_edits.get(pipeline.name, ""),
            owes_reload=sink.owes_reload,
            last_applied_at=self._applied_at.get(pipeline.name),
            last_change=sink.last_change[:ITEMS_NAMED],
            missing=tuple(missing[:ITEMS_NAMED]),
            missing_count=len(missing),
            left_out=tuple(left_out[:LEFT_OUT_NAMED]),
            draining=sink.draining,
            stuck_for=worker.stuck_for,
        )


def group_condition(worker: GroupWorker) -> GroupCondition:
    """Return how a group is in a word."""
    if worker.error is not None:
        return "failed"
    if worker.result is None:
        return "waiting" if worker.missing else "starting"
    states: dict[Outcome, Literal["waiting", "delayed", "reload owed"]] = {
        Outcome.WAITING: "waiting",
        Outcome.DELAYED: "delayed",
        Outcome.PENDING_START: "reload owed",
    }
    return states.get(worker.result.outcome, "applied")


def _left_out(fault: Fault, *, is_kept: bool) -> LeftOut:
    return LeftOut(service=fault.service, instance=fault.instance, reason=str(fault), is_kept=is_kept)


def _hold(hold: Hold) -> HoldStatus:
    ahead = time.time() - time.monotonic()
    until = None if hold.until == float("inf") else hold.until + ahead
    return HoldStatus(
        query=str(hold.query),
        cause=hold.cause.name.lower(),
        reason=hold.cause.value.replace("%s ", ""),
        entries=len(hold.entries),
        since=hold.since + ahead,
        until=until,
    )


async def measure_loop() -> None:
    """Measure by how much the event loop is late, once a second, until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + LOOP_INTERVAL
        await asyncio.sleep(LOOP_INTERVAL)
        emit(LoopMeasured(lag=max(clock() - due, 0.0)))


def status_routes(metrics: Metrics, report: ReportNow) -> StatusRoutes:
    """Return what is served: ``/healthz``, ``/readyz``, ``/status`` and ``/metrics``."""

    async def healthz() -> Reply:
        stuck = stuck_groups(await report())
        return _verdict(stuck)

    async def readyz() -> Reply:
        return _verdict((await report()).problems)

    async def status() -> Reply:
        return Reply(body=msgspec.json.encode(await report()) + b"\n", content_type=JSON_TYPE)

    async def exposition() -> Reply:
        return Reply(body=metrics.exposition(await report()), content_type=metrics.content_type)

    return {"/healthz": healthz, "/readyz": readyz, "/status": status, "/metrics": exposition}


def _verdict(problems: tuple[str, ...]) -> Reply:
    """Answer ok, or 503 with a line for each problem."""
    if not problems:
        return Reply(body=b"ok\n")
    return Reply(status=HTTPStatus.SERVICE_UNAVAILABLE, body="".join(f"{each}\n" for each in problems).encode())
