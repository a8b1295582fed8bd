"""One guard for all queries: takes answers as they arrive, returns what may be shown.

New entries are accepted at once; entries that vanished are kept until their loss is confirmed. The rules decide which
losses are doubted, and what else of an answer is not accepted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from ctemplate.core.defects import Defects
from ctemplate.core.events import GuardReport
from ctemplate.core.model import (
    Answer,
    Doubt,
    Instance,
    Query,
    Servers,
    ServerSet,
)
from ctemplate.core.values import dataclass
from ctemplate.guard.evidence.entries import in_known_order, key
from ctemplate.guard.evidence.hold import Cause, Entry, Hold
from ctemplate.guard.evidence.policy import UNGUARDED, Policies
from ctemplate.guard.evidence.proofs import Histories, verdict
from ctemplate.guard.evidence.reports import RELEASED, begun, ended, seen, taken_as_empty, unverified
from ctemplate.guard.evidence.servers import KnownServers
from ctemplate.guard.rules import Change
from ctemplate.guard.rules.first_answer import (
    UnverifiedEmpty,
    is_surely_cut,
    may_be_cut,
    scope_of_services,
)
from ctemplate.guard.rules.holding import CONFIRM_GRACE
from ctemplate.guard.rules.loss import RIGHTS_RECHECK, is_whole_catalog
from ctemplate.guard.rules.unreachable import CutOff, NodeHealth
from ctemplate.guard.state import QueryState, QueryStates
from ctemplate.queries import Losses, kind_of, named_service

RIGHTS_RECHECKED = 20  # queries whose rights are checked again at a time, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What outlives the process: a query's newest answer and its holds, their moments on the wall clock."""

    answer: Answer
    holds: tuple[Hold, ...] = ()


class Guard:
    """Accepts or holds answers. Without ``policies`` everything passes, as for a source that cannot be wrong."""

    def __init__(self, policies: Policies | None = None) -> None:
        self.policies = policies
        self._states = QueryStates()
        self._active: dict[Query, None] = {}  # queries that time, the operator or a confirmation may change
        self._nodes = NodeHealth()
        self._histories = Histories()
        self._servers = KnownServers()
        self._watched_since = math.inf  # on the wall clock; a session that began later began with a break
        self._new_names: dict[Query, set[str]] = {}  # services that came after the first answer to a catalog query
        self._ended: list[tuple[Hold, str]] = []
        self._has_new_policies = False
        self._visible: list[Query] = []
        self._invisible: list[Query] = []
        self._widened_at = -math.inf  # when the token was last seen to have gained rights
        self._defects = Defects()

    @contextlib.contextmanager
    def _contained(self, query: Query) -> Iterator[None]:
        """Let a defect cost one query: its shown entries stay unchanged until its next answer."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001 - a defect, of any kind
            self._active.pop(query, None)
            self._defects.report(f"{query}: what is held of it stays as it is", exc)

    # Answers

    def take(self, new: Answer, now: float) -> Answer | None:
        """Take a query's newest answer; return what may be shown, None while it awaits a confirmation."""
        state = self._states.get(new.query)
        self._histories.reach(new)
        if self.policies is None or kind_of(new.query).losses is Losses.NONE:
            steady = new if state is None else in_known_order(state.raw, new)
            if state is not None:
                state.unreachable.forget(new.query.dc)
            state = self._states[new.query] = self._state(steady, now)
        elif state is None or state.unverified is not None:
            state = self._states[new.query] = self._first(new, None if state is None else state.unverified, now)
        else:
            self._compare(state, in_known_order(state.raw, new), self.policies, now)
        return self._show(state, now)

    def _first(self, new: Answer, before: UnverifiedEmpty | None, now: float) -> QueryState:
        """Return the state with a first answer; an empty one may mean that our token lacks rights."""
        if self.policies is None or self.policies.of(new.query).hold <= 0 or not may_be_cut(new, self.policies):
            self._note_visible(new.query, before, now)
            return self._state(new, now)
        fresh = UnverifiedEmpty(now)
        if is_surely_cut(new, self.policies) and before is None:
            fresh.judge(now, is_listed=False)
        return self._state(new, now, before or fresh)

    def _state(self, answer: Answer, now: float, waiting: UnverifiedEmpty | None = None) -> QueryState:
        is_guarded = kind_of(answer.query).losses is not Losses.NONE
        policy = self.policies.of(answer.query) if self.policies is not None and is_guarded else None
        return QueryState(answer, self._nodes, now, policy=policy, unverified=waiting)

    def _note_visible(self, query: Query, before: UnverifiedEmpty | None, now: float) -> None:
        """Confirm the other first answers of a datacenter at once, now that one of them has entries.

        Where that one lacked a right, so may have answers that were not empty: all of them are read again.
        """
        if before is None:
            return
        if before.was_judged and now >= self._widened_at + RIGHTS_RECHECK:
            self._widened_at = now
            for each, state in self._states.items():
                if each.dc == query.dc and state.is_guarded and state.is_fresh and state.unverified is None:
                    state.is_narrow, self._active[each] = True, None
        self._visible += [query] if before.is_reported else []
        for other in self._active:
            waiting = self._states[other].unverified
            if waiting is not None and other.dc == query.dc:
                waiting.is_open = True

    def _compare(self, state: QueryState, new: Answer, policies: Policies, now: float) -> None:
        raw = state.raw
        if self._histories.note(raw, new):
            for query in self._active:
                self._states[query].loss.reopen(Cause.CONNECTION_GAP)
        if kind_of(new.query).losses is Losses.NAMES and raw.value is not new.value:
            names = {service.name for service in new.value}
            came = names - {service.name for service in raw.value}
            self._new_names[new.query] = (self._new_names.get(new.query, set()) | came) & names
        if raw.value is new.value and raw.session == new.session and state.is_fresh and not state.is_active:
            state.raw = new
            return
        was_watched = state.is_fresh or new.session > self._watched_since
        change = Change(
            before=state.used(),
            new=new,
            policy=policies.of(new.query),
            now=now,
            is_news=raw.value is not new.value,
            has_gap=was_watched and raw.session != new.session,
            is_whole_catalog=is_whole_catalog(new.query, is_scoped=policies.is_scoped),
        )
        state.observe(change)

    def confirm(
        self,
        answer: Answer,
        now: float,
        *,
        may_read: bool | None,
        servers: Servers = frozenset(),
        is_listed: bool = False,
        nodes: Mapping[str, str] | None = None,
        registered: tuple[Instance, ...] = (),
    ) -> Answer | None:
        """Apply a consistent read to the query's open holds; return what may be shown.

        ``may_read``: whether the token has the rights that the doubt named, None where Consul did not say. ``servers``:
        those that answered, as far as known. ``is_listed``: the catalog lists the service of an empty first answer.
        ``nodes``: all nodes in the catalog, with their ids. ``registered``: what a prepared query chose from, failing
        instances too, which it does not return. A read that is older than the newest answer, or that began before a
        break which that followed, judges nothing.
        """
        self.observe_servers(ServerSet(dc=answer.query.dc, servers=servers, session=answer.session), now)
        state = self._states.get(answer.query)
        if state is None or (answer.session, answer.index) < (state.raw.session, state.raw.index):
            return None
        if state.unverified is not None:
            return self._confirm_first(state.unverified, answer, now, may_read=may_read, is_listed=is_listed)
        state.was_read_again(now, is_hidden=is_listed and not answer.value)
        self.take(answer, now)
        limit = self.policies.of(answer.query).hold if self.policies else 0.0

        state.loss.part(lambda entry: self._has_left(entry, answer.query, nodes))

        cut = CutOff(registered=registered, in_contact=self._nodes.in_contact(answer.query.dc))
        state.loss.part(cut.has)

        def judged(hold: Hold) -> Cause | None:
            cause = verdict(hold, answer, self._histories, self._servers, may_read=may_read, servers=servers)
            if cause is None and (cut.explains(hold.entries) or cut.lacks(hold)):
                return Cause.QUERY_UNREACHABLE
            return cause or self._absence(hold, nodes, now)

        state.loss.judge(judged, limit=limit, now=now, cut_until=partial(self._cut_until, query=answer.query))
        for hold in [hold for hold in state.loss.holds if hold.cause is Cause.QUERY_UNREACHABLE][:1]:
            state.loss.take_back(cut.has, state.raw, now, like=hold)
        if any(hold.cause in {Cause.NODES_LEFT, Cause.UNREACHABLE_LEFT} for hold in state.loss.holds):
            self._take_back(answer.query.dc, nodes, now)
        state.is_shown = True
        return self._show(state, now)

    def _take_back(self, dc: str | None, nodes: Mapping[str, str] | None, now: float) -> None:
        """Hold what left first, alone, now that several nodes are known to have left."""
        for query, state in self._states.items():
            belongs = partial(self._has_left, query=query, nodes=nodes)
            cut_until = partial(self._cut_until, query=query)
            if query.dc == dc and state.loss.take_back(belongs, state.raw, now, cut_until=cut_until):
                self._active[query] = None  # the next review shows it

    def _nodes_of(self, entry: Entry, query: Query) -> Mapping[str, str]:
        """Return the node of an instance, or all known nodes of a service, with their ids."""
        if isinstance(entry, Instance):
            return {entry.node: entry.node_id}
        return {
            name: node_id for state in self._states.of_service(entry, query) for name, node_id in state.nodes().items()
        }

    def _cut_until(self, entry: Entry, query: Query) -> float | None:
        """Return until when an entry that vanished was held, as its node was out of contact; None if it was not.

        A service stays for as long as the last of its instances.
        """
        if isinstance(entry, Instance):
            return self._states[query].unreachable.gone.get(key(entry))
        ends = (until for state in self._states.of_service(entry, query) for until in state.unreachable.ends().values())
        return max(ends, default=None)

    def _has_left(self, entry: Entry, query: Query, nodes: Mapping[str, str] | None) -> bool:
        """Whether an entry vanished with its nodes: agents left, rather than a service was deregistered."""
        known = self._nodes_of(entry, query)
        return nodes is not None and bool(known) and not known.keys() & nodes.keys()

    def _absence(self, hold: Hold, nodes: Mapping[str, str] | None, now: float) -> Cause | None:
        """Return why a hold's entries are expected back: nodes that left at once, or joined again under other names."""
        if nodes is None or not all(self._has_left(entry, hold.query, nodes) for entry in hold.entries):
            return None
        gone = {name: node_id for entry in hold.entries for name, node_id in self._nodes_of(entry, hold.query).items()}
        if set(gone.values()) & set(nodes.values()) - {""}:
            return Cause.NODE_RENAMED
        together = self._nodes.vanished(hold.query.dc, now).union(gone) - nodes.keys()
        return Cause.NODES_LEFT if len(together) > 1 else None

    def _confirm_first(
        self, waiting: UnverifiedEmpty, answer: Answer, now: float, *, may_read: bool | None, is_listed: bool
    ) -> Answer | None:
        """Accept an empty first answer where it can only be true.

        A service that was first listed while we watched has nothing to lose, and delays nothing.
        """
        is_cut = self.policies is not None and is_surely_cut(answer, self.policies)
        is_new = named_service(answer.query) in self._new_names.get(scope_of_services(answer.query), ())
        if self.policies is None or not may_be_cut(answer, self.policies):
            return self.take(answer, now)
        if may_read is False or is_cut or (is_listed and not is_new):
            self._states[answer.query].raw = answer
            waiting.judge(now, is_listed=is_listed and may_read is not False)
            return None
        self._invisible += [answer.query] if is_listed else []
        state = self._states[answer.query] = self._state(answer, now)
        state.was_read_again(now, is_hidden=is_listed and not answer.value)
        return self._show(state, now)

    def observe_servers(self, seen: ServerSet, now: float) -> bool:
        """Record which servers answer for a datacenter; return whether a later process should know."""
        holds = () if self.policies is None else (self.policies.default, *self.policies.services.values())
        return self._servers.observe(seen, now, patience=max((policy.hold for policy in holds), default=0.0))

    def _show(self, state: QueryState, now: float) -> Answer | None:
        shown = state.show(now)
        if state.is_active:
            self._active[state.raw.query] = None
        else:
            self._active.pop(state.raw.query, None)
        return shown if state.is_shown and state.unverified is None else None

    # Time and the operator

    def follow(self, policies: Policies | None) -> None:
        """Judge by these policies from now on; ``review`` then returns what to show of the answers that are known."""
        before, self.policies, self._has_new_policies = self.policies, policies, True
        for query, state in self._states.items():
            old, new = ((UNGUARDED if each is None else each.of(query)) for each in (before, policies))
            if old != new and state.is_fresh and state.is_guarded:
                state.follow(old, new)
                self._active[query] = None

    def due_at(self, now: float) -> float:
        """Return when ``review`` has something to do, infinity for never."""
        if self._ended or self._visible or self._invisible or self._has_new_policies:
            return 0.0
        dues = [each.reported_at() for _, each in self._judged_together()]
        for query in tuple(self._active):
            with self._contained(query):
                state = self._states[query]
                dues.append(state.due_at(now) if state.is_active else 0.0)  # what was released is not shown yet
        return min(dues, default=math.inf)

    def _judged_together(self) -> list[tuple[Query, UnverifiedEmpty]]:
        """Return the empty first answers once all were read again, so that one line reports them."""
        states = ((query, self._states[query].unverified) for query in self._active)
        found = [(query, each) for query, each in states if each is not None]
        return found if all(each.was_judged for _, each in found) else []

    def review(self, now: float) -> tuple[Answer, ...]:
        """End the holds whose time is over; return what to show of the queries with holds or waits."""
        shown: list[Answer] = []
        self._has_new_policies = False
        self._recheck(now)
        for query in tuple(self._active):
            with self._contained(query):
                answer = self._reviewed(self._states[query], now)
                shown += [] if answer is None else [answer]
        return tuple(shown)

    def _reviewed(self, state: QueryState, now: float) -> Answer | None:
        for rule in state.rules:
            rule.review(now)
        state.is_shown = state.is_shown or not state.loss.is_awaited(now, CONFIRM_GRACE)
        return self._show(state, now)

    def _recheck(self, now: float) -> None:
        """Check again, a few queries at a time, whether the token still lacks the rights whose loss holds entries."""
        left = RIGHTS_RECHECKED
        for query in tuple(self._active):
            with self._contained(query):
                left -= self._states[query].recheck(now, is_late=left <= 0)

    def release(self, service: str | None) -> tuple[Hold, ...]:
        """End the holds on a service, or all of them; ``review`` then returns what to show."""
        released: list[Hold] = []
        for query in tuple(self._active):
            with self._contained(query):
                released += self._states[query].release(service)
        self._ended += [(replace(hold, is_reported=True), RELEASED) for hold in released]
        self._accept_servers(released)
        return tuple(released)

    def _accept_servers(self, released: Collection[Hold]) -> None:
        """Accept a different Consul where its holds were released, or all holds of its datacenter."""
        left = [hold for query in self._active for hold in self._states[query].dump()]
        of_others = _dcs_with_different_cluster(released) - _dcs_with_different_cluster(left)
        for dc in of_others | ({hold.query.dc for hold in released} - {hold.query.dc for hold in left}):
            self._servers.accept(dc)

    def reports(self, now: float) -> list[GuardReport]:
        """Return what to report since the last call."""
        fresh: list[Hold] = []
        over, self._ended = [(hold, how) for hold, how in self._ended if hold.is_reported], []
        for query in tuple(self._active):
            with self._contained(query):
                state = self._states[query]
                for rule in state.rules:
                    begun_now, ended_now = rule.report(now)
                    fresh += begun_now
                    over += ended_now
                self._show(state, now)
        waiting = self._newly_waiting(now)
        visible, self._visible = self._visible, []
        invisible, self._invisible = self._invisible, []
        return begun(fresh) + unverified(waiting) + taken_as_empty(invisible) + ended(over, now) + seen(visible)

    def _newly_waiting(self, now: float) -> list[tuple[Query, bool]]:
        """Return the empty first answers to report: all of them as soon as one has waited long enough."""
        fresh = [(query, each) for query, each in self._judged_together() if not each.is_reported]
        if not any(each.reported_at() <= now for _, each in fresh):
            return []
        for _, each in fresh:
            each.is_reported = True
        return [(query, each.is_listed) for query, each in fresh]

    @property
    def holds(self) -> tuple[Hold, ...]:
        """All current holds, except doubts that are not decided yet."""
        holds = (hold for query in self._active for hold in self._states[query].dump())
        return tuple(hold for hold in holds if hold.is_reported or not hold.is_open)

    @property
    def unverified_queries(self) -> frozenset[Query]:
        """The queries whose empty first answers are not accepted, since the token may lack rights."""
        return frozenset(query for query in self._active if self._states[query].unverified is not None)

    @property
    def is_busy(self) -> bool:
        """Whether anything is left to confirm, to review or to report."""
        return bool(self._active or self._ended or self._visible or self._invisible)

    def doubts(self) -> tuple[Doubt, ...]:
        """Return what the source has to confirm."""
        return tuple(doubt for query in self._active for doubt in self._states[query].doubts())

    # Memory

    def forget(self, query: Query) -> None:
        """Drop the state of a query that is not wanted any more."""
        state = self._states.drop(query)
        self._active.pop(query, None)
        self._new_names.pop(query, None)
        if state is not None:
            self._ended += state.forget()

    def count_nodes_of(self, wanted: Collection[Query]) -> None:
        """Count only nodes that answers to these queries show: others, which were stored, are not watched."""
        for query, state in self._states.items():
            if query not in wanted:
                state.unreachable.forget(query.dc)

    def recall(self, query: Query, now: float) -> Answer | None:
        """Return the remembered answer of a query that its source has not answered yet."""
        state = self._states.get(query)
        return None if state is None or state.is_fresh else self._show(state, now)

    def remember(self, memories: Iterable[Memory | ServerSet], *, ahead: float, since: float = math.inf) -> None:
        """Start from what an earlier process stored; ``since`` is when it began to watch, on the wall clock.

        ``ahead`` is wall-clock time minus the caller's clock.
        """
        self._watched_since = since
        for memory in memories:
            if isinstance(memory, ServerSet):
                self._servers.remember([memory])
                continue
            self._histories.reach(memory.answer)
            state = self._states[memory.answer.query] = self._state(memory.answer, -math.inf)
            state.restore(tuple(hold.moved(-ahead) for hold in memory.holds))

    def memories(self, queries: Iterable[Query], *, ahead: float) -> tuple[Memory | ServerSet, ...]:
        """Return what a later process needs to know of these queries."""
        wanted = tuple(queries)
        found = (self._states[query] for query in wanted if query in self._states)
        known = [state for state in found if state.unverified is None]
        dcs = {query.dc for query in wanted}
        return (
            *(Memory(answer=each.raw, holds=self._holds_of(each, ahead)) for each in known),
            *(servers for servers in self._servers if servers.dc in dcs),
        )

    def _holds_of(self, state: QueryState, ahead: float) -> tuple[Hold, ...]:
        """Return a query's holds, moved; a fresh answer that nothing waits for has none."""
        if state.is_fresh and state.raw.query not in self._active:
            return ()
        return tuple(hold.moved(ahead) for hold in state.dump())


def _dcs_with_different_cluster(holds: Iterable[Hold]) -> set[str | None]:
    """Return the datacenters whose entries are held because a different Consul answers."""
    return {hold.query.dc for hold in holds if hold.cause is Cause.DIFFERENT_CLUSTER}
