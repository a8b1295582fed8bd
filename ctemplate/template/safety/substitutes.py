"""The last good data of a service, in use for a while in place of newer data that no template can print.

Pure; must not know why the newer data are refused, or how a template renders.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace

import msgspec

from ctemplate.core.model import Answer, Instance, Query, Service, Snapshot
from ctemplate.core.values import dataclass
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.queries import Losses, kind_of
from ctemplate.template.safety.quarantine import Held, QuarantineVerdict
from ctemplate.template.safety.render_pass import Partly, Run
from ctemplate.template.safety.substitute_entries import Entries, completed, entries_of, things_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The data of one service: the answers about it, and its entry in each list of services."""

    name: str
    answers: Mapping[Query, Answer]
    entries: Mapping[Query, Service | None]

    @property
    def is_there(self) -> bool:
        """Whether there is anything to render: an instance."""
        return any(answer.value for answer in self.answers.values())


class LastGood:
    """The answers of the last live rendering; ``is_whole`` where this process made it and all are known."""

    def __init__(self) -> None:
        self.is_whole = False
        self._answers: dict[Query, Answer | None] = {}
        self._partly = self._rendered = Partly()
        self._excluded: frozenset[str] = frozenset()
        self._grouped: dict[str, list[Query]] | None = None

    def take(
        self, used: Mapping[Query, Answer | None], partly: Partly, excluded: Collection[str] = frozenset()
    ) -> None:
        """Take the answers that a rendering used, without those about services that were left out entirely.

        ``partly`` are the instances that were left out. Tags stay unchanged: a claim to a listing by a tag is judged
        each time.
        """
        self.is_whole = True
        self._answers = dict(used)
        if excluded:
            self._answers = {query: answer for query, answer in used.items() if not _is_about(query, answer, excluded)}
        self._partly, self._rendered, self._grouped = replace(partly, unlisted=frozenset()), partly, None
        self._excluded = frozenset(excluded)

    @property
    def _about(self) -> dict[str, list[Query]]:
        """The queries about each service, grouped on demand: a rendering without rejections needs none."""
        if self._grouped is None:
            self._grouped = {}
            for query, answer in self._answers.items():
                if answer is not None and kind_of(query).losses is Losses.INSTANCES:
                    self._grouped.setdefault(about(query, answer), []).append(query)
        return self._grouped

    def remember(self, answers: Iterable[Answer], unusable: Collection[str] = ()) -> None:
        """Take what an earlier process stored as good; what is known of a service or a thing already stays.

        Of the ``unusable`` things these answers have the newest entries, which are not the last good ones.
        """
        known = frozenset(self._about)
        for answer in answers:
            losses, before = kind_of(answer.query).losses, self._answers.get(answer.query)
            if losses is Losses.NONE and answer.value:
                self._answers[answer.query] = completed(before, answer, unusable)
            value = tuple(item for item in answer.value if getattr(item, "name", "") not in known)
            if not value or losses not in {Losses.INSTANCES, Losses.NAMES}:
                continue
            if losses is Losses.NAMES:
                value = tuple(sorted((*(before.value if before is not None else ()), *value), key=lambda one: one.name))
            elif before is None:
                self._about.setdefault(about(answer.query, answer), []).append(answer.query)
            else:
                continue
            self._answers[answer.query] = msgspec.structs.replace(answer, value=value)

    def unlist(self, tags: frozenset[tuple[str, str]]) -> None:
        """Take by which tags an earlier process did not list services; a claim to a listing is judged each time."""
        self._rendered = replace(self._rendered, unlisted=self._rendered.unlisted | tags)

    def of(self, name: str) -> Data:
        """Return the last good data of a service, without the instances that were left out."""
        answers = {query: answer for query in self._about.get(name, ()) if (answer := self._answers[query]) is not None}
        if name in self._partly.services:
            answers = {query: self._cleaned(answer) for query, answer in answers.items()}
        return Data(name=name, answers=answers, entries={query: self._entry(query, name) for query in self._lists})

    def entries(self, thing: str, queries: Iterable[Query]) -> dict[Query, Entries] | None:
        """Return the last good entries of things of no service, by query; None where they are unknown."""
        queries = tuple(queries)
        known = {query: entries_of(self._answers[query], thing) for query in queries if query in self._answers}
        return known if len(known) == len(queries) else None

    def answer(self, query: Query) -> Answer | None:
        """Return the last good answer to a query."""
        return self._answers.get(query)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All answers of the last live rendering that are known."""
        return tuple(answer for answer in self._answers.values() if answer is not None)

    def run(self) -> Run | None:
        """Return a pass, with placeholders, of the last good rendering, as far as known; None where nothing is."""
        known = Snapshot({query: answer for query, answer in self._answers.items() if answer is not None})
        return Run(snapshot=known, excluded=self._excluded, partly=self._rendered, prints=[]) if len(known) else None

    @property
    def _lists(self) -> tuple[Query, ...]:
        return tuple(query for query in self._answers if kind_of(query).losses is Losses.NAMES)

    def _entry(self, query: Query, name: str) -> Service | None:
        found = entry(self._answers[query], name)
        return None if found is None else self._partly.shown(found)

    def _cleaned(self, answer: Answer) -> Answer:
        return msgspec.structs.replace(answer, value=self._partly.remaining(answer.value))

    def changed(self, snapshot: Snapshot) -> frozenset[str]:
        """Return the services whose data differ from those in the last good rendering.

        So do those of which an instance was left out of it: the program never accepted all of their data.
        """
        found: set[str] = set()
        for now in snapshot:
            before = self._answers.get(now.query)
            losses = kind_of(now.query).losses
            if losses is Losses.INSTANCES and before is not None and about(now.query, now) in self._partly.services:
                before = self._cleaned(before)
            if before is not None and (before.value is now.value or before.value == now.value):
                continue
            if losses is Losses.INSTANCES:
                found.add(about(now.query, now))
            elif losses is Losses.NAMES:
                found.update(one.name for one in set(now.value) ^ set(before.value if before is not None else ()))
        return frozenset(found)

    def changed_things(self, snapshot: Snapshot) -> frozenset[str]:
        """Return the things of no service whose data differ from those in the last good rendering, where known."""
        found: set[str] = set()
        for now in snapshot:
            before = self._answers.get(now.query)
            if before is not None and before.value is not now.value and kind_of(now.query).losses is Losses.NONE:
                things = things_in(now) | things_in(before)
                found.update(thing for thing in things if entries_of(now, thing) != entries_of(before, thing))
        return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownGood:
    """What outlives the process: answers with last good data of services, and the seconds that these were in use.

    ``things`` are those that belong to no service.
    """

    answers: tuple[Answer, ...] = ()
    spent: Mapping[str, float] = field(default_factory=dict)
    things: Mapping[str, float] = field(default_factory=dict)


def answers_of_all(data: Iterable[Data]) -> tuple[Answer, ...]:
    """Return the answers restricted to some services: what a later process needs to know of them."""
    answers: dict[Query, Answer] = {}
    listed: dict[Query, list[Service]] = {}
    for one in data:
        answers |= one.answers
        for query, item in one.entries.items():
            listed.setdefault(query, []).extend([] if item is None else [item])
    return (*answers.values(), *(Answer(query=query, value=tuple(items)) for query, items in listed.items()))


def about(query: Query, answer: Answer) -> str:
    """Return the service that an answer is about: for a prepared query, that of its instances."""
    first = next((item for item in answer.value if isinstance(item, Instance)), None)
    return str(query.argument) if first is None else first.name


def _is_about(query: Query, answer: Answer | None, services: Collection[str]) -> bool:
    if answer is None or kind_of(query).losses is not Losses.INSTANCES:
        return False
    return about(query, answer) in services


def entry(answer: Answer | None, name: str) -> Service | None:
    """Return a service's entry in a list of services."""
    return next((one for one in answer.value if one.name == name), None) if answer is not None else None


@dataclass(slots=True)
class Views:
    """Snapshots in which some services have other data; values that do not change between two views are shared."""

    _spliced: dict[Query, tuple[Answer, tuple[Service | None, ...], Answer]] = field(default_factory=dict)

    def of(self, snapshot: Snapshot, data: Iterable[Data]) -> Snapshot:
        """Return the snapshot with these data in place of its own about their services."""
        data = tuple(data)
        if not data:
            return snapshot
        answers = {answer.query: answer for answer in snapshot}
        for one in data:
            answers.update(one.answers)
        for query in {query for one in data for query in one.entries}:
            if isinstance(listed := answers.get(query), Answer):
                answers[query] = self._list(query, listed, {one.name: one.entries.get(query) for one in data})
        view = Snapshot(answers)
        view.read = snapshot.read  # a read of the view is a read of the snapshot
        return view

    def _list(self, query: Query, answer: Answer, entries: Mapping[str, Service | None]) -> Answer:
        """Return a list of services with other entries for some."""
        if all(entry(answer, name) == one for name, one in entries.items()):
            return answer
        key = tuple(entries[name] for name in sorted(entries))
        known = self._spliced.get(query)
        if known is not None and known[0] is answer and known[1] == key:
            return known[2]
        rest = [one for one in answer.value if one.name not in entries]
        value = tuple(sorted([*rest, *(one for one in key if one is not None)], key=lambda one: one.name))
        made = msgspec.structs.replace(answer, value=value)
        self._spliced[query] = (answer, key, made)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitute:
    """A service's last good data, in use until a moment of the monotonic clock, and the reason."""

    held: Held
    data: Data
    until: float

    @classmethod
    def of(cls, held: Held, data: Data, *, until: float) -> Substitute:
        """Return the last good data in place of the data of an omitted service."""
        return cls(held=held, data=data, until=until)

    @property
    def verdict(self) -> QuarantineVerdict:
        """Why the newer data are not used."""
        return self.held.verdict

    @property
    def is_refused(self) -> bool:
        """Whether a program refused the newer data; then the refusal decides how long that lasts."""
        return self.held.is_refused

    def lasts(self, snapshot: Snapshot, places: tuple[ConfigPlace | None, ...]) -> bool:
        """Whether nothing has changed that could clear the newer data."""
        return self.held.lasts(snapshot, places)
