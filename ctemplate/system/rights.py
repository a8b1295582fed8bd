"""The capabilities of this process, which are parts of root's rights, as the kernel reports them.

https://man7.org/linux/man-pages/man7/capabilities.7.html
"""

from __future__ import annotations

import enum
import os
import re
from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.system.ownership import user_name

STATUS = Path("/proc/self/status")
_EFFECTIVE = lazy_pattern(r"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)


class Capability(enum.IntEnum):
    """The rights of root's that matter here, by the kernel's numbers."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    KILL = 5
    NET_BIND_SERVICE = 10


RIGHTS_OF_NGINX = frozenset({Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.NET_BIND_SERVICE})
"""What nginx's master uses of root's rights as it reads its configuration."""


def has_capability(capability: Capability) -> bool:
    """Return whether this process has a capability; if the kernel does not say, only root has them, and all."""
    try:
        found = _EFFECTIVE.search(STATUS.read_text())
    except OSError:
        found = None
    return os.geteuid() == 0 if found is None else bool(int(found[1], 16) >> capability & 1)


def has_rights_of_nginx() -> bool:
    """Return whether an action that is forbidden to us is also forbidden to a master that root starts."""
    return os.geteuid() == 0 and all(has_capability(each) for each in RIGHTS_OF_NGINX)


def may_give_to(uid: int, gid: int) -> bool:
    """Return whether we may change the owner and group of our files to these."""
    is_ours = uid == os.geteuid() and gid in {os.getegid(), *os.getgroups()}
    return is_ours or has_capability(Capability.CHOWN)


def foreign_owner(uid: int, gid: int, *, is_kept: bool) -> str:
    """Return why a file cannot be given to an owner, empty if it can; ``is_kept``: the file is theirs already."""
    if may_give_to(uid, gid):
        return ""
    owner = f"user {user_name(uid)}" if uid != os.geteuid() else f"group {gid}"
    return f"{'belongs' if is_kept else 'is to belong'} to {owner}, and only root may change the owner of a file"
