"""Events of what surrounds the work: the address for status, the state folder, the log and hooks; see ``events``."""

from __future__ import annotations

import logging
from typing import ClassVar

from ctemplate.core.event_stream import Event


class StatusServed(Event, frozen=True, kw_only=True):
    """Status and metrics are served at an address."""

    address: str

    def __str__(self) -> str:
        return f"status: served at {self.address}"


class StatusUnavailable(Event, frozen=True, kw_only=True):
    """Status cannot be served at its address; this is retried, and everything else continues."""

    address: str
    reason: str
    is_repeated: bool = False

    @property
    def severity(self) -> int:
        """The level: what stays the same is an ERROR once."""
        return logging.DEBUG if self.is_repeated else logging.ERROR

    def __str__(self) -> str:
        return f"status: cannot be served at {self.address}: {self.reason}; it is tried again, the rest goes on"


class ReleaseRefused(Event, frozen=True, kw_only=True):
    """Someone asked the page to release without the right token; ``is_repeated``: it was so less than a minute ago."""

    reason: str
    is_repeated: bool = False

    @property
    def severity(self) -> int:
        """The level: many attempts are a WARNING once a minute."""
        return logging.DEBUG if self.is_repeated else logging.WARNING

    def __str__(self) -> str:
        return f"status: a release was refused: {self.reason}"


class StateUnusable(Event, frozen=True, kw_only=True):
    """A file of the state folder cannot be read or written; ``consequence`` says what is done without it."""

    LEVEL: ClassVar[int] = logging.WARNING
    path: str
    reason: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.consequence}"
