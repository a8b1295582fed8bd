"""Fragments: the output of a loop's body for one service is cached, and reused while everything it read is unchanged.

A change of one service then costs a look-up instead of a render for each other one. Lists of keys are long, and a
look-up for each key would take too long; there, one fragment holds the text of a stretch of entries. A fragment depends
on the items, on the values that its body takes from outside the loop, and on the answers that it read. A body that
depends on anything else (``loop``, namespaces, includes) is not cut into fragments, and one with a problem is not
cached.

Must not know Jinja's compiler, or where texts go.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import field
from itertools import pairwise
from typing import Any

from ctemplate.core.model import CheckState, Instance, OwnedEntry, Service
from ctemplate.core.values import dataclass
from ctemplate.template.safety.limits import Meter
from ctemplate.template.safety.registered_numbers import RegisteredInt
from ctemplate.template.safety.render_pass import Checkpoint, Partly, Recorded, Run
from ctemplate.template.safety.tainted_text import TaintedText, Trusted, concatenated

STRETCH = 32
"""Entries of a stretch, on average: all of them are rendered again when one has changed."""

NEVER_READ = object()

VARIANTS = 4
"""Cached sets of fragments: for passes with and without placeholders, with and without omissions."""

_Cast = tuple[bool, frozenset[str], Partly]

SCALARS = frozenset({str, Trusted, int, RegisteredInt, bool, type(None)})
_VALUES = (Service, Instance, CheckState)
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Fragment:
    """One text, and what its making left in the run."""

    text: str
    traces: Recorded


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries that follow each other in a list, and the fragment of all of them."""

    entries: tuple[OwnedEntry, ...]
    fragment: Fragment


@dataclass(slots=True)
class Memo:
    """The fragments of one loop for certain values around it: those of the last pass, and those of this one.

    Stretches are found by their first entries.
    """

    surroundings: tuple[Any, ...]
    before: dict[Any, Fragment]
    stretches_before: dict[OwnedEntry, Stretch]
    now: dict[Any, Fragment] = field(default_factory=dict)
    stretches: dict[OwnedEntry, Stretch] = field(default_factory=dict)

    def find(self, item: Any, run: Run) -> Fragment | None:
        """Return the item's fragment, if it is as it would be rendered now."""
        found = self.now.get(item) or self.before.get(item)
        if found is None or not run.snapshot.reads_as(found.traces.reads):
            return None
        self.now[item] = found
        return found

    def find_stretch(self, entries: tuple[OwnedEntry, ...], run: Run) -> Stretch | None:
        """Return the stretch of these entries, if it is as it would be rendered now."""
        first = entries[0]
        found = self.stretches.get(first) or self.stretches_before.get(first)
        if found is None or found.entries != entries or not run.snapshot.reads_as(found.fragment.traces.reads):
            return None
        self.stretches[first] = found
        return found


@dataclass(frozen=True, slots=True)
class PendingFragment:
    """A fragment that is being rendered: where the run stood when it began.

    ``stretch`` takes its text, if it is one of a stretch's. ``unread`` is what was read last in front of a section: one
    that reads nothing else is not cached, as whatever is read last in front of it counts behind it as well.
    """

    memo: Memo | None
    item: Any
    marks: Checkpoint
    stretch: list[str] | None = None
    unread: object = NEVER_READ


class Fragments:
    """The fragments of one template and of what it includes; compiled templates call ``of``, ``kept`` and ``keep``."""

    def __init__(self, *, is_traced: bool = False) -> None:
        """Take note whether a template is traced: then who was read around a loop counts within it as well."""
        self._is_traced = is_traced
        self._constants: dict[int, Any] = {}
        self._casts: dict[_Cast, dict[Hashable, Memo]] = {}
        self._before: dict[Hashable, Memo] = {}
        self._now: dict[Hashable, Memo] = {}
        self._open: list[PendingFragment] = []
        self._stretch: list[str] | None = None  # takes the text of the entry that the loop gets next
        self._run: Run

    def trust(self, constants: Iterable[Any]) -> None:
        """Take values that are, and do, the same in each pass."""
        self._constants.update((id(value), value) for value in constants)

    def is_constant(self, value: Any) -> bool:
        """Whether the value was trusted."""
        return id(value) in self._constants

    def start(self, run: Run) -> None:
        """Begin a pass."""
        self._run = run
        self._before = self._casts.get(_cast(run), {}) if run.keeps else {}
        self._now = {}
        self._open.clear()
        self._stretch = None

    def finish(self) -> None:
        """End a pass that went through: what it did not print is forgotten."""
        if self._run.keeps:
            cast = _cast(self._run)
            self._casts.pop(cast, None)
            self._casts[cast] = self._now
            if len(self._casts) > VARIANTS:
                del self._casts[next(iter(self._casts))]
        self._before, self._now = {}, {}

    def of(self, loop: str, surroundings: tuple[Any, ...]) -> Memo | None:
        """Return the fragments of a loop that starts; None where they depend on what cannot be compared."""
        if not self._run.keeps:
            return None
        shapes = tuple(map(self._shape, surroundings))
        if None in shapes:
            return None
        key = (loop, shapes)
        memo = self._now.get(key)
        if memo is None:
            before = self._before.get(key)
            known = ({}, {}) if before is None else (before.now, before.stretches)
            memo = self._now[key] = Memo(surroundings, *known)
        return memo

    def _shape(self, value: Any) -> Hashable:
        """Return a key that is equal for values that print alike; None where that is unknown."""
        kind = type(value)
        if kind in SCALARS:
            return kind, value
        if kind is TaintedText:
            return kind, value, value.shadow
        if isinstance(value, _VALUES) or self.is_constant(value):
            return kind, id(value)  # the cached entry keeps the value alive, so that its id is not reused
        if kind in {tuple, list} and len(value) <= _LONGEST and all(type(item) in SCALARS for item in value):
            return kind, *((type(item), item) for item in value)
        return None

    def kept(self, memo: Memo | None, item: Any) -> str | None:
        """Return the text for the loop's next item; None where it has to be rendered, and given to ``keep``."""
        run = self._run
        kind = type(item)
        if kind is Service or kind is Instance:
            run.last_read = item
        elif not self._is_traced:
            run.last_read = None
        if kind is not Service and kind is not str:
            memo = None
        elif memo is not None and (found := memo.find(item, run)) is not None:
            run.repeat(found.traces)
            return found.text
        self._open.append(PendingFragment(memo, item, run.marks()))
        return None

    def kept_section(self, section: str, surroundings: tuple[Any, ...]) -> str | None:
        """Return the text of a section; None where it has to be rendered, and given to ``keep``."""
        run, memo = self._run, self.of(section, surroundings)
        if memo is not None and (found := memo.find(section, run)) is not None:
            run.repeat(found.traces)
            return found.text
        self._open.append(PendingFragment(memo, section, run.marks(), None, run.last_read))
        return None

    def kept_entry(self, memo: Memo | None, item: Any) -> str | None:
        """Return the text for what ``stretched`` gave; None where it has to be rendered, and given to ``keep``."""
        run = self._run
        if type(item) is Stretch:
            run.repeat(item.fragment.traces)
            return item.fragment.text
        if not isinstance(item, OwnedEntry) and memo is not None:
            return self.kept(memo, item)
        if isinstance(item, OwnedEntry):
            run.last_read = item
        stretch, self._stretch = self._stretch, None
        self._open.append(PendingFragment(None, item, run.marks(), stretch))
        return None

    def stretched(
        self, memo: Memo, cut: Iterable[tuple[OwnedEntry, ...]], meter: Meter
    ) -> Iterator[OwnedEntry | Stretch]:
        """Return a loop's entries, those of each known stretch as one; the others become known as they are rendered."""
        run = self._run
        for each in cut:
            items = meter.paced(each)
            if (found := memo.find_stretch(each, run)) is not None:
                yield found
                continue
            marks, texts = run.marks(), list[str]()
            for item in items:
                self._stretch = texts
                yield item
            self._stretch = None
            if run.problem_count == marks.problem_count and len(texts) == len(each):
                text = "".join(texts) if run.prints is None else concatenated(texts)
                memo.stretches[each[0]] = Stretch(each, Fragment(text, run.since(marks)))

    def keep(self, text: str) -> str:
        """Take the text of the fragment that was opened last, and return it."""
        run, opened = self._run, self._open.pop()
        if opened.stretch is not None:
            opened.stretch.append(text)
        is_valid = opened.marks.problem_count == run.problem_count and run.last_read is not opened.unread
        if opened.memo is not None and is_valid:
            opened.memo.now[opened.item] = Fragment(text, run.since(opened.marks))
        return text

    def drop(self) -> str:
        """Let go of the fragment that was opened last, which broke; nothing is printed of it."""
        self._open.pop()
        return ""


def stretches(items: object) -> list[tuple[OwnedEntry, ...]] | None:
    """Cut a list of entries into stretches; None for anything else, and for entries that cannot be compared.

    The entries themselves say where, so that one that comes or goes moves no other cut.
    """
    if not isinstance(items, tuple | list) or not all(issubclass(kind, OwnedEntry) for kind in set(map(type, items))):
        return None
    try:
        cuts = [at for at, number in enumerate(map(hash, items)) if not number % STRETCH and at]
    except TypeError:
        return None
    return [tuple(items[begin:end]) for begin, end in pairwise((0, *cuts, len(items))) if begin < end]


def _cast(run: Run) -> _Cast:
    return run.prints is not None, run.excluded, run.partly
