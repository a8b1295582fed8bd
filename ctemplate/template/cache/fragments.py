"""Fragments: the output of a loop's body for one service is cached, and reused while everything it read is unchanged.

Lists of services and of keys are long, and a look-up for each of them would take too long; so the fragments of a
stretch of a list are joined, and a change of one service costs a look-up for each other stretch. A fragment depends on
the items, on the values that its body takes from outside the loop, and on the answers that it read. A body that depends
on anything else (``loop``, namespaces, includes) is not cut into fragments, and one with a problem is not cached.

Must not know Jinja's compiler, or where texts go.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import field
from itertools import chain, pairwise
from typing import Any

from ctemplate.core.model import CheckState, Instance, OwnedEntry, Service
from ctemplate.core.values import dataclass
from ctemplate.template.safety.limits import Meter
from ctemplate.template.safety.registered_numbers import RegisteredInt
from ctemplate.template.safety.render_pass import Checkpoint, Owner, Partly, Recorded, Run
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

_Entry = OwnedEntry | Service


@dataclass(frozen=True, slots=True)
class Fragment:
    """One text, and what its making left in the run."""

    text: str
    traces: Recorded


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries that follow each other in a list, the fragment of all of them, and those of single services."""

    entries: tuple[_Entry, ...]
    fragment: Fragment
    singles: dict[Any, Fragment]


@dataclass(slots=True)
class Memo:
    """The fragments of one loop for certain values around it: those of the last pass, and those of this one.

    Stretches are found by their first entries. ``cut`` are the last list and its stretches.
    """

    surroundings: tuple[Any, ...]
    before: dict[Any, Fragment]
    stretches_before: dict[_Entry, Stretch]
    cut: tuple[tuple[_Entry, ...], list[tuple[_Entry, ...]]] = ((), [])
    now: dict[Any, Fragment] = field(default_factory=dict)
    stretches: dict[_Entry, Stretch] = field(default_factory=dict)

    def singles_of(self, entries: tuple[_Entry, ...]) -> dict[Any, Fragment]:
        """Return the fragments of single services of a stretch, as far as there are any in this pass."""
        return {entry: self.now[entry] for entry in entries if entry in self.now} if self.now else {}

    @classmethod
    def after(cls, before: Memo, surroundings: tuple[Any, ...]) -> Memo:
        """Return the fragments of the same loop for a further pass."""
        return cls(surroundings, before.now, before.stretches, before.cut)

    def stretches_of(self, items: object) -> list[tuple[_Entry, ...]] | None:
        """Cut a list into stretches, see ``stretches``; a list that is equal to the last one is not cut again."""
        if isinstance(items, tuple | list) and tuple(items) == self.cut[0]:
            return self.cut[1]
        found = stretches(items)
        if found is not None:
            self.cut = tuple(chain.from_iterable(found)), found
        return found

    def find(self, item: Any, run: Run) -> Fragment | None:
        """Return the item's fragment, if it is as it would be rendered now."""
        found = self.now.get(item) or self.before.get(item)
        if found is None or not run.snapshot.reads_as(found.traces.reads):
            return None
        self.now[item] = found
        return found

    def find_stretch(self, entries: tuple[_Entry, ...], run: Run) -> Stretch | None:
        """Return the stretch of these entries, if it is as it would be rendered now; else its services are found."""
        first = entries[0]
        found = self.stretches.get(first) or self.stretches_before.get(first)
        if found is None:
            return None
        if found.entries != entries or not run.snapshot.reads_as(found.fragment.traces.reads):
            self.before.update(found.singles)
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
            memo = Memo(surroundings, {}, {}) if before is None else Memo.after(before, surroundings)
            self._now[key] = memo
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

    def kept(self, memo: Memo | None, item: Any, stretch: list[str] | None = None) -> str | None:
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
            run.repeat(found.traces, is_whole=stretch is None)
            if stretch is not None:
                stretch.append(found.text)
            return found.text
        self._open.append(PendingFragment(memo, item, run.marks(), stretch))
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
        stretch, self._stretch = self._stretch, None
        if not isinstance(item, OwnedEntry) and memo is not None:
            return self.kept(memo, item, stretch)
        if isinstance(item, OwnedEntry):
            run.last_read = item
        self._open.append(PendingFragment(None, item, run.marks(), stretch))
        return None

    def stretched(self, memo: Memo, cut: Iterable[tuple[_Entry, ...]], meter: Meter) -> Iterator[_Entry | Stretch]:
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
            singles, printed = memo.singles_of(each), None
            if singles and run.prints is not None:
                printed = frozenset[Owner]().union(*(one.traces.printed for one in singles.values()))
                run.reprinted.append(printed)
            if run.problem_count == marks.problem_count and len(texts) == len(each):
                text = "".join(texts) if run.prints is None else concatenated(texts)
                traces = run.since(marks, printed if all(entry in singles for entry in each) else None)
                memo.stretches[each[0]] = Stretch(each, Fragment(text, traces), singles)

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


def stretches(items: object) -> list[tuple[_Entry, ...]] | None:
    """Cut a list of entries or services into stretches; None for anything else, and for what cannot be compared.

    The entries themselves say where, so that one that comes or goes moves no other cut.
    """
    if not isinstance(items, tuple | list) or not all(issubclass(kind, _Entry) for kind in set(map(type, items))):
        return None
    try:
        cuts = [at for at, number in enumerate(map(hash, items)) if not number % STRETCH and at]
    except TypeError:
        return None
    return [tuple(items[begin:end]) for begin, end in pairwise((0, *cuts, len(items))) if begin < end]


def _cast(run: Run) -> _Cast:
    return run.prints is not None, run.excluded, run.partly
