"""What the kinds have in common that list something of Consul's besides services, such as peerings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, OwnedEntry
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordingRules
from ctemplate.queries.kind import (
    CatalogForm,
    Decoded,
    Kind,
    Losses,
    Q,
    ReadRight,
    Stored,
    Subject,
    WatchRole,
    never,
    nothing,
)
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import UNREADABLE, NotFound, Resource

Listed = TypeVar("Listed", bound=OwnedEntry)


def listing_kind(
    *,
    query: type[Q],
    request: Callable[[Q, Mapping[str, str | None]], Resource],
    not_found: NotFound,
    entry: type[Listed],
    entries: Callable[[bytes], Iterable[Listed]],
    order: Callable[[Listed], Any],
    rights: tuple[ReadRight, ...],
    recorded: tuple[str, type[msgspec.Struct]],
    function: Callable[..., Any],
    mask: Callable[[Listed, RecordingRules], Listed] = lambda each, _: each,
    blocks: bool = True,
) -> Kind[Q]:
    """Return the kind of a query whose answer lists entries of one type, sorted by ``order``.

    ``entries`` decodes a body; a ValueError of it makes the body unusable. ``recorded`` are the field of a catalog file
    that holds the entries, and their type there, which has the same fields; ``mask`` hides secrets in what is recorded.
    """
    field, form = recorded

    def decode(_: Q, body: bytes, __: Decoder) -> Decoded:
        try:
            return tuple(sorted(entries(body), key=order)), ()
        except (*UNREADABLE, ValueError) as exc:
            raise Undecodable(printable(exc)) from exc

    def playback(_: Q, page: CatalogPage) -> Decoded:
        found = (entry(**msgspec.structs.asdict(each)) for each in getattr(page.entry, field))
        return tuple(sorted(found, key=order)), ()

    def record(answer: Answer, rules: RecordingRules) -> RecordedAnswer:
        found = (form(**msgspec.structs.asdict(mask(each, rules))) for each in answer.value)
        fields: dict[str, Any] = {field: tuple(found)}
        return RecordedAnswer(**fields)

    return Kind(
        query=query,
        role=WatchRole.WANTED,
        request=request,
        not_found=not_found,
        decode=decode,
        blocks=blocks,
        sentinel=nothing,
        losses=Losses.NONE,
        subject=Subject.NO_SERVICE,
        service_name=nothing,
        reads_whole_service=never,
        keeps_order=never,
        is_shuffled=False,
        rights=lambda _: rights,
        cover=None,
        stored=Stored(section=str(query.__struct_config__.tag), entry=entry),
        catalog=CatalogForm(is_plain=never, playback=playback, record=record),
        functions=(function,),
        readable=(entry,),
    )
