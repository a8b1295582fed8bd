"""Run disk work outside the event loop without leaving it half done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def run_uncancellable(work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run blocking work in a thread and return its result; a cancellation takes effect once the work is done."""
    task = asyncio.create_task(asyncio.to_thread(work, *args, **kwargs), name=getattr(work, "__name__", "disk work"))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        task.exception()
        raise
