"""The group's check and reload, each reported as an event with its result and duration."""

from __future__ import annotations

import time

from ctemplate.apply.group import CandidateCheck, Group, LiveChange, Reload
from ctemplate.core.errors import CannotJudge, CheckRefused, ReloadRejected, ReloadTimedOut
from ctemplate.core.event_stream import emit
from ctemplate.core.group_events import CheckEnded, ReloadEnded
from ctemplate.core.model import Outcome, StagedFile

RELOAD_RESULTS = {Outcome.APPLIED: "applied", Outcome.PENDING_START: "pending"}


async def reported_check(check: CandidateCheck, files: tuple[StagedFile, ...], group: Group) -> tuple[str, ...]:
    """Check candidates and report the result; see ``CandidateCheck.check``."""
    began, result = time.monotonic(), "failed"
    try:
        warnings = await check.check(files)
        result = "unread" if {file.live for file in files}.issubset(check.unread) else "accepted"
    except CannotJudge:
        result = "impossible"
        raise
    except CheckRefused:
        result = "refused"
        raise
    finally:
        seconds = time.monotonic() - began
        emit(CheckEnded(group=group.name, subject=group.subject, result=result, seconds=seconds))
    return warnings


async def reported_reload(reload: Reload, change: LiveChange, group: Group) -> Outcome:
    """Reload a program and report the result; see ``Reload.reload``."""
    began, result = time.monotonic(), "failed"
    try:
        outcome = await reload.reload(change)
        result = RELOAD_RESULTS.get(outcome, outcome.value)
    except ReloadRejected:
        result = "rejected"
        raise
    except ReloadTimedOut:
        result = "unproven"
        raise
    finally:
        seconds = time.monotonic() - began
        emit(ReloadEnded(group=group.name, subject=group.subject, result=result, seconds=seconds))
    return outcome
