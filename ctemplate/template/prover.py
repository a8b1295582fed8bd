"""Prove the texts of a group's templates one after the other, and cache the results for unchanged texts.

Must not know what is left out, or what follows from the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from ctemplate.core.errors import TemplateError
from ctemplate.core.values import dataclass
from ctemplate.nginx.language.authority import seems_routed
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template.judge import greedy_owners, owners_of_text
from ctemplate.template.safety.known_upstreams import Upstreams, known_at
from ctemplate.template.safety.precedence import LastLive
from ctemplate.template.safety.proven_parts import Parts
from ctemplate.template.safety.quarantine import QuarantineVerdict
from ctemplate.template.safety.render_pass import Owner, Run
from ctemplate.template.safety.structural_proof import unproven
from ctemplate.template.template import Template

Others = tuple[tuple[str, ConfigPlace], ...]


@dataclass(slots=True)
class Prover:
    """The templates of one group, each with its last proven text, its place, and the owners that printed it."""

    templates: tuple[Template, ...]
    _parts: dict[int, Parts] = field(default_factory=dict)
    _proven: dict[int, tuple[str, ConfigPlace, Others]] = field(default_factory=dict)
    _printed: dict[int, tuple[str, tuple[Owner, ...]]] = field(default_factory=dict)

    def unproven(
        self,
        runs: Sequence[Run],
        texts: Sequence[str],
        places: Sequence[ConfigPlace | None],
        before: LastLive | None = None,
    ) -> dict[Owner, QuarantineVerdict]:
        """Return the owners of values that would change the structure of the complete texts.

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
        return verdicts

    def owners(self, number: int, text: str) -> tuple[Owner, ...] | None:
        """Return the owners that printed a template's text; None where it was not proven."""
        known, owners = self._printed.get(number, ("", ()))
        return owners if number in self._printed and known == text else None

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
            return {}
        if self._proven.get(number) in {(text, place, ()), (text, place, others)}:
            return {}
        template, run = self.templates[number], runs[number]
        shadowed = run.again(prints=[], keeps=True)
        try:
            again = template.render(shadowed)
        except TemplateError as exc:
            if exc.is_exhausted and (greedy := greedy_owners(run, exc, before)):
                return greedy
            raise
        if again != text:
            raise TemplateError(str(template.source), "gives another text each time it is rendered")
        upstreams, parts = Upstreams(others), self._parts.setdefault(number, Parts())
        known = known_at(place, shadowed, runs, upstreams)
        source = str(template.source)
        found = unproven(again, shadowed, parts, source=source, place=place, known=known, before=before)
        if not found:
            self._proven[number] = (text, place, others if upstreams.were_asked else ())
            self._printed[number] = (text, owners_of_text(shadowed))
        return found
