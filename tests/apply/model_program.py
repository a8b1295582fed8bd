"""A simulated program: it runs the files that it loaded at its start or at its last reload."""

from __future__ import annotations

import copy
import shutil
import tempfile
from pathlib import Path

from ctemplate.apply import Group, LiveChange, StateFolder, Step, apply, recover
from ctemplate.apply.steps import Observe, unobserved
from ctemplate.core.errors import CannotJudge, CheckRefused, CommandFailed, ReloadLost, ReloadRejected, ReloadTimedOut
from ctemplate.core.model import Outcome, Output, StagedFile, Target


class ReadsAll:
    """The part of a check whose program reads all files of the group."""

    unread = ()

    async def look(self, files: tuple[Path, ...]) -> None:
        pass


class Program(ReadsAll):
    """Checks and reloads in one.

    Content with ``syntax`` is refused by the check; ``port`` passes the check, but neither a reload nor a start takes
    it; ``slow`` is taken without proof; ``deaf`` is not taken, and nobody can tell; ``fatal`` ends what was running.
    """

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self.is_up = True
        self.running = self._live()
        self.checks: list[tuple[StagedFile, ...]] = []
        self.reloads = 0

    def start(self) -> None:
        live = self._live()
        if not self.is_up and not any(b"port" in (content or b"") for content in live.values()):
            self.is_up, self.running = True, live

    def stop(self) -> None:
        self.is_up = False

    async def check(self, files: tuple[StagedFile, ...]) -> tuple[str, ...]:
        self.checks.append(files)
        for file in files:
            if b"syntax" in file.candidate.read_bytes():
                raise CheckRefused(str(file.live), "model -t: exit status 1", output=(f"bad {file.candidate}:1",))
        return ()

    async def reload(self, change: LiveChange) -> Outcome:
        assert change.files == self.paths
        self.reloads += 1
        if not self.is_up:
            return Outcome.PENDING_START
        live = self._live()
        words = b"".join(content or b"" for content in live.values())
        if b"port" in words:
            raise ReloadRejected("model", "kept its old configuration", output=("bind() failed",))
        if b"fatal" in words:
            self.running = dict.fromkeys(self.paths)
            raise ReloadLost("model", "nothing runs", output=("worker exited",))
        if b"deaf" in words:
            raise ReloadTimedOut("model", "not proven within 1s")
        self.running = live
        if b"slow" in words:
            raise ReloadTimedOut("model", "not proven within 1s")
        return Outcome.APPLIED

    def _live(self) -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.exists() else None for path in self.paths}


class BlindCheck(ReadsAll):
    """The program's check, which can judge nothing before it is live."""

    def __init__(self, program: Program) -> None:
        self.program = program

    async def check(self, files: tuple[StagedFile, ...]) -> tuple[str, ...]:
        if any(file.candidate != file.live for file in files):
            raise CannotJudge("site.conf", "too strange to copy")
        return await self.program.check(files)


class BrokenCommand:
    """A reload command that fails while it is broken, and counts how often it ran."""

    def __init__(self) -> None:
        self.is_broken = True
        self.runs = 0

    async def reload(self, change: LiveChange) -> Outcome:
        del change
        self.runs += 1
        if self.is_broken:
            raise CommandFailed("reload-it", "exit status 1")
        return Outcome.APPLIED


class Site:
    """Some destinations and a state folder; every `apply` is a fresh start of ctemplate."""

    def __init__(self, folder: Path, *names: str, **group) -> None:
        self.folder = folder
        self.paths = tuple(folder / "etc" / name for name in names or ("n.conf",))
        (folder / "etc").mkdir(exist_ok=True)
        targets = tuple(Target(destination=path) for path in self.paths)
        self.group = Group(**{"name": "site", "targets": targets} | group)
        self.program = Program(*self.paths)

    @property
    def path(self) -> Path:
        return self.paths[0]

    def hold(self):
        return StateFolder(self.folder / "state").hold(self.group)

    def outputs(self, *contents: bytes) -> tuple[Output, ...]:
        return tuple(
            Output(target=target, content=content) for target, content in zip(self.group.targets, contents, strict=True)
        )

    async def apply(self, *contents: bytes, **options) -> Outcome:
        options = {"check": self.program, "reload": self.program} | options
        with self.hold() as state:
            return await apply(self.outputs(*contents), state=state, **options)

    def recover(self, observe: Observe = unobserved) -> None:
        with self.hold() as state:
            recover(state, observe)

    @property
    def owes_reload(self) -> bool:
        with self.hold() as state:
            return state.ledger.page.owes_reload

    @property
    def live(self) -> tuple[bytes | None, ...]:
        return tuple(path.read_bytes() if path.exists() else None for path in self.paths)

    @property
    def tree(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "etc").iterdir())

    def kept(self, shelf: str) -> list[bytes]:
        """The first file's content in every generation of `backups` or `refused`, oldest first."""
        with self.hold() as state:
            generations = getattr(state, shelf).generations
        return [(generation / self.path.relative_to("/")).read_bytes() for generation in generations]


class Killer:
    """Keeps what is on disk and in the program at one moment, to go back to as if the process had died there.

    The moment is a number of steps, or the first time that a step is seen.
    """

    def __init__(self, site: Site, moment: int | Step | None) -> None:
        self.site, self.moment, self.seen, self.step = site, moment, 0, None
        self.copy = Path(tempfile.mkdtemp()) / "copy"

    def __call__(self, step):
        if not self.has_struck and self.moment in (self.seen, step):
            self.step = step
            shutil.copytree(self.site.folder, self.copy, symlinks=True)
            self.program = copy.copy(vars(self.site.program))
        self.seen += 1

    @property
    def has_struck(self):
        return self.step is not None

    def strike(self):
        if self.has_struck:
            shutil.rmtree(self.site.folder)
            shutil.copytree(self.copy, self.site.folder, symlinks=True)
            vars(self.site.program).update(self.program)
        shutil.rmtree(self.copy.parent)


class WatchedReload:
    """The program's reload, with moments just before and just after."""

    def __init__(self, program, killer):
        self.program, self.killer = program, killer

    async def reload(self, change):
        self.killer(Step.SWAPPED)
        try:
            return await self.program.reload(change)
        finally:
            self.killer(Step.RELOADED)
