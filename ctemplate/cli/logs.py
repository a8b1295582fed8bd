"""The format of log records: one line each on stderr, as text or as JSON; no content can forge another line."""

from __future__ import annotations

import json
import logging
import os
import pkgutil
import sys
import time
from collections.abc import Mapping
from typing import TextIO

import msgspec

from ctemplate.cli.excerpt import illustrate
from ctemplate.cli.log_writer import LogWriter, log_writer
from ctemplate.cli.progress import CLEAR
from ctemplate.config.schema import Config
from ctemplate.core.errors import TemplateError, printable
from ctemplate.core.event_stream import Event
from ctemplate.core.group_events import RenderFailed

LINE_LIMIT = 4000  # characters of one line
PRIORITIES = ((logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"))


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z INFO message``; a program's output follows, each line four spaces in."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        return f"{_stamp(record)} {record.levelname} {_safe(_message(self, record))}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``; of an event also its name and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields: dict[str, object] = {"time": _stamp(record), "level": record.levelname.lower(), "logger": record.name}
        fields |= {"message": _safe(_message(self, record))}
        if isinstance(event := getattr(record, "event", None), Event):
            fields |= {"event": event.name, "fields": msgspec.to_builtins(msgspec.structs.asdict(event))}
        return json.dumps(fields, ensure_ascii=False)


class JournalFormatter(logging.Formatter):
    """Puts a priority before each line, as the journal expects: ``<3>`` is an error, ``<6>`` information."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines with their priority."""
        priority = next((digit for level, digit in PRIORITIES if record.levelno >= level), "<7>")
        return "\n".join(priority + line for line in self._inner.format(record).split("\n"))


def is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Return whether a stream is the journal's; systemd passes its device and inode in the environment."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class QueuedHandler(logging.Handler):
    """Puts log lines into the writer's queue; overwrites the progress line of a terminal.

    With ``waits`` each line is written before the work continues, as long as a reader accepts it, so that it is
    before what the command prints.
    """

    def __init__(self, writer: LogWriter, *, waits: bool, prefix: str = "") -> None:
        super().__init__()
        self._writer = writer
        self._waits = waits
        self._prefix = prefix
        writer.lost = self._lost

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line."""
        try:
            self._writer.put(f"{self._prefix}{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - as every handler does with a record that cannot be formatted
            self.handleError(record)
        if self._waits:
            self.flush()

    def flush(self) -> None:
        """Wait for a bounded time until the queued lines are written; logging calls this at the end of the process."""
        self._writer.flush()

    def _lost(self, count: int) -> str:
        message = f"stderr: {count} line{'s' if count > 1 else ''} of the log could not be written"
        given = {"name": __name__, "levelname": "WARNING", "levelno": logging.WARNING, "msg": message}
        return f"{self._prefix}{self.format(logging.makeLogRecord(given))}\n"


class Excerpts(logging.Filter):
    """Adds the lines around the place to logged template errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            if isinstance(argument, TemplateError):
                illustrate(argument)
        record.args = tuple(_illustrated(each) if isinstance(each, RenderFailed) else each for each in arguments)
        return True


def _illustrated(event: RenderFailed) -> RenderFailed:
    """Return the event with the template's lines below its message."""
    error = TemplateError(event.where, event.what, output=event.output)
    illustrate(error)
    return msgspec.structs.replace(event, output=error.output)


def configure(config: Config, *, is_daemon: bool = True) -> None:
    """Send ctemplate's log to stderr and to the other targets of the configuration; raises ConfigError.

    For a command that a person runs at a terminal, template errors include the template's lines.
    """
    handler = QueuedHandler(log_writer(sys.stderr), waits=not is_daemon, prefix=CLEAR if sys.stderr.isatty() else "")
    if not is_daemon and config.log_format == "text" and sys.stderr.isatty():
        handler.addFilter(Excerpts())
    plain = JsonFormatter() if config.log_format == "json" else TextFormatter()
    handler.setFormatter(JournalFormatter(plain) if is_journal(os.environ, sys.stderr) else plain)
    handlers: list[logging.Handler] = [handler]
    if config.log_file or config.syslog:
        facility = config.syslog_facility if config.syslog else ""
        targets = pkgutil.resolve_name("ctemplate.cli.log_targets:log_targets")
        handlers.append(targets(plain, file=config.log_file or "", syslog=facility, name=config.syslog_name))
    root = logging.getLogger()
    for old in root.handlers:
        old.close()
    root.handlers[:] = handlers
    root.setLevel(logging.WARNING)
    logging.getLogger("ctemplate").setLevel(config.log_level.upper())


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info is None:
        return record.getMessage()
    trace = formatter.formatException(record.exc_info).replace("\n", "\n    ")
    return f"{record.getMessage()}\n    {trace}"


def _safe(message: str) -> str:
    """Escape unprintable characters; keep only line breaks followed by four spaces, which are our indented output."""
    return "\n    ".join(printable(line, LINE_LIMIT) for line in message.split("\n    "))
