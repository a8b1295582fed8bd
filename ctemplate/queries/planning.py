"""What the kinds have in common that only the watch planner asks for: no template sees their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ctemplate.queries.kind import Decoded, Kind, Losses, Q, ReadRight, Subject, WatchRole, never, nothing
from ctemplate.queries.services import EVERY_SERVICE, list_of
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource


def planning_kind(
    *,
    query: type[Q],
    role: WatchRole,
    request: Callable[[Q, Mapping[str, str | None]], Resource],
    entries: Callable[[bytes], tuple[Any, ...]],
) -> Kind[Q]:
    """Return the kind of a query that serves the list of services of its scope; ``entries`` decodes a body."""

    def decode(_: Q, body: bytes, __: Decoder) -> Decoded:
        return entries(body), ()

    def rights(_: Q) -> tuple[ReadRight, ...]:
        return EVERY_SERVICE

    return Kind(
        query=query,
        role=role,
        request=request,
        not_found=NotFound.REFUSED,
        decode=decode,
        blocks=True,
        sentinel=list_of,
        losses=Losses.NONE,
        subject=Subject.NO_SERVICE,
        service_name=nothing,
        reads_whole_service=never,
        keeps_order=never,
        is_shuffled=False,
        rights=rights,
        cover=None,
        stored=None,
        catalog=None,
        functions=(),
        readable=(),
    )
