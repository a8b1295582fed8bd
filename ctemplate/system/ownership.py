"""Who could put something else at a path: owners, modes and links of all that leads there, from the root down.

Looks, never changes anything. Knows nothing of what the paths are for.
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

from ctemplate.core.values import dataclass

MOST_LINKS = 40  # of one path, as in the kernel
ROOT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStep:
    """What stands at one step of a path, and the status of the folder that it stands in."""

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
    """Yield each step of an absolute path, links and what they lead to; end where nothing stands or can be seen.

    Raises OSError, with ELOOP for links that lead to each other.
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
    """Return the number that stands for every owner without a number here; None where all have one.

    In a user namespace the root of the host is such an owner.
    """
    try:
        first, _, count = Path("/proc/self/uid_map").read_text(encoding="ascii").split()[:3]
        is_whole = (first, count) == ("0", str(2**32 - 1))
        return None if is_whole else int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def writers(status: os.stat_result) -> str:
    """Return who but its owner may write into a folder, in words; nothing when nobody may.

    A group that is one user's own, or that has no name here, has no other members.
    """
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if status.st_mode & stat.S_IWGRP and (name := _shared_group(status)):
        return f"group {name}"
    return ""


def _shared_group(status: os.stat_result) -> str:
    """Return the name of a folder's group, nothing when it has nobody in it but the folder's owner or us."""
    try:
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return ""
    own = {user_name(status.st_uid), user_name(os.geteuid())}
    return "" if group.gr_name in own and own.issuperset(group.gr_mem) else group.gr_name


def user_name(uid: int) -> str:
    """Return the name of a user, the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def weakness(path: Path) -> tuple[Path, str] | None:
    """Return where and why others could put something else in place of a path of ours, None where nobody could.

    In a sticky folder they cannot touch what belongs to us; so there it is the next step's owner that counts.
    """
    for step in path_steps(path):
        if not step.is_ours:
            return step.path, f"belongs to user {user_name(step.status.st_uid)}"
        is_sticky = step.status.st_mode & stat.S_ISVTX
        if not step.is_link and not is_sticky and (who := writers(step.status)):
            return step.path, f"is writable by {who}"
    return None


def check_links(path: Path) -> None:
    """Raise OSError for a link on the way that somebody put into a folder which others than its owner may write.

    The kernel's rule for sticky folders (fs.protected_symlinks), for all folders of that kind, and without following.
    """
    for step in path_steps(path):
        is_owners = step.status.st_uid == step.folder.st_uid
        if step.is_link and not step.is_ours and not is_owners and (who := writers(step.folder)):
            whose = f"link of user {user_name(step.status.st_uid)} in a folder that is writable by {who}"
            raise OSError(errno.EPERM, f"{whose}; it is not followed", str(step.path))


def check_private(path: Path, status: os.stat_result) -> None:
    """Raise OSError unless the status is that of a regular file which nobody but us or root could have written."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if status.st_uid not in {ROOT, os.geteuid()}:
        raise OSError(errno.EPERM, f"belongs to user {user_name(status.st_uid)}", str(path))
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OSError(errno.EPERM, f"others may write it (mode {stat.S_IMODE(status.st_mode):04o})", str(path))
