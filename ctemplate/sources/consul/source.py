"""The Consul source: follows the catalog's wishes over as few connections as are allowed.

It owns the tasks: one per long poll and one per reader, as planned. ``planner`` alone decides what to watch and how.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable

from ctemplate.catalog import Catalog
from ctemplate.core.defects import Defects, kept_running
from ctemplate.core.errors import ConfigError, printable
from ctemplate.core.event_stream import emit
from ctemplate.core.events import DatacenterAbsent, DataLeftOut
from ctemplate.core.model import Answer, Query, Rejection
from ctemplate.core.timing import Backoff
from ctemplate.queries import WatchRole, kind_of
from ctemplate.sources.consul.confirm import confirm
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import FailureKind, RequestFailed
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, Pacing
from ctemplate.sources.consul.http.client import Client
from ctemplate.sources.consul.http.heartbeat import listen
from ctemplate.sources.consul.http.outages import OutageLog
from ctemplate.sources.consul.http.transport import Connection
from ctemplate.sources.consul.watching.covers import Covers
from ctemplate.sources.consul.watching.plan import Policy, WatchPlan
from ctemplate.sources.consul.watching.planner import Planner
from ctemplate.sources.consul.watching.poll_start import PollStart
from ctemplate.sources.consul.watching.watch import Retries, Watch
from ctemplate.sources.local_files import LocalFiles, is_local
from ctemplate.sources.source import Cost, OngoingOutage, SourceHealth

DEFECT_PAUSE = Backoff(first=2.0, ceiling=60.0)  # before a query whose answer caused a defect is read again
REJECTIONS_LOGGED = 5  # per answer; the rest is counted
ABSENT_AFTER = 10.0  # seconds until an unreachable other datacenter counts as absent; stored answers are shown earlier
UNCOVERED = frozenset({FailureKind.DENIED, FailureKind.REFUSED, FailureKind.GARBLED})
"""What makes us ask for many by themselves rather than for all at once."""

SENTINEL_PACING = Pacing(interval=0.1, burst=50, idle_interval=0.2, idle_burst=10)
"""For sentinels: a wake-up without a new value still means that something changed."""


class ConsulSource:
    """Answers the catalog's queries from Consul. The constructor raises ConfigError for settings that cannot work.

    Long polls begin ``poll_delay`` seconds after the last query's first answer.
    """

    def __init__(self, settings: ConsulSettings, *, poll_delay: float = 0.0) -> None:
        self._settings = settings
        self._poll_start = PollStart(delay=poll_delay)
        self._client = Client(settings)
        try:
            self._edge = Decoder(settings.limits)
        except ValueError as exc:
            raise ConfigError("allowed networks", str(exc)) from exc
        self.outages = OutageLog(len(settings.addresses))
        self._retries = Retries(self._client, self.outages)
        self._planner = self._new_planner()
        self._covers = Covers()
        self._files = LocalFiles(settings.limits.file_folders)
        self._watches: dict[Query, Watch] = {}
        self._polls: dict[tuple[Query, Pacing], asyncio.Task[None]] = {}
        self._laid_out: tuple[frozenset[Query], frozenset[Query]] | None = None  # the planned polls that run
        self._absent: set[str | None] = set()  # the datacenters reported as absent, until they answer
        self._readers = 0
        self._readers_wanted = 0
        self._stirred = asyncio.Event()
        self._reader_wakeup: asyncio.Queue[None] = asyncio.Queue(maxsize=1)
        self._defects = Defects()

    def plan(self) -> WatchPlan:
        """Return the current plan, with its connections and requests per second."""
        return self._planner.plan(_now())

    @property
    def health(self) -> SourceHealth:
        """The current state of Consul; see ``Source.health``."""
        outages = tuple(
            OngoingOutage(
                cause=each.cause, subject=each.subject, seconds=_now() - each.since, queries=len(each.queries)
            )
            for each in self.outages.ongoing
        )
        return SourceHealth(connections=self._client.connections, outages=outages)

    def cost(self, queries: Iterable[Query]) -> Cost:
        """Return what watching these queries would cost Consul; see ``Source.cost``."""
        planner = self._new_planner()
        wanted = frozenset(queries)
        planner.want(Covers().want(query for query in wanted if not is_local(query)), 0.0)
        plan = planner.plan(0.0)
        return Cost(
            queries=len(wanted), connections=plan.connections, requests_per_second=round(plan.requests_per_second, 3)
        )

    def _new_planner(self) -> Planner:
        settings = self._settings
        policy = Policy(backoff=settings.backoff, wait=settings.wait, interval=settings.query_interval)
        return Planner(max_connections=settings.max_connections, policy=policy)

    async def run(self, catalog: Catalog) -> None:
        """Answer the wanted queries until cancelled; see ``Source.run``. A restart reads everything again."""
        self._planner = self._new_planner()
        self._covers = Covers()
        self._watches.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(catalog), name="consul wishes")
                self._keep(group, "local files", lambda: self._files.run(catalog))
                self._keep(group, "consul confirm", lambda: confirm(catalog, self._client, self._edge, self.outages))
                if self._settings.max_connections > Policy().spare:
                    self._keep(group, "consul heartbeat", lambda: listen(self._client, self.outages))
                while True:
                    wake_at = await self._reconcile(catalog, group)
                    await self._replan(wake_at)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self._polls.clear()
            self._laid_out = None
            self._readers = 0

    def _keep(self, group: asyncio.TaskGroup, name: str, part: Callable[[], Awaitable[None]]) -> None:
        """Start a part that is restarted after a defect."""
        group.create_task(kept_running(name, part), name=name)

    async def _follow(self, catalog: Catalog) -> None:
        """Follow the catalog's wishes: plan, and start and stop what the plan says."""
        while True:
            wanted = self._files.take(await catalog.wishes())
            self._covers.want(wanted)
            failed = self._ask(catalog)
            for query in wanted:
                if catalog.get(query) is None and (known := self._covers.known(query)) is not None:
                    catalog.put(known)
            for query in failed:
                self._planner.failed(query, _now(), is_read=True, least_delay=DEFECT_PAUSE.first)
            self._stirred.set()

    def _ask(self, catalog: Catalog) -> set[Query]:
        """Plan for what is to be asked now; return of what the known answer could not be used."""
        asked, failed = self._covers.asked(), set[Query]()
        for query in asked:
            watch = self._watch(query)
            watch.unreported = UNCOVERED if self._covers.is_spare(query) else frozenset()
            if watch.answer is not None and catalog.get(query) is None:
                try:
                    self._take_answer(watch.answer, catalog)  # known: a sentinel's, or dropped and wanted again
                except Exception as exc:  # noqa: BLE001 - a defect, of any kind
                    self._defects.report(str(query), exc)
                    failed.add(query)
        self._planner.want(asked, _now(), unpolled=self._covers.lacking)
        self._forget(self._watches.keys() - asked - self._planner.plan(_now()).polls)
        return failed

    def _take_answer(self, answer: Answer, catalog: Catalog) -> None:
        for each in self._covers.answers(answer):
            catalog.put(each)

    def _watch(self, query: Query) -> Watch:
        watch = self._watches.get(query)
        if watch is None:
            watch = self._watches[query] = self._new_watch(query)
        return watch

    def _new_watch(self, query: Query) -> Watch:
        return Watch(query, self._client, self._edge, self.outages, self._retries, start=self._poll_start)

    def _forget(self, queries: frozenset[Query] | set[Query]) -> None:
        for query in queries:
            del self._watches[query]
            self.outages.over(str(query), _now())

    async def _reconcile(self, catalog: Catalog, group: asyncio.TaskGroup) -> float:
        """Run exactly what is planned; return when to plan again."""
        if self._covers.has_changed:
            self._ask(catalog)
        now = _now()
        plan = self._planner.plan(now)
        if self._laid_out != (plan.polls, plan.sentinels):
            await self._lay_out(plan, catalog, group)
        self._readers_wanted = plan.readers
        while self._readers < plan.readers:
            self._readers += 1
            group.create_task(self._read_on(catalog), name="consul reader")
        if self._readers > plan.readers:  # one that is idle leaves, and has us look again
            self._notify()
        if plan.wake_at > now:
            return plan.wake_at
        self._notify()
        return math.inf

    async def _lay_out(self, plan: WatchPlan, catalog: Catalog, group: asyncio.TaskGroup) -> None:
        """Start and end long polls, so that those of the plan run."""
        self._laid_out = (plan.polls, plan.sentinels)
        wanted = {(query, self._pacing(query, plan)) for query in plan.polls}
        over = {poll for poll, task in self._polls.items() if task.done()}
        ended = self._polls.keys() - (wanted - over)
        dropped = [self._polls.pop(poll) for poll in ended]
        for task in dropped:
            task.cancel()
        if dropped:  # their connections close before others open
            await asyncio.wait(dropped)
            await asyncio.sleep(0)
        for query in {query for query, _ in ended if kind_of(query).role is not WatchRole.WANTED} - plan.polls:
            self._watches.pop(query, None)  # if it is wanted again, its first answer is news
        for query, pacing in wanted - self._polls.keys():
            polling = self._poll(query, self._watch(query), pacing, catalog)
            task = self._polls[query, pacing] = group.create_task(polling, name=f"consul {query}")
            task.add_done_callback(self._note_ended)

    def _note_ended(self, _: asyncio.Task[None]) -> None:
        """Have the long polls laid out anew, since one has ended."""
        self._laid_out = None
        self._stirred.set()

    def _notify(self) -> None:
        """Wake one idle reader, since there is something to read."""
        if self._reader_wakeup.empty():
            self._reader_wakeup.put_nowait(None)

    async def _replan(self, wake_at: float) -> None:
        """Wait for an event that may change the plan, or until the plan's own time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(wake_at if math.isfinite(wake_at) else None):
                await self._stirred.wait()
        self._stirred.clear()

    def _pacing(self, query: Query, plan: WatchPlan) -> Pacing:
        return SENTINEL_PACING if query in plan.sentinels else self._settings.pacing

    async def _poll(self, query: Query, watch: Watch, pacing: Pacing, catalog: Catalog) -> None:
        """Follow a query; after a defect it is read again after a pause."""
        failures = 0
        if kind_of(query).role is WatchRole.NODE:
            await self._poll_start.wait_for_files(catalog.settled)
        while True:
            try:
                async with contextlib.aclosing(watch.events(pacing)) as events:
                    async for event in events:
                        self._take_event(query, watch, event, catalog)
                        self._stirred.set()
                        if failures and not isinstance(event, RequestFailed):
                            failures = 0
                            self._defects.over(str(query))
                        if not self._planner.is_polled(query):  # between two rounds the connection can go
                            return
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this query a while
                failures += 1
                self._defects.report(str(query), exc)
                watch.forget_answer()
                self._planner.failed(query, _now(), is_read=False)
                self._stirred.set()
                await asyncio.sleep(DEFECT_PAUSE.delay(failures))

    def _take_event(self, query: Query, watch: Watch, event: Answer | RequestFailed, catalog: Catalog) -> None:
        if isinstance(event, RequestFailed):
            self._failed(query, event, is_read=False)
            self._presume(query, watch, catalog)
        else:
            self._answered(query, watch, event, catalog, waited=watch.waited)

    async def _read_on(self, catalog: Catalog) -> None:
        """Read what is due over one kept connection, as long as the plan wants this reader."""
        connection = self._client.connect()
        try:
            while self._readers <= self._readers_wanted:
                query = self._planner.take(_now())
                if query is None:
                    self._stirred.set()
                    await self._reader_wakeup.get()
                    continue
                self._notify()
                if connection.address != self._client.address:
                    connection.close()
                    connection = self._client.connect()
                try:
                    await self._read(query, connection, catalog)
                except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this query a while
                    connection.close()
                    self._defects.report(str(query), exc)
                    if query in self._watches:
                        self._watches[query].forget_answer()
                    self._planner.failed(query, _now(), is_read=True, least_delay=DEFECT_PAUSE.first)
        finally:
            self._readers -= 1
            connection.close()
            self._stirred.set()

    async def _read(self, query: Query, connection: Connection, catalog: Catalog) -> None:
        known = self._watches.get(query)
        watch = self._new_watch(query) if known is None else known
        before = watch.answer
        try:
            answer = await watch.read(connection)
        except RequestFailed as failure:
            connection.close()
            watch.note(failure, _now())
            if failure.remedy.switches:
                self._client.switch(connection.address)
            self._failed(query, failure, is_read=True)
            self._presume(query, watch, catalog)
            return
        if self.outages.current:
            self.outages.over(str(query), _now(), connection.address)
        self._answered(query, watch, answer, catalog, waited=None)
        if watch.is_news and before is not None:
            self._stirred.set()

    def _answered(self, query: Query, watch: Watch, answer: Answer, catalog: Catalog, *, waited: float | None) -> None:
        if kind_of(query).role is WatchRole.WANTED:
            self._absent.discard(query.dc)
            known = catalog.get(query)
            if answer.rejections and (known is None or answer.rejections != known.rejections):
                _report_rejections(answer, () if known is None else known.rejections)
            self._take_answer(answer, catalog)
            if self._covers.has_changed:
                self._stirred.set()
        value = answer.value if watch.is_news else None
        self._planner.answered(query, index=answer.index, value=value, waited=waited, now=_now())

    def _failed(self, query: Query, failure: RequestFailed, *, is_read: bool) -> None:
        if failure.kind in UNCOVERED:
            self._covers.give_up(query)
        self._planner.failed(query, _now(), is_read=is_read, least_delay=failure.remedy.first)
        if failure.kind is FailureKind.TOO_MANY_CONNECTIONS:
            self._planner.refused(_now())

    def _presume(self, query: Query, watch: Watch, catalog: Catalog) -> None:
        """Report a datacenter that has not answered yet as absent after a while, so that renders do not wait for it."""
        if kind_of(query).role is not WatchRole.WANTED or watch.answer is not None or watch.away_since is None:
            return
        is_late = _now() >= watch.away_since + ABSENT_AFTER
        if is_late and catalog.presume_absent(query) and query.dc not in self._absent:
            self._absent.add(query.dc)
            emit(DatacenterAbsent(datacenter=str(query.dc), query=str(query)))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _report_rejections(answer: Answer, known: tuple[Rejection, ...]) -> None:
    fresh = [rejection for rejection in answer.rejections if rejection not in set(known)]
    for rejection in fresh[:REJECTIONS_LOGGED]:
        emit(DataLeftOut(text=f"{rejection}; it is left out"))
    if len(fresh) > REJECTIONS_LOGGED:
        emit(DataLeftOut(where=printable(answer.query), text=f"{len(fresh) - REJECTIONS_LOGGED} more are left out"))
