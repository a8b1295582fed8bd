"""Whose data the last live rendering contains, and the baseline that follows from them.

Answers that did not change are not looked through again, and equal owners give the same baseline. Must not know where
a baseline is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import Any

from ctemplate.core.model import Instance, Query
from ctemplate.core.values import dataclass
from ctemplate.template.baseline import Baseline
from ctemplate.template.render_state import RenderState
from ctemplate.template.safety.quarantine import owner_of_claim
from ctemplate.template.safety.render_pass import Claim, Owner, Run
from ctemplate.template.template import Template

_Printed = tuple[Owner, ...] | frozenset[str]
"""The owners that printed a text; if they are unknown, the names of all services whose instances were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live:
    printed: tuple[_Printed, ...]
    claims: frozenset[Claim]
    substituted: frozenset[str]
    held: frozenset[Owner]

    def owners(self) -> Iterator[Owner]:
        """Yield the owners of the newest data."""
        claiming = (owner for claim in self.claims if (owner := owner_of_claim(claim)) is not None)
        for owner in {*_owners(self.printed), *claiming}:
            if owner.service not in self.substituted and owner not in self.held:
                yield owner


@dataclass(slots=True)
class LiveOwners:
    """The owners of one group's last live rendering."""

    templates: tuple[Template, ...]
    _names: dict[Query, tuple[tuple[Any, ...], frozenset[str]]] = field(default_factory=dict)
    _last: tuple[_Live, Baseline] | None = None

    def baseline(self, state: RenderState, printed: Sequence[tuple[Owner, ...] | None]) -> Baseline:
        """Return the baseline of a rendering that became live; ``printed`` are each text's owners, where known."""
        before, self._names = self._names, {}
        both = zip(printed, state.runs, strict=True)
        live = _Live(
            printed=tuple(self._read(run, before) if owners is None else owners for owners, run in both),
            claims=frozenset().union(*(run.claims for run in state.runs)),
            substituted=frozenset(state.substitutes),
            held=frozenset(state.held),
        )
        if self._last is None or self._last[0] != live:
            self._last = live, Baseline.of(self.templates, live.owners())
        return self._last[1]

    def _read(self, run: Run, before: dict[Query, tuple[tuple[Any, ...], frozenset[str]]]) -> frozenset[str]:
        """Return the services of which a pass read instances."""
        now = self._names
        for query, answer in run.used.items():
            if answer is None or query in now:
                continue
            known = before.get(query)
            if known is None or known[0] is not answer.value:
                known = (answer.value, frozenset(one.name for one in answer.value if isinstance(one, Instance)))
            now[query] = known
        read = (now[query][1] for query in run.used if query in now)
        return frozenset().union(*read) - run.excluded


def _owners(printed: Iterable[_Printed]) -> Iterator[Owner]:
    for one in printed:
        yield from map(Owner, one) if isinstance(one, frozenset) else one
