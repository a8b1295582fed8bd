"""The only owner of tasks and signals: runs a source and a worker for each group, and reacts to edits.

Knows nothing of the command line; ``assembly`` builds what it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from ctemplate.catalog import Catalog
from ctemplate.config.schema import OnEventSection
from ctemplate.core.defects import Defects, only_error
from ctemplate.core.durations import format_duration
from ctemplate.core.errors import CtemplateError, SourceTimeout
from ctemplate.core.event_stream import EventStream, emit
from ctemplate.core.events import (
    AnswersMissing,
    ConfigurationNotice,
    ConfigurationRefused,
    ConfigurationReloaded,
    ConfigurationReloading,
    FilesEdited,
    GroupUnchecked,
    Released,
    Started,
    Stopped,
    Stopping,
)
from ctemplate.core.timing import Backoff, RunningClock
from ctemplate.core.values import dataclass
from ctemplate.runtime.assembly import Assembler, Assembly
from ctemplate.runtime.control_socket import release_held, serve
from ctemplate.runtime.event_hook import EventHook
from ctemplate.runtime.exec_mode import ExecHost
from ctemplate.runtime.former_files import FormerFiles
from ctemplate.runtime.group_worker import GroupWorker, distribute
from ctemplate.runtime.guard_tasks import Keeper, follow_guard, recall_late, report_holds
from ctemplate.runtime.live_files import follow_foreign_files, follow_live_files
from ctemplate.runtime.neighbours import follow_surroundings, rouse_others, settle_all
from ctemplate.runtime.pid_file import pid_file
from ctemplate.runtime.query_list import late_queries, query_list
from ctemplate.runtime.services import DaemonService, DaemonServices
from ctemplate.runtime.signals import handled_signals
from ctemplate.runtime.status_view import StatusView, serving_status
from ctemplate.runtime.tracing_service import tracing_services
from ctemplate.runtime.watchdog import Watchdog
from ctemplate.status.report import Report
from ctemplate.system.file_watch import Signature, closed, file_edits, write_detectable
from ctemplate.system.programs import reap_orphans

MISSING_REPORT_BACKOFF = Backoff(first=20.0, ceiling=600.0)  # until the missing queries of a group are named
HOLD_RETRY = Backoff(first=2.0, ceiling=60.0)  # between attempts to lock the groups' files again
LINES_PER_MINUTE = 100  # of one event that data of Consul can cause any number of times
WATCH_PATIENCE = 2.0  # seconds for the first files to be written, until edits are watched for in any case
RENDER_GRACE = 1.0  # seconds between looks at a render that is under way when the time for answers is over
EXIT_LIMIT = 30.0  # seconds after the first signal to stop until the process is ended by force, whatever hangs
HURRIED_LIMIT = 10.0  # seconds after a second one


@dataclass(slots=True, kw_only=True)
class Daemon:
    """Runs what the assembler puts together, until it is stopped or, with ``once``, until every group is settled."""

    assembler: Assembler
    assembly: Assembly
    catalog: Catalog = field(init=False)
    workers: tuple[GroupWorker, ...] = ()
    events: EventStream = field(default_factory=lambda: EventStream(lines_per_minute=LINES_PER_MINUTE))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _is_stopping: bool = False
    _is_edited: bool = False
    _is_loaded: bool = False
    _releases_loaded: bool = False
    _write_detectable: frozenset[Path] = frozenset()
    _of_refused: Mapping[Path, Signature | None] = field(default_factory=dict)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _defects: Defects = field(default_factory=Defects)
    _held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _last_workers: tuple[GroupWorker, ...] = ()
    _generation: int = 0
    _hold_failures: int = 0
    _former: FormerFiles = field(default_factory=FormerFiles)
    _keeper: Keeper = field(init=False)
    _view: StatusView = field(init=False)
    _exec: ExecHost = field(init=False)
    _hook: EventHook = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = Catalog(self.assembly.policies, clock=RunningClock())
        self._keeper = Keeper(self.catalog, self.assembly.memory_path, self.assembly.configuration)
        self._view = StatusView(catalog=self.catalog)
        self._exec = ExecHost(self.assembler.environ, lambda: self.workers, self._stop)
        self._hook = EventHook(events=self.events, section=OnEventSection())

    @property
    def exit_status(self) -> int:
        """The exit status of the process after ``run``: 0, or the status of the program of ``[exec]``."""
        return self._exec.status

    async def run(self) -> None:
        """Keep every group up to date until SIGTERM or SIGINT."""
        self.catalog.presumes = True
        if self.assembly.status_address is not None:
            self._view.counted()
        view = self.events.subscribed("status", self._view.take)
        others = self.events.subscribed("neighbours", lambda event: rouse_others(event, self.workers))
        with self.events.entered(), view, others, only_error(), self._watched() as watchdog, self._held:
            self._hook.section = self.assembly.config.on_event
            async with self._hook.serving(lambda: watchdog.remaining):
                self._hold_workers()
                self._warn()
                await self._load_answers()
                with pid_file(self.assembly.config.pid_file):
                    async with self._kept():
                        await self._run()
                emit(Stopped())

    async def _run(self) -> None:
        """Run all services, replace them after edits, until ctemplate is stopped."""
        async with asyncio.TaskGroup() as tasks:
            services = DaemonServices(tasks)
            await services.reconcile(self._wanted())
            emit(Started(summary=self.assembly.summary))
            await self._exec.follow(tasks, self.assembly.config.exec, self.assembly.plans)
            while await self._until_edited():
                emit(ConfigurationReloading())
                await self._reassemble(services)
                emit(ConfigurationReloading(is_over=True))
            emit(Stopping())
            await asyncio.gather(services.reconcile(self._lasting()), self._exec.stop())
            await services.reconcile(())

    async def once(self, *, timeout: float) -> None:
        """Run every group once, as soon as its answers have arrived; the workers hold each group's result.

        Raises SourceTimeout naming the queries that had no answer after ``timeout`` seconds.
        """
        late = None
        with self.events.entered(), only_error(), self._watched(is_patient=False), self._held:
            self._hold_workers()
            self._warn()
            if self.assembly.policies is not None:
                await self._load_answers(is_once=True)
            async with self._kept(), asyncio.TaskGroup() as tasks:
                services = DaemonServices(tasks)
                await services.reconcile(self._sources())
                settling = tasks.create_task(settle_all(self.workers), name="settle-groups")
                try:
                    await self._until_answered_within(timeout)
                except TimeoutError:
                    late = SourceTimeout(self.assembly.source_name, late_queries(*self._missing(), timeout))
                    settling.cancel()
                await asyncio.wait([settling])
                report_holds(self.catalog)
                if late is None:
                    await self._former.report(self.assembly, self.workers)
                await services.reconcile(())
        if late is not None:
            raise late

    async def _load_answers(self, *, is_once: bool = False) -> None:
        """Load what an earlier process stored into the guard and the groups."""
        answers = await self._keeper.load(is_once=is_once)
        for worker in self.workers:
            worker.pipeline.remember(answers)
        self._is_loaded = True
        if self._releases_loaded:
            self._release()

    def _sources(self) -> tuple[DaemonService, ...]:
        """Return the services that deliver answers: the source, the distributor, and the guard."""
        source = self.assembly.source

        def follow() -> Awaitable[None]:
            self.catalog.ask_again()  # a restarted source has to learn all wishes anew
            return source.run(self.catalog)

        return (
            DaemonService(key=("source", source), name=self.assembly.source_name, run=follow),
            _service("distribute", self._distribute),
            _service("follow-guard", lambda: follow_guard(self.catalog)),
        )

    def _lasting(self, *, has_socket: bool = True) -> tuple[DaemonService, ...]:
        """Return the services that also run without a group; the control socket needs the locks of its destinations."""
        name, socket, files = self.assembly.source_name, self.assembly.control_path, frozenset(self._inputs)
        control = _service("control", lambda: serve(socket, self.catalog, self._report, lambda: self.workers), socket)
        return (
            *self._sources(),
            _service("name-missing", self._name_missing),
            _service("recall-late", lambda: recall_late(self.catalog, name), name),
            _service("keep-answers", self._keeper.run),
            _service("reap-orphans", reap_orphans),
            _service("follow-surroundings", lambda: follow_surroundings(lambda: self.workers)),
            _service("follow-edits", self._follow_edits, files),  # starting a watch costs threads
            *((control,) if has_socket else ()),
            *serving_status(self._view, self.assembly, self._report, lambda: self.workers),
            *tracing_services(self.events, is_on=self.assembly.config.tracing),
        )

    async def _report(self) -> Report:
        return await self._view.report(self.assembly, self.workers)

    def _wanted(self) -> tuple[DaemonService, ...]:
        """Return the services to run now; without workers, one of them retries to lock the files."""
        if not self.workers:
            again = _service("hold-again", self._hold_again, self._hold_failures)
            return (*self._lasting(has_socket=False), again)
        groups = (
            DaemonService(
                key=("group", self._generation, number), name=worker.pipeline.name, run=worker.run, stop=worker.stop
            )
            for number, worker in enumerate(self.workers)
        )
        return (
            *self._lasting(),
            *groups,
            _service("follow-live-files", lambda: follow_live_files(self.workers, self._defects), self._generation),
            _service("follow-foreign-files", lambda: follow_foreign_files(self.workers), self._generation),
            _service("report-former", lambda: self._former.follow(self.assembly, self.workers), self._generation),
            _service("forget-old-groups", self._forget_old_groups, self._generation),
        )

    async def _distribute(self) -> None:
        await distribute(self.catalog, lambda: self.workers)

    @contextlib.asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        """Store the last good answers on exit, also after an error, where they are to be stored."""
        try:
            yield
        finally:
            if self.assembly.keeps_answers:
                await self._keeper.save()
            for worker in self.workers:
                worker.pipeline.save()

    def _hold_workers(self) -> None:
        """Take new workers from the assembly, with the locks on their destinations; raises StateError."""
        self._held.close()
        self.workers = ()
        self.workers = self._held.enter_context(self.assembly.workers(self.catalog, self._last_workers))
        self._last_workers = self.workers
        self._write_detectable = write_detectable(self.assembly.signatures)
        self._generation += 1

    def _warn(self) -> None:
        for notice in (each for each in self.assembly.notices if not each.is_idle):
            emit(ConfigurationNotice(text=str(notice), is_loss=notice.is_loss))
        for warning in self.assembly.warnings:
            emit(GroupUnchecked(warning=warning))
        for refused in self.assembly.refused:
            emit(refused)

    async def _reassemble(self, services: DaemonServices) -> None:
        """Continue with the newly read files; broken ones are reported and the running configuration stays."""
        previous, found = self.assembly, await self._assembled()
        if found is None and self.workers:
            await services.reconcile(self._wanted())  # follows what the refused attempt read
            return
        assembly = found or previous
        has_same_socket = bool(self.workers) and assembly.control_path == previous.control_path
        await services.reconcile(self._lasting(has_socket=has_same_socket))
        if self._is_stopping:
            return  # new groups would start work that the time to stop may not suffice for
        self._take_over(assembly, previous)
        self.catalog.follow_policies(self.assembly.policies)
        self._keeper.path = self.assembly.memory_path
        if self.workers and self.assembly is assembly:  # said before its groups can say what they did
            emit(ConfigurationReloaded(summary=self.assembly.summary))
        await services.reconcile(self._wanted())
        await self._exec.follow(services.tasks, self.assembly.config.exec, self.assembly.plans)

    def _take_over(self, assembly: Assembly, previous: Assembly) -> None:
        """Take the assembly's workers, else the previous assembly's; with neither, the daemon retries later."""
        delay = format_duration(HOLD_RETRY.delay(self._hold_failures + 1, draw=0.0))
        choices = [(previous, f"no file is written meanwhile; next try in {delay}")]
        if assembly is not previous:
            choices.insert(0, (assembly, "keeping the running configuration"))
        for self.assembly, consequence in choices:
            try:
                self._hold_workers()
            except Exception as exc:  # noqa: BLE001 - reported
                self._report_unusable(exc, consequence)
            else:
                self._hold_failures = 0
                self._hook.section = self.assembly.config.on_event
                return
        self._hold_failures += 1

    async def _hold_again(self) -> None:
        """Trigger another read after a pause, since the groups' files could not be locked."""
        await asyncio.sleep(HOLD_RETRY.delay(self._hold_failures, draw=0.0))
        self._is_edited = True
        self._wake.set()

    async def _assembled(self) -> Assembly | None:
        """Return an assembly of the current files; None where they are unusable, or ctemplate is stopped meanwhile."""
        assembling = asyncio.create_task(self._read_again(), name="assemble")
        stopping = asyncio.create_task(self._stopped.wait(), name="stopped")
        try:
            await asyncio.wait((assembling, stopping), return_when=asyncio.FIRST_COMPLETED)
            self._of_refused = {}
            return assembling.result() if assembling.done() else None
        except Exception as exc:  # noqa: BLE001 - reported
            self._of_refused = exc.inputs if isinstance(exc, CtemplateError) else {}
            self._report_unusable(exc, "keeping the running configuration")
            return None
        finally:
            assembling.cancel()
            stopping.cancel()

    async def _read_again(self) -> Assembly:
        """Read all files once no process writes them any more, also when only a signal asked for it."""
        await closed(self._write_detectable)
        return await asyncio.to_thread(self.assembler.assemble, self.assembly)

    def _report_unusable(self, cause: Exception, consequence: str) -> None:
        """Report why the newly read configuration is not used, and what happens instead."""
        if isinstance(cause, CtemplateError):
            emit(ConfigurationRefused(reason=str(cause), consequence=consequence))
        else:
            self._defects.report(consequence, cause)

    async def _forget_old_groups(self) -> None:
        """Drop what only removed groups or an earlier process needed, once the groups know what they need."""
        await self._until_answered()
        self.catalog.keep_groups(worker.pipeline.name for worker in self.workers)

    async def _until_answered(self) -> None:
        for worker in self.workers:
            await worker.answered.wait()

    async def _until_answered_within(self, limit: float) -> None:
        """Wait until every group has its answers; raise TimeoutError if one still lacks some after ``limit`` seconds.

        A render that is under way then has a limit of its own and is waited for.
        """
        while True:
            try:
                async with asyncio.timeout(limit):
                    return await self._until_answered()
            except TimeoutError:
                if any(worker.missing for worker in self.workers):
                    raise
                limit = RENDER_GRACE

    async def _name_missing(self) -> None:
        """Report what an unrendered group still waits for, at growing intervals."""
        rounds = 1
        while True:
            await asyncio.sleep(MISSING_REPORT_BACKOFF.delay(rounds, draw=0.0))
            waiting = [worker for worker in self.workers if worker.missing]
            rounds = rounds + 1 if waiting else 1
            if waiting:
                unanswered, absent = map(query_list, self._missing())
                emit(AnswersMissing(source=self.assembly.source_name, queries=unanswered, absent=absent))

    def _missing(self) -> tuple[set[str], set[str]]:
        """Return the queries without a usable answer, and those whose answer says that nothing exists."""
        missing = {query for worker in self.workers for query in worker.missing}
        known = {query for query in missing if (answer := self.catalog.get(query)) is not None and not answer.absent}
        return set(map(str, missing - known)), set(map(str, known))

    async def _follow_edits(self) -> None:
        await self.catalog.wait_settled(WATCH_PATIENCE)  # the first files do not wait for the watch
        async for edited in file_edits(self._inputs, known=self._inputs, more=lambda: self.assembly.files):
            emit(FilesEdited(files=tuple(sorted(map(str, edited)))))
            self._is_edited = True
            self._wake.set()

    @property
    def _inputs(self) -> Mapping[Path, Signature | None]:
        """The files whose edits count: what the templates were made of, and what a refused attempt read after that."""
        return {**self.assembly.files, **self._of_refused}

    async def _until_edited(self) -> bool:
        """Wait until the configuration has to be read again; return False when ctemplate is stopped."""
        while not self._is_stopping:
            if self._is_edited:
                self._is_edited = False
                return True
            self._wake.clear()
            await self._wake.wait()
        return False

    @contextlib.contextmanager
    def _watched(self, *, is_patient: bool = True) -> Iterator[Watchdog]:
        """Handle signals, run the watchdog, and report errors that the event loop cannot deliver to a task."""
        loop = asyncio.get_running_loop()

        def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            cause = context.get("exception") or RuntimeError(str(context.get("message")))
            self._defects.report("event loop", cause)

        loop.set_exception_handler(report)
        with Watchdog() as watchdog, self._signals(watchdog, is_patient=is_patient):
            try:
                yield watchdog
            finally:
                loop.set_exception_handler(None)

    def _stop(self) -> None:
        self._is_stopping = True
        self._stopped.set()
        self._wake.set()

    @contextlib.contextmanager
    def _signals(self, watchdog: Watchdog, *, is_patient: bool) -> Iterator[None]:
        """Stop on what ends a process, at once on a second signal; reload on SIGHUP; release holds on SIGUSR1."""
        task, signals = asyncio.current_task(), 0

        def stop() -> None:
            if task is not None and (self._is_stopping or not is_patient):
                task.cancel()
            self._stop()

        def limit() -> None:
            """Bound the remaining time."""
            nonlocal signals
            signals += 1
            watchdog.end_within(EXIT_LIMIT + self._exec.patience if signals == 1 else HURRIED_LIMIT)

        def hangup() -> None:
            self._is_edited = True
            self._wake.set()

        handlers = {signal.SIGHUP: hangup, signal.SIGUSR1: self._release}
        with handled_signals(stop, handlers, limit, is_patient=is_patient):
            yield

    def _release(self) -> None:
        """Release what is held; before the holds of an earlier process are loaded, once they are."""
        self._releases_loaded = not self._is_loaded
        if self._releases_loaded or self._exec.forward(signal.SIGUSR1):
            return
        if not release_held(None, self.catalog, self.workers, by="SIGUSR1").released:
            emit(Released(by="SIGUSR1", holds=0))


def _service(name: str, run: Callable[[], Awaitable[None]], *of: Hashable) -> DaemonService:
    """Return a service that runs as long as its name and these values are wanted."""
    return DaemonService(key=(name, *of), name=name, run=run)
