"""The names and targets of all parts of a text, counted, so that a change of a few parts is judged by these alone.

In case of doubt a change counts as undecided: then all parts have to be compared anew. Must not know templates, or the
owners of data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.authority import (
    AnyOf,
    KnownRoutes,
    Routes,
    addressed_hosts,
    has_used_values,
    misplaced_paths,
    named_hosts,
    unjudged_goals,
)
from ctemplate.nginx.language.goals import Origin
from ctemplate.nginx.language.scoped_names import Name
from ctemplate.nginx.language.unique_names import all_uses, is_address, may_clash, name_clashes
from ctemplate.nginx.language.value_check import CheckedPart, ValueReport
from ctemplate.nginx.surroundings import ConfigPlace

_NO_ADDRESSES: frozenset[Origin] = frozenset()


class _Use(NamedTuple):
    """A use of a name: by a directive that needs it alone, or by a port that http servers share; with data or not."""

    name: Name
    is_shared: bool
    has_data: bool


@dataclass(slots=True)
class _Counts:
    """How often the parts use each name and each target; ``taken`` are the names of others.

    It contains the names that a part needs alone.
    """

    uses: Counter[_Use]
    targets: Counter[bytes]
    taken: frozenset[Name]

    def after(self, before: Iterable[CheckedPart], now: Iterable[CheckedPart]) -> _Counts:
        """Return the counts with some parts in place of others; what is not used any more is not counted."""
        uses, targets = self.uses.copy(), self.targets.copy()
        for part in now:
            uses.update(_uses(part))
            targets.update(_targets(part))
        for part in before:
            _take_off(uses, _uses(part))
            _take_off(targets, _targets(part))
        return _Counts(uses, targets, self.taken)

    def count(self, name: Name, *, is_shared: bool) -> int:
        """Return how many uses of a name there are."""
        return self.uses[_Use(name, is_shared, has_data=False)] + self.uses[_Use(name, is_shared, has_data=True)]

    def clashes(self, use: _Use) -> bool:
        """Whether a name is used twice, or taken, with data in one of the uses."""
        name = use.name
        alone = self.count(name, is_shared=False) + (name in self.taken)
        if not use.is_shared and use.has_data and is_address(name):
            return True
        is_alone = alone == 1 and not self.count(name, is_shared=True)
        if not alone or is_alone:
            return False
        return any(self.uses[_Use(name, is_shared, has_data=True)] for is_shared in (False, True))

    def __contains__(self, name: object) -> bool:
        return any(self.uses[_Use(name, is_shared=False, has_data=each)] for each in (False, True))  # type: ignore[arg-type]


class SharedNames:
    """Whether the parts of a text use no name twice, and lead only to permitted targets: then they ``fit``."""

    def __init__(self, parts: Sequence[CheckedPart], place: ConfigPlace, known: KnownRoutes) -> None:
        """Judge all parts together."""
        routes = [part.routes for part in parts]
        taken = place.taken | known.hosts | named_hosts(routes)
        own = {name for part in parts for name, _ in part.uses.names}
        upstreams = AnyOf((own, place.taken, known.upstreams))
        self._only_names = (
            next(unjudged_goals(routes, upstreams, known), None) is None
            and next(misplaced_paths(routes, known), None) is None
        )
        self.fit = self._only_names and not may_clash(
            [part.uses for part in parts], taken=taken, hosts=addressed_hosts(routes, known)
        )
        self._counts = _Counts(
            Counter(chain.from_iterable(map(_uses, parts))), Counter(chain.from_iterable(map(_targets, parts))), taken
        )
        self._can_count = not has_used_values(routes, known) and _lead_to_names(parts, upstreams)

    def report(self, parts: Sequence[CheckedPart], place: ConfigPlace, known: KnownRoutes) -> ValueReport | None:
        """Return the names that the parts use twice; None if something else is wrong with them as well."""
        if not self._only_names:
            return None
        routes = [part.routes for part in parts]
        taken, hosts = place.taken | known.hosts | named_hosts(routes), addressed_hosts(routes, known)
        return ValueReport(clashes=name_clashes(all_uses(part.uses for part in parts), taken=taken, hosts=hosts))

    def take(
        self, before: Sequence[CheckedPart], now: Sequence[CheckedPart], place: ConfigPlace, known: KnownRoutes
    ) -> bool:
        """Take parts in place of others if that certainly keeps everything fitting; return whether it did.

        ``place`` and ``known`` have to permit what they permitted before.
        """
        if not (self.fit and self._can_count and all(_has_goals_only(part.routes) for part in (*before, *now))):
            return False
        if any(goal.host in known.host_names for part in now for goal in part.routes.goals):
            return False
        counts = self._counts.after(before, now)
        gone = {name for part in before for name, _ in part.uses.names if name not in counts}
        if any(counts.targets[name[1]] for name in gone):
            return False
        if any(counts.clashes(use) for part in now for use in _uses(part)):
            return False
        if not _lead_to_names(now, AnyOf((counts, place.taken, known.upstreams))):
            return False
        self._counts = counts
        return True


def _uses(part: CheckedPart) -> list[_Use]:
    alone = [_Use(name, is_shared=False, has_data=bool(data)) for name, data in part.uses.names]
    return alone + [_Use(name, is_shared=True, has_data=bool(data)) for name, data in part.uses.ports]


def _targets(part: CheckedPart) -> list[bytes]:
    return [goal.authority.lower() for goal in part.routes.goals]


def _take_off(counts: Counter[_Use] | Counter[bytes], items: Iterable[object]) -> None:
    for item in items:
        counts[item] -= 1  # type: ignore[index]
        if not counts[item]:  # type: ignore[index]
            del counts[item]


def _lead_to_names(parts: Iterable[CheckedPart], upstreams: AnyOf) -> bool:
    """Whether each target is the name of an upstream, so that it stays permitted while that name is there."""
    return all(goal.is_known(upstreams, _NO_ADDRESSES) for part in parts for goal in part.routes.goals)


def _has_goals_only(routes: Routes) -> bool:
    return not (routes.hosts or routes.routed or routes.composed or has_used_values((routes,)))
