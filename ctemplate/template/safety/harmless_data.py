"""Answers in which the texts of some services are harmless, to find out whether a template's line can print any data.

A template may look into a text before it prints a part of it: ``if tag.startswith("path:")``. So texts are replaced in
several ways, some of which keep what a template may look for. Pure; must not know templates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeGuard

import msgspec

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.model import Answer, Instance, Service, Snapshot
from ctemplate.core.values import dataclass

HARMLESS_TEXT = "1"
"""A text that every format prints anywhere, and that is a number as well."""

HARMLESS_WORDS = ("on", "down", "1r/s")
"""Texts that a program accepts where it wants no number: a switch, a flag of a server, a rate."""

IsPlain = Callable[[str], bool]
Rewrite = Callable[[str, str], str | None]
"""Puts a harmless text into a tag or a value of meta; None where the way to do it does not apply."""

_HEADS = (lazy_pattern(r"[^:=]*[:=]"), lazy_pattern(r"[\w.]*[^\w.]"), lazy_pattern(r"\w*\W"))
"""What is kept of a text: ``path:`` of ``path:/a``, ``urlprefix-`` of ``urlprefix-/a=b``, ``path.`` of ``path.a``."""

_LAST_PUNCTUATION = lazy_pattern(r".*\W", re.DOTALL)
_UNUSUAL = lazy_pattern(r"[^\w.:=/@-]")


def _not_at_all(_text: str, _harmless: str) -> None:
    """Leave the text to be replaced as a whole."""


def _behind(head: re.Pattern[str]) -> Rewrite:
    def rewrite(text: str, harmless: str) -> str | None:
        found = head.match(text)
        return found[0] + harmless if found else None

    return rewrite


def _character_by_character(text: str, harmless: str) -> str | None:
    return _UNUSUAL.sub(harmless, text) if _UNUSUAL.search(text) else None


def _inside_json(text: str, harmless: str) -> str | None:
    """Keep the structure of a JSON object or list."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return json.dumps(_with_leaves(value, harmless)) if isinstance(value, dict | list) else None


def _with_leaves(value: object, harmless: str) -> object:
    if isinstance(value, dict):
        return {key: _with_leaves(one, harmless) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_leaves(one, harmless) for one in value]
    return harmless


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmlessWay:
    """One way to replace texts: tags and meta by ``rewrite``, and all that is not plain as a whole.

    ``is_all_meta``: meta to which ``rewrite`` does not apply is replaced even where it is plain.
    """

    rewrite: Rewrite = _not_at_all
    text: str = HARMLESS_TEXT
    is_all_meta: bool = True

    def item(self, item: Service | Instance, is_plain: IsPlain) -> Service | Instance:
        """Return the item with harmless texts."""
        values = {name: getattr(item, name) for name in item.__struct_fields__ if name not in {"name", "tags", "meta"}}
        fields = {name: self._plainly(value, is_plain) for name, value in values.items()}
        fields["tags"] = tuple(self.rewrite(tag, self.text) or self._plainly(tag, is_plain) for tag in item.tags)
        if isinstance(item, Instance):
            fields["meta"] = {key: self._meta(value, is_plain) for key, value in item.meta.items()}
        return msgspec.structs.replace(item, **fields)

    def _meta(self, value: str, is_plain: IsPlain) -> object:
        return self.rewrite(value, self.text) or (self.text if self.is_all_meta else self._plainly(value, is_plain))

    def _plainly(self, value: object, is_plain: IsPlain) -> object:
        if type(value) is str:
            return value if is_plain(value) else self.text
        if isinstance(value, Mapping):
            return {key: self._plainly(one, is_plain) for key, one in value.items()}
        if isinstance(value, tuple):
            return tuple(self._plainly(one, is_plain) for one in value)
        if isinstance(value, msgspec.Struct):
            fields = {name: self._plainly(getattr(value, name), is_plain) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **fields)
        return value


PRINTABLE_WAYS = (
    HarmlessWay(is_all_meta=False),
    HarmlessWay(),
    *(HarmlessWay(rewrite=_behind(head)) for head in (*_HEADS, _LAST_PUNCTUATION)),
    HarmlessWay(rewrite=_character_by_character),
    HarmlessWay(rewrite=_inside_json),
)
"""Ways that show whether a line can be printed."""

ACCEPTABLE_WAYS = (
    *PRINTABLE_WAYS[1:],
    *(
        HarmlessWay(text=word, rewrite=rewrite)
        for rewrite in (_not_at_all, _behind(_HEADS[0]))
        for word in HARMLESS_WORDS
    ),
)
"""Ways that show whether a program accepts a line."""


def with_harmless_texts(snapshot: Snapshot, services: Collection[str], is_plain: IsPlain, way: HarmlessWay) -> Snapshot:
    """Return the answers with the texts of these services replaced in one way."""

    def replaced(answer: Answer) -> Answer:
        if not any(_is_of(item, services) for item in answer.value):
            return answer
        value = tuple(way.item(item, is_plain) if _is_of(item, services) else item for item in answer.value)
        return msgspec.structs.replace(answer, value=value)

    view = Snapshot({answer.query: replaced(answer) for answer in snapshot})
    view.read = snapshot.read
    return view


def _is_of(item: object, services: Collection[str]) -> TypeGuard[Service | Instance]:
    return isinstance(item, Service | Instance) and item.name in services
