"""Find the master process that runs a configuration: by its pid file, else in the process table.

A master is ours when its executable, arguments and configuration match. A pid file alone proves nothing: it may be
stale, or name another nginx. Must not know logs or what a reload is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ctemplate.core.errors import CommandFailed, printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.nginx.command import Installation
from ctemplate.nginx.master import (
    DELETED,
    PROC,
    NoMaster,
    Process,
    are_processes_hidden,
    is_worker_title,
    parent_of,
    process_of,
    title_of,
    uid_of,
    without_forks,
    workers,
)
from ctemplate.nginx.same_files import differing_view
from ctemplate.nginx.titles import Arguments, arguments_of, is_cut, is_in_a_namespace, is_nginx_title, pid_in

MASTERS_NAMED = 3  # of other nginxes, in one line
NAMED_LENGTH = 400  # characters of one of them
PROCESSES_HIDDEN = (
    "/proc is mounted with hidepid and shows only this user's own processes, so that a running nginx cannot be seen; "
    "add the user to the group of the gid= option"
)
_UNPROVABLE = "remove master_process off, or set proof = false in the group's nginx key"
_ENDED = "has ended"
_TITLED = lazy_pattern(r"[a-z][\w.-]*: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMaster:
    """The master of an installation; ``how`` says where it was found when no pid file named it."""

    process: Process
    pid_file: Path | None = None
    how: str = ""


def find_master(installation: Installation, pid_files: Iterable[Path], *, proc: Path = PROC) -> FoundMaster | NoMaster:
    """Return the running master of an installation's configuration, or why there is none.

    The first pid file that names it decides, else the process table. Raises CommandFailed when a process runs that
    cannot be identified or cannot prove a reload.
    """
    search = _MasterSearch(installation=installation, proc=proc)
    reasons = []
    misnamed = ""
    for pid_file in dict.fromkeys(pid_files):
        named = search.named(pid_file)
        if isinstance(named, Process):
            return FoundMaster(process=named, pid_file=pid_file)
        reasons.append(named)
        misnamed = misnamed or (named if isinstance(pid_in(pid_file), int) else "")
    found = search.running(reasons[0] if reasons else "no pid file")
    return replace(found, misnamed=misnamed) if isinstance(found, NoMaster) else found


@dataclass(frozen=True, slots=True, kw_only=True)
class _MasterSearch:
    installation: Installation
    proc: Path

    def named(self, pid_file: Path) -> Process | str:
        """Return the master that a pid file names, or why that process is not the master."""
        pid = pid_in(pid_file)
        if isinstance(pid, str):
            return pid
        try:
            judged = self.judged(pid, is_named=True)
        except (FileNotFoundError, ProcessLookupError):
            judged = _ENDED
        except PermissionError as exc:
            what = f"process {pid} cannot be verified: {exc.strerror}; run ctemplate as a user that may signal it"
            raise CommandFailed(str(pid_file), what) from exc
        if judged is None:
            what = f"process {pid} runs without a master process, so no reload of it can be proven; {_UNPROVABLE}"
            raise CommandFailed(str(pid_file), what)
        if judged == _ENDED and are_processes_hidden(self.proc):
            judged = "cannot be seen"
        return judged if isinstance(judged, Process) else f"{pid_file} names process {pid}, which {judged}"

    def judged(self, pid: int, *, is_named: bool) -> Process | str | None:
        """Return the process if it is our master, else what it is; None for an nginx without a master process."""
        process = process_of(pid, proc=self.proc)
        if process is None:
            return _ENDED
        title = title_of(pid, proc=self.proc)
        arguments = arguments_of(title, is_cut=is_cut(pid, title, self.proc))
        if runs := self.other_program(pid, arguments):
            return f"runs {printable(runs)}, not {self.installation.executable}"
        if is_in_a_namespace(pid, self.proc):
            return "runs in another pid namespace"
        if arguments is None:
            return f"is no master but {title!r}" if _TITLED.match(title) else None
        conf = self.conf(pid, arguments)
        if not self.is_ours(conf, arguments, is_named=is_named):
            return f"runs with {printable(conf or 'an unknown configuration')}, not {self.installation.conf}"
        return self.differing_view(pid) or process

    def differing_view(self, pid: int) -> str:
        """Return how a master's view of the configuration and of the group's files differs from ours."""
        files = (self.installation.conf, *self.installation.command.files)
        return printable(differing_view(pid, files, proc=self.proc))

    def other_program(self, pid: int, arguments: Arguments | None) -> str:
        """Return which other program a process runs, nothing where it is ours.

        An executable moved aside for an upgrade stays ours. Where its link is unreadable (another user's process),
        the title of a process of root or of our own user is believed: no other user can start one. A script that starts
        nginx does not tell which executable; then the title is believed as well, and the configuration decides.
        """
        ours = self.installation.executable
        title = title_of(pid, proc=self.proc)
        if self.installation.is_script and is_nginx_title(title) and uid_of(pid, proc=self.proc) in {0, os.geteuid()}:
            return ""
        try:
            runs = Path(str((self.proc / str(pid) / "exe").readlink()).removesuffix(DELETED))
        except PermissionError:
            if uid_of(pid, proc=self.proc) not in {0, os.geteuid()}:
                raise
            named = arguments.program if arguments else "" if _TITLED.match(title) else title.partition(" ")[0]
            return "" if not named or _is_program(named, ours) else named
        is_aside = runs.parent == ours.parent and runs.name.startswith(ours.name) and arguments is not None
        is_ours = runs == ours or (is_aside and arguments is not None and _is_program(arguments.program, ours))
        return "" if is_ours else str(runs)

    def conf(self, pid: int, arguments: Arguments) -> Path | None:
        """Return the configuration that a master's title names; None where it is unknown."""
        if arguments.is_cut and arguments.conf is None:
            return None
        prefix = Path(arguments.prefix or self.installation.build.options.get("prefix", "/usr/local/nginx"))
        conf = prefix / (arguments.conf or self.installation.build.options.get("conf-path", "conf/nginx.conf"))
        if conf.is_absolute():
            return conf
        try:
            return (self.proc / str(pid) / "cwd").readlink() / conf
        except OSError:
            return None

    def is_ours(self, conf: Path | None, arguments: Arguments, *, is_named: bool) -> bool:
        """Whether a master's configuration is the wanted one; a title that was cut has only its beginning.

        An unknown one may be where the executable is known to be ours.
        """
        wanted = self.installation.conf
        if conf is None:
            return not self.installation.is_script
        if os.path.realpath(conf) == os.path.realpath(wanted):
            return True
        return arguments.is_cut and is_named and str(wanted).startswith(str(conf))

    def running(self, reason: str) -> FoundMaster | NoMaster:
        """Return the only master in the process table, or a NoMaster that names what runs instead."""
        masters, foreign, orphans = [], [], []
        for pid, title in _titles(self.proc):
            with contextlib.suppress(OSError, CommandFailed):
                if arguments_of(title) is None:
                    orphans += [pid] if self.is_orphan(pid, title) else []
                elif isinstance(judged := self.judged(pid, is_named=False), Process):
                    masters.append(judged)
                elif is_nginx_title(title) and process_of(pid, proc=self.proc) is not None:
                    foreign.append(self.described(pid, title))
        others = _named_masters(foreign)
        newest = self.newest(masters)
        if newest is not None:
            return FoundMaster(process=newest, how=f"{reason}; process {newest.pid} is its master")
        if masters:
            pids = ", ".join(str(process.pid) for process in masters)
            others.append(f"processes {pids} are masters of this configuration, and nothing tells which one serves")
        if not masters and are_processes_hidden(self.proc):
            others.append(PROCESSES_HIDDEN)
        elif orphans and not masters:
            pids = ", ".join(map(str, orphans))
            others.append(f"workers run without a master: {pids}")
        return NoMaster(reason=reason, suspects=tuple(others))

    def described(self, pid: int, title: str) -> str:
        """Return the pid, executable and configuration of another nginx's master, as far as they can be seen."""
        is_short = is_cut(pid, title, self.proc)
        arguments = arguments_of(title, is_cut=is_short) or Arguments(program="")
        try:
            program = str((self.proc / str(pid) / "exe").readlink()).removesuffix(DELETED)
        except OSError:
            program = arguments.program or "nginx"
        has_folder = arguments.prefix is not None or (arguments.conf or "").startswith("/")
        conf = self.conf(pid, arguments) if has_folder or program == str(self.installation.executable) else None
        name = f"{conf or arguments.conf or 'the configuration of its build'}{'…' * (is_short and conf is not None)}"
        where = " in another pid namespace" if is_in_a_namespace(pid, self.proc) else ""
        view = "" if where or conf != self.installation.conf else self.differing_view(pid)
        return (
            f"process {pid} runs {printable(f'{program} with {name}', NAMED_LENGTH)}{where}{view and f', but {view}'}"
        )

    def newest(self, masters: list[Process]) -> Process | None:
        """Return the only master, or the last one of an upgrade, in which each was started by the previous one."""
        masters = without_forks(masters, proc=self.proc)
        parents = {parent_of(process.pid, proc=self.proc) for process in masters}
        last = [process for process in masters if process.pid not in parents]
        return last[0] if len(last) == 1 else None

    def is_orphan(self, pid: int, title: str) -> bool:
        """Whether a process is a worker of our executable whose master has ended."""
        if not is_worker_title(title) or is_in_a_namespace(pid, self.proc) or self.other_program(pid, None):
            return False
        parent = parent_of(pid, proc=self.proc)
        try:
            return parent is None or arguments_of(title_of(parent, proc=self.proc)) is None
        except (FileNotFoundError, ProcessLookupError):
            return True


def has_workers(process: Process, *, proc: Path = PROC) -> bool:
    """Whether a master has workers that accept connections: then it has read its configuration."""
    return any(not worker.is_draining for worker in workers(process, proc=proc))


def _named_masters(found: list[str]) -> list[str]:
    """Return the first sentences, the last one with the number of the others."""
    more = len(found) - MASTERS_NAMED
    return [*found[: MASTERS_NAMED - 1], f"{found[MASTERS_NAMED - 1]}; and {more} more"] if more > 0 else found


def _titles(proc: Path) -> Iterator[tuple[int, str]]:
    for pid in sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()):
        with contextlib.suppress(OSError):
            yield pid, title_of(pid, proc=proc)


def _is_program(named: str, executable: Path) -> bool:
    """Whether the name under which a master was started is the path of an executable."""
    found = shutil.which(named)
    return found is not None and Path(found).resolve() == executable
