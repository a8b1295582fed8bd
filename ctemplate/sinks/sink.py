"""The contract of a sink, which receives a group's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ctemplate.apply import LiveChange
from ctemplate.core.model import Outcome, Output
from ctemplate.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStatus:
    """A sink's report about its program.

    ``draining`` counts old workers, None if unknown. ``last_change`` says what the last change meant, ``restored``
    names the past state to which the files were restored. ``not_running`` says why no program runs them.
    """

    owes_reload: bool = False
    draining: int | None = None
    last_change: tuple[str, ...] = ()
    restored: str = ""
    not_running: str = ""


class Sink(Protocol):
    """The destination of a group's outputs: live files, written in a transaction, or the terminal."""

    @property
    def item_files(self) -> frozenset[Path]:
        """Return the existing files that stand for items of lists."""

    @property
    def foreign_files(self) -> frozenset[Path]:
        """Return the files of other programs that stand where a file of an item belongs."""

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Write the outputs to their destinations, all or none; raises ApplyError."""

    async def check(self, outputs: tuple[Output, ...]) -> None:
        """Run the check on the outputs and change nothing; raises ApplyError."""

    def wrote(self, destination: Path) -> bool:
        """Return whether the destination still holds exactly the bytes that this sink wrote."""

    async def is_due(self) -> bool:
        """Return whether the same outputs should be applied again, because another process runs them now."""

    def replaced(self) -> LiveChange | None:
        """Return the files that the last change replaced, None if there was none or it was returned before."""

    async def status(self) -> SinkStatus:
        """Return the sink's report about its program; never raises for facts that cannot be determined."""
