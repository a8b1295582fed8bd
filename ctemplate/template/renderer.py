"""The templates of one group, rendered over one snapshot; a service whose data would break them is left out.

Must not know where the texts go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctemplate.errors import TemplateError, printable
from ctemplate.model import AnyQuery, Fault, Snapshot
from ctemplate.template.run import Claim, Run, Violation
from ctemplate.template.template import Template

MAX_PASSES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The texts, parallel to the templates; the queries they used, those still missing, and who was left out."""

    texts: tuple[str, ...]
    used: frozenset[AnyQuery]
    missing: frozenset[AnyQuery]
    quarantined: tuple[Fault, ...]


class Renderer:
    """Renders the templates of one group together; a text whose answers did not change is kept."""

    def __init__(self, templates: Sequence[Template]) -> None:
        self._templates = tuple(templates)
        self._kept: list[tuple[Run, str] | None] = [None] * len(self._templates)

    def render(self, snapshot: Snapshot) -> Rendering:
        """Render every template over the snapshot; raise TemplateError for a fault of the template's own."""
        used: set[AnyQuery] = set()
        faults: dict[str, Fault] = {}
        for _ in range(MAX_PASSES):
            runs = [self._pass(number, snapshot, frozenset(faults)) for number in range(len(self._templates))]
            used.update(*(run.used for run, _ in runs))
            found = _faults([run for run, _ in runs])
            if not found:
                missing: frozenset[AnyQuery] = frozenset().union(*(run.missing() for run, _ in runs))
                texts = tuple(text for _, text in runs)
                quarantined = tuple(faults[name] for name in sorted(faults))
                return Rendering(texts=texts, used=frozenset(used), missing=missing, quarantined=quarantined)
            faults |= found
        raise TemplateError("templates", "still finding faults")

    def _pass(self, number: int, snapshot: Snapshot, excluded: frozenset[str]) -> tuple[Run, str]:
        kept = self._kept[number]
        if kept is not None and kept[0].is_current(snapshot, excluded):
            return kept
        run = Run(snapshot=snapshot, excluded=excluded)
        kept = self._kept[number] = (run, self._templates[number].render(run))
        return kept


def _faults(runs: list[Run]) -> dict[str, Fault]:
    faults: dict[str, Fault] = {}
    for run in runs:
        faults |= run.faults
        for violation in run.violations:
            faults.update(_blamed(violation))
    return faults | _lost_claims(runs)


def _blamed(violation: Violation) -> dict[str, Fault]:
    if violation.service is None:
        raise TemplateError(violation.where, f"{printable(violation.text)!r} {violation.reason}")
    reason = f"{violation.where}: {printable(violation.text, 80)!r} {violation.reason}"
    return {violation.service: Fault(service=violation.service, field="value", reason=reason)}


def _lost_claims(runs: list[Run]) -> dict[str, Fault]:
    claimants: dict[tuple[str, str], set[str]] = {}
    for claim in set[Claim]().union(*(run.claims for run in runs)):
        claimants.setdefault((claim.kind, claim.value), set()).add(claim.service)
    faults: dict[str, Fault] = {}
    for (kind, value), services in sorted(claimants.items()):
        if len(services) > 1:
            first, *others = sorted(services, key=lambda name: (_registered(runs, name), name))
            reason = f"{kind} {printable(value)} belongs to {printable(first)!r}, which was registered first"
            faults |= {name: Fault(service=name, field=kind, reason=reason) for name in others}
    return faults


def _registered(runs: list[Run], service: str) -> float:
    known = [created for run in runs if (created := run.registered(service)) is not None]
    return min(known, default=float("inf"))
