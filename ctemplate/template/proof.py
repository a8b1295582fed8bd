"""Proof that a rendered text holds data as values alone, and whose data it is where it does not.

Pure: reads passes and their texts, renders nothing. Must not know where the text goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctemplate.errors import TemplateError
from ctemplate.model import Fault
from ctemplate.nginx.selfcheck import Finding, Piece, Unreadable, findings
from ctemplate.template.quarantine import Holder, sentence, texts
from ctemplate.template.run import Run, Violation
from ctemplate.template.trust import pieces, shadow_of

MANY = 5
"""From so many services on that one line would leave out, the line itself is at fault."""


def unproven(text: str, run: Run, *, source: str, inside: bytes) -> dict[str, Fault]:
    """Return the services whose values are more than values in the text of a pass with shadow.

    Raises TemplateError where a template's own line puts values in such a place, or where nothing can be proven.
    """
    prints = run.prints or []
    if not prints:
        return {}
    cut = pieces(str(text), shadow_of(text))
    if cut is None:
        raise TemplateError(source, "cannot tell values from its own text, which holds control characters")
    try:
        found = findings([Piece(text=_bytes(part), data=number) for part, number in cut], inside=inside)
    except Unreadable as exc:
        what = f"not nginx's language with plain values ({exc}); a value within quotes needs no filter quote"
        raise TemplateError(source, what) from exc
    violations = [_violation(finding, run) for finding in found]
    return _blamed(violations, tuple(texts(run))) if violations else {}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _violation(finding: Finding, run: Run) -> Violation:
    printed = (run.prints or [])[finding.data]
    return Violation(text=printed.text, reason=finding.reason, where=printed.where, service=printed.service)


def _blamed(violations: Sequence[Violation], known: Sequence[Holder]) -> dict[str, Fault]:
    faults: dict[str, Fault] = {}
    lines: dict[tuple[str, str], set[str]] = {}
    for violation in violations:
        holder = _owner(violation, known)
        faults.setdefault(holder.service, holder.fault(violation))
        guilty = lines.setdefault((violation.where, violation.reason), set())
        guilty.add(holder.service)
        if len(guilty) >= MANY and "structure" not in violation.reason:
            raise _own_fault(violation, f"; as would those of {len(guilty)} services")
    return faults


def _owner(violation: Violation, known: Sequence[Holder]) -> Holder:
    """Return whose value it is: the service read last, unless its text is another's alone."""
    text, service = violation.text, violation.service
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
