"""The error tree: facts as attributes, the sentence in ``__str__``.

::

    CtemplateError
    ├── ConfigError           the operator's input cannot be used (exit code 2)
    ├── SourceError           a source failed or answered wrongly
    │   └── SourceTimeout     a source gave no answer within the limit (exit code 3)
    ├── TemplateError         a template cannot be loaded or rendered
    │   └── TemplateFailed    a template says itself that its text must not be used
    ├── InternalError         a defect of ctemplate's own, or a shortage of the host
    ├── StateError            the state folder cannot be used, or another instance holds it
    └── ApplyError            a group's files could not be brought live
        ├── CheckRefused      the check refused the candidate; live files untouched
        │   └── CannotJudge   there is no way to judge the candidate before it is swapped
        ├── SwapFailed        a file could not be staged or put in place
        ├── CommandFailed     a command exited non-zero, was not found, or ran out of time
        ├── ReloadRejected    nginx kept its old configuration and said why
        └── ReloadTimedOut    no proof within the limit that the new configuration runs
            └── ReloadLost    nothing runs any more, neither the new configuration nor the old one

A sentence is ``where: what is wrong[, what was found][; what happens now]``: the operator's own words, lower case, no
full stop, one line; a program's output follows indented below it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any


def printable(text: object, limit: int = 500) -> str:
    """Make untrusted text safe for one line of a log or a terminal: unprintable characters are escaped.

    Text longer than ``limit`` characters is cut and marked with ``…``.
    """
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(
            char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in shown
        )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def reason_of(exc: Exception) -> str:
    """Return why something failed, for an OSError without its number and path."""
    return ((exc.strerror if isinstance(exc, OSError) else None) or str(exc)).lower()


def indented(lines: tuple[str, ...]) -> str:
    """Put a program's output below a sentence, indented by four spaces, each line made printable."""
    return "".join(f"\n    {printable(line)}" for line in lines)


class CtemplateError(Exception):
    """Anything that ctemplate reports in one line; ``where`` is the place in the operator's own words.

    ``is_transient``: the cause may disappear, so that a later attempt with the same data may succeed.
    ``is_exhausted``: a limit shared by all services was used up.
    ``inputs``: the files that were read, or looked for, with what identified them before that; an edit of any of them
    may remove the cause.
    """

    is_transient = False
    is_exhausted = False
    inputs: Mapping[Path, Any] = MappingProxyType({})

    def __init__(self, where: str, what: str, *, output: tuple[str, ...] = ()) -> None:
        super().__init__(where, what)
        self.where = where
        self.what = what
        self.output = output

    def __str__(self) -> str:
        return f"{self.where}: {self.what}{indented(self.output)}"


class ConfigError(CtemplateError):
    """The operator's input, on the command line or in a file, cannot be used."""


class SourceError(CtemplateError):
    """A source failed or answered wrongly."""


class SourceTimeout(SourceError):
    """A source gave no answer within the limit."""


class TemplateError(CtemplateError):
    """A template cannot be loaded or rendered; ``where`` is ``file:line``.

    ``missing`` are the table and the key that it lacks, where that is the error.
    """

    missing: tuple[object, object] | None = None


class TemplateFailed(TemplateError):
    """A template called ``fail``, or ``require`` found too little: its text must not be used, nothing is left out."""


SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT})
NO_THREAD = "can't start new thread"  # what Python says of a limit on threads, as a RuntimeError


class InternalError(CtemplateError):
    """A defect of ctemplate's own, or a shortage of the host at a place that does not expect it."""

    is_transient = True

    def __init__(self, where: str, cause: Exception) -> None:
        short = _shortage(cause)
        what = f"this host has a shortage: {short}" if short else f"{_DEFECT}: {type(cause).__name__}: {cause}"
        super().__init__(where, what)

    def __str__(self) -> str:
        return printable(super().__str__())


_DEFECT = "a defect of ctemplate's own, please report it"


def _errno(cause: Exception) -> int:
    """Return the system's error number, 0 for none; code in Rust writes it at the end of its sentence."""
    if isinstance(cause, OSError):
        return cause.errno or 0
    _, mark, text = str(cause).rpartition("(os error ")
    number = text.removesuffix(")")
    return int(number) if mark and number.isascii() and number.isdecimal() else 0


def _shortage(cause: Exception) -> str:
    """Return what the host has too little of, empty for any other cause."""
    number = _errno(cause)
    if number in SHORTAGES:
        return os.strerror(number).lower()
    if isinstance(cause, MemoryError):
        return "out of memory"
    return NO_THREAD if isinstance(cause, RuntimeError) and NO_THREAD in str(cause) else ""


class StateError(CtemplateError):
    """The state folder cannot be used, or another instance holds it."""


class ApplyError(CtemplateError):
    """A group's files could not be brought live."""

    is_transient = True


class CheckRefused(ApplyError):
    """The check refused the candidate; every live file is untouched."""


class CannotJudge(CheckRefused):
    """The candidate cannot be checked beside the live file here, for a reason that is not in the candidate."""


class SwapFailed(ApplyError):
    """A file could not be staged or put in place; the old file is intact."""


class CommandFailed(ApplyError):
    """A command exited non-zero, could not be started, or ran out of time."""


class ReloadRejected(ApplyError):
    """The program kept its old configuration; ``output`` says why in its own words."""


class ReloadTimedOut(ApplyError):
    """No proof came within the limit that the new configuration runs."""


class ReloadLost(ReloadTimedOut):
    """The program runs neither the new configuration nor the old one, and has to load the old one again."""
