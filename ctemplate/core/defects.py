"""Containment of defects: a defect costs a query, a turn, or a part for some time, never the whole program.

A defect is an unforeseen exception in ctemplate. One ERROR line reports it, and the interrupted work is retried.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator

from ctemplate.core.errors import CtemplateError, InternalError
from ctemplate.core.event_stream import emit
from ctemplate.core.events import DefectFound, DefectResolved
from ctemplate.core.timing import Backoff

logger = logging.getLogger(__name__)

PAUSE = Backoff(first=1.0, ceiling=60.0)  # before a part that a defect ended is tried again
HEALTHY_AFTER = 300.0  # seconds without a defect until the next one counts as the first


class Defects:
    """Reports defects, each only once while it stays the same."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def report(self, where: str, cause: Exception) -> None:
        """Log a defect; ``where`` is what it affects, in the operator's words."""
        what = InternalError(where, first_of(cause)).what
        emit(DefectFound(where=where, what=what, is_repeated=self._known.get(where) == what))
        self._known[where] = what
        logger.debug("%s: where that came from", where, exc_info=cause)

    def over(self, where: str) -> None:
        """Record that what a defect affected works again."""
        if self._known.pop(where, None) is not None:
            emit(DefectResolved(where=where))


def first_of(cause: Exception) -> Exception:
    """Return the first exception of a task group, or the exception itself."""
    while isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    return cause


@contextlib.contextmanager
def only_error() -> Iterator[None]:
    """Unwrap what a task group wraps: the error that ended it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, CtemplateError):
            raise error from None
        raise


async def kept_running(name: str, part: Callable[[], Awaitable[None]]) -> None:
    """Run a part until it ends by itself; restart it after a defect, with growing pauses.

    A CtemplateError, which the operator has to fix, is raised.
    """
    clock, failures, defects = asyncio.get_running_loop().time, 0, Defects()
    while True:
        started = clock()
        try:
            await part()
        except CtemplateError:
            raise
        except Exception as exc:
            if isinstance(cause := first_of(exc), CtemplateError):
                raise cause from exc
            failures = failures + 1 if clock() - started < HEALTHY_AFTER else 1
            defects.report(name, exc)
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from exc  # it failed as it ended
        else:
            return
        await asyncio.sleep(PAUSE.delay(failures))
