"""The Consul source: follows the catalog's wishes, one watch per wanted query.

The only place that owns tasks. Which queries get a long poll is decided here and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass

from ctemplate.catalog import Catalog
from ctemplate.errors import ConfigError, SourceError, printable
from ctemplate.model import Answer, AnyQuery, Fault
from ctemplate.sources.consul.client import Client
from ctemplate.sources.consul.entries import Edge
from ctemplate.sources.consul.settings import ConsulSettings
from ctemplate.sources.consul.troubles import Troubles
from ctemplate.sources.consul.watch import Retries, Watch

logger = logging.getLogger(__name__)

STARTS_AT_ONCE = 50
START_INTERVAL = 0.02  # seconds between fifties of first requests: an agent takes a thousand in half a second
FAULTS_LOGGED = 5  # per answer; the rest is counted


@dataclass(slots=True)
class Running:
    """A watch and the task that runs it."""

    watch: Watch
    task: asyncio.Task[None]


class ConsulSource:
    """Answers the catalog's queries from Consul. The constructor raises ConfigError for settings that cannot work."""

    def __init__(self, settings: ConsulSettings) -> None:
        self._settings = settings
        self._client = Client(settings)
        try:
            self._edge = Edge(settings.limits)
        except ValueError as exc:
            raise ConfigError("allowed networks", str(exc)) from exc
        self.troubles = Troubles()
        self._retries = Retries(self._client, self.troubles)
        self._running: dict[AnyQuery, Running] = {}

    async def run(self, catalog: Catalog) -> None:
        """Answer the wanted queries until cancelled; see ``Source.run``.

        Raises SourceError where more queries are wanted than connections are allowed.
        """
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._follow(await catalog.wishes(), catalog, group)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self._running.clear()

    def _follow(self, wanted: Collection[AnyQuery], catalog: Catalog, group: asyncio.TaskGroup) -> None:
        limit = self._settings.max_connections
        if len(wanted) > limit:
            raise SourceError("consul", f"{len(wanted)} queries need a connection each, and {limit} are allowed")
        for dropped in self._running.keys() - wanted:
            self._running.pop(dropped).task.cancel()
            self.troubles.over(str(dropped), asyncio.get_running_loop().time())
        for query, running in self._running.items():
            if running.watch.answer is not None and catalog.get(query) is None:
                catalog.put(running.watch.answer)  # dropped and wanted again before anybody looked
        for number, query in enumerate(sorted(wanted - self._running.keys(), key=str)):
            self._start(query, catalog, group, delay=number // STARTS_AT_ONCE * START_INTERVAL)

    def _start(self, query: AnyQuery, catalog: Catalog, group: asyncio.TaskGroup, delay: float) -> None:
        watch = Watch(query, self._client, self._edge, self.troubles, self._retries)
        task = group.create_task(_feed(watch, catalog, delay), name=f"consul {query}")
        self._running[query] = Running(watch, task)


async def _feed(watch: Watch, catalog: Catalog, delay: float) -> None:
    """Put every answer of a watch into the catalog."""
    await asyncio.sleep(delay)
    known: tuple[Fault, ...] = ()
    async for answer in watch.answers():
        if answer.faults != known:
            _tell_faults(answer, known)
            known = answer.faults
        catalog.put(answer)


def _tell_faults(answer: Answer, known: tuple[Fault, ...]) -> None:
    fresh = [fault for fault in answer.faults if fault not in set(known)]
    for fault in fresh[:FAULTS_LOGGED]:
        logger.warning("%s; it is left out", fault)
    if len(fresh) > FAULTS_LOGGED:
        logger.warning("%s: %d more are left out", printable(answer.query), len(fresh) - FAULTS_LOGGED)
