"""One line of the doctor: what it checked, what it found, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ctemplate.core.errors import printable


class Severity(enum.StrEnum):
    """The meaning of a line: nothing to do, worth knowing, or preventing ctemplate's work."""

    OK = "ok"
    WARNING = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One line; ``fix`` is empty where there is nothing to do."""

    mark: Severity
    what: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.mark:<5} {printable(self.what)}: {printable(self.found)}{fix}"


def ok(what: str, found: str) -> Diagnosis:
    """Return a line that needs no action."""
    return Diagnosis(mark=Severity.OK, what=what, found=found)


def warning(what: str, found: str, fix: str) -> Diagnosis:
    """Return a line with a warning."""
    return Diagnosis(mark=Severity.WARNING, what=what, found=found, fix=fix)


def error(what: str, found: str, fix: str) -> Diagnosis:
    """Return a line with an error that a person must fix."""
    return Diagnosis(mark=Severity.ERROR, what=what, found=found, fix=fix)
