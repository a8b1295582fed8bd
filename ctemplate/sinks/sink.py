"""The contract of what takes a group's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ctemplate.apply import LiveChange
from ctemplate.core.model import Outcome, Output
from ctemplate.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStatus:
    """What a sink says of its program.

    ``draining`` counts old workers, None where nobody can tell. ``last_change`` says what the last change meant,
    ``restored`` which past state the files were restored to.
    """

    owes_reload: bool = False
    draining: int | None = None
    last_change: tuple[str, ...] = ()
    restored: str = ""


class Sink(Protocol):
    """Where a group's outputs go: to the live files by a transaction, or to the terminal."""

    @property
    def item_files(self) -> frozenset[Path]:
        """The files that stand for items of lists now."""

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Bring the outputs to their place, all or none; raises ApplyError."""

    async def check(self, outputs: tuple[Output, ...]) -> None:
        """Have the outputs judged, and leave everything as it is; raises ApplyError."""

    def wrote(self, destination: Path) -> bool:
        """Whether the file at the destination is, untouched since, what this sink put there."""

    async def is_due(self) -> bool:
        """Whether the same outputs should be applied again, since another process runs them now."""

    def replaced(self) -> LiveChange | None:
        """Return the files that the last change replaced, None where there was none or it was returned before."""

    async def status(self) -> SinkStatus:
        """Return what the sink knows of its program now; never raises for what cannot be known."""
