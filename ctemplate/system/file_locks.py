"""Which processes hold locks on an open file, as the kernel lists them.

Reads only. Knows nothing of the files' purpose.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC_LOCKS = Path("/proc/locks")


def lock_holders(descriptor: int, *, locks: Path = PROC_LOCKS) -> frozenset[int]:
    """Return the pids of the processes that locked an open file with `flock`; none where that is not shown.

    A process in another pid namespace is not shown, and a lock that was inherited has the pid of the one that took it.
    """
    inode = str(os.fstat(descriptor).st_ino)
    found = set()
    try:
        lines = locks.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        words = line.split()
        # https://man7.org/linux/man-pages/man5/proc_locks.5.html: number, kind, strictness, access, pid, device:inode
        if words[1:2] == ["FLOCK"] and words[5:] and words[5].rpartition(":")[2] == inode and words[4].isdecimal():
            found.add(int(words[4]))
    return frozenset(found)
