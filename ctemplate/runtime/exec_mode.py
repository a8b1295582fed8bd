"""Exec mode: one child program, started once everything is rendered and notified of later changes.

When the child ends, ctemplate ends with its status. The child is notified of files that differ from those that it
was started with. Must not know how groups are applied, or how the child is notified.
"""

from __future__ import annotations

import asyncio
import random
import shlex
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from ctemplate.config.command_env import environment_of
from ctemplate.config.groups import GroupPlan
from ctemplate.config.schema import ExecSection
from ctemplate.core.defects import kept_running
from ctemplate.core.errors import CommandFailed, ConfigError
from ctemplate.core.event_stream import emit
from ctemplate.core.events import ExecEnded, ExecKilled, ExecNotified, ExecRestartFailed, ExecStarted
from ctemplate.core.signal_names import NO_SIGNAL, SignalName
from ctemplate.nginx.groups import is_proven
from ctemplate.nginx.signalled import PROGRAMS
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.runtime.pipeline import Result
from ctemplate.runtime.signals import handle_unforwarded
from ctemplate.system.child_program import SIGNALLED, ChildCommand, ChildProgram

UNSTARTED = 127  # the exit status of a shell that finds no program
GROUP_LOOK = 0.1  # seconds between two checks of the groups' results
FORWARDED = (
    signal.SIGQUIT, signal.SIGUSR2, signal.SIGWINCH, signal.SIGALRM, signal.SIGCONT, signal.SIGPWR,
)  # fmt: skip
"""Signals forwarded to the program alone. SIGUSR1 is forwarded as well; SIGHUP, SIGTERM and SIGINT are not."""

FileFacts = tuple[int, int] | None
"""Identifies the version of a file; None where there is none."""


class ExecMode:
    """The program of ``[exec]``; ``status`` is the exit status for ctemplate, None while it runs.

    ``workers`` returns the current group workers, ``on_end`` stops ctemplate.
    """

    def __init__(
        self,
        section: ExecSection,
        environ: Mapping[str, str],
        workers: Callable[[], Iterable[GroupWorker]],
        on_end: Callable[[], None],
    ) -> None:
        self.section = section
        self.status: int | None = None
        self.command = exec_command(section, environ)
        self._workers, self._on_end = workers, on_end
        self._program: ChildProgram | None = None
        self._seen: dict[tuple[Path, ...], Result | None] = {}
        self._known: dict[tuple[Path, ...], Mapping[Path, FileFacts]] = {}

    def forward(self, number: signal.Signals) -> None:
        """Forward a signal to the program; before the start it has no effect."""
        if self._program is not None:
            self._program.send(number)

    async def run(self) -> None:
        """Run the program once everything is rendered, until it ends by itself or this is cancelled."""
        loop = asyncio.get_running_loop()
        for number in FORWARDED:
            loop.add_signal_handler(number, self.forward, number)
        try:
            await self._until_ready()
            while await self._run_once():
                pass
        except CommandFailed as exc:
            emit(ExecRestartFailed(command=str(self.command), reason=exc.what))
            self.status = UNSTARTED
        finally:
            for number in FORWARDED:
                loop.remove_signal_handler(number)
                handle_unforwarded(number)
        self._on_end()

    async def _until_ready(self) -> None:
        """Wait until every group has succeeded once."""
        while True:
            workers = tuple(self._workers())  # an edit replaces them
            if workers and all(map(_has_ended_well, workers)):
                return
            await asyncio.sleep(GROUP_LOOK)

    async def _run_once(self) -> bool:
        """Start the program and follow it; return whether it has to be restarted."""
        self._take_files()
        program = self._program = await ChildProgram.start(self.command)
        emit(ExecStarted(command=str(self.command), pid=program.pid))
        try:
            is_again = await self._follow(program)
        except BaseException:  # cancelled, or a defect: the program must not keep running beside the next one
            self.status = await self._end(program)
            raise
        finally:
            self._program = None
        if is_again:
            await self._end(program)
        else:
            await program.end_rest(self.section.kill_signal.number, self.section.kill_timeout)
        return is_again

    async def _follow(self, program: ChildProgram) -> bool:
        """Notify the program of changed files; return whether it has to be restarted, False where it has ended."""
        while await self._changed(program):
            if self.section.splay:
                await program.ended_within(random.uniform(0, self.section.splay))  # noqa: S311 - no secret
            if program.ended.done():
                break
            self._take_files()
            if self.section.reload_signal is None:
                emit(ExecNotified(command=str(self.command), signal=""))
                return True
            if (number := self.section.reload_signal.number) is not None:
                program.send(number)
                emit(ExecNotified(command=str(self.command), signal=number.name))
        self.status = program.status
        emit(ExecEnded(command=str(self.command), status=program.status))
        return False

    async def _changed(self, program: ChildProgram) -> bool:
        """Wait until a group has succeeded with files that the program does not know; return False where it ends."""
        while not await program.ended_within(GROUP_LOOK):
            for worker in self._workers():
                group = worker.pipeline.destinations
                if worker.result is self._seen.get(group) or not _has_ended_well(worker):
                    continue
                self._seen[group] = worker.result
                if _facts_of(worker) != self._known.get(group, {}):
                    return True
        return False

    async def _end(self, program: ChildProgram) -> int:
        """End the program; return its status, 0 where our stop signal ended it."""
        number = self.section.kill_signal.number
        if await program.end(number, self.section.kill_timeout):
            emit(ExecKilled(command=str(self.command), seconds=self.section.kill_timeout))
        await program.end_rest(number, self.section.kill_timeout)
        return 0 if number is not None and program.status == SIGNALLED + number else program.status

    def _take_files(self) -> None:
        """Record the current files as those that the program knows."""
        workers = tuple(self._workers())
        self._seen = {worker.pipeline.destinations: worker.result for worker in workers}
        self._known = {worker.pipeline.destinations: _facts_of(worker) for worker in workers}


class ExecHost:
    """Runs the currently configured program; a program whose configuration stays the same keeps running."""

    def __init__(
        self, environ: Mapping[str, str], workers: Callable[[], Iterable[GroupWorker]], on_end: Callable[[], None]
    ) -> None:
        self._environ, self._workers, self._on_end = environ, workers, on_end
        self._mode: ExecMode | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def status(self) -> int:
        """The exit status that the program gives ctemplate; 0 without a program."""
        return self._mode.status or 0 if self._mode is not None else 0

    @property
    def patience(self) -> float:
        """The time that the program may take to end, in seconds."""
        return self._mode.section.kill_timeout if self._mode is not None else 0.0

    def forward(self, number: signal.Signals) -> bool:
        """Forward a signal to the program; return whether there is one."""
        if self._mode is not None:
            self._mode.forward(number)
        return self._mode is not None

    async def follow(self, tasks: asyncio.TaskGroup, section: ExecSection, plans: Iterable[GroupPlan]) -> None:
        """Start what ``[exec]`` says, after ending another program that runs."""
        section = with_reload_signal(section, plans)
        command = exec_command(section, self._environ)
        if self._mode is not None and self._mode.command == command:
            self._mode.section = section
            return
        await self.stop()
        self._mode = self._task = None
        if section.command:
            self._mode = ExecMode(section, self._environ, self._workers, self._on_end)
            self._task = tasks.create_task(kept_running("exec", self._mode.run), name="exec")

    async def stop(self) -> None:
        """End the program."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


def _has_ended_well(worker: GroupWorker) -> bool:
    return worker.is_settled and worker.error is None


def _facts_of(worker: GroupWorker) -> Mapping[Path, FileFacts]:
    """Return what distinguishes a group's files from earlier files in the same place."""
    return {file: file_facts(file) for file in worker.pipeline.files}


def file_facts(file: Path) -> FileFacts:
    """Return what identifies the version of a file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def exec_command(section: ExecSection, environ: Mapping[str, str]) -> ChildCommand:
    """Return the command that starts the program of ``[exec]``."""
    environment = environment_of(section.env, environ)
    death = section.kill_signal.number or signal.SIGKILL
    return ChildCommand(command=section.command or "", environ=environment, death_signal=death)


def with_reload_signal(section: ExecSection, plans: Iterable[GroupPlan]) -> ExecSection:
    """Return ``[exec]`` without a reload signal for an nginx that a group reloads and proves; others unchanged."""
    is_reloaded = _is_nginx(section.command) and any(is_proven(plan.settings) for plan in plans)
    if section.reload_signal is not None or not is_reloaded:
        return section
    return msgspec.structs.replace(section, reload_signal=SignalName(NO_SIGNAL))


def _is_nginx(command: str | Sequence[str] | None) -> bool:
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command or ())
    except ValueError:
        return False
    program = next((word for word in words if word != "exec"), "")
    return Path(program).name in PROGRAMS


def check_exec(section: ExecSection, environ: Mapping[str, str]) -> None:
    """Raise ConfigError where the program of ``[exec]`` does not exist."""
    try:
        exec_command(section, environ).check()
    except CommandFailed as exc:
        raise ConfigError(f"exec.command: {exc.where}", exc.what) from exc
