"""Threads for blocking calls, of which each call wakes a single one.

Python's own pool wakes a second thread for each call: its queue hands a lock on to the next thread that waits, which
then competes for the interpreter with the one that has the work. Here each thread waits for itself, and the one that
rested last is woken, whose memory is most likely still in the caches. Must not know what the calls do.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

_Call = tuple[Future[Any], Callable[[], Any]]
_Inbox = SimpleQueue[_Call | None]


class BlockingThreads(ThreadPoolExecutor):
    """A pool of threads that all run from the start; asyncio accepts no other class than this one's parent."""

    def __init__(self, count: int) -> None:
        """Start the threads."""
        super().__init__(max_workers=count)
        self._changing = threading.Lock()
        self._resting: list[_Inbox] = []
        self._delayed: deque[_Call] = deque()
        self._is_over = False
        inboxes = [_Inbox() for _ in range(count)]
        self._resting += inboxes
        self._runners = [
            threading.Thread(target=self._run, args=(inbox,), name=f"blocking_{number}", daemon=True)
            for number, inbox in enumerate(inboxes)
        ]
        for runner in self._runners:
            runner.start()

    def submit(self, fn: Callable[_Given, _Made], /, *args: _Given.args, **kwargs: _Given.kwargs) -> Future[_Made]:
        """Have a thread make the call, as soon as one rests; raises RuntimeError after a shutdown."""
        future: Future[_Made] = Future()
        call = future, partial(fn, *args, **kwargs)
        with self._changing:
            if self._is_over:
                raise RuntimeError("cannot take calls after a shutdown")
            if not self._resting:
                self._delayed.append(call)
                return future
            inbox = self._resting.pop()
        inbox.put(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # the parent's
        """End the threads once no call is left; ``cancel_futures`` cancels those that have not begun."""
        with self._changing:
            self._is_over = True
            resting, self._resting = self._resting, []
            cancelled = tuple(self._delayed) if cancel_futures else ()
            if cancel_futures:
                self._delayed.clear()
        for future, _ in cancelled:
            future.cancel()
        for inbox in resting:
            inbox.put(None)
        if wait:
            for runner in self._runners:
                runner.join()

    def _run(self, inbox: _Inbox) -> None:
        """Make calls until the shutdown."""
        call = inbox.get()
        while call is not None:
            _make(*call)
            del call  # holds nothing in memory while the thread rests
            call = self._delayed_call(inbox) or inbox.get()

    def _delayed_call(self, inbox: _Inbox) -> _Call | None:
        """Return a call that waits; None if there is none, and the thread rests, or ends after a shutdown."""
        with self._changing:
            if self._delayed:
                return self._delayed.popleft()
            if self._is_over:
                inbox.put(None)
            else:
                self._resting.append(inbox)
            return None


def _make(future: Future[Any], call: Callable[[], Any]) -> None:
    """Make a call, unless it was cancelled, and store its result or its error."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as exc:  # noqa: BLE001  # the caller gets it
        future.set_exception(exc)
        del future, call  # else the error's traceback keeps them alive
    else:
        future.set_result(result)
