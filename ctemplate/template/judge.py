"""Find the services whose data break a template or print a forbidden value, from passes and further trial passes.

What follows for them is decided elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import msgspec

from ctemplate.core.errors import TemplateError, TemplateFailed
from ctemplate.core.model import Instance, Rejection, Service, Snapshot
from ctemplate.core.values import dataclass
from ctemplate.template.safety.greed import greedy, weights
from ctemplate.template.safety.precedence import LastLive, rank, rank_of_instance
from ctemplate.template.safety.quarantine import (
    BROKEN,
    SIZE,
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


@dataclass(frozen=True, slots=True)
class Judge:
    """``render`` makes a pass of the numbered template, and stores its error in the run.

    ``is_plain``: whether a value may be printed anywhere in that template's text. ``changed`` returns the services
    whose data differ from those of the last good rendering.
    """

    render: Callable[[int, Run], str]
    is_plain: Callable[[int, str], bool]
    changed: Callable[[Snapshot], Collection[str]]

    def broken(self, number: int, run: Run, live: LastLive | None) -> dict[Owner, QuarantineVerdict]:
        """Return the services whose data made the template fail; raise the error where no service is the cause.

        While answers are missing no failure counts, since the template may need them. What was read last when a pass
        ended need not be the cause: trials find it. Time and memory may have been short by chance; then a second pass
        has to fail at the same service. ``live`` is what the last good rendering contained; it decides who used up a
        limit, and who stays of several that fail only together.
        """
        if run.awaited:
            return {}
        found = {owner: _broken(owner, error) for owner, error in run.broken.items()}
        if run.error is None:
            return self._by_instances(number, run, self._confirmed_broken(number, run, found), live)
        return self._ended(number, run, run.error, live)

    def _ended(
        self, number: int, run: Run, error: TemplateError, live: LastLive | None
    ) -> dict[Owner, QuarantineVerdict]:
        """Return those whose data ended a pass."""
        if isinstance(error, TemplateFailed):
            raise error
        if error.is_exhausted and (found := self._exhausting(number, run, error, live)):
            return found
        owner = run.owner()
        if owner is None:
            raise error
        if error.is_transient or error.is_exhausted:
            return self._read_last(number, run, owner, error)
        if owner.thing:
            return {owner: _broken(owner, error)}
        return self._by_instances(number, run, self._who_failed(number, run, error, live), live)

    def _read_last(self, number: int, run: Run, owner: Owner, error: TemplateError) -> dict[Owner, QuarantineVerdict]:
        """Return what was read last when time or another limit was used up, if a second pass confirms it."""
        again = self._pass(number, run, () if error.is_transient else (owner.service,))
        if error.is_transient:
            is_cause = again.error is not None and again.last_read_name() == owner.service
        else:
            is_cause = _failure(again, error.where) is None
        if not is_cause or owner.service not in _services(run):
            raise error
        return {owner: _broken(owner, error)}

    def violators(self, number: int, run: Run, live: LastLive | None = None) -> dict[Owner, QuarantineVerdict]:
        """Return the owners of forbidden values; raise TemplateError where they have no owner."""
        found = self._violators(number, run)
        whole = {owner: verdict for owner, verdict in found.items() if owner.is_whole}
        parts = {owner: verdict for owner, verdict in found.items() if not owner.is_whole}
        return self._by_instances(number, run, whole, live) | parts

    def _violators(self, number: int, run: Run) -> dict[Owner, QuarantineVerdict]:
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
        return _size_verdicts(ordered[len(ordered) // 2 :], run, "all that is new or has changed is too much together")

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

    def _pass(
        self,
        number: int,
        run: Run,
        without: Iterable[str] = (),
        instances: Iterable[Owner] = (),
        *,
        counts: bool = False,
    ) -> Run:
        """Repeat a pass with some more services and instances left out."""
        again = run.again(without, instances, counts=counts)
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

    def _who_failed(
        self, number: int, run: Run, error: TemplateError, live: LastLive | None
    ) -> dict[Owner, QuarantineVerdict]:
        """Find the services whose data end a pass, by leaving services out; raise the error where none is the cause.

        Where no two services pass together, the template is at fault.
        """

        def fails(left_out: Iterable[str]) -> bool:
            return _failure(self._pass(number, run, left_out), error.where) is not None

        candidates = _ranked(run, live, error)
        search = Search(where=error.where, without=fails)
        guilty = search.guilty(candidates)
        is_any_live = live is not None and any(live.is_live(Owner(name)) for name in candidates)
        if error.missing is None and not is_any_live and len(guilty) * 2 > len(candidates):
            other = Search(where=error.where, without=fails)  # then the most stay, whoever is older
            if 0 < len(found := other.guilty(candidates[::-1])) < len(guilty):
                search, guilty = other, found
        if not guilty or (guilty[1:] and not search.kept[1:] and not is_any_live):
            raise error
        return {owner: _broken(owner, error) for owner in map(Owner, guilty)}

    def _by_instances(
        self, number: int, run: Run, found: dict[Owner, QuarantineVerdict], live: LastLive | None
    ) -> dict[Owner, QuarantineVerdict]:
        """Return the verdicts on the instances that are the cause, where a service has several.

        Of a service, the instance read last, or all of them, need not be the cause.
        """
        if not found:
            return {}
        verdicts = dict(found)
        counts = Counter(owner.service for owner in set(map(Owner.of, _instances(run))))
        for owner, verdict in found.items():
            name = owner.service
            if counts[name] > 1 and (guilty := self._guilty_instances(number, run, name, verdict, live)):
                verdicts = {one: kept for one, kept in verdicts.items() if one.service != name} | guilty
        return verdicts

    def _guilty_instances(
        self, number: int, run: Run, name: str, verdict: QuarantineVerdict, live: LastLive | None
    ) -> dict[Owner, QuarantineVerdict]:
        """Find a service's instances whose data a line does not take that reads no other service; none if it does."""
        others = _services(run) - {name}
        alone = self._pass(number, run, others)
        if not _fails(alone, verdict.line):
            return {}

        def fails(left_out: Iterable[Owner]) -> bool:
            return _fails(self._pass(number, run, others, left_out), verdict.line)

        error = _failure(alone, verdict.line)
        guilty = Search(where=verdict.line, without=fails).guilty(_ranked_instances(alone, live, error))
        return {owner: _about_instance(owner, verdict) for owner in guilty}

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


def _failure(run: Run, where: str) -> TemplateError | None:
    """Return the error of a pass, or of a turn of one of its loops, at a line; None where there is none."""
    errors = (*run.broken.values(), *(() if run.error is None else (run.error,)))
    return next((error for error in errors if error.where == where), None)


def _fails(run: Run, where: str) -> bool:
    """Whether a pass failed at a line, or printed a forbidden value there."""
    return _failure(run, where) is not None or any(violation.where == where for violation in run.violations)


def _ranked(run: Run, live: LastLive | None, error: TemplateError) -> tuple[str, ...]:
    """Return the services that a pass read, in order of precedence; those that may lack a missing key last."""
    lacks = _lacking(run, error)
    lacking = {item.name for item in _instances(run) if lacks(item)}
    names = _services(run) - run.excluded
    return tuple(sorted(names, key=lambda name: (name in lacking, rank(name, _oldest(run.registered(name)), live))))


def _ranked_instances(run: Run, live: LastLive | None, error: TemplateError | None) -> tuple[Owner, ...]:
    """Return the instances that a pass read, in order of precedence; those that lack a missing key last."""
    lacks = _lacking(run, error)
    found = {Owner.of(one): (lacks(one), rank_of_instance(Owner.of(one), one.created, live)) for one in _instances(run)}
    return tuple(sorted(found, key=lambda owner: found[owner]))


def _instances(run: Run) -> Iterator[Instance]:
    """Yield the instances that a pass read, once for each answer."""
    for answer in run.used.values():
        for item in answer.value if answer is not None else ():
            if isinstance(item, Instance) and not run.leaves_out(Owner.of(item)):
                yield item


def _lacking(run: Run, error: TemplateError | None) -> Callable[[Instance], bool]:
    """Return whether an instance's meta lacks the key whose lack in some instance's meta is the error."""
    table, key = (error and error.missing) or (None, None)
    for item in _instances(run):
        if item.meta is table:
            return lambda one: key not in one.meta
        if item.node_meta is table:
            return lambda one: key not in one.node_meta
    return lambda _one: False


def _oldest(created: int | None) -> float:
    return created or float("inf")


def _about_instance(owner: Owner, verdict: QuarantineVerdict) -> QuarantineVerdict:
    """Return the verdict on a service as one on an instance of it."""
    rejection = msgspec.structs.replace(verdict.rejection, service=owner.service, instance=owner.instance)
    return replace(verdict, rejection=rejection)


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
