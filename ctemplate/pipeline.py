"""One group from a snapshot to an outcome: render, then apply. The daemon, ``-once`` and ``-dry`` share this path.

Knows nothing of tasks, signals or where answers come from.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ctemplate.errors import ApplyError, printable
from ctemplate.model import Fault, Outcome, Output, Snapshot, Target
from ctemplate.nginx.surroundings import Place, Surroundings
from ctemplate.template import Renderer, Rendering, Template

logger = logging.getLogger(__name__)

SLOW_RENDER = 0.02  # seconds; a group of which a render took longer once goes to a thread, off the event loop
MANY_ANSWERS = 1000  # of a group that was never rendered; it may be slow

Places = tuple[Place | None, ...]


class Sink(Protocol):
    """Where a group's outputs go: to the live files by a transaction, or to the terminal."""

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Bring the outputs to their place, all or none; raises ApplyError."""

    def wrote(self, destination: Path) -> bool:
        """Whether the file at the destination is, untouched since, what this sink put there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one run came to; WAITING when the rendering still lacks answers."""

    outcome: Outcome
    rendering: Rendering


class Pipeline:
    """One group's templates and the sink for what they make."""

    def __init__(
        self,
        *,
        name: str,
        templates: Sequence[Template],
        targets: Sequence[Target],
        sink: Sink,
        surroundings: Surroundings | None = None,
    ) -> None:
        """Take the group's parts; ``surroundings`` are there where its files are nginx's, and then are proven."""
        self.name = name
        self.targets = tuple(targets)
        self.sink = sink
        self.templates = tuple(templates)
        self._renderer = Renderer(self.templates)
        self._surroundings = surroundings
        self._slowest = 0.0
        self.quarantined: tuple[Fault, ...] = ()

    @property
    def subject(self) -> str:
        """The group's files, for a sentence about them."""
        first, *others = (str(target.destination) for target in self.targets)
        return f"{first} and {len(others)} more" if others else first

    async def render(self, snapshot: Snapshot, places: Places) -> Rendering:
        """Render the group's templates; a big one in a thread, so that the event loop goes on."""
        in_thread = self._slowest > SLOW_RENDER or len(snapshot) > MANY_ANSWERS
        started = time.monotonic()
        if in_thread:
            rendering = await asyncio.to_thread(self._renderer.render, snapshot, places)
        else:
            rendering = self._renderer.render(snapshot, places)
        self._slowest = max(self._slowest, time.monotonic() - started)
        return rendering

    async def places(self) -> Places:
        """Return where each file stands in nginx's configuration, None for one that is no part of it."""
        if self._surroundings is None:
            return ()
        places = await self._surroundings.places()
        both = zip(self.templates, places, strict=True)
        return tuple(place if template.is_for_nginx else None for template, place in both)

    async def run(self, rendering: Rendering) -> Result:
        """Apply a rendering, unless it still lacks answers. Raises ApplyError with the templates' lines added."""
        if rendering.missing:
            return Result(outcome=Outcome.WAITING, rendering=rendering)
        self._log_quarantine(rendering.quarantined)
        outputs = tuple(
            Output(target=target, content=text.encode("utf-8", "surrogateescape"))
            for target, text in zip(self.targets, rendering.texts, strict=True)
        )
        try:
            outcome = await self.sink.apply(outputs)
        except ApplyError as exc:
            exc.output = tuple(self._with_origin(line) for line in exc.output)
            raise
        return Result(outcome=outcome, rendering=rendering)

    def _log_quarantine(self, quarantined: tuple[Fault, ...]) -> None:
        """Say once what is left out, and once that it is back."""
        for fault in quarantined:
            if fault not in self.quarantined:
                logger.warning("%s; left out, the rest goes on", fault)
        back = {fault.service for fault in self.quarantined} - {fault.service for fault in quarantined}
        for service in sorted(back):
            logger.info("service %s: no longer left out", printable(repr(service)))
        self.quarantined = quarantined

    def _with_origin(self, line: str) -> str:
        """Add the template's line to a program's line that names one of the group's files: ``… in FILE:14 (T:9)``."""
        for number, target in enumerate(self.targets):
            found = _place(line, target.destination)
            origin = self._renderer.origin(number, found) if found else None
            if origin:
                return f"{line} ({origin})"
        return line


def _place(text: str, path: Path) -> int | None:
    """Return the line number behind the path in a text, however the path is written there."""
    spellings = "|".join(re.escape(str(spelling)) for spelling in {path, path.absolute(), path.resolve()})
    found = re.search(rf"(?<![^\s\"'(])(?:{spellings}):(\d+)", text)
    return int(found[1]) if found else None


class Collected:
    """A sink that keeps the outputs instead of writing them."""

    def __init__(self) -> None:
        self.outputs: tuple[Output, ...] = ()

    async def apply(self, outputs: tuple[Output, ...]) -> Outcome:
        """Keep the outputs."""
        self.outputs = outputs
        return Outcome.UNCHANGED

    def wrote(self, destination: Path) -> bool:  # noqa: ARG002  # the sinks' signature
        """Answer False: nothing is ever written."""
        return False
