"""A finding of lint: the place, the code, what is wrong and what to write instead.

Codes are stable: a code never gets another meaning. Must not know templates or how findings are printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ctemplate.core.errors import printable

CODES = {
    "CT101": "the template cannot be loaded",
    "CT102": "unknown name",
    "CT103": "unknown filter",
    "CT104": "unknown test",
    "CT105": "unknown field",
    "CT106": "unknown argument",
    "CT107": "a query in consul-template's notation",
    "CT108": "a path that no key can have",
    "CT109": "a function that is not called",
    "CT201": "variable without a value",
    "CT202": "variable that no template uses",
    "CT301": "output that depends on time or chance",
    "CT302": "an unstable order",
    "CT303": "a name made from a position",
    "CT401": "a registered value in a comment",
    "CT402": "a registered value inside quotes",
    "CT403": "a registered value without quoting",
    "CT404": "a registered value that chooses where nginx connects",
    "CT405": "a meta key that may be missing",
    "CT406": "a private key in a file that others may read",
    "CT501": "an upstream that may be empty",
    "CT502": "ports that can clash",
    "CT503": "server names that can clash",
    "CT601": "every service is watched",
    "CT701": "the configuration cannot be used",
    "CT702": "two templates with one destination",
    "CT703": "nginx files without a check",
}
"""Each code with its subject."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One finding. Lines and columns count from 1; 0 means that the place has none."""

    path: str
    line: int = 0
    column: int = 0
    code: str
    message: str

    def __str__(self) -> str:
        place = f":{self.line}:{self.column}" if self.line else ""
        return f"{printable(self.path)}{place}: {self.code} {self.message}"


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return each finding once, by file, line, column and code."""
    return tuple(sorted(set(findings)))
