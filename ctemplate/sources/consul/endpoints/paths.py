"""Consul's HTTP API as values: resources, the meaning of headers, and failures with their remedies.

Pure: nothing here waits or sends. ``decoding`` decodes the bodies.
"""

from __future__ import annotations

import enum
import urllib.parse
from collections.abc import Iterable

import msgspec

from ctemplate.core.errors import SourceError, printable
from ctemplate.core.values import dataclass

STATUS_OK = 200
STATUS_NOT_FOUND = 404
NO_QUERY = b"query not found"
UNKNOWN_PATH = b"invalid url path"  # older versions answer with an empty body
HIGHEST_INDEX = 2**53  # each write adds one: a million writes a second reach it after three centuries


class Consistency(enum.Enum):
    """Which server may answer: any, the leader, or the leader after asking a quorum."""

    STALE = "&stale"
    DEFAULT = ""
    CONSISTENT = "&consistent"


class NotFound(enum.Enum):
    """What status 404 means for a resource."""

    REFUSED = "Consul has no such path"
    UNKNOWN_QUERY = "no prepared query has this name or id"
    NO_PEERING = "this Consul has no cluster peering, which came with 1.13"
    NO_PARTITIONS = "this Consul has no admin partitions, which Consul Enterprise has since 1.11"
    NO_EXPORTS = "this Consul does not list exported services, which came with 1.17.3"
    NO_IMPORTS = "this Consul does not list imported services, which came after exported ones"
    NOTHING = "there is nothing now; the answer, without a body, has an index to wait from"


NEWER_PATHS = frozenset({NotFound.NO_PEERING, NotFound.NO_PARTITIONS, NotFound.NO_EXPORTS, NotFound.NO_IMPORTS})
"""Paths that not every Consul has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One thing to ask Consul for: a path, percent-encoded, and its parameters without the leading ``?``."""

    path: str
    params: str = ""
    not_found: NotFound = NotFound.REFUSED

    @classmethod
    def named(cls, path: str, **params: str | None) -> Resource:
        """Return the resource of a path; parameters that are empty are left out."""
        given = {name: value for name, value in params.items() if value}
        return cls(path=path, params=urllib.parse.urlencode(given, quote_via=urllib.parse.quote))

    def target(self, *, index: int = 0, wait: float = 0.0, consistency: Consistency = Consistency.DEFAULT) -> str:
        """Return the request's target: path and parameters; it blocks only with an index of 1 or more."""
        blocking = f"&index={index}&wait={int(wait * 1000)}ms" if index > 0 else ""
        params = f"{self.params}{consistency.value}{blocking}".lstrip("&")
        return f"{self.path}?{params}" if params else self.path


class Meta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The meaning of an answer's headers. ``last_contact`` is in seconds; None where the server did not say.

    ``is_delimited``: the headers say where the body ends, so that a truncated one is noticed.
    """

    index: int | None = None
    known_leader: bool = True
    last_contact: float | None = None
    effective_consistency: str | None = None
    filtered_by_acls: bool = False
    query_backend: str | None = None
    is_json: bool = False
    is_encoded: bool = False
    is_delimited: bool = True

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> Meta:
        """Read the headers; an invalid one counts as missing."""
        found = {name.lower(): value for name, value in headers}
        contact = _number(found.get(b"x-consul-lastcontact"))
        return cls(
            index=_index(found.get(b"x-consul-index")),
            known_leader=found.get(b"x-consul-knownleader", b"true").lower() != b"false",
            last_contact=None if contact is None else contact / 1000,
            effective_consistency=_text(found.get(b"x-consul-effective-consistency")),
            filtered_by_acls=found.get(b"x-consul-results-filtered-by-acls", b"").lower() == b"true",
            query_backend=_text(found.get(b"x-consul-query-backend")),
            is_json=found.get(b"content-type", b"").lower().startswith(b"application/json"),
            is_encoded=found.get(b"content-encoding", b"identity").lower() != b"identity",
            is_delimited=b"content-length" in found or b"transfer-encoding" in found,
        )


def _number(value: bytes | None) -> int | None:
    return int(value) if value is not None and len(value) <= 20 and value.isdigit() else None  # noqa: PLR2004 - uint64


def _index(value: bytes | None) -> int | None:
    """Return an index that a Consul can have: every later one would count as fallen below one that is too high."""
    index = _number(value)
    return None if index is not None and index > HIGHEST_INDEX else index


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


class Right(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """A right to read that Consul is asked about."""

    resource: str
    segment: str
    access: str
    namespace: str = ""
    partition: str = ""


class FailureKind(enum.Enum):
    """What went wrong with a request."""

    UNREACHABLE = "unreachable"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    TOO_MANY_CONNECTIONS = "too many connections"
    ELSEWHERE = "rate limited here, another server may answer"
    FAILED = "failed"
    DENIED = "denied"
    REFUSED = "refused"
    UNKNOWN = "not known to Consul"
    GARBLED = "garbled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """How to react to a kind of failure.

    ``is_shared``: it is the agent's, not one query's, and is logged once for all. ``restarts``: Consul's state may have
    been rebuilt meanwhile, so the index starts over. ``switches``: another address may do better. ``first`` is the
    shortest delay in seconds before a retry.
    """

    is_shared: bool
    restarts: bool = False
    switches: bool = False
    first: float = 0.0


REMEDIES = {
    FailureKind.UNREACHABLE: Remedy(is_shared=True, restarts=True, switches=True),
    FailureKind.UNAVAILABLE: Remedy(is_shared=True, restarts=True, switches=True),
    FailureKind.OVERLOADED: Remedy(is_shared=True, switches=True, first=1.0),
    FailureKind.TOO_MANY_CONNECTIONS: Remedy(is_shared=True, switches=True, first=60.0),
    FailureKind.ELSEWHERE: Remedy(is_shared=True, switches=True),
    FailureKind.FAILED: Remedy(is_shared=False, restarts=True, first=1.0),
    FailureKind.DENIED: Remedy(is_shared=False, first=5.0),
    FailureKind.REFUSED: Remedy(is_shared=False, first=15.0),
    FailureKind.UNKNOWN: Remedy(is_shared=False, first=1.0),
    FailureKind.GARBLED: Remedy(is_shared=False, restarts=True, first=1.0),
}


class RequestFailed(SourceError):
    """A request to ``agent`` for ``path`` brought no usable answer; ``kind`` says which kind."""

    def __init__(self, agent: str, path: str, what: str, kind: FailureKind) -> None:
        super().__init__(f"{agent}{path}", what)
        self.agent = agent
        self.path = path
        self.kind = kind

    def narrowed(self, kind: FailureKind) -> RequestFailed:
        """Return the same failure as another kind."""
        return RequestFailed(self.agent, self.path, self.what, kind)

    @property
    def remedy(self) -> Remedy:
        """How to react to it."""
        return REMEDIES[self.kind]


class Granted(msgspec.Struct, frozen=True, rename="pascal"):
    """Consul's answer about one right."""

    allow: bool


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding arbitrary bytes may raise: wrong formats, invalid UTF-8, too deep nesting."""

GRANTED = msgspec.json.Decoder(list[Granted])
DENIALS = (b"acl not found", b"permission denied")


def granted(status: int, body: bytes, *, asked: int) -> bool | None:
    """Read the answer to a request about so many rights: all granted, one denied, or None where it does not say.

    Without ACLs, where nothing can be denied, Consul answers 401.
    """
    if status == 401 and b"acl support disabled" in body.lower():  # noqa: PLR2004
        return True
    if status == 403 and any(text in body.lower() for text in DENIALS):  # noqa: PLR2004
        return False
    if status != STATUS_OK:
        return None
    try:
        rows = GRANTED.decode(body)
    except UNREADABLE:
        return None
    return all(row.allow for row in rows) if len(rows) == asked else None


WHOSE_ADDRESS = "; is this Consul's HTTP address?"
LEADERLESS = (b"no cluster leader", b"no known consul servers", b"raft leader not found", b"leadership lost")


def diagnose(
    status: int, meta: Meta, body: bytes, location: str = "", *, not_found: NotFound = NotFound.REFUSED
) -> tuple[FailureKind, str] | None:
    """Return what is wrong with an answer, and a sentence about it, or None when it can be decoded."""
    if status == STATUS_OK:
        return _undelimited(meta) or _misfit(meta)
    if status == STATUS_NOT_FOUND and not_found is NotFound.NOTHING and meta.index is not None and not body:
        return _undelimited(meta)
    said = _said(body)
    if status == 429:  # noqa: PLR2004
        return _rate_limited(body, said)
    if status == STATUS_NOT_FOUND and (kind := _nameless(not_found, body.strip().lower())) is not None:
        return kind, not_found.value
    if 300 <= status < 400:  # noqa: PLR2004
        target = f" to {printable(location, 200)}" if location else ""
        return FailureKind.REFUSED, f"redirected{target}, which is not followed; give the address that answers itself"
    kind = _kind(status, body)
    is_page = kind is FailureKind.REFUSED and body.lstrip().startswith(b"<")  # what Consul says is no markup
    return kind, f"status {status}{WHOSE_ADDRESS if is_page else said}"


def _nameless(not_found: NotFound, body: bytes) -> FailureKind | None:
    """Return the failure that status 404 means, where the resource defines it."""
    if not_found is NotFound.UNKNOWN_QUERY and body == NO_QUERY:
        return FailureKind.UNKNOWN
    is_unknown_path = not body or body.startswith(UNKNOWN_PATH)
    return FailureKind.REFUSED if not_found in NEWER_PATHS and is_unknown_path else None


def _kind(status: int, body: bytes) -> FailureKind:
    if status in {401, 403}:
        return FailureKind.DENIED
    if status in {502, 503, 504} or (status >= 500 and any(text in body.lower() for text in LEADERLESS)):  # noqa: PLR2004
        return FailureKind.UNAVAILABLE
    return FailureKind.FAILED if status >= 500 else FailureKind.REFUSED  # noqa: PLR2004


def _undelimited(meta: Meta) -> tuple[FailureKind, str] | None:
    if meta.is_delimited:
        return None
    return FailureKind.GARBLED, "the answer has neither a length nor chunks, so that a cut one would look whole"


def _misfit(meta: Meta) -> tuple[FailureKind, str] | None:
    if not meta.is_json:
        return FailureKind.REFUSED, f"the answer is not JSON{WHOSE_ADDRESS}"
    if meta.is_encoded:
        return FailureKind.REFUSED, "the answer is compressed, though no encoding was requested"
    return None


def _rate_limited(body: bytes, said: str) -> tuple[FailureKind, str]:
    if b"concurrent connections" in body:
        return FailureKind.TOO_MANY_CONNECTIONS, f"status 429{said} (limits.http_max_conns_per_client of the agent)"
    if b"resource exhausted" in body.lower():
        return FailureKind.ELSEWHERE, f"status 429{said} (limits.request_limits of the servers)"
    return FailureKind.OVERLOADED, f"status 429{said or ' (limits.rpc_rate of the agent)'}"


def _said(body: bytes) -> str:
    text = body[:300].decode("utf-8", "replace").strip()
    if not text or text.startswith("<"):
        return ""
    return f": {printable(text.splitlines()[0], 200)}"
