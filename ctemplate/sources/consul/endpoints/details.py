"""The parts of health answers that only a query for details keeps: further addresses, weights, and texts of checks.

A new output of a check is a change of the answer, so answers without details do not contain them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from ctemplate.core.model import (
    MAX_PORT,
    MAX_WEIGHT,
    CheckReport,
    CheckState,
    Instance,
    InstanceDetails,
    Rejection,
    TaggedAddress,
    Weights,
)
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import UNREADABLE
from ctemplate.sources.consul.endpoints.rows import WeightsRow


class AddressRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One of an instance's further addresses."""

    address: str = ""
    port: int = 0


class NodeDetails(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The node of a health entry."""

    node: str
    address: str = ""
    tagged_addresses: dict[str, str] | None = None


class ServiceDetails(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The service of a health entry."""

    id: str = msgspec.field(default="", name="ID")
    tagged_addresses: dict[str, AddressRow] | None = None
    weights: WeightsRow | None = None


class CheckTexts(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """The texts of a check of a health entry."""

    check_id: str = msgspec.field(default="", name="CheckID")
    service_id: str = msgspec.field(default="", name="ServiceID")
    notes: str | None = None
    output: str | None = None


class DetailsRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One instance in a health answer."""

    node: NodeDetails
    service: ServiceDetails
    checks: list[CheckTexts] | None = None


RAW_ROWS = msgspec.json.Decoder(list[msgspec.Raw] | None)
DETAILS_ROW = msgspec.json.Decoder(DetailsRow)


def with_details(
    found: tuple[tuple[Instance, ...], tuple[Rejection, ...]], body: bytes, decoder: Decoder
) -> tuple[tuple[Instance, ...], tuple[Rejection, ...]]:
    """Return the instances with the details in the same body, and what is left out and why; raises Undecodable."""
    rows = {(row.node.node, row.service.id): row for row in _rows(body)}
    instances: list[Instance] = []
    rejections = list(found[1])
    for instance in found[0]:
        row = rows.get((instance.node, instance.id))
        wrong = ("details", "of an unknown form") if row is None else next(_faults(row, decoder), None)
        if row is None or wrong:
            field, reason = wrong or ("", "")
            rejections.append(Rejection(service=instance.name, instance=instance.id, field=field, reason=reason))
        else:
            instances.append(_detailed(instance, row, decoder))
    return tuple(instances), tuple(rejections)


def _rows(body: bytes) -> Iterator[DetailsRow]:
    """Yield the rows that can be decoded."""
    try:
        rows = RAW_ROWS.decode(body) or []
    except UNREADABLE as exc:
        raise Undecodable(str(exc)) from exc
    for row in rows:
        try:
            yield DETAILS_ROW.decode(row)
        except UNREADABLE:
            continue


def _faults(row: DetailsRow, decoder: Decoder) -> Iterator[tuple[str, str]]:
    """Yield each field that may not enter the model, and why."""
    weights = row.service.weights or WeightsRow()
    for weight in (weights.passing, weights.warning):
        if not 0 <= weight <= MAX_WEIGHT:
            yield "weights", f"{weight} is not 0 to {MAX_WEIGHT}"
    for check in row.checks or ():
        yield from decoder.size_faults(
            {}, {"notes": check.notes or "", "output": check.output or ""}, "texts of a check"
        )
    yield from decoder.size_faults({}, row.node.tagged_addresses or {}, "node_tagged_addresses")
    addresses = {tag: each.address for tag, each in (row.service.tagged_addresses or {}).items()}
    yield from decoder.size_faults({}, addresses, "tagged_addresses")


def _detailed(instance: Instance, row: DetailsRow, decoder: Decoder) -> Instance:
    weights = row.service.weights or WeightsRow()
    details = InstanceDetails(
        tagged_addresses=dict(_addresses(row, decoder)),
        node_tagged_addresses=dict(_node_addresses(row.node, decoder)),
        weights=Weights(passing=weights.passing, warning=weights.warning),
    )
    return msgspec.structs.replace(
        instance, details=details, checks=tuple(_reported(instance.checks, row.checks or ()))
    )


def _addresses(row: DetailsRow, decoder: Decoder) -> Iterator[tuple[str, TaggedAddress]]:
    """Yield the instance's further addresses, by tag, without those that may not be used as its own address."""
    for tag, each in sorted((row.service.tagged_addresses or {}).items()):
        printed, refusal = decoder.judge_address(each.address, row.node.address)
        if not refusal and 0 <= each.port <= MAX_PORT:
            yield tag, TaggedAddress(address=printed, port=each.port)


def _node_addresses(node: NodeDetails, decoder: Decoder) -> Iterator[tuple[str, str]]:
    """Yield the node's further addresses as Consul has them, by tag, without those that may not be used."""
    for tag, address in sorted((node.tagged_addresses or {}).items()):
        if not decoder.judge_address(address, node.address)[1]:
            yield tag, address


def _reported(checks: Iterable[CheckState], rows: Iterable[CheckTexts]) -> Iterator[CheckState]:
    """Yield the checks with their texts."""
    texts: Mapping[tuple[str, str], CheckTexts] = {(row.service_id, row.check_id): row for row in rows}
    for check in checks:
        row = texts[check.service_id, check.id]
        yield msgspec.structs.replace(check, report=CheckReport(notes=row.notes or "", output=row.output or ""))
