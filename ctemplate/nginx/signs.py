"""Read from workers and messages whether a reload was taken. Pure."""

from __future__ import annotations

import enum
from collections.abc import Collection

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.nginx.master import NginxWorker, Process
from ctemplate.nginx.verdict import NginxMessage

_RETRIED = lazy_pattern(r"bind\(\) to .* failed ")
_ASIDE = lazy_pattern(r"the changing binary signal is ignored|kill\(\d+, \d+\) failed|sendmsg\(\) failed")
"""What a master says of an upgrade, or of a worker that has just ended; it has nothing to do with a configuration."""
_EXITED = lazy_pattern(r"worker process (\d+) exited on signal ")


class ReloadState(enum.Enum):
    """What workers and messages say of a reload so far."""

    NONE = "neither new workers nor a refusal"
    TAKEN = "new workers run and the old ones finish"
    BESIDE = "new workers run beside old ones that do not finish"
    REFUSED = "nginx refused and its old workers continue"
    BROKEN = "the old workers are gone and nginx reported a failure"


def active(now: Collection[NginxWorker]) -> frozenset[Process]:
    """Return the workers that accept connections, or would if they were not stuck."""
    return frozenset(worker.process for worker in now if not worker.is_draining)


def sign(
    before: Collection[Process],
    now: Collection[NginxWorker],
    said: Collection[NginxMessage],
    *,
    is_done: bool = False,
    unreaped: Collection[Process] = (),
    forming: int = 0,
) -> ReloadState:
    """Read the signs: the active workers before, the workers now, and what the master logged since.

    A bind that nginx will try again says nothing yet; neither does an ignored signal, the end of a worker that ran
    before, or a message that could not reach it, nor a new worker beside old ones or in their place, which may replace
    one that crashed. More active workers than before and crashed are no replacements, and old workers finish only for a
    reload that was taken: those that crashed were logged, unless they are ``unreaped``. ``forming`` are new processes
    at the beginning that were not known as workers yet. ``is_done``: the master takes signals again after the
    reload, and what it may have refused would have been seen.
    """
    old_pids = {process.pid for process in before}
    refusals = [message for message in said if not _is_passing(message, old_pids)]
    crashed = {int(found[1]) for message in said if (found := _EXITED.match(message.text))}
    running = active(now)
    has_old, has_new = not running.isdisjoint(before), not running.issubset(before)
    has_more = has_new and len(running) > len(before) + forming + len(crashed - old_pids)
    if refusals and not has_old:
        return ReloadState.BROKEN
    if refusals:
        return ReloadState.BESIDE if has_more else ReloadState.NONE if has_new and not is_done else ReloadState.REFUSED
    is_certain = is_done or has_more
    if has_new and not has_old:
        finished = (each for each in before if each not in unreaped and each.pid not in crashed)
        return ReloadState.TAKEN if is_certain or any(finished) else ReloadState.NONE
    is_taken = is_certain or any(worker.is_draining and worker.process in before for worker in now)
    return ReloadState.BESIDE if has_new and is_taken else ReloadState.NONE


def _is_passing(message: NginxMessage, pids: Collection[int]) -> bool:
    exited = _EXITED.match(message.text)
    is_aside = _RETRIED.match(message.text) or _ASIDE.match(message.text)
    return bool(is_aside) or (exited is not None and int(exited[1]) in pids)
