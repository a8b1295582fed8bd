"""The log's targets beside stderr: syslog, and a file that is reopened after a rotation.

Each target has its own writer thread behind a bounded queue, so that a slow disk or syslog never delays the work. Lines
that do not fit into the queue are counted, and the count is written as soon as there is room. Knows nothing of what
lines say.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import threading
from io import TextIOWrapper
from logging.handlers import QueueHandler, QueueListener, SysLogHandler, WatchedFileHandler
from pathlib import Path
from typing import cast

from ctemplate.core.errors import ConfigError

QUEUED_RECORDS = 10_000
SYSLOG_SOCKET = "/dev/log"
LAST_SECONDS = 3.0  # at the end of the process, to write what is queued


class LogFile(WatchedFileHandler):
    """A file that lines are appended to. When logrotate renames or removes it, the next line reopens it."""

    def __init__(self, path: str) -> None:
        self._has_failed = False
        try:
            super().__init__(path, encoding="utf-8", errors="backslashreplace")
        except OSError as exc:
            reason = "nothing reads this pipe" if exc.errno == errno.ENXIO else (exc.strerror or str(exc)).lower()
            raise ConfigError("log_file", f"{path}: cannot be opened: {reason}") from exc

    def _open(self) -> TextIOWrapper:
        """Open the file without waiting: a pipe has to have a reader."""
        stream = open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=_opened_at_once)  # noqa: SIM115
        return cast("TextIOWrapper", stream)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's signature
        """Report once on stderr that lines are lost; a lost line is not retried, but each later line is attempted."""
        if not self._has_failed:
            self._has_failed = True
            logging.getLogger("ctemplate").warning("%s: the log cannot be written there", self.baseFilename)


def _opened_at_once(path: str, flags: int) -> int:
    """Open a file for appending; raises OSError for a pipe without a reader. Its writes wait as usual."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    os.set_blocking(descriptor, True)
    return descriptor


class Syslog(SysLogHandler):
    """The machine's syslog, with a priority for each level; reconnects after syslog was restarted."""

    def __init__(self, *, facility: str, name: str) -> None:
        if facility.lower() not in SysLogHandler.facility_names:
            known = ", ".join(sorted(SysLogHandler.facility_names))
            raise ConfigError("syslog_facility", f"must be one of {known}, got {facility!r}")
        if not Path(SYSLOG_SOCKET).is_socket():
            raise ConfigError("syslog", f"no syslog listens at {SYSLOG_SOCKET}")
        super().__init__(address=SYSLOG_SOCKET, facility=SysLogHandler.facility_names[facility.lower()])
        self.ident = f"{name}: "
        self.append_nul = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop a line that syslog does not accept; stderr has it too."""


class TargetWriter(QueueListener):
    """The thread that writes; ``stop`` waits for its end for a bounded time."""

    def __init__(self, records: queue.Queue[logging.LogRecord | None], *targets: logging.Handler) -> None:
        super().__init__(records, *targets)
        self._records = records

    def enqueue_sentinel(self) -> None:
        """Ask the thread to end after the queued lines; if the queue stays full, do nothing."""
        with contextlib.suppress(queue.Full):
            self._records.put(None, timeout=LAST_SECONDS)

    def stop(self) -> None:
        """End the thread; a thread that hangs in a write is abandoned."""
        self.enqueue_sentinel()
        thread: threading.Thread | None = self._thread
        if thread is not None:
            thread.join(LAST_SECONDS)


class TargetQueue(QueueHandler):
    """Puts records into the queue of the writer thread; never waits."""

    def __init__(self, *targets: logging.Handler) -> None:
        records: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUED_RECORDS)
        super().__init__(records)
        self._targets = targets
        self._missed = 0
        self._writer: TargetWriter | None = TargetWriter(records, *targets)
        self._writer.start()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record unchanged: the formatter in the other thread needs its event."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put the record into the queue; if the queue is full, count the record as lost."""
        try:
            if self._missed:
                self.queue.put_nowait(_loss(self._missed))
                self._missed = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._missed += 1

    def close(self) -> None:
        """Write the queued lines and end the thread."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.stop()
            for target in self._targets:
                target.close()
        super().close()


def _loss(count: int) -> logging.LogRecord:
    message = f"{count} line{'s' if count > 1 else ''} of the log found no room"
    given = {"name": __name__, "levelname": "WARNING", "levelno": logging.WARNING, "msg": message}
    return logging.makeLogRecord(given)


def log_targets(
    formatter: logging.Formatter, *, file: str = "", syslog: str = "", name: str = "ctemplate"
) -> TargetQueue:
    """Return the handler of a file, of syslog with the given facility, or of both; raises ConfigError."""
    targets: list[logging.Handler] = []
    if file:
        targets.append(LogFile(file))
        targets[-1].setFormatter(formatter)
    if syslog:
        targets.append(Syslog(facility=syslog, name=name))
        targets[-1].setFormatter(formatter)
    return TargetQueue(*targets)
