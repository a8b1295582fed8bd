"""What is held, and why."""

from __future__ import annotations

import enum
import math
from dataclasses import replace

from ctemplate.core.model import Instance, Query, Service
from ctemplate.core.values import dataclass
from ctemplate.queries import kind_of

Entry = Instance | Service


class Cause(enum.Enum):
    """Why a loss of entries is not accepted; the value is the sentence, ``%s`` the entries that vanished."""

    LOSS = "%s vanished at once, and Consul has not confirmed it"
    CONNECTION_GAP = "%s vanished while Consul was out of sight, and nothing shows that Consul's data is not new"
    INDEX_FELL = "%s vanished as Consul's index went back"
    INDEX_UNCHANGED = "%s vanished although Consul's index did not move, as when rights are lost"
    FILTERED = "%s vanished as Consul filtered its answer by ACLs"
    DENIED = "%s vanished from sight: the token has lost the right to read that"
    LEADERLESS = "%s vanished in the answer of a server that knew no leader"
    DIFFERENT_CLUSTER = "%s vanished; another Consul answers here: none of its servers was there before"
    WITHOUT_CONSUL = "%s vanished together with Consul's own service, which is always there"
    INVALID_ENTRIES = "%s vanished in an answer of which no entry is valid"
    NODE_RENAMED = "%s vanished with their node, which joined Consul again under another name"
    NODES_LEFT = "%s vanished with their nodes, several of which left Consul at once"
    UNREACHABLE_LEFT = "%s vanished with their nodes, with which Consul had lost contact together before"
    TAGS_GONE = "%s lost all tags, as did every other service at once"
    MASS_FAILURE = "%s failed as Consul came back in sight"
    RESTORED_STATUS = "%s failed as Consul's index went back to restored data"
    CHECKS_NOT_RUN = "%s failed only for checks without a result, as after a start of their agent"
    NODES_UNREACHABLE = "%s failed as Consul lost contact with most nodes at once"
    QUERY_UNREACHABLE = "%s vanished from a prepared query's answer as Consul lost contact with their nodes at once"
    PANIC = "%s failed, and no instance of the service is left"


UNCONFIRMABLE = frozenset(
    {
        Cause.INDEX_FELL,
        Cause.TAGS_GONE,
        Cause.MASS_FAILURE,
        Cause.RESTORED_STATUS,
        Cause.CHECKS_NOT_RUN,
        Cause.NODES_UNREACHABLE,
        Cause.UNREACHABLE_LEFT,
        Cause.PANIC,
    }
)
"""No read can disprove these: an index that fell grows again whatever was lost, and an agent that was removed while it
was out of contact registers its services only some minutes after its node is back."""

ENDLESS = frozenset({Cause.DENIED, Cause.WITHOUT_CONSUL})
"""Held until the cause is gone, or the operator releases it; waiting does not prove a loss here."""

ROUNDING = 0.1  # seconds that a hold's length may differ from its limit after restarts


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Entries of a query's answer that stay in use although the newest answer lacks them.

    ``until`` is when the hold expires, infinity where only its cause or the operator ends it. ``index`` and ``session``
    are those of the last answer that had the entries. ``is_open``: a consistent read is to decide whether the loss is
    real. ``is_reported``: the operator has been informed.
    """

    query: Query
    entries: tuple[Entry, ...]
    cause: Cause
    since: float
    until: float
    index: int = 0
    session: float = 0.0
    was_filtered: bool = False
    is_open: bool = True
    is_reported: bool = False
    judged_at: float = float("-inf")

    def entries_of(self, service: str | None) -> tuple[Entry, ...]:
        """Return the entries that belong to a service, or all of them for None."""
        if service in {None, kind_of(self.query).service_name(self.query)}:
            return self.entries
        return tuple(entry for entry in self.entries if entry.name == service)

    def moved(self, by: float) -> Hold:
        """Return the hold on a clock that is ahead by so much."""
        return replace(self, since=self.since + by, until=self.until + by)

    def timed(self, before: float, after: float) -> Hold:
        """Return the hold as the operator's other limit has it: one that lasts as long as the old limit gets the new.

        Where a shorter time applies, the new limit may only shorten it. Without a limit nothing is held.
        """
        length = self.until - self.since
        if math.isinf(length):
            return self if after > 0 else replace(self, until=self.since)
        is_full = math.isclose(length, before, abs_tol=ROUNDING)
        return replace(self, until=self.since + (after if is_full else min(length, after)))
