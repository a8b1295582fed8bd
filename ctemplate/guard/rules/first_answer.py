"""First answers that are empty, perhaps only because our token may read nothing: not taken before that is ruled out.

Later answers are judged by what was there before; of a first one nothing is known but what Consul says of itself:
that it left data out (since 1.11), a catalog without Consul's own service, a right to the service that it denies, or
a service that the catalog lists while none of its instances is shown, as for a token without ``node:read``.
"""

from __future__ import annotations

import math

from ctemplate.core.model import Answer, Doubt, Query
from ctemplate.core.values import dataclass
from ctemplate.guard.evidence.policy import Policies
from ctemplate.guard.rules.holding import CONFIRM_GRACE
from ctemplate.guard.rules.loss import LATER, RIGHTS_RECHECK, is_whole_catalog
from ctemplate.queries import ServicesQuery, named_service


@dataclass(slots=True)
class UnverifiedEmpty:
    """A query without any but empty first answers. ``is_open``: it is being asked whether we may see more."""

    since: float
    is_open: bool = True
    is_reported: bool = False
    is_listed: bool = False
    judged_at: float = -math.inf

    def due_at(self) -> float:
        """Return when to have it confirmed again; infinity while the confirmation is under way."""
        return math.inf if self.is_open else self.judged_at + RIGHTS_RECHECK

    def reported_at(self) -> float:
        """Return when to report it, infinity for never again."""
        return math.inf if self.is_reported else self.since + CONFIRM_GRACE

    @property
    def was_judged(self) -> bool:
        """Whether it has been asked once what there is to see."""
        return self.judged_at > -math.inf

    def judge(self, now: float, *, is_listed: bool) -> None:
        """Note that a consistent read has ruled nothing out."""
        self.is_open, self.is_listed, self.judged_at = False, is_listed, now

    def recheck(self, now: float, *, is_late: bool) -> bool:
        """Have it confirmed again, if it is time, or with others later; return whether it is."""
        is_due = self.due_at() <= now
        self.judged_at = now - RIGHTS_RECHECK + LATER if is_due and is_late else self.judged_at
        self.is_open = self.is_open or (is_due and not is_late)
        return is_due


def doubt_of_first(query: Query) -> Doubt:
    """Return what a source is to confirm of an empty first answer."""
    name = named_service(query)
    return Doubt(query=query, services=() if name is None else (name,), is_first=True)


def is_surely_cut(first: Answer, policies: Policies) -> bool:
    """Whether an empty first answer is sure to be no whole one.

    Consul says so itself since 1.11. Before 1.11, an empty catalog shows it: the servers' own service is always in it.
    """
    return first.filtered or is_whole_catalog(first.query, is_scoped=policies.is_scoped)


def may_be_cut(first: Answer, policies: Policies) -> bool:
    """Whether a first answer may be empty for lack of rights; of a single service, Consul has to be asked for these."""
    query = first.query
    if first.value or first.rejections or query.peer is not None:
        return False
    return is_surely_cut(first, policies) or named_service(query) is not None


def scope_of_services(query: Query) -> ServicesQuery:
    """Return the query for the catalog that lists a service."""
    return ServicesQuery(dc=query.dc, ns=query.ns, partition=query.partition)
