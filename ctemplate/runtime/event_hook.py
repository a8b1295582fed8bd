"""Passes events to a command or a URL, as ``[on_event]`` says: one after another, each within its time limit.

No work waits for it: the queue is bounded, and what finds no room is counted and reported. Events of the hook itself
are not handed to it. It starts before everything else and ends after it, within what is left of the time to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pkgutil
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import field
from typing import Any

import msgspec

from ctemplate.config.command_env import environment_of
from ctemplate.config.schema import OnEventSection
from ctemplate.core.defects import kept_running
from ctemplate.core.errors import CommandFailed, printable
from ctemplate.core.event_stream import Event, EventStream, emit
from ctemplate.core.host_events import HookDropped, HookFailed
from ctemplate.core.values import dataclass
from ctemplate.runtime.services import STOP_LIMIT
from ctemplate.status.history import level_word
from ctemplate.system.programs import format_command, run_program

QUEUED_EVENTS = 1000
VARIABLE_LENGTH_BYTES = 100_000  # of one environment variable; the kernel takes 128 KiB


EXIT_SECONDS = 2.0  # that remain for the process to exit, of the time to stop


@dataclass(slots=True, kw_only=True)
class EventHook:
    """A bounded queue of events and the task that hands them out; ``stop`` ends it once the queue is empty.

    ``section`` says which events it takes and who gets them; it may be replaced at any time.
    """

    events: EventStream
    section: OnEventSection
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    _queue: deque[Event] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _dropped: int = 0
    _is_stopping: bool = False
    _is_busy: bool = False
    _failure: str = ""

    def stop(self) -> None:
        """Ask ``run`` to end after what is queued."""
        self._is_stopping = True
        self._wake.set()

    def take(self, event: Event) -> None:
        """Queue an event that the configuration asks for; any thread may call it."""
        if isinstance(event, HookFailed | HookDropped) or not self._is_wanted(event):
            return
        if len(self._queue) >= QUEUED_EVENTS:
            self._dropped += 1
            return
        self._queue.append(event)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _is_wanted(self, event: Event) -> bool:
        if not self.section.command and not self.section.url:
            return False
        if self.section.events:
            return event.name in self.section.events
        return event.severity >= logging.getLevelNamesMapping()[self.section.level.upper()]

    @contextlib.asynccontextmanager
    async def serving(self, remaining: Callable[[], float | None]) -> AsyncIterator[None]:
        """Hand out the events until left, and then those that are queued; cancellation leaves at once.

        Leaving takes ``STOP_LIMIT`` seconds at most, and fewer if ``remaining``, the seconds until the process is ended
        by force, are fewer.
        """
        with self.events.subscribed("on_event", self.take):
            task = asyncio.create_task(kept_running("on-event", self.run), name="on-event")
            try:
                yield
            except asyncio.CancelledError:
                await self._cancel(task)
                raise
            except BaseException:
                await self._end(task, remaining())
                raise
            await self._end(task, remaining())

    async def _end(self, task: asyncio.Task[None], remaining: float | None) -> None:
        """Wait until the queued events are handed out, or the time for that is over."""
        self.stop()
        limit = STOP_LIMIT if remaining is None else min(STOP_LIMIT, remaining - EXIT_SECONDS)
        try:
            await asyncio.wait((task,), timeout=max(limit, 0.0))
        finally:
            await self._cancel(task)

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        """End the task at once, if it has not ended; report the events that are not handed out then."""
        lost = len(self._queue) + self._is_busy
        task.cancel()
        await asyncio.wait((task,))
        if lost:
            emit(HookDropped(count=lost, reason="there was no time left for them when ctemplate stopped"))

    async def run(self) -> None:
        """Hand out events until stopped."""
        self._loop = asyncio.get_running_loop()
        while self._queue or not self._is_stopping:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._is_busy = True
            await self._hand_out(self._queue.popleft())
            self._is_busy = False
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                emit(HookDropped(count=dropped))

    async def _hand_out(self, event: Event) -> None:
        """Run the command and ask the URL; what fails is reported, once while it stays the same, and not retried."""
        failures = [
            await deliver(event)
            for deliver, is_set in ((self._run_command, self.section.command), (self._post, self.section.url))
            if is_set
        ]
        failure = "; ".join(each for each in failures if each)
        if failure:
            emit(HookFailed(event_name=event.name, reason=failure, is_repeated=failure == self._failure))
        self._failure = failure

    async def _run_command(self, event: Event) -> str:
        """Run the command with the event in its environment; return why that failed."""
        command, environ = self.section.command or (), environment_of(self.section.env, self.environ)
        given = {"": event_json(event).decode(), "_NAME": event.name, "_LEVEL": level_word(event.severity)}
        given["_TEXT"] = printable(event, 4000)
        variables = {f"CTEMPLATE_EVENT{name}": _shortened(text) for name, text in given.items()}
        try:
            ended = await run_program(command, timeout=self.section.timeout, environ={**environ, **variables})
        except CommandFailed as exc:
            return str(exc)
        return "" if ended.status == 0 else f"{format_command(command)}: exit status {ended.status}"

    async def _post(self, event: Event) -> str:
        """Post the event; return why that failed. The URL, which may hold a secret, is not named."""
        httpx: Any = pkgutil.resolve_name("httpx")
        headers = {"Content-Type": "application/json", "User-Agent": "ctemplate"}
        try:
            async with asyncio.timeout(self.section.timeout), httpx.AsyncClient(timeout=self.section.timeout) as client:
                reply = await client.post(self.section.url, content=event_json(event), headers=headers)
        except TimeoutError:
            return f"the URL did not answer within {self.section.timeout:g}s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            return f"the URL cannot be reached: {type(exc).__name__}"
        return "" if reply.is_success else f"the URL answered with status {reply.status_code}"


def _shortened(text: str) -> str:
    """Return a text in as many bytes as one environment variable may have, without a part of a character."""
    return text.encode(errors="replace")[:VARIABLE_LENGTH_BYTES].decode(errors="ignore")


def event_json(event: Event) -> bytes:
    """Return an event as JSON, with its level, its sentence and, on their own, its fields."""
    fields = msgspec.to_builtins(msgspec.structs.asdict(event))
    about = {"event": event.name, "level": level_word(event.severity), "message": printable(event, 4000)}
    return msgspec.json.encode({**about, "fields": fields})
