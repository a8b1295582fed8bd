"""Find the service or instance whose value a print holds.

A print records what was read last. In a loop over services that is the owner; in a text made of a list that was
collected before, it is the last entry of that list, and only the text itself shows the owner. Must not know what
follows for the owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property

from ctemplate.core.errors import TemplateError
from ctemplate.template.safety.precedence import LastLive, Rank, rank
from ctemplate.template.safety.quarantine import Holder, nearest, sentence, texts
from ctemplate.template.safety.render_pass import PrintRecord, Run, Violation
from ctemplate.template.safety.search import PrintedText, Search, printers

Trial = Callable[[Iterable[str]], Run]
"""Makes the pass again with some more services left out; the new pass has its prints, or an error."""

MAX_SEARCHED = 100
"""Printed texts, at most, whose owners are searched for together; the others wait for the next pass."""


class PrintOwners:
    """Knows the owner of each registered value that a pass printed."""

    def __init__(self, run: Run, before: LastLive | None, trial: Trial) -> None:
        self.run = run
        self._before = before
        self._trial = trial
        self._prints = dict(run.prints or ())
        self._holders: dict[int, Holder] = {}

    def violation(self, number: int, reason: str) -> Violation:
        """Return what is wrong with a printed value."""
        printed = self._prints[number]
        return Violation(text=printed.text, reason=reason, where=printed.where, owner=printed.owner)

    def confirm(self, numbers: Collection[int]) -> frozenset[int]:
        """Confirm by trial passes what the text alone shows: another service may have a text made to look like it.

        Return the numbers whose owners are not known yet, while others are: a pass without these shows more.
        """
        unsure = sorted(number for number in numbers if self.holder(number).service != self._service(number))
        left = self._left(self.holder(number).service for number in unsure)
        open_numbers = [number for number in unsure if left[self._print(number)]]
        if not open_numbers:
            return frozenset()
        both = {self.holder(number).service for number in unsure}.union(map(self._service, open_numbers))
        left_by_both = self._left(name for name in both if name)
        searched = list(dict.fromkeys(self._print(n) for n in open_numbers if left_by_both[self._print(n)]))
        found = self._all_printers(searched)
        unknown = set[int]()
        for printed in {self._print(number) for number in open_numbers}:
            same = [number for number in unsure if self._print(number) == printed]
            names = found.get(printed, ())
            for number, name in zip(same, names, strict=False):
                self._holders[number] = Holder(service=name, field="value", text=printed[1])
            unknown.update(same[len(names) :] if printed in searched else ())
            for number in same if printed not in searched else ():
                violation = self.violation(number, "")
                self._holders[number] = self._read_last(violation, self._by_service.get(violation.service or "", ()))
        return frozenset(unknown) if unknown.issubset(numbers) and len(unknown) < len(set(numbers)) else frozenset()

    def _service(self, number: int) -> str:
        owner = self._prints[number].owner
        return "" if owner is None else owner.service

    def _print(self, number: int) -> PrintedText:
        return _printed(self._prints[number])

    def _left(self, services: Iterable[str]) -> Counter[PrintedText]:
        """Return how often each text is printed at each line without these services; nothing where that fails."""
        return self._counted({name for name in services if name}) or Counter()

    def _counted(self, services: Collection[str]) -> Counter[PrintedText] | None:
        """Return how often each text is printed at each line without these services; None where that fails."""
        again = self._trial(services) if services else None
        return None if again is None or again.error else Counter(_printed(one) for _, one in again.prints or ())

    def _all_printers(self, searched: Sequence[PrintedText]) -> dict[PrintedText, tuple[str, ...]]:
        """Find all services that print each text at its line; of many texts only some, of one perhaps some services."""
        candidates = tuple(sorted(name for name in self._by_service if name))
        all_prints = Counter(map(_printed, self._prints.values()))
        totals = {printed: all_prints[printed] for printed in searched[:MAX_SEARCHED]}
        if found := printers(totals, candidates, self._counted):
            return found
        return {printed: self._printers_of(printed, candidates) for printed in searched[:1]}

    def _printers_of(self, printed: PrintedText, candidates: tuple[str, ...]) -> tuple[str, ...]:
        search = Search(where=printed[0], without=lambda names: bool(self._left(names)[printed]))
        return search.guilty(candidates)

    def holder(self, number: int) -> Holder:
        """Return the owner of a printed value."""
        if number not in self._holders:
            self._holders[number] = self._found(self.violation(number, ""))
        return self._holders[number]

    def rank(self, service: str) -> Rank:
        """Return the service's place in the order in which services get a name."""
        created = self.run.registered(service)
        return rank(service, float("inf") if created is None else created, self._before)

    def _found(self, violation: Violation) -> Holder:
        """Return the service read last if it has this very text, or if what is read last changes at that line.

        Else the only service that has the text, or that shares the longest part with it: the value may have been made
        of one, such as a name with a suffix. Where several do, the service read last.
        """
        text, service = violation.text.casefold(), violation.service
        own = self._by_service.get(service or "", ())
        if service in self._printers.get(violation.where, ()) and len(self._printers[violation.where]) > 1:
            return self._read_last(violation, own)
        exact = self._by_text.get(text, [])
        if any(holder.service == service for holder in exact):
            return self._read_last(violation, own)
        for found in (exact, self._most_alike(text)):
            if len({holder.service for holder in found}) == 1:
                return nearest(violation.owner, found)[0]
        return self._read_last(violation, own)

    def _read_last(self, violation: Violation, own: Sequence[Holder]) -> Holder:
        """Return what was read last, with the field whose text is the longest part of the violation's."""
        text = violation.text.casefold()
        parts = [holder for holder in own if holder.text and holder.text in text]
        if parts:
            longest = max(len(holder.text) for holder in parts)
            return nearest(violation.owner, [holder for holder in parts if len(holder.text) == longest])[0]
        if violation.owner is None:
            raise TemplateError(violation.where, sentence(violation).removeprefix(f"{violation.where}: "))
        one = violation.owner
        return Holder(
            service=one.service, node=one.node, instance=one.instance, thing=one.thing, field="value", text=text
        )

    def _most_alike(self, text: str) -> list[Holder]:
        """Return those with the longest text that is a part of this one, or has it as a part."""
        shared = {one: min(len(one), len(text)) for one in self._by_text if one in text or text in one}
        longest = max(shared.values(), default=0)
        return [holder for one, length in shared.items() if 0 < length == longest for holder in self._by_text[one]]

    @cached_property
    def _printers(self) -> dict[str, set[str]]:
        """The services that were read last at each line that printed a value."""
        found: dict[str, set[str]] = {}
        for printed in self._prints.values():
            if printed.owner is not None and not printed.owner.thing:
                found.setdefault(printed.where, set()).add(printed.owner.service)
        return found

    @cached_property
    def _by_text(self) -> dict[str, list[Holder]]:
        found: dict[str, list[Holder]] = {}
        for holder in texts(self.run):
            if not self.run.leaves_out(holder.owner):
                found.setdefault(holder.text, []).append(holder)
        return found

    @cached_property
    def _by_service(self) -> dict[str, list[Holder]]:
        found: dict[str, list[Holder]] = {}
        for holder in (one for holders in self._by_text.values() for one in holders):
            found.setdefault(holder.service, []).append(holder)
        return found


def _printed(one: PrintRecord) -> PrintedText:
    return one.where, one.text.casefold()
