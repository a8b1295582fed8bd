"""What is applied together: a group of targets, and the protocols that check and reload its files.

Must not know how files get into place, or nginx.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Protocol

from ctemplate.core.model import Outcome, StagedFile, Target
from ctemplate.core.values import dataclass
from ctemplate.system.uptime import Moment, RunningProcess


class CandidateCheck(Protocol):
    """Checks candidates before any live byte changes."""

    @property
    def unread(self) -> tuple[Path, ...]:
        """The files of the last check, or look, that the program does not read: the check says nothing about them."""
        ...

    async def look(self, files: tuple[Path, ...]) -> None:
        """Note and report which of the live files the program does not read."""
        ...

    async def check(self, files: tuple[StagedFile, ...]) -> tuple[str, ...]:
        """Check the changed files of a group together and return warnings, or raise CheckRefused or CommandFailed.

        CannotJudge asks for a second call, after the swap, with candidates that are the live files.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveChange:
    """What a program has to load: all files of its group, and the content of the replaced ones.

    ``before`` is None for a new file. Both are empty where the live files are reloaded as they are.
    """

    files: tuple[Path, ...]
    before: Mapping[Path, bytes | None] = field(default_factory=dict)
    after: Mapping[Path, bytes] = field(default_factory=dict)

    def after_another(self, earlier: LiveChange | None) -> LiveChange:
        """Return both changes as one, for a program that loads them together."""
        if earlier is None:
            return self
        still = {path: content for path, content in earlier.after.items() if path not in self.before}
        return LiveChange(files=self.files, before={**self.before, **earlier.before}, after={**still, **self.after})


class Reload(Protocol):
    """Makes a program load its new files."""

    async def reload(self, change: LiveChange) -> Outcome:
        """Return APPLIED once the program runs the group's files, PENDING_START when the program does not run.

        Raises ReloadRejected (it runs its old files), ReloadTimedOut or CommandFailed (unknown which files it runs).
        """
        ...


class Program(Protocol):
    """Finds the process that runs a group's files, so that a new one is noticed."""

    @property
    def proven(self) -> RunningProcess | None:
        """The process that did the last reload."""
        ...

    async def running(self) -> tuple[RunningProcess, Moment] | None:
        """Return the running process, and a moment before which it has read no files; None when none runs.

        Raises CommandFailed when that is unknown.
        """
        ...


class OnEdit(enum.Enum):
    """What to do with a live file that another program changed while its rendering stayed the same."""

    REPAIR = "repair"
    REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Targets that are checked, swapped and reloaded together, all or nothing.

    ``rollback`` decides what follows a failed reload: put the old files back (for a proven reload, such as nginx's), or
    leave the new ones and owe the reload (for a plain command). A group that its check refuses is never swapped.
    ``backups`` and ``refused`` are how many generations of replaced files and of refused candidates are stored.
    """

    name: str
    targets: tuple[Target, ...]
    rollback: bool = True
    on_edit: OnEdit = OnEdit.REPAIR
    backups: int = 3
    refused: int = 3

    @property
    def destinations(self) -> tuple[Path, ...]:
        """The absolute paths of the group's files, as the operator named them."""
        return tuple(target.destination.absolute() for target in self.targets)

    def may_make(self, path: Path) -> bool:
        """Whether a path may be that of a file that is made for an item of a list."""
        return any(target.each is not None and target.each.may_make(path) for target in self.targets)

    @property
    def subject(self) -> str:
        """The group's files, as the subject of a sentence."""
        first, *others = (str(target.destination) for target in self.targets)
        return f"{first} and {len(others)} more" if others else first
