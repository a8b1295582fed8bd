"""The proof that a rendered text contains data only as values; else the owners of the data that violate it.

Reads passes and their texts, and makes no pass but by the trial that it is given. Must not know where the text goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ctemplate.core.errors import TemplateError, printable
from ctemplate.core.model import Rejection
from ctemplate.nginx.language.authority import KnownRoutes
from ctemplate.nginx.language.unique_names import Clash, format_use, is_address
from ctemplate.nginx.language.value_check import MisplacedValue, UnreadableText, ValueReport, examine
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template.safety.precedence import LastLive
from ctemplate.template.safety.print_owners import PrintOwners, Trial
from ctemplate.template.safety.proven_parts import Parts, as_bytes
from ctemplate.template.safety.quarantine import (
    SHOWN_LENGTH,
    Passing,
    QuarantineVerdict,
)
from ctemplate.template.safety.render_pass import Owner, Run
from ctemplate.template.safety.tainted_text import TaintedText, pieces, shadow_of


def unproven(
    text: str,
    run: Run,
    parts: Parts,
    *,
    source: str,
    place: ConfigPlace,
    known: KnownRoutes,
    trial: Trial,
    before: LastLive | None = None,
) -> dict[Owner, QuarantineVerdict]:
    """Return the owners of values that change the structure of a pass's text, or that claim others' names.

    ``parts`` are those of the template's last text: parts that are unchanged are not proven again. ``known`` are the
    targets of nginx that are permitted besides the text's own upstreams, ``before`` is what was live. ``trial`` makes
    the pass again with more services left out. Raises TemplateError where a value has no owner, or where nothing can be
    proven and the text is certainly nginx's.
    """
    shadow = shadow_of(text)
    if not isinstance(text, TaintedText) or parts.are_valid(str(text), shadow, place, known):
        return {}  # text without placeholders contains no data
    whole = pieces(str(text), shadow)
    if whole is None:
        if not place.is_certain:
            return {}
        raise TemplateError(source, "cannot tell values from its own text, which holds control characters")
    try:
        report = examine(as_bytes(whole), inside=place.inside, taken=place.taken, known=known)
    except UnreadableText as exc:
        if not place.is_certain:
            return {}  # another format, whose text resembles nginx's
        what = f"not nginx's language with plain values ({exc}); a value within quotes needs no filter quote"
        raise TemplateError(source, what) from exc
    if not report.findings and not report.clashes:
        return {}
    author = PrintOwners(run, before, trial)
    unknown = author.confirm(
        {finding.data for finding in report.findings}.union(*(data for one in report.clashes for data in one.data))
    )
    reports = (_without(report, unknown), report) if unknown else (report,)
    verdicts = (
        _misplaced_values(one.findings, author) or _name_conflicts(one.clashes, author, place) for one in reports
    )
    return next(filter(None, verdicts), {})


def _without(report: ValueReport, unknown: frozenset[int]) -> ValueReport:
    """Return what is wrong with the values whose owners are known."""
    uses = ((clash, tuple(data for data in clash.data if not data & unknown)) for clash in report.clashes)
    return ValueReport(
        findings=tuple(finding for finding in report.findings if finding.data not in unknown),
        clashes=tuple(replace(clash, data=data) for clash, data in uses if len(data) > 1),
    )


def _misplaced_values(findings: Sequence[MisplacedValue], author: PrintOwners) -> dict[Owner, QuarantineVerdict]:
    verdicts: dict[Owner, QuarantineVerdict] = {}
    for finding in findings:
        violation, holder = author.violation(finding.data, finding.reason), author.holder(finding.data)
        rivals = None if finding.rests_on_others else frozenset[str]()
        verdict = QuarantineVerdict(
            rejection=holder.rejection(violation), rivals=rivals, line=violation.where, passing=_passing(finding)
        )
        verdicts.setdefault(holder.owner, verdict)
    return verdicts


def _passing(finding: MisplacedValue) -> Passing:
    """Return the evidence that other services succeed at a line; where their values decide, few may print there."""
    if finding.rests_on_others:
        return Passing.ANYWHERE
    return Passing.NEVER if finding.is_misplaced else Passing.PRINTS


def _name_conflicts(
    clashes: Sequence[Clash], author: PrintOwners, place: ConfigPlace
) -> dict[Owner, QuarantineVerdict]:
    """Return who loses a name: all to the configuration itself, else all but the first: live ones precede, then age.

    A service that uses a name twice loses it where nginx refuses that.
    """
    verdicts: dict[Owner, QuarantineVerdict] = {}
    for clash in clashes:
        uses = [{author.holder(number).service for number in data} for data in clash.data]
        services = sorted(set().union(*uses), key=author.rank)
        rivals: frozenset[str] | None = None
        why, line = _taken_by(clash, place), ""
        if all(uses) and len(services) > 1:
            winner, *services = services
            rivals, why = (
                frozenset({winner}),
                f"belongs to service {printable(winner, SHOWN_LENGTH)!r}, which came first",
            )
        elif all(uses):
            if not clash.is_refused:
                continue
            rivals, why = frozenset(), "is there twice"
            line = author.violation(next(iter(clash.data[0])), why).where
        for service in services:
            reason = f"{printable(format_use(clash.name), SHOWN_LENGTH)} {why}"
            rejection = Rejection(service=service, field=clash.name[0], reason=reason)
            verdicts.setdefault(Owner(service), QuarantineVerdict(rejection=rejection, rivals=rivals, line=line))
    return verdicts


def _taken_by(clash: Clash, place: ConfigPlace) -> str:
    if is_address(clash.name):
        return "is an address, which may not be the name of an upstream"
    file = place.files.get(clash.name)
    return "belongs to the configuration itself" if file is None else f"is used in {file}"
