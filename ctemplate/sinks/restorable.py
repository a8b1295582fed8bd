"""The sink of a group whose files may have been restored; it then applies nothing until the files are released.

Knows nothing of who asks for a restoration.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ctemplate.apply import GroupState
from ctemplate.apply.candidates import read_live_bytes
from ctemplate.apply.history import PastState
from ctemplate.apply.restored import Restoration, read_restoration, write_restoration
from ctemplate.core.errors import ApplyError
from ctemplate.core.event_stream import emit
from ctemplate.core.group_events import RestorationEnded
from ctemplate.core.model import Outcome, Output, Target
from ctemplate.sinks.around import SinkAround
from ctemplate.sinks.live import LiveSink
from ctemplate.sinks.sink import SinkStatus


class RestorableSink(SinkAround, kw_only=True, eq=False):
    """Passes outputs on to ``sink``, except while the files are in a restored state.

    ``live`` carries out a restoration. ``templates`` identifies this version of the group's templates: a restoration
    ends when the templates change.
    """

    live: LiveSink
    templates: str
    restoration: Restoration | None = None

    def __post_init__(self) -> None:
        found = self.restoration = read_restoration(self._state.folder)
        if found is not None and not found.holds(self.templates):
            self._end("its templates have changed")

    @property
    def _state(self) -> GroupState:
        return self.live.state

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Apply the outputs; return HELD if the files were restored; their own reload may still be owed."""
        if self.restoration is None:
            return await self.sink.apply(outputs)
        if self._state.ledger.page.owes_reload:
            await self.live.apply_now(tuple(self._as_then({})))
        return Outcome.HELD

    async def reload_live(self, outputs: tuple[Output, ...]) -> None:
        """Have the program load the outputs, which are live already, once more; raises its refusal."""
        await self.live.reload_live(outputs)

    def wrote(self, destination: Path) -> bool:
        """Return whether a change of the destination file can be ignored: we wrote it, or restored files are held."""
        return self.restoration is not None or self.sink.wrote(destination)

    async def is_due(self) -> bool:
        """Return whether another process runs the outputs now."""
        return self.restoration is None and await self.sink.is_due()

    async def status(self) -> SinkStatus:
        """Return the sink's status, and the past state to which the files were restored."""
        found = await self.sink.status()
        label = self.restoration.label if self.restoration is not None else ""
        return replace(found, restored=label)

    async def restore(self, past: PastState) -> Outcome:
        """Bring the files back to a past state by the group's own transaction, and keep them unchanged from then on.

        Raises ApplyError; then nothing has changed.
        """
        before = self.restoration
        self._write(Restoration(label=past.label, at=time.time(), templates=self.templates))
        try:
            return await self.live.apply_now(tuple(self._as_then(past.files)))
        except BaseException:
            self._write(before)
            raise

    def _as_then(self, files: Mapping[Path, bytes]) -> Iterator[Output]:
        """Yield the group's files with these contents, and the others unchanged; leave out files without content."""
        for target in self._targets(files):
            output = Output(target=target, content=files.get(target.destination.absolute(), b""))
            if target.destination.absolute() in files:
                yield output
            elif (live := read_live_bytes(output)) is not None:
                yield Output(target=target, content=live)

    def _targets(self, files: Mapping[Path, bytes]) -> Iterator[Target]:
        """Yield the targets of the group, one for each item that has a file now or had one in the past state."""
        for target in self._state.group.targets:
            if target.each is None:
                yield target
                continue
            then = (path for path in files if target.each.may_make(path))
            now = (path for path in self.item_files if target.each.may_make(path))
            yield from (replace(target, destination=path) for path in sorted({*then, *now}))

    def release(self) -> bool:
        """Apply the templates' outputs again from the next apply on; return whether the files were restored."""
        if self.restoration is None:
            return False
        self._end("released")
        return True

    def _end(self, reason: str) -> None:
        self._write(None)
        group = self._state.group
        emit(RestorationEnded(group=group.name, subject=group.subject, reason=reason))

    def _write(self, restoration: Restoration | None) -> None:
        try:
            write_restoration(self._state.folder, restoration)
        except OSError as exc:
            what = f"that the files were restored cannot be written down: {exc.strerror or exc}"
            raise ApplyError(str(self._state.folder), f"{what}; {self._state.group.subject} is untouched") from exc
        self.restoration = restoration
