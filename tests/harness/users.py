"""Run code as a user without special rights; works for root only."""

import concurrent.futures.thread  # noqa: F401 - loaded late by asyncio, from a folder that nobody may enter
import ctypes
import os
import pwd
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

CAP_KILL = 5
_PR_SET_KEEPCAPS, _CAPABILITY_VERSION_3 = 8, 0x20080522


def as_nobody(action: Callable[[], object], *, capabilities: Sequence[int] = ()) -> str:
    """Return what an action comes to in a process of the user nobody; modules are loaded already.

    The process keeps these capabilities of root's; what it starts has none.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            nobody = pwd.getpwnam("nobody")
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            _keep(libc, capabilities)
            os.chdir("/")
            os.write(writer, str(action()).encode())
        except BaseException as error:
            os.write(writer, f"{error!r}".encode())
            raise
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def _keep(libc: ctypes.CDLL, capabilities: Sequence[int]) -> None:
    """Drop all capabilities but these: https://man7.org/linux/man-pages/man2/capset.2.html."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    mask = sum(1 << number for number in capabilities)
    data = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
    assert libc.capset(header, data) == 0, ctypes.get_errno()


def open_to_all(folder: Path) -> None:
    """Let every user list a folder of the test and enter all that hold it."""
    for each in [folder, *folder.parents][:-2]:
        each.chmod(each.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
