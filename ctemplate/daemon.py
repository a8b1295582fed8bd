"""The only owner of tasks and signals: a source, a worker for each group, and what happens to them over the days.

Knows nothing of the command line; what it runs is put together by ``assembly``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ctemplate.assembly import Assembler, Assembly
from ctemplate.catalog import Catalog
from ctemplate.config.durations import shown
from ctemplate.control import serve
from ctemplate.custody import Keeper, follow_guard, recall_late, tell_holds
from ctemplate.edits import edits, writes
from ctemplate.errors import ConfigError, CtemplateError, SourceTimeout, printable
from ctemplate.timing import Backoff
from ctemplate.worker import Worker

logger = logging.getLogger(__name__)

PATIENCE = Backoff(first=20.0, ceiling=600.0)  # how long an unrendered group waits before its missing queries are named
NAMED_AT_MOST = 100  # of the missing queries, in one line,
NAMED_CHARACTERS = 3000  # that has room for so many
COUNTED_FROM = 9  # queries, which nobody counts at a glance
SHUTDOWN_LIMIT = 20.0  # seconds that a transaction under way gets to end when ctemplate is stopped


@dataclass(slots=True, kw_only=True)
class Daemon:
    """Runs what the assembler puts together, until it is stopped or, with ``once``, until every group is settled."""

    assembler: Assembler
    assembly: Assembly
    catalog: Catalog = field(init=False)
    workers: tuple[Worker, ...] = ()
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _is_stopping: bool = False
    _is_edited: bool = False
    _source: asyncio.Task[None] | None = None
    _edits: asyncio.Task[None] | None = None
    _touches: asyncio.Task[None] | None = None
    _forgetting: asyncio.Task[None] | None = None
    _control: asyncio.Task[None] | None = None
    _runs: tuple[asyncio.Task[None], ...] = ()
    _held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _keeper: Keeper = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = Catalog(self.assembly.policies)
        self._keeper = Keeper(self.catalog, self.assembly.memory_path)

    async def run(self) -> None:
        """Keep every group true until SIGTERM or SIGINT."""
        self.catalog.presumes = True
        with _only_error(), self._signals(), self._held:
            self._hold_workers()
            await self._keeper.load()
            with _pid_file(self.assembly.config.pid_file):
                async with self._kept():
                    await self._run()
        logger.info("stopped")

    async def _run(self) -> None:
        """Start all tasks, start them anew after edits, and end them."""
        async with asyncio.TaskGroup() as tasks:
            self._start(tasks)
            helpers = (
                tasks.create_task(self._distribute(), name="distribute"),
                tasks.create_task(self._name_missing(), name="name-missing"),
                tasks.create_task(follow_guard(self.catalog), name="follow-guard"),
                tasks.create_task(recall_late(self.catalog, self.assembly.source_name), name="recall-late"),
                tasks.create_task(self._keeper.run(), name="keep-answers"),
            )
            logger.info("started: %s", self.assembly.summary)
            while await self._until_edited():
                await self._reassemble(tasks)
            logger.info("stopping, after what is under way; a second signal does not wait for that")
            await self._stop_workers()
            for task in (self._source, self._edits, self._touches, self._forgetting, self._control, *helpers):
                if task is not None:
                    task.cancel()

    async def once(self, *, timeout: float) -> None:
        """Run every group once, as soon as its answers are in; the workers hold what became of each.

        Raises SourceTimeout naming the queries that had no answer after ``timeout`` seconds.
        """
        late = None
        with _only_error(), self._signals(is_patient=False), self._held:
            self._hold_workers()
            if self.assembly.policies is not None:
                await self._keeper.load()
            async with self._kept(), asyncio.TaskGroup() as tasks:
                self._source = tasks.create_task(self.assembly.source.run(self.catalog), name="source")
                distribute = tasks.create_task(self._distribute(), name="distribute")
                guard = tasks.create_task(follow_guard(self.catalog), name="follow-guard")
                settling = [tasks.create_task(worker.settle(), name=worker.pipeline.name) for worker in self.workers]
                try:
                    async with asyncio.timeout(timeout):
                        await self._until_answered()
                except TimeoutError:
                    late = SourceTimeout(
                        self.assembly.source_name, f"no answer after {shown(timeout)} to {self._missing()}"
                    )
                    for task in settling:
                        task.cancel()
                await asyncio.wait(settling)
                tell_holds(self.catalog)
                for task in (self._source, distribute, guard):
                    task.cancel()
        if late is not None:
            raise late

    @contextlib.asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        """Keep the last good answers on leaving, whatever happened, where that is to be."""
        try:
            yield
        finally:
            if self.assembly.keeps_answers:
                await self._keeper.save()

    def _hold_workers(self) -> None:
        """Take new workers from the assembly, with the locks on their destinations; raises StateError."""
        self._held.close()
        self.workers = self._held.enter_context(self.assembly.workers(self.catalog, self.workers))

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        """Start the assembly's source, if it has none running, and its workers."""
        if self._source is None:
            self.catalog.ask_again()
            self._source = tasks.create_task(self.assembly.source.run(self.catalog), name="source")
        if self._control is None:
            self._control = tasks.create_task(serve(self.assembly.control_path, self.catalog), name="control")
        self._edits = tasks.create_task(self._follow_edits(), name="follow-edits")
        self._touches = tasks.create_task(self._follow_touches(), name="follow-touches")
        self._runs = tuple(tasks.create_task(worker.run(), name=worker.pipeline.name) for worker in self.workers)

    async def _reassemble(self, tasks: asyncio.TaskGroup) -> None:
        """Go on with what the files say now; what is broken is reported, and what runs goes on."""
        previous = self.assembly
        try:
            self.assembly = await asyncio.to_thread(self.assembler.assemble, previous)
        except CtemplateError as exc:
            logger.error("%s; going on with what is running", exc)  # noqa: TRY400 - a sentence, not a traceback
            return
        await self._stop_workers()
        if self.assembly.control_path != previous.control_path:
            await self._stop_control()  # while its name, that of the destinations, is still ours
        try:
            self._hold_workers()
        except CtemplateError as exc:
            logger.error("%s; going on with what was running", exc)  # noqa: TRY400 - a sentence, not a traceback
            self.assembly = previous
            self._hold_workers()
        if self.assembly.source is not previous.source and self._source is not None:
            self._source.cancel()
            await asyncio.wait([self._source])
            self._source = None
        for task in (self._edits, self._touches):
            if task is not None:
                task.cancel()
        self.catalog.follow_policies(self.assembly.policies)
        self._keeper.path = self.assembly.memory_path
        self._start(tasks)
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = tasks.create_task(self._forget_old_groups(), name="forget-old-groups")
        logger.info("read again: %s", self.assembly.summary)

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
                logger.warning("%s: cut off after %s", task.get_name(), shown(SHUTDOWN_LIMIT))
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _distribute(self) -> None:
        """Flag the workers whose answers changed."""
        clock = asyncio.get_running_loop().time
        while True:
            changed = await self.catalog.news()
            for worker in self.workers:
                worker.flag(changed, clock())

    async def _until_answered(self) -> None:
        for worker in self.workers:
            await worker.answered.wait()

    async def _name_missing(self) -> None:
        """Say what an unrendered group still waits for, at growing intervals."""
        rounds = 1
        while True:
            await asyncio.sleep(PATIENCE.delay(rounds, draw=0.0))
            waiting = [worker for worker in self.workers if worker.missing]
            rounds = rounds + 1 if waiting else 1
            if waiting:
                logger.warning("%s: still no answer to %s", self.assembly.source_name, self._missing())

    def _missing(self) -> str:
        return named({str(query) for worker in self.workers for query in worker.missing})

    async def _follow_edits(self) -> None:
        async for edited in edits(self.assembly.signatures, known=self.assembly.signatures):
            logger.debug("edited: %s", ", ".join(sorted(map(str, edited))))
            self._is_edited = True
            self._wake.set()

    async def _follow_touches(self) -> None:
        """Tell the workers when one of their live files was written."""
        owners = {target.destination: worker for worker in self.workers for target in worker.pipeline.targets}
        async for written in writes(owners):
            for path in written:
                owners[path].touch(path)

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
    def _signals(self, *, is_patient: bool = True) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, at once on a second one; read all again on SIGHUP; release holds on SIGUSR1."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def stop() -> None:
            if task is not None and (self._is_stopping or not is_patient):
                task.cancel()
            self._is_stopping = True
            self._wake.set()

        def hangup() -> None:
            self._is_edited = True
            self._wake.set()

        def release() -> None:
            logger.info("released by SIGUSR1: %d holds", len(self.catalog.release()))

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: hangup, signal.SIGUSR1: release}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


def named(queries: Collection[str]) -> str:
    """Return the queries' names in order, ``a, b``; of many their number first, and as many names as fit."""
    names = [printable(query, 80) for query in sorted(queries)[:NAMED_AT_MOST]]
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
