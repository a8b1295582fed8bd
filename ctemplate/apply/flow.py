"""Bring a group's outputs live, all or nothing: survey, stage, check, swap, reload, record.

Every apply follows this sequence; `transaction` lists what each step leaves on disk. Knows no nginx and no templates.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial

from ctemplate.apply.attendance import attended
from ctemplate.apply.group import CandidateCheck, LiveChange, Program, Reload
from ctemplate.apply.reporting import reported_check, reported_reload
from ctemplate.apply.state import GroupState
from ctemplate.apply.steps import Observe, Step, unobserved
from ctemplate.apply.survey import Survey, surveyed
from ctemplate.apply.transaction import PENDING, Transaction, keep_refused, recover
from ctemplate.core.errors import (
    ApplyError,
    CannotJudge,
    CheckRefused,
    ReloadLost,
    ReloadRejected,
    StateError,
    SwapFailed,
)
from ctemplate.core.event_stream import emit
from ctemplate.core.model import Outcome, Output, StagedFile
from ctemplate.core.program_events import CheckDeferred, CheckWarned, ReloadStillOwed
from ctemplate.system import files
from ctemplate.system.rights import foreign_owner
from ctemplate.system.threads import run_uncancellable
from ctemplate.system.uptime import RunningProcess


async def apply(
    outputs: tuple[Output, ...],
    *,
    state: GroupState,
    check: CandidateCheck | None = None,
    reload: Reload | None = None,
    program: Program | None = None,
    observe: Observe = unobserved,
) -> Outcome:
    """Bring the group's files to the outputs, or leave all of them as they were.

    UNCHANGED: nothing was touched, nothing was run. PENDING_START: the files are in place, their reload is owed.
    ``outputs`` are all of the group's; ``program`` finds the process that runs them, so that a new one gets its reload;
    ``observe`` is called after every step, sometimes in another thread.
    Raises CheckRefused, SwapFailed, CommandFailed, ReloadRejected or ReloadTimedOut, with the state of the files.
    """
    if check is None and reload is None and program is None:
        survey = await run_uncancellable(_brought_live, outputs, state, observe)
        if survey.changes:
            return Outcome.APPLIED
    else:
        survey = await run_uncancellable(_recovered, outputs, state, observe)
        observe(Step.SURVEYED)
    if not survey.changes:
        page = state.ledger.page
        is_shown = await attended(state, program)
        if is_shown and survey.is_reload_due:
            await run_uncancellable(_record, survey, state, Outcome.APPLIED)
            return Outcome.APPLIED
        survey = survey if state.ledger.page is page else await run_uncancellable(surveyed, outputs, state)
    if survey.is_settled:
        if survey.is_unknown:
            await run_uncancellable(_record, survey, state, Outcome.UNCHANGED)
        return Outcome.UNCHANGED
    if not survey.changes:
        return await reload_owed(survey, state, reload, program)
    try:
        return await _applied(survey, state, check=check, reload=reload, program=program, observe=observe)
    except ReloadLost as error:
        if state.group.rollback:
            await _load_old_again(error, state, reload, program)
        raise


async def _applied(
    survey: Survey,
    state: GroupState,
    *,
    check: CandidateCheck | None,
    reload: Reload | None,
    program: Program | None,
    observe: Observe,
) -> Outcome:
    """Check, swap and reload."""
    transaction = Transaction(survey, state, observe, has_reload=reload is not None)
    async with staged(survey, state) as candidates:
        observe(Step.STAGED)
        is_judged = await _checked(candidates, check, survey, state, reload=reload, program=program)
        observe(Step.CHECKED)
        async with swapped(transaction, is_judged=is_judged):
            if not is_judged:
                await _judged_live(check, survey, state)
            outcome = await _reloaded(transaction, survey, state, reload)
            observe(Step.RELOADED)
            is_owed, proven = (
                outcome is Outcome.PENDING_START,
                _proven(program if survey.is_reload_due else None, outcome),
            )
            await run_uncancellable(transaction.commit, outcome.value, owes_reload=is_owed, proven=proven)
    return outcome


def _recovered(outputs: tuple[Output, ...], state: GroupState, observe: Observe) -> Survey:
    """Repair what a killed process or a failed change left, then compare the outputs with the live files."""
    destinations = {output.target.destination.absolute() for output in outputs}
    if not destinations <= state.whole:
        recover(state, observe, tuple(destinations))
        state.whole.update(destinations)
    survey = surveyed(outputs, state)
    if survey.is_unknown or not survey.is_settled:
        try:
            state.ensure()
        except StateError as exc:
            raise SwapFailed(exc.where, f"{exc.what}; {survey.subject} is untouched") from exc
    return survey


@contextlib.asynccontextmanager
async def staged(survey: Survey, state: GroupState) -> AsyncIterator[tuple[StagedFile, ...]]:
    """Stage the files whose content is new; an error inside the block removes them, without one they were swapped."""
    try:
        await run_uncancellable(_stage, survey, state)
        yield tuple(
            StagedFile(
                candidate=files.candidate_path(file.path), live=file.destination, is_removed=file.content is None
            )
            for file in survey.rewrites
        )
    except BaseException:
        await run_uncancellable(_unstage, survey)
        raise


@contextlib.asynccontextmanager
async def swapped(transaction: Transaction, *, is_judged: bool) -> AsyncIterator[None]:
    """Swap the files; leaving the block without a commit rolls back, or keeps the new files with their reload owed."""
    try:
        await run_uncancellable(transaction.swap, is_judged=is_judged)
        yield
    except BaseException as error:
        if not transaction.has_ended:
            await run_uncancellable(_abandon, transaction, error)
        raise


def _abandon(transaction: Transaction, error: BaseException) -> None:
    became = transaction.abandon(error)
    if isinstance(error, ApplyError):
        error.what += f"; {became}"


def _brought_live(outputs: tuple[Output, ...], state: GroupState, observe: Observe) -> Survey:
    """Compare the outputs with the live files, and bring them live where no program has to be asked, in one go.

    Each hop to a thread takes as long as a small write.
    """
    survey = _recovered(outputs, state, observe)
    observe(Step.SURVEYED)
    if not survey.changes:
        return survey
    transaction = Transaction(survey, state, observe, has_reload=False)
    try:
        _stage(survey, state)
        observe(Step.STAGED)
        observe(Step.CHECKED)
        try:
            transaction.swap()
            observe(Step.RELOADED)
            transaction.commit(Outcome.APPLIED.value, owes_reload=False)
        except BaseException as error:
            if not transaction.has_ended:
                _abandon(transaction, error)
            raise
    except BaseException:
        _unstage(survey)
        raise
    return survey


async def reload_live(
    outputs: tuple[Output, ...], *, state: GroupState, reload: Reload | None = None, program: Program | None = None
) -> Outcome:
    """Have the program load the live files once more, which shows whether it takes them; ``outputs`` are these.

    Raises what ``apply`` raises; the reload then stays owed.
    """
    await run_uncancellable(partial(state.ledger.settle, "asked again", owes_reload=True))
    survey = await run_uncancellable(surveyed, outputs, state)
    return await reload_owed(survey, state, reload, program)


async def reload_owed(
    survey: Survey, state: GroupState, reload: Reload | None, program: Program | None = None
) -> Outcome:
    """Reload what is live already; a failure leaves the reload owed."""
    try:
        as_it_is = LiveChange(files=state.files)
        outcome = await reported_reload(reload, as_it_is, state.group) if reload else Outcome.UNCHANGED
    except ApplyError as error:
        error.what += "; its reload stays owed"
        raise
    if outcome is not Outcome.PENDING_START or not state.ledger.page.owes_reload:
        await run_uncancellable(_record, survey, state, outcome, _proven(program, outcome))
    return outcome


def _proven(program: Program | None, outcome: Outcome) -> RunningProcess | None:
    """Return the process that was just proven to run the files, where it is known."""
    return program.proven if program is not None and outcome is Outcome.APPLIED else None


async def _checked(
    candidates: tuple[StagedFile, ...],
    check: CandidateCheck | None,
    survey: Survey,
    state: GroupState,
    *,
    reload: Reload | None,
    program: Program | None,
) -> bool:
    """Check the candidates; a refused one is saved, and a reload owed for the live files is done all the same.

    Return False when they can be checked only once they are live.
    """
    if check is None or not candidates:
        return True
    try:
        warnings = await reported_check(check, candidates, state.group)
    except CannotJudge as error:
        emit(CheckDeferred(group=state.group.name, subject=state.group.subject, reason=str(error)))
        return False
    except ApplyError as error:
        error.what += f"; {survey.subject} is untouched"
        if isinstance(error, CheckRefused):
            await run_uncancellable(keep_refused, survey, state)
        await attended(state, program)
        if state.ledger.page.owes_reload:
            await _reload_live(state, reload, program)
        raise
    _report(warnings, state)
    return True


async def _judged_live(check: CandidateCheck | None, survey: Survey, state: GroupState) -> None:
    """Check the files that are already live; a refusal is raised and rolls them back."""
    if check is not None:
        there = (file.destination for file in survey.rewrites if file.content is not None)
        live = tuple(StagedFile(candidate=path, live=path) for path in there)
        _report(await reported_check(check, live, state.group), state)


async def _load_old_again(error: ReloadLost, state: GroupState, reload: Reload | None, program: Program | None) -> None:
    """Reload the files that were put back, since nothing serves meanwhile; raise ReloadRejected if they are taken."""
    await _reload_live(state, reload, program)
    if not state.ledger.page.owes_reload:
        what = f"{error.what.removesuffix(PENDING)} and loaded again"
        raise ReloadRejected(error.where, what, output=error.output) from error


def _report(warnings: tuple[str, ...], state: GroupState) -> None:
    for warning in warnings:
        emit(CheckWarned(group=state.group.name, subject=state.group.subject, warning=warning))


async def _reload_live(state: GroupState, reload: Reload | None, program: Program | None) -> None:
    """Do the reload owed for the live files, although new ones were refused; that refusal is raised afterwards."""
    if reload is None:
        return
    try:
        outcome = await reported_reload(reload, LiveChange(files=state.files), state.group)
    except ApplyError as error:
        emit(ReloadStillOwed(group=state.group.name, subject=state.group.subject, reason=str(error)))
        return
    is_owed, proven = outcome is Outcome.PENDING_START, _proven(program, outcome)
    await run_uncancellable(state.ledger.settle, outcome.value, owes_reload=is_owed, proven=proven)


async def _reloaded(transaction: Transaction, survey: Survey, state: GroupState, reload: Reload | None) -> Outcome:
    if reload is None or not survey.is_reload_due:
        return Outcome.APPLIED
    transaction.was_announced = True
    return await reported_reload(reload, survey.change, state.group)


def _stage(survey: Survey, state: GroupState) -> None:
    state.whole.clear()
    for file in survey.rewrites:
        is_kept = file.live.content is not None and (file.uid, file.gid) == (file.live.uid, file.live.gid)
        if fault := foreign_owner(file.uid, file.gid, is_kept=is_kept):
            raise SwapFailed(str(file.destination), f"{fault}; {survey.subject} is untouched")
        try:
            if not file.makes_folder and not file.path.parent.is_dir():
                what = f"its folder is missing, and create_dest_dirs is false; {survey.subject} is untouched"
                raise SwapFailed(str(file.destination), what)
            files.make_folder(file.path.parent)
            state.locks.take(file.path)
            files.stage(file.path, file.content or b"", mode=file.mode, uid=file.uid, gid=file.gid)
        except OSError as exc:
            what = f"cannot be staged: {exc.strerror or exc}; {survey.subject} is untouched"
            raise SwapFailed(str(file.destination), what) from exc
        except StateError as exc:
            raise SwapFailed(exc.where, f"{exc.what}; {survey.subject} is untouched") from exc


def _unstage(survey: Survey) -> None:
    for file in survey.rewrites:
        with contextlib.suppress(OSError):
            files.candidate_path(file.path).unlink(missing_ok=True)


def _record(survey: Survey, state: GroupState, outcome: Outcome, proven: RunningProcess | None = None) -> None:
    """Record the live files as accepted, or as waiting for their program to start."""
    is_owed = outcome is Outcome.PENDING_START
    state.ledger.settle(outcome.value, records=survey.records, owes_reload=is_owed, proven=proven)
