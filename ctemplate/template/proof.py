"""Proof that a rendered text holds data as values alone, and whose data it is where it does not.

Pure: reads passes and their texts, renders nothing. Must not know where the text goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctemplate.errors import TemplateError, printable
from ctemplate.model import Fault
from ctemplate.nginx.names import Clash, shown
from ctemplate.nginx.selfcheck import Finding, Unreadable, examine
from ctemplate.nginx.surroundings import Place
from ctemplate.template.parts import Parts, as_bytes
from ctemplate.template.quarantine import SHOWN, Holder, sentence, texts
from ctemplate.template.run import Run, Violation
from ctemplate.template.trust import pieces, shadow_of

MANY = 5
"""From so many services on, or half of all, that have a value where none may stand the line itself is at fault."""


def unproven(text: str, run: Run, parts: Parts, *, source: str, place: Place) -> dict[str, Fault]:
    """Return the services whose values are more than values in the text of a pass with shadow, or take others' names.

    ``parts`` are those of the template's last text: what stands in this one as well is not proven again.
    Raises TemplateError where a template's own line puts values in such a place, or where nothing can be proven.
    """
    shadow = shadow_of(text)
    if not run.prints or parts.are_sound(str(text), shadow, place):
        return {}
    whole = pieces(str(text), shadow)
    if whole is None:
        raise TemplateError(source, "cannot tell values from its own text, which holds control characters")
    try:
        report = examine(as_bytes(whole), inside=place.inside, taken=place.taken)
    except Unreadable as exc:
        what = f"not nginx's language with plain values ({exc}); a value within quotes needs no filter quote"
        raise TemplateError(source, what) from exc
    if not report.findings and not report.clashes:
        return {}
    known = tuple(texts(run))
    return _blamed(report.findings, run, known) or _losers(report.clashes, run, known)


def _violation(number: int, reason: str, run: Run) -> Violation:
    printed = (run.prints or {})[number]
    return Violation(text=printed.text, reason=reason, where=printed.where, service=printed.service)


def _blamed(findings: Sequence[Finding], run: Run, known: Sequence[Holder]) -> dict[str, Fault]:
    faults: dict[str, Fault] = {}
    lines: dict[tuple[str, str], set[str]] = {}
    everybody = len({holder.service for holder in known} - run.excluded)
    for finding in findings:
        violation = _violation(finding.data, finding.reason, run)
        holder = _owner(violation, known)
        faults.setdefault(holder.service, holder.fault(violation))
        guilty = lines.setdefault((violation.where, violation.reason), set())
        guilty.add(holder.service)
        if finding.is_misplaced and (len(guilty) >= MANY or 2 * len(guilty) >= everybody):
            raise _own_fault(violation, f" (service {printable(holder.service, SHOWN)!r})")
    return faults


def _losers(clashes: Sequence[Clash], run: Run, known: Sequence[Holder]) -> dict[str, Fault]:
    """Return who loses a name: all to the configuration itself, else all but the longest registered."""
    faults: dict[str, Fault] = {}
    for clash in clashes:
        uses = [{_owner(_violation(number, "", run), known).service for number in data} for data in clash.data]
        services = sorted(set().union(*uses), key=lambda name: (_registered(run, name), name))
        if all(uses):
            winner, *services = services
            why = f"belongs to service {printable(winner, SHOWN)!r}, which came first"
        else:
            why = "belongs to the configuration itself"
        for service in services:
            reason = f"{printable(shown(clash.name), SHOWN)} {why}"
            faults.setdefault(service, Fault(service=service, field=clash.name[0], reason=reason))
    return faults


def _registered(run: Run, service: str) -> float:
    created = run.registered(service)
    return float("inf") if created is None else created


def _owner(violation: Violation, known: Sequence[Holder]) -> Holder:
    """Return whose value it is: the service read last, unless its text is another's alone."""
    text, service = violation.text.casefold(), violation.service
    near = [holder for holder in known if holder.service == service and holder.text and holder.text in text]
    if near:
        return max(near, key=lambda holder: len(holder.text))
    exact = [holder for holder in known if holder.text == text]
    if len({holder.service for holder in exact}) == 1:
        return exact[0]
    if service is None:
        raise _own_fault(violation)
    return Holder(service=service, field="value", text=text)


def _own_fault(violation: Violation, besides: str = "") -> TemplateError:
    what = sentence(violation).removeprefix(f"{violation.where}: ")
    return TemplateError(violation.where, what + besides)
