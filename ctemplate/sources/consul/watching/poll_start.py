"""When the first long polls of a run begin.

A run that ends as soon as everything has been read needs none. Consul keeps and counts one that was given up until its
wait is over, so that a few such runs in a minute would use up all connections that it allows to one address.

No template reads what a node's long poll returns, but its first answer holds every service of the node: with all nodes,
the whole catalog once more. So these begin after the first files have been written.
"""

from __future__ import annotations

import asyncio
import contextlib
import math

from ctemplate.core.values import dataclass

FILES_PATIENCE = 5.0  # seconds without a first answer until long polls of nodes no longer wait for the first files


@dataclass(slots=True, kw_only=True)
class PollStart:
    """Has long polls wait until, for ``delay`` seconds, no query has had its first answer."""

    delay: float = 0.0
    _answered_at: float = -math.inf

    def note_first_answer(self) -> None:
        """Put the start off: more first answers are likely."""
        self._answered_at = asyncio.get_running_loop().time()

    async def wait(self) -> None:
        """Wait until long polls may begin."""
        left = self._answered_at + self.delay - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
            await self.wait()  # first answers since then have put it off

    async def wait_for_files(self, written: asyncio.Event) -> None:
        """Wait until the first files are written, or cannot be yet, and long polls may begin."""
        now = asyncio.get_running_loop().time
        while not written.is_set() and (until := self._answered_at + FILES_PATIENCE) > now():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await written.wait()
        await self.wait()
