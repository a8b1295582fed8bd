"""Write the log without ever waiting for who reads it: a bounded queue, and one thread that writes.

The thread alone may block, on a pipe that nobody reads or a terminal that is held. What finds no room in the queue, or
cannot be written, is counted; the count is written as soon as something can be. Knows nothing of what lines say.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TextIO

LIMIT_CHARACTERS = 4 * 1024 * 1024  # waiting to be written
CHUNK_LINES = 100
PIPE_ROOM_BYTES = select.PIPE_BUF  # that a pipe takes at once as soon as it takes anything
AGAIN_SECONDS = 1.0  # until something is written again to a stream that took nothing
FLUSH_SECONDS = 3.0  # at the end, since something could be written last


class LogWriter:
    """A queue of lines for one stream, and the thread that writes them in order.

    ``lost`` makes the line that tells how many were not written. The thread waits for the stream and for ``close`` at
    the same time, so that it ends promptly also where no reader takes anything.
    """

    def __init__(self, stream: TextIO, lost: Callable[[int], str] = lambda count: f"{count} lines were lost\n") -> None:
        self.lost = lost
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._lines: deque[str] = deque()
        self._size = 0
        self._missed = 0
        self._is_busy = False
        self._is_stuck = False
        self._is_closed = False
        self._written = 0
        self._changed = threading.Condition()
        self._closing = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Queue a line, with its line break; count it as lost where there is no room. Never waits for the stream."""
        with self._changed:
            if self._is_closed or self._size + len(line) > LIMIT_CHARACTERS:
                self._missed += 1
                return
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify_all()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until all is written, or nothing could be for so many seconds; not at all where that is so already."""
        with self._changed:
            while not self._is_stuck and (self._lines or self._is_busy):
                written = self._written
                has_moved = partial(self._has_moved, written)
                self._is_stuck = not self._changed.wait_for(has_moved, seconds) or self._is_stuck

    def close(self) -> None:
        """Write what can be written without waiting, and end the thread; later lines are dropped."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
        os.eventfd_write(self._closing, 1)
        self._thread.join()
        os.close(self._closing)

    def _has_moved(self, written: int) -> bool:
        return self._is_stuck or self._written != written

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._missed or self._is_closed)
                if self._is_closed and (self._is_stuck or not (self._lines or self._missed)):
                    return
                lines, missed = self._take()
                self._is_busy = True
            is_written = self._write("".join(lines))
            with self._changed:
                if is_written:
                    self._written += 1
                else:
                    self._missed += missed + len(lines) - bool(missed)
                self._is_stuck = not is_written
                self._is_busy = False
                self._changed.notify_all()
                if not is_written:
                    self._changed.wait_for(lambda: self._is_closed, AGAIN_SECONDS)

    def _take(self) -> tuple[list[str], int]:
        """Take some lines from the queue; behind the last before a loss the line that tells of it, and its count."""
        lines = [self._lines.popleft() for _ in range(min(CHUNK_LINES, len(self._lines)))]
        self._size -= sum(map(len, lines))
        if self._lines or not self._missed:
            return lines, 0
        missed, self._missed = self._missed, 0
        return [*lines, self.lost(missed)], missed

    def _write(self, text: str) -> bool:
        """Write the text, however long that takes; return False where that fails: no reader, or closed meanwhile."""
        if self._descriptor is None:
            with contextlib.suppress(ValueError, OSError):
                self._stream.write(text)
                self._stream.flush()
                return True
            return False
        rest = memoryview(text.encode(errors="backslashreplace"))
        while rest and self._has_room(self._descriptor):
            try:
                rest = rest[os.write(self._descriptor, rest[:PIPE_ROOM_BYTES]) :]
            except BlockingIOError:  # another process made the shared terminal or pipe non-blocking and filled it
                continue
            except OSError:
                return False
        return not rest

    def _has_room(self, descriptor: int) -> bool:
        """Wait until the stream takes something; return False where the writer is closed before."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.register(self._closing, select.POLLIN)
        return descriptor in dict(poll.poll())


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


_current: list[tuple[TextIO, LogWriter]] = []  # one at most: a process has one stderr


def log_writer(stream: TextIO) -> LogWriter:
    """Return the writer of a stream: the only way to it, so that what is written keeps its order.

    The writer of the stream before is closed.
    """
    if not _current or _current[0][0] is not stream:
        for _, writer in _current:
            writer.close()
        _current[:] = [(stream, LogWriter(stream))]
    return _current[0][1]


def say(text: str) -> None:
    """Write a line to stderr after what was logged, and wait for it, though not for ever."""
    writer = log_writer(sys.stderr)
    writer.put(f"{text}\n")
    writer.flush()


def open_closed_streams() -> None:
    """Put ``/dev/null`` where a standard stream is closed, so that no file of ours gets its number.

    What is printed to a closed stdout fails, and is not lost in silence; what is logged to a closed stderr is lost.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
