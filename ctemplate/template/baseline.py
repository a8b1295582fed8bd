"""The baseline: the templates of the last good rendering, and the owners of the data in it.

It distinguishes an edit of a template, which may contain an error, from a change of data, for which the template is not
to blame. Pure; must not know where it is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from ctemplate.core.errors import TemplateError, printable
from ctemplate.core.model import Answer, Instance, Service
from ctemplate.template.safety.quarantine import REFUSED, SHOWN_LENGTH, Passing, QuarantineVerdict
from ctemplate.template.safety.render_pass import Owner
from ctemplate.template.template import Template

_KNOWN = 100_000
_DIGITS = 12


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The last good rendering, as digests: ``lines`` of the templates' lines, ``live`` of the owners."""

    template: str
    lines: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()

    @classmethod
    def of(cls, templates: Iterable[Template], owners: Iterable[Owner]) -> Baseline:
        """Return the baseline of a rendering that has become live."""
        templates = tuple(templates)
        lines = frozenset(_digest(line) for template in templates for line in template.lines)
        return cls(template=template_digest(templates), lines=lines, live=frozenset(map(_owner_digest, owners)))

    def is_live(self, owner: Owner) -> bool:
        """Whether the last good rendering contained data of the owner."""
        return _owner_digest(owner) in self.live

    def live_part(self, answer: Answer) -> Answer:
        """Return an answer without the entries that the last good rendering did not contain."""
        owners = [(item, Owner.of(item)) for item in answer.value if isinstance(item, Service | Instance)]
        value = [item for item, owner in owners if self.is_live(owner)]
        value = value or [item for item, owner in owners if self.is_live(owner.whole)]
        return msgspec.structs.replace(answer, value=tuple(value))

    def knows(self, line: str) -> bool:
        """Whether the templates contained a line."""
        return _digest(line) in self.lines


def template_digest(templates: Iterable[Template]) -> str:
    """Return a digest of a group's templates and the operator's variables."""
    return hashlib.sha256(repr([template.identity for template in templates]).encode()).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


@lru_cache(maxsize=_KNOWN)
def _owner_digest(owner: Owner) -> str:
    return _digest("\0".join(owner))


def check_edit(
    before: Baseline | None,
    verdicts: Mapping[Owner, QuarantineVerdict],
    passed: Mapping[tuple[str, Passing], set[str]],
    *,
    where: str,
) -> None:
    """Raise TemplateError where an edited template, rather than a service, is the cause of what is left out.

    ``passed`` are the services that succeed at each line, and at any line under "". A line at which none succeeds is
    wrong itself; after an edit so is a new line at which half fail, and no edit may leave out a live service.
    ``verdicts`` are those of new lines, or of what was live; ``where`` names the templates.
    """
    lines: dict[tuple[str, Passing], dict[str, QuarantineVerdict]] = {}
    for owner in sorted(verdicts):
        verdict = verdicts[owner]
        if before is not None and before.is_live(owner):
            raise _edit_fault(verdict, where, "; it is live, so the edit is not used")
        if verdict.line or verdict.rejection.field == REFUSED:
            lines.setdefault((verdict.line, verdict.passing), {}).setdefault(owner.service, verdict)
    for line, failed in lines.items():
        where_passed = ("", line[1]) if line[1] is Passing.ANYWHERE else line
        others = passed.get(where_passed, set()) - failed.keys()
        if not others or (before is not None and len(failed) >= len(others)):
            count = f"; so it is for {len(failed)} of {len(failed) + len(others)} services"
            raise _edit_fault(next(iter(failed.values())), where, count if len(failed) > 1 else "")


def _edit_fault(verdict: QuarantineVerdict, where: str, besides: str) -> TemplateError:
    rejection = verdict.rejection
    where = verdict.line or where
    what = rejection.reason.removeprefix(f"{where}: ")
    return TemplateError(where, f"{what} (service {printable(rejection.service, SHOWN_LENGTH)!r}){besides}")
