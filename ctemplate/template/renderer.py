"""The templates of one group, rendered over one snapshot; services whose data would break them are left out.

Must not know where the texts go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Query, Rejection, Snapshot
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template.baseline import Baseline, template_digest
from ctemplate.template.edit_check import EditCheck
from ctemplate.template.judge import Judge
from ctemplate.template.live_owners import LiveOwners
from ctemplate.template.prover import Prover
from ctemplate.template.render_state import RenderState
from ctemplate.template.rendering import Rendering
from ctemplate.template.safety.quarantine import (
    Held,
    QuarantineVerdict,
    evidence,
    held_by,
    lost_claims,
    narrowed,
    still_valid,
    thing_error,
    widened,
)
from ctemplate.template.safety.refusals import Refusal, Refusals
from ctemplate.template.safety.render_pass import Owner, Partly, Run
from ctemplate.template.safety.substitute_entries import EntryKeeper, EntryViews
from ctemplate.template.safety.substitutes import KnownGood, LastGood, Substitute, Views, answers_of_all
from ctemplate.template.template import Template
from ctemplate.template.traced_texts import TracedTexts

MAX_PASSES = 60
"""Passes of a group over one snapshot, at most, until no further service is left out."""

LONG_AGO = float("-inf")
"""The start time of last good data that the operator released: their time is over."""

HOLD = 300.0
"""Seconds for which a service's last good data stay in use once its newest data cannot be printed."""


class Renderer:
    """Renders the templates of one group together; a text whose answers did not change is reused.

    ``baseline`` is the last live rendering, if known; it distinguishes an edit from a change of data. ``hold`` returns
    for how long a live service's last good data may replace data that break a template; ``live_text`` what the live
    files say.
    """

    def __init__(
        self,
        templates: Sequence[Template],
        *,
        baseline: Baseline | None = None,
        before: Renderer | None = None,
        hold: Callable[[str], float] = lambda _name: HOLD,
        live_text: Callable[[], str] = lambda: "",
    ) -> None:
        """Take the templates; ``before`` is the renderer that these replace, after an edit."""
        self._templates = tuple(templates)
        self._live_text = live_text
        self._hold = hold
        self._kept: dict[int, tuple[Run, str]] = {}
        self._traces = TracedTexts(self._templates, self._kept)
        self._state = RenderState({}, {})
        self._views, self._entry_views = Views(), EntryViews()
        self._entries: EntryKeeper = EntryKeeper(
            hold=hold,
            failing=dict(before._entries.failing) if before is not None else {},  # noqa: SLF001  # the same class
        )
        self.baseline: Baseline | None = before.baseline if before is not None else baseline
        self.last_good: LastGood = before.last_good if before is not None else LastGood()
        self._judge = Judge(self._fresh, self._is_plain, self.last_good.changed)
        self.refusals = Refusals()
        self._prover = Prover(self._templates, self._fresh, self.last_good.run)
        self._failing: dict[str, float] = dict(before._failing) if before is not None else {}  # noqa: SLF001  # the same class
        self._has_accepted = False
        self._live = LiveOwners(self._templates)

    def render(
        self, snapshot: Snapshot, places: Sequence[ConfigPlace | None] = (), now: float | None = None
    ) -> Rendering:
        """Render every template over the snapshot; raise TemplateError for an error in a template itself.

        A service or instance that a template cannot print, or that changes the structure of a text in nginx's
        configuration, is left out of every answer of the group, and the group is rendered again.
        """
        now = time.monotonic() if now is None else now
        around = tuple(places)
        self.refusals.forget_changed(snapshot)
        state = self._still_valid(snapshot, around, now)
        self._settle(state, snapshot, around, now)
        self._check_edit(state, snapshot, around)
        self._state = state
        if not any(run.awaited for run in state.runs):
            self._failing = {name: since for name, since in self._failing.items() if state.lacks(name)}
            self._entries.forget_all_but(state.things)
        for run in state.runs:
            run.forget_unused()
        return self._rendering(state, snapshot)

    def trial(
        self,
        snapshot: Snapshot,
        places: Sequence[ConfigPlace | None],
        without: Collection[Owner],
        lines: Mapping[Owner, str],
        fitting: frozenset[str] = frozenset(),
        *,
        is_edit_judged: bool = True,
        is_outright: bool = False,
    ) -> Rendering:
        """Return the rendering without these, or with their last good data unless ``is_outright``. Changes no state.

        ``lines`` are the templates' lines for which each is refused, where known; ``fitting`` those that the program
        accepts with other data. Raises TemplateError where an edit would be the cause, if it ``is_edit_judged``.
        """
        now, around = time.monotonic(), tuple(places)
        state = self._still_valid(snapshot, around, now)
        for owner in without:
            line = lines.get(owner, "")
            refusal = self.refusals.trial(owner, snapshot, line=line, line_fits=line in fitting)
            self._set_aside(state, replace(refusal, is_outright=is_outright), snapshot, around)
        self._leave_out(state, {}, now)
        self._settle(state, snapshot, around, now)
        if without and is_edit_judged:
            self._check_edit(state, snapshot, around)
        return self._rendering(state, snapshot)

    def without(self, snapshot: Snapshot, places: Sequence[ConfigPlace | None], owner: Owner) -> Rendering:
        """Return the rendering with one left out entirely."""
        now, around = time.monotonic(), tuple(places)
        state = self._still_valid(snapshot, around, now)
        state.substitutes.pop(owner.service, None)
        refusal = self.refusals.trial(owner, snapshot)
        state.held[owner] = refusal.held(around)
        self._settle(state, snapshot, around, now)
        return self._rendering(state, snapshot)

    def accept(self) -> None:
        """Record the last rendering as live."""
        state = self._state
        printed = [self._prover.owners(number, text) for number, text in enumerate(self.texts)]
        self.baseline = self._live.baseline(state, printed, self.baseline)
        self._has_accepted = True
        self.refusals.clear_trying()
        used: dict[Query, Answer | None] = {}
        for run in state.runs:
            used |= run.used
        self.last_good.take(used, state.partly, state.excluded)

    def remember(self, known: KnownGood) -> None:
        """Take what an earlier process stored: services' last good data, and for how long they have been in use."""
        self.last_good.remember(known.answers)
        now = time.monotonic()
        self._failing = {name: now - spent for name, spent in known.spent.items()} | self._failing
        self._entries.failing = {name: now - spent for name, spent in known.things.items()} | self._entries.failing

    def remember_answers(self, answers: Iterable[Answer]) -> None:
        """Take the newest answers of an earlier process as the last good data of what was live then."""
        if self.baseline is not None and not self.last_good.is_whole:
            self.last_good.remember(map(self.baseline.live_part, answers), self._entries.failing.keys())
            self.last_good.unlist(self.baseline.unlisted_in(self.last_good.answers))

    @property
    def known_good(self) -> KnownGood:
        """What a later process needs to know of services whose last good data are in use."""
        now = time.monotonic()
        spent = {name: now - self._failing.get(name, now) for name in self._state.substitutes}
        things = {thing: now - self._entries.failing.get(thing, now) for thing in self._state.things}
        entries = chain.from_iterable(one.answers() for one in self._state.things.values())
        services = answers_of_all(one.data for one in self._state.substitutes.values())
        return KnownGood(answers=(*services, *entries), spent=spent, things=things)

    def release(self, service: str | None) -> tuple[str, ...]:
        """Stop using the last good data of a service, or of all, from the next rendering on; return the names."""
        names = [
            name
            for name, one in self._state.substitutes.items()
            if service in {None, name} and one.until < float("inf") and self._failing.get(name) != LONG_AGO
        ]
        things = [thing for thing in self._state.things if service in {None, thing}]
        self._failing |= dict.fromkeys(names, LONG_AGO)
        self._entries.failing |= dict.fromkeys(things, LONG_AGO)
        return tuple(sorted((*names, *things)))

    def retry_due(self) -> None:
        """Show refused services whose time has come in the next renderings; a search shows no further ones."""
        self.refusals.retry_due(time.monotonic())

    @property
    def templates(self) -> tuple[Template, ...]:
        """The templates that are rendered."""
        return self._templates

    def due_at(self) -> float | None:
        """Return when an omitted service may be checked again without a change, on the monotonic clock."""
        return min([*self._state.limits(), *self.refusals.dues()], default=None)

    @property
    def used(self) -> frozenset[Query]:
        """The queries that the last rendering used."""
        return frozenset(query for run in self._state.runs for query in run.used)

    def text(self, number: int) -> str:
        """Return the last rendered text of a template."""
        return str(self._kept[number][1])

    def origin(self, number: int, line: int) -> str | None:
        """Return ``file:line`` in the template for a line (from 1) of the last rendering's text, where it is known."""
        found = self._traces.of(number)
        return None if found is None else found.origin(line)

    def owners(self, number: int, line: int) -> tuple[Owner, ...]:
        """Return the owners that may have printed a line (from 1) of the last rendering's text, nearest first."""
        found = self._traces.of(number)
        return () if found is None else found.owners(line)

    def _still_valid(self, snapshot: Snapshot, places: tuple[ConfigPlace | None, ...], now: float) -> RenderState:
        """Return what is still left out: nothing has changed that could clear it, and its time is not over."""
        held = {owner: one for owner, one in self._state.held.items() if one.lasts(snapshot, places)}
        substitutes = {
            name: one
            for name, one in self._state.substitutes.items()
            if one.lasts(snapshot, places) and now < min(one.until, self._limit(name)) and not one.is_refused
        }
        things = self._entries.still_valid(self._state.things, snapshot, now)
        state = RenderState(still_valid(held), substitutes, things=things)
        for refusal in self.refusals.current(snapshot):
            self._set_aside(state, refusal, snapshot, places, now)
        self._leave_out(state, {}, now)
        return state

    def _limit(self, name: str) -> float:
        """Return until when the last good data of a service may be in use."""
        since = self._failing.get(name)
        return float("inf") if since is None else since + self._hold(name)

    def _set_aside(
        self,
        state: RenderState,
        refusal: Refusal,
        snapshot: Snapshot,
        places: tuple[ConfigPlace | None, ...],
        now: float | None = None,
    ) -> None:
        """Leave out what a program refused, or use the service's last good data; in a trial without a time limit."""
        owner, data = refusal.owner, self.last_good.of(refusal.owner.service)
        if owner.thing:
            if one := self._entries.stand_in(refusal.rejection, refusal.answers, snapshot, self.last_good, now):
                state.things[owner.thing] = replace(one, is_refused=True)
            return
        until = float("inf")
        if now is not None and owner.is_whole and not refusal.is_needed:
            until = self._failing.setdefault(owner.service, now) + self._hold(owner.service)
        if owner.is_whole and data.is_there and not refusal.is_outright and (now is None or now < until):
            state.substitutes[owner.service] = Substitute.of(refusal.held(places), data, until=until)
        else:
            state.held[owner] = refusal.held(places)

    def _settle(
        self, state: RenderState, snapshot: Snapshot, places: tuple[ConfigPlace | None, ...], now: float
    ) -> None:
        """Render until nothing more has to be left out; of several errors that end this, the first one is raised.

        It names what was left out before it, which is then most likely its cause.
        """
        errors: list[TemplateError] = []
        try:
            self._settle_all(state, snapshot, places, now, errors)
        except TemplateError as exc:
            raise next(iter(errors), exc) from None

    def _settle_all(
        self,
        state: RenderState,
        snapshot: Snapshot,
        places: tuple[ConfigPlace | None, ...],
        now: float,
        errors: list[TemplateError],
    ) -> None:
        for _ in range(MAX_PASSES):
            view = self._views.of(snapshot, [one.data for one in state.substitutes.values()])
            view = self._entry_views.of(view, state.things.values())
            excluded, some = state.excluded, state.partly
            both = zip_longest(range(len(self._templates)), places)
            state.runs = tuple(
                self._pass(number, view, excluded, some, is_proven=place is not None) for number, place in both
            )
            errors += [state.explained(run.error) for run in state.runs if run.error is not None and not run.awaited]
            awaited = {query for run in state.runs for query in run.awaited}
            gone = self._entries.gone(awaited, snapshot, self.last_good)
            if any(self._keep_entries(state, rejection, snapshot, now) for rejection in gone):
                continue  # others that are gone are seen in the next pass
            found = self._found(state) or self._unproven(state, places)
            if not found:
                return
            verdicts = narrowed(self._without_things(state, found, snapshot, now), state.held)
            new = {one: held_by(verdict, state.runs, snapshot, places, state.held) for one, verdict in verdicts.items()}
            self._leave_out(state, new, now)
        raise TemplateError(self._names(), f"still finding services to leave out after {MAX_PASSES} passes")

    def _without_things(
        self, state: RenderState, found: Mapping[Owner, QuarantineVerdict], snapshot: Snapshot, now: float
    ) -> dict[Owner, QuarantineVerdict]:
        """Return the verdicts on services; for things, which cannot be left out, their last good entries stand in.

        Raises TemplateError where there are none, or their time is over.
        """
        for owner, verdict in found.items():
            if not owner.thing:
                continue
            rejection = Rejection(service="", field="value", thing=owner.thing, reason=verdict.rejection.reason)
            if not self._keep_entries(state, rejection, snapshot, now, verdict):
                raise thing_error(owner.thing, verdict, self._names())
        return {owner: verdict for owner, verdict in found.items() if not owner.thing}

    def _keep_entries(
        self,
        state: RenderState,
        rejection: Rejection,
        snapshot: Snapshot,
        now: float,
        verdict: QuarantineVerdict | None = None,
    ) -> bool:
        """Use the last good entries of a thing, unless they are in use already or an edit may be to blame."""
        if rejection.thing in state.things or (self.is_edit and rejection.thing not in self._entries.failing):
            return False
        used = dict.fromkeys(query for run in state.runs for query in run.used)
        one = self._entries.stand_in(rejection, used, snapshot, self.last_good, now)
        if one is None:
            return False
        rests_on = evidence(verdict, state.runs) if verdict is not None and verdict.rivals else ()
        state.things[rejection.thing] = replace(one, evidence={query: snapshot.get(query) for query in rests_on})
        return True

    def _leave_out(self, state: RenderState, new: Mapping[Owner, Held], now: float) -> None:
        """Leave these out; of a service of which nothing is left, use the last good data where that is allowed."""
        decided = state.excluded - {owner.service for owner in new}
        state.held = still_valid(widened({**state.held, **new}))
        for owner in [owner for owner in state.held if owner.is_whole and owner.service not in decided]:
            if state.substitutes.pop(owner.service, None) is None:
                substitute = self._substitute(owner.service, state.held[owner], now)
                if substitute is not None:
                    state.substitutes[owner.service] = substitute
                    del state.held[owner]

    def _substitute(self, name: str, held: Held, now: float) -> Substitute | None:
        """Return a service's last good data in place of unprintable data; None where it has to be left out."""
        data = self.last_good.of(name)
        is_edit = self.is_edit and name not in self._failing
        if not data.is_there or is_edit:
            return None
        until = self._failing.setdefault(name, now) + self._hold(name)
        return Substitute.of(held, data, until=until) if now < until else None

    @property
    def is_edit(self) -> bool:
        """Whether the templates differ from those of the last good rendering, or none is known."""
        if self._has_accepted:
            return False
        return self.baseline is None or self.baseline.template != template_digest(self._templates)

    def _check_edit(self, state: RenderState, snapshot: Snapshot, places: Sequence[ConfigPlace | None]) -> None:
        """Raise TemplateError where an edit of the templates, or their first version, is the cause."""
        if any(run.awaited for run in state.runs) or not self.is_edit:
            return
        check = EditCheck(
            templates=self._templates,
            judge=self._judge,
            before=self.baseline,
            state=state,
            snapshot=snapshot,
            texts=self.texts,
            places=places,
            live_text=self._live_text,
            printed=self._traces.services,
        )
        if state.verdicts:
            check.check()
        state.removed = check.check_servers(self.last_good.answers)

    def _names(self) -> str:
        return ", ".join(str(template.source) for template in self._templates)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the last passes, also of a render that failed; none before the first one."""
        return tuple(str(text) for _, (_, text) in sorted(self._kept.items()))

    def _is_plain(self, number: int, text: str) -> bool:
        return self._templates[number].is_plain(text)

    def _pass(self, number: int, snapshot: Snapshot, excluded: frozenset[str], some: Partly, *, is_proven: bool) -> Run:
        """Return the pass of one template; a text that is to be proven has placeholders for data."""
        kept = self._kept.get(number)
        is_usable = kept is not None and not kept[0].failed_by_chance
        if kept is None or not is_usable or not kept[0].serves(snapshot, excluded, some, is_proven=is_proven):
            run = Run(snapshot=snapshot, excluded=excluded, partly=some, keeps=True, prints=[] if is_proven else None)
            kept = self._kept[number] = (run, self._fresh(number, run))
        return kept[0]

    def _fresh(self, number: int, run: Run) -> str:
        """Render one template; an error is stored in the run."""
        try:
            return self._templates[number].render(run)
        except TemplateError as exc:
            run.error = exc
        return ""

    def _rendering(self, state: RenderState, snapshot: Snapshot) -> Rendering:
        waiting = (*state.held.values(), *(one.held for one in state.substitutes.values()))
        used = frozenset[Query]().union(*(run.used for run in state.runs))
        rests_on = frozenset(query for one in waiting for query in one.evidence) - used
        awaited = frozenset(query for one in waiting for query in one.awaited(snapshot)) - used
        return Rendering(
            texts=self.texts,
            used=used | rests_on,
            missing=awaited.union(*(run.awaited for run in state.runs)),
            quarantined=tuple(state.held[owner].verdict.rejection for owner in sorted(state.held)),
            kept=(
                *(state.substitutes[name].verdict.rejection for name in sorted(state.substitutes)),
                *(state.things[thing].rejection for thing in sorted(state.things)),
            ),
            remarks=tuple(dict.fromkeys(remark for run in state.runs for remark in run.remarks)),
            removed=state.removed,
        )

    def _unproven(self, state: RenderState, places: tuple[ConfigPlace | None, ...]) -> dict[Owner, QuarantineVerdict]:
        """Return the owners of values that would change the structure of the complete texts."""
        texts = tuple(text for _, (_, text) in sorted(self._kept.items()))
        return self._prover.unproven(state.runs, texts, places, self.baseline)

    def _found(self, state: RenderState) -> dict[Owner, QuarantineVerdict]:
        """Return what has to be left out in addition to the current omissions."""
        found: dict[Owner, QuarantineVerdict] = {}
        for number, run in enumerate(state.runs):
            found |= {Owner(name): QuarantineVerdict(rejection=rejection) for name, rejection in run.rejections.items()}
            found |= self._judge.broken(number, run, self.baseline) | self._judge.violators(number, run, self.baseline)
        return found or lost_claims(state.runs, self.baseline)
