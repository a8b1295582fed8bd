"""Determine who could replace a file: owners, modes and links of every step of its path, from the root down.

Reads only, never changes anything. Knows nothing of the paths' purpose.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

from ctemplate.core.values import dataclass

MOST_LINKS = 40  # of one path, as in the kernel
ROOT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStep:
    """The file at one step of a path, and the status of the folder that contains it."""

    path: Path
    status: os.stat_result
    folder: os.stat_result

    @property
    def is_link(self) -> bool:
        """Return whether the step is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def is_ours(self) -> bool:
        """Return whether it belongs to us or to root, which a user namespace may not know by its number."""
        return self.status.st_uid in {ROOT, os.geteuid(), _unmapped()}


def path_steps(path: Path) -> Iterator[PathStep]:
    """Yield each step of an absolute path, including links and their targets; end where nothing exists or is visible.

    Raises OSError, with ELOOP for links that form a loop.
    """
    here, folder = Path("/"), os.lstat("/")
    rest = [*reversed(path.parts[1:])]
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            here = here.parent
            folder = here.lstat()
            continue
        try:
            step = PathStep(path=here / part, status=(here / part).lstat(), folder=folder)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        yield step
        if not step.is_link:
            here, folder = step.path, step.status
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = step.path.readlink()
        if target.is_absolute():
            here, folder = Path("/"), os.lstat("/")
        rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)


@cache
def _unmapped() -> int | None:
    """Return the number used for every owner without a number here; None if all have a number.

    In a user namespace the host's root is such an owner.
    """
    try:
        first, _, count = Path("/proc/self/uid_map").read_text(encoding="ascii").split()[:3]
        is_whole = (first, count) == ("0", str(2**32 - 1))
        return None if is_whole else int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def writers(status: os.stat_result) -> str:
    """Return which users other than its owner may write to a folder, in words; empty if there are none.

    A user's private group, or a group that has no name here, has no other members.
    """
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if status.st_mode & stat.S_IWGRP and (name := _shared_group(status)):
        return f"group {name}"
    return ""


def _shared_group(status: os.stat_result) -> str:
    """Return the name of a folder's group, empty if its only members are the folder's owner and we."""
    try:
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return ""
    own = {user_name(status.st_uid), user_name(os.geteuid())}
    return "" if group.gr_name in own and own.issuperset(group.gr_mem) else group.gr_name


def user_name(uid: int) -> str:
    """Return a user's name, or the number of a user without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def weakness(path: Path) -> tuple[Path, str] | None:
    """Return where and why other users could replace the file at a path of ours, None if they cannot.

    In a sticky folder other users cannot touch our files; there the owner of the next step matters.
    """
    for step in path_steps(path):
        if not step.is_ours:
            return step.path, f"belongs to user {user_name(step.status.st_uid)}"
        is_sticky = step.status.st_mode & stat.S_ISVTX
        if not step.is_link and not is_sticky and (who := writers(step.status)):
            return step.path, f"is writable by {who}"
    return None


def check_links(path: Path) -> None:
    """Raise OSError for a link on the way that another user put into a folder that others may write to.

    This is the kernel's rule for sticky folders (fs.protected_symlinks), applied to all such folders, without following
    the links.
    """
    for step in path_steps(path):
        is_owners = step.status.st_uid == step.folder.st_uid
        if step.is_link and not step.is_ours and not is_owners and (who := writers(step.folder)):
            whose = f"link of user {user_name(step.status.st_uid)} in a folder that is writable by {who}"
            raise OSError(errno.EPERM, f"{whose}; it is not followed", str(step.path))


def open_private(path: Path) -> BinaryIO:
    """Open for reading a regular file that only we, root or the owner of its folder could have written.

    Whoever keeps files in a folder checks that it is ours; others, such as root's `plan`, may read what another user
    keeps. Raises OSError with a sentence for any other file, without waiting as a pipe would require.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ELOOP and path.is_symlink():
            raise OSError(errno.ELOOP, "is a link", str(path)) from exc
        raise
    file = os.fdopen(descriptor, "rb")
    try:
        _check_private(path, os.fstat(descriptor))
    except BaseException:
        file.close()
        raise
    return file


def read_private(path: Path) -> bytes:
    """Return the content of a private file; raises OSError as `open_private` does."""
    with open_private(path) as file:
        return file.read()


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if status.st_uid not in {ROOT, os.geteuid(), path.parent.stat().st_uid}:
        raise OSError(errno.EPERM, f"belongs to user {user_name(status.st_uid)}", str(path))
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OSError(errno.EPERM, f"others may write it (mode {stat.S_IMODE(status.st_mode):04o})", str(path))
