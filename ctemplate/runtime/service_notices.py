"""What the service manager hears of the daemon: that it runs, reads its configuration again, stops, and makes progress.

READY does not wait for Consul: otherwise the daemon would be restarted again and again during an outage. STATUS
says how far it is. The watchdog is fed by the event loop, and only while no group is stuck.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable

from ctemplate.core.defects import kept_running
from ctemplate.core.errors import printable
from ctemplate.core.event_stream import Event, EventStream
from ctemplate.core.events import ConfigurationReloading, Started, Stopping
from ctemplate.core.values import dataclass
from ctemplate.runtime.group_worker import GroupWorker
from ctemplate.runtime.status_view import group_condition
from ctemplate.status.health import STUCK_AFTER
from ctemplate.system.service_manager import ServiceManager

STATUS_INTERVAL = 2.0  # seconds between two looks at what STATUS says
FED_OFTEN = 3  # times within what the watchdog allows
STATUS_LENGTH = 300  # characters; a terminal shows one line


@dataclass(slots=True, kw_only=True)
class ServiceNotices:
    """Notifies a service manager of the daemon's events, and of the progress of its workers."""

    manager: ServiceManager
    workers: Callable[[], Iterable[GroupWorker]]
    _status: str = ""

    def take(self, event: Event) -> None:
        """Send the notification of an event that the manager expects."""
        if isinstance(event, Started):
            self.manager.tell(READY=1, STATUS="started")
        elif isinstance(event, ConfigurationReloading) and not event.is_over:
            self.manager.tell(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        elif isinstance(event, ConfigurationReloading):
            self.manager.tell(READY=1)
        elif isinstance(event, Stopping):
            self.manager.tell(STOPPING=1, STATUS="stopping")

    async def follow(self) -> None:
        """Feed the watchdog and keep the status line current, until cancelled."""
        allowed = self.manager.watchdog
        interval = STATUS_INTERVAL if allowed is None else min(STATUS_INTERVAL, allowed / FED_OFTEN)
        while True:
            workers = tuple(self.workers())
            if allowed is not None and all(worker.stuck_for <= STUCK_AFTER for worker in workers):
                self.manager.tell(WATCHDOG=1)
            status = status_line(workers)
            if status and status != self._status:
                self._status = status
                self.manager.tell(STATUS=status)
            await asyncio.sleep(interval)


def status_line(workers: Iterable[GroupWorker]) -> str:
    """Return how the groups do in one line: how many are in which condition, and the first error."""
    workers = tuple(workers)
    counts = Counter(group_condition(worker) for worker in workers)
    conditions = ", ".join(f"{count} {condition}" for condition, count in sorted(counts.items()))
    line = f"{len(workers)} group{'' if len(workers) == 1 else 's'}: {conditions}" if workers else ""
    error = next((f"; {worker.error}" for worker in workers if worker.error is not None), "")
    return printable(f"{line}{error}".replace("\n", " "), STATUS_LENGTH)


@contextlib.asynccontextmanager
async def telling_of(
    manager: ServiceManager | None, events: EventStream, workers: Callable[[], Iterable[GroupWorker]]
) -> AsyncIterator[None]:
    """Notify a service manager, where there is one, of events until the context ends."""
    if manager is None:
        yield
        return
    notices = ServiceNotices(manager=manager, workers=workers)
    following = asyncio.create_task(kept_running("service manager", notices.follow), name="service-manager")
    try:
        with events.subscribed("service manager", notices.take):
            yield
    finally:
        following.cancel()
        await asyncio.wait((following,))
