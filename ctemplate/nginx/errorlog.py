"""Read what one master wrote to its error logs after a moment, across rotation.

Must not know what a reload is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import field
from pathlib import Path

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.nginx.verdict import REFUSING, NginxMessage, messages

READ_BYTES = 4 * 2**20
"""How much of a log is read at a time: the event loop waits meanwhile."""

MAX_LINES = 1000
"""How many lines of one process are kept."""

_LINE = lazy_pattern(rb"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[([a-z]+)\] (\d+)#\d+: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOffset:
    """A position in a log: the file at its path, and how much of it counts as read."""

    device: int
    inode: int
    size: int


@dataclass(slots=True, kw_only=True)
class LogTail:
    """What one process writes to one log after a moment, read as it grows, each byte once.

    A log that is a different file by now, or shorter, was rotated: it is read from its start. So is one that did not
    exist.
    """

    log: Path
    pid: int
    offset: LogOffset
    _lines: list[str] = field(default_factory=list, init=False)
    _is_ours: bool = field(default=False, init=False)

    def read(self) -> bool:
        """Read on, at most ``READ_BYTES``; return whether the end was reached, or nothing can be read."""
        try:
            with self.log.open("rb") as file:
                now = os.fstat(file.fileno())
                known = self.offset
                is_same = (now.st_dev, now.st_ino) == (known.device, known.inode) and now.st_size >= known.size
                start = known.size if is_same else 0
                file.seek(start)
                text = file.read(READ_BYTES)
        except OSError:
            return True
        complete = len(text) if len(text) == READ_BYTES and b"\n" not in text else text.rfind(b"\n") + 1
        self.offset = LogOffset(device=now.st_dev, inode=now.st_ino, size=start + complete)
        self._take(text[:complete])
        return len(text) < READ_BYTES

    def _take(self, text: bytes) -> None:
        """Keep the refusing lines of the process; lines without a header belong to the previous one."""
        for line in text.splitlines():
            head = _LINE.match(line)
            self._is_ours = int(head[2]) == self.pid and head[1].decode() in REFUSING if head else self._is_ours
            if self._is_ours and len(self._lines) < MAX_LINES:
                self._lines.append(line.decode(errors="replace"))

    @property
    def messages(self) -> Iterable[NginxMessage]:
        """The refusing messages so far."""
        return messages(self._lines)


def log_tails(logs: Iterable[Path], pid: int) -> tuple[LogTail, ...]:
    """Return the tails of logs from their current ends on; what is no file is left out."""
    marks = ((log, _mark(log)) for log in logs)
    return tuple(LogTail(log=log, pid=pid, offset=mark) for log, mark in marks if mark is not None)


def _mark(log: Path) -> LogOffset | None:
    try:
        found = log.stat()
    except OSError:
        return LogOffset(device=0, inode=0, size=0)
    if not stat.S_ISREG(found.st_mode):
        return None
    return LogOffset(device=found.st_dev, inode=found.st_ino, size=found.st_size)


def read_on(tails: Iterable[LogTail]) -> tuple[tuple[NginxMessage, ...], bool]:
    """Return the refusing messages so far, without duplicates, and whether all tails were read to their ends."""
    ends = [tail.read() for tail in tails]
    return tuple(dict.fromkeys(message for tail in tails for message in tail.messages)), all(ends)
