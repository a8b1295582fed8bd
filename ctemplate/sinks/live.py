"""The sink that writes a group's outputs to the live files, and delays reloads while old workers drain.

Knows nothing of rendering or of when a group is due.
"""

from __future__ import annotations

import asyncio
from dataclasses import field, replace
from pathlib import Path
from typing import Protocol

from ctemplate import apply
from ctemplate.apply import GroupState, LiveChange
from ctemplate.core.errors import ApplyError
from ctemplate.core.event_stream import emit
from ctemplate.core.group_events import ReloadDelayed, ReloadForced
from ctemplate.core.model import Outcome, Output
from ctemplate.core.values import dataclass
from ctemplate.nginx.change import traffic_changes
from ctemplate.nginx.master import DrainingWorker, NoMaster, Process, draining, generations
from ctemplate.sinks.sink import SinkStatus


class Gate(Protocol):
    """Decides whether a prepared change should wait."""

    async def should_wait(self, now: float) -> bool:
        """Return whether the change should still wait; called about every second until it returns False."""


class Draining(Protocol):
    """Reports which old workers of a program are still finishing their last connections."""

    async def draining(self) -> tuple[DrainingWorker, ...]:
        """Return those workers, oldest first; raises ApplyError if they cannot be determined."""


class ReloadedNginx(Draining, Protocol):
    """An nginx that is reloaded; ``taken`` is the last change that it loaded."""

    taken: LiveChange | None

    def loaded_pending(self) -> None:
        """Note that a master has loaded the pending change at its own start."""

    async def master(self) -> Process | NoMaster:
        """Return its master process, or why there is none; raises ApplyError if that cannot be determined."""


@dataclass(slots=True, kw_only=True)
class DrainGate:
    """Delays a reload while ``limit`` or more old generations drain, for ``max_delay`` seconds at most."""

    program: Draining
    limit: int
    max_delay: float
    _since: float | None = None

    async def should_wait(self, now: float) -> bool:
        """Return whether a reload should still wait for old workers to end."""
        try:
            count = generations(await self.program.draining())
        except ApplyError:
            count = 0
        if count < self.limit:
            self._since = None
            return False
        if self._since is None:
            self._since = now
            emit(ReloadDelayed(generations=count, seconds=self.max_delay))
        if now - self._since < self.max_delay:
            return True
        emit(ReloadForced(generations=count, seconds=self.max_delay))
        self._since = None
        return False


@dataclass(slots=True, kw_only=True)
class LiveSink:
    """Writes outputs to the live files in a transaction; returns DELAYED while one of the gates makes a change wait.

    ``program`` reports which process runs the files, if that can be determined; ``nginx`` is the same object if the
    program is nginx.
    """

    state: GroupState
    nginx: ReloadedNginx | None = None
    check_with: apply.CandidateCheck | None = None
    reload: apply.Reload | None = None
    program: apply.Program | None = None
    gates: tuple[Gate, ...] = ()
    _applied: tuple[Output, ...] | None = field(default=None)
    _has_looked: bool = False
    _is_applying: bool = False
    _change_sentences: tuple[LiveChange | None, tuple[str, ...]] = (None, ())

    @property
    def item_files(self) -> frozenset[Path]:
        """Return the existing files that stand for items of lists."""
        return self.state.ledger.item_files

    @property
    def foreign_files(self) -> frozenset[Path]:
        """Return the files of other programs that stand where a file of an item belongs."""
        return frozenset(path for path, what in self.state.edits.items() if what == apply.FOREIGN_ITEM)

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Write the outputs to the live files, all or none."""
        if outputs != self._applied and await self._should_wait():
            return Outcome.DELAYED
        outcome = await self.apply_now(outputs)
        self._applied = outputs
        return outcome

    async def apply_now(self, outputs: tuple[Output, ...]) -> Outcome:
        """Write the outputs to the live files without asking the gates."""
        self._applied = None
        self._note_loaded()
        self._is_applying = True
        try:
            outcome = await apply.apply(
                outputs, state=self.state, check=self.check_with, reload=self.reload, program=self.program
            )
        finally:
            self._is_applying = False
        if self.check_with is not None and not self._has_looked:
            self._has_looked = True  # files that were not changed were not checked
            await self.check_with.look(tuple(output.target.destination.absolute() for output in outputs))
        return outcome

    async def reload_live(self, outputs: tuple[Output, ...]) -> None:
        """Have the program load the outputs, which are live already, once more; raises its refusal."""
        await apply.reload_live(outputs, state=self.state, reload=self.reload, program=self.program)

    async def _should_wait(self) -> bool:
        """Ask every gate, even after one said to wait, so that each measures how long the change has waited."""
        now = asyncio.get_running_loop().time()
        return any([await gate.should_wait(now) for gate in self.gates])

    async def check(self, outputs: tuple[Output, ...]) -> None:
        """Run the check on the outputs and change nothing; raises the check's refusal."""
        if self.check_with is not None:
            await apply.judged(outputs, self.check_with)

    def wrote(self, destination: Path) -> bool:
        """Return whether the destination still holds exactly the bytes that the last transaction wrote."""
        return self.state.wrote(destination)

    async def is_due(self) -> bool:
        """Return whether a process runs that may not have loaded the files; this test is cheap and changes nothing."""
        return await apply.is_another(self.state, self.program)

    def replaced(self) -> LiveChange | None:
        """Return the files that the last change replaced; a second call returns None."""
        return self.state.replaced.pop() if self.state.replaced else None

    async def status(self) -> SinkStatus:
        """Return whether a reload is owed, how many old workers drain, and what the last change meant to nginx."""
        found = SinkStatus(owes_reload=self.state.ledger.page.owes_reload, last_change=await self._last_change())
        if self.nginx is None:
            return found
        try:
            master = await self.nginx.master()
        except ApplyError:
            return found
        if isinstance(master, NoMaster):
            return replace(found, draining=0, not_running=master.sentence)
        return replace(found, draining=len(await asyncio.to_thread(draining, master)))

    async def _last_change(self) -> tuple[str, ...]:
        """Return what the last change meant; computed once, and only on request."""
        self._note_loaded()
        taken = self.nginx.taken if self.nginx is not None else None
        if taken is None:
            return ()
        if self._change_sentences[0] is not taken:
            found = await asyncio.to_thread(traffic_changes, taken)
            self._change_sentences = (taken, found.sentences if found is not None else ())
        return self._change_sentences[1]

    def _note_loaded(self) -> None:
        """Tell nginx's part that a pending change was loaded without its reload, when the ledger owes none any more."""
        if self.nginx is not None and not (self._is_applying or self.state.ledger.page.owes_reload):
            self.nginx.loaded_pending()
