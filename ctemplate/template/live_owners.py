"""Whose data the last live rendering contains, and the baseline that follows from them.

Answers that did not change are not looked through again, and equal owners give the same baseline. Must not know where
a baseline is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field

from ctemplate.core.model import Answer, Instance, Query
from ctemplate.core.values import dataclass
from ctemplate.template.baseline import Baseline
from ctemplate.template.render_state import RenderState
from ctemplate.template.safety.quarantine import owner_of_claim
from ctemplate.template.safety.render_pass import Claim, Owner, Run
from ctemplate.template.template import Template

_Used = Mapping[Query, Answer | None]
_Printed = tuple[Owner, ...] | frozenset[str]
"""The owners that printed a text; if they are unknown, the names of all services whose instances were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live:
    printed: tuple[_Printed, ...]
    claims: frozenset[Claim]
    substituted: frozenset[str]
    held: frozenset[Owner]
    created: Mapping[str, int]

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
    _read: dict[int, tuple[_Used, frozenset[str]]] = field(default_factory=dict)
    _dated: dict[Query, tuple[Answer, Mapping[str, int]]] = field(default_factory=dict)
    _last: tuple[_Live, Baseline] | None = None

    def baseline(
        self, state: RenderState, printed: Sequence[tuple[Owner, ...] | None], before: Baseline | None = None
    ) -> Baseline:
        """Return the baseline of a rendering that became live; ``printed`` are each text's owners, where known.

        ``before`` is the baseline until now: a service that stays live is as old as its first registration.
        """
        both = enumerate(zip(printed, state.runs, strict=True))
        live = _Live(
            printed=tuple(self._names(number, run) if owners is None else owners for number, (owners, run) in both),
            claims=frozenset().union(*(run.claims for run in state.runs)),
            substituted=frozenset(state.substitutes),
            held=frozenset(state.held),
            created=self._created(state, before),
        )
        if self._last is None or self._last[0] != live:
            self._last = live, Baseline.of(self.templates, live.owners(), live.claims, live.created)
        return self._last[1]

    def _created(self, state: RenderState, before: Baseline | None) -> dict[str, int]:
        """Return each service's earliest known registration; only answers that changed are looked through."""
        used = {query: answer for run in state.runs for query, answer in run.used.items() if answer is not None}
        known, self._dated = self._dated, {}
        found: dict[str, int] = {}
        for query, answer in used.items():
            dated = known.get(query)
            if dated is None or dated[0] is not answer:
                dated = (answer, _registrations(answer))
            self._dated[query] = dated
            for name, number in dated[1].items():
                found[name] = min(number, found.get(name, number))
        if before is None:
            return found
        return {name: int(min(number, before.since(name))) for name, number in found.items()}

    def _names(self, number: int, run: Run) -> frozenset[str]:
        """Return the services of which a pass read instances."""
        known = self._read.get(number)
        if known is None or not _are_alike(known[0], run.used):
            known = (run.used, frozenset().union(*map(_services, run.used.values())))
        self._read[number] = (run.used, known[1])
        return known[1] - run.excluded if run.excluded else known[1]


def _are_alike(before: _Used, now: _Used) -> bool:
    """Whether instances of the same services were read; only answers that changed are looked through."""
    changed = [query for query, answer in now.items() if before.get(query) is not answer]
    return len(before) == len(now) and all(
        query in before and _services(before[query]) == _services(now[query]) for query in changed
    )


def _registrations(answer: Answer) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in answer.value:
        if isinstance(one, Instance) and one.created:
            found[one.name] = min(one.created, found.get(one.name, one.created))
    return found


def _services(answer: Answer | None) -> frozenset[str]:
    return (
        frozenset(one.name for one in answer.value if isinstance(one, Instance)) if answer is not None else frozenset()
    )


def _owners(printed: Iterable[_Printed]) -> Iterator[Owner]:
    for one in printed:
        yield from map(Owner, one) if isinstance(one, frozenset) else one
