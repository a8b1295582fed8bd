"""Find the service or instance whose value a print holds.

A print records what was read last. In a loop over services that is the owner; in a text made of a list that was
collected before, it is the last entry of that list, and in a loop over groups it may be one of the group before. There
the text itself shows the owner, and passes without some services confirm it. Must not know what follows for the owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property

from ctemplate.core.errors import TemplateError
from ctemplate.template.safety.precedence import LastLive, Party, Rank, rank_of_party
from ctemplate.template.safety.quarantine import Holder, nearest, sentence, texts
from ctemplate.template.safety.render_pass import Owner, PrintRecord, Run, Violation
from ctemplate.template.safety.search import PrintedText, Search, printers

Trial = Callable[[Iterable[str]], Run]
"""Makes the pass again with some more services left out; the new pass has its prints, or an error."""

MAX_SEARCHED = 100
"""Printed texts, at most, whose owners are searched for together; the others wait for the next pass."""

FEW_SERVICES = 20
"""Services, at most, whose texts are looked for one by one; for more, the texts of all are sorted by service."""

MAX_CONFIRMED = 1000
"""Values, at most, that are all confirmed by trials."""


class _Trials:
    """Passes that leave out some of the services, so that each service is left out in other passes than all others.

    Each print then shows its owner by the passes in which it is missing; a pass for each binary digit is enough.
    """

    def __init__(
        self, services: Collection[str], left: Callable[[Collection[str]], Counter[PrintedText] | None]
    ) -> None:
        self._codes = {service: code for code, service in enumerate(sorted(services), 1)}
        digits = range(len(self._codes).bit_length())
        tried = [(at, left({name for name, code in self._codes.items() if code >> at & 1})) for at in digits]
        self._left = [(at, found) for at, found in tried if found is not None]

    def agree(self, printed: PrintedText, owners: Sequence[str]) -> bool:
        """Return whether these services, one for each time that it was printed, may be a text's owners."""
        codes = [self._codes.get(owner, 0) for owner in owners]
        return all(left[printed] == sum(not code >> at & 1 for code in codes) for at, left in self._left)

    def owner(self, printed: PrintedText) -> str | None:
        """Return the only possible owner of a text that was printed once; None where it is none of the services."""
        found = [service for service in self._codes if self.agree(printed, (service,))]
        return found[0] if len(found) == 1 else None


class PrintOwners:
    """Knows the owner of each registered value that a pass printed."""

    def __init__(self, run: Run, before: LastLive | None, trial: Trial) -> None:
        self.run = run
        self._before = before
        self._trial = trial
        self._prints = dict(run.prints or ())
        self._holders: dict[int, Holder] = {}
        self._texts: dict[str, list[Holder]] = {}

    def violation(self, number: int, reason: str) -> Violation:
        """Return what is wrong with a printed value."""
        printed = self._prints[number]
        return Violation(text=printed.text, reason=reason, where=printed.where, owner=printed.owner)

    def confirm(self, numbers: Collection[int]) -> frozenset[int]:
        """Confirm by trial passes whose the values are; return those whose owners are not known yet, while others are.

        If most are wrong, the line is: then those that the service read last has as they are count as its own.
        """
        unsure = sorted(numbers)
        if len(unsure) > MAX_CONFIRMED:
            unsure = [number for number in unsure if not self._is_certain(number)]
        if not unsure:
            return frozenset()
        likely = (self.holder(number).service for number in unsure)
        unknown = self._settle(unsure, {*likely, *map(self._service, unsure)})
        if unknown:
            unknown = self._settle(unknown, self._by_service)
        found = self._all_printers(list(dict.fromkeys(map(self._print, unknown)))) if unknown else {}
        assigned = set[int]()
        for printed, names in found.items():
            same = [number for number in unsure if self._print(number) == printed]
            for number, name in zip(same, names, strict=False):
                self._assign(number, name)
                assigned.add(number)
        return frozenset(unknown) - assigned if assigned or len(unknown) < len(unsure) else frozenset()

    def _is_certain(self, number: int) -> bool:
        """Return whether the service read last has this very text."""
        text = self._prints[number].text.casefold()
        return any(holder.service == self._service(number) for holder in self._by_text.get(text, ()))

    def _settle(self, unsure: Sequence[int], services: Iterable[str]) -> list[int]:
        """Find out which of the services have these values; return the values that none of them seems to have.

        Of several possible owners of a text, those read last have it, else the likely ones.
        """
        trials = _Trials({name for name in services if name}, self._left)
        unknown: list[int] = []
        asked = frozenset(unsure)
        for printed in dict.fromkeys(map(self._print, unsure)):
            same = self._by_print[printed]
            open_numbers = [number for number in same if number in asked]
            last, likely = [self._service(number) for number in same], [self.holder(number).service for number in same]
            if trials.agree(printed, last):
                for number in open_numbers:
                    self._assign(number, self._service(number))
            elif len(same) == 1 and (owner := trials.owner(printed)) is not None:
                self._assign(same[0], owner)
            elif not trials.agree(printed, likely):
                unknown += open_numbers
        return unknown

    def _assign(self, number: int, service: str) -> None:
        """Take a service as the owner of a value."""
        if self.holder(number).service == service:
            return
        violation, text = self.violation(number, ""), self._prints[number].text.casefold()
        if service == self._service(number):
            self._holders[number] = self._read_last(violation, self._by_service.get(service, ()))
            return
        own = [holder for holder in self._by_text.get(text, ()) if holder.service == service]
        found = nearest(violation.owner, own) if own else ()
        self._holders[number] = found[0] if found else Holder(service=service, field="value", text=text)

    def _service(self, number: int) -> str:
        owner = self._prints[number].owner
        return "" if owner is None else owner.service

    def _print(self, number: int) -> PrintedText:
        return _printed(self._prints[number])

    def _left(self, services: Collection[str]) -> Counter[PrintedText] | None:
        """Return how often each text is printed at each place without these services; None where that fails."""
        again = self._trial(services)
        return None if again.error else Counter(_printed(one) for _, one in again.prints or ())

    def _all_printers(self, searched: Sequence[PrintedText]) -> dict[PrintedText, tuple[str, ...]]:
        """Find all services that print each text at its place; of many texts only some, of one perhaps not all."""
        candidates = tuple(sorted(name for name in self._by_service if name))
        totals = {printed: len(self._by_print[printed]) for printed in searched[:MAX_SEARCHED]}
        if found := printers(totals, candidates, self._left):
            return found
        return {printed: self._printers_of(printed, candidates) for printed in searched[:1]}

    def _printers_of(self, printed: PrintedText, candidates: tuple[str, ...]) -> tuple[str, ...]:
        """Find services that print a text at a place, until all trials are made."""

        def prints(names: Iterable[str]) -> bool:
            left = self._left(frozenset(names))
            return left is not None and left[printed] > 0

        search = Search(where=printed[0], without=prints)
        return search.guilty(candidates)

    def holder(self, number: int) -> Holder:
        """Return the owner of a printed value."""
        if number not in self._holders:
            self._holders[number] = self._found(self.violation(number, ""))
        return self._holders[number]

    def parties(self, numbers: Iterable[int]) -> frozenset[Party]:
        """Return who wants the name that these values make."""
        found: dict[str, set[Owner]] = {}
        for number in numbers:
            if (holder := self.holder(number)).service:
                found.setdefault(holder.service, set()).update(self._some_instances(holder))
        return frozenset(Party(service, tuple(sorted(some))) for service, some in found.items())

    def readers(self, numbers: Iterable[int]) -> frozenset[Party]:
        """Return the instances that were read when these values were printed."""
        owners = (self._prints[number].owner for number in numbers)
        return frozenset(Party(one.service, (one,)) for one in owners if one is not None and one.is_instance)

    def _some_instances(self, holder: Holder) -> frozenset[Owner]:
        """Return the instances that have a text in the same field; none where all of the service's have it."""
        every = {one.owner for one in self._by_service.get(holder.service, ()) if one.instance}
        own = (one for one in self._by_service.get(holder.service, ()) if one.instance and one.field == holder.field)
        some = frozenset(one.owner for one in own if one.text == holder.text) if holder.instance else frozenset()
        return some if some < every else frozenset()

    def rank(self, party: Party) -> Rank:
        """Return a party's place in the order in which services get a name."""
        created = first_registered((self.run,), party)
        return rank_of_party(party, created, self._before)

    def _found(self, violation: Violation) -> Holder:
        """Return the service read last if it has this very text, or if what is read last changes at that line.

        Else the only service that has the text, or that shares the longest part with it: the value may have been made
        of one, such as a name with a suffix. Where several do, the service read last.
        """
        text, service = violation.text.casefold(), violation.service
        own = self._texts_of(service or "")
        if service in self._printers.get(violation.where, ()) and len(self._printers[violation.where]) > 1:
            return self._read_last(violation, own)
        if service is not None and any(holder.text == text for holder in own):
            return self._read_last(violation, own)
        for found in (self._by_text.get(text, []), self._most_alike(text)):
            if len({holder.service for holder in found}) == 1:
                return nearest(violation.owner, found)[0]
        return self._read_last(violation, own)

    def _texts_of(self, service: str) -> Sequence[Holder]:
        """Return the texts of a service that the pass does not leave out; those of no service for an empty name."""
        if not service or (service not in self._texts and len(self._texts) >= FEW_SERVICES):
            return self._by_service.get(service, ())
        if service not in self._texts:
            own = (holder for holder in texts(self.run, service) if not self.run.leaves_out(holder.owner))
            self._texts[service] = list(own)
        return self._texts[service]

    def _read_last(self, violation: Violation, own: Sequence[Holder]) -> Holder:
        """Return what was read last, with the field whose text shares most with the violation's and is shortest."""
        text = violation.text.casefold()
        shared = {
            holder: (min(len(holder.text), len(text)), -len(holder.text))
            for holder in own
            if holder.text and (holder.text in text or (text and text in holder.text))
        }
        if shared:
            most = max(shared.values())
            return nearest(violation.owner, [holder for holder, share in shared.items() if share == most])[0]
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
    def _by_print(self) -> dict[PrintedText, list[int]]:
        """The values that were printed as the same text at the same place."""
        found: dict[PrintedText, list[int]] = {}
        for number in self._prints:
            found.setdefault(self._print(number), []).append(number)
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


def first_registered(runs: Iterable[Run], party: Party) -> float:
    """Return when a party was first registered, according to the answers that some passes use."""
    owners = frozenset(party.instances)
    found = (run.registered_instances(owners) if owners else run.registered(party.service) for run in runs)
    return min((created for created in found if created is not None), default=float("inf"))


def _printed(one: PrintRecord) -> PrintedText:
    return one.where, one.text.casefold()
