"""Locks beside destinations: one process at a time writes a file, whichever state folder it uses.

The lock is an flock on a hidden file in the destination's real folder, so all processes that reach that folder share
it, those in other containers included, and a killed process holds none. It is removed at the end; a leftover file is
taken over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
import time
from pathlib import Path

from ctemplate.core.errors import StateError
from ctemplate.core.event_stream import emit
from ctemplate.core.file_events import LockUnavailable
from ctemplate.system.files import hidden_name
from ctemplate.system.ownership import ROOT, user_name

logger = logging.getLogger(__name__)

FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
START_SECONDS = 1.0  # for a command of a killed process to start
START_LOOK = 0.02  # seconds between two attempts meanwhile
UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})  # a file system without flock


def lock_beside(real: Path) -> Path:
    """Return the file beside a real destination whose lock guards it."""
    return real.with_name(hidden_name(real, ".ctemplate-lock"))


def is_locked(real: Path) -> bool:
    """Whether a process holds the lock beside a real destination."""
    try:
        descriptor = os.open(lock_beside(real), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as exc:
        return exc.errno not in UNSUPPORTED
    finally:
        os.close(descriptor)
    return False


class DestinationLocks:
    """The locks of one group's destinations."""

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}

    def take(self, real: Path) -> None:
        """Lock a real destination, unless we hold its lock already; lock it again if the lock's file was removed.

        Raises StateError when another process holds it or another user could release it, and OSError where the lock
        cannot be made: in a folder that is missing, read-only or full, where no candidate could be made either.
        """
        held = self._held.get(real)
        if held is not None and _stands(held, lock_beside(real)):
            return
        self._held[real] = _locked(real)
        if held is not None:
            os.close(held)  # its file was removed, alone or with its folder

    def leave(self, real: Path) -> None:
        """Let go of a real destination."""
        path, descriptor = lock_beside(real), self._held.pop(real, None)
        if descriptor is None:
            return
        try:
            if _stands(descriptor, path):
                path.unlink()
        except OSError as exc:
            logger.debug("%s: cannot be removed: %s", path, exc.strerror)
        os.close(descriptor)

    def close(self) -> None:
        """Release all locks."""
        for real in tuple(self._held):
            self.leave(real)


class StateLocks:
    """The locks in the state folder, one for each real destination of a group."""

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}

    @property
    def stand(self) -> bool:
        """Whether the files that are locked are still those at their paths."""
        return all(_stands(descriptor, path) for path, descriptor in self._held.items())

    def take(self, path: Path, real: str) -> None:
        """Lock the file that guards a real destination, again if that file was removed.

        Raises StateError when another process, or another group of this one, holds it. On a read-only file system a
        file that is there is locked as it is: ctemplate goes on, and reports what it cannot write when it has to.
        """
        held = self._held.get(path)
        if held is not None and _stands(held, path):
            return
        descriptor, is_writable = _opened_in_state(path)
        try:
            _lock(descriptor, real)
            if is_writable:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._held[path] = descriptor
        if held is not None:
            os.close(held)

    def close(self) -> None:
        """Release all locks; their files stay."""
        while self._held:
            os.close(self._held.popitem()[1])


def _opened_in_state(path: Path) -> tuple[int, bool]:
    """Open a lock's file in the state folder, created where it is missing; return whether it can be written."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), True
    except OSError as exc:
        if exc.errno == errno.EROFS:
            with contextlib.suppress(OSError):
                return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), False
        raise


def _locked(real: Path) -> int:
    """Return the descriptor of the locked file, which still exists at its path."""
    path = lock_beside(real)
    while True:
        descriptor = _opened(path)
        try:
            _lock_if_supported(descriptor, real)
            if _stands(descriptor, path):
                with contextlib.suppress(OSError):  # on a full disk the lock's file does not name us
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Open the lock's file, created where it is missing; one that another user owns is refused."""
    while True:
        try:
            descriptor = os.open(path, FLAGS)
            break
        except FileNotFoundError:
            pass
        except OSError as exc:
            if os.path.lexists(path) and exc.errno != errno.EROFS:
                raise StateError(str(path), f"cannot be used as a lock: {exc.strerror}") from exc
            raise
        try:
            return os.open(path, FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid in {ROOT, os.geteuid()}:
        return descriptor
    os.close(descriptor)
    owner = user_name(status.st_uid)
    raise StateError(
        str(path), f"is no lock of ours, it belongs to user {owner}; remove it if no ctemplate of theirs runs"
    )


def _lock_if_supported(descriptor: int, real: Path) -> None:
    try:
        _lock(descriptor, str(real))
    except OSError as exc:
        if exc.errno not in UNSUPPORTED:
            raise
        emit(LockUnavailable(path=str(real), reason=str(exc.strerror)))


def _lock(descriptor: int, real: str) -> None:
    """Lock the open file that guards a real destination; raise StateError when another process holds it.

    A process that is killed while it starts a command leaves copies of its descriptors in the new process, until that
    runs the command; and one that only asks whether the file is locked holds the lock itself for that long. So a lock
    whose holder has ended, or is not named, is tried again for a moment.
    """
    ends_at = time.monotonic() + START_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            if (holder and not _has_ended(holder)) or time.monotonic() >= ends_at:
                raise StateError(real, f"is held by another ctemplate, pid {holder or 'unknown'}") from None
            time.sleep(START_LOOK)
        else:
            return


def _has_ended(pid: str) -> bool:
    """Return whether no process has this pid; False for what is no pid."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        pass
    return False


def _stands(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
