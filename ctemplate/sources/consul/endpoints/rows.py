"""The rows of Consul's health answers, decoded field by field. Pure."""

from __future__ import annotations

import msgspec

REPORTED_TYPES = frozenset({"", "ttl"})  # empty for checks of nodes, TTL for what the service reports itself
TELLING_TYPES = frozenset({"http", "tcp", "udp", "grpc", "h2ping"})  # their agent gives each result an output
NO_OUTPUT = frozenset({b'""', b"null"})


class NodeRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The node of a health entry, as Consul writes it."""

    node: str
    id: str = msgspec.field(default="", name="ID")
    address: str = ""
    datacenter: str = ""
    meta: dict[str, str] | None = None


class WeightsRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """An instance's weights while it passes and while it warns."""

    passing: int = 1
    warning: int = 1


class PortRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One of the named ports of an instance that has several, since Consul 1.22."""

    name: str
    port: int
    default: bool = False


class ServiceRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The service of a health entry, as Consul writes it."""

    service: str
    id: str = msgspec.field(default="", name="ID")
    address: str = ""
    port: int = 0
    tags: list[str] | None = None
    meta: dict[str, str] | None = None
    weights: WeightsRow | None = None
    create_index: int = 0
    ports: list[PortRow] | None = None

    @property
    def main_port(self) -> int:
        """The port, or the default one of several."""
        return self.port or next((each.port for each in self.ports or () if each.default), 0)


class CheckRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """A check of a health entry; only whether it has an output matters. ``type`` exists since Consul 1.7."""

    check_id: str = msgspec.field(default="", name="CheckID")
    name: str = ""
    status: str = ""
    service_id: str = msgspec.field(default="", name="ServiceID")
    type: str = ""
    output: msgspec.Raw = msgspec.Raw(b'""')

    @property
    def has_run(self) -> bool:
        """Whether the check has a result, which one that is reported from outside always has."""
        return self.type in REPORTED_TYPES or bytes(self.output) not in NO_OUTPUT

    @property
    def always_has_output(self) -> bool:
        """Whether no result of the check lacks an output."""
        return self.type in TELLING_TYPES


class HealthEntry(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One instance in the answer of ``/v1/health/service/NAME``."""

    node: NodeRow
    service: ServiceRow
    checks: list[CheckRow] | None = None


class Execution(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The answer of ``/v1/query/NAME/execute``: entries of one service, as for a service asked by its name."""

    service: str
    nodes: msgspec.Raw = msgspec.Raw(b"null")
