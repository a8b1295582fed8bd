"""How log records look: one line each on stderr, as text or as JSON; nothing in them can forge another line."""

from __future__ import annotations

import json
import logging
import sys
import time

from ctemplate.cli.excerpt import Excerpts
from ctemplate.cli.progress import TerminalHandler
from ctemplate.errors import printable

LINE_LIMIT = 4000  # characters of one line


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z INFO message``; a program's output follows, each line four spaces in."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        return f"{_stamp(record)} {record.levelname} {_safe(_message(self, record))}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields = {"time": _stamp(record), "level": record.levelname.lower(), "logger": record.name}
        return json.dumps(fields | {"message": _safe(_message(self, record))}, ensure_ascii=False)


def configure(level: str, log_format: str, *, is_daemon: bool = True) -> None:
    """Send ctemplate's log to stderr; what a person waits for at a terminal shows a template's lines as well."""
    handler = TerminalHandler(sys.stderr) if sys.stderr.isatty() else logging.StreamHandler(sys.stderr)
    if not is_daemon and log_format == "text" and sys.stderr.isatty():
        handler.addFilter(Excerpts())
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ctemplate").setLevel(level.upper())


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info is None:
        return record.getMessage()
    trace = formatter.formatException(record.exc_info).replace("\n", "\n    ")
    return f"{record.getMessage()}\n    {trace}"


def _safe(message: str) -> str:
    """Escape what is not printable; only line breaks before four spaces, our indented output, remain."""
    return "\n    ".join(printable(line, LINE_LIMIT) for line in message.split("\n    "))
