"""The templates of one group, rendered over one snapshot; a service whose data would break them is left out.

Must not know where the texts go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ctemplate.errors import TemplateError
from ctemplate.model import AnyQuery, Fault, Instance, Service, Snapshot
from ctemplate.nginx.surroundings import Place
from ctemplate.template.parts import Parts
from ctemplate.template.proof import unproven
from ctemplate.template.quarantine import (
    Held,
    Holder,
    Verdict,
    evidence,
    held_by_line,
    holders,
    lost_claims,
    owners,
    read_last,
    sentence,
    told_by_text,
    upheld,
)
from ctemplate.template.run import Run, Violation
from ctemplate.template.template import Template

MAX_PASSES = 30
"""Passes of a group over one snapshot until nobody more is left out."""

MAX_TRIALS = 200
"""Passes of one template to find out whose value it is that cannot be told by its text."""

MAX_BROKEN = 3
"""Services that may break a template outright and are left out; more, or half of all, are the template's fault."""

BROKEN = "template"
"""The field of a fault that stands for the template's breaking."""

MANY = 5
"""From so many services on that a line would leave out, the line itself comes under suspicion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The texts, parallel to the templates; the queries they used, those still missing, and who was left out.

    While a query is missing the texts are incomplete, or empty where a template cannot do without the answer.
    """

    texts: tuple[str, ...]
    used: frozenset[AnyQuery]
    missing: frozenset[AnyQuery]
    quarantined: tuple[Fault, ...]


class Renderer:
    """Renders the templates of one group together; a text whose answers did not change is kept."""

    def __init__(self, templates: Sequence[Template]) -> None:
        self._templates = tuple(templates)
        self._parts = tuple(Parts() for _ in self._templates)
        self._proven: dict[int, tuple[str, Place]] = {}
        self._kept: dict[int, tuple[Run, str]] = {}
        self._held: dict[str, Held] = {}

    def render(self, snapshot: Snapshot, places: Sequence[Place | None] = ()) -> Rendering:
        """Render every template over the snapshot; raise TemplateError for a fault of a template's own.

        A service that a template cannot print is left out of every answer of the group, and the group rendered again.
        A text with a place in nginx's configuration is proven to hold data as values alone, again on pain of that.
        """
        around = tuple(places)
        held = upheld({name: one for name, one in self._held.items() if one.holds(snapshot, around)})
        for _ in range(MAX_PASSES):
            runs = [self._pass(number, snapshot, frozenset(held)) for number in range(len(self._templates))]
            found = self._found(runs, held) or self._unproven(runs, around, held)
            if not found:
                self._held = held
                for run in runs:
                    run.forget_unused()
                return self._rendering(runs, snapshot)
            held = upheld(held | {name: _held(verdict, runs, around) for name, verdict in found.items()})
        raise TemplateError(self._names(), f"still finding services to leave out after {MAX_PASSES} passes")

    def origin(self, template_number: int, line: int) -> str | None:
        """Return ``file:line`` in the template for a line (from 1) of the last rendering's text, where it is known."""
        kept = self._kept.get(template_number)
        if kept is None:
            return None
        run, text = kept
        template, marks = self._templates[template_number].traced()
        try:
            traced = template.render(Run(snapshot=run.snapshot, excluded=run.excluded))
        except TemplateError:
            return None
        return marks.origin(traced, text, line)

    def _names(self) -> str:
        return ", ".join(str(template.source) for template in self._templates)

    def _pass(self, number: int, snapshot: Snapshot, excluded: frozenset[str]) -> Run:
        kept = self._kept.get(number)
        if kept is None or _is_momentary(kept[0].error) or not kept[0].is_current(snapshot, excluded):
            kept = self._kept[number] = self._fresh(number, snapshot, excluded, keeps=True)
        return kept[0]

    def _fresh(
        self, number: int, snapshot: Snapshot, excluded: frozenset[str], *, counts: bool = False, keeps: bool = False
    ) -> tuple[Run, str]:
        run = Run(snapshot=snapshot, excluded=excluded, counts=counts, keeps=keeps)
        text = ""
        try:
            text = self._templates[number].render(run)
        except TemplateError as exc:
            run.error = exc
        return run, text

    def _rendering(self, runs: list[Run], snapshot: Snapshot) -> Rendering:
        used = frozenset(query for run in runs for query in run.used)
        evidence = frozenset(query for one in self._held.values() for query in one.evidence) - used
        awaited = frozenset(query for one in self._held.values() for query in one.awaited(snapshot)) - used
        return Rendering(
            texts=tuple(self._kept[number][1] for number in range(len(self._templates))),
            used=used | evidence,
            missing=awaited.union(*(run.awaited for run in runs)),
            quarantined=tuple(self._held[name].verdict.fault for name in sorted(self._held)),
        )

    def _found(self, runs: list[Run], held: Mapping[str, Held]) -> dict[str, Verdict]:
        """Return who has to be left out besides those held already."""
        found: dict[str, Verdict] = {}
        for number, run in enumerate(runs):
            found |= {name: Verdict(fault=fault) for name, fault in run.faults.items()}
            found |= self._broken(number, run, held) | self._violators(number, run, held)
        return found or lost_claims(runs)

    def _unproven(
        self, runs: list[Run], places: Sequence[Place | None], held: Mapping[str, Held]
    ) -> dict[str, Verdict]:
        """Return whose values would be more than values in the texts, which are whole."""
        verdicts: dict[str, Verdict] = {}
        if any(run.awaited for run in runs):
            return verdicts
        for number, (run, place) in enumerate(zip(runs, places, strict=False)):
            template, text = self._templates[number], self._kept[number][1]
            if place is None or self._proven.get(number) == (text, place):
                continue
            shadowed = Run(snapshot=run.snapshot, excluded=run.excluded, prints=[], keeps=True)
            again = template.render(shadowed)
            if again != text:
                raise TemplateError(str(template.source), "gives another text each time it is rendered")
            parts, source = self._parts[number], str(template.source)
            found = unproven(again, shadowed, parts, held=held, source=source, place=place)
            if not found:
                self._proven[number] = (text, place)
            verdicts |= found
        return verdicts

    def _broken(self, number: int, run: Run, held: Mapping[str, Held]) -> dict[str, Verdict]:
        """Return the service over which the template broke; raise the error where the template itself is to blame.

        While answers are missing nothing is broken: a template may well need what is still to come. Time and memory
        may have been short for another reason; then a second pass has to break over the same service.
        """
        if run.error is None or run.awaited:
            return {}
        name, services = run.touched_name(), _services(run)
        broken = sum(one.verdict.fault.field == BROKEN for one in held.values())
        if name not in services - run.excluded or broken >= MAX_BROKEN or 2 * (broken + 1) >= len(services):
            raise run.error
        if _is_momentary(run.error):
            again, _ = self._fresh(number, run.snapshot, run.excluded)
            if again.error is None or again.touched_name() != name:
                raise run.error
        return {name: Verdict(fault=Fault(service=name, field=BROKEN, reason=str(run.error)), rivals=None)}

    def _violators(self, number: int, run: Run, held: Mapping[str, Held]) -> dict[str, Verdict]:
        if not run.violations:
            return {}
        known = holders(run, self._templates[number].is_plain)
        certain: Sequence[tuple[Violation, Holder]] = read_last(run.violations, known)
        blamed = _faults_of(certain or self._confirmed(number, run, told_by_text(run.violations, known)))
        if not blamed:
            blamed = self._searched(number, run, known)
        self._acquit_lines(number, run, blamed, held_by_line(held))
        return {service: Verdict(fault=fault, line=(where, "")) for (where, service), fault in reversed(blamed.items())}

    def _confirmed(
        self, number: int, run: Run, suspected: Sequence[tuple[Violation, Holder]]
    ) -> Sequence[tuple[Violation, Holder]]:
        """Keep those suspected by a text alone whose text is gone when they are."""
        if not suspected:
            return ()
        without, _ = self._fresh(number, run.snapshot, run.excluded.union(holder.service for _, holder in suspected))
        left = [(violation.where, violation.text.casefold()) for violation in without.violations]
        return [
            (violation, holder)
            for violation, holder in suspected
            if not any(where == violation.where and holder.text in text for where, text in left)
        ]

    def _acquit_lines(
        self,
        number: int,
        run: Run,
        blamed: Mapping[tuple[str, str], Fault],
        held: Mapping[tuple[str, str], set[str]],
    ) -> None:
        """Raise TemplateError where a line would leave out many services and no other gets past it either."""
        for where in {where for where, _ in blamed}:
            before = held.get((where, ""), set())
            guilty = {service for line, service in blamed if line == where} | before
            prints = sum(violation.where == where for violation in run.violations) + len(before)
            if min(len(guilty), prints) >= MANY:
                counted, _ = self._fresh(number, run.snapshot, run.excluded, counts=True)
                if not any(line == where and service not in guilty for line, service in counted.passed):
                    violation = next(violation for violation in run.violations if violation.where == where)
                    raise _own_fault(violation, f"; as it is for each of {len(guilty)} services")

    def _searched(self, number: int, run: Run, known: Sequence[Holder]) -> dict[tuple[str, str], Fault]:
        """Find the owners of one line's values by leaving services out: first those that hold like texts, then all."""
        violation = run.violations[0]
        like = {holder.service for holder in owners(violation, known)}
        search = _Search(self, number, run, violation.where)
        for candidates in (like, {holder.service for holder in known}, _services(run)):
            guilty = search.guilty(tuple(sorted(candidates - run.excluded)))
            if guilty:
                reason = sentence(violation)
                return {(violation.where, name): Fault(service=name, field="value", reason=reason) for name in guilty}
        raise _own_fault(violation)


@dataclass(slots=True)
class _Search:
    """Finds out by trial whose values a line must not print."""

    renderer: Renderer
    number: int
    run: Run
    where: str
    trials: int = 0

    def guilty(self, candidates: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the candidates without whom the line is fine; none if that takes others to go too."""
        if not candidates or self.violates(candidates):
            return ()
        return self.among(candidates, frozenset(candidates))

    def among(self, suspects: tuple[str, ...], candidates: frozenset[str]) -> tuple[str, ...]:
        if len(suspects) == 1:
            return suspects
        middle = len(suspects) // 2
        found: tuple[str, ...] = ()
        for half in (suspects[:middle], suspects[middle:]):
            if self.violates(candidates.difference(half)):
                found += self.among(half, candidates)
        return found or suspects

    def violates(self, left_out: Iterable[str]) -> bool:
        self.trials += 1
        if self.trials > MAX_TRIALS:
            what = f"cannot tell whose value must not be printed after {MAX_TRIALS} trials; use | quote or | comment"
            raise TemplateError(self.where, what)
        run, _ = self.renderer._fresh(self.number, self.run.snapshot, self.run.excluded.union(left_out))  # noqa: SLF001  # one class in two parts
        return any(violation.where == self.where for violation in run.violations)


def _faults_of(blamed: Sequence[tuple[Violation, Holder]]) -> dict[tuple[str, str], Fault]:
    return {(violation.where, holder.service): holder.fault(violation) for violation, holder in blamed}


def _services(run: Run) -> set[str]:
    return {
        item.name
        for answer in run.used.values()
        if answer is not None
        for item in answer.value
        if isinstance(item, Service | Instance)
    }


def _is_momentary(error: TemplateError | None) -> bool:
    return error is not None and error.is_momentary


def _held(verdict: Verdict, runs: list[Run], places: tuple[Place | None, ...]) -> Held:
    return Held(verdict=verdict, evidence=evidence(verdict, runs), places=places)


def _own_fault(violation: Violation, besides: str = "") -> TemplateError:
    what = sentence(violation).removeprefix(f"{violation.where}: ")
    return TemplateError(violation.where, what + besides)
