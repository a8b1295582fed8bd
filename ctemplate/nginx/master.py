"""Find the master process that a pid file names, make sure of it, and tell facts of its workers.

Reads Linux's /proc, nothing else. Must not know configurations, logs or what a reload is.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ctemplate.errors import CommandFailed, printable

PROC = Path("/proc")
MASTER_TITLE = "nginx: master process"
WORKER_TITLE = "nginx: worker process"
DRAINING_TITLE = "nginx: worker process is shutting down"
DELETED = " (deleted)"
TICKS = os.sysconf("SC_CLK_TCK")
_PID = re.compile(r"\s*([1-9]\d{0,9})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that nobody can take for another: the start time, in clock ticks since boot, tells a reused pid."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Why no master runs: the pid file says nothing, or names what is not this nginx's master."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker process, and whether it only finishes its last connections."""

    process: Process
    is_draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainingWorker:
    """A worker that finishes its last connections: its age in seconds, and the memory that it holds."""

    process: Process
    age: float
    memory_bytes: int


def find_master(pid_file: Path, executable: Path, *, proc: Path = PROC) -> Process | Absence:
    """Return the running master that the pid file names, or why there is none.

    It must run this executable (also one replaced since by an upgrade), call itself master, live in our pid namespace.
    Raises CommandFailed when something does run that cannot be judged or cannot prove a reload.
    """
    try:
        text = pid_file.read_text(errors="replace")
    except FileNotFoundError:
        return Absence(reason=f"{pid_file} does not exist")
    except OSError as exc:
        raise CommandFailed(str(pid_file), f"cannot be read: {exc.strerror}") from exc
    match = _PID.fullmatch(text)
    if match is None:
        return Absence(reason=f"{pid_file} holds no pid, found {printable(text, 20)!r}")
    pid = int(match[1])
    try:
        return _verified(pid, pid_file, executable, proc)
    except (FileNotFoundError, ProcessLookupError):
        return Absence(reason=f"{pid_file} names process {pid}, which has ended")
    except PermissionError as exc:
        raise CommandFailed(str(pid_file), f"process {pid} cannot be verified: {exc.strerror}") from exc


def _verified(pid: int, pid_file: Path, executable: Path, proc: Path) -> Process | Absence:
    process = process_of(pid, proc=proc)
    said = f"{pid_file} names process {pid}, which"
    if process is None:
        return Absence(reason=f"{said} has ended")
    title = title_of(pid, proc=proc)
    runs = Path(str((proc / str(pid) / "exe").readlink()).removesuffix(DELETED))
    if runs != executable:
        return Absence(reason=f"{said} runs {printable(runs)}, not {executable}")
    if _is_in_a_namespace(pid, proc):
        return Absence(reason=f"{said} runs in another pid namespace")
    if not title.startswith(MASTER_TITLE):
        if title.startswith("nginx: "):
            return Absence(reason=f"{said} is no master but {title!r}")
        what = f"process {pid} runs without a master process; its reload cannot be proven"
        raise CommandFailed(str(pid_file), what)
    return process


def _is_in_a_namespace(pid: int, proc: Path) -> bool:
    """Whether a process has a pid of its own in a namespace below ours: the pid file means another process then."""
    status = (proc / str(pid) / "status").read_text(errors="replace")
    found = re.search(r"^NSpid:\s*(.*)$", status, re.MULTILINE)
    return found is not None and len(found[1].split()) > 1


def process_of(pid: int, *, proc: Path = PROC) -> Process | None:
    """Return a process as it runs now; None when it has ended, zombies included."""
    try:
        state, started = _stat(pid, proc)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else Process(pid=pid, started=started)


def _stat(pid: int, proc: Path) -> tuple[str, int]:
    """Return the state and the start time. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return fields[0], int(fields[19])


def title_of(pid: int, *, proc: Path = PROC) -> str:
    """Return what a process calls itself."""
    raw = (proc / str(pid) / "cmdline").read_bytes()
    return raw.decode(errors="replace").strip("\0 ").replace("\0", " ")


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to this very process; answer whether it was still there.

    A pid file descriptor is opened before the process is compared, so the signal cannot reach a later one of its pid.
    Raises CommandFailed when we may not.
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
    """Open a pid file descriptor; None where the kernel or a sandbox has none."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def workers(master: Process, *, proc: Path = PROC) -> tuple[Worker, ...]:
    """Return the workers of a master, oldest first; cache processes and a new master of an upgrade do not count."""
    found = [worker for pid in _children(master.pid, proc) if (worker := _worker(pid, proc))]
    return tuple(sorted(found, key=lambda worker: (worker.process.started, worker.process.pid)))


def draining(master: Process, *, proc: Path = PROC) -> tuple[DrainingWorker, ...]:
    """Return the workers that only finish their last connections, oldest first."""
    old = [worker.process for worker in workers(master, proc=proc) if worker.is_draining]
    return tuple(found for process in old if (found := _draining(process, proc)))


def generations(old: tuple[DrainingWorker, ...], *, apart: float = 0.5) -> int:
    """Count the configurations that draining workers still hold: those of one reload started together."""
    ages = sorted(worker.age for worker in old)
    return sum(later - earlier > apart for earlier, later in pairwise(ages)) + bool(ages)


def is_pending(process: Process, number: signal.Signals, *, proc: Path = PROC) -> bool:
    """Whether a signal still waits for the process to take it: a master takes none while it reconfigures."""
    try:
        status = (proc / str(process.pid) / "status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def _worker(pid: int, proc: Path) -> Worker | None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        title, process = title_of(pid, proc=proc), process_of(pid, proc=proc)
        if process is not None and title.startswith(WORKER_TITLE):
            return Worker(process=process, is_draining=title.startswith(DRAINING_TITLE))
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
    """Yield the pids of a process's children; some kernels keep no list, then every process is asked."""
    try:
        yield from map(int, (proc / str(pid) / "task" / str(pid) / "children").read_text().split())
    except ProcessLookupError:
        return
    except FileNotFoundError:
        for entry in proc.iterdir():
            if entry.name.isdecimal() and _parent(int(entry.name), proc) == pid:
                yield int(entry.name)


def _parent(pid: int, proc: Path) -> int | None:
    try:
        return int((proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
