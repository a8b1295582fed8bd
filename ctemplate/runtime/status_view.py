"""The report on a running daemon: the state of its parts, and counts that only events give.

Knows nothing of how a report is served or shown.
"""

from __future__ import annotations

import asyncio
import os
import pkgutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import TYPE_CHECKING, Literal

import msgspec

from ctemplate import __version__
from ctemplate.catalog import Catalog
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import Event
from ctemplate.core.events import ConfigurationRefused, ConfigurationReloaded, DefectFound, LoopMeasured, Started
from ctemplate.core.group_events import Applied, EditRefused
from ctemplate.core.model import Outcome, Query, Rejection
from ctemplate.core.values import dataclass
from ctemplate.guard import Hold
from ctemplate.runtime.assembly import METRICS, STATUS_SERVICES, Assembly
from ctemplate.runtime.control_socket import releasable_names
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.runtime.services import DaemonService
from ctemplate.sinks.masks import masked_lines
from ctemplate.status.health import readiness_problems
from ctemplate.status.history import History
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

FRESH = 0.5  # seconds for which one report serves all requests
ITEMS_NAMED = 20  # missing queries and sentences of a change that a report names
LEFT_OUT_NAMED = 1000
RELEASABLE_NAMED = 1000


@dataclass(slots=True, kw_only=True)
class StatusView:
    """Makes reports; ``take`` subscribes to the daemon's events.

    Metrics count, and the history is kept, only where an address serves them.
    """

    catalog: Catalog
    history: History = field(default_factory=History)
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
        """Return the metrics, which count from the first call on; most daemons serve none and skip their import."""
        if self._metrics is None:
            self._metrics = pkgutil.resolve_name(METRICS)()
        return self._metrics

    def take(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, Started | ConfigurationReloaded):
            self._configuration = ConfigurationStatus(read_at=time.time(), refused="")
            self._refused_edits.clear()
        elif isinstance(event, EditRefused):
            self._refused_edits[event.group] = "\n".join(map(printable, event.reason.splitlines()))
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
            self.history.take(event)

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
            holds=tuple(_hold(hold.moved(time.time() - self.catalog.now)) for hold in holds),
            unverified=tuple(sorted(map(str, self.catalog.unverified_queries))),
            internal_errors=self._internal_errors,
            loop_lag=self._lag,
            releasable=self._releasable(holds, workers),
            can_release=assembly.config.status.has_token,
        )
        problems = readiness_problems(report, max_age=assembly.config.status.max_age)
        return msgspec.structs.replace(report, problems=problems, is_ready=not problems)

    def _releasable(self, holds: Iterable[Hold], workers: Iterable[GroupWorker]) -> tuple[str, ...]:
        pipelines = [worker.pipeline for worker in workers]
        kept = (name for pipeline in pipelines for name in pipeline.services_kept)
        restored = (str(pipeline.destinations[0]) for pipeline in pipelines if pipeline.restored_to)
        names = releasable_names(holds, self.catalog.unverified_queries, kept)
        return (*restored, *names)[:RELEASABLE_NAMED]

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
        unverified_queries, stale = self.catalog.unverified_queries, self.catalog.stale
        counts = Counter(
            (str(query.__struct_config__.tag), self._query_state(query, held, unverified_queries, stale))
            for query in self.catalog.wanted
        )
        return tuple(QueryCount(kind=kind, state=state, count=n) for (kind, state), n in sorted(counts.items()))

    def _query_state(
        self, query: Query, held: set[Query], unverified_queries: frozenset[Query], stale: frozenset[Query]
    ) -> QueryCondition:
        if query in held:
            return "held"
        if query in unverified_queries:
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
        left_out = [_left_out(rejection, is_kept=False) for rejection in pipeline.quarantined]
        left_out += [_left_out(rejection, is_kept=True) for rejection in pipeline.kept]
        return GroupStatus(
            name=pipeline.name,
            files=tuple(map(str, pipeline.files)) or tuple(map(str, pipeline.destinations)),
            state=group_condition(worker),
            error=str(worker.error) if worker.error is not None else "",
            refused_edit=self._refused_edits.get(pipeline.name, ""),
            owes_reload=sink.owes_reload,
            last_applied_at=self._applied_at.get(pipeline.name),
            last_change=self._masked(worker, sink.last_change[:ITEMS_NAMED]),
            missing=tuple(missing[:ITEMS_NAMED]),
            missing_count=len(missing),
            left_out=tuple(left_out[:LEFT_OUT_NAMED]),
            draining=sink.draining,
            stuck_for=worker.stuck_for,
            restored=sink.restored,
            not_running=sink.not_running,
        )

    def _masked(self, worker: GroupWorker, sentences: tuple[str, ...]) -> tuple[str, ...]:
        """Return sentences about a group's files without the values of keys, as the history shows them."""
        if not sentences or worker.result is None:
            return sentences
        answers = (self.catalog.get(query) for query in worker.result.rendering.used)
        return masked_lines(sentences, (answer for answer in answers if answer is not None))


def group_condition(worker: GroupWorker) -> GroupCondition:
    """Return how a group is in a word."""
    if worker.error is not None:
        return "failed"
    if worker.result is None:
        return "waiting" if worker.missing else "starting"
    states: dict[Outcome, Literal["waiting", "delayed", "reload owed", "restored"]] = {
        Outcome.WAITING: "waiting",
        Outcome.DELAYED: "delayed",
        Outcome.PENDING_START: "reload owed",
        Outcome.HELD: "restored",
    }
    return states.get(worker.result.outcome, "applied")


def _left_out(rejection: Rejection, *, is_kept: bool) -> LeftOut:
    return LeftOut(service=rejection.owner_name, instance=rejection.instance, reason=str(rejection), is_kept=is_kept)


def _hold(hold: Hold) -> HoldStatus:
    """Return the status of a hold whose moments are on the wall clock."""
    until = None if hold.until == float("inf") else hold.until
    return HoldStatus(
        query=str(hold.query),
        cause=hold.cause.name.lower(),
        reason=hold.cause.value.replace("%s ", ""),
        entries=len(hold.entries),
        since=hold.since,
        until=until,
        services=releasable_names((hold,), (), ())[:ITEMS_NAMED],
    )


def serving_status(
    view: StatusView, assembly: Assembly, report: ReportNow, workers: Callable[[], Iterable[GroupWorker]]
) -> tuple[DaemonService, ...]:
    """Return what serves status, where it has an address; what that needs is imported then."""
    if assembly.status_address is None:
        return ()
    made: Callable[..., tuple[DaemonService, ...]] = pkgutil.resolve_name(STATUS_SERVICES)
    return made(view, assembly, report, workers)
