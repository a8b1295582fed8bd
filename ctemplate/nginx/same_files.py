"""Whether a process sees the same files as we do: one in another mount namespace, or with another root, may not.

Must not know nginx.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern

TRIES = 3  # a file may be replaced between two looks at it
_CONTAINER = lazy_pattern(r"docker|containerd|libpod|crio|kubepods|buildkit|lxc|machine\.slice|nspawn")


def differing_view(pid: int, files: Iterable[Path], *, proc: Path) -> str:
    """Return how a process's view of these files differs from ours, as a predicate; empty if it does not.

    Where we may not look, only a process in another container differs; /proc shows that to every user.
    """
    there = proc / str(pid)
    try:
        if _view(there) == _view(proc / "self"):
            return ""
        differing = next((path for path in files if not _is_same(path, there / "root")), None)
    except PermissionError:
        container = _container(there)
        is_ours = not container or container == _container(proc / "self")
        return "" if is_ours else "runs in another container, whose files cannot be compared"
    except OSError:
        return ""
    return "" if differing is None else f"sees another file at {differing}: it runs in another mount namespace or root"


def _view(process: Path) -> tuple[Path, Path]:
    return (process / "ns" / "mnt").readlink(), (process / "root").readlink()


def _is_same(path: Path, root: Path) -> bool:
    """Whether a path leads to one file from both; of a file that does not exist, its folder decides."""
    here = Path(os.path.realpath(path))
    for _ in range(TRIES):
        mine, theirs = _identity(here), _identity(root / here.relative_to("/"))
        if mine == theirs:
            return mine is not None or here == here.parent or _is_same(here.parent, root)
    return False


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _container(process: Path) -> str:
    """Return the control group of a process in a container, empty for any other process."""
    try:
        found = (process / "cgroup").read_text(errors="replace")
    except OSError:
        return ""
    return found if _CONTAINER.search(found) else ""
