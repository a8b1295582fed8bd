"""Run disk work outside the event loop without leaving it half done."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def run_uncancellable(work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run blocking work in a thread and return its result; a cancellation takes effect once the work is done."""
    here = contextvars.copy_context()
    ended = asyncio.get_running_loop().run_in_executor(None, partial(here.run, work, *args, **kwargs))
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        while not ended.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({ended})
        ended.exception()
        raise
