"""The root certificates of Consul's own certificate authority."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import OwnedEntry, Query
from ctemplate.queries.catalog_entries import RecordedRoot
from ctemplate.queries.key import scope_fields
from ctemplate.queries.kind import OwnText, Reader, template_function
from ctemplate.queries.listing import listing_kind
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

_PEM_BLOCK = lazy_pattern(
    r"-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----\n(?:[A-Za-z0-9+/=]{1,128}\n)+-----END (?P=label)-----(?:\n|\Z)"
)


def checked_pem(text: str) -> str:
    """Return a text of PEM blocks only, a line break at its end; raises ValueError, without the text in its message."""
    found = text.replace("\r\n", "\n").strip() + "\n"
    position = 0
    while position < len(found):
        block = _PEM_BLOCK.match(found, position)
        if block is None:
            raise ValueError("a certificate or key is no PEM text")
        position = block.end()
    return found


class CaRoot(OwnedEntry, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A root certificate; ``is_active`` marks the one that signs, the others are still trusted.

    ``not_before`` and ``not_after`` have Consul's form: ``2026-11-28T20:18:19Z``.
    """

    id: OwnText
    name: OwnText
    pem: OwnText
    intermediates: tuple[OwnText, ...] = ()
    is_active: bool = False
    trust_domain: OwnText = OwnText("")
    not_before: OwnText = OwnText("")
    not_after: OwnText = OwnText("")

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return "Consul's certificate authority"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return none: all texts are Consul's own and print unchanged."""
        return ()


class CaRootRow(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """A root as Consul writes it."""

    id: str = msgspec.field(name="ID")
    root_cert: str
    name: str = ""
    intermediate_certs: list[str] | None = None
    active: bool = False
    not_before: str = ""
    not_after: str = ""


class CaRootsPage(msgspec.Struct, frozen=True, gc=False):
    """The answer of ``/v1/connect/ca/roots``."""

    trust_domain: str = msgspec.field(default="", name="TrustDomain")
    roots: list[CaRootRow] | None = msgspec.field(default=None, name="Roots")


class CaRootsQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="ca_roots", omit_defaults=True):
    """The roots of Consul's certificate authority; the value is ``tuple[CaRoot, ...]``, the active one first."""


CA_ROOTS_PAGES = msgspec.json.Decoder(CaRootsPage)


@template_function("ca_roots")
def _ca_roots(reader: Reader, dc: str | None = None) -> tuple[CaRoot, ...]:
    """Return the root certificates of Consul's certificate authority, the active one first.

    Their texts come from Consul itself and print unchanged: ``pem`` ends with a line break.
    """
    answer = reader.ask(CaRootsQuery(**scope_fields(dc=dc)))
    return () if answer is None else tuple(_printable(root, reader) for root in answer.value)


def _printable(root: CaRoot, reader: Reader) -> CaRoot:
    own = reader.own_text
    return CaRoot(
        id=own(root.id),
        name=own(root.name),
        pem=own(root.pem),
        intermediates=tuple(map(own, root.intermediates)),
        is_active=root.is_active,
        trust_domain=own(root.trust_domain),
        not_before=own(root.not_before),
        not_after=own(root.not_after),
    )


def _request(_: CaRootsQuery, scope: Mapping[str, str | None]) -> Resource:
    return Resource.named("/v1/connect/ca/roots", dc=scope["dc"])


def _entries(body: bytes) -> Iterator[CaRoot]:
    page = CA_ROOTS_PAGES.decode(body)
    return (_root_of(row, page.trust_domain) for row in page.roots or ())


def _root_of(row: CaRootRow, trust_domain: str) -> CaRoot:
    return CaRoot(
        id=OwnText(row.id),
        name=OwnText(row.name),
        pem=OwnText(checked_pem(row.root_cert)),
        intermediates=tuple(OwnText(checked_pem(each)) for each in row.intermediate_certs or ()),
        is_active=row.active,
        trust_domain=OwnText(trust_domain),
        not_before=OwnText(row.not_before),
        not_after=OwnText(row.not_after),
    )


CA_ROOTS_KIND = listing_kind(
    query=CaRootsQuery,
    request=_request,
    not_found=NotFound.REFUSED,
    entry=CaRoot,
    entries=_entries,
    order=lambda root: (not root.is_active, root.not_before, root.id),
    rights=(),
    recorded=("roots", RecordedRoot),
    function=_ca_roots,
)
