"""The name of the agent that ctemplate asks, which is the name of the agent's node."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, OwnedEntry, Query
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordingRules
from ctemplate.queries.kind import (
    CatalogForm,
    Decoded,
    Kind,
    Losses,
    ReadRight,
    Stored,
    Subject,
    WatchRole,
    never,
    nothing,
)
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import UNREADABLE, NotFound, Resource

SHOWN_AGENT_LENGTH = 120


class AgentName(OwnedEntry, frozen=True, kw_only=True, gc=False):
    """The name of the agent's node."""

    name: str

    def owner_name(self) -> str:
        """Return a description of the name's owner."""
        return f"node {printable(self.name, SHOWN_AGENT_LENGTH)!r}"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return the name."""
        return (("name", self.name),)


class AgentConfig(msgspec.Struct, frozen=True):
    """The agent's own configuration, in its answer."""

    node_name: str = msgspec.field(name="NodeName")


class AgentPage(msgspec.Struct, frozen=True, rename="pascal"):
    """The answer of ``/v1/agent/self``."""

    config: AgentConfig


class AgentQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="agent", omit_defaults=True):
    """The node of the agent that is asked; the value is ``tuple[AgentName, ...]``, empty if no agent is asked."""


AGENT_PAGES = msgspec.json.Decoder(AgentPage)


def _request(_: AgentQuery, __: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/agent/self")


def _decode(_: AgentQuery, body: bytes, __: Decoder) -> Decoded:
    try:
        return (AgentName(name=AGENT_PAGES.decode(body).config.node_name),), ()
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc


def _rights(_: AgentQuery) -> tuple[ReadRight, ...]:
    return (ReadRight(resource="agent", name=None),)


def _playback(_: AgentQuery, page: CatalogPage) -> Decoded:
    return tuple(AgentName(name=name) for name in (page.entry.names if page.is_single else ())), ()


def _record(answer: Answer, _: RecordingRules) -> RecordedAnswer:
    return RecordedAnswer(names=tuple(entry.name for entry in answer.value))


AGENT_KIND = Kind(
    query=AgentQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=False,
    sentinel=nothing,
    losses=Losses.NONE,
    subject=Subject.NO_SERVICE,
    service_name=nothing,
    reads_whole_service=never,
    keeps_order=never,
    is_shuffled=False,
    rights=_rights,
    cover=None,
    stored=Stored(section="agents", entry=AgentName),
    catalog=CatalogForm(is_plain=never, playback=_playback, record=_record),
    functions=(),
    readable=(),
)
