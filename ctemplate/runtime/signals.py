"""A daemon's signals: from those that arrived before it could handle them to those that arrive while it ends.

Knows nothing of what a signal does to groups.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping

from ctemplate.core.early_signals import ENDING, handle_late_signals, let_signals_interrupt, noted_signals


@contextlib.contextmanager
def handled_signals(
    stop: Callable[[], object],
    others: Mapping[signal.Signals, Callable[[], object]],
    limit: Callable[[], None],
    *,
    is_patient: bool,
) -> Iterator[None]:
    """Call ``stop`` for what ends a process, and these handlers, in the event loop, also for signals that came earlier.

    ``limit`` is called in addition for signals that end a process, beside the loop, also while that is stuck.
    Afterwards they only call ``limit`` in a patient process, and interrupt any other.
    """

    def bound(*_: object) -> None:
        limit()

    handlers = {signal.SIGUSR2: _do_nothing, **others, **dict.fromkeys(ENDING, stop)}
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    for number in ENDING:
        signal.signal(number, bound)  # the loop still sees the signal through its wakeup descriptor
    for number in noted_signals():
        if number in ENDING:
            limit()
        handlers[number]()
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
        handle_late_signals(limit)
        if not is_patient:
            let_signals_interrupt()


def handle_unforwarded(number: signal.Signals) -> None:
    """Handle a signal that a program got while it ran, and that the loop does not handle any more, as without one."""
    if number == signal.SIGUSR2:
        signal.signal(number, lambda *_: None)
    elif number in ENDING:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGTERM))


def _do_nothing() -> None:
    """Handle SIGUSR2, which means something to many programs and nothing here, so that it does not end the process."""
