"""Read what one master wrote to its error logs after a moment, across rotation.

Must not know what a reload is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.nginx.verdict import REFUSING, NginxMessage, messages

LOG_LIMIT_BYTES = 4 * 2**20
_LINE = lazy_pattern(rb"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[([a-z]+)\] (\d+)#\d+: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOffset:
    """A position in a log: the file at its path, and its length then."""

    device: int
    inode: int
    size: int


def log_offset(logs: Iterable[Path]) -> Mapping[Path, LogOffset]:
    """Mark the current end of each log; one that does not exist yet will be read from its start."""
    return {log: found for log in logs if (found := _mark(log))}


def _mark(log: Path) -> LogOffset | None:
    try:
        found = log.stat()
    except OSError:
        return LogOffset(device=0, inode=0, size=0)
    if not stat.S_ISREG(found.st_mode):
        return None
    return LogOffset(device=found.st_dev, inode=found.st_ino, size=found.st_size)


def written_since(marks: Mapping[Path, LogOffset], pid: int) -> tuple[NginxMessage, ...]:
    """Return the refusing messages that a process wrote after the marks, without duplicates, in the order of each log.

    A log that is a different file by now, or shorter, was rotated: it is read from its start.
    """
    found = [message for log, since in marks.items() for message in _refusing(_tail(log, since), pid)]
    return tuple(dict.fromkeys(found))


def _tail(log: Path, since: LogOffset) -> bytes:
    try:
        with log.open("rb") as file:
            now = os.fstat(file.fileno())
            same = (now.st_dev, now.st_ino) == (since.device, since.inode) and now.st_size >= since.size
            file.seek(since.size if same else 0)
            return file.read(LOG_LIMIT_BYTES)
    except OSError:
        return b""


def _refusing(text: bytes, pid: int) -> Iterable[NginxMessage]:
    """Yield the messages of one process; lines without a header belong to the previous message."""
    lines: list[str] = []
    is_ours = False
    for line in text.splitlines():
        head = _LINE.match(line)
        is_ours = int(head[2]) == pid and head[1].decode() in REFUSING if head else is_ours
        if is_ours:
            lines.append(line.decode(errors="replace"))
    return messages(lines)
