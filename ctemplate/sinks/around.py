"""A sink around another one: a subclass changes one of its methods, the others ask the other sink."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ctemplate.apply import LiveChange
from ctemplate.core.model import Outcome, Output
from ctemplate.sinks.sink import Sink, SinkStatus


class SinkAround(msgspec.Struct, kw_only=True, eq=False):
    """Passes everything on to ``sink``; see ``Sink`` for the methods."""

    sink: Sink

    @property
    def item_files(self) -> frozenset[Path]:
        """Return the existing files that stand for items of lists."""
        return self.sink.item_files

    @property
    def foreign_files(self) -> frozenset[Path]:
        """Return the files of other programs that stand where a file of an item belongs."""
        return self.sink.foreign_files

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Write the outputs to their destinations, all or none; raises ApplyError."""
        return await self.sink.apply(outputs)

    async def check(self, outputs: tuple[Output, ...]) -> None:
        """Run the check on the outputs; raises the check's refusal."""
        await self.sink.check(outputs)

    def wrote(self, destination: Path) -> bool:
        """Return whether the destination still holds exactly the bytes that the sink wrote."""
        return self.sink.wrote(destination)

    async def is_due(self) -> bool:
        """Return whether the same outputs should be applied again, because another process runs them now."""
        return await self.sink.is_due()

    def replaced(self) -> LiveChange | None:
        """Return the files that the last change replaced; a second call returns None."""
        return self.sink.replaced()

    async def status(self) -> SinkStatus:
        """Return what the sink knows of its program."""
        return await self.sink.status()
