"""Keep one group up to date: render and apply when answers change, and retry what failed.

Level-triggered: a flag only says that something changed; the worker renders the newest snapshot. Whether the group is
due follows from two facts alone: the answers that its last render read, and the newest answers to the same queries.
They are compared when a render ends, with or without an error, and at each flag. Knows no sources, signals or groups.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import field
from pathlib import Path

from ctemplate.apply.history import PastState
from ctemplate.catalog import Catalog
from ctemplate.core.defects import Defects
from ctemplate.core.errors import ApplyError, CheckRefused, CtemplateError, InternalError, SwapFailed, TemplateError
from ctemplate.core.event_stream import emit
from ctemplate.core.events import DefectFound
from ctemplate.core.group_events import (
    Applied,
    CandidateRejected,
    FilesFailed,
    FilesHeld,
    FilesReplaced,
    GroupFailed,
    GroupRecovered,
    ReloadFailed,
    ReloadOwed,
    RenderFailed,
    RetryPlanned,
)
from ctemplate.core.model import Answer, Outcome, Query, Snapshot
from ctemplate.core.timing import Backoff, Debounce, Wait
from ctemplate.core.values import dataclass
from ctemplate.runtime.change_record import change_record
from ctemplate.runtime.pipeline import Pipeline, Result
from ctemplate.template import Rendering

logger = logging.getLogger(__name__)

RETRY = Backoff(first=2.0, ceiling=60.0)  # after a refusal: the cause may have gone, such as a port in use
CROWDED = 1.0  # seconds until a delayed reload is considered again
SOON = 1.0  # seconds, at least, until a service that was left out is retried without a change
UNSETTLED = frozenset({Outcome.WAITING, Outcome.DELAYED})
START = Backoff(first=1.0, ceiling=10.0)  # a program that was not running may have been started


@dataclass(slots=True, kw_only=True)
class GroupWorker:
    """One group's loop: wait until it is due, run its pipeline, decide when it is due again.

    ``answered`` is set once a render had every answer that it needs, or failed. While it ``is_tentative``, other groups
    may mend an error, so that it is not logged yet.
    """

    pipeline: Pipeline
    catalog: Catalog
    wait: Wait
    min_interval: float = 0.0
    result: Result | None = None
    error: CtemplateError | None = None
    is_tentative: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    _read: dict[Query, Answer | None] = field(default_factory=dict)
    _awaited: set[Query] = field(default_factory=set)
    _unanswered: set[Query] = field(default_factory=set)
    _changed_at: float | None = None
    _rendered_change_at: float | None = None
    _has_settled: bool = False
    _step_since: float | None = None
    _debounce: Debounce = field(init=False)
    _due: float | None = 0.0
    _not_before: float = 0.0
    _failures: int = 0
    _is_rendering: bool = False
    _is_touched: bool = False
    _is_stopping: bool = False
    _defects: Defects = field(default_factory=Defects)
    _wanted: tuple[PastState, asyncio.Future[Outcome]] | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._debounce = Debounce(wait=self.wait)

    @property
    def is_settled(self) -> bool:
        """Whether the last step has ended, with or without an error, and waits for no answers or old workers."""
        return self.error is not None or (self.result is not None and self.result.outcome not in UNSETTLED)

    @property
    def is_incomplete(self) -> bool:
        """Whether the group failed, or left something out, which other files may mend."""
        return self.error is not None or bool(self.pipeline.quarantined)

    @property
    def has_replaced_files(self) -> bool:
        """Whether the last step replaced files, or would have done so if this run replaced any."""
        outcome = self.result.outcome if self.error is None and self.result is not None else None
        return outcome in {Outcome.APPLIED, Outcome.PENDING_START, Outcome.PLANNED}

    @property
    def missing(self) -> frozenset[Query]:
        """The queries whose answers the group still waits for."""
        return frozenset(self._awaited)

    @property
    def stuck_for(self) -> float:
        """How many seconds the current step has taken so far; 0 between steps."""
        return 0.0 if self._step_since is None else asyncio.get_running_loop().time() - self._step_since

    @property
    def _waited(self) -> float | None:
        """How long ago the first of the rendered changes arrived; None where none did."""
        began = self._rendered_change_at
        return None if began is None else asyncio.get_running_loop().time() - began

    def flag(self, changed: Collection[Query], now: float) -> None:
        """Note that answers changed; changes during a render are compared when it ends."""
        if self._changed_at is None and self._has_settled and not self._read.keys().isdisjoint(changed):
            self._changed_at = now
        if not self._is_rendering:
            self._note(
                self.catalog.news_since({query: self._read[query] for query in changed if query in self._read}), now
            )

    def _note(self, news: set[Query], now: float) -> None:
        """Make the group due after news.

        While the last render lacks answers, arriving ones are gathered; only the last missing one makes the group due.
        An answer without the needed value may never get it, so nothing waits for it.
        """
        if not news:
            return
        if self._unanswered:
            gathered = news & self._unanswered
            self._awaited -= gathered
            self._unanswered -= gathered
            if not self._unanswered:
                self._due = now
            elif news == gathered:
                return
        self._debounce.note(now)
        self._wake.set()

    def live_file_changed(self, destination: Path) -> None:
        """Note that a live file was written; others' files and the group's own writes are ignored.

        Re-applying repairs the file. After a failed attempt nothing runs early: that attempt wrote the file itself.
        """
        if destination not in self.pipeline.files or self.pipeline.sink.wrote(destination):
            return
        self._is_touched = True
        self._wake.set()

    def rouse(self, now: float) -> None:
        """Make the group due, without a change."""
        self._due_by(now)
        self._wake.set()

    def release(self, service: str | None) -> tuple[str, ...]:
        """Stop using the last good data of a service, or of all; return the services' names."""
        names = self.pipeline.release(service)
        if names:
            self.rouse(asyncio.get_running_loop().time())
        return names

    async def restore(self, past: PastState) -> Outcome:
        """Have the files brought back to a past state once the step under way has ended; raises ApplyError."""
        if self._wanted is not None or self._is_stopping:
            raise ApplyError(self.pipeline.subject, "is being restored, or ctemplate stops; nothing was done")
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._wanted = (past, ended)
        self._wake.set()
        return await ended

    async def _restore(self, past: PastState, ended: asyncio.Future[Outcome]) -> None:
        try:
            outcome = await self.pipeline.restore(past)
        except Exception as exc:  # noqa: BLE001 - the caller gets it
            if not ended.done():
                ended.set_exception(exc)
        else:
            if not ended.done():
                ended.set_result(outcome)

    def unrestore(self, destination: str | None) -> tuple[str, ...]:
        """Go on with rendered files where the group's were restored; ``destination`` is one of them, None for any."""
        if destination not in {None, *map(str, self.pipeline.destinations)} or not self.pipeline.unrestore():
            return ()
        self.rouse(asyncio.get_running_loop().time())
        return (self.pipeline.subject,)

    async def look(self) -> None:
        """Apply the group again when another process runs its files; after a failed attempt the backoff stays.

        A group that failed, or left something out, is due when the files around its own have changed.
        """
        if await self.pipeline.sink.is_due():
            self._is_touched = True
            self._wake.set()
        if self.is_incomplete and await self.pipeline.are_surroundings_new():
            self.rouse(asyncio.get_running_loop().time())

    def stop(self) -> None:
        """Ask the worker to end after its current step."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Keep the group up to date until stopped; begins with a check, also after a restart of this task."""
        clock = asyncio.get_running_loop().time
        self._due_by(clock())
        try:
            while await self._until_due():
                if self._wanted is not None:
                    await self._restore(*self._wanted)
                    self._wanted = None
                    self.rouse(clock())
                    continue
                await self.step()
                self._decide_next(clock())
        finally:
            if self._wanted is not None:
                self._wanted[1].cancel()

    async def settle(self) -> None:
        """Run the group until it was applied once, or failed."""
        clock = asyncio.get_running_loop().time
        while not self.is_settled and await self._until_due():
            await self.catalog.confirmed()
            await self.step()
            if not self.is_settled:
                self._decide_next(clock())

    def try_again(self) -> Result | None:
        """Make a group due once more, as if it had not run; return its result, None if it failed."""
        earlier = self.result if self.error is None else None
        self.result = self.error = None
        self.rouse(asyncio.get_running_loop().time())
        return earlier

    def has_news_since(self, earlier: Result | None) -> bool:
        """Return whether the last step replaced files by other ones than before; if not, the earlier result stays."""
        if earlier is None or self.error is not None or self.result is None:
            return self.has_replaced_files
        if self.result.rendering.texts == earlier.rendering.texts:
            self.result = earlier
            return False
        return self.has_replaced_files

    def report_tentative(self) -> None:
        """Log the error that was not logged while another group could mend it."""
        is_due, self.is_tentative = self.is_tentative and self.error is not None, False
        if is_due and self.error is not None:
            error, self.error = self.error, None
            self._report(error)

    async def step(self) -> None:
        """Render the newest snapshot and apply it; an error of the group is logged and stored, never raised."""
        self._step_since = asyncio.get_running_loop().time()
        try:
            snapshot, rendering = await self._rendered()
            if not rendering.missing:
                self.answered.set()
            result = await self.pipeline.run(rendering)
            if result.rendering is not rendering:
                self._take(snapshot, result.rendering)
            await self._report_outcome(result.outcome)
            self.result, self.error = result, None
        except CtemplateError as exc:
            self._report(exc)
            self.answered.set()
        except Exception as exc:  # a defect of ours costs this group a turn, never the others
            logger.debug("%s: where that came from", self.pipeline.subject, exc_info=True)
            self._report(InternalError(self.pipeline.subject, exc))
            self.answered.set()
        finally:
            self._step_since = None
            self.catalog.note_step_end()

    async def _rendered(self) -> tuple[Snapshot, Rendering]:
        """Render the newest snapshot; also when that fails, the answers that it read are recorded."""
        places = await self.pipeline.places()
        snapshot = self.catalog.snapshot()
        if self._rendered_change_at is None:
            self._rendered_change_at = self._changed_at
        self._changed_at = None
        self._forget_dues()
        self._is_rendering = True
        try:
            rendering = await self.pipeline.render(snapshot, places)
        except Exception:
            self._compare(snapshot, frozenset(snapshot.read), missing=frozenset(), is_partial=True)
            raise
        finally:
            self._is_rendering = False
        self._take(snapshot, rendering)
        return snapshot, rendering

    def _take(self, snapshot: Snapshot, rendering: Rendering) -> None:
        """Record what a rendering read and which queries it wants."""
        used, missing = rendering.used | rendering.missing, rendering.missing
        self._compare(snapshot, used, missing=missing, is_partial=bool(missing))

    def _compare(
        self, snapshot: Snapshot, used: Collection[Query], *, missing: frozenset[Query], is_partial: bool
    ) -> None:
        """Record what a render read, and make the group due where newer answers have arrived already.

        ``is_partial``: the render has not named all the queries that it needs.
        """
        self._read = snapshot.answers(used)
        self._awaited = set(missing)
        self._unanswered = {query for query in missing if self._read.get(query) is None}
        self.catalog.want(self.pipeline.name, frozenset(self._read), is_growing=is_partial)
        self._note(self.catalog.news_since(self._read), asyncio.get_running_loop().time())

    def _forget_dues(self) -> None:
        """Forget all reasons to be due: the snapshot that is about to be rendered covers them."""
        self._due = None
        self._debounce = Debounce(wait=self.wait)

    async def _until_due(self) -> bool:
        """Wait until the group is due; return False when the worker is stopped."""
        clock = asyncio.get_running_loop().time
        while not self._is_stopping:
            self._wake.clear()
            if self._wanted is not None:
                return True
            self._take_touch(clock())
            due, now = self._next_due(), clock()
            if due is not None and due <= now:
                self._forget_dues()
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

    async def _report_outcome(self, outcome: Outcome) -> None:
        """Log what changed on the host; log once that a program is awaited, and once that an error is over."""
        was, waited = self.result.outcome if self.result else None, self._waited
        figures = await self._replaced() if outcome in {Outcome.APPLIED, Outcome.PENDING_START} else {}
        if outcome is Outcome.APPLIED:
            emit(Applied(group=self.pipeline.name, subject=self.pipeline.subject, waited=waited, **figures))
        elif outcome is Outcome.PENDING_START and was is not outcome:
            emit(ReloadOwed(group=self.pipeline.name, subject=self.pipeline.subject))
        elif outcome is Outcome.HELD and was is not outcome:
            emit(FilesHeld(group=self.pipeline.name, subject=self.pipeline.subject, label=self.pipeline.restored_to))
        elif self.error is not None and outcome not in UNSETTLED:
            emit(GroupRecovered(group=self.pipeline.name, subject=self.pipeline.subject))
        if outcome not in UNSETTLED:
            self._rendered_change_at, self._has_settled = None, True

    async def _replaced(self) -> dict[str, int]:
        """Report what the last change replaced in the live files; return its figures, if any."""
        change = self.pipeline.sink.replaced()
        if change is None:
            return {}
        answers = [answer for answer in self._read.values() if answer is not None]
        try:
            record = await asyncio.to_thread(change_record, change, answers)
        except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs the log these figures
            self._defects.report(f"{self.pipeline.subject}: the record of its change", exc)
            return {}
        about = {"group": self.pipeline.name, "subject": self.pipeline.subject}
        emit(FilesReplaced(**about, diff=record.diff, causes=record.causes))
        return record.figures

    def _report(self, error: CtemplateError) -> None:
        """Log an error, but only at DEBUG as long as it stays the same, or another group may mend it."""
        is_known = self.is_tentative or (self.error is not None and str(self.error) == str(error))
        if isinstance(error, InternalError):
            emit(DefectFound(where=error.where, what=error.what, is_repeated=is_known))
        else:
            failed = _failed_event(error)
            emit(
                failed(
                    group=self.pipeline.name,
                    subject=self.pipeline.subject,
                    where=error.where,
                    what=error.what,
                    output=error.output,
                    is_repeated=is_known,
                )
            )
        self.error = error

    def _decide_next(self, now: float) -> None:
        """Set when the group is due again without a change, and the earliest moment of the next run."""
        outcome = self.result.outcome if self.result else None
        if self.error is not None and self.error.is_transient:
            self._failures += 1
            delay = RETRY.delay(self._failures)
            self._due_by(now + delay)
            emit(RetryPlanned(group=self.pipeline.name, subject=self.pipeline.subject, seconds=delay))
        elif outcome is Outcome.DELAYED:
            self._due_by(now + CROWDED)
        elif outcome is Outcome.PENDING_START:
            self._failures += 1
            self._due_by(now + START.delay(self._failures))
        else:
            self._failures = 0
        again = self.pipeline.due_at()
        if again is not None:
            again = max(again, now + SOON)
            self._due = again if self._due is None else min(self._due, again)
        if outcome is Outcome.APPLIED or self.error is not None:
            self._not_before = now + self.min_interval

    def _due_by(self, moment: float) -> None:
        self._due = moment if self._due is None else min(self._due, moment)


def _failed_event(error: CtemplateError) -> type[GroupFailed]:
    if isinstance(error, TemplateError):
        return RenderFailed
    if isinstance(error, CheckRefused):
        return CandidateRejected
    if isinstance(error, SwapFailed) or not isinstance(error, ApplyError):
        return FilesFailed
    return ReloadFailed


async def distribute(catalog: Catalog, workers: Callable[[], Iterable[GroupWorker]]) -> None:
    """Flag the current workers when answers change, until cancelled."""
    clock, defects = asyncio.get_running_loop().time, Defects()
    while True:
        changed = await catalog.news()
        for worker in workers():
            try:
                worker.flag(changed, clock())
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind
                defects.report(worker.pipeline.subject, exc)
                worker.rouse(clock())
