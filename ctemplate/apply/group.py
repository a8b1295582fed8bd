"""What is applied together: a group of targets, and the two contracts that judge and announce its files.

Knows nothing of how files get into place, and nothing of nginx.
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
    """Judges candidates before any live byte changes."""

    async def check(self, files: tuple[StagedFile, ...]) -> tuple[str, ...]:
        """Judge the changed files of a group together and return warnings, or raise CheckRefused or CommandFailed.

        CannotJudge asks for a second call, after the swap, with candidates that are the live files.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveChange:
    """What a program is to take: all files of its group, and the content of those that were replaced.

    ``before`` is None for a file that is new. Both are empty where the live files are reloaded as they are.
    """

    files: tuple[Path, ...]
    before: Mapping[Path, bytes | None] = field(default_factory=dict)
    after: Mapping[Path, bytes] = field(default_factory=dict)


class Reload(Protocol):
    """Tells a program to take its new files."""

    async def reload(self, change: LiveChange) -> Outcome:
        """Return APPLIED once the program runs the group's files, PENDING_START when no program is there to tell.

        Raises ReloadRejected (it surely runs its old ones), ReloadTimedOut or CommandFailed (nobody knows).
        """
        ...


class Program(Protocol):
    """Tells which process runs a group's files, so that another one is noticed."""

    @property
    def proven(self) -> RunningProcess | None:
        """The process that took the last reload."""
        ...

    async def running(self) -> tuple[RunningProcess, Moment] | None:
        """Return the process that runs now, and a moment: it has read no files before. None when none runs.

        Raises CommandFailed when nobody can tell.
        """
        ...


class OnEdit(enum.Enum):
    """What to do with a live file that somebody else changed while its rendering stayed the same."""

    REPAIR = "repair"
    REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Targets that are checked, swapped and reloaded together, all or nothing.

    ``rollback`` says what a failed reload means: put the old files back (a reload that is proven, as nginx's), or leave
    the new ones and keep the reload owed (a plain command). A group whose check refuses is never swapped at all.
    ``backups`` is how many generations of replaced files, ``refused`` how many refused candidates are kept.
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
        """The group's files, for a sentence about them."""
        first, *others = (str(target.destination) for target in self.targets)
        return f"{first} and {len(others)} more" if others else first
