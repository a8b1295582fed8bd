"""Exec mode: one program that is started once everything is rendered, and hears of what is written from then on.

Its end is the end of ctemplate, with its status. Knows neither how groups are brought live nor how the program is made
to hear: it is told of files that differ from those that it was started with.
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
from ctemplate.core.events import ExecEnded, ExecKilled, ExecStarted, ExecTold, ExecUnstarted
from ctemplate.core.signal_names import NO_SIGNAL, SignalName
from ctemplate.nginx.groups import is_proven
from ctemplate.nginx.recognition import PROGRAMS
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.runtime.pipeline import Result
from ctemplate.system.child_program import SIGNALLED, ChildCommand, ChildProgram

UNSTARTED = 127  # the exit status of a shell that finds no program
GROUP_LOOK = 0.1  # seconds between two looks at what groups have ended with
FORWARDED = (
    signal.SIGQUIT, signal.SIGUSR2, signal.SIGWINCH, signal.SIGALRM, signal.SIGCONT, signal.SIGPWR,
)  # fmt: skip
"""Signals that are nothing to ctemplate; SIGUSR1 goes to the program as well, and SIGHUP, SIGTERM and SIGINT do not."""

FileFacts = tuple[int, int] | None
"""What tells a file from the one that stood there before; None for none."""


class ExecMode:
    """The program of ``[exec]``; ``status`` is what ctemplate is to end with, None while that is not known.

    ``workers`` gives those that work at the moment, ``on_end`` has ctemplate stop.
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
        """Hand a signal on to the program; before it has started nothing hears it."""
        if self._program is not None:
            self._program.send(number)

    async def run(self) -> None:
        """Run the program from when everything is rendered until it ends by itself, or until cancelled."""
        loop = asyncio.get_running_loop()
        for number in FORWARDED:
            loop.add_signal_handler(number, self.forward, number)
        try:
            await self._until_ready()
            while await self._run_once():
                pass
        except CommandFailed as exc:
            emit(ExecUnstarted(command=str(self.command), reason=exc.what))
            self.status = UNSTARTED
        finally:
            for number in FORWARDED:
                loop.remove_signal_handler(number)
        self._on_end()

    async def _until_ready(self) -> None:
        """Wait until every group has ended well once."""
        while True:
            workers = tuple(self._workers())  # after an edit others than before
            if workers and all(map(_has_ended_well, workers)):
                return
            await asyncio.sleep(GROUP_LOOK)

    async def _run_once(self) -> bool:
        """Start the program and follow it; return whether it is to be started anew."""
        self._take_files()
        program = self._program = await ChildProgram.start(self.command)
        emit(ExecStarted(command=str(self.command), pid=program.pid))
        try:
            is_again = await self._follow(program)
        except BaseException:  # cancelled, or a defect: it must not run on beside the next one
            self.status = await self._end(program)
            raise
        finally:
            self._program = None
        if is_again:
            await self._end(program)
        return is_again

    async def _follow(self, program: ChildProgram) -> bool:
        """Tell the program of files that changed; return whether it is to be started anew rather than has ended."""
        while await self._changed(program):
            if self.section.splay:
                await program.ended_within(random.uniform(0, self.section.splay))  # noqa: S311 - no secret
            if program.ended.done():
                break
            self._take_files()
            if self.section.reload_signal is None:
                emit(ExecTold(command=str(self.command), signal=""))
                return True
            if (number := self.section.reload_signal.number) is not None:
                program.send(number)
                emit(ExecTold(command=str(self.command), signal=number.name))
        self.status = program.status
        emit(ExecEnded(command=str(self.command), status=program.status))
        return False

    async def _changed(self, program: ChildProgram) -> bool:
        """Wait until a group that ended well has left files that the program does not know; False where it ends."""
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
        """End the program; return its status, 0 where it ended by the signal that it was sent for that."""
        number = self.section.kill_signal.number
        if await program.end(number, self.section.kill_timeout):
            emit(ExecKilled(command=str(self.command), seconds=self.section.kill_timeout))
        return 0 if number is not None and program.status == SIGNALLED + number else program.status

    def _take_files(self) -> None:
        """Take the files as they are for those that the program knows."""
        workers = tuple(self._workers())
        self._seen = {worker.pipeline.destinations: worker.result for worker in workers}
        self._known = {worker.pipeline.destinations: _facts_of(worker) for worker in workers}


class ExecHost:
    """Runs the program that the configuration names at the moment; one that stays the same runs on."""

    def __init__(
        self, environ: Mapping[str, str], workers: Callable[[], Iterable[GroupWorker]], on_end: Callable[[], None]
    ) -> None:
        self._environ, self._workers, self._on_end = environ, workers, on_end
        self._mode: ExecMode | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def status(self) -> int:
        """The exit status that the program leaves ctemplate with; 0 without one."""
        return self._mode.status or 0 if self._mode is not None else 0

    @property
    def patience(self) -> float:
        """How long the program may take to end, in seconds."""
        return self._mode.section.kill_timeout if self._mode is not None else 0.0

    def forward(self, number: signal.Signals) -> bool:
        """Hand a signal on to the program; return whether there is one."""
        if self._mode is not None:
            self._mode.forward(number)
        return self._mode is not None

    async def follow(self, tasks: asyncio.TaskGroup, section: ExecSection, plans: Iterable[GroupPlan]) -> None:
        """Start what ``[exec]`` says, after the end of another program that runs."""
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
    """Return what tells a group's files from those that stood there before."""
    return {file: file_facts(file) for file in worker.pipeline.files}


def file_facts(file: Path) -> FileFacts:
    """Return what tells a file from the one that stood there before."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def exec_command(section: ExecSection, environ: Mapping[str, str]) -> ChildCommand:
    """Return what is started for ``[exec]``."""
    environment = environment_of(section.env, environ)
    death = section.kill_signal.number or signal.SIGKILL
    return ChildCommand(command=section.command or "", environ=environment, death_signal=death)


def with_reload_signal(section: ExecSection, plans: Iterable[GroupPlan]) -> ExecSection:
    """Return ``[exec]`` with no signal for an nginx whose reloads a group performs and proves; others as they are."""
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
    """Raise ConfigError where the program of ``[exec]`` is not there."""
    try:
        exec_command(section, environ).check()
    except CommandFailed as exc:
        raise ConfigError(f"exec.command: {exc.where}", exc.what) from exc
