"""Whose data the last live rendering contains, and the baseline that follows from them.

Answers that did not change are not looked through again, and a baseline is made of the one before it and of the owners
that came or went. Must not know where a baseline is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from itertools import chain

from ctemplate.core.model import Answer, Instance, Query
from ctemplate.core.values import dataclass
from ctemplate.template.baseline import Baseline
from ctemplate.template.render_state import RenderState
from ctemplate.template.safety.quarantine import owner_of_claim
from ctemplate.template.safety.render_pass import Claim, Owner, Run
from ctemplate.template.template import Template

_Used = Mapping[Query, Answer | None]


@dataclass(slots=True)
class _Registrations:
    """When each service was first registered, as far as the answers in use show it."""

    created: dict[str, int] = field(default_factory=dict)
    _used: list[_Used] = field(default_factory=list)
    _dated: dict[Query, dict[str, int]] = field(default_factory=dict)
    _telling: dict[str, set[Query]] = field(default_factory=dict)

    def take(self, used: Sequence[_Used]) -> set[str]:
        """Look through the answers that changed; return the services that may have another date now."""
        changed = _changed_queries(self._used, used)
        self._used = list(used)
        names: set[str] = set()
        for query in changed:
            before = self._dated.pop(query, {})
            answers = (answer for one in used if (answer := one.get(query)) is not None)
            now = _earliest(instance for answer in answers for instance in _instances(answer))
            if now:
                self._dated[query] = now
            for name in before.keys() - now.keys():
                self._telling[name].discard(query)
            for name in now:
                self._telling.setdefault(name, set()).add(query)
            names |= {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
        for name in names:
            if telling := self._telling[name]:
                self.created[name] = min(self._dated[query][name] for query in telling)
            else:
                del self._telling[name]
                self.created.pop(name, None)
        return names


@dataclass(slots=True)
class LiveOwners:
    """The owners of one group's last live rendering."""

    templates: tuple[Template, ...]
    _read: dict[int, tuple[_Used, frozenset[Owner]]] = field(default_factory=dict)
    _registrations: _Registrations = field(default_factory=_Registrations)
    _claiming: tuple[frozenset[Claim], frozenset[Owner]] = (frozenset(), frozenset())
    _last: tuple[frozenset[Owner], frozenset[Claim], Baseline] | None = None

    def baseline(
        self, state: RenderState, printed: Sequence[frozenset[Owner] | None], before: Baseline | None = None
    ) -> Baseline:
        """Return the baseline of a rendering that became live; ``printed`` are each text's owners, where known.

        ``before`` is the baseline until now: a service that stays live is as old as its first registration.
        """
        dated = self._registrations.take([run.used for run in state.runs])
        claims = frozenset().union(*(run.claims for run in state.runs))
        owners = self._owners(state, printed, claims)
        created = self._registrations.created
        last, self._last = self._last, None
        if last is None or last[2] is not before:
            baseline = Baseline.of(self.templates, owners, claims, created)
            baseline = baseline if before is None else baseline.with_dates_of(before)
        elif (owners, claims) == last[:2] and not dated:
            baseline = last[2]
        else:
            changed = dated | {owner.service for owner in owners ^ last[0]}
            found = {name: created[name] for name in changed if name in created}
            baseline = last[2].changed(gone=last[0] - owners, new=owners - last[0], claims=claims, created=found)
            baseline = last[2] if baseline == last[2] else baseline
        self._last = owners, claims, baseline
        return baseline

    def _owners(
        self, state: RenderState, printed: Sequence[frozenset[Owner] | None], claims: frozenset[Claim]
    ) -> frozenset[Owner]:
        """Return the owners of the newest data."""
        if self._claiming[0] != claims:
            self._claiming = claims, frozenset(owner for one in claims if (owner := owner_of_claim(one)) is not None)
        each = enumerate(zip(printed, state.runs, strict=True))
        read = (self._names(number, run) if owners is None else owners for number, (owners, run) in each)
        found = self._claiming[1].union(*read)
        if not state.substitutes and not state.held:
            return found
        return frozenset(one for one in found if one.service not in state.substitutes and one not in state.held)

    def _names(self, number: int, run: Run) -> frozenset[Owner]:
        """Return the services of which a pass read instances."""
        known = self._read.get(number)
        if known is None or not _are_alike(known[0], run.used):
            known = (run.used, frozenset(map(Owner, chain.from_iterable(map(_services, run.used.values())))))
        self._read[number] = (run.used, known[1])
        return known[1].difference(map(Owner, run.excluded)) if run.excluded else known[1]


def _changed_queries(before: Sequence[_Used], now: Sequence[_Used]) -> set[Query]:
    """Return the queries whose answers changed, came or went."""
    changed: set[Query] = set()
    for old, new in zip(before, now, strict=False):
        if [*old] == [*new]:  # the same queries in the same order, as most often
            both = zip(new, old.values(), new.values(), strict=True)
            changed |= {query for query, past, answer in both if past is not answer}
        else:
            changed |= {query for query in old.keys() | new.keys() if old.get(query) is not new.get(query)}
    for used in (*before[len(now) :], *now[len(before) :]):
        changed |= used.keys()
    return changed


def _instances(answer: Answer) -> tuple[Instance, ...]:
    """Return the instances of an answer; one with thousands of keys has none, and is not looked through."""
    kinds = set(map(type, answer.value))
    if kinds <= {Instance}:
        return answer.value
    return tuple(one for one in answer.value if isinstance(one, Instance)) if Instance in kinds else ()


def _earliest(instances: Iterable[Instance]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in instances:
        if one.created:
            found[one.name] = min(one.created, found.get(one.name, one.created))
    return found


def _are_alike(before: _Used, now: _Used) -> bool:
    """Whether instances of the same services were read; only answers that changed are looked through."""
    changed = [query for query, answer in now.items() if before.get(query) is not answer]
    return len(before) == len(now) and all(
        query in before and _services(before[query]) == _services(now[query]) for query in changed
    )


def _services(answer: Answer | None) -> frozenset[str]:
    return frozenset(one.name for one in _instances(answer)) if answer is not None else frozenset()
