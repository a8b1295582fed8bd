"""The data that go-micro writes into the tags of an instance: version, metadata and endpoints. Pure.

A tag is ``t-``, ``e-`` or ``v-`` and the hexadecimal digits of a zlib-compressed text; in old releases ``t=``, ``e=``
or ``v=`` and the text itself. See ``registry/consul/encoding.go`` of github.com/micro/go-micro.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

MAX_MICRO_TEXT = 64 * 1024
"""Maximum bytes of one decompressed tag; registrants choose the tags."""

MAX_MICRO_TEXTS = 256 * 1024
"""Maximum bytes of all decompressed tags of one instance."""

_KNOWN = 4096


class MicroService(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The data that an instance of go-micro registers about itself; all empty for other instances.

    ``metadata`` contains ``protocol`` (``mucp`` or ``grpc``), ``transport`` and others, ``endpoints`` names such as
    ``Greeter.Hello``, sorted.
    """

    version: str = ""
    metadata: Mapping[str, str] = {}
    endpoints: tuple[str, ...] = ()


NO_MICRO = MicroService()


def micro_service(tags: tuple[str, ...]) -> MicroService:
    """Return the data in the tags; unreadable tags are skipped. If both forms occur, the first one counts."""
    if not any(tag[:2] in {"t-", "e-", "v-", "t=", "e=", "v="} for tag in tags):
        return NO_MICRO
    return _decoded(tags)


@lru_cache(maxsize=_KNOWN)
def _decoded(tags: tuple[str, ...]) -> MicroService:
    texts: dict[str, list[str]] = {"t": [], "e": [], "v": []}
    for kind, text in _texts(tags):
        texts[kind].append(text)
    metadata: dict[str, str] = {}
    for pairs in _tables(texts["t"]):
        metadata |= {key: value for key, value in pairs.items() if isinstance(value, str)}
    names = [endpoint.get("name") for endpoint in _tables(texts["e"])]
    return MicroService(
        version=next(iter(texts["v"]), ""),
        metadata=dict(sorted(metadata.items())),
        endpoints=tuple(sorted({name for name in names if isinstance(name, str)})),
    )


def _texts(tags: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield each tag's kind and text; each kind in only one form."""
    forms: dict[str, str] = {}
    left = MAX_MICRO_TEXTS
    for tag in tags:
        kind, form = tag[:1], tag[1:2]
        if kind not in "tev" or form not in {"-", "="} or forms.setdefault(kind, form) != form:
            continue
        text = _text(tag[2:], min(left, MAX_MICRO_TEXT)) if form == "-" else tag[2:]
        if text is not None:
            left -= len(text)
            yield kind, text


def _text(digits: str, most: int) -> str | None:
    """Return the text, None if it is unreadable or too long. Go's streams have no end marker of their own."""
    try:
        decompressor = zlib.decompressobj()
        data = decompressor.decompress(bytes.fromhex(digits), most) if most else b""
        return None if decompressor.unconsumed_tail or not data else data.decode()
    except (ValueError, zlib.error):
        return None


def _tables(texts: list[str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(table, dict):
            yield table
