"""A thread beside the event loop: it measures the loop, reports when it is stuck, and ends a process that should end.

It needs nothing of the loop, so it works while that is stuck. Must not know what the loop runs.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import select
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Self

from ctemplate.core.event_stream import emit
from ctemplate.core.events import LoopMeasured, LoopResumed, LoopStalled
from ctemplate.core.host_events import StopForced
from ctemplate.system.programs import kill_running

TICK = 1.0  # seconds between two checks, each of which wakes the loop
LAG = 2.0  # seconds without a turn of the loop until that is reported
LAST_WORDS = 1.0  # seconds to write the last line, in case no process reads the log
FORCED_STATUS = 1


class Watchdog:
    """Watches the loop in which it is entered until it is left; after that it still ends a process that is due to end.

    Time is counted in ticks of the watching thread, so that a stopped or starved process raises no alarm; a tick that a
    step of the clock cuts short counts only as long as it lasted.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._has_turned = threading.Event()
        self._is_left = False
        self._ends_at: float | None = None
        self._limit = 0.0
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._watch,), name="watchdog", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left = True

    def end_within(self, limit: float) -> None:
        """Have the process ended so many seconds from now, whatever it does. A signal handler may call it."""
        ends_at = time.monotonic() + limit
        if self._ends_at is None or ends_at < self._ends_at:
            self._limit, self._ends_at = limit, ends_at

    @property
    def remaining(self) -> float | None:
        """The seconds until the process is ended; None before it is due to end."""
        return None if self._ends_at is None else max(self._ends_at - time.monotonic(), 0.0)

    def _watch(self) -> None:
        """Check the loop at each tick; runs in its own thread."""
        late = 0.0
        while not self._is_left or self._ends_at is not None:
            self._end_if_due()
            if not late:
                self._has_turned.clear()
                self._ask_for_a_turn()
            began = time.monotonic()
            left = TICK if self.remaining is None else min(self.remaining, TICK)
            select.select((), (), (), left)  # relative: no step of a clock can end it with an error
            slept = min(time.monotonic() - began, TICK)
            if self._has_turned.is_set() or self._is_left:
                if late >= LAG:
                    emit(LoopResumed(seconds=late))
                late = 0.0
                continue
            late += slept
            if late - slept < LAG <= late:
                where = _place(sys._current_frames().get(self._watched))  # noqa: SLF001 - there is no other way
                emit(LoopStalled(seconds=LAG, where=where))

    def _ask_for_a_turn(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._turned, time.monotonic())
        except RuntimeError:  # the loop has ended
            self._has_turned.set()

    def _turned(self, asked_at: float) -> None:
        """Take a turn of the loop that was asked for; runs in the loop."""
        self._has_turned.set()
        emit(LoopMeasured(lag=max(time.monotonic() - asked_at, 0.0)))

    def _end_if_due(self) -> None:
        if self._ends_at is None or time.monotonic() < self._ends_at:
            return
        said = StopForced(seconds=self._limit)
        words = threading.Thread(target=contextvars.copy_context().run, args=(emit, said), daemon=True)
        words.start()
        words.join(LAST_WORDS)
        kill_running()
        os._exit(FORCED_STATUS)


def _place(frame: FrameType | None) -> str:
    """Return where a thread is: the innermost place in ctemplate's code, else the innermost place."""
    stack = traceback.extract_stack(frame)
    package = str(Path(__file__).parent)
    own = [entry for entry in stack if entry.filename.startswith(package)]
    found = (own or stack)[-1]
    return f"in {Path(found.filename).name}:{found.lineno} ({found.name})"
