"""Locks beside destinations: one process at a time writes a file, whatever state folder it has.

The lock is an flock on a hidden file in the destination's real folder, so that it is shared by whoever can reach that
folder, in other containers as well, and so that nothing is held by a process that was killed. It is removed on leaving;
one that was left behind is taken over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
from pathlib import Path

from ctemplate.core.errors import StateError
from ctemplate.system.files import hidden_name
from ctemplate.system.ownership import ROOT, user_name

logger = logging.getLogger(__name__)

FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})  # a file system without flock


def lock_beside(real: Path) -> Path:
    """Return the file beside a real destination whose lock guards it."""
    return real.with_name(hidden_name(real, ".ctemplate-lock"))


class DestinationLocks:
    """The locks of one group's destinations."""

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}

    def take(self, real: Path) -> None:
        """Lock a real destination, unless it is locked by us already; again where the lock's file is gone.

        Raises StateError when another process holds it or somebody else could let go of the lock, and OSError where the
        lock cannot be made: in a folder that is missing, read-only or full, where no candidate could be made either.
        """
        held = self._held.get(real)
        if held is not None and _stands(held, lock_beside(real)):
            return
        self._held[real] = _locked(real)
        if held is not None:
            os.close(held)  # its file was removed with its folder, or by somebody

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
        """Let go of all."""
        for real in tuple(self._held):
            self.leave(real)


def _locked(real: Path) -> int:
    """Return the descriptor of the locked file; it stands at its path, and not one that was removed meanwhile."""
    path = lock_beside(real)
    while True:
        descriptor = _opened(path)
        try:
            _lock(descriptor, real)
            if _stands(descriptor, path):
                with contextlib.suppress(OSError):  # a full disk: then others are not told who we are
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Open the lock's file, made where it is missing; one that is somebody else's is no lock."""
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


def _lock(descriptor: int, real: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        raise StateError(str(real), f"is held by another ctemplate, pid {holder or 'unknown'}") from None
    except OSError as exc:
        if exc.errno not in UNSUPPORTED:
            raise
        logger.warning("%s: no lock can be had: %s; a second ctemplate would not be noticed", real, exc.strerror)


def _stands(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
