"""The part of an apply that can be rolled back: live files change, then are committed or restored.

The steps, and what a process killed right after each of them leaves behind:

============  ==========================================================  ========================================
step          what is true on disk                                        the next start
============  ==========================================================  ========================================
surveyed      nothing has changed                                         nothing to do
staged        candidates stand beside the live files, hidden              removes them
checked       the same; the check accepted them                           removes them
journaled     the journal holds the old files                             drops the journal, removes candidates
swapping      some live files are new (after each file)                   puts the old ones back, owes a reload
swapped       all live files are new, durably                             puts the old ones back, owes a reload
reloaded      the program is proven to run them                           puts the old ones back, owes a reload
recorded      the ledger records it: this ends the transaction            nothing to do
restoring     a failed transaction puts files back (after each file)      continues it, owes a reload
restored      all old files are back, the ledger does not record it yet   drops the journal
============  ==========================================================  ========================================

So after a start every live file is complete and was in use before, and the ledger owes a reload unless the program is
proven to run it. The next apply does that reload: with its new output if there is one, else alone.

Writing the ledger with the transaction's serial is the one atomic act that ends it. The journal is written when a
reload has to be proven, more than one file changes, or a file can be checked only once it is live. One file without
a reload needs no journal, since its rename is atomic; then the ledger is not synced either: losing it loses only the
record of what ctemplate wrote.

Everything here blocks; it runs in a thread. Knows nothing of checks and commands.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ctemplate.apply.journal import UNKNOWN_CONTENT, JournalEntry
from ctemplate.apply.ledger import Accepted
from ctemplate.apply.state import Generations, GroupState
from ctemplate.apply.steps import Observe, Step, unobserved
from ctemplate.apply.survey import Compared, Survey
from ctemplate.core.errors import ReloadRejected, SwapFailed
from ctemplate.core.event_stream import emit
from ctemplate.core.file_events import (
    BackupFailed,
    CandidateSaved,
    InterruptedChangeUndone,
    ItemFileRemoved,
    OriginalNotSaved,
    OriginalSaved,
    WrittenInPlace,
)
from ctemplate.core.group_events import RolledBack
from ctemplate.core.host_events import StateUnusable
from ctemplate.system import files
from ctemplate.system.file_watch import signature
from ctemplate.system.uptime import RunningProcess

PENDING = ", its reload is pending"


class Transaction:
    """One change of a group's live files."""

    def __init__(self, survey: Survey, state: GroupState, observe: Observe, *, has_reload: bool) -> None:
        self._survey = survey
        self._state = state
        self._observe = observe
        self._has_reload = has_reload
        self._is_journaled = False
        self._has_begun = False
        self.has_ended = False
        self.was_announced = False

    def swap(self, *, is_judged: bool = True) -> None:
        """Put every candidate in place and correct modes and owners."""
        changes = self._survey.changes
        self._keep_originals()
        if self._has_reload or len(changes) > 1 or not is_judged or self._survey.has_items:
            self._write_journal()
        self._has_begun = True
        for file in changes:
            with _as_swap_failed(file.destination):
                self._put_in_place(file)
            self._observe(Step.SWAPPING)
        for folder in {file.path.parent for file in changes}:
            with _as_swap_failed(folder):
                files.sync_folder(folder)
        self._observe(Step.SWAPPED)

    def commit(self, result: str, *, owes_reload: bool, proven: RunningProcess | None = None) -> None:
        """End with the new files in place, which ``proven`` runs; the replaced files become a backup."""
        self._end(result, owes_reload=owes_reload, records=self._survey.records, proven=proven)
        self._observe(Step.RECORDED)
        if self._survey.rewrites:
            self._state.replaced.append(self._survey.change)
            self._state.whole.update(file.destination for file in self._survey.files)
        replaced = {file.destination: file.live.content for file in self._survey.rewrites}
        keep(self._state.backups, {path: old for path, old in replaced.items() if old is not None})
        for file in self._survey.rewrites:
            if file.content is None:
                self._state.locks.leave(file.path)
                group = self._state.group
                emit(ItemFileRemoved(group=group.name, subject=group.subject, path=str(file.destination)))

    def abandon(self, error: BaseException) -> str:
        """End after an error as the group's ``rollback`` says; return the state of the files as a sentence."""
        if not self._has_begun:
            return f"{self._survey.subject} is untouched"
        result = type(error).__name__
        if self.was_announced and not self._state.group.rollback:
            self.commit(result, owes_reload=True)
            return "the new content stays live, its reload is pending"
        is_unproven = self.was_announced and not isinstance(error, ReloadRejected)
        self.roll_back(result, owes_reload=is_unproven or self._state.ledger.page.owes_reload)
        return f"{self._survey.subject} is rolled back" + (PENDING if is_unproven else "")

    def roll_back(self, result: str, *, owes_reload: bool) -> None:
        """End with the old files in place; the new ones are saved for inspection."""
        if owes_reload:
            self._state.ledger.settle(result, owes_reload=True, serial=self._state.ledger.page.serial)
        for file in self._survey.changes:
            with _as_swap_failed(file.destination, "cannot be put back"):
                files.restore(file.live)
            self._state.written[file.path] = signature(file.path)
            self._observe(Step.RESTORING)
        self._observe(Step.RESTORED)
        self._end(result, owes_reload=owes_reload)
        emit(RolledBack(group=self._state.group.name, subject=self._state.group.subject))
        keep_refused(self._survey, self._state)

    def _keep_originals(self) -> None:
        """Store permanently the files that existed before ctemplate first wrote them."""
        for file in self._survey.rewrites:
            if file.accepted is not None or file.live.content is None:
                continue
            try:
                kept = self._state.keep_original(file.destination, file.live.content)
            except OSError as exc:
                emit(OriginalNotSaved(path=str(file.destination), reason=str(exc.strerror or exc)))
                continue
            if kept is not None:
                emit(OriginalSaved(path=str(file.destination), folder=str(kept)))

    def _put_in_place(self, file: Compared) -> None:
        if not file.has_new_content:
            files.set_attributes(file.path, mode=file.mode, uid=file.uid, gid=file.gid)
            return
        candidate = files.candidate_path(file.path)
        if file.content is None:
            self._state.written.pop(file.path, None)
            file.path.unlink(missing_ok=True)
            candidate.unlink(missing_ok=True)
            return
        if file.has_backup and file.live.content is not None:
            _leave_backup(file.path)
        self._state.written[file.path] = signature(candidate)
        try:
            candidate.replace(file.path)
        except OSError as exc:
            del self._state.written[file.path]
            if exc.errno not in files.NO_RENAME:
                raise
            self._write_journal()
            is_repeated, reason = file.destination in self._state.in_place, str(exc.strerror)
            emit(WrittenInPlace(path=str(file.destination), reason=reason, is_repeated=is_repeated))
            self._state.in_place.add(file.destination)
            files.overwrite(file.path, file.content, mode=file.mode, uid=file.uid, gid=file.gid)
            candidate.unlink(missing_ok=True)

    def _write_journal(self) -> None:
        if self._is_journaled:
            return
        entry = JournalEntry(
            serial=self._state.ledger.page.serial + 1, files=tuple(file.live for file in self._survey.changes)
        )
        with _as_swap_failed(self._state.journal.path):
            self._state.journal.write(entry)
        self._is_journaled = True
        self._observe(Step.JOURNALED)

    def _end(
        self,
        result: str,
        *,
        owes_reload: bool,
        records: Mapping[str, Accepted | None] | None = None,
        proven: RunningProcess | None = None,
    ) -> None:
        self._state.ledger.settle(
            result,
            owes_reload=owes_reload,
            records=records,
            durable=self._is_journaled or owes_reload,
            proven=proven,
            is_placed=bool(self._survey.rewrites),
        )
        self.has_ended = True
        self._state.journal.remove()


def recover(state: GroupState, observe: Observe = unobserved, destinations: tuple[Path, ...] = ()) -> None:
    """Put right what a process that died in the middle of a transaction left behind. Nothing to do: nothing touched.

    ``destinations`` are those of a change to come, whose candidates may stand there as well. Raises SwapFailed when an
    old file cannot be put back; the journal stays, and calling again tries again.
    """
    for candidate in files.leftovers(_reals({*state.files, *destinations})):
        with contextlib.suppress(OSError):
            candidate.unlink(missing_ok=True)
    entry = state.journal.read_open(state.ledger.page.serial)
    if entry is not None:
        _take_back(entry, state, observe)
    state.journal.remove()


def _reals(destinations: Iterable[Path]) -> Iterator[Path]:
    """Yield the real paths of the destinations that have one."""
    for destination in destinations:
        with contextlib.suppress(OSError):
            yield files.resolved(destination)


def _take_back(entry: JournalEntry, state: GroupState, observe: Observe) -> None:
    """Put the old files back; the owed reload is recorded first, since this may be interrupted as well."""
    ledger, serial = state.ledger, state.ledger.page.serial
    with _as_swap_failed(state.journal.path, "cannot be carried out"):
        changed = tuple(old for old in entry.files if not files.stands(old))
    if changed or entry.serial == UNKNOWN_CONTENT:
        ledger.settle("interrupted", owes_reload=True, serial=serial)
    for old in changed:
        with _as_swap_failed(Path(old.path), "cannot be put back"):
            files.restore(old)
        emit(InterruptedChangeUndone(group=state.group.name, subject=state.group.subject, path=str(old.path)))
        observe(Step.RESTORING)
    observe(Step.RESTORED)
    ledger.settle(
        "recovered", owes_reload=ledger.page.owes_reload, serial=max(entry.serial, serial + 1), is_placed=True
    )


@contextlib.contextmanager
def _as_swap_failed(where: Path, what: str = "cannot be written") -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise SwapFailed(str(where), f"{what}: {exc.strerror or exc}") from exc


def _leave_backup(path: Path) -> None:
    """Save the file that is about to be replaced as ``NAME.bak`` beside it; continue if that fails."""
    fresh = files.candidate_path(path.with_name(f"{path.name}.bak"))
    try:
        fresh.unlink(missing_ok=True)
        fresh.hardlink_to(path)
        fresh.replace(path.with_name(f"{path.name}.bak"))
    except OSError as exc:
        emit(BackupFailed(path=f"{path}.bak", reason=str(exc.strerror or exc)))


def keep_refused(survey: Survey, state: GroupState) -> None:
    """Save the refused candidates for inspection."""
    refused = {file.destination: file.content for file in survey.rewrites if file.content is not None}
    kept = keep(state.refused, refused)
    if kept:
        emit(CandidateSaved(group=state.group.name, subject=state.group.subject, folder=str(kept)))


def keep(generations: Generations, contents: Mapping[Path, bytes]) -> Path | None:
    """Store a generation of files and return its folder, None if it is stored already; a write error is only logged."""
    try:
        return generations.put(contents)
    except OSError as exc:
        what = f"cannot be written: {exc.strerror or exc}"
        emit(StateUnusable(path=str(generations.folder), reason=what, consequence="this generation is not kept"))
        return None
