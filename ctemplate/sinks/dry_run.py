"""The sink of a dry run: it collects the outputs and writes nothing."""

from __future__ import annotations

from pathlib import Path

from ctemplate.apply import LiveChange
from ctemplate.apply.candidates import read_live_bytes
from ctemplate.config.groups import STDOUT
from ctemplate.core.model import Outcome, Output
from ctemplate.sinks.planned_files import PlannedFiles
from ctemplate.sinks.sink import SinkStatus


class DryRunSink:
    """A sink that collects the outputs instead of writing them."""

    def __init__(
        self, name: str = "", planned: PlannedFiles | None = None, item_files: frozenset[Path] = frozenset()
    ) -> None:
        """Store the group's name, the files of all groups, and the existing files that stand for items of lists."""
        self.name = name
        self.planned = planned if planned is not None else PlannedFiles()
        self.item_files = item_files
        self.outputs: tuple[Output, ...] = ()

    @property
    def foreign_files(self) -> frozenset[Path]:
        """Return no files: nothing waits for their removal."""
        return frozenset()

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Collect the outputs."""
        self.outputs = outputs
        self.planned.accept(self.name, outputs)
        files = (output for output in outputs if output.target.destination != STDOUT)
        is_changed = any(read_live_bytes(output) != output.content for output in files)
        return Outcome.PLANNED if is_changed else Outcome.UNCHANGED

    async def check(self, outputs: tuple[Output, ...]) -> None:
        """Accept all outputs."""

    def wrote(self, destination: Path) -> bool:  # noqa: ARG002  # the sinks' signature
        """Return False: a dry run writes nothing."""
        return False

    async def is_due(self) -> bool:
        """Return False: no program runs the collected outputs."""
        return False

    def replaced(self) -> LiveChange | None:
        """Return None: a dry run writes nothing."""
        return None

    async def status(self) -> SinkStatus:
        """Return a status without a program."""
        return SinkStatus()
