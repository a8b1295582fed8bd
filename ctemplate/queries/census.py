"""All checks of a scope: a census."""

from __future__ import annotations

from collections.abc import Mapping

from ctemplate.core.model import Query
from ctemplate.queries.kind import WatchRole
from ctemplate.queries.planning import planning_kind
from ctemplate.sources.consul.endpoints.decoding import decode_states
from ctemplate.sources.consul.endpoints.paths import Resource


class CensusQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="census", omit_defaults=True):
    """All checks of a scope; the value is ``tuple[StateRow, ...]`` in any order. Never long-polled.

    ``/v1/health/state/any``: megabytes for thousands of services, yet cheaper than reading each of them.
    """


def _request(_: CensusQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/health/state/any", **scope)


CENSUS_KIND = planning_kind(query=CensusQuery, role=WatchRole.CENSUS, request=_request, entries=decode_states)
