"""The stream of typed events: every part emits what happens, and the log lines are written from it.

Metrics, status and hooks subscribe. A subscriber is called at once, in the emitter's thread, and must not wait; a slow
one has its own bounded queue. Knows no kind of event but the one for its own defects.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import ClassVar

import msgspec

logger = logging.getLogger("ctemplate.events")

MINUTE = 60.0
UNLOGGED = logging.NOTSET  # the level of events that are counted only


def _stable_name(class_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=_stable_name):
    """Something that happened. Its name is stable, ``reload_owed`` for the class ``ReloadOwed``; ``str`` is its line.

    Fields are plain values, so that every event can be written as JSON.
    """

    LEVEL: ClassVar[int] = logging.INFO
    IS_LIMITED: ClassVar[bool] = False  # whether its lines in the log are, since data of others can cause any number

    @property
    def name(self) -> str:
        """The stable name."""
        return str(self.__struct_config__.tag)

    @property
    def severity(self) -> int:
        """The level of the log line, ``UNLOGGED`` for none."""
        return self.LEVEL


class OngoingEvent(Event, frozen=True, kw_only=True):
    """What may go on unchanged; ``is_repeated``: it was reported before, so that its line has its level once only."""

    is_repeated: bool = False

    @property
    def severity(self) -> int:
        """The level of the log line: DEBUG for what stays the same."""
        return logging.DEBUG if self.is_repeated else self.LEVEL


class SubscriberFailed(Event, frozen=True, kw_only=True):
    """A subscriber raised an exception; it misses this event and gets the next one."""

    LEVEL: ClassVar[int] = logging.ERROR
    subscriber: str
    cause: str

    def __str__(self) -> str:
        return f"{self.subscriber}: a defect of ctemplate's own, please report it: {self.cause}"


Subscriber = Callable[[Event], None]


class LinesLeftOut(Event, frozen=True, kw_only=True):
    """More than 100 events of a kind occurred within a minute; the others are not logged."""

    LEVEL: ClassVar[int] = logging.WARNING
    kind: str
    count: int

    def __str__(self) -> str:
        return f"{self.count} more lines of the event {self.kind} within a minute are not logged; see its metric"


class LineLimit:
    """Counts the lines of each limited event in the minute that begins with its first one."""

    def __init__(self, lines: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._clock = clock
        self._began: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def admits(self, event: Event) -> bool:
        """Return whether the event gets its line; report the lines left out in minutes that have ended."""
        now = self._clock()
        for name in [name for name, began in self._began.items() if now - began >= MINUTE]:
            left_out = self._counts.pop(name, 0) - self._lines
            self._began.pop(name, None)
            if left_out > 0:
                write_log(LinesLeftOut(kind=name, count=left_out))
        if not event.IS_LIMITED or event.severity == UNLOGGED:
            return True
        self._began.setdefault(event.name, now)
        self._counts[event.name] = self._counts.get(event.name, 0) + 1
        return self._counts[event.name] <= self._lines


class EventStream:
    """Writes each event's log line and passes the event to the subscribers; ``emit`` finds the current stream."""

    def __init__(self, *, lines_per_minute: int | None = None) -> None:
        """Begin without subscribers; ``lines_per_minute`` bounds the lines of each event that is limited."""
        self._limit = LineLimit(lines_per_minute) if lines_per_minute is not None else None
        self._subscribers: dict[str, Subscriber] = {}
        self._failures: dict[str, str] = {}

    @contextlib.contextmanager
    def subscribed(self, name: str, subscriber: Subscriber) -> Iterator[None]:
        """Hand every event to a subscriber until left; reports of its defects use ``name``."""
        self._subscribers = {**self._subscribers, name: subscriber}
        try:
            yield
        finally:
            self._subscribers = {known: each for known, each in self._subscribers.items() if known != name}

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Make this the stream of the context, and of the tasks and threads started in it, until left."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def publish(self, event: Event) -> None:
        """Log the event and pass it on; never raises and never waits. Any thread may call it."""
        if self._limit is None or self._limit.admits(event):
            write_log(event)
        for name, subscriber in self._subscribers.items():
            try:
                subscriber(event)
            except Exception as exc:  # noqa: BLE001 - a defect, of any kind, costs this subscriber an event
                self._report(name, exc)

    def _report(self, name: str, cause: Exception) -> None:
        """Report a failed subscriber, the same failure only once; the other subscribers get that event."""
        failed = SubscriberFailed(subscriber=name, cause=f"{type(cause).__name__}: {cause}")
        if self._failures.get(name) == failed.cause:
            return
        self._failures[name] = failed.cause
        write_log(failed)
        for other, subscriber in self._subscribers.items():
            if other != name:
                with contextlib.suppress(Exception):
                    subscriber(failed)


class HoldingStream(EventStream):
    """Keeps the events of one kind in ``held``, and passes all others on to the stream of the context at once."""

    def __init__(self, kind: type[Event]) -> None:
        """Begin without held events."""
        super().__init__()
        self.held: list[Event] = []
        self._kind = kind
        self._beyond = _current.get()

    def publish(self, event: Event) -> None:
        """Keep the event, or pass it on."""
        if isinstance(event, self._kind):
            self.held.append(event)
        else:
            self._beyond.publish(event)


def write_log(event: Event) -> None:
    """Write the event's log line; the record carries the event."""
    if event.severity != UNLOGGED and logger.isEnabledFor(event.severity):
        logger.log(event.severity, "%s", event, extra={"event": event})


_current: ContextVar[EventStream] = ContextVar("event_stream", default=EventStream())  # noqa: B039 - without subscribers


def emit(event: Event) -> None:
    """Publish an event to the stream of this context."""
    _current.get().publish(event)
