"""Find the services whose data a program refuses: from the line that it names, else by bisecting the suspects.

Suspects are services whose data changed since the program last accepted the files. A refusal that none of them causes
comes from the template or from the operator's other files. Knows no files and no commands, only how to ask.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import field, replace
from functools import partial

from ctemplate.core.errors import ApplyError, TemplateError, printable
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Instance, Rejection, Snapshot
from ctemplate.core.timing import Backoff
from ctemplate.core.values import dataclass
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.runtime.named_lines import holding, listening, place, statement, with_origin
from ctemplate.runtime.outputs import FileSpan
from ctemplate.template import REFUSED, Owner, Refusal, Renderer, Rendering, acceptable_snapshots
from ctemplate.template.safety.precedence import Rank, rank, rank_of_instance

AGAIN = Backoff(first=5.0, ceiling=300.0)
"""When a refused service is retried without new data: a port may have been freed, a name may resolve."""

SINGLY = 4
"""At most so many instances of a service are identified one by one; with more, the whole service is left out."""

RETRIED_SINGLY = 4
"""At most so many refused services are retried one by one when the program refuses them together again."""

ASIDES = ("[NOTICE]", "[WARNING]")
"""Lines with which HAProxy opens a message, and which give no reason."""

_BIND = lazy_pattern(r"\bbind\(\) to .*?:(\d+) failed")
_OWN_PID = lazy_pattern(r"(?<=\])\s+\(\d+\)(?= : )")  # of HAProxy, another one in each of its checks
_ELSEWHERE = lazy_pattern(r" in /\S+:\d+")
_QUOTED_WORD = lazy_pattern(r'"([^"\s]+)"')

Ask = Callable[[Rendering], Awaitable[ApplyError | None]]
"""Have the program check a rendering; return its refusal, None when it accepts the files."""


@dataclass(slots=True, kw_only=True)
class CulpritSearch:
    """One search: the refused rendering, and how often the program may be asked.

    ``spans`` are the places of the files in the last rendered texts. ``ask_beside`` has each name judged beside another
    one, since nginx accepts some names only while they are alone; bisection uses it. ``named_budget`` is for questions
    about what the program itself names, ``budget`` for all others. Where it is used up, those that were not judged yet
    are left out too, and retried soon: a search among many never delays the changes of others for long.
    ``has_passed``: the program accepts the whole rendering now, so that the refusal had a passing cause, such as a
    program that was too busy to answer.
    """

    renderer: Renderer
    snapshot: Snapshot
    places: Sequence[ConfigPlace | None]
    spans: Callable[[], Sequence[FileSpan]]
    ask: Ask
    ask_beside: Ask
    budget: int
    named_budget: int
    has_passed: bool = False
    _is_outright: bool = False
    _remaining: tuple[str, ...] = ()
    _words: dict[Owner, tuple[str, str]] = field(default_factory=dict)
    _fitting: dict[str, bool] = field(default_factory=dict)
    _unjudged: frozenset[Owner] = frozenset()

    async def culprits(self, error: ApplyError) -> tuple[Refusal, ...]:
        """Return what to leave out so that the program accepts the rest; empty where no service is at fault."""
        trying = tuple(self.renderer.refusals.trying)
        if trying:
            if await self._passes(trying):
                return await self._still_refused(error, trying)
            self.renderer.trial(self.snapshot, self.places, (), {})  # what was refused is what the words are about
        for suspects in self._suspects():
            named = await self._named(error, suspects)
            found = named or await self._halved(suspects)
            if found and not named and await self._passes(()):
                self.has_passed = True
                return ()
            if found:
                return await self._refusals(found, error)
            self.renderer.trial(self.snapshot, self.places, (), {})
        return ()

    async def _still_refused(self, error: ApplyError, trying: tuple[Owner, ...]) -> tuple[Refusal, ...]:
        """Return the refusals of those that the program refuses again; it accepts the files without all that are tried.

        Those that no search has judged yet are judged now. Of others, a few are tried one by one.
        """
        before = self.renderer.refusals.trying
        rank_of = self._rank()
        new = (owner for owner in trying if before[owner].is_unjudged)
        unjudged = tuple(sorted(new, key=lambda owner: rank_of(owner.service)))
        if unjudged:
            known = frozenset(trying).difference(unjudged)
            if (refusal := await self._refused(known)) is None:
                return await self._refusals(known, error)
            found = await self._named(refusal, unjudged, known) or known | await self._among(unjudged, known)
            return await self._refusals(found, refusal)
        found = frozenset(trying)
        tried = sorted(trying, key=lambda one: before[one].failures)[:RETRIED_SINGLY]
        for owner in tried if len(trying) > 1 else ():
            if self.budget > 0 and await self._passes(found - {owner}):
                found -= {owner}
        return tuple(self._again(owner, is_tried=owner in tried) for owner in sorted(found))

    def explained(self, error: ApplyError) -> tuple[str, ...]:
        """Return the program's message about a refusal that no service causes.

        For an edit, it is the message that remained without the services that the program also refused, and a sentence
        names the service for which the refused line was printed.
        """
        if self._remaining and self.renderer.is_edit:  # else the data are at fault, and may be missed elsewhere
            return self._remaining
        return self._with_sentence(error, error.output)

    def _with_sentence(self, error: ApplyError, output: tuple[str, ...]) -> tuple[str, ...]:
        _, owners = self._candidates(error) if self.renderer.is_edit else ("", ())
        name = printable(owners[0].service, 80) if owners else ""
        return (*output, f"this line was printed for service {name!r}") if name else output

    def _suspects(self) -> tuple[tuple[Owner, ...], ...]:
        """Return the services whose data changed since the program last accepted the files, in order of suspicion.

        Where another process applied those files, services that were not live come first; after an edit, only they do.
        """
        good = self.renderer.last_good
        things = tuple(Owner("", thing=name) for name in sorted(good.changed_things(self.snapshot)))
        changed = (*(Owner(name) for name in sorted(good.changed(self.snapshot), key=self._rank())), *things)
        if good.is_whole or self.renderer.baseline is None:
            return (changed,)
        strangers = tuple(owner for owner in changed if not self._is_live(owner))
        return (strangers,) if self.renderer.is_edit else (strangers, changed)

    def _rank(self) -> Callable[[str], Rank]:
        """Return the order in which services stay."""
        created: dict[str, float] = {}
        for one in self._instances():
            if one.created:
                created[one.name] = min(created.get(one.name, float("inf")), one.created)

        return lambda service: rank(service, created.get(service, float("inf")), self.renderer.baseline)

    def _is_live(self, owner: Owner) -> bool:
        return self.renderer.baseline is not None and self.renderer.baseline.is_live(owner)

    async def _named(
        self, error: ApplyError, suspects: Collection[Owner], found: frozenset[Owner] = frozenset()
    ) -> frozenset[Owner]:
        """Follow the program's messages from one culprit to the next; empty where they name none, or do not end.

        The error is about the files without those that were found before.
        """
        names = {_name(owner) for owner in suspects}
        refusal: ApplyError | None = error
        while refusal is not None:
            place, candidates = self._candidates(refusal)
            new = next((owner for owner in candidates if _name(owner) in names and owner not in found), None)
            if new is None:
                if found:
                    self._remaining = self._with_sentence(refusal, tuple(map(self._with_origin, refusal.output)))
                return frozenset()
            before = frozenset(known for known in found if _name(known) == _name(new))
            if new.is_whole or len(before) >= SINGLY:
                new, found = new.whole, found - before
            self._words[new] = self._words[new.whole] = (self._first_words(refusal), place)
            if self.renderer.is_edit and place not in self._fitting:
                self._fitting[place] = await self._fits_harmless(new, found)
            found = self.renderer.refusals.widened(found | {new} | self._unbound(refusal, names), self.snapshot)
            if self.named_budget <= 0:
                return await self._with_unjudged(found, suspects)
            self.named_budget -= 1
            refusal = await self._refused(found)
        return found

    def _unbound(self, error: ApplyError, names: Collection[tuple[str, str]]) -> frozenset[Owner]:
        """Return those of these whose ports a refusal names, each in a line of its own: nginx tries all of them."""
        found = set()
        for words in error.output:
            port = _BIND.search(words)
            for span in self.spans() if port else ():
                for line in self._lines(words, span):
                    owners = self.renderer.owners(span.number, line)
                    if owner := next((one for one in owners if _name(one) in names), None):
                        self._words.setdefault(owner, (printable(words, 300), ""))
                        found.add(owner)
        return frozenset(found)

    async def _with_unjudged(self, found: frozenset[Owner], suspects: Collection[Owner]) -> frozenset[Owner]:
        """Return the culprits and all other suspects, to be judged later; empty where the files fail without them, too.

        The new data of live services are kept if the files pass with them.
        """
        known = {_name(owner) for owner in found}
        rest = frozenset(owner for owner in suspects if _name(owner) not in known)
        for unjudged in (frozenset(owner for owner in rest if not self._is_live(owner)), rest):
            if unjudged and await self._passes(found | unjudged):
                self._unjudged |= unjudged
                return found | unjudged
        return frozenset()

    async def _fits_harmless(self, owner: Owner, found: Collection[Owner]) -> bool:
        """Whether the program accepts a template's line if the texts of the service that it names there are harmless.

        A template whose line it accepts then is not at fault, however many services it refuses there.
        """
        for snapshot in acceptable_snapshots(self.snapshot, {owner.service}, self.renderer.templates):
            if self.named_budget <= 0:
                break
            self.named_budget -= 1
            refusal = await self._answer(found, snapshot)
            if refusal is None:
                return True
            _, candidates = self._candidates(refusal)
            if candidates and candidates[0].service != owner.service:
                return True
        return False

    def _candidates(self, error: ApplyError) -> tuple[str, tuple[Owner, ...]]:
        """Return the template's line that a refusal names, and the owners that may have printed it."""
        spans = self.spans()
        found = [
            (self.renderer.origin(span.number, line) or "", owners)
            for words in error.output
            for span in spans
            for line in self._lines(words, span)
            if (owners := self.renderer.owners(span.number, line))
        ]
        by_instances = (one for one in found if one[1][0].is_instance)
        return next(by_instances, found[0] if found else ("", ()))

    def _lines(self, words: str, span: FileSpan) -> tuple[int, ...]:
        """Return the lines of a text that a message is about: those of a directive, or those with its port or word."""
        named = place(words, span.path)
        if named is not None:
            return statement(self.renderer.text(span.number), named + span.lines_before)
        port = _BIND.search(words)
        if port:
            return listening(self.renderer.text(span.number), port[1])
        word = None if _ELSEWHERE.search(words) else _QUOTED_WORD.search(words)
        return holding(self.renderer.text(span.number), word[1]) if word else ()

    async def _halved(self, suspects: tuple[Owner, ...]) -> frozenset[Owner]:
        """Bisect the suspects; return those without whom the files pass, none where others would have to go as well.

        The first suspects are kept if one of several may stay.
        """
        if not suspects or not await self._passes_at_all(suspects):
            return frozenset()
        plain, self.ask = self.ask, self.ask_beside
        try:
            if not await self._passes_at_all(suspects):
                return await self._unfit()
            found = await self._among(suspects, frozenset())
            if len(found) == len(suspects) and not await self._passes(found):
                return frozenset()  # the templates are new, and at fault themselves
            if not self.renderer.is_edit:
                found = await self._narrowed(found)
            await self._ask_for_words(found)
        finally:
            self.ask = plain
        return found

    async def _narrowed(self, found: frozenset[Owner]) -> frozenset[Owner]:
        """Return what was found, with only those instances of a service that have to go."""
        for owner in sorted(found - self._unjudged):
            others = found - {owner}
            instances = self._ranked_instances(owner.service)
            if len(instances) > 1 and self.budget > 0:
                some = await self._among(instances, others)
                if len(some) < len(instances) and self.budget > 0 and await self._passes(others | some):
                    found = others | some
        return found

    def _ranked_instances(self, service: str) -> tuple[Owner, ...]:
        """Return a service's instances in the order in which they stay."""
        ranks = {
            rank_of_instance(Owner.of(one), one.created, self.renderer.baseline)
            for one in self._instances()
            if one.name == service
        }
        return tuple(owner for *_, owner in sorted(ranks))

    def _instances(self) -> Iterator[Instance]:
        return (one for answer in self.snapshot for one in answer.value if isinstance(one, Instance))

    async def _unfit(self) -> frozenset[Owner]:
        """Return which of all services the program refuses beside any other: live ones that it accepted while alone.

        Their last good data are refused as well, so the services are left out. None where the templates are new, and
        may be at fault, or where not enough questions are left.
        """
        names = {one.name for one in self._instances()}
        everyone = tuple(Owner(name) for name in sorted(names, key=self._rank(), reverse=True))
        self._is_outright = not self.renderer.is_edit
        if self._is_outright and await self._passes_at_all(everyone):
            found = await self._among(everyone, frozenset())
            if self.budget > 0 or len(found) == 1:
                return found
        self._is_outright, self._unjudged = False, frozenset()
        return frozenset()

    async def _ask_for_words(self, found: frozenset[Owner]) -> None:
        """Ask what the program says about each of several culprits alone, while questions are left."""
        for owner in sorted(found if len(found) > 1 else ()):
            if owner in self._words or owner in self._unjudged or self.budget <= 0:
                continue
            self.budget -= 1
            if (refusal := await self._refused(found - {owner})) is not None:
                self._words[owner] = (self._first_words(refusal), "")

    async def _among(self, suspects: tuple[Owner, ...], others: frozenset[Owner]) -> frozenset[Owner]:
        """Return the suspects that have to go in addition to the others; the files pass without all suspects."""
        if len(suspects) == 1 or self.budget <= 0:
            self._unjudged |= frozenset(suspects if len(suspects) > 1 else ())
            return frozenset(suspects)
        halves = suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]
        for half in reversed(halves):
            if await self._passes(others.union(half)):
                return await self._among(half, others)
        first = await self._among(halves[0], others.union(halves[1]))
        return first | await self._among(halves[1], others | first)

    async def _passes_at_all(self, without: Collection[Owner]) -> bool:
        """Whether the files pass without these, also where the templates would be at fault then."""
        self.budget -= 1
        return await self._answer(without, self.snapshot, is_edit_judged=False) is None

    async def _passes(self, without: Collection[Owner]) -> bool:
        self.budget -= 1
        return await self._refused(without) is None

    async def _refused(self, without: Collection[Owner]) -> ApplyError | None:
        return await self._answer(without, self.snapshot)

    async def _answer(
        self, without: Collection[Owner], snapshot: Snapshot, *, is_edit_judged: bool = True
    ) -> ApplyError | None:
        trial = partial(self.renderer.trial, is_edit_judged=is_edit_judged, is_outright=self._is_outright)
        try:
            lines = {owner: line for owner, (_, line) in self._words.items()}
            fitting = frozenset(line for line, fits in self._fitting.items() if fits)
            rendering = await asyncio.to_thread(trial, snapshot, self.places, without, lines, fitting)
        except TemplateError as exc:
            return ApplyError(exc.where, exc.what)
        return await self.ask(rendering)

    async def _refusals(self, found: frozenset[Owner], error: ApplyError) -> tuple[Refusal, ...]:
        """Return the refusals of those that were found, and of those that were not judged."""
        before = self.renderer.refusals.trying
        unjudged = found & self._unjudged
        earlier = [one.failures for one in before.values() if one.is_unjudged]
        failures = max(earlier) + 1 if len(unjudged) == len(earlier) > 0 else 1  # more rarely where none was judged
        retry_at = _retry_at(failures)
        refusals = [
            replace(self._made(owner, error), is_unjudged=True, failures=failures, retry_at=retry_at)
            for owner in sorted(unjudged)
        ]
        for owner in sorted(found - unjudged):
            known = before.get(owner)
            is_again = known is not None and not known.is_unjudged
            refusals.append(self._again(owner) if is_again else await self._refusal(owner, found, error))
        return tuple(refusals)

    async def _refusal(self, owner: Owner, found: frozenset[Owner], error: ApplyError) -> Refusal:
        """Return the refusal of a culprit; one that the operator's other files need keeps its last good data."""
        is_needed = False
        if owner.is_whole and self.renderer.last_good.of(owner.service).is_there and len(found) == 1:
            rendering = self.renderer.without(self.snapshot, self.places, owner)
            is_needed = await self.ask(rendering) is not None
        refused = replace(self._made(owner, error), is_outright=self._is_outright)
        return refused.after(failures=1, is_needed=is_needed, retry_at=_retry_at(1))

    def _made(self, owner: Owner, error: ApplyError) -> Refusal:
        """Return a refusal with the program's words about the owner, else with those about all."""
        words, line = self._words.get(owner, (self._first_words(error), ""))
        if owner in self._unjudged:
            words, line = f"not judged yet, as others are refused: {words}", ""
        rejection = Rejection(
            service=owner.service, instance=owner.instance, field=REFUSED, reason=words, thing=owner.thing
        )
        return self.renderer.refusals.made(
            owner, rejection, self.snapshot, line=line, line_fits=self._fitting.get(line, False)
        )

    def _again(self, owner: Owner, *, is_tried: bool = True) -> Refusal:
        failed = self.renderer.refusals.trying[owner]
        failures = failed.failures + is_tried
        return failed.after(failures=failures, retry_at=_retry_at(failures))

    def _first_words(self, error: ApplyError) -> str:
        """Return the first decisive line of the message, with the template's line; prefer one that gives a reason."""
        decisive = (line for line in error.output if not line.startswith(ASIDES))
        line = next(decisive, next(iter(error.output), error.what))
        return printable(self._with_origin(_OWN_PID.sub("", line)), 300)

    def _with_origin(self, line: str) -> str:
        return with_origin(line, self.spans(), self.renderer)


def _name(owner: Owner) -> tuple[str, str]:
    """Return the service, or the thing of no service, that an owner belongs to."""
    return owner.service, owner.thing


def _retry_at(failures: int) -> float:
    return time.monotonic() + AGAIN.delay(failures)
