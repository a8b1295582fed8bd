"""Whose data the last live rendering contains, and the baseline that follows from them.

Answers that did not change are not looked through again, neither are the owners of fragments of text that stay, and a
baseline is made of the one before it and of the owners that came or went. Must not know where a baseline is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set as AbstractSet
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
_Parts = Collection[frozenset[Owner]]


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
class _Count:
    """In how many different parts of a rendering each owner is; parts that stay are not looked through again."""

    owners: Counter[Owner] = field(default_factory=Counter)
    _parts: frozenset[frozenset[Owner]] = frozenset()

    def take(self, parts: Iterable[frozenset[Owner]]) -> tuple[set[Owner], set[Owner]]:
        """Take the parts of a new rendering; return the owners that went, and those that came."""
        before, self._parts = self._parts, frozenset(parts)
        left, added = before - self._parts, self._parts - before
        touched = set[Owner]().union(*left, *added)
        present = touched & self.owners.keys()
        self.owners.update(chain.from_iterable(added))
        self.owners.subtract(chain.from_iterable(left))
        for owner in touched:
            if not self.owners[owner]:
                del self.owners[owner]
        remaining = touched & self.owners.keys()
        return present - remaining, remaining - present


@dataclass(slots=True)
class LiveOwners:
    """The owners of one group's last live rendering; ``_filtered`` are they where some were left out of it."""

    templates: tuple[Template, ...]
    _read: dict[int, tuple[_Used, frozenset[Owner]]] = field(default_factory=dict)
    _registrations: _Registrations = field(default_factory=_Registrations)
    _claiming: tuple[frozenset[Claim], frozenset[Owner]] = (frozenset(), frozenset())
    _last: tuple[frozenset[Claim], Baseline] | None = None
    _count: _Count = field(default_factory=_Count)
    _filtered: frozenset[Owner] | None = None

    def baseline(
        self, state: RenderState, printed: Sequence[_Parts | None], before: Baseline | None = None
    ) -> Baseline:
        """Return the baseline of a rendering that became live; ``printed`` are each text's owners, where known.

        ``before`` is the baseline until now: a service that stays live is as old as its first registration.
        """
        dated = self._registrations.take([run.used for run in state.runs])
        claims = frozenset().union(*(run.claims for run in state.runs))
        gone, new = self._changed(state, self._parts(state, printed, claims))
        created = self._registrations.created
        last, self._last = self._last, None
        if last is None or last[1] is not before:
            owners = self._count.owners if self._filtered is None else self._filtered
            baseline = Baseline.of(self.templates, owners, claims, created)
            baseline = baseline if before is None else baseline.with_dates_of(before)
        elif not gone and not new and claims == last[0] and not dated:
            baseline = last[1]
        else:
            changed = dated | {owner.service for owner in gone | new}
            found = {name: created[name] for name in changed if name in created}
            came = None if claims == last[0] else claims
            baseline = last[1].changed(gone=gone, new=new, claims=came, created=found)
        some = state.partly
        baseline = baseline.with_unlisted(some.tags | some.unlisted)
        self._last = claims, baseline
        return baseline

    def _changed(self, state: RenderState, parts: _Parts) -> tuple[AbstractSet[Owner], AbstractSet[Owner]]:
        """Return the owners that went and came with a rendering of these parts, without those that are left out."""
        is_filtered = bool(state.substitutes or state.held)
        if not is_filtered and self._filtered is None:
            return self._count.take(parts)
        before = frozenset(self._count.owners) if self._filtered is None else self._filtered
        self._count.take(parts)
        now = frozenset(
            one for one in self._count.owners if one.service not in state.substitutes and one not in state.held
        )
        self._filtered = now if is_filtered else None
        return before - now, now - before

    def _parts(
        self, state: RenderState, printed: Sequence[_Parts | None], claims: frozenset[Claim]
    ) -> list[frozenset[Owner]]:
        """Return the owners of the newest data, in parts."""
        if self._claiming[0] != claims:
            self._claiming = claims, frozenset(owner for one in claims if (owner := owner_of_claim(one)) is not None)
        each = enumerate(zip(printed, state.runs, strict=True))
        read = ((self._names(number, run),) if owners is None else owners for number, (owners, run) in each)
        return [self._claiming[1], *chain.from_iterable(read)]

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
