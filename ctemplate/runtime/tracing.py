"""Traces for OpenTelemetry: each change of a group is one, from the data's arrival to the proof that the files run.

Spans are made from the events of a change when it has ended, with the times of the events; the SDK sends them in
a separate thread with a bounded queue. Imported only if traces are enabled; needs ``ctemplate[otel]``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import field
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from ctemplate import __version__
from ctemplate.core.event_stream import Event, EventStream
from ctemplate.core.events import AnswerChanged
from ctemplate.core.group_events import (
    Applied,
    CheckEnded,
    FilesReplaced,
    GroupFailed,
    ReloadEnded,
    ReloadOwed,
    Rendered,
    RolledBack,
)
from ctemplate.core.values import dataclass

STEPS_KEPT = 100  # of one group between two ends
ANSWERS_KEPT = 1000
ANSWERS_SHOWN = 50  # in one trace
SECOND = 1_000_000_000  # in nanoseconds
EARLY = SECOND // 20  # by how much an answer may have come before its group heard of it
SHUTDOWN_LIMIT = 5.0  # seconds for the last spans
GOOD_RESULTS = {"ok", "accepted", "unread", "applied", "pending", "waiting", "impossible"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStep:
    """A step of a change that has ended: its name and times in nanoseconds since 1970."""

    name: str
    began: int
    ended: int
    attributes: dict[str, Any] = field(default_factory=dict)


class Tracing:
    """Makes spans of events; ``take`` subscribes, in any thread, and never waits."""

    def __init__(self, exporter: SpanExporter) -> None:
        resource = Resource.create({"service.name": "ctemplate", "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("ctemplate", __version__)
        self._steps: dict[str, deque[TracedStep]] = {}
        self._answers: deque[TracedStep] = deque(maxlen=ANSWERS_KEPT)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask ``run`` to end after the last spans are sent."""
        self._stopping.set()

    async def run(self, events: EventStream) -> None:
        """Make spans of a stream's events until stopped."""
        with events.subscribed("tracing", self.take):
            await self._stopping.wait()
        async with asyncio.timeout(SHUTDOWN_LIMIT):
            await asyncio.to_thread(self._provider.shutdown)

    def take(self, event: Event) -> None:
        """Keep a step; at the end of a change make its trace."""
        now = time.time_ns()
        if isinstance(event, AnswerChanged):
            about = {"ctemplate.query": event.query, "ctemplate.kind": event.kind}
            self._answers.append(TracedStep(name="answer", began=now, ended=now, attributes=about))
        elif isinstance(event, Rendered | CheckEnded | ReloadEnded):
            name = {Rendered: "render", CheckEnded: "check", ReloadEnded: "reload"}[type(event)]
            began = now - int(event.seconds * SECOND)
            about = {"ctemplate.result": event.result}
            self._keep(event.group, TracedStep(name=name, began=began, ended=now, attributes=about))
        elif isinstance(event, FilesReplaced):
            self._keep(event.group, TracedStep(name="files replaced", began=now, ended=now))
        elif isinstance(event, RolledBack):
            self._keep(event.group, TracedStep(name="roll back", began=now, ended=now))
        elif isinstance(event, Applied | ReloadOwed | GroupFailed):
            self._end(event, now)

    def _keep(self, group: str, step: TracedStep) -> None:
        self._steps.setdefault(group, deque(maxlen=STEPS_KEPT)).append(step)

    def _end(self, event: Applied | ReloadOwed | GroupFailed, now: int) -> None:
        """Make the trace of a change: its steps since the first data of it arrived, else since its last render."""
        kept = tuple(self._steps.pop(event.group, ()))
        last = max((number for number, step in enumerate(kept) if step.name == "render"), default=0)
        steps, began = list(kept[last:]), now
        if isinstance(event, Applied) and event.waited is not None:
            began = now - int(event.waited * SECOND)
            answers = [step for step in self._answers.copy() if step.began >= began - EARLY][-ANSWERS_SHOWN:]
            steps = [*answers, *(step for step in kept[:last] if step.began >= began), *steps]
        began = min([began, *(step.began for step in steps)])
        self._make(event, began, now, steps)

    def _make(
        self, event: Applied | ReloadOwed | GroupFailed, began: int, ended: int, steps: Iterable[TracedStep]
    ) -> None:
        about = {"ctemplate.group": event.group, "ctemplate.files": event.subject, "ctemplate.event": event.name}
        if isinstance(event, Applied):
            about |= {f"ctemplate.{name}": getattr(event, name) for name in ("lines_added", "lines_removed")}
        root = self._tracer.start_span("change", start_time=began, attributes=about)
        inside = set_span_in_context(root)
        for step in steps:
            span = self._tracer.start_span(step.name, inside, start_time=step.began, attributes=step.attributes)
            if step.attributes.get("ctemplate.result", "ok") not in GOOD_RESULTS:
                span.set_status(Status(StatusCode.ERROR))
            span.end(step.ended)
        if isinstance(event, GroupFailed):
            root.set_status(Status(StatusCode.ERROR, f"{event.where}: {event.what}"))
        root.end(ended)
