"""All checks of a scope: a census."""

from __future__ import annotations

from collections.abc import Mapping

from ctemplate.core.model import Query
from ctemplate.queries.kind import Decoded, Kind, Losses, Ownership, ReadRight, Subject, WatchRole, never, nothing
from ctemplate.queries.services import EVERY_SERVICE, list_of
from ctemplate.sources.consul.endpoints.decoding import Decoder, decode_states
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource


class CensusQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="census", omit_defaults=True):
    """All checks of a scope; the value is ``tuple[StateRow, ...]`` in any order. Never long-polled.

    ``/v1/health/state/any``: megabytes for thousands of services, yet cheaper than reading each of them.
    """


def _request(_: CensusQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/health/state/any", **scope)


def _decode(_: CensusQuery, body: bytes, __: Decoder) -> Decoded:
    return decode_states(body), ()


def _rights(_: CensusQuery) -> tuple[ReadRight, ...]:
    return EVERY_SERVICE


CENSUS_KIND = Kind(
    query=CensusQuery,
    role=WatchRole.CENSUS,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=True,
    sentinel=list_of,
    losses=Losses.NONE,
    subject=Subject.NO_SERVICE,
    service_name=nothing,
    reads_whole_service=never,
    keeps_order=never,
    is_shuffled=False,
    rights=_rights,
    cover=None,
    ownership=Ownership.NOT_PRINTED,
    stored=None,
    catalog=None,
    functions=(),
    readable=(),
)
