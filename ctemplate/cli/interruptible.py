"""Run the asynchronous work of a verb without a daemon, so that a signal interrupts it where it waits."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from ctemplate.core.early_signals import ENDING, let_signals_interrupt

Found = TypeVar("Found")
INTERRUPTING = (*ENDING, signal.SIGHUP)


def run_interruptible(work: Coroutine[Any, Any, Found]) -> Found:
    """Run the work to its end; raise KeyboardInterrupt after a signal, once what must not be interrupted is done."""
    try:
        return asyncio.run(_cancelled_by_signals(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        let_signals_interrupt(signal.SIGHUP)


async def _cancelled_by_signals(work: Coroutine[Any, Any, Found]) -> Found:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is None:
        raise RuntimeError("runs outside of a task")
    for number in INTERRUPTING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, task.cancel)
    return await work
