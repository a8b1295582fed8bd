"""The sink of a dry run: outputs are collected, nothing is written."""

from __future__ import annotations

from pathlib import Path

from ctemplate.apply import LiveChange
from ctemplate.core.model import Outcome, Output
from ctemplate.sinks.sink import SinkStatus


class DryRunSink:
    """A sink that keeps the outputs instead of writing them."""

    def __init__(self, item_files: frozenset[Path] = frozenset()) -> None:
        """Take the files that stand for items of lists now."""
        self.item_files = item_files
        self.outputs: tuple[Output, ...] = ()

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Keep the outputs."""
        self.outputs = outputs
        return Outcome.UNCHANGED

    async def check(self, outputs: tuple[Output, ...]) -> None:
        """Take whatever it is."""

    def wrote(self, destination: Path) -> bool:  # noqa: ARG002  # the sinks' signature
        """Answer False: nothing is ever written."""
        return False

    async def is_due(self) -> bool:
        """Answer False: nobody runs what is only kept."""
        return False

    def replaced(self) -> LiveChange | None:
        """Return None: nothing is ever written."""
        return None

    async def status(self) -> SinkStatus:
        """Return that there is no program."""
        return SinkStatus()
