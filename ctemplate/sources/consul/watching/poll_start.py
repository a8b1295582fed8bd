"""When the first long polls of a run begin.

A run that ends as soon as everything has been read needs none. Consul keeps and counts one that was given up until its
wait is over, so that a few such runs in a minute would use up all connections that it allows to one address.
"""

from __future__ import annotations

import asyncio
import math

from ctemplate.core.values import dataclass


@dataclass(slots=True, kw_only=True)
class PollStart:
    """Has long polls wait until, for ``delay`` seconds, no query has had its first answer."""

    delay: float = 0.0
    _at: float = -math.inf

    def note_first_answer(self) -> None:
        """Put the start off: more first answers are likely."""
        self._at = asyncio.get_running_loop().time() + self.delay

    async def wait(self) -> None:
        """Wait until long polls may begin."""
        left = self._at - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
            await self.wait()  # first answers since then have put it off
