"""The only owner of tasks and signals: a source, a worker for each group, and what happens to them over the days.

Knows nothing of the command line; what it runs is put together by ``assembly``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from dataclasses import field
from pathlib import Path
from typing import Any

from ctemplate.catalog import Catalog
from ctemplate.core.defects import Defects, kept_running
from ctemplate.core.durations import format_duration
from ctemplate.core.errors import ConfigError, CtemplateError, SourceTimeout, printable
from ctemplate.core.timing import Backoff
from ctemplate.core.values import dataclass
from ctemplate.runtime.assembly import Assembler, Assembly
from ctemplate.runtime.control_socket import serve
from ctemplate.runtime.exec_mode import ExecHost
from ctemplate.runtime.group_worker import GroupWorker, distribute
from ctemplate.runtime.guard_tasks import Keeper, follow_guard, recall_late, tell_holds
from ctemplate.runtime.watchdog import Watchdog
from ctemplate.system.file_watch import closed, file_edits, poll_modified, telling
from ctemplate.system.ownership import check_links
from ctemplate.system.programs import reap_orphans

logger = logging.getLogger(__name__)

MISSING_REPORT_BACKOFF = Backoff(
    first=20.0, ceiling=600.0
)  # how long an unrendered group waits before its missing queries are named
QUERIES_NAMED = 100  # of the missing queries, in one line,
NAMED_CHARACTERS = 3000  # that has room for so many
COUNTED_FROM = 9  # queries, which nobody counts at a glance
LOOK = 60.0  # seconds between looks at the processes that run the files: they may be restarted by others
SHUTDOWN_LIMIT = 20.0  # seconds that a transaction under way gets to end when ctemplate is stopped
EXIT_LIMIT = 30.0  # seconds after the first signal to stop until the process is ended by force, whatever hangs
HURRIED_LIMIT = 10.0  # seconds after a second one


@dataclass(slots=True, kw_only=True)
class Daemon:
    """Runs what the assembler puts together, until it is stopped or, with ``once``, until every group is settled."""

    assembler: Assembler
    assembly: Assembly
    catalog: Catalog = field(init=False)
    workers: tuple[GroupWorker, ...] = ()
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _is_stopping: bool = False
    _is_edited: bool = False
    _telling: frozenset[Path] = frozenset()
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _defects: Defects = field(default_factory=Defects)
    _source: asyncio.Task[None] | None = None
    _edits: asyncio.Task[None] | None = None
    _touches: asyncio.Task[None] | None = None
    _forgetting: asyncio.Task[None] | None = None
    _control: asyncio.Task[None] | None = None
    _runs: tuple[asyncio.Task[None], ...] = ()
    _held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _keeper: Keeper = field(init=False)
    _exec: ExecHost = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = Catalog(self.assembly.policies)
        self._keeper = Keeper(self.catalog, self.assembly.memory_path)
        self._exec = ExecHost(self.assembler.environ, lambda: self.workers, self._stop)

    @property
    def exit_status(self) -> int:
        """What the process is to end with after ``run``: 0, or the status of the program of ``[exec]``."""
        return self._exec.status

    async def run(self) -> None:
        """Keep every group true until SIGTERM or SIGINT."""
        self.catalog.presumes = True
        with _only_error(), self._watched(), self._held:
            self._hold_workers()
            self._warn()
            await self._load_answers()
            with _pid_file(self.assembly.config.pid_file):
                async with self._kept():
                    await self._run()
        logger.info("stopped")

    async def _run(self) -> None:
        """Start all tasks, start them anew after edits, and end them."""
        async with asyncio.TaskGroup() as tasks:
            self._start(tasks)
            helpers = (
                self._keep(tasks, "distribute", self._distribute),
                self._keep(tasks, "name-missing", self._name_missing),
                self._keep(tasks, "follow-guard", lambda: follow_guard(self.catalog)),
                self._keep(tasks, "recall-late", lambda: recall_late(self.catalog, self.assembly.source_name)),
                self._keep(tasks, "keep-answers", self._keeper.run),
                self._keep(tasks, "reap-orphans", reap_orphans),
                self._keep(tasks, "follow-programs", self._follow_programs),
            )
            logger.info("started: %s", self.assembly.summary)
            await self._exec.follow(tasks, self.assembly.config.exec)
            while await self._until_edited():
                await self._reassemble(tasks)
            logger.info("stopping, after what is under way; a second signal does not wait for that")
            await asyncio.gather(self._stop_workers(), self._exec.stop())
            for task in (self._source, self._edits, self._touches, self._forgetting, self._control, *helpers):
                if task is not None:
                    task.cancel()

    async def once(self, *, timeout: float) -> None:
        """Run every group once, as soon as its answers are in; the workers hold what became of each.

        Raises SourceTimeout naming the queries that had no answer after ``timeout`` seconds.
        """
        late = None
        with _only_error(), self._watched(is_patient=False), self._held:
            self._hold_workers()
            self._warn()
            if self.assembly.policies is not None:
                await self._load_answers(is_once=True)
            async with self._kept(), asyncio.TaskGroup() as tasks:
                self._source = self._start_source(tasks)
                flags = self._keep(tasks, "distribute", self._distribute)
                guard = self._keep(tasks, "follow-guard", lambda: follow_guard(self.catalog))
                settling = [tasks.create_task(worker.settle(), name=worker.pipeline.name) for worker in self.workers]
                try:
                    async with asyncio.timeout(timeout):
                        await self._until_answered()
                except TimeoutError:
                    late = SourceTimeout(
                        self.assembly.source_name,
                        f"no usable answer after {format_duration(timeout)} to {self._missing()}",
                    )
                    for task in settling:
                        task.cancel()
                await asyncio.wait(settling)
                tell_holds(self.catalog)
                for task in (self._source, flags, guard):
                    task.cancel()
        if late is not None:
            raise late

    async def _load_answers(self, *, is_once: bool = False) -> None:
        """Have the guard and the groups know what an earlier process knew."""
        answers = await self._keeper.load(is_once=is_once)
        for worker in self.workers:
            worker.pipeline.remember(answers)

    def _keep(self, tasks: asyncio.TaskGroup, name: str, part: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Start a part that no defect ends for good."""
        return tasks.create_task(kept_running(name, part), name=name)

    def _start_source(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Start the assembly's source; each time it begins it is told all wishes."""
        source = self.assembly.source

        def follow() -> Awaitable[None]:
            self.catalog.ask_again()
            return source.run(self.catalog)

        return self._keep(tasks, self.assembly.source_name, follow)

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
        self.workers = self._held.enter_context(self.assembly.workers(self.catalog, self.workers))

    def _warn(self) -> None:
        for notice in self.assembly.notices:
            logger.log(logging.WARNING if notice.is_loss else logging.INFO, "%s", notice)
        for warning in self.assembly.warnings:
            logger.warning("%s", warning)

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        """Start the assembly's source, if it has none running, and its workers."""
        self._telling = telling(self.assembly.signatures)
        if self._source is None:
            self._source = self._start_source(tasks)
        if self._control is None:
            path = self.assembly.control_path
            self._control = self._keep(tasks, "control", lambda: serve(path, self.catalog, lambda: self.workers))
        if self._edits is None:
            self._edits = self._keep(tasks, "follow-edits", self._follow_edits)
        self._touches = self._keep(tasks, "follow-touches", self._follow_touches)
        self._runs = tuple(self._keep(tasks, worker.pipeline.name, worker.run) for worker in self.workers)

    async def _reassemble(self, tasks: asyncio.TaskGroup) -> None:
        """Go on with what the files say now; what is broken is reported, and what runs goes on."""
        previous, found = self.assembly, await self._assembled()
        if found is None:
            return
        self.assembly = found
        await self._stop_workers()
        if self.assembly.control_path != previous.control_path:
            await self._stop_control()  # while its name, that of the destinations, is still ours
        try:
            self._hold_workers()
        except Exception as exc:  # noqa: BLE001 - reported
            self._tell_unusable(exc, "keeping the running configuration")
            self.assembly = previous
            self._hold_workers()
        if self.assembly.source is not previous.source and self._source is not None:
            self._source.cancel()
            await asyncio.wait([self._source])
            self._source = None
        if self._touches is not None:
            self._touches.cancel()
        if self._edits is not None and self.assembly.signatures.keys() != previous.signatures.keys():
            self._edits.cancel()  # the same files are followed on: each start of a watch costs threads
            self._edits = None
        self.catalog.follow_policies(self.assembly.policies)
        self._keeper.path = self.assembly.memory_path
        self._start(tasks)
        await self._exec.follow(tasks, self.assembly.config.exec)
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = self._keep(tasks, "forget-old-groups", self._forget_old_groups)
        logger.info("reloaded: %s", self.assembly.summary)

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
            logger.error("%s; %s", cause, consequence)
        else:
            self._defects.report(consequence, cause)

    async def _forget_old_groups(self) -> None:
        """Drop the wishes of groups that are gone, once the new ones know what they need."""
        await self._until_answered()
        self.catalog.keep_groups(worker.pipeline.name for worker in self.workers)

    async def _stop_control(self) -> None:
        if self._control is not None:
            self._control.cancel()
            await asyncio.wait([self._control])
            self._control = None

    async def _stop_workers(self) -> None:
        """End the workers after what they are doing; one that takes too long is cancelled."""
        for worker in self.workers:
            worker.stop()
        if self._runs:
            _, late = await asyncio.wait(self._runs, timeout=SHUTDOWN_LIMIT)
            for task in late:
                logger.warning("%s: cut off after %s", task.get_name(), format_duration(SHUTDOWN_LIMIT))
                task.cancel()
            if late:
                await asyncio.wait(late)

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
                logger.warning("%s: still no answer to %s", self.assembly.source_name, self._missing())

    def _missing(self) -> str:
        return query_list({str(query) for worker in self.workers for query in worker.missing})

    async def _follow_edits(self) -> None:
        async for edited in file_edits(self.assembly.signatures, known=self.assembly.signatures):
            logger.debug("edited: %s", ", ".join(sorted(map(str, edited))))
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
            logger.info("released by SIGUSR1: %d holds", len(self.catalog.release()) + len(kept))

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


def query_list(queries: Collection[str]) -> str:
    """Return the queries' names in order, ``a, b``; of many their number first, and as many names as fit."""
    names = [printable(query, 80) for query in sorted(queries)[:QUERIES_NAMED]]
    while len(names) > 1 and sum(map(len, names)) + 2 * len(names) > NAMED_CHARACTERS:
        names.pop()
    count = f"{len(queries)} queries: " if len(queries) >= COUNTED_FROM else ""
    more = len(queries) - len(names)
    return count + ", ".join(names) + (f" and {more} more" if more else "")


@contextlib.contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    """Keep the process id in the file; whoever enters holds the destinations, so nobody else's file is overwritten."""
    if path is None:
        yield
        return
    try:
        check_links(Path(path).absolute())
        Path(path).write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as exc:
        raise ConfigError("-pid-file", f"{path} cannot be written: {(exc.strerror or str(exc)).lower()}") from exc
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            Path(path).unlink()


@contextlib.contextmanager
def _only_error() -> Iterator[None]:
    """Unwrap what the task group wraps: the error that ended it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, CtemplateError):
            raise error from None
        raise
