"""Fragments: the output of a loop's body for one service is cached, and reused while everything it read is unchanged.

A change of one service then costs a look-up instead of a render for each other one. A fragment depends on the item, on
the values that its body takes from outside the loop, and on the answers that it read. A body that depends on anything
else (``loop``, namespaces, includes) is not cut into fragments, and one with a problem is not cached.

Must not know Jinja's compiler, or where texts go.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import field
from typing import Any

from ctemplate.core.model import CheckState, Instance, Service
from ctemplate.core.values import dataclass
from ctemplate.template.safety.registered_numbers import RegisteredInt
from ctemplate.template.safety.render_pass import Checkpoint, Partly, Recorded, Run
from ctemplate.template.safety.tainted_text import TaintedText, Trusted

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


@dataclass(slots=True)
class Memo:
    """The fragments of one loop for certain values around it: those of the last pass, and those of this one."""

    surroundings: tuple[Any, ...]
    before: dict[Any, Fragment]
    now: dict[Any, Fragment] = field(default_factory=dict)

    def find(self, item: Any, run: Run) -> Fragment | None:
        """Return the item's fragment, if it is as it would be rendered now."""
        found = self.now.get(item) or self.before.get(item)
        if found is None or not run.snapshot.reads_as(found.traces.reads):
            return None
        self.now[item] = found
        return found


@dataclass(frozen=True, slots=True)
class PendingFragment:
    """A fragment that is being rendered: where the run stood when it began."""

    memo: Memo | None
    item: Any
    marks: Checkpoint


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
            memo = self._now[key] = Memo(surroundings, before.now if before else {})
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

    def keep(self, text: str) -> str:
        """Take the text of the fragment that was opened last, and return it."""
        run, opened = self._run, self._open.pop()
        if opened.memo is not None and opened.marks.problem_count == run.problem_count:
            opened.memo.now[opened.item] = Fragment(text, run.since(opened.marks))
        return text

    def drop(self) -> str:
        """Let go of the fragment that was opened last, which broke; nothing is printed of it."""
        self._open.pop()
        return ""


def _cast(run: Run) -> _Cast:
    return run.prints is not None, run.excluded, run.partly
