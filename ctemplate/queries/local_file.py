"""The content of a file of this host, in a folder that the operator allows."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from ctemplate.core.errors import printable
from ctemplate.core.model import Answer, OwnedEntry, Query
from ctemplate.queries.catalog_entries import CatalogPage, RecordedAnswer, RecordingRules
from ctemplate.queries.key import REQUIRED
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
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.paths import NotFound, Resource

SHOWN_FILE_LENGTH = 200


class LocalFile(OwnedEntry, frozen=True, kw_only=True, gc=False):
    """A file with its content, as bytes; ``refusal`` is the reason if it exists and cannot be read."""

    path: str
    data: bytes = b""
    refusal: str = ""

    def text(self) -> str | None:
        """Return the content as text, None if it is not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None

    def owner_name(self) -> str:
        """Return a description of the owner of this text."""
        return f"file {printable(self.path, SHOWN_FILE_LENGTH)!r}"

    def texts(self) -> tuple[tuple[str, str], ...]:
        """Return none: the operator who allows the folder is responsible for its content."""
        return ()


class LocalFileQuery(Query, frozen=True, kw_only=True, cache_hash=True, tag="file", omit_defaults=True):
    """The content of one file; the value is ``tuple[LocalFile, ...]``, empty if there is no such file."""

    path: str


@template_function("file")
def _file(reader: Reader, path: str, default: Any = REQUIRED) -> OwnText:
    """Return the content of a file of this host: its text, or bytes if it is not UTF-8; the file is watched.

    The file must be in a folder of ``[data] file_folders`` after all links are followed; a relative path counts from
    the folder in which ctemplate runs. Its text is the operator's own and prints unchanged. The template waits for a
    file that does not exist, unless the call has a ``default`` or only tests whether the file exists: ``file(path) or
    "…"``. A path that may not be read, or that no file can have, is an error: a service whose name leads there is left
    out.
    """
    query = LocalFileQuery(path=_checked_path(path))
    answer = reader.ask(query)
    if answer is None or not answer.value:
        return reader.absent(query) if default is REQUIRED or answer is None else default  # type: ignore[no-any-return]
    entry: LocalFile = answer.value[0]
    if entry.refusal:
        raise ValueError(f"file: {printable(entry.path, SHOWN_FILE_LENGTH)!r}: {entry.refusal}")
    text = entry.text()
    return entry.data if text is None else reader.own_text(text)  # type: ignore[return-value]  # bytes are the exception


def _checked_path(path: object) -> str:
    """Return a path in its shortest form; raises ValueError for a path that no file can have."""
    if not isinstance(path, str):
        raise TypeError(f"file: the path must be a text, not {type(path).__name__}")
    found = str(path)
    if not found or not found.isprintable():
        raise ValueError(f"file: {printable(found, SHOWN_FILE_LENGTH)!r} is no path of a file")
    return posixpath.normpath(f"/{found.lstrip('/')}" if found.startswith("/") else found)


def _request(query: LocalFileQuery, _: Mapping[str, str | None]) -> Resource:
    raise TypeError(f"{query} is no question to Consul")


def _decode(query: LocalFileQuery, body: bytes, _: Decoder) -> Decoded:
    return (LocalFile(path=query.path, data=body),), ()


def _rights(_: LocalFileQuery) -> tuple[ReadRight, ...]:
    return ()


def _is_plain(_: LocalFileQuery) -> bool:
    return True


def _playback(query: LocalFileQuery, page: CatalogPage) -> Decoded:
    return tuple(
        LocalFile(path=path, data=data)
        for path, data in (
            *((path, text.encode()) for path, text in page.entry.files.items()),
            *page.entry.files_base64.items(),
        )
        if path == query.path
    ), ()


def _record(answer: Answer, rules: RecordingRules) -> RecordedAnswer:
    return _recorded(answer.value, rules)


def _recorded(entries: Iterable[LocalFile], rules: RecordingRules) -> RecordedAnswer:
    """Return files in the form of a catalog file; mask the contents of files whose name matches a mask."""
    texts: dict[str, str] = {}
    others: dict[str, bytes] = {}
    for entry in entries:
        if entry.refusal:
            continue
        text = rules.masked(entry.path.rpartition("/")[2], entry.text() or "")
        if text or not entry.data:
            texts[entry.path] = text
        else:
            others[entry.path] = entry.data
    return RecordedAnswer(files=texts, files_base64=others)


LOCAL_FILE_KIND = Kind(
    query=LocalFileQuery,
    role=WatchRole.LOCAL,
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
    stored=Stored(section="files", entry=LocalFile),
    catalog=CatalogForm(is_plain=_is_plain, playback=_playback, record=_record),
    functions=(_file,),
    readable=(),
)
