"""Judge what the templates make of the answers: what they do not find, and what they leave out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ctemplate.core.model import Query, Rejection
from ctemplate.doctor.diagnosis import Diagnosis, error, warning

FINDINGS_SHOWN = 5  # how many lines of one kind are shown
CORRECT_TEMPLATE = "correct the template"
CREATE = "create it, or give it a default in the template"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFacts:
    """What the templates' renderings report.

    ``remarks`` are sentences about names and tags that nothing has, ``absent`` the queries for what does not exist,
    such as a key. ``unusable`` is data that may not be used, ``unprintable`` data over which a template fails.
    """

    remarks: tuple[str, ...] = ()
    absent: tuple[Query, ...] = ()
    unusable: tuple[Rejection, ...] = ()
    unprintable: tuple[Rejection, ...] = ()


def template_diagnoses(facts: TemplateFacts) -> Iterator[Diagnosis]:
    """Yield a line for each finding; of each kind the first few, then their number."""
    yield from _few([_remark(each) for each in facts.remarks], "templates")
    yield from _few([error(str(each), "does not exist", CREATE) for each in facts.absent], "templates")
    left_out = [warning("left out", str(each), _correct_registration(each)) for each in facts.unusable]
    left_out += [
        warning("left out", str(each), "correct the registration, or the template") for each in facts.unprintable
    ]
    yield from _few(left_out, "left out")


def _few(lines: Sequence[Diagnosis], what: str) -> Iterator[Diagnosis]:
    yield from lines[:FINDINGS_SHOWN]
    if len(lines) > FINDINGS_SHOWN:
        yield warning(what, f"{len(lines) - FINDINGS_SHOWN} more", "ctemplate plan names them all")


def _remark(text: str) -> Diagnosis:
    where, _, found = text.partition(": ")
    return warning(where, found, "")


def _correct_registration(found: Rejection) -> str:
    if found.field == "name":
        return "write its name as it is registered"
    return "correct the registration, or [data]"
