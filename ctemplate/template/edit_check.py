"""Decide whether a template that is not live yet, rather than data, is the cause of what would be left out.

Judges the result of a rendering; must not know how services are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from ctemplate.core.errors import TemplateError, printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Answer, Instance, Snapshot, further_addresses
from ctemplate.core.values import dataclass
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template.baseline import Baseline
from ctemplate.template.judge import Judge
from ctemplate.template.lost_servers import RemovedService, lost_servers, removed_services
from ctemplate.template.prover import Prover
from ctemplate.template.render_state import RenderState
from ctemplate.template.safety.harmless_data import ACCEPTABLE_WAYS, PRINTABLE_WAYS, HarmlessWay, with_harmless_texts
from ctemplate.template.safety.quarantine import REFUSED, SHOWN_LENGTH, Passing, QuarantineVerdict
from ctemplate.template.safety.render_pass import Owner, Run
from ctemplate.template.template import Template

SIGNS = 2
"""How many signs show that a first version is at fault at a line that no service passes; an edit needs one."""

_WORD = lazy_pattern(r"[\w.:\[\]-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingLine:
    """A template's line, who fails there, and the services that pass it; ``rendered`` are those that print anywhere."""

    line: str
    passing: Passing
    verdicts: Mapping[Owner, QuarantineVerdict]
    passed: frozenset[str]
    rendered: frozenset[str]

    @property
    def lost(self) -> frozenset[str]:
        """The services that are left out entirely."""
        return frozenset(owner.service for owner in self.verdicts if owner.is_whole)

    @property
    def others(self) -> frozenset[str]:
        """The services that pass the line."""
        return self.passed - self.lost

    @property
    def failed(self) -> frozenset[str]:
        """The services of which nothing passes the line."""
        return frozenset(owner.service for owner in self.verdicts) - self.others

    @property
    def rest(self) -> frozenset[str]:
        """The services that the text still has."""
        return self.rendered - self.lost

    def fault(self, where: str, verdict: QuarantineVerdict | None = None, besides: str = "") -> TemplateError:
        """Return the error for a template whose line is at fault; ``where`` names the templates."""
        verdict = verdict or self.verdicts[min(self.verdicts)]
        count, reached = len(self.failed), len(self.failed | self.others)
        besides = besides or (f"; so it is for {count} of {reached} services" if count > 1 else "")
        rejection, where = verdict.rejection, verdict.line or where
        what = rejection.reason.removeprefix(f"{where}: ")
        return TemplateError(where, f"{what} (service {printable(rejection.service, SHOWN_LENGTH)!r}){besides}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCheck:
    """Judges what is left out of one rendering by templates that are new since ``before``.

    ``snapshot``, ``texts`` and ``places`` are those of the rendering. ``live_text`` returns what the live files say,
    ``printed`` which services have a line in the texts that comes from a line of the templates.
    """

    templates: tuple[Template, ...]
    judge: Judge
    before: Baseline | None
    state: RenderState
    snapshot: Snapshot
    texts: Sequence[str]
    places: Sequence[ConfigPlace | None]
    live_text: Callable[[], str]
    printed: Callable[[str], frozenset[str]]

    def check(self) -> None:
        """Raise TemplateError where the templates are the cause of what is left out.

        No edit may leave out what is live, and of the services that reach a new line fewer than half may fail. At a
        line that no service passes, an edit is at fault if one sign says so, a first version if two do.
        """
        lines = self._failing_lines(self._suspects())
        where = self._where
        for line in lines:
            for owner, verdict in line.verdicts.items():
                if self._is_live(owner):
                    raise line.fault(where, verdict, "; it is live, so the edit is not used")
        for line in lines:
            if self._is_at_fault(line):
                raise line.fault(where)

    def check_servers(self, known: Sequence[Answer]) -> tuple[RemovedService, ...]:
        """Return the services of which an edit removes every live server; ``known`` are the last live answers.

        Raises TemplateError where it prints no live server any more, although it reads the services.
        """
        if self.before is None:
            return ()
        live, runs = self.live_text(), self.state.runs
        names, count = lost_servers(self.before, live, self.texts, runs=runs, snapshot=self.snapshot, known=known)
        if not names:
            excluded = self.state.excluded
            return removed_services(
                self.before, live, self.texts, excluded=excluded, snapshot=self.snapshot, known=known
            )
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise TemplateError(
            self._where,
            f"prints none of the live servers ({count}) of service {printable(names[0], SHOWN_LENGTH)!r}{others}"
            "; it is live, so the edit is not used; to remove a service, take out what reads it",
        )

    @property
    def _where(self) -> str:
        return ", ".join(str(template.source) for template in self.templates)

    def _suspects(self) -> dict[Owner, QuarantineVerdict]:
        """Return the verdicts on what was live, and those of new lines."""
        verdicts = sorted(self.state.verdicts.items())
        return {owner: verdict for owner, verdict in verdicts if self._is_live(owner) or self._is_new(verdict)}

    def _is_live(self, owner: Owner) -> bool:
        return self.before is not None and self.before.is_live(owner)

    def _is_new(self, verdict: QuarantineVerdict) -> bool:
        """Whether the line of the failure is new in the templates, or unknown."""
        if not verdict.line:
            return verdict.rejection.field == REFUSED
        texts = [text for template in self.templates if (text := template.text_of_line(verdict.line))]
        return self.before is None or not any(map(self.before.knows, texts))

    def _failing_lines(self, suspects: Mapping[Owner, QuarantineVerdict]) -> tuple[FailingLine, ...]:
        verdicts: dict[tuple[str, Passing], dict[Owner, QuarantineVerdict]] = {}
        for owner, verdict in suspects.items():
            verdicts.setdefault((verdict.line, verdict.passing), {})[owner] = verdict
        passed = self.judge.passed(self.state.runs) if verdicts else {}
        return tuple(
            FailingLine(
                line=line,
                passing=passing,
                verdicts=failing,
                passed=self._passed_there(
                    line, failing, passed.get(("" if passing is Passing.ANYWHERE else line, passing), ())
                ),
                rendered=frozenset(passed.get(("", Passing.PRINTS), ())),
            )
            for (line, passing), failing in verdicts.items()
        )

    def _passed_there(
        self, line: str, failing: Mapping[Owner, QuarantineVerdict], counted: Iterable[str]
    ) -> frozenset[str]:
        """Return who passes a line; at one that a program refuses, and that prints nothing, whose text contains it."""
        is_refused = any(verdict.rejection.field == REFUSED for verdict in failing.values())
        return frozenset(counted) or (self.printed(line) if line and is_refused else frozenset())

    def _is_at_fault(self, line: FailingLine) -> bool:
        if not line.failed:
            return False
        if line.others:
            return self.before is not None and len(line.failed) >= len(line.others)
        if not line.rest:
            return True
        signs = (
            len(line.lost) >= len(line.rest),
            self.before is None and self._drops_a_live_address(line),
            not self._can_pass(line),
        )
        return sum(signs) >= (SIGNS if self.before is None else 1)

    def _drops_a_live_address(self, line: FailingLine) -> bool:
        """Whether the live files hold an address of a service that is left out, and the new texts do not."""
        dropped = frozenset(_WORD.findall(self.live_text())).difference(*map(_WORD.findall, self.texts))
        return any(
            not dropped.isdisjoint(_address_words(item))
            for answer in self.snapshot
            for item in answer.value
            if isinstance(item, Instance) and item.name in line.lost
        )

    def _can_pass(self, line: FailingLine) -> bool:
        """Whether the line passes if the texts of the services that fail there are harmless."""
        refused = [verdict for verdict in line.verdicts.values() if verdict.rejection.field == REFUSED]
        if line.passing is Passing.NEVER or refused:
            return any(verdict.line_fits for verdict in refused)
        found = set()
        for snapshot in _harmless_snapshots(self.snapshot, line.failed, self.templates, PRINTABLE_WAYS):
            found.add(self._passes_with(line, snapshot))
            if True in found:
                return True
        return False not in found

    def _passes_with(self, line: FailingLine, snapshot: Snapshot) -> bool | None:
        """Whether a service passes the line with other answers; None where none reaches it."""
        runs = tuple(_counted_with(run, snapshot, line.failed) for run in self.state.runs)
        texts = [self.judge.render(number, run) for number, run in enumerate(runs)]
        found = {(where, owner.service) for run in runs for where, owner in _passed(run, line.passing)}
        failed = {(one.where, one.service) for run in runs for one in run.violations}
        failed |= {(error.where, owner.service) for run in runs for owner, error in run.broken.items()}
        if any(run.error is not None for run in runs):
            return False
        try:
            unproven = Prover(self.templates, self.judge.render).unproven(runs, texts, self.places, self.before)
        except TemplateError:
            return False
        failed |= {(verdict.line, owner.service) for owner, verdict in unproven.items()}
        if any((line.line, service) in found - failed for service in line.failed):
            return True
        return False if any((line.line, service) in found | failed for service in line.failed) else None


def acceptable_snapshots(
    snapshot: Snapshot, services: Collection[str], templates: Sequence[Template]
) -> Iterator[Snapshot]:
    """Yield the answers with texts of these services that a program is likely to accept, in several ways."""
    yield from _harmless_snapshots(snapshot, services, templates, ACCEPTABLE_WAYS)


def _harmless_snapshots(
    snapshot: Snapshot, services: Collection[str], templates: Sequence[Template], ways: Iterable[HarmlessWay]
) -> Iterator[Snapshot]:
    """Yield the answers with texts of these services that the templates can print anywhere, one for each way."""

    def is_plain(text: str) -> bool:
        return all(template.is_plain(text) for template in templates)

    for way in ways:
        yield with_harmless_texts(snapshot, services, is_plain, way)


def _counted_with(run: Run, snapshot: Snapshot, services: frozenset[str]) -> Run:
    """Return a new pass over other answers that renders these services as well, and counts who passes."""
    excluded = run.excluded - services
    return Run(snapshot=snapshot, excluded=excluded, partly=run.partly, counts=True, moment=run.moment)


def _passed(run: Run, passing: Passing) -> set[tuple[str, Owner]]:
    return run.read if passing is Passing.READS else run.passed


def _address_words(item: Instance) -> Iterator[str]:
    """Yield the forms in which a text may hold an instance's addresses."""
    yield item.ip
    for address, port in ((item.address, item.port), *further_addresses(item)):
        yield address
        yield f"{address}:{port}"
