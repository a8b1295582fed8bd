"""Prove the texts of a group's templates one after the other, and cache the results for unchanged texts.

Must not know what is left out, or what follows from the results.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set as AbstractSet
from dataclasses import field
from functools import partial

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.authority import seems_routed
from ctemplate.nginx.language.scoped_names import Name
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template.safety.known_upstreams import Addresses, AnswersByService, Upstreams, known_at
from ctemplate.template.safety.precedence import LastLive
from ctemplate.template.safety.proven_parts import Parts
from ctemplate.template.safety.quarantine import QuarantineVerdict
from ctemplate.template.safety.render_pass import Owner, Run
from ctemplate.template.safety.structural_proof import ProvenText, name_owners, silent_conflicts, unproven
from ctemplate.template.safety.tainted_text import TaintedText, shadow_of
from ctemplate.template.template import Template

Others = tuple[tuple[str, ConfigPlace], ...]


@dataclass(frozen=True, slots=True)
class _LastOwners:
    """Which services had some names in the last good data, by a pass over these."""

    run: Run
    place: ConfigPlace
    names: frozenset[Name]
    found: Mapping[Name, AbstractSet[str]]

    def serves(self, run: Run, place: ConfigPlace, names: frozenset[Name]) -> bool:
        """Whether another pass would tell the same."""
        return (self.place, self.names) == (place, names) and self.run.is_current(
            run.snapshot, run.excluded, run.partly
        )


@dataclass(slots=True)
class Prover:
    """The templates of one group, each with its last proven text, its place, and the owners that printed it.

    ``render`` makes a pass of the numbered template, and stores its error in the run. ``last_run`` returns a new pass
    over the last good data, None where there are none.
    """

    templates: tuple[Template, ...]
    render: Callable[[int, Run], str]
    last_run: Callable[[], Run | None] = lambda: None
    _parts: dict[int, Parts] = field(default_factory=dict)
    _proven: dict[int, tuple[str, ConfigPlace, Others]] = field(default_factory=dict)
    _printed: dict[int, tuple[str, tuple[frozenset[Owner], ...]]] = field(default_factory=dict)
    _answers: AnswersByService = field(default_factory=AnswersByService)
    _texts: dict[int, ProvenText] = field(default_factory=dict)
    _has_new: bool = False
    _last_owners: dict[int, _LastOwners] = field(default_factory=dict)

    def unproven(
        self,
        runs: Sequence[Run],
        texts: Sequence[str],
        places: Sequence[ConfigPlace | None],
        before: LastLive | None = None,
    ) -> dict[Owner, QuarantineVerdict]:
        """Return the owners of values that would change the structure of the complete texts, which have placeholders.

        ``before`` is what was live; it decides who keeps a name that several services want.
        """
        verdicts: dict[Owner, QuarantineVerdict] = {}
        if any(run.awaited for run in runs):
            return verdicts
        both = tuple(zip(texts, places, strict=False))
        for number, (text, place) in enumerate(both):
            if place is not None:
                others = tuple((one, at) for n, (one, at) in enumerate(both) if n != number and at is not None)
                verdicts |= self._unproven(number, text, place, runs, others=others, before=before)
        return verdicts or self._conflicts(before, places)

    def _conflicts(
        self, before: LastLive | None, places: Sequence[ConfigPlace | None]
    ) -> dict[Owner, QuarantineVerdict]:
        """Return who loses a name that several of the texts use; each text alone is proven."""
        had = partial(self._had, dict(enumerate(places)))
        verdicts = silent_conflicts(tuple(self._texts.values()), before, had) if self._has_new else {}
        self._has_new = bool(verdicts)
        return verdicts

    def _had(self, places: Mapping[int, ConfigPlace | None], names: Collection[Name]) -> dict[Name, AbstractSet[str]]:
        """Return which services had each of some names in the last good data, as these templates print them.

        Costs a rendering, and is asked for only if several services want a name; the last answers are remembered.
        """
        found: dict[Name, AbstractSet[str]] = {}
        asked = frozenset(names)
        for number, place in places.items():
            if place is None or not asked or (run := self.last_run()) is None:
                continue
            last = self._last_owners.get(number)
            if last is None or not last.serves(run, place, asked):
                last = _LastOwners(run, place, asked, self._last_names(number, place, asked, run))
                run.forget_unused()
                self._last_owners[number] = last
            found = {**last.found, **found}
        return found

    def _last_names(
        self, number: int, place: ConfigPlace, names: frozenset[Name], run: Run
    ) -> dict[Name, AbstractSet[str]]:
        text, trial = self.render(number, run), partial(self._again, number, run)
        known = known_at(place, Addresses(run, (run,)), Upstreams(()))
        return name_owners(text, names, run, place, known=known, trial=trial)

    def owners(self, number: int, text: str) -> tuple[frozenset[Owner], ...] | None:
        """Return the owners that printed a template's text, see ``Run.printing``; None where it was not proven."""
        known, owners = self._printed.get(number, ("", None))
        return owners if known == text else None

    def _unproven(
        self,
        number: int,
        text: str,
        place: ConfigPlace,
        runs: Sequence[Run],
        *,
        others: Others,
        before: LastLive | None,
    ) -> dict[Owner, QuarantineVerdict]:
        if not place.is_certain and not seems_routed(text):
            self._texts.pop(number, None)
            return {}
        last = self._proven.get(number)
        if last in ((text, place, ()), (text, place, others)):
            return {}
        self._proven.pop(number, None)
        self._texts.pop(number, None)
        is_alike = last is not None and last[1] == place and last[2] in ((), others)
        if not is_alike or not isinstance(text, TaintedText):
            self._parts[number] = self._parts.get(number, Parts()).without_last()
        source, run, upstreams = str(self.templates[number].source), runs[number], Upstreams(others)
        known = known_at(place, Addresses(run, runs, self._answers), upstreams)
        trial, parts = partial(self._again, number, run), self._parts[number]
        found = unproven(
            text,
            run,
            parts,
            source=source,
            place=place,
            known=known,
            trial=trial,
            before=before,
            had=partial(self._had, {number: place}),
            is_alone=not others,
        )
        if not found:
            were_asked = upstreams.were_asked or (is_alike and last is not None and last[2] != ())
            self._proven[number] = (str(text), place, others if were_asked else ())
            self._printed[number] = (str(text), run.printing)
            if others:
                uses = parts.uses(str(text), shadow_of(text), place.inside)
                self._texts[number] = ProvenText(run=run, trial=trial, place=place, uses=uses)
                self._has_new = True
        return found

    def _again(self, number: int, run: Run, without: Iterable[str]) -> Run:
        """Repeat a pass, with its placeholders, and some more services left out."""
        again = run.again(without, prints=[])
        self.render(number, again)
        return again
