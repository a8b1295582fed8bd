"""The only owner of tasks and signals: a source, a worker for each group, and what happens to them over the days.

Knows nothing of the command line; what it runs is put together by ``assembly``.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from dataclasses import field
from pathlib import Path
from typing import Any

from ctemplate.catalog import Catalog
from ctemplate.core.defects import Defects, only_error
from ctemplate.core.durations import format_duration
from ctemplate.core.errors import CtemplateError, SourceTimeout
from ctemplate.core.event_stream import EventStream, emit
from ctemplate.core.events import (
    AnswersMissing,
    ConfigurationNoticed,
    ConfigurationRead,
    ConfigurationReading,
    ConfigurationRefused,
    FilesEdited,
    GroupUnproven,
    Released,
    Started,
    Stopped,
    Stopping,
)
from ctemplate.core.timing import Backoff
from ctemplate.core.values import dataclass
from ctemplate.runtime.assembly import Assembler, Assembly
from ctemplate.runtime.control_socket import serve
from ctemplate.runtime.exec_mode import ExecHost
from ctemplate.runtime.group_worker import GroupWorker, distribute
from ctemplate.runtime.guard_tasks import Keeper, follow_guard, recall_late, tell_holds
from ctemplate.runtime.pid_file import pid_file
from ctemplate.runtime.query_list import query_list
from ctemplate.runtime.services import DaemonService, DaemonServices
from ctemplate.runtime.status_view import StatusView, measure_loop, status_routes
from ctemplate.runtime.watchdog import Watchdog
from ctemplate.status.http_server import serve_status
from ctemplate.status.report import Report
from ctemplate.system.file_watch import closed, file_edits, poll_modified, telling
from ctemplate.system.programs import reap_orphans

MISSING_REPORT_BACKOFF = Backoff(first=20.0, ceiling=600.0)  # until the missing queries of a group are named
LOOK = 60.0  # seconds between looks at the processes that run the files: they may be restarted by others
HOLD_RETRY = Backoff(first=2.0, ceiling=60.0)  # between tries to get the files of the groups back
EXIT_LIMIT = 30.0  # seconds after the first signal to stop until the process is ended by force, whatever hangs
HURRIED_LIMIT = 10.0  # seconds after a second one


@dataclass(slots=True, kw_only=True)
class Daemon:
    """Runs what the assembler puts together, until it is stopped or, with ``once``, until every group is settled."""

    assembler: Assembler
    assembly: Assembly
    catalog: Catalog = field(init=False)
    workers: tuple[GroupWorker, ...] = ()
    events: EventStream = field(default_factory=EventStream)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _is_stopping: bool = False
    _is_edited: bool = False
    _telling: frozenset[Path] = frozenset()
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _defects: Defects = field(default_factory=Defects)
    _held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _last_workers: tuple[GroupWorker, ...] = ()
    _generation: int = 0
    _hold_failures: int = 0
    _keeper: Keeper = field(init=False)
    _view: StatusView = field(init=False)
    _exec: ExecHost = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = Catalog(self.assembly.policies)
        self._keeper = Keeper(self.catalog, self.assembly.memory_path)
        self._view = StatusView(catalog=self.catalog)
        self._exec = ExecHost(self.assembler.environ, lambda: self.workers, self._stop)

    @property
    def exit_status(self) -> int:
        """What the process is to end with after ``run``: 0, or the status of the program of ``[exec]``."""
        return self._exec.status

    async def run(self) -> None:
        """Keep every group true until SIGTERM or SIGINT."""
        self.catalog.presumes = True
        if self.assembly.status_address is not None:
            self._view.counted()
        view = self.events.subscribed("status", self._view.take)
        with self.events.entered(), view, only_error(), self._watched(), self._held:
            self._hold_workers()
            self._warn()
            await self._load_answers()
            with pid_file(self.assembly.config.pid_file):
                async with self._kept():
                    await self._run()
            emit(Stopped())

    async def _run(self) -> None:
        """Run all services, other ones after edits, until ctemplate is to stop."""
        async with asyncio.TaskGroup() as tasks:
            services = DaemonServices(tasks)
            await services.reconcile(self._wanted())
            emit(Started(summary=self.assembly.summary))
            await self._exec.follow(tasks, self.assembly.config.exec, self.assembly.plans)
            while await self._until_edited():
                emit(ConfigurationReading())
                await self._reassemble(services)
                emit(ConfigurationReading(is_over=True))
            emit(Stopping())
            await asyncio.gather(services.reconcile(self._lasting()), self._exec.stop())
            await services.reconcile(())

    async def once(self, *, timeout: float) -> None:
        """Run every group once, as soon as its answers are in; the workers hold what became of each.

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
                settling = [tasks.create_task(worker.settle(), name=worker.pipeline.name) for worker in self.workers]
                try:
                    async with asyncio.timeout(timeout):
                        await self._until_answered()
                except TimeoutError:
                    late = SourceTimeout(self.assembly.source_name, self._late(format_duration(timeout)))
                    for task in settling:
                        task.cancel()
                await asyncio.wait(settling)
                tell_holds(self.catalog)
                await services.reconcile(())
        if late is not None:
            raise late

    async def _load_answers(self, *, is_once: bool = False) -> None:
        """Have the guard and the groups know what an earlier process knew."""
        answers = await self._keeper.load(is_once=is_once)
        for worker in self.workers:
            worker.pipeline.remember(answers)

    def _sources(self) -> tuple[DaemonService, ...]:
        """Return what brings answers: the source, whoever hands them on, and the guard."""
        source = self.assembly.source

        def follow() -> Awaitable[None]:
            self.catalog.ask_again()  # each time it begins it is told all wishes
            return source.run(self.catalog)

        return (
            DaemonService(key=("source", source), name=self.assembly.source_name, run=follow),
            _service("distribute", self._distribute),
            _service("follow-guard", lambda: follow_guard(self.catalog)),
        )

    def _lasting(self, *, has_socket: bool = True) -> tuple[DaemonService, ...]:
        """Return what also runs while no group does; the socket only as long as we hold the files it is named after."""
        name, socket, files = self.assembly.source_name, self.assembly.control_path, frozenset(self.assembly.signatures)
        control = _service("control", lambda: serve(socket, self.catalog, self._report, lambda: self.workers), socket)
        return (
            *self._sources(),
            _service("name-missing", self._name_missing),
            _service("recall-late", lambda: recall_late(self.catalog, name), name),
            _service("keep-answers", self._keeper.run),
            _service("reap-orphans", reap_orphans),
            _service("measure-loop", measure_loop),
            _service("follow-programs", self._follow_programs),
            _service("follow-edits", self._follow_edits, files),  # each start of a watch costs threads
            *((control,) if has_socket else ()),
            *self._served(),
        )

    def _served(self) -> tuple[DaemonService, ...]:
        """Return what serves status, where there is an address for that."""
        address = self.assembly.status_address
        if address is None:
            return ()
        routes = status_routes(self._view.counted(), self._report)
        return (_service("status", lambda: serve_status(address, routes), address),)

    async def _report(self) -> Report:
        return await self._view.report(self.assembly, self.workers)

    def _wanted(self) -> tuple[DaemonService, ...]:
        """Return what is to run now; without workers, what tries again to get them."""
        if not self.workers:
            again = _service("hold-again", self._hold_again, self._hold_failures)
            return (*self._lasting(has_socket=False), again)
        groups = (
            DaemonService(
                key=("group", self._generation, number), name=worker.pipeline.name, run=worker.run, stop=worker.stop
            )
            for number, worker in enumerate(self.workers)
        )
        forgetting = _service("forget-old-groups", self._forget_old_groups, self._generation)
        return (
            *self._lasting(),
            *groups,
            _service("follow-touches", self._follow_touches, self._generation),
            *((forgetting,) if self._generation > 1 else ()),
        )

    async def _distribute(self) -> None:
        await distribute(self.catalog, lambda: self.workers)

    @contextlib.asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        """Keep the last good answers on leaving, whatever happened, where that is to be."""
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
        self._telling = telling(self.assembly.signatures)
        self._generation += 1

    def _warn(self) -> None:
        for notice in self.assembly.notices:
            emit(ConfigurationNoticed(text=str(notice), is_loss=notice.is_loss))
        for warning in self.assembly.warnings:
            emit(GroupUnproven(warning=warning))

    async def _reassemble(self, services: DaemonServices) -> None:
        """Go on with what the files say now; what is broken is reported, and what runs goes on."""
        previous, found = self.assembly, await self._assembled()
        if found is None and self.workers:
            return
        assembly = found or previous
        has_same_socket = bool(self.workers) and assembly.control_path == previous.control_path
        await services.reconcile(self._lasting(has_socket=has_same_socket))
        self._take_over(assembly, previous)
        self.catalog.follow_policies(self.assembly.policies)
        self._keeper.path = self.assembly.memory_path
        await services.reconcile(self._wanted())
        await self._exec.follow(services.tasks, self.assembly.config.exec, self.assembly.plans)
        if self.workers and self.assembly is assembly:
            emit(ConfigurationRead(summary=self.assembly.summary))

    def _take_over(self, assembly: Assembly, previous: Assembly) -> None:
        """Take the workers of an assembly, else those of the one before; without any the daemon goes on and retries."""
        delay = format_duration(HOLD_RETRY.delay(self._hold_failures + 1, draw=0.0))
        choices = [(previous, f"no file is written meanwhile; next try in {delay}")]
        if assembly is not previous:
            choices.insert(0, (assembly, "keeping the running configuration"))
        for self.assembly, consequence in choices:
            try:
                self._hold_workers()
            except Exception as exc:  # noqa: BLE001 - reported
                self._tell_unusable(exc, consequence)
            else:
                self._hold_failures = 0
                return
        self._hold_failures += 1

    async def _hold_again(self) -> None:
        """Have all read again after a pause, since the groups' files could not be held."""
        await asyncio.sleep(HOLD_RETRY.delay(self._hold_failures, draw=0.0))
        self._is_edited = True
        self._wake.set()

    async def _assembled(self) -> Assembly | None:
        """Return what the files say now; None where that cannot be used, or ctemplate is stopped meanwhile."""
        assembling = asyncio.create_task(self._read_again(), name="assemble")
        stopping = asyncio.create_task(self._stopped.wait(), name="stopped")
        try:
            await asyncio.wait((assembling, stopping), return_when=asyncio.FIRST_COMPLETED)
            return assembling.result() if assembling.done() else None
        except Exception as exc:  # noqa: BLE001 - reported
            self._tell_unusable(exc, "keeping the running configuration")
            return None
        finally:
            assembling.cancel()
            stopping.cancel()

    async def _read_again(self) -> Assembly:
        """Read all files once those who write them have ended, also where nothing but a signal asks for it."""
        await closed(self._telling)
        return await asyncio.to_thread(self.assembler.assemble, self.assembly)

    def _tell_unusable(self, cause: Exception, consequence: str) -> None:
        """Say why what was read again does not take over, and what happens instead."""
        if isinstance(cause, CtemplateError):
            emit(ConfigurationRefused(reason=str(cause), consequence=consequence))
        else:
            self._defects.report(consequence, cause)

    async def _forget_old_groups(self) -> None:
        """Drop the wishes of groups that are gone, once the new ones know what they need."""
        await self._until_answered()
        self.catalog.keep_groups(worker.pipeline.name for worker in self.workers)

    async def _until_answered(self) -> None:
        for worker in self.workers:
            await worker.answered.wait()

    async def _name_missing(self) -> None:
        """Say what an unrendered group still waits for, at growing intervals."""
        rounds = 1
        while True:
            await asyncio.sleep(MISSING_REPORT_BACKOFF.delay(rounds, draw=0.0))
            waiting = [worker for worker in self.workers if worker.missing]
            rounds = rounds + 1 if waiting else 1
            if waiting:
                unanswered, absent = map(query_list, self._missing())
                emit(AnswersMissing(source=self.assembly.source_name, queries=unanswered, absent=absent))

    def _late(self, after: str) -> str:
        unanswered, absent = self._missing()
        parts = ((f"no usable answer after {after} to", unanswered), (f"not there after {after}:", absent))
        return "; ".join(f"{what} {query_list(queries)}" for what, queries in parts if queries)

    def _missing(self) -> tuple[set[str], set[str]]:
        """Return the queries without an answer that can be used, and those whose answer says that nothing is there."""
        missing = {query for worker in self.workers for query in worker.missing}
        known = {query for query in missing if (answer := self.catalog.get(query)) is not None and not answer.absent}
        return set(map(str, missing - known)), set(map(str, known))

    async def _follow_edits(self) -> None:
        async for edited in file_edits(self.assembly.signatures, known=self.assembly.signatures):
            emit(FilesEdited(files=tuple(sorted(map(str, edited)))))
            self._is_edited = True
            self._wake.set()

    async def _follow_touches(self) -> None:
        """Tell the workers when one of their live files was written."""
        owners = {target.destination: worker for worker in self.workers for target in worker.pipeline.targets}
        async for written in poll_modified(owners):
            for path in written:
                try:
                    owners[path].touch(path)
                except Exception as exc:  # noqa: BLE001 - a defect, of any kind
                    self._defects.report(str(path), exc)
                    owners[path].rouse(asyncio.get_running_loop().time())

    async def _follow_programs(self) -> None:
        """Have the workers look at times which process runs their files."""
        while True:
            await asyncio.sleep(LOOK)
            for worker in self.workers:
                await worker.look()

    async def _until_edited(self) -> bool:
        """Wait until the configuration is to be read again; answer False when ctemplate is to stop."""
        while not self._is_stopping:
            if self._is_edited:
                self._is_edited = False
                return True
            self._wake.clear()
            await self._wake.wait()
        return False

    @contextlib.contextmanager
    def _watched(self, *, is_patient: bool = True) -> Iterator[None]:
        """Obey signals, see that the event loop goes on, and report what it cannot hand to anybody."""
        loop = asyncio.get_running_loop()

        def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            cause = context.get("exception") or RuntimeError(str(context.get("message")))
            self._defects.report("event loop", cause)

        loop.set_exception_handler(report)
        with Watchdog() as watchdog, self._signals(watchdog, is_patient=is_patient):
            try:
                yield
            finally:
                loop.set_exception_handler(None)

    def _stop(self) -> None:
        self._is_stopping = True
        self._stopped.set()
        self._wake.set()

    @contextlib.contextmanager
    def _signals(self, watchdog: Watchdog, *, is_patient: bool) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, at once on a second one; read all again on SIGHUP; release holds on SIGUSR1."""
        loop = asyncio.get_running_loop()
        task, signals = asyncio.current_task(), 0

        def stop() -> None:
            if task is not None and (self._is_stopping or not is_patient):
                task.cancel()
            self._stop()

        def limit(*_: object) -> None:
            """Bound the time that is left; called beside the loop's own handler, also where the loop stands still."""
            nonlocal signals
            signals += 1
            watchdog.end_within(EXIT_LIMIT + self._exec.patience if signals == 1 else HURRIED_LIMIT)

        def hangup() -> None:
            self._is_edited = True
            self._wake.set()

        def release() -> None:
            if self._exec.forward(signal.SIGUSR1):
                return
            kept = [name for worker in self.workers for name in worker.release(None)]
            emit(Released(by="SIGUSR1", holds=len(self.catalog.release()) + len(kept)))

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: hangup, signal.SIGUSR1: release}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, limit)  # the loop goes on to hear of it by its wakeup descriptor
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


def _service(name: str, run: Callable[[], Awaitable[None]], *of: Hashable) -> DaemonService:
    """Return a service that runs on for as long as its name and what it is of are wanted."""
    return DaemonService(key=(name, *of), name=name, run=run)
