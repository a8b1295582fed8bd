"""The checks of a scope as Consul lists them. Pure."""

from __future__ import annotations

import msgspec


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
