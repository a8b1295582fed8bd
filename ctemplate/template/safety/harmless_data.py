"""Answers in which the texts of some services are harmless, to find out whether a template's line can print any data.

Pure; must not know templates.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeGuard

import msgspec

from ctemplate.core.model import Answer, Instance, Service, Snapshot

HARMLESS_TEXT = "1"
"""A text that every format prints anywhere, and that is a number as well."""

IsPlain = Callable[[str], bool]


def with_harmless_texts(
    snapshot: Snapshot, services: Collection[str], is_plain: IsPlain, *, is_all_meta: bool
) -> Snapshot:
    """Return the answers; texts of these services that are not plain are replaced, with ``is_all_meta`` all meta."""
    answers = {answer.query: _harmless_answer(answer, services, is_plain, is_all_meta) for answer in snapshot}
    view = Snapshot(answers)
    view.read = snapshot.read
    return view


def _harmless_answer(answer: Answer, services: Collection[str], is_plain: IsPlain, is_all_meta: bool) -> Answer:  # noqa: FBT001  # internal
    if not any(_is_of(item, services) for item in answer.value):
        return answer
    value = tuple(
        _harmless_item(item, is_plain, is_all_meta) if _is_of(item, services) else item for item in answer.value
    )
    return msgspec.structs.replace(answer, value=value)


def _is_of(item: object, services: Collection[str]) -> TypeGuard[Service | Instance]:
    return isinstance(item, Service | Instance) and item.name in services


def _harmless_item(item: Service | Instance, is_plain: IsPlain, is_all_meta: bool) -> Service | Instance:  # noqa: FBT001  # internal
    fields = {name: _plainly(getattr(item, name), is_plain) for name in item.__struct_fields__ if name != "name"}
    if is_all_meta and isinstance(item, Instance):
        fields["meta"] = dict.fromkeys(item.meta, HARMLESS_TEXT)
    return msgspec.structs.replace(item, **fields)


def _plainly(value: object, is_plain: IsPlain) -> object:
    if type(value) is str:
        return value if is_plain(value) else HARMLESS_TEXT
    if isinstance(value, Mapping):
        return {key: _plainly(one, is_plain) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_plainly(one, is_plain) for one in value)
    if isinstance(value, msgspec.Struct):
        fields = {name: _plainly(getattr(value, name), is_plain) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    return value
