"""A certificate from Consul's own certificate authority for a service, with its private key."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, OwnedEntry, Query
from ctemplate.queries.ca_roots import checked_pem
from ctemplate.queries.catalog_entries import MASK, CatalogPage, RecordedAnswer, RecordedLeaf, RecordingRules
from ctemplate.queries.choosing import scope_words, word
from ctemplate.queries.kind import (
    CatalogForm,
    Decoded,
    Kind,
    Losses,
    OwnText,
    Reader,
    ReadRight,
    Stored,
    Subject,
    WatchRole,
    never,
    nothing,
    template_function,
)
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import UNREADABLE, NotFound, Resource


class CaLeaf(OwnedEntry, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A service's certificate, with its intermediates, and its private key, both as PEM text.

    ``not_before`` and ``not_after`` have Consul's form: ``2026-11-28T20:18:19Z``.
    """

    service: str
    pem: OwnText
    private_key: OwnText
    uri: str = ""
    serial: OwnText = OwnText("")
    not_before: OwnText = OwnText("")
    not_after: OwnText = OwnText("")

    def __repr__(self) -> str:
        """Show the service, and nothing of the key."""
        return f"{type(self).__name__}({printable(self.service)!r}, …)"

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return f"certificate of {printable(self.service, 120)!r}"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return the texts that contain the service's name, which a registrant chooses."""
        return ("service", self.service), ("uri", self.uri)

    def secrets(self) -> tuple[str, ...]:
        """Return the private key."""
        return (self.private_key,)


class CaLeafPage(msgspec.Struct, frozen=True, gc=False):
    """The answer of ``/v1/agent/connect/ca/leaf/NAME``."""

    pem: str = msgspec.field(name="CertPEM")
    private_key: str = msgspec.field(name="PrivateKeyPEM")
    service: str = msgspec.field(default="", name="Service")
    uri: str = msgspec.field(default="", name="ServiceURI")
    serial: str = msgspec.field(default="", name="SerialNumber")
    not_before: str = msgspec.field(default="", name="ValidAfter")
    not_after: str = msgspec.field(default="", name="ValidBefore")

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return f"{type(self).__name__}(…)"


class CaLeafQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="ca_leaf", omit_defaults=True):
    """The certificate of a service; the value is ``tuple[CaLeaf, ...]``, which a catalog file may lack."""

    name: str


CA_LEAF_PAGES = msgspec.json.Decoder(CaLeafPage)


@template_function("ca_leaf")
def _ca_leaf(reader: Reader, name: str, ns: str | None = None, partition: str | None = None) -> CaLeaf:
    """Return the certificate that Consul's certificate authority issues for a service: ``pem``, and ``private_key``.

    The Consul agent creates it, and a new one before it expires. Both texts print unchanged. The key appears only in
    the output: give that file ``perms = "0600"``.
    """
    query = CaLeafQuery(name=word("name", name), **scope_words(ns=ns, partition=partition))
    answer = reader.ask(query)
    if answer is None or not answer.value:
        return reader.absent(query)  # type: ignore[no-any-return]
    found: CaLeaf = answer.value[0]
    reader.read_entry(found)
    own = reader.own_text
    return CaLeaf(
        service=found.service,
        uri=found.uri,
        pem=own(found.pem),
        private_key=own(found.private_key),
        serial=own(found.serial),
        not_before=own(found.not_before),
        not_after=own(found.not_after),
    )


def _request(query: CaLeafQuery, scope: Mapping[str, str | None]) -> Resource:
    name = urllib.parse.quote(query.name, safe="")
    return Resource.named(f"/v1/agent/connect/ca/leaf/{name}", ns=scope["ns"], partition=scope["partition"])


def _decode(query: CaLeafQuery, body: bytes, _: Decoder) -> Decoded:
    try:
        page = CA_LEAF_PAGES.decode(body)
        return (
            CaLeaf(
                service=page.service or query.name,
                pem=OwnText(checked_pem(page.pem)),
                private_key=OwnText(checked_pem(page.private_key)),
                uri=page.uri,
                serial=OwnText(page.serial),
                not_before=OwnText(page.not_before),
                not_after=OwnText(page.not_after),
            ),
        ), ()
    except (*UNREADABLE, ValueError) as exc:
        raise Undecodable(printable(exc)) from exc


def _rights(query: CaLeafQuery) -> tuple[ReadRight, ...]:
    return (ReadRight(resource="service", name=query.name, access="write"),)


def _playback(query: CaLeafQuery, page: CatalogPage) -> Decoded:
    return tuple(CaLeaf(**msgspec.structs.asdict(leaf)) for leaf in page.entry.leaves if leaf.service == query.name), ()


def _record(answer: Answer, _: RecordingRules) -> RecordedAnswer:
    """Return the certificate without its key, since no file of captured answers may contain the key."""
    hidden = (msgspec.structs.replace(leaf, private_key=OwnText(MASK)) for leaf in answer.value)
    return RecordedAnswer(leaves=tuple(RecordedLeaf(**msgspec.structs.asdict(leaf)) for leaf in hidden))


CA_LEAF_KIND = Kind(
    query=CaLeafQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.REFUSED,
    decode=_decode,
    blocks=True,
    sentinel=nothing,
    losses=Losses.NONE,
    subject=Subject.NO_SERVICE,
    service_name=nothing,
    reads_whole_service=never,
    keeps_order=never,
    is_shuffled=False,
    rights=_rights,
    cover=None,
    stored=Stored(section="ca_leaves", entry=CaLeaf),
    catalog=CatalogForm(is_plain=never, playback=_playback, record=_record),
    functions=(_ca_leaf,),
    readable=(CaLeaf,),
)
