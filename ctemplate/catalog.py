"""The store between sources and renders: the wanted queries, and the newest answer to each.

Level-triggered: an answer or a wish sets a flag, and a waiting task reads the whole state. So lost, doubled or
reordered wake-ups do no harm. One owner, one event loop; must not know Consul or templates. The guard decides what is
shown of an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from ctemplate.core.event_stream import emit
from ctemplate.core.events import AnswerChanged
from ctemplate.core.model import Answer, Doubt, Instance, Query, Servers, ServerSet, Snapshot, reads_alike
from ctemplate.core.timing import READ_EVERY, Backoff
from ctemplate.core.values import dataclass
from ctemplate.guard import CONFIRM_GRACE, Guard, GuardReport, Hold, Memory, Policies

REPORT_SETTLE = 0.2  # seconds in which holds that begin or end together are gathered, and at least between two reviews
DOUBT_BACKOFF = Backoff(
    first=0.1, ceiling=5.0
)  # until what is still doubted after a try to confirm it is handed out again
UNANSWERED = 60.0  # seconds after which a doubt whose confirmation never came back is handed out again


@dataclass(slots=True)
class Inquiry:
    """How often a query's doubt was tried to be confirmed, and when it may be retried."""

    tries: int = 0
    again_at: float = -math.inf


class Catalog:
    """The newest answers to the wanted queries, as far as the guard accepts them; without policies it accepts all."""

    def __init__(self, policies: Policies | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._guard = Guard(policies)
        self._clock = clock
        self._guard_news = asyncio.Event()
        self._doubtful = asyncio.Event()
        self._judged = asyncio.Event()
        self._inquiries: dict[Query, Inquiry] = {}
        self.changes = 0  # counts changes that a later process should know
        self._is_recalling = False
        self._stale: set[Query] = set()
        self.presumes = False  # whether a datacenter that never answered may count as absent
        self.renewed = asyncio.Event()  # set while nothing stale is shown
        self._answers: dict[Query, Answer] = {}
        self._wishes_of: dict[str, frozenset[Query]] = {}
        self._growing: set[str] = set()  # groups whose last render lacked answers
        self.settled = asyncio.Event()  # set while every group's last step had all answers
        self._wanted: frozenset[Query] = frozenset()
        self._changed: set[Query] = set()
        self._news = asyncio.Event()
        self._wishes = asyncio.Event()

    @property
    def now(self) -> float:
        """The moment on the catalog's clock."""
        return self._clock()

    @property
    def wanted(self) -> frozenset[Query]:
        """The queries that some group needs now."""
        return self._wanted

    def want(self, group: str, queries: frozenset[Query], *, is_growing: bool = False) -> None:
        """Set the queries that a group needs; answers that no group needs any more are dropped.

        ``is_growing`` keeps the group's earlier wishes too: a render without all answers has not named all it needs.
        """
        if is_growing:
            self._growing.add(group)
            self.settled.clear()
        else:
            self._growing.discard(group)
        before = self._wishes_of.get(group, frozenset())
        now = before | queries if is_growing else queries
        if now != before:
            self._wishes_of[group] = now
            self._update_wanted()

    def keep_groups(self, groups: Iterable[str]) -> None:
        """Drop the wishes of all other groups, and the nodes that only stored answers to other queries show."""
        kept = set(groups)
        self._wishes_of = {group: queries for group, queries in self._wishes_of.items() if group in kept}
        dropped, self._growing = self._growing - kept, self._growing & kept
        if dropped:
            self.note_step_end()
        self._update_wanted()
        self._guard.count_nodes_of(self._wanted)

    def note_step_end(self) -> None:
        """Note that a group has written what its last render made, or failed to."""
        if not self._growing:
            self.settled.set()

    async def wait_settled(self, limit: float) -> None:
        """Wait until every group's last step had all answers, for so many seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self.settled.wait()

    def _update_wanted(self) -> None:
        wanted = frozenset().union(*self._wishes_of.values())
        if wanted == self._wanted:
            return
        for dropped in self._wanted - wanted:
            self._answers.pop(dropped, None)
            self._changed.discard(dropped)
            self._stale.discard(dropped)
            self._guard.forget(dropped)
        self._wanted = wanted
        self._wishes.set()
        if self._is_recalling:
            self.recall()

    async def wishes(self) -> frozenset[Query]:
        """Wait until the wanted queries changed since the last call; return them. One caller: the source."""
        await self._wishes.wait()
        self._wishes.clear()
        return self._wanted

    def ask_again(self) -> None:
        """Hand out all wishes and doubts once more, to a source that has just started."""
        self._wishes.set()
        self._inquiries.clear()
        self._doubtful.set()

    def put(self, answer: Answer) -> bool:
        """Store the answer; return whether it is news: the first one, or a different value than before.

        An answer to an unwanted query is dropped. Equal data only updates index and time.
        """
        if answer.query not in self._wanted:
            return False
        self._stale.discard(answer.query)
        self._settle_recall()
        return self._shown(self._guard.take(answer, self._clock()))

    def _settle_recall(self) -> None:
        self._is_recalling = self._is_recalling and bool(self._stale)
        if not self._is_recalling:
            self.renewed.set()

    def _shown(self, answer: Answer | None) -> bool:
        """Show an answer that the guard let through, and wake the tasks that the guard needs."""
        if self._guard.is_busy:
            self.changes += 1
            self._guard_news.set()
            self._doubtful.set()
        if answer is None:
            return False
        known = self._answers.get(answer.query)
        if known is not None and known.value is not answer.value and known.value == answer.value:
            answer = msgspec.structs.replace(answer, value=known.value)
        self._answers[answer.query] = answer
        if reads_alike(answer, known) and known is not None and known.rejections == answer.rejections:
            return False
        self.changes += 1
        self._changed.add(answer.query)
        self._news.set()
        emit(AnswerChanged(query=str(answer.query), kind=str(answer.query.__struct_config__.tag)))
        return True

    async def news(self) -> frozenset[Query]:
        """Wait until an answer changed since the last call; return the queries whose answers did."""
        await self._news.wait()
        self._news.clear()
        changed, self._changed = frozenset(self._changed), set()
        return changed

    def get(self, query: Query) -> Answer | None:
        """Return the newest answer to the query, if there is one."""
        return self._answers.get(query)

    def news_since(self, read: Mapping[Query, Answer | None]) -> set[Query]:
        """Return the queries whose newest answer differs from the one that was read; a dropped answer is no news."""
        newest = map(self._answers.get, read)
        others = [both for both in zip(read.items(), newest, strict=True) if both[1] is not both[0][1]]
        return {query for (query, answer), now in others if now is not None and not reads_alike(now, answer)}

    def missing(self) -> frozenset[Query]:
        """Return the wanted queries that have no answer yet, or an absent one."""
        answers = self._answers
        return frozenset(query for query in self._wanted if query not in answers or answers[query].absent)

    def presume_absent(self, query: Query) -> bool:
        """Show that the query's datacenter has been unreachable since the start; return whether that is news."""
        if not self.presumes or query not in self._wanted or query in self._answers:
            return False
        self._answers[query] = Answer(query=query, value=(), absent=True)
        self._changed.add(query)
        self._news.set()
        return True

    def snapshot(self) -> Snapshot:
        """Return an immutable view of all answers at this moment."""
        return Snapshot(self._answers)

    # The guard: doubts for the source, holds for the operator

    async def doubts(self) -> tuple[Doubt, ...]:
        """Wait until the guard doubts something; return what a consistent read has to confirm. For one caller.

        A returned doubt is returned again only after it was tried (``confirm``, ``unconfirmed``) and a pause.
        """
        while True:
            now, doubts = self._clock(), self._guard.doubts()
            self._inquiries = {doubt.query: self._inquiries.get(doubt.query, Inquiry()) for doubt in doubts}
            due = tuple(doubt for doubt in doubts if self._inquiries[doubt.query].again_at <= now)
            for doubt in due:
                self._inquiries[doubt.query].again_at = now + UNANSWERED
            if due:
                return due
            self._doubtful.clear()
            again_at = min((inquiry.again_at for inquiry in self._inquiries.values()), default=math.inf)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(again_at) else again_at - now):
                    await self._doubtful.wait()

    async def confirmed(self) -> None:
        """Wait until no doubt is left, ``CONFIRM_GRACE`` seconds at most: a doubt may open again with the last answer.

        For a run that renders only once, and would otherwise end with what is confirmed as gone a moment later.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONFIRM_GRACE):
                while self._guard.doubts():
                    self._judged.clear()
                    await self._judged.wait()

    def unconfirmed(self, query: Query) -> None:
        """Record a failed confirmation of a query's doubt; if the doubt lasts, it is returned again later."""
        inquiry = self._inquiries.get(query)
        if inquiry is not None:
            inquiry.tries += 1
            inquiry.again_at = self._clock() + DOUBT_BACKOFF.delay(inquiry.tries)
        self._judged.set()

    def confirm(
        self,
        answer: Answer,
        *,
        may_read: bool | None,
        servers: Servers = frozenset(),
        is_listed: bool = False,
        nodes: Mapping[str, str] | None = None,
        registered: tuple[Instance, ...] = (),
    ) -> None:
        """Take a consistent read that settles a doubt.

        ``may_read``: whether the token has the rights that the doubt named, None where Consul did not say. ``servers``:
        who answered, none where they cannot be seen. ``is_listed``: the catalog lists the service of a first answer.
        ``nodes``: all nodes of the catalog with their ids, None where they cannot be seen. ``registered``: what a
        prepared query chose from, failing instances too.
        """
        if answer.query in self._wanted:
            self._stale.discard(answer.query)
            self._settle_recall()
            now = self._clock()
            shown = self._guard.confirm(
                answer, now, may_read=may_read, servers=servers, is_listed=is_listed, nodes=nodes, registered=registered
            )
            self._shown(shown)
        self.unconfirmed(answer.query)

    @property
    def unobserved_datacenters(self) -> frozenset[str | None]:
        """The datacenters whose servers should be read at intervals; none where nothing is guarded."""
        return frozenset(query.dc for query in self._wanted) if self._guard.policies is not None else frozenset()

    def observe_servers(self, seen: ServerSet) -> None:
        """Record which servers answer for a datacenter."""
        self.changes += self._guard.observe_servers(seen, self._clock())

    @property
    def holds(self) -> tuple[Hold, ...]:
        """What the guard holds now; its moments are on the catalog's clock."""
        return self._guard.holds

    @property
    def unverified_queries(self) -> frozenset[Query]:
        """The queries whose first answers the guard does not accept; see ``Guard.unverified_queries``."""
        return self._guard.unverified_queries

    @property
    def stale(self) -> frozenset[Query]:
        """The queries shown with stored answers, since their source has not answered yet."""
        return frozenset(self._stale)

    def oldest(self) -> float:
        """Return when the oldest of the stale answers was seen, on the wall clock."""
        return min((self._answers[query].seen_at for query in self._stale if query in self._answers), default=0.0)

    def follow_policies(self, policies: Policies | None) -> None:
        """Judge by these policies from now on, also what has been answered already."""
        self._guard.follow(policies)
        self._guard_news.set()

    async def guard_due(self) -> None:
        """Wait until the guard has something to review or to report, ``REPORT_SETTLE`` seconds at least."""
        await asyncio.sleep(REPORT_SETTLE)
        while (due := self._guard.due_at(self._clock())) > self._clock():
            self._guard_news.clear()
            try:
                async with asyncio.timeout(min(due - self._clock(), READ_EVERY)):
                    await self._guard_news.wait()
                await asyncio.sleep(REPORT_SETTLE)
            except TimeoutError:
                continue

    def review(self) -> list[GuardReport]:
        """End the holds whose time is over; return what to report."""
        now = self._clock()
        for answer in self._guard.review(now):
            self._shown(answer)
        self._doubtful.set()
        return self._guard.reports(now)

    def unreported(self) -> list[GuardReport]:
        """Return what is still to be reported, including doubts that a confirmation may yet settle."""
        return self._guard.reports(self._clock() + CONFIRM_GRACE)

    def release(self, service: str | None = None) -> tuple[Hold, ...]:
        """End the holds on a service, or all of them; return them."""
        released = self._guard.release(service)
        self._guard_news.set()
        return released

    # What outlives the process

    def remember(self, memories: Iterable[Memory | ServerSet], *, wall: float) -> None:
        """Judge first answers by what an earlier process stored; ``wall`` is the wall clock's now."""
        self._guard.remember(memories, ahead=wall - self._clock(), since=wall)

    def memories(self, *, wall: float) -> tuple[Memory | ServerSet, ...]:
        """Return what a later process needs of the wanted queries."""
        return self._guard.memories(self._wanted, ahead=wall - self._clock())

    def recall(self) -> frozenset[Query]:
        """Show stored answers from now on where no answer has arrived yet; return those queries."""
        self._is_recalling = True
        self.renewed.clear()
        now, recalled = self._clock(), set()
        for query in self.missing():
            if (answer := self._guard.recall(query, now)) is not None:
                recalled.add(query)
                self._stale.add(query)
                self._shown(answer)
        self._settle_recall()
        return frozenset(recalled)
