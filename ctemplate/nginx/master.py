"""Facts about nginx's processes: what they are, whether a master is busy, which workers it has.

Reads only Linux's /proc. Must not know configurations, logs or what a reload is.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from ctemplate.core.errors import CommandFailed
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.system.uptime import TICKS, Moment, RunningProcess, boot_id

PROC = Path("/proc")
DELETED = " (deleted)"
_WORKER = lazy_pattern(r"[a-z][\w.-]*: worker process(?P<draining> is shutting down)?(?: #\d+)?")
_MASKS = lazy_pattern(r"^(?P<name>State|SigPnd|ShdPnd|SigBlk):\s*(?P<value>\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """An unmistakable process: its start time, in clock ticks since boot, distinguishes a reused pid."""

    pid: int
    started: int

    @property
    def running(self) -> RunningProcess:
        """The same process, in a form that is unique across boots."""
        return RunningProcess(pid=self.pid, started=Moment(boot=boot_id(), ticks=self.started))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMaster:
    """Why no master was found; ``suspects`` are sentences about processes that run instead, if any.

    ``misnamed`` says which process a pid file names that is no master of ours, if one does.
    """

    reason: str
    suspects: tuple[str, ...] = ()
    misnamed: str = ""

    def __str__(self) -> str:
        return "; ".join((self.reason, *self.suspects))

    @property
    def sentence(self) -> str:
        """The facts as a predicate of nginx: that it does not run, or that others run, and it is not found."""
        return f"{'is not found' if self.suspects else 'does not run'}: {self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxWorker:
    """A worker process, and whether it is draining its last connections."""

    process: Process
    is_draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainingWorker:
    """A worker that is draining its last connections: its age in seconds, and the memory that it holds."""

    process: Process
    age: float
    memory_bytes: int


def process_of(pid: int, *, proc: Path = PROC) -> Process | None:
    """Return a running process; None when it has ended, zombies included."""
    try:
        state, started = _stat(pid, proc)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else Process(pid=pid, started=started)


def is_unreaped(process: Process, *, proc: Path = PROC) -> bool:
    """Whether a process has ended and its parent has not taken note of it."""
    try:
        state, started = _stat(process.pid, proc)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state in "ZX" and started == process.started


def are_processes_hidden(proc: Path = PROC) -> bool:
    """Whether /proc shows us only our own processes: then process 1, which always runs, cannot be read."""
    try:
        (proc / "1" / "cmdline").read_bytes()
    except OSError:
        return True
    return False


def _stat(pid: int, proc: Path) -> tuple[str, int]:
    """Return the state and the start time. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return fields[0], int(fields[19])


def title_of(pid: int, *, proc: Path = PROC) -> str:
    """Return a process's title."""
    raw = (proc / str(pid) / "cmdline").read_bytes()
    return raw.decode(errors="replace").strip("\0 ").replace("\0", " ")


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; return whether it still existed.

    A pidfd is opened before the process is compared, so the signal cannot reach a later process with the same pid.
    Raises CommandFailed when it is not permitted.
    """
    with contextlib.ExitStack() as stack:
        try:
            descriptor = _opened(process.pid, stack)
            if process_of(process.pid) != process:
                return False
            if descriptor is None:
                os.kill(process.pid, number)
            else:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        except PermissionError as exc:
            raise CommandFailed(f"process {process.pid}", f"{number.name} cannot be sent: {exc.strerror}") from exc
    return True


def _opened(pid: int, stack: contextlib.ExitStack) -> int | None:
    """Open a pidfd; None where the kernel or a sandbox does not support it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def workers(master: Process, *, proc: Path = PROC) -> tuple[NginxWorker, ...]:
    """Return the workers of a master, oldest first; cache processes and a new master of an upgrade do not count."""
    found = [worker for pid in _children(master.pid, proc) if (worker := _worker(pid, proc))]
    return tuple(sorted(found, key=lambda worker: (worker.process.started, worker.process.pid)))


def forming(master: Process, *, proc: Path = PROC) -> int:
    """Return the number of a master's children that have its title: a new worker gets its own a moment later."""
    titles = []
    for pid in _children(master.pid, proc):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            titles.append(title_of(pid, proc=proc))
    return sum(": master process" in title for title in titles)


def without_forks(masters: list[Process], *, proc: Path = PROC) -> list[Process]:
    """Return the masters without the children of others that have no child: a new worker has its master's title.

    It gets its own when its modules are initialised. The new master of an upgrade is a child of the old one, too, and
    counts from its first worker on; until then the old one serves.
    """
    pids = {process.pid for process in masters}
    parents = {process.pid: parent_of(process.pid, proc=proc) for process in masters}
    return [one for one in masters if parents[one.pid] not in pids or any(_children(one.pid, proc))]


def draining(master: Process, *, proc: Path = PROC) -> tuple[DrainingWorker, ...]:
    """Return the workers that are draining their last connections, oldest first."""
    old = [worker.process for worker in workers(master, proc=proc) if worker.is_draining]
    return tuple(found for process in old if (found := _draining(process, proc)))


def generations(old: tuple[DrainingWorker, ...], *, apart: float = 0.5) -> int:
    """Count the configurations that draining workers still hold; workers of one reload were started together."""
    ages = sorted(worker.age for worker in old)
    return sum(later - earlier > apart for earlier, later in pairwise(ages)) + bool(ages)


def is_idle(process: Process, number: signal.Signals, *, proc: Path = PROC) -> bool:
    """Whether a master is waiting for signals: while it reconfigures it blocks all of them.

    Where the kernel shows no signal masks, a master counts as idle.
    """
    try:
        status = (proc / str(process.pid) / "status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    found = {line["name"]: line["value"] for line in _MASKS.finditer(status)}
    masks = (int(value, 16) for name, value in found.items() if name != "State")
    return found.get("State", "S") == "S" and not any(mask >> (number - 1) & 1 for mask in masks)


def is_worker_title(title: str) -> bool:
    """Whether a process's title is a worker's."""
    return _WORKER.fullmatch(title) is not None


def _worker(pid: int, proc: Path) -> NginxWorker | None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        title, process = _WORKER.fullmatch(title_of(pid, proc=proc)), process_of(pid, proc=proc)
        if process is not None and title is not None:
            return NginxWorker(process=process, is_draining=title["draining"] is not None)
    return None


def _draining(process: Process, proc: Path) -> DrainingWorker | None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        uptime = float((proc / "uptime").read_text().split()[0])
        age = max(0.0, uptime - process.started / TICKS)
        return DrainingWorker(process=process, age=age, memory_bytes=_memory(process.pid, proc))
    return None


def _memory(pid: int, proc: Path) -> int:
    """Return a process's share of memory (Pss), or all that it has resident where Pss may not be read."""
    try:
        rollup = (proc / str(pid) / "smaps_rollup").read_text()
        return sum(int(kib) for kib in re.findall(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)) * 1024
    except (OSError, ValueError):
        return int((proc / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _children(pid: int, proc: Path) -> Iterator[int]:
    """Yield the pids of a process's children; where the kernel keeps no list, every process is examined."""
    try:
        yield from map(int, (proc / str(pid) / "task" / str(pid) / "children").read_text().split())
    except ProcessLookupError:
        return
    except FileNotFoundError:
        for entry in proc.iterdir():
            if entry.name.isdecimal() and parent_of(int(entry.name), proc=proc) == pid:
                yield int(entry.name)


def parent_of(pid: int, *, proc: Path = PROC) -> int | None:
    """Return the pid of a process's parent; None when the process has ended."""
    try:
        return int((proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def uid_of(pid: int, *, proc: Path = PROC) -> int:
    """Return the effective user of a process; its folder's owner may be root nevertheless."""
    found = re.search(r"^Uid:\s*\d+\s+(\d+)", (proc / str(pid) / "status").read_text(errors="replace"), re.MULTILINE)
    return int(found[1]) if found else -1
