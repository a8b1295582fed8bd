"""Write the log without ever waiting for its reader: a bounded queue, and one thread that writes.

Only the thread may block: on a pipe that no process reads, or on a terminal whose output is paused. Lines that do not
fit into the queue or cannot be written are counted; the count is written as soon as the stream accepts data again.
Knows nothing of what lines say.
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

LIMIT_CHARACTERS = 4 * 1024 * 1024  # waiting to be written, at most
CHUNK_LINES = 100
PIPE_ROOM_BYTES = select.PIPE_BUF  # what a pipe accepts at once when it accepts anything
AGAIN_SECONDS = 1.0  # until the next attempt on a stream that accepted nothing
FLUSH_SECONDS = 3.0  # at the end of the process, counted from the last successful write


class LogWriter:
    """A queue of lines for one stream, and the thread that writes them in order.

    ``lost`` makes the line that reports how many lines were not written. The thread waits for the stream and for
    ``close`` at the same time, so that it ends promptly even if no reader accepts anything.
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
        """Queue a line with its line break; count it as lost if the queue is full. Never waits for the stream."""
        with self._changed:
            if self._is_closed or self._size + len(line) > LIMIT_CHARACTERS:
                self._missed += 1
                return
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify_all()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until everything is written or no write succeeded for ``seconds``; do not wait for a stuck stream."""
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
        """Take some lines from the queue; if lines were lost behind them, append the line that reports the loss."""
        lines = [self._lines.popleft() for _ in range(min(CHUNK_LINES, len(self._lines)))]
        self._size -= sum(map(len, lines))
        if self._lines or not self._missed:
            return lines, 0
        missed, self._missed = self._missed, 0
        return [*lines, self.lost(missed)], missed

    def _write(self, text: str) -> bool:
        """Write the text, however long it takes; return False if there is no reader or the writer was closed."""
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
        """Wait until the stream accepts data; return False if the writer is closed first."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.register(self._closing, select.POLLIN)
        return descriptor in dict(poll.poll())


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


_current: list[tuple[TextIO, LogWriter]] = []  # at most one: a process has one stderr


def log_writer(stream: TextIO) -> LogWriter:
    """Return the writer of a stream. All output goes through it, so that lines keep their order.

    The writer of the previous stream is closed.
    """
    if not _current or _current[0][0] is not stream:
        for _, writer in _current:
            writer.close()
        _current[:] = [(stream, LogWriter(stream))]
    return _current[0][1]


def say(text: str) -> None:
    """Write a line to stderr after the queued log lines, and wait for it for a bounded time."""
    writer = log_writer(sys.stderr)
    writer.put(f"{text}\n")
    writer.flush()


def open_closed_streams() -> None:
    """Open ``/dev/null`` for each closed standard stream, so that no file of ours gets its number.

    Printing to a closed stdout then fails instead of being lost silently; log lines for a closed stderr are lost.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
