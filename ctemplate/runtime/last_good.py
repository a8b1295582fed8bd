"""What a group's part of the state folder stores of its last good rendering, for a later process.

The baseline, which distinguishes an edit from a change of data; the templates it was made from; the last good data of
services whose newer data no template can print. Knows nothing of templates beyond these values.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TypeVar

import msgspec

from ctemplate.apply import write_private
from ctemplate.core.errors import reason_of
from ctemplate.core.event_stream import emit
from ctemplate.core.host_events import StateUnusable
from ctemplate.core.model import Answer
from ctemplate.core.values import dataclass
from ctemplate.guard import Memory
from ctemplate.runtime.answer_store import decoded_answers, encoded_answers
from ctemplate.system.ownership import read_private
from ctemplate.template import Baseline, KnownGood, Template, template_digest

log = logging.getLogger(__name__)

BASELINE_NAME = "rendered.json"
TEMPLATES_NAME = "templates.json"
SERVICES_NAME = "last-good.json"

Page = TypeVar("Page")


class KeptTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """The texts of a template and the templates it includes, by name, with the names that errors show for them."""

    destination: str
    texts: dict[str, tuple[str, str]]


class KeptTemplates(msgspec.Struct, frozen=True, kw_only=True):
    """A group's templates; ``digest`` is that of the baseline they belong to."""

    digest: str
    templates: tuple[KeptTemplate, ...]


class KeptServices(msgspec.Struct, frozen=True, kw_only=True):
    """The last good data in use, and for how many seconds each was in use when this was written.

    ``spent`` are those of services, ``things`` those of keys and other entries that belong to no service.
    """

    written_at: float
    spent: dict[str, float]
    answers: msgspec.Raw
    things: dict[str, float] = {}


@dataclass(slots=True, kw_only=True)
class LastRendered:
    """The files of one group; ``is_written`` is False for a process that only reads.

    ``stands_still``: the time limit of last good data does not run while no process runs.
    """

    folder: Path
    is_written: bool = True
    stands_still: bool = False
    _digest: str = ""
    _baseline: Baseline | None = None
    _services: tuple[frozenset[str], tuple[Answer, ...]] | None = None
    _failed: set[str] = field(default_factory=set)

    def baseline(self) -> Baseline | None:
        """Return the baseline, None where there is none that can be read."""
        consequence = "the templates are judged as if they were new"
        found = self._load(BASELINE_NAME, Baseline, consequence)
        self._digest = "" if found is None else found.template
        return found

    def texts(self) -> Mapping[str, Mapping[str, tuple[str, str]]]:
        """Return the texts of the baseline's templates, by destination; empty where they are unknown."""
        baseline = self._load(BASELINE_NAME, Baseline, "")
        found = self._load(TEMPLATES_NAME, KeptTemplates, "an edited template that fails has nothing to go back to")
        if found is None or baseline is None or found.digest != baseline.template:
            return {}
        return {kept.destination: kept.texts for kept in found.templates}

    def services(self) -> KnownGood:
        """Return the last good data in use."""
        found = self._load(SERVICES_NAME, KeptServices, "starting without the last good data of services")
        if found is None:
            return KnownGood()
        paused = 0.0 if self.stands_still else max(time.time() - found.written_at, 0.0)
        try:
            memories = decoded_answers(bytes(found.answers))
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            path = str(self.folder / SERVICES_NAME)
            emit(StateUnusable(path=path, reason=f"is damaged: {exc}", consequence="starting without"))
            return KnownGood()
        answers = tuple(memory.answer for memory in memories if isinstance(memory, Memory))
        spent, things = (
            {name: seconds + paused for name, seconds in ages.items()} for ages in (found.spent, found.things)
        )
        return KnownGood(answers=answers, spent=spent, things=things)

    def save(self, baseline: Baseline, templates: Sequence[Template], destinations: Sequence[Path]) -> None:
        """Store a baseline and its templates; a write error is logged and has no other effect."""
        if baseline.template != self._digest and baseline.template == template_digest(templates):
            both = zip(destinations, templates, strict=True)
            kept = tuple(KeptTemplate(destination=str(path), texts=dict(each.texts)) for path, each in both)
            page = KeptTemplates(digest=baseline.template, templates=kept)
            if not self._save(TEMPLATES_NAME, msgspec.json.encode(page)):
                return
            self._digest = baseline.template
        if self._save(BASELINE_NAME, msgspec.json.encode(baseline)):
            self._baseline = baseline

    def save_all(
        self, baseline: Baseline, templates: Sequence[Template], destinations: Sequence[Path], known: KnownGood
    ) -> None:
        """Store what is not stored yet of a baseline, its templates and the last good data in use."""
        if self._is_lost:
            self._baseline, self._digest, self._services = None, "", None
        if baseline is not self._baseline:
            self.save(baseline, templates, destinations)
        self.save_services(known)

    def is_saved(self, baseline: Baseline, known: KnownGood) -> bool:
        """Whether this very baseline, and these last good data in use, were stored by this process."""
        is_same = baseline is self._baseline and self._services == (_names(known), known.answers)
        return is_same and not self._is_lost

    @property
    def _is_lost(self) -> bool:
        """Whether the folder was deleted and made again since this process stored the baseline there."""
        is_stored = self._baseline is not None and self.is_written
        return is_stored and self.folder.is_dir() and not (self.folder / BASELINE_NAME).exists()

    def save_services(self, known: KnownGood, *, with_ages: bool = False) -> None:
        """Store the last good data in use, if they changed, or to update their ages."""
        names, before = _names(known), self._services
        now = (names, known.answers)
        is_same = before == now and not (with_ages and names)
        if is_same or (before is None and not names and not (self.folder / SERVICES_NAME).exists()):
            self._services = now
            return
        wall = time.time()
        answers = encoded_answers([Memory(answer=answer) for answer in known.answers], wall=wall)
        spent, things = dict(known.spent), dict(known.things)
        page = KeptServices(written_at=wall, spent=spent, things=things, answers=msgspec.Raw(answers))
        if self._save(SERVICES_NAME, msgspec.json.encode(page)):
            self._services = now

    def _load(self, name: str, kind: type[Page], consequence: str) -> Page | None:
        path = self.folder / name
        try:
            return msgspec.json.decode(read_private(path), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            if self.is_written and consequence:
                emit(StateUnusable(path=str(path), reason=f"cannot be read: {reason_of(exc)}", consequence=consequence))
            else:
                log.debug("%s: cannot be read: %s; %s", path, exc, consequence)
            return None

    def _save(self, name: str, content: bytes) -> bool:
        """Write a file; return whether there is nothing left to write. A failure that repeats is no second warning."""
        if not self.is_written:
            return True
        try:
            write_private(self.folder / name, content, durable=False)
        except OSError as exc:
            path, reason = str(self.folder / name), f"cannot be written: {exc.strerror or exc}"
            then, is_repeated = "known to this process only", name in self._failed
            emit(StateUnusable(path=path, reason=reason, consequence=then, is_repeated=is_repeated))
            self._failed.add(name)
            return False
        self._failed.discard(name)
        return True


def _names(known: KnownGood) -> frozenset[str]:
    return frozenset((*known.spent, *known.things))
