"""The checks of a scope as Consul lists them: the queries of the sentinel and of the census, and their rows. Pure."""

from __future__ import annotations

import msgspec

from ctemplate.core.model import Query


class AlarmsQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="alarms", omit_defaults=True):
    """The checks of a scope that are not passing; the value is ``tuple[StateRow, ...]`` in any order.

    ``/v1/health/state/any`` with ``filter=Status != "passing"``: a few bytes, woken by every check.
    """


class CensusQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="census", omit_defaults=True):
    """All checks of a scope; the value is ``tuple[StateRow, ...]`` in any order. Never long-polled.

    ``/v1/health/state/any``: megabytes for thousands of services, yet cheaper than reading each of them.
    """


class StateRow(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    rename={
        "node": "Node",
        "check_id": "CheckID",
        "service": "ServiceName",
        "service_id": "ServiceID",
        "status": "Status",
        "modified": "ModifyIndex",
    },
):
    """A check as a row of ``/v1/health/state``, decoded as it comes; ``service`` is empty for a check of a node."""

    node: str
    check_id: str
    service: str = ""
    service_id: str = ""
    status: str = ""
    modified: int = 0
