"""Keep one group true to the answers: flagged by changes, it renders and applies, and tries again what failed.

Level-triggered: a flag only says that something changed; the worker looks at the newest snapshot. Knows nothing of
sources, signals or other groups.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from ctemplate.catalog import Catalog
from ctemplate.config.durations import shown
from ctemplate.errors import CtemplateError, InternalError
from ctemplate.model import AnyQuery, Outcome
from ctemplate.pipeline import Pipeline, Result
from ctemplate.timing import Backoff, Debounce, Wait

logger = logging.getLogger(__name__)

RETRY = Backoff(first=2.0, ceiling=60.0)  # a refused group: the cause may have gone, a port freed
CROWDED = 1.0  # seconds until a delayed reload is considered again
SOON = 1.0  # seconds, at least, until somebody who was left out is judged anew without a change
UNSETTLED = frozenset({Outcome.WAITING, Outcome.DELAYED})
START = Backoff(first=1.0, ceiling=10.0)  # a program that was not running may have been started


@dataclass(slots=True, kw_only=True)
class Worker:
    """One group's life: wait until it is due, run its pipeline, decide when it is due again.

    ``answered`` is set once a render had every answer that it needs, or failed.
    """

    pipeline: Pipeline
    catalog: Catalog
    wait: Wait
    min_interval: float = 0.0
    result: Result | None = None
    error: CtemplateError | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    _used: frozenset[AnyQuery] = frozenset()
    _awaited: frozenset[AnyQuery] = frozenset()
    _debounce: Debounce = field(init=False)
    _due: float | None = 0.0
    _not_before: float = 0.0
    _failures: int = 0
    _is_touched: bool = False
    _is_stopping: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._debounce = Debounce(wait=self.wait)

    @property
    def is_settled(self) -> bool:
        """Whether the last step came to an end, good or bad, rather than to waiting for answers or old workers."""
        return self.error is not None or (self.result is not None and self.result.outcome not in UNSETTLED)

    @property
    def missing(self) -> frozenset[AnyQuery]:
        """The queries whose answers the group still waits for."""
        return self._awaited

    def flag(self, changed: frozenset[AnyQuery], now: float) -> None:
        """Note that answers changed.

        While a render waits for answers, those that arrive are gathered, and only the last one makes the group due.
        """
        relevant = changed & self._used
        if not relevant:
            return
        if self._awaited:
            gathered = relevant & self._awaited
            self._awaited -= gathered
            if not self._awaited:
                self._due = now
            elif relevant == gathered:
                return
        self._debounce.note(now)
        self._wake.set()

    def touch(self, destination: Path) -> None:
        """Note that one of the group's live files was written; what the group itself put there needs no look.

        A look mends it. Where the last try failed nothing is hurried: that try wrote too.
        """
        if self.pipeline.sink.wrote(destination):
            return
        self._is_touched = True
        self._wake.set()

    def stop(self) -> None:
        """Ask the worker to end after what it is doing."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Keep the group true until stopped."""
        clock = asyncio.get_running_loop().time
        while await self._until_due():
            await self.step()
            self._decide_next(clock())

    async def settle(self) -> None:
        """Run the group until it was applied once, or failed."""
        clock = asyncio.get_running_loop().time
        while not self.is_settled and await self._until_due():
            await self.step()
            if not self.is_settled:
                self._decide_next(clock())

    async def step(self) -> None:
        """Render the newest snapshot and apply it; an error of the group is logged and kept, never raised."""
        try:
            rendering = await self.pipeline.render(self.catalog.snapshot())
            self._used, self._awaited = rendering.used, rendering.missing
            self.catalog.want(self.pipeline.name, rendering.used, is_growing=bool(rendering.missing))
            if not rendering.missing:
                self.answered.set()
            result = await self.pipeline.run(rendering)
            self._tell(result.outcome)
            self.result, self.error = result, None
        except CtemplateError as exc:
            self._report(exc)
            self.answered.set()
        except Exception as exc:  # a defect of ours costs this group a turn, never the others
            logger.debug("%s: where that came from", self.pipeline.subject, exc_info=True)
            self._report(InternalError(self.pipeline.subject, exc))
            self.answered.set()

    async def _until_due(self) -> bool:
        """Wait until the group is due; answer False when the worker is to stop."""
        clock = asyncio.get_running_loop().time
        while not self._is_stopping:
            self._wake.clear()
            self._take_touch(clock())
            due, now = self._next_due(), clock()
            if due is not None and due <= now:
                self._due = None
                self._debounce = Debounce(wait=self.wait)
                return True
            try:
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            except TimeoutError:
                continue
        return False

    def _take_touch(self, now: float) -> None:
        if self._is_touched and self.is_settled and self.error is None:
            self._debounce.note(now)
        self._is_touched = False

    def _next_due(self) -> float | None:
        dues = [due for due in (self._due, self._debounce.due_at()) if due is not None]
        return max(min(dues), self._not_before) if dues else None

    def _tell(self, outcome: Outcome) -> None:
        """Log what changed on the host, and once each that a program is awaited and that an error is over."""
        was = self.result.outcome if self.result else None
        if outcome is Outcome.APPLIED:
            logger.info("%s: applied", self.pipeline.subject)
        elif outcome is Outcome.PENDING_START and was is not outcome:
            logger.info("%s: written; the reload is owed until the program runs", self.pipeline.subject)
        elif self.error is not None and outcome not in UNSETTLED:
            logger.info("%s: in order again", self.pipeline.subject)

    def _report(self, error: CtemplateError) -> None:
        """Log an error, but only at DEBUG as long as it stays the same."""
        is_known = self.error is not None and str(self.error) == str(error)
        logger.log(logging.DEBUG if is_known else logging.ERROR, "%s", error)
        self.error = error

    def _decide_next(self, now: float) -> None:
        """Set when the group is due again without any change, and the earliest moment of the next run."""
        outcome = self.result.outcome if self.result else None
        if self.error is not None and self.error.is_momentary:
            self._failures += 1
            delay = RETRY.delay(self._failures)
            self._due = now + delay
            logger.info("%s: next try in %s", self.pipeline.subject, shown(delay))
        elif outcome is Outcome.DELAYED:
            self._due = now + CROWDED
        elif outcome is Outcome.PENDING_START:
            self._failures += 1
            self._due = now + START.delay(self._failures)
        else:
            self._failures = 0
        again = self.pipeline.due_at()
        if again is not None:
            again = max(again, now + SOON)
            self._due = again if self._due is None else min(self._due, again)
        if outcome is Outcome.APPLIED or self.error is not None:
            self._not_before = now + self.min_interval
