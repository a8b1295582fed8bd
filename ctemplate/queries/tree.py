"""All keys below a prefix of Consul's KV store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter

from ctemplate.core.model import Answer, OwnedEntry
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordingRules
from ctemplate.queries.key import (
    KeyEntry,
    KeyText,
    TreeQuery,
    decode_keys,
    key_owner,
    key_path,
    keys_record,
    kv_resource,
    recorded_keys,
    scope_fields,
    usable_value,
)
from ctemplate.queries.kind import (
    CatalogForm,
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
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource


class KeyPair(OwnedEntry, frozen=True, kw_only=True, gc=False):
    """A key in the result of ``ls`` and ``tree``: ``key`` is its path below the prefix; bytes if it is not UTF-8."""

    path: str
    key: KeyText
    value: KeyText | bytes

    def owner_name(self) -> str:
        """Return a description of the owner of these texts."""
        return key_owner(self.path)

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return the path and, if it is text, the value."""
        value = (("value", self.value),) if isinstance(self.value, str) else ()
        return ("path", self.path), *value

    def can_be_left_out(self) -> bool:
        """Return False: wrong data in a key must be fixed, not left out."""
        return False


@template_function("ls")
def _ls(  # noqa: PLR0917  # templates write ls(PREFIX, DC)
    reader: Reader,
    prefix: str,
    dc: str | None = None,
    ns: str | None = None,
    partition: str | None = None,
    required: bool = False,  # noqa: FBT001, FBT002  # templates write required=true
) -> tuple[KeyPair, ...]:
    """Return the keys directly in a folder of Consul's KV store, sorted: pairs with ``key``, ``path`` and ``value``.

    Keys in subfolders are left out, and so are keys that end in a slash, which only mark folders. With ``required`` the
    template waits for a folder without keys, as it waits for a `key`.
    """
    query = _query("ls", prefix, dc, ns, partition)
    pairs = tuple(pair for pair in _pairs(reader, query) if "/" not in pair.key)
    return _found(reader, "ls", query, pairs, required=required)


@template_function("tree")
def _tree(  # noqa: PLR0917  # templates write tree(PREFIX, DC)
    reader: Reader,
    prefix: str,
    dc: str | None = None,
    ns: str | None = None,
    partition: str | None = None,
    required: bool = False,  # noqa: FBT001, FBT002  # templates write required=true
) -> tuple[KeyPair, ...]:
    """Return all keys below a folder of Consul's KV store, sorted: pairs with ``key``, ``path`` and ``value``.

    The prefix names a folder, with or without a trailing slash: other keys that begin with the same characters are not
    included. Keys that end in a slash, which only mark folders, are left out. With ``required`` the template waits for
    a folder without keys, as it waits for a `key`.
    """
    query = _query("tree", prefix, dc, ns, partition)
    return _found(reader, "tree", query, tuple(_pairs(reader, query)), required=required)


def _found(
    reader: Reader, function: str, query: TreeQuery, pairs: tuple[KeyPair, ...], *, required: object
) -> tuple[KeyPair, ...]:
    """Return the pairs, or a value that makes the template wait if there are none and some are required."""
    if not pairs:
        reader.explain_path(function, query)
    return reader.absent(query) if required and not pairs else pairs


def _query(function: str, prefix: object, dc: str | None, ns: str | None, partition: str | None) -> TreeQuery:
    path = key_path(function, prefix).removesuffix("/")
    return TreeQuery(prefix=f"{path}/" if path else "", **scope_fields(dc=dc, ns=ns, partition=partition))


def _pairs(reader: Reader, query: TreeQuery) -> Iterator[KeyPair]:
    answer = reader.ask(query)
    pairs = () if answer is None else reader.made_of(answer, _pair)
    return (pair for pair in pairs if pair is not None)


def _pair(reader: Reader, query: TreeQuery, entry: KeyEntry) -> KeyPair | None:
    """Return a key as templates see it, None for one that only marks a folder."""
    if entry.path.endswith("/"):
        return None
    key = KeyText(entry.path.removeprefix(query.prefix))
    return KeyPair(path=entry.path, key=key, value=usable_value(reader, entry))


def _request(query: TreeQuery, scope: Mapping[str, str | None]) -> Resource:
    return kv_resource(query.prefix, scope, recurse="true")


def _sorted(entries: tuple[KeyEntry, ...]) -> tuple[KeyEntry, ...]:
    return tuple(sorted(entries, key=attrgetter("path")))  # of code points, which is that of bytes in UTF-8


def _decode(_: TreeQuery, body: bytes, __: Decoder) -> Decoded:
    return _sorted(decode_keys(body)), ()


def _rights(query: TreeQuery) -> tuple[ReadRight, ...]:
    return (ReadRight(resource="key", name=query.prefix, is_prefix=True),)


def _is_plain(query: TreeQuery) -> bool:
    return not (query.ns or query.partition)


def _playback(query: TreeQuery, page: CatalogPage) -> Decoded:
    found = tuple(entry for entry in recorded_keys(page.entry) if entry.path.startswith(query.prefix))
    return _sorted(found), ()


def _record(answer: Answer, rules: RecordingRules) -> RecordedAnswer:
    return keys_record(answer.value, rules)


TREE_KIND = Kind(
    query=TreeQuery,
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
    cover=None,
    stored=Stored(section="keys", entry=KeyEntry),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(_ls, _tree),
    readable=(KeyPair,),
)
