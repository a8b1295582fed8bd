"""Long-running parts as values: ``reconcile`` starts and stops parts until exactly the wanted ones run.

Knows nothing of what the parts do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import field

from ctemplate.core.defects import kept_running
from ctemplate.core.event_stream import emit
from ctemplate.core.group_events import GroupCancelled
from ctemplate.core.values import dataclass

STOP_LIMIT = 20.0  # seconds for a part to finish its work when it is stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonService:
    """A part that runs until it is not wanted any more. A service with an equal key is the same one and keeps running.

    ``name`` is used in reports. ``stop`` asks it to end after its current work; without ``stop`` it is cancelled.
    """

    key: Hashable
    name: str
    run: Callable[[], Awaitable[None]]
    stop: Callable[[], None] | None = None


@dataclass(slots=True)
class DaemonServices:
    """The services that run in a task group; a service that a defect ends is restarted."""

    tasks: asyncio.TaskGroup
    _running: dict[Hashable, tuple[DaemonService, asyncio.Task[None]]] = field(default_factory=dict)

    async def reconcile(self, wanted: Iterable[DaemonService]) -> None:
        """Stop the services that are not wanted any more, wait for their end, then start the missing ones."""
        services = {service.key: service for service in wanted}
        ending = [self._running.pop(key) for key in self._running.keys() - services.keys()]
        await self._end(ending)
        for key, service in services.items():
            if key not in self._running:
                work = kept_running(service.name, service.run)
                self._running[key] = (service, self.tasks.create_task(work, name=service.name))

    async def _end(self, ending: list[tuple[DaemonService, asyncio.Task[None]]]) -> None:
        """Stop or cancel services; one that takes too long to stop is cancelled."""
        patient = {task for service, task in ending if service.stop is not None}
        for service, task in ending:
            if service.stop is not None:
                service.stop()
            else:
                task.cancel()
        if ending:
            tasks = {task for _, task in ending}
            _, late = await asyncio.wait(tasks, timeout=STOP_LIMIT)
            for task in late & patient:
                emit(GroupCancelled(group=task.get_name(), seconds=STOP_LIMIT))
                task.cancel()
            if late:
                await asyncio.wait(late)
