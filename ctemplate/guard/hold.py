"""What is held, and why."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ctemplate.model import AnyQuery, Instance, Service

Entry = Instance | Service


class Cause(enum.Enum):
    """Why the loss of entries is not believed; the value says it, ``%s`` being what vanished."""

    LOSS = "%s vanished at once, and Consul has not confirmed it"
    UNSEEN = "%s vanished while Consul was out of sight, and nothing shows that its data is not new"
    INDEX_FELL = "%s vanished as Consul's index went back"
    UNMOVED = "%s vanished although Consul's index did not move, as when rights are lost"
    FILTERED = "%s vanished as Consul filtered its answer by ACLs"
    DENIED = "%s vanished from sight: the token has no right to read them"
    LEADERLESS = "%s vanished in the answer of a server that knew no leader"
    ANOTHER = "%s vanished; another Consul answers here: none of its servers was there before"
    FLIPPED = "%s failed together as Consul came back in sight"
    PANIC = "%s failed, the last ones of their service"


STUBBORN = frozenset({Cause.INDEX_FELL, Cause.FLIPPED, Cause.PANIC})
"""Nothing that could be read proves these wrong: an index that fell grows again whatever was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Entries of a query's answer that are kept although the newest answer lacks them.

    ``until`` is when the hold ends by itself, infinity where it ends only with its cause or by the operator. ``index``
    and ``session`` are those of the last answer that had the entries. ``is_open``: a consistent read is to confirm the
    loss or not. ``is_told``: the operator knows.
    """

    query: AnyQuery
    entries: tuple[Entry, ...]
    cause: Cause
    since: float
    until: float
    index: int = 0
    session: float = 0.0
    was_filtered: bool = False
    is_open: bool = True
    is_told: bool = False
    judged_at: float = float("-inf")
