"""The checks of a scope that are not passing, all of them or those of one status: sentinels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ctemplate.core.model import Query
from ctemplate.queries.kind import WatchRole
from ctemplate.queries.planning import planning_kind
from ctemplate.sources.consul.endpoints.decoding import decode_states
from ctemplate.sources.consul.endpoints.paths import Resource


class AlarmsQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="alarms", omit_defaults=True):
    """The checks of a scope that are not passing; the value is ``tuple[StateRow, ...]`` in any order.

    Without a ``status`` the path is ``/v1/health/state/any`` with ``filter=Status != "passing"``: the answer has few
    bytes, but every change of any check ends the long poll, and Consul goes through all checks for each answer. With a
    ``status`` the path is ``/v1/health/state/STATUS``: the long poll ends when a check gets or loses this status, as
    long as there are any such checks, and an answer takes a twentieth of Consul's time.
    """

    status: Literal["critical", "warning"] | None = None


def _request(query: AlarmsQuery, scope: Mapping[str, str | None]) -> Resource:
    if query.status is not None:
        return Resource.named(f"/v1/health/state/{query.status}", **scope)
    return Resource.named("/v1/health/state/any", **scope, filter='Status != "passing"')


ALARMS_KIND = planning_kind(query=AlarmsQuery, role=WatchRole.SENTINEL, request=_request, entries=decode_states)
