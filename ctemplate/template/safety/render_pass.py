"""One pass of one template over one snapshot: its queries, its claims, and the forbidden values that it printed.

Must not know Jinja.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import field, replace
from typing import Any, NamedTuple

import msgspec

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import (
    Answer,
    Instance,
    OwnedEntry,
    Query,
    Rejection,
    Service,
    Snapshot,
)
from ctemplate.core.values import dataclass
from ctemplate.queries import Subject, kind_of


class Owner(NamedTuple):
    """The owner of data: a service, or one of its instances, identified by node and id.

    With a ``tag`` it is the service in listings by that tag. Data of no service has a ``thing`` as its owner, by name,
    such as ``key 'nginx/limit'``; it cannot be left out.
    """

    service: str
    node: str = ""
    instance: str = ""
    tag: str = ""
    thing: str = ""

    @classmethod
    def of(cls, item: Service | Instance | OwnedEntry) -> Owner:
        """Return the owner of an item's data."""
        if isinstance(item, OwnedEntry):
            return cls("", thing=item.owner_name())
        if isinstance(item, Instance):
            return cls(item.name, item.node, item.id)
        return cls(item.name)

    @property
    def whole(self) -> Owner:
        """The service as a whole."""
        return Owner(self.service, thing=self.thing)

    @property
    def is_whole(self) -> bool:
        """Whether this is a whole service rather than one of its instances, or its listing by a tag."""
        return not self.is_instance and not self.tag

    @property
    def is_instance(self) -> bool:
        """Whether this is one instance of a service."""
        return bool(self.node or self.instance)


@dataclass(frozen=True, slots=True)
class Partly:
    """What is left out of services that stay.

    ``instances`` are left out of the ``services``; ``tags`` are those that a service has only from such instances.
    ``unlisted`` are the tags by which services are not listed, whichever of their instances have them.
    """

    instances: frozenset[Owner] = frozenset()
    tags: frozenset[tuple[str, str]] = frozenset()
    services: frozenset[str] = frozenset()
    unlisted: frozenset[tuple[str, str]] = frozenset()

    @property
    def is_about_tags(self) -> bool:
        """Whether any service is shown without one of its tags."""
        return bool(self.tags or self.unlisted)

    def shown(self, service: Service) -> Service:
        """Return the service without the tags that it is not listed by, or has from those left out."""
        name = service.name
        tags = tuple(tag for tag in service.tags if (name, tag) not in self.tags and (name, tag) not in self.unlisted)
        return service if len(tags) == len(service.tags) else msgspec.structs.replace(service, tags=tags)

    def remaining(self, instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
        """Return the instances that are not left out."""
        return tuple(one for one in instances if one.name not in self.services or Owner.of(one) not in self.instances)


NOBODY = Partly()


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A forbidden value: its text, the reason, the place in the template, and what was read last."""

    text: str
    reason: str
    where: str
    owner: Owner | None

    @property
    def service(self) -> str | None:
        """The service that was read last."""
        return None if self.owner is None else self.owner.service


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintRecord:
    """A registered value as it was printed: its text, the place in the template, and what was read last."""

    text: str
    where: str
    owner: Owner | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A unique resource, a port or a server name, that a service claims."""

    kind: str
    value: str
    service: str


class Checkpoint(NamedTuple):
    """The progress of a pass: how many reads, claims and prints of data it made, and how many problems it found."""

    reads: int
    claims: int
    prints: int
    problem_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a section of a pass recorded in its run, in order, and what was read last in it.

    A query that was read twice is among the ``reads`` once, since its answer stays the same during a pass.
    ``printed`` are the owners of its prints, each also as a service.
    """

    reads: dict[Query, Answer | None]
    claims: tuple[Claim, ...]
    prints: tuple[tuple[int, PrintRecord], ...]
    printed: frozenset[Owner]
    problem_count: int
    last_read: Service | Instance | OwnedEntry | None


@dataclass(slots=True, kw_only=True)
class Run:
    """What one pass reads and records. ``excluded`` are the omitted services, ``partly`` those omitted in part.

    ``last_read`` is the service or instance that the template read last. ``passed`` holds who printed what was allowed,
    by line, and ``read`` who read anything; they are filled only where ``counts`` asks for it. ``broken`` are the
    errors of iterations of loops, by the owner of what was read last: the pass continues with the next. ``prints`` are
    all prints of data with their numbers, where they are wanted: then the text of the pass has a shadow; ``printed``
    are the owners of the data in it, each also as a service, and ``reprinted`` those of fragments. ``awaited`` are the
    queries that the pass cannot do without: they have no answer, an absent one with no other's beside it, or one
    that lacks the value that is needed.
    ``keeps`` lets the pass use and leave fragments; for these, ``reads``, ``claimed`` and ``prints`` record in order
    what was read, claimed and printed, repetitions included; ``problem_count`` counts the problems found.
    ``remarks`` are sentences for the operator, in order, about calls that find nothing, most likely by mistake.
    ``moment`` is when the render began; all passes of one render share it.
    """

    snapshot: Snapshot
    excluded: frozenset[str] = frozenset()
    partly: Partly = NOBODY
    counts: bool = False
    used: dict[Query, Answer | None] = field(default_factory=dict)
    awaited: set[Query] = field(default_factory=set)
    claims: set[Claim] = field(default_factory=set)
    rejections: dict[str, Rejection] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    passed: set[tuple[str, Owner]] = field(default_factory=set)
    read: set[tuple[str, Owner]] = field(default_factory=set)
    broken: dict[Owner, TemplateError] = field(default_factory=dict)
    prints: list[tuple[int, PrintRecord]] | None = None
    printed: set[Owner] = field(default_factory=set)
    reprinted: list[frozenset[Owner]] = field(default_factory=list)
    keeps: bool = False
    reads: list[tuple[Query, Answer | None]] = field(default_factory=list)
    claimed: list[Claim] = field(default_factory=list)
    problem_count: int = 0
    last_read: Service | Instance | OwnedEntry | None = None
    error: TemplateError | None = None
    remarks: dict[str, None] = field(default_factory=dict)
    moment: float = field(default_factory=time.time)
    _owned: tuple[object, Owner | None] = (None, None)

    def again(self, without: Iterable[str] = (), instances: Iterable[Owner] = (), **changed: Any) -> Run:
        """Return a new pass over the same answers, at the same moment, without further services and instances."""
        left_out, partly = self.excluded.union(without), self._without_more(frozenset(instances))
        return Run(snapshot=self.snapshot, excluded=left_out, partly=partly, moment=self.moment, **changed)

    def _without_more(self, more: frozenset[Owner]) -> Partly:
        """Return what is left out with more instances, and with the tags that their services have only from these."""
        if not more:
            return self.partly
        instances, services = self.partly.instances | more, {owner.service for owner in more}
        known = [
            item
            for answer in self.used.values()
            for item in (answer.value if answer is not None else ())
            if isinstance(item, Instance) and item.name in services
        ]
        kept = {(item.name, tag) for item in known if Owner.of(item) not in instances for tag in item.tags}
        lost = {(item.name, tag) for item in known for tag in item.tags} - kept
        return replace(
            self.partly, instances=instances, services=self.partly.services | services, tags=self.partly.tags | lost
        )

    def read_moment(self) -> float:
        """Return when the render began, in seconds since 1970; the enclosing fragment is not cached."""
        self.problem_count += 1
        return self.moment

    def answer(self, query: Query, *, has_alternatives: bool = False, prefetch_only: bool = False) -> Answer | None:
        """Return the snapshot's answer, and remember that it was asked for; an absent one counts in company only.

        A prefetched answer may be needed later: it is wanted, but nothing waits for it.
        """
        answer = self.snapshot.get(query)
        self.used[query] = answer
        self.reads.append((query, answer))
        if answer is None:
            self.problem_count += 1
            if not prefetch_only:
                self.awaited.add(query)
        elif answer.absent and not has_alternatives:
            self.await_all((query,))
            return None
        return answer

    def await_all(self, queries: Iterable[Query]) -> None:
        """Wait for queries, if the datacenters of all of them are absent."""
        found = [(query, self.used.get(query)) for query in queries]
        if all(answer is not None and answer.absent for _, answer in found):
            self.awaited.update(query for query, _ in found)
            self.problem_count += 1

    def await_value(self, query: Query) -> None:
        """Wait for a query whose answer says that nothing exists yet."""
        self.awaited.add(query)
        self.problem_count += 1

    def claim(self, claim: Claim) -> None:
        """Record a claim."""
        self.claims.add(claim)
        self.claimed.append(claim)

    def add_rejection(self, rejection: Rejection) -> None:
        """Record why a service has to be left out; the first reason counts."""
        self.rejections.setdefault(rejection.service, rejection)
        self.problem_count += 1

    def refuse(self, violation: Violation) -> None:
        """Record a forbidden value."""
        self.violations.append(violation)
        self.problem_count += 1

    def remark(self, sentence: str) -> None:
        """Record a remark for the operator; the enclosing fragment is not cached, so that the remark is repeated."""
        self.remarks[sentence] = None
        self.problem_count += 1

    def break_off(self, owner: Owner, error: TemplateError) -> None:
        """Record that an iteration failed at what was read last; the first error counts."""
        self.broken.setdefault(owner, error)
        self.problem_count += 1

    def record_print(self, number: int, printed: PrintRecord) -> None:
        """Record a print of data, where prints are wanted."""
        if self.prints is not None:
            self.prints.append((number, printed))
            if (owner := printed.owner) is not None and owner not in self.printed:
                self.printed.add(owner)
                if not owner.is_whole:
                    self.printed.add(owner.whole)

    @property
    def printing(self) -> tuple[frozenset[Owner], ...]:
        """The owners of the data in the text, in parts, each also as a service; those of a fragment stay one object."""
        return (frozenset(self.printed), *self.reprinted)

    def marks(self) -> Checkpoint:
        """Return the pass's progress."""
        return Checkpoint(len(self.reads), len(self.claimed), len(self.prints or ()), self.problem_count)

    def since(self, marks: Checkpoint, printed: frozenset[Owner] | None = None) -> Recorded:
        """Return what the pass recorded since a checkpoint; ``printed`` are the owners of the prints, if known."""
        prints = tuple(self.prints[marks.prints :]) if self.prints is not None else ()
        return Recorded(
            reads=dict(self.reads[marks.reads :]),
            claims=tuple(self.claimed[marks.claims :]),
            prints=prints,
            printed=_each_owner(one for _, one in prints) if printed is None else printed,
            problem_count=self.problem_count - marks.problem_count,
            last_read=self.last_read,
        )

    def repeat(self, traces: Recorded, *, is_whole: bool = True) -> None:
        """Record again what was recorded before; the caller records the owners of a part that is not ``is_whole``."""
        self.reads += traces.reads.items()
        self.used.update(traces.reads)
        for claim in traces.claims:
            self.claim(claim)
        if self.prints is not None:
            self.prints += traces.prints
            if is_whole:
                self.reprinted.append(traces.printed)
        self.problem_count += traces.problem_count
        self.last_read = traces.last_read

    def serves(self, snapshot: Snapshot, excluded: frozenset[str], partly: Partly, *, is_proven: bool) -> bool:
        """Whether the pass has what another pass over that snapshot would have, and placeholders where needed."""
        return (self.prints is not None or not is_proven) and self.is_current(snapshot, excluded, partly)

    def is_current(self, snapshot: Snapshot, excluded: frozenset[str], partly: Partly = NOBODY) -> bool:
        """Whether a pass over that snapshot would give the same result: each answer used is equal."""
        if (excluded, partly) != (self.excluded, self.partly):
            return False
        return snapshot.reads_as(self.used)

    def forget_unused(self) -> None:
        """Drop the answers that the pass did not ask for, so that a cached text holds no others in memory."""
        self.reads, self.claimed = [], []
        self.snapshot = Snapshot({query: answer for query, answer in self.used.items() if answer is not None})

    def registered(self, service: str) -> int | None:
        """Return when the service was first registered, according to the answers in use."""
        created = [
            instance.created
            for query, answer in self.used.items()
            if answer is not None and _may_tell_of(query, service)
            for instance in answer.value
            if instance.created and instance.name == service
        ]
        return min(created, default=None)

    @property
    def failed_by_chance(self) -> bool:
        """Whether the pass ended with an error that another pass over the same answers may not have."""
        return self.error is not None and self.error.is_transient

    def registered_instances(self, owners: Collection[Owner]) -> int | None:
        """Return when the first of some instances of one service was registered, according to the answers in use."""
        created = [
            item.created
            for answer in self.used.values()
            if answer is not None
            for item in answer.value
            if isinstance(item, Instance) and item.created and Owner.of(item) in owners
        ]
        return min(created, default=None)

    def leaves_out(self, owner: Owner) -> bool:
        """Return whether the pass leaves out a service, or this instance of it."""
        return owner.service in self.excluded or owner in self.partly.instances

    def last_read_name(self) -> str | None:
        """Return the name of the service that was read last."""
        return None if self.last_read is None or isinstance(self.last_read, OwnedEntry) else self.last_read.name

    def owner(self) -> Owner | None:
        """Return the owner of what was read last."""
        item = self.last_read
        if item is None:
            return None
        if item is not self._owned[0]:  # several values of one entry are often printed one after the other
            self._owned = item, Owner.of(item)
        return self._owned[1]


def _each_owner(prints: Iterable[PrintRecord]) -> frozenset[Owner]:
    """Return the owners of prints, each also as a service."""
    owners = {printed.owner for printed in prints if printed.owner is not None}
    return frozenset(owners.union(owner.whole for owner in owners))


def _may_tell_of(query: Query, service: str) -> bool:
    """Whether instances of the service may be in the query's answer; a prepared query's name does not show that."""
    kind = kind_of(query)
    return kind.subject is Subject.CHOSEN or (kind.subject is Subject.NAMED and kind.service_name(query) == service)
