"""Proof that a rendered text holds data as values alone, and whose data it is where it does not.

Pure: reads passes and their texts, renders nothing. Must not know where the text goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from ctemplate.errors import TemplateError, printable
from ctemplate.model import Fault
from ctemplate.nginx.authority import Known
from ctemplate.nginx.names import Clash, shown
from ctemplate.nginx.selfcheck import Finding, Unreadable, examine
from ctemplate.nginx.surroundings import Place
from ctemplate.template.parts import Parts, as_bytes
from ctemplate.template.quarantine import SHOWN, Held, Holder, Verdict, held_by_line, sentence, texts
from ctemplate.template.run import Run, Violation
from ctemplate.template.trust import Earned, pieces, shadow_of

MANY = 5
"""From so many services on, or half of all, that have a value where none may stand the line itself is at fault."""


def unproven(
    text: str, run: Run, parts: Parts, *, held: Mapping[str, Held], source: str, place: Place, known: Known
) -> dict[str, Verdict]:
    """Return the services whose values are more than values in the text of a pass with shadow, or take others' names.

    ``held`` are those left out of it already, ``parts`` are those of the template's last text: what stands in this one
    as well is not proven again. ``known`` tells where nginx may go besides the text's own upstreams.
    Raises TemplateError where a template's own line puts values in such a place, or where nothing can be proven.
    """
    shadow = shadow_of(text)
    if not isinstance(text, Earned) or parts.are_sound(str(text), shadow, place, known):
        return {}  # of text without a shadow nothing is data
    whole = pieces(str(text), shadow)
    if whole is None:
        raise TemplateError(source, "cannot tell values from its own text, which holds control characters")
    try:
        report = examine(as_bytes(whole), inside=place.inside, taken=place.taken, known=known)
    except Unreadable as exc:
        what = f"not nginx's language with plain values ({exc}); a value within quotes needs no filter quote"
        raise TemplateError(source, what) from exc
    if not report.findings and not report.clashes:
        return {}
    author = _Author(run)
    return _blamed(report.findings, author, held_by_line(held)) or _losers(report.clashes, author)


class _Author:
    """Tells whose value each print of a pass is."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._prints = dict(run.prints or ())
        self._known = tuple(texts(run))
        self._holders: dict[int, Holder] = {}

    @cached_property
    def services(self) -> frozenset[str]:
        """The services that are not left out."""
        return frozenset(holder.service for holder in self._known) - self.run.excluded

    @cached_property
    def printing(self) -> frozenset[str]:
        """The services with a value anywhere in the text."""
        return frozenset(one.service for one in self._prints.values() if one.service is not None)

    def violation(self, number: int, reason: str) -> Violation:
        """Return what is wrong with a print."""
        printed = self._prints[number]
        return Violation(text=printed.text, reason=reason, where=printed.where, service=printed.service)

    def holder(self, number: int) -> Holder:
        """Return whose value was printed."""
        if number not in self._holders:
            self._holders[number] = _owner(self.violation(number, ""), self._known)
        return self._holders[number]

    def registered(self, service: str) -> float:
        """Return when the service was first registered, infinity where that is unknown."""
        created = self.run.registered(service)
        return float("inf") if created is None else created


def _blamed(
    findings: Sequence[Finding], author: _Author, held: Mapping[tuple[str, str], set[str]]
) -> dict[str, Verdict]:
    verdicts: dict[str, Verdict] = {}
    lines: dict[tuple[str, str], set[str]] = {}
    everybody = len(author.services)
    for finding in findings:
        violation, holder = author.violation(finding.data, finding.reason), author.holder(finding.data)
        line = (violation.where, violation.reason)
        rivals = None if finding.rests_on_others else frozenset[str]()
        verdicts.setdefault(holder.service, Verdict(fault=holder.fault(violation), rivals=rivals, line=line))
        before = held.get(line, set())
        guilty = lines.setdefault(line, set(before))
        guilty.add(holder.service)
        if finding.rests_on_others:
            is_lines_own = 2 * len(guilty) > len(author.printing | before)
        else:
            is_lines_own = len(guilty) >= MANY or 2 * len(guilty) >= everybody + len(before)
        if finding.is_misplaced and is_lines_own:
            raise _own_fault(violation, f" (service {printable(holder.service, SHOWN)!r})")
    return verdicts


def _losers(clashes: Sequence[Clash], author: _Author) -> dict[str, Verdict]:
    """Return who loses a name: all to the configuration itself, else all but the longest registered.

    Who has a name twice by itself loses it where nginx refuses that, unless a line does so to most services.
    """
    verdicts: dict[str, Verdict] = {}
    twice: dict[tuple[str, str], set[str]] = {}
    for clash in clashes:
        uses = [{author.holder(number).service for number in data} for data in clash.data]
        services = sorted(set().union(*uses), key=lambda name: (author.registered(name), name))
        rivals: frozenset[str] | None = None
        why = "belongs to the configuration itself"
        if all(uses) and len(services) > 1:
            winner, *services = services
            rivals, why = frozenset({winner}), f"belongs to service {printable(winner, SHOWN)!r}, which came first"
        elif all(uses):
            if not clash.is_refused:
                continue
            rivals, why = frozenset(), "is there twice"
            violation = author.violation(next(iter(clash.data[0])), f"as {shown(clash.name)} {why}")
            guilty = twice.setdefault((violation.where, clash.name[0]), set())
            guilty.update(services)
            if len(guilty) >= MANY or 2 * len(guilty) >= len(author.services):
                raise _own_fault(violation)
        for service in services:
            reason = f"{printable(shown(clash.name), SHOWN)} {why}"
            fault = Fault(service=service, field=clash.name[0], reason=reason)
            verdicts.setdefault(service, Verdict(fault=fault, rivals=rivals))
    return verdicts


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
