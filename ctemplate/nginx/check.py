"""Check candidates as nginx would read them in their final place, without leaving a trace.

There are two ways. With the right to mount, nginx runs in a private mount namespace in which the candidates are bound
over the live files. Otherwise it reads a copy of the configuration that contains the candidates. Where neither works,
CannotJudge is raised; the caller may ask again once the files are swapped, and the live configuration is checked then.
Must not know swapping, reloading or templates.
"""

from __future__ import annotations

import asyncio
import enum
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache
from pathlib import Path

from ctemplate.core.errors import ApplyError, CannotJudge, CheckRefused
from ctemplate.core.event_stream import emit
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import StagedFile
from ctemplate.core.program_events import FileNotIncluded, FileUnreadable, MountFailed, MountForbidden
from ctemplate.core.values import dataclass
from ctemplate.nginx.advice import advice
from ctemplate.nginx.command import Installation
from ctemplate.nginx.language.includes import TooLarge, Tree, TreeError, load_tree
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.lookup import Lookup
from ctemplate.nginx.mirror import mirror
from ctemplate.nginx.settings import exists, redirect_side_effects, settings
from ctemplate.nginx.stand_ins import STAND_IN, StandIns, stand_ins
from ctemplate.nginx.unread import unread_files, unread_live_files
from ctemplate.nginx.verdict import NginxVerdict, nginx_verdict
from ctemplate.system.inputs import real_path
from ctemplate.system.programs import Completed, run_program
from ctemplate.system.rights import has_rights_of_nginx

log = logging.getLogger(__name__)

BIND_FAILED = 97
NAMESPACE = ("unshare", "--mount", "--propagation", "private", "--", "sh", "-c")
BIND = f"""
while [ "$1" != -- ]; do mount --bind -- "$1" "$2" || exit {BIND_FAILED}; shift 2; done
shift
exec "$@"
"""
PROBE_TIMEOUT = 10.0
_NO_ROOM = lazy_pattern(rf"\((?:{errno.ENOSPC}|{errno.EDQUOT}): ")  # as nginx writes error numbers
FIRST_SECONDS, SECONDS_PER_MIB = 10.0, 5.0


class Way(enum.Enum):
    """The ways to have nginx read candidates."""

    BOUND = "bound over the live files in a private mount namespace"
    COPIED = "in a copy of the configuration"
    LIVE = "where they stand"


def way(*, can_mount: bool, all_exist: bool) -> Way:
    """Choose the way to check: a file can be bound only over one that exists."""
    return Way.BOUND if can_mount and all_exist else Way.COPIED


def check_time_limit(size_bytes: int) -> float:
    """Return how long a test of a configuration of this size may take, about ten times what it needs."""
    return FIRST_SECONDS + SECONDS_PER_MIB * size_bytes / 2**20


@dataclass(slots=True, kw_only=True)
class NginxCheck:
    """Checks candidates with `nginx -t` and the arguments of the reload command.

    `warnings_refuse` makes nginx's warnings refusals; `timeout` is seconds, by default according to size. The
    configuration does not read the files in ``unread``: the last check says nothing about them. ``around`` returns
    texts, by real path, that stand in the place of other files than the candidates.
    """

    nginx: Lookup
    warnings_refuse: bool = False
    timeout: float | None = None
    around: Callable[[], Mapping[Path, bytes]] = dict
    _can_mount: bool | None = field(default=None, init=False)
    unread: tuple[Path, ...] = field(default=(), init=False)
    _reported: set[Path] = field(default_factory=set, init=False)
    _unreadable: set[Path] = field(default_factory=set, init=False)

    async def check(self, files: tuple[StagedFile, ...]) -> tuple[str, ...]:
        """Return nginx's warnings about the configuration with these candidates in it.

        Raises CheckRefused when nginx would not run it, its subclass CannotJudge when it cannot be checked without
        swapping, CommandFailed when nginx cannot be run. Candidates that are the live files are checked in place.
        """
        installation = await self.nginx.installation()
        may_mount = await self._may_mount()
        folder = await asyncio.to_thread(_private_folder)
        test = _Test(installation=installation, files=files, folder=folder, around=self.around())
        try:
            found = await self._judged(test, may_mount=may_mount)
        finally:
            if folder is not None:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if found.lacks_rights:
            return self._left_to_the_reload(files, found)
        if found.is_refused or (self.warnings_refuse and found.warnings):
            raise _refused(files, found)
        return found.warnings

    def _left_to_the_reload(self, files: tuple[StagedFile, ...], found: NginxVerdict) -> tuple[str, ...]:
        """Return a warning for live files; raises CannotJudge for candidates, which have to be swapped then."""
        refused = _refused(files, found)
        what = f"this user lacks a right that nginx has: {found.refusals[0]}"
        if any(file.candidate != file.live for file in files):
            raise CannotJudge(refused.where, what)
        return (f"{refused.where}: {what}; the reload alone decides", *found.warnings)

    async def look(self, files: tuple[Path, ...]) -> None:
        """Note and report which live files the configuration does not read; nothing where that cannot be known."""
        try:
            installation = await self.nginx.installation()
        except ApplyError:
            return
        self.unread = await asyncio.to_thread(unread_live_files, installation, files)
        self._report_unread(installation.conf)

    async def _judged(self, test: _Test, *, may_mount: bool) -> NginxVerdict:
        plan = await asyncio.to_thread(test.plan, may_mount=may_mount)
        self._report(plan, test.installation.conf)
        completed = await run_program(plan.argv, timeout=self.timeout or check_time_limit(plan.size_bytes))
        if plan.way is Way.BOUND and completed.status == BIND_FAILED:
            emit(MountFailed(way=Way.COPIED.value, output=completed.output))
            return await self._judged(test, may_mount=False)
        log.debug("%s: candidates judged %s", test.installation.conf, plan.way.value)
        return await asyncio.to_thread(test.verdict, completed, plan)

    async def _may_mount(self) -> bool:
        """Whether a private mount namespace is possible; tried once."""
        if self._can_mount is None:
            try:
                self._can_mount = await can_mount()
            except OSError:  # no disk space to try it
                return False
            if not self._can_mount:
                _report_copies()
        return self._can_mount

    def _report(self, plan: _Plan, conf: Path) -> None:
        for path in plan.unreadable:
            if path not in self._unreadable:
                self._unreadable.add(path)
                emit(FileUnreadable(path=str(path)))
        self.unread = plan.unread
        self._report_unread(conf)

    def _report_unread(self, conf: Path) -> None:
        """Report each file once."""
        for path in self.unread:
            if path not in self._reported:
                self._reported.add(path)
                emit(FileNotIncluded(path=str(path), main=str(conf)))


async def can_mount() -> bool:
    """Try to bind files in a mount namespace of our own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    with tempfile.NamedTemporaryFile(prefix="ctemplate-probe-") as file:
        completed = await run_program(
            [*NAMESPACE, BIND, "sh", file.name, file.name, "--", "true"], timeout=PROBE_TIMEOUT
        )
    return completed.status == 0


def _private_folder() -> Path | None:
    """Return a new folder for the files that a test writes, None where it cannot be made."""
    try:
        return Path(tempfile.mkdtemp(prefix="ctemplate-check-"))
    except OSError as exc:
        log.debug("%s: no folder can be made: %s", os.environ.get("TMPDIR", "/tmp"), exc.strerror)  # noqa: S108
        return None


def _without_room(where: object, reason: object) -> CannotJudge:
    return CannotJudge(str(where), f"has no room for what a test writes: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A test ready to run."""

    way: Way
    argv: tuple[str, ...]
    size_bytes: int
    translate: Callable[[str], str]
    unread: tuple[Path, ...] = ()
    unreadable: tuple[Path, ...] = ()
    new_pid_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    """One test: what to check, with which nginx, and a private folder for the files it writes, if there is one."""

    installation: Installation
    files: tuple[StagedFile, ...]
    folder: Path | None
    around: Mapping[Path, bytes]

    def plan(self, *, may_mount: bool) -> _Plan:
        """Prepare the test; raises CannotJudge when the configuration cannot be copied."""
        if all(file.candidate == file.live for file in self.files):
            return self._as_it_stands()
        if self.folder is None:
            raise _without_room(os.environ.get("TMPDIR", "/tmp"), "no folder can be made")  # noqa: S108
        try:
            return self._laid_out(self.folder, may_mount=may_mount)
        except OSError as exc:  # in our folder; other reads raise errors of their own
            raise _without_room(exc.filename or self.folder, (exc.strerror or str(exc)).lower()) from exc

    def _laid_out(self, folder: Path, *, may_mount: bool) -> _Plan:
        candidates = self._candidates()
        try:
            tree, made = self._readable(candidates, folder)
            candidates |= made.replaced
            redirected = redirect_side_effects(tree, self.installation, folder)
        except (TreeError, NginxSyntaxError) as exc:
            return self._unread(candidates, exc, folder, may_mount=may_mount)
        replaced = {**candidates, **redirected.replaced}
        chosen = _way(replaced, may_mount=may_mount)
        conf, translate = (self.installation.conf, _unchanged) if chosen is Way.BOUND else self._copy(replaced, folder)
        argv = self.installation.test(conf, error_log=folder / "error.log", directives=redirected.directives)
        return _Plan(
            way=chosen,
            argv=_bound(replaced, argv, folder) if chosen is Way.BOUND else argv,
            size_bytes=sum(map(len, tree.sources.values())),
            translate=translate,
            unread=unread_files(tree, self.installation, self._live),
            unreadable=made.unreadable,
        )

    def _readable(self, candidates: Mapping[Path, bytes], folder: Path) -> tuple[Tree, StandIns]:
        """Return the configuration with stand-ins for what nginx's master may read and we may not."""
        tree = load_tree(self.installation.conf, replaced=candidates)
        made = StandIns() if has_rights_of_nginx() else stand_ins(tree, folder)
        if made.replaced:
            tree = load_tree(self.installation.conf, replaced={**candidates, **made.replaced})
        return tree, made

    def _unread(
        self, candidates: Mapping[Path, bytes], error: TreeError | NginxSyntaxError, folder: Path, *, may_mount: bool
    ) -> _Plan:
        """Let nginx report what is wrong with a configuration that we cannot read."""
        if _way(candidates, may_mount=may_mount) is Way.COPIED:
            raise _unreadable(error) from error
        return _Plan(
            way=Way.BOUND,
            argv=_bound(candidates, self._plain_argv(), folder),
            size_bytes=sum(map(len, candidates.values())),
            translate=_unchanged,
        )

    def _as_it_stands(self) -> _Plan:
        """Check the live configuration; its paths cannot be redirected, so nginx creates a missing log."""
        unread: tuple[Path, ...] = ()
        try:
            tree = load_tree(self.installation.conf)
            found, unread = settings(tree, self.installation), unread_files(tree, self.installation, self._live)
            pid_file, size_bytes = found.pid_file, found.size_bytes
        except (TreeError, NginxSyntaxError):
            pid_file, size_bytes = self.installation.default_pid_file, 0
        return _Plan(
            way=Way.LIVE,
            argv=self._plain_argv(),
            size_bytes=size_bytes,
            translate=_unchanged,
            unread=unread,
            new_pid_file=None if exists(pid_file) else pid_file,
        )

    def _plain_argv(self) -> tuple[str, ...]:
        return self.installation.test(
            self.installation.conf,
            error_log=self.folder / "error.log" if self.folder is not None else Path(os.devnull),
            directives=self.installation.command.globals,
        )

    @property
    def _live(self) -> tuple[Path, ...]:
        return tuple(file.live for file in self.files)

    def _candidates(self) -> dict[Path, bytes]:
        try:
            own = {real_path(file.live): file.candidate.read_bytes() for file in self.files}
        except OSError as exc:
            raise CheckRefused(str(exc.filename), f"cannot be read: {exc.strerror}") from exc
        return {**self.around, **own}

    def _copy(self, replaced: Mapping[Path, bytes], folder: Path) -> tuple[Path, Callable[[str], str]]:
        place = folder / "copy"
        place.mkdir(mode=0o700)
        try:
            copy = mirror(load_tree(self.installation.conf, replaced=replaced), place)
        except TreeError as exc:
            raise CannotJudge(exc.where, exc.what) from exc
        return copy.main, copy.translate

    def verdict(self, completed: Completed, plan: _Plan) -> NginxVerdict:
        """Judge nginx's output and, when that was cut, its log; remove the pid file that it left."""
        if plan.new_pid_file is not None and plan.new_pid_file.is_file() and not plan.new_pid_file.stat().st_size:
            plan.new_pid_file.unlink()
        translate = plan.translate
        ours = {file.live for file in self.files} | {real_path(file.live) for file in self.files}
        has_rights = has_rights_of_nginx()
        output = tuple(line for line in completed.output if not _is_about_a_stand_in(line))
        found = nginx_verdict(completed.status, output, ours=ours, translate=translate, has_rights=has_rights)
        if self.folder is None or completed.status == 0 or found.refusals:
            return self._unless_without_room(found)
        logs = (path.read_text(errors="replace") for path in self.folder.glob("*log*") if path.is_file())
        logged = [line for text in logs for line in text.splitlines()]
        lines = (*output, *logged)
        return nginx_verdict(completed.status, lines, ours=ours, translate=translate, has_rights=has_rights)

    def _unless_without_room(self, found: NginxVerdict) -> NginxVerdict:
        """Return the verdict; raise CannotJudge where nginx only lacked disk space in our folder."""
        for line in found.refusals:
            if self.folder is not None and f"{self.folder}/" in line and _NO_ROOM.search(line):
                raise _without_room(self.folder, "no space left on device")
        return found


def _is_about_a_stand_in(line: str) -> bool:
    """Whether nginx warns of a certificate that it would not have read."""
    return "[warn]" in line and f"/{STAND_IN}-" in line


def _bound(replaced: Mapping[Path, bytes], argv: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Write the texts into the folder; return the arguments that bind them over the live files and run a program."""
    binds = []
    for number, (live, text) in enumerate(replaced.items()):
        source = folder / f"bound-{number}"
        source.write_bytes(text)
        binds += [str(source), str(live)]
    return (*NAMESPACE, BIND, "sh", *binds, "--", *argv)


def _unchanged(line: str) -> str:
    return line


def _way(replaced: Mapping[Path, bytes], *, may_mount: bool) -> Way:
    return way(can_mount=may_mount, all_exist=all(path.is_file() for path in replaced))


def _unreadable(error: TreeError | NginxSyntaxError) -> CheckRefused:
    """Report in nginx's format what we cannot read ourselves."""
    if isinstance(error, TreeError):
        is_ours = isinstance(error, TooLarge) or isinstance(error.__cause__, PermissionError)
        return (CannotJudge if is_ours else CheckRefused)(error.where, error.what)
    line = f"nginx: [emerg] {error.what} in {error.where}:{error.line}"
    return CheckRefused(error.where, "is not nginx's language", output=(line,))


def _refused(files: tuple[StagedFile, ...], found: NginxVerdict) -> CheckRefused:
    """Name the file that nginx's first refusal names, else the first candidate."""
    lines = found.refusals or found.warnings
    named = [file.live for file in files if any(f" in {file.live}:" in line for line in lines)]
    where = str((named or [file.live for file in files])[0])
    return CheckRefused(where, f"nginx -t: exit status {found.status}", output=(*lines, *advice(lines)))


@cache
def _report_copies() -> None:
    """Log once per process that candidates are checked in a copy; every new group would find that out again."""
    emit(MountForbidden(way=Way.COPIED.value))
