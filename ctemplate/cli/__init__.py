"""The command line: one file for each verb. The only package that prints or exits.

Every verb loads what this module imports, and so do ``-help`` and ``-version``.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from pathlib import Path

import click

from ctemplate.cli.arguments import arranged
from ctemplate.cli.excerpt import illustrate
from ctemplate.cli.log_writer import open_closed_streams, say
from ctemplate.cli.program import cli
from ctemplate.core.early_signals import ignore_late_signals
from ctemplate.core.errors import ConfigError, CtemplateError, SourceTimeout, StateError, TemplateError
from ctemplate.core.lazy_pattern import lazy_pattern

USAGE_STATUS = 2
FAILED_STATUS = 1
NO_ANSWER_STATUS = 3
INTERRUPTED_STATUS = 130
COLLECTED_AFTER = 5000
"""New objects until the collector looks for garbage: few of a start are garbage, but many of a reload."""
UNPRINTABLE = frozenset(
    {errno.EBADF, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EPIPE}
)  # the errors with which a write to stdout may fail
STATUSES = {
    SourceTimeout: NO_ANSWER_STATUS,
    ConfigError: USAGE_STATUS,
    TemplateError: USAGE_STATUS,
    StateError: USAGE_STATUS,
    CtemplateError: FAILED_STATUS,
}
_ADVISED = lazy_pattern(r"\?$|^no such (option|command) [^;]*: ")


def main() -> None:
    """Run the command line and exit with its status; every error is reported here, in one line."""
    gc.freeze()  # what is imported stays: the collector need not look through it, not even at the end
    gc.set_threshold(COLLECTED_AFTER)
    gc.enable()
    open_closed_streams()
    status = _exit_status()
    ignore_late_signals()
    sys.exit(status)


def _exit_status() -> int:
    try:
        result = cli.main(arranged(sys.argv[1:], cli), prog_name="ctemplate", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return USAGE_STATUS
    except click.ClickException as exc:
        say(f"ctemplate: {_usage_error(exc)}")
        return USAGE_STATUS
    except CtemplateError as exc:
        if isinstance(exc, TemplateError) and sys.stderr.isatty():
            illustrate(exc)
        say(str(exc))
        return next(status for kind, status in STATUSES.items() if isinstance(exc, kind))
    except OSError as exc:
        return _system_error(exc)
    except (KeyboardInterrupt, click.Abort):
        say("ctemplate: interrupted")
        return INTERRUPTED_STATUS
    return result if isinstance(result, int) else 0


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _system_error(error: OSError) -> int:
    """Return the status for a current folder that was removed, or a failed write to stdout; raise any other error."""
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        say("ctemplate: the current folder does not exist any more; change to another one")
        return USAGE_STATUS
    if error.filename is not None or error.errno not in UNPRINTABLE:
        raise error
    if error.errno != errno.EPIPE:
        say(f"standard output: cannot be written: {(error.strerror or str(error)).lower()}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes the rest of stdout at exit
    return FAILED_STATUS


def _usage_error(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    said = message[:1].lower() + message[1:]
    return said if _ADVISED.search(said) else f"{said}; see ctemplate -help"
