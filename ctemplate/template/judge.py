"""Find the services whose data break a template or print a forbidden value, from passes and further trial passes.

What follows for them is decided elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ctemplate.core.errors import TemplateError, TemplateFailed
from ctemplate.core.model import Instance, Rejection, Service, Snapshot
from ctemplate.core.values import dataclass
from ctemplate.template.safety.greed import greedy, weights
from ctemplate.template.safety.precedence import LastLive
from ctemplate.template.safety.quarantine import (
    BROKEN,
    SIZE,
    Held,
    Holder,
    Passing,
    QuarantineVerdict,
    attribute_by_text,
    holders,
    made_from,
    owners,
    read_last,
    sentence,
)
from ctemplate.template.safety.render_pass import Owner, Run, Violation
from ctemplate.template.safety.search import Search

MAX_BROKEN = 3
"""Services, at most, that may fail a pass and are left out; with more, the template is wrong."""


@dataclass(frozen=True, slots=True)
class Judge:
    """``render`` makes a pass of the numbered template, and stores its error in the run.

    ``is_plain``: whether a value may be printed anywhere in that template's text. ``changed`` returns the services
    whose data differ from those of the last good rendering.
    """

    render: Callable[[int, Run], str]
    is_plain: Callable[[int, str], bool]
    changed: Callable[[Snapshot], Collection[str]]

    def broken(
        self, number: int, run: Run, held: Mapping[Owner, Held], live: LastLive | None
    ) -> dict[Owner, QuarantineVerdict]:
        """Return the services whose data made the template fail; raise the error where no service is the cause.

        While answers are missing no failure counts, since the template may need them. The service read last when a pass
        ended need not be the cause: without it the error has to disappear or change. Time and memory may have been
        short by chance; then a second pass has to fail at the same service. ``live`` is what the last good rendering
        contained; it decides who used up a limit.
        """
        if run.awaited:
            return {}
        found = {owner: _broken(owner, error) for owner, error in run.broken.items()}
        if run.error is None:
            return self._confirmed_broken(number, run, found)
        if isinstance(run.error, TemplateFailed):
            raise run.error
        if run.error.is_exhausted and (found := self._exhausting(number, run, run.error, live)):
            return found
        owner = run.owner()
        if owner is not None and owner.thing and not run.error.is_transient and not run.error.is_exhausted:
            return {owner: _broken(owner, run.error)}
        before = sum(one.verdict.rejection.field == BROKEN for one in held.values())
        if owner is None or owner.service not in _services(run) - run.excluded or before >= MAX_BROKEN:
            raise run.error
        if run.error.is_transient:
            again = self._pass(number, run)
            if again.error is None or again.last_read_name() != owner.service:
                raise run.error
            owner = owner.whole
        elif str(self._pass(number, run, (owner.service,)).error) == str(run.error):
            raise run.error
        return {owner: _broken(owner, run.error)}

    def violators(self, number: int, run: Run) -> dict[Owner, QuarantineVerdict]:
        """Return the owners of forbidden values; raise TemplateError where they have no owner."""
        violations = [violation for violation in run.violations if violation.text or not run.awaited]
        if not violations:
            return {}  # while a value is awaited nothing follows
        known = holders(run, partial(self.is_plain, number))
        found = read_last(violations, known)
        if not found:
            found = self._confirmed(number, run, attribute_by_text(violations, known))
        thing = None if found else made_from(violations[0], run)
        if thing is not None:
            violation = violations[0]
            rejection = Rejection(service="", field="value", reason=sentence(violation))
            return {thing: QuarantineVerdict(rejection=rejection, line=violation.where)}
        if not found:
            return self._searched(number, run, violations[0], known)
        return {
            holder.owner: QuarantineVerdict(rejection=holder.rejection(violation), line=violation.where)
            for violation, holder in reversed(found)
        }

    def _exhausting(
        self, number: int, run: Run, error: TemplateError, live: LastLive | None
    ) -> dict[Owner, QuarantineVerdict]:
        """Return services that used up a limit shared by all; none where it cannot be told who did.

        They are those with more than their share; else some of those that are new or have changed, if the others stay
        within the limit. One that alone exceeds it beside these others is found; otherwise there are too many, and half
        of them are left out, those registered last: first of the new ones. What is live and unchanged is never the
        cause: where nothing else is there, the error is raised.
        """
        if found := greedy_owners(run, error, live):
            return found
        known = _services(run) - run.excluded
        changed = known.intersection(self.changed(run.snapshot))
        new = {name for name in known if live is None or not live.is_live(Owner(name))}
        suspects = new | changed
        if not suspects:
            raise error
        if suspects == known:
            return {}
        alone = suspects & {run.last_read_name()}
        if suspects == alone or self._pass(number, run, suspects - alone).error is not None:
            if not alone or self._pass(number, run, suspects).error is not None:
                raise error
            return _size_verdicts(alone, run, "it exceeds that beside what is live")
        ordered = sorted(suspects & new or suspects, key=lambda name: (run.registered(name) or 0, name))
        return _size_verdicts(ordered[len(ordered) // 2 :], run, "there are too many new services")

    def passed(self, runs: Sequence[Run]) -> dict[tuple[str, Passing], set[str]]:
        """Return the services that succeed at each line of the templates, or at any, with the current omissions."""
        found: dict[tuple[str, Passing], set[str]] = {}
        for number, run in enumerate(runs):
            counted = self._pass(number, run, counts=True)
            for passing, noted in ((Passing.PRINTS, counted.passed), (Passing.READS, counted.read)):
                for line, owner in noted:
                    found.setdefault((line, passing), set()).add(owner.service)
                    found.setdefault(("", passing), set()).add(owner.service)
        found["", Passing.ANYWHERE] = found.get(("", Passing.PRINTS), set())
        return found

    def _pass(self, number: int, run: Run, without: Iterable[str] = (), *, counts: bool = False) -> Run:
        """Repeat a pass with some more services left out."""
        again = run.again(without, counts=counts)
        self.render(number, again)
        return again

    def _confirmed(
        self, number: int, run: Run, suspected: Sequence[tuple[Violation, Holder]]
    ) -> list[tuple[Violation, Holder]]:
        """Keep the suspects, found by a text alone, whose omission removes that text and leaves no rest of it.

        A rest shows that the value was joined of several, and that another one of them is forbidden.
        """
        things = [(violation, holder) for violation, holder in suspected if holder.thing]
        if things or not suspected:
            return things  # these cannot be left out, so no trial is possible
        without = self._pass(number, run, {holder.service for _, holder in suspected})
        left = _refused_texts(without)
        rests = {where for where, _ in left - _refused_texts(run)}
        return [
            (violation, holder)
            for violation, holder in suspected
            if violation.where not in rests
            and not any(where == violation.where and holder.text in text for where, text in left)
        ]

    def _confirmed_broken(
        self, number: int, run: Run, found: dict[Owner, QuarantineVerdict]
    ) -> dict[Owner, QuarantineVerdict]:
        """Return those whose data made turns of loops fail: found by trial where a loop is over a list of values.

        There the entry read last is the last one of that list, whichever value made the turn fail, and without it the
        line fails for the one before.
        """
        if not found:
            return found
        lines = Counter(verdict.line for verdict in found.values())
        alone = {owner for owner, verdict in found.items() if lines[verdict.line] == 1 and not owner.thing}
        without = self._pass(number, run, {owner.service for owner in alone}) if alone else run
        failing = {error.where for owner, error in without.broken.items() if owner not in found}
        sure = {owner: verdict for owner, verdict in found.items() if owner not in alone or verdict.line not in failing}
        if sure or without.error is not None:
            return sure or found
        return self._who_broke(number, run, next(iter(found.values()))) or found

    def _who_broke(self, number: int, run: Run, verdict: QuarantineVerdict) -> dict[Owner, QuarantineVerdict]:
        """Find the services whose data make a line fail, by leaving services out."""

        def fails(left_out: Iterable[str]) -> bool:
            again = self._pass(number, run, left_out)
            return any(error.where == verdict.line for error in again.broken.values())

        guilty = Search(where=verdict.line, without=fails).guilty(tuple(sorted(_services(run) - run.excluded)))
        reason = verdict.rejection.reason
        rejections = {name: Rejection(service=name, field=BROKEN, reason=reason) for name in guilty}
        return {Owner(name): replace(verdict, rejection=rejection) for name, rejection in rejections.items()}

    def _searched(
        self, number: int, run: Run, violation: Violation, known: Sequence[Holder]
    ) -> dict[Owner, QuarantineVerdict]:
        """Find the owners of one line's values by leaving services out: first those with similar texts, then all."""
        like = {holder.service for holder in owners(violation, known)}

        def violates(left_out: Iterable[str]) -> bool:
            again = self._pass(number, run, left_out)
            return any(found.where == violation.where for found in again.violations)

        search = Search(where=violation.where, without=violates)
        for candidates in (like, {holder.service for holder in known}, _services(run)):
            guilty = search.guilty(tuple(sorted(candidates - run.excluded)))
            if guilty:
                reason = sentence(violation)
                return {
                    Owner(name): QuarantineVerdict(
                        rejection=Rejection(service=name, field="value", reason=reason), line=violation.where
                    )
                    for name in guilty
                }
        raise TemplateError(violation.where, sentence(violation).removeprefix(f"{violation.where}: "))


def greedy_owners(run: Run, error: TemplateError, before: LastLive | None) -> dict[Owner, QuarantineVerdict]:
    """Return the services that used up a limit shared by all; none where all have a fair share."""
    known = {name: weight for name, weight in weights(run.used.values()).items() if name not in run.excluded}
    live = {name for name in known if before is not None and before.is_live(Owner(name))}
    reasons = {name: f"{known[name]} instances, tags and meta; {error}" for name in greedy(known, live)}
    return {
        Owner(name): QuarantineVerdict(rejection=Rejection(service=name, field=SIZE, reason=reason))
        for name, reason in reasons.items()
    }


def _size_verdicts(services: Iterable[str], run: Run, why: str) -> dict[Owner, QuarantineVerdict]:
    reason = f"{run.error}; {why}"
    return {
        Owner(name): QuarantineVerdict(rejection=Rejection(service=name, field=SIZE, reason=reason))
        for name in services
    }


def _broken(owner: Owner, error: TemplateError) -> QuarantineVerdict:
    rejection = Rejection(service=owner.service, field=BROKEN, instance=owner.instance, reason=str(error))
    return QuarantineVerdict(rejection=rejection, rivals=None, line=error.where, passing=Passing.READS)


def _refused_texts(run: Run) -> set[tuple[str, str]]:
    """Return the lines and texts of a pass's forbidden values, without regard to case."""
    return {(violation.where, violation.text.casefold()) for violation in run.violations}


def _services(run: Run) -> set[str]:
    return {
        item.name
        for answer in run.used.values()
        if answer is not None
        for item in answer.value
        if isinstance(item, Service | Instance)
    }
