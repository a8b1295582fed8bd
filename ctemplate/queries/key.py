"""The value of one key in Consul's KV store."""

from __future__ import annotations

import functools
import posixpath
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NewType

import msgspec

from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, OwnedEntry, Query
from ctemplate.queries.catalog_entries import CatalogPage, DatacenterEntry, RecordedAnswer, RecordingRules
from ctemplate.queries.kind import (
    CatalogForm,
    Cover,
    Decoded,
    Kind,
    Losses,
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

SHOWN_PATH_LENGTH = 120
QUERIES_KNOWN = 5000  # of keys that templates asked for lately; their paths need not be judged again


class NoDefault:
    """Stands for a missing default argument: the call then waits for the value."""

    def __str__(self) -> str:
        return "…"


REQUIRED: Any = NoDefault()


KeyText = NewType("KeyText", str)
"""A text chosen by the writer of a key."""


def key_owner(path: str) -> str:
    """Return a description of the owner of a key's texts, safe to print."""
    return f"key {printable(path, SHOWN_PATH_LENGTH)!r}"


class KeyEntry(OwnedEntry, frozen=True, kw_only=True, gc=False):
    """A key with its value, as bytes."""

    path: str
    data: bytes = b""

    def text(self) -> str | None:
        """Return the value as text, None if it is not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return key_owner(self.path)

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return the path and, if it is text, the value."""
        text = self.text()
        return ("path", self.path), *(() if text is None else (("value", text),))

    def can_be_left_out(self) -> bool:
        """Return False: wrong data in a key must be fixed, not left out."""
        return False


class KeyRow(msgspec.Struct, frozen=True, gc=False, rename={"path": "Key", "data": "Value"}):
    """A key in Consul's form: the value is base64, or null for an empty one."""

    path: str
    data: bytes | None = None


class KeyQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="key", omit_defaults=True):
    """The value of one key; the answer's value is ``tuple[KeyEntry, ...]``, empty if there is no such key."""

    path: str


class TreeQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="tree", omit_defaults=True):
    """All keys below a prefix; the value is ``tuple[KeyEntry, ...]`` sorted by path.

    The prefix is empty or ends in a slash.
    """

    prefix: str


KEY_ROWS = msgspec.json.Decoder(list[KeyRow])


def decode_keys(body: bytes) -> tuple[KeyEntry, ...]:
    """Decode the answer of ``/v1/kv/PATH``, in Consul's order; without a body there is no key. Raises Undecodable."""
    try:
        rows = KEY_ROWS.decode(body) if body else []
    except UNREADABLE as exc:
        raise Undecodable(printable(exc)) from exc
    return tuple(KeyEntry(path=row.path, data=row.data or b"") for row in rows)


def kv_resource(path: str, scope: Mapping[str, str | None], **params: str) -> Resource:
    """Return the resource of a key or prefix; the KV store has no peers."""
    own = {name: value for name, value in scope.items() if name != "peer"}
    return Resource.named(f"/v1/kv/{urllib.parse.quote(path, safe='/')}", **own, **params)


def key_path(function: str, path: object) -> str:
    """Return a path without its leading slash; raises ValueError for a path that Consul would read as another one."""
    if not isinstance(path, str):
        raise TypeError(f"{function}: the path must be a text, not {type(path).__name__}")
    found = str(path).removeprefix("/")
    if not found:
        return found
    shown = printable(found, SHOWN_PATH_LENGTH)
    if not found.isprintable() or found.startswith("/") or posixpath.normpath(f"/{found}/") != f"/{found}".rstrip("/"):
        raise ValueError(f"{function}: {shown!r} is no path of a key; Consul takes '//', '.' and '..' for another")
    return found


def usable_value(reader: Reader, entry: KeyEntry) -> KeyText | bytes:
    """Return a key's value in the form that templates use: text, or bytes if it is not UTF-8."""
    text = entry.text()
    return reader.key_bytes(entry.path, entry.data) if text is None else KeyText(reader.key_text(entry.path, text))


def scope_fields(**given: str | None) -> dict[str, str]:
    """Return the scope fields that a call passes."""
    return {name: str(value) for name, value in given.items() if value}


@template_function("key")
def _key(  # noqa: PLR0917  # templates write key(PATH, DEFAULT)
    reader: Reader,
    path: str,
    default: Any = REQUIRED,
    dc: str | None = None,
    ns: str | None = None,
    partition: str | None = None,
) -> KeyText:
    """Return the value of a key in Consul's KV store: its text, or bytes if it is not UTF-8.

    The template waits for a key that does not exist, unless the call has a ``default`` or only tests whether the key
    exists: ``key(path) or "…"``, ``key(path) | default("…")`` and ``{% if key(path) %}`` do not wait. A key with an
    empty value exists.
    """
    query = _query("key", path, dc, ns, partition)
    answer = reader.ask(query)
    if answer is None or not answer.value:
        reader.explain_path("key", query)
        return reader.absent(query) if default is REQUIRED or answer is None else default  # type: ignore[no-any-return]
    entry = answer.value[0]
    reader.read_entry(entry)
    return usable_value(reader, entry)  # type: ignore[return-value]  # bytes are the exception


@template_function("key_exists")
def _key_exists(
    reader: Reader, path: str, dc: str | None = None, ns: str | None = None, partition: str | None = None
) -> bool:
    """Return whether a key exists in Consul's KV store, even with an empty value; never waits for the key."""
    query = _query("key_exists", path, dc, ns, partition)
    answer = reader.ask(query)
    if answer is None or not answer.value:
        reader.explain_path("key_exists", query)
        return False
    return True


def _query(function: str, path: object, dc: str | None, ns: str | None, partition: str | None) -> KeyQuery:
    if isinstance(path, str) and all(each is None or isinstance(each, str) for each in (dc, ns, partition)):
        return _known_query(function, path, dc, ns, partition)
    return _new_query(function, path, dc, ns, partition)


def _new_query(function: str, path: object, dc: str | None, ns: str | None, partition: str | None) -> KeyQuery:
    found = key_path(function, path)
    if not found or found.endswith("/"):
        raise ValueError(f"{function}: {printable(found, SHOWN_PATH_LENGTH)!r} is no path of a key")
    return KeyQuery(path=found, **scope_fields(dc=dc, ns=ns, partition=partition))


_known_query = functools.lru_cache(maxsize=QUERIES_KNOWN)(_new_query)


def _request(query: KeyQuery, scope: Mapping[str, str | None]) -> Resource:
    return kv_resource(query.path, scope)


def _decode(_: KeyQuery, body: bytes, __: Decoder) -> Decoded:
    return decode_keys(body), ()


def _rights(query: KeyQuery) -> tuple[ReadRight, ...]:
    return (ReadRight(resource="key", name=query.path),)


def _folders(query: KeyQuery) -> tuple[TreeQuery, ...]:
    """Return the folders above a key, the deepest first, without the root."""
    parts = query.path.split("/")[:-1]
    scope = {"dc": query.dc, "ns": query.ns, "partition": query.partition}
    return tuple(TreeQuery(prefix="/".join(parts[:depth]) + "/", **scope) for depth in range(len(parts), 0, -1))


def _path(query: KeyQuery) -> str:
    return query.path


def _path_of(entry: KeyEntry) -> str:
    return entry.path


def _is_plain(query: KeyQuery) -> bool:
    return not (query.ns or query.partition)


def _playback(query: KeyQuery, page: CatalogPage) -> Decoded:
    return tuple(entry for entry in recorded_keys(page.entry) if entry.path == query.path), ()


def recorded_keys(entry: DatacenterEntry) -> Iterator[KeyEntry]:
    """Yield the keys of a catalog file, in no particular order."""
    yield from (KeyEntry(path=path, data=value.encode()) for path, value in entry.kv.items())
    yield from (KeyEntry(path=path, data=value) for path, value in entry.kv_base64.items())


def keys_record(entries: Iterable[KeyEntry], rules: RecordingRules) -> RecordedAnswer:
    """Return keys in the form of a catalog file; mask the values of keys whose last part matches a mask."""
    texts: dict[str, str] = {}
    others: dict[str, bytes] = {}
    for entry in entries:
        text = rules.masked(entry.path.rpartition("/")[2], entry.text() or "")
        if text or not entry.data:
            texts[entry.path] = text
        else:
            others[entry.path] = entry.data
    return RecordedAnswer(kv=texts, kv_base64=others)


def _record(answer: Answer, rules: RecordingRules) -> RecordedAnswer:
    return keys_record(answer.value, rules)


KEY_KIND = Kind(
    query=KeyQuery,
    role=WatchRole.WANTED,
    request=_request,
    not_found=NotFound.NOTHING,
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
    cover=Cover(within=_folders, name=_path, entry_name=_path_of),
    stored=Stored(section="keys", entry=KeyEntry),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(_key, _key_exists),
    readable=(),
)
