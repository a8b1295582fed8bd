"""A check and a reload by the operator's commands: the exit status decides.

Knows nothing of nginx.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from ctemplate.apply.group import LiveChange
from ctemplate.core.errors import CheckRefused, CommandFailed, ReloadRejected
from ctemplate.core.event_stream import emit
from ctemplate.core.model import Outcome, StagedFile
from ctemplate.core.program_events import ReloadCommandDone
from ctemplate.core.settings import COMMAND_TIMEOUT
from ctemplate.core.values import dataclass
from ctemplate.system.programs import Completed, format_command, run_program

CANDIDATE_WORD = "{candidate}"
LIVE = "{live}"
REJECTED = 1  # exit status of a reload command that proves what its program runs

Command = str | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCheck:
    """A command that exits with 0 when it accepts the candidates; ``timeout`` is seconds.

    A command with ``{candidate}`` runs once for each new or changed file, with that file's candidate in its place and
    the path of the live file in place of ``{live}``; a file to be removed has nothing to check. Any other command runs
    once. With ``destination`` the command checks that file alone, and only when it has changed. ``environ`` is the
    command's environment, by default ours.
    """

    command: Command
    timeout: float = COMMAND_TIMEOUT
    destination: Path | None = None
    environ: Mapping[str, str] | None = None

    @property
    def unread(self) -> tuple[Path, ...]:
        """Return no files: what a command reads is not known."""
        return ()

    async def look(self, files: tuple[Path, ...]) -> None:
        """Do nothing: what a command reads is not known."""

    async def check(self, files: tuple[StagedFile, ...]) -> tuple[str, ...]:
        """Run the command for the candidates; raises CheckRefused on any other exit status than 0."""
        mine = tuple(file for file in files if self.destination in (None, file.live))
        named = tuple(file for file in mine if not file.is_removed) if self._names_candidate else mine[:1]
        for file in named:
            command = substituted(self.command, file)
            completed = await run_program(command, timeout=self.timeout, environ=self.environ)
            if completed.status != 0:
                what = f"{format_command(command)}: {command_verdict(completed)}"
                output = tuple(line.replace(str(file.candidate), str(file.live)) for line in completed.output)
                raise CheckRefused(str(file.live), what, output=output)
        return ()

    @property
    def _names_candidate(self) -> bool:
        return any(
            CANDIDATE_WORD in part for part in ([self.command] if isinstance(self.command, str) else self.command)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReload:
    """A command that makes a program load its new files and exits with 0 on success; ``timeout`` is seconds.

    With ``has_proof`` an exit status of 1 says that the program runs its old files; else nothing is known of them.
    """

    command: Command
    timeout: float = COMMAND_TIMEOUT
    environ: Mapping[str, str] | None = None
    has_proof: bool = False

    async def reload(self, change: LiveChange) -> Outcome:
        """Run the command once for all files; raises CommandFailed, or ReloadRejected, unless its status is 0."""
        del change  # the command knows its program
        completed = await run_program(self.command, timeout=self.timeout, environ=self.environ)
        if completed.status != 0:
            failure = ReloadRejected if self.has_proof and completed.status == REJECTED else CommandFailed
            raise failure(format_command(self.command), command_verdict(completed), output=completed.output)
        command = format_command(self.command)
        emit(ReloadCommandDone(command=command, seconds=completed.duration, output=completed.output))
        return Outcome.APPLIED


def substituted(command: Command, file: StagedFile) -> Command:
    """Put the file's paths in place of ``{candidate}`` and ``{live}``, quoted for the shell where one reads them."""
    if isinstance(command, str):
        return command.replace(CANDIDATE_WORD, shlex.quote(str(file.candidate))).replace(
            LIVE, shlex.quote(str(file.live))
        )
    return tuple(part.replace(CANDIDATE_WORD, str(file.candidate)).replace(LIVE, str(file.live)) for part in command)


def command_verdict(completed: Completed) -> str:
    """Return how a failed command ended: ``exit status 1`` or ``killed by SIGTERM``."""
    if completed.status >= 0:
        return f"exit status {completed.status}"
    try:
        return f"killed by {signal.Signals(-completed.status).name}"
    except ValueError:
        return f"killed by signal {-completed.status}"
