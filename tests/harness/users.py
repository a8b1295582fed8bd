"""Acting as a user without rights; works for root only."""

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path


def as_nobody(action: Callable[[], object]) -> str:
    """Return what an action comes to in a process of the user nobody; modules are loaded already."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            nobody = pwd.getpwnam("nobody")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            os.chdir("/")
            os.write(writer, str(action()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def open_to_all(folder: Path) -> None:
    """Let every user list a folder of the test and enter all that hold it."""
    for each in [folder, *folder.parents][:-2]:
        each.chmod(each.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
