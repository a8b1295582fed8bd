"""When a first answer that is empty may be so only because our token may read nothing.

Later answers are judged by what was there before; of a first one nothing is known but what Consul says of itself. Pure.
"""

from __future__ import annotations

from ctemplate.guard.policy import Policies
from ctemplate.model import Answer, ServiceQuery, ServicesQuery


def is_blind(first: Answer) -> bool:
    """Whether an empty first answer is sure to be no whole one.

    Consul says so itself since 1.11. Before, an empty catalog tells: the servers' own service is always in it.
    """
    return first.filtered or isinstance(first.query, ServicesQuery)


def may_be_blind(first: Answer, policies: Policies) -> bool:
    """Whether a first answer may be empty for lack of rights; of a single service, Consul has to be asked for these."""
    query = first.query
    if first.value or query.peer is not None:
        return False
    if first.filtered:
        return True
    is_whole_catalog = isinstance(query, ServicesQuery) and not (query.ns or query.partition or policies.is_scoped)
    return is_whole_catalog or isinstance(query, ServiceQuery)
