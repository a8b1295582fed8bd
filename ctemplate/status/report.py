"""The state of a running ctemplate as one value, ``/status`` as JSON; docs/status.schema.json is its schema.

Moments are seconds since 1970. Fields are added, never removed or given another meaning, while ``version`` stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

GroupCondition = Literal["starting", "waiting", "delayed", "applied", "reload owed", "restored", "failed"]
QueryCondition = Literal["answered", "waiting", "absent", "recalled", "unverified", "held"]


class OutageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Something that fails in Consul: its cause in a word, since when, and how many queries it concerns."""

    cause: str
    subject: str
    since: float
    queries: int


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where answers come from.

    ``data_age`` is for how many seconds some answer is not known to be current, 0 while all are.
    """

    name: str
    connections: int
    outages: tuple[OutageStatus, ...]
    data_age: float
    oldest_answer_at: float | None


class QueryCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many wanted queries of a kind are in a state."""

    kind: str
    state: QueryCondition
    count: int


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A service or one instance that is not rendered as it is registered, and why; ``is_kept``: as it was before."""

    service: str
    instance: str
    reason: str
    is_kept: bool


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A group of files. ``draining`` counts old workers of its nginx, null if it is not known.

    ``last_change`` says in nginx's terms what the last proven reload changed. ``refused_edit`` is why the templates
    from before an edit stay in use. ``stuck_for`` is how many seconds the group has spent in one step. ``restored``
    names the past state that an operator restored and at which the files are held; empty if they are rendered.
    ``not_running`` says why no running nginx reads the files; empty if one does, or if the files are not nginx's.
    """

    name: str
    files: tuple[str, ...]
    state: GroupCondition
    error: str
    refused_edit: str
    owes_reload: bool
    last_applied_at: float | None
    last_change: tuple[str, ...]
    missing: tuple[str, ...]
    missing_count: int
    left_out: tuple[LeftOut, ...]
    draining: int | None
    stuck_for: float
    restored: str = ""
    not_running: str = ""


class HoldStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard holds of a query: how many instances or services, why, since when, and until when at most.

    ``services`` are the names by which ``release`` ends it.
    """

    query: str
    cause: str
    reason: str
    entries: int
    since: float
    until: float | None
    services: tuple[str, ...] = ()


class ConfigurationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """When the configuration in use was read, and why what was read later is not in use; empty where it is."""

    read_at: float
    refused: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. ``problems`` say why it is not ready, one sentence each; without any it is.

    ``releasable`` are the services of which something is held, and a file of each group that was restored.
    ``can_release``: the page takes a token for that.
    """

    version: int = 1
    ctemplate: str
    pid: int
    started_at: float
    at: float
    is_ready: bool
    problems: tuple[str, ...]
    configuration: ConfigurationStatus
    source: SourceStatus
    queries: tuple[QueryCount, ...]
    groups: tuple[GroupStatus, ...]
    holds: tuple[HoldStatus, ...]
    unverified: tuple[str, ...]
    internal_errors: int
    loop_lag: float
    releasable: tuple[str, ...] = ()
    can_release: bool = False


ReportNow = Callable[[], Awaitable[Report]]
"""Makes the report at this moment."""
