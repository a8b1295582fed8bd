"""Filters that sort lists into groups, and trees and texts into tables; and tests of a list's content.

Groups are pairs of a key and its items, in the order of the keys; the items of a group keep their order. Keys are parts
of registered values, and count as registered. Must not know environments, or how answers arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from jinja2 import Environment, pass_environment
from jinja2.filters import make_attrgetter

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.template.safety.limits import MAX_ITEMS, LimitExceeded
from ctemplate.template.safety.tainted_text import text_of

Groups = list[tuple[Any, list[Any]]]

_DIGITS = lazy_pattern(r"([0-9]+)")


def by_tag(items: Iterable[Any]) -> Groups:
    """Group services or instances by tag: pairs of a tag and the items that carry it, sorted by tag."""
    return groups_by_key((tag, item) for item in items for tag in dict.fromkeys(item.tags))


def by_meta(instances: Iterable[Any], key: str | Iterable[str], default: Any = "") -> Groups:
    """Group instances by the value of a meta key, sorted; instances without the key are grouped under ``default``.

    With a list of keys, each group's key is the list of their values.
    """
    if isinstance(key, str):
        return groups_by_key((instance.meta.get(key, default), instance) for instance in instances)
    keys = tuple(key)
    return groups_by_key((tuple(instance.meta.get(each, default) for each in keys), instance) for instance in instances)


def by_port(instances: Iterable[Any]) -> Groups:
    """Group instances by port, in numeric order."""
    return groups_by_key((instance.port, instance) for instance in instances)


def by_first_step(pairs: Iterable[Any]) -> Groups:
    """Group pairs of a tree by the first step of their keys, sorted; each pair's key is the rest after the step.

    Pairs without a slash in their key are left out, since they are in no folder.
    """
    steps = ((str(pair.key).partition("/"), pair) for pair in pairs)
    return groups_by_key(
        (head, msgspec.structs.replace(pair, key=rest)) for (head, slash, rest), pair in steps if slash
    )


def groups_by_key(keyed: Iterable[tuple[Any, Any]]) -> Groups:
    """Return pairs of a key and its items, in the order of the keys; the items of a group keep their order."""
    found: dict[Any, list[Any]] = {}
    for number, (key, item) in enumerate(keyed):
        if number >= MAX_ITEMS:
            raise LimitExceeded(f"more than {MAX_ITEMS} items")
        found.setdefault(key, []).append(item)
    return sorted(found.items(), key=lambda group: _rank(group[0]))


def _rank(key: Any) -> tuple[Any, ...]:
    """Return the sort key of a group's key: numbers before texts, lists by their items."""
    return tuple(map(_rank, key)) if isinstance(key, tuple) else (isinstance(key, str), key)


def merge(table: Any, other: Any, override: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002  # as templates write
    """Merge another table into a table, including nested tables; if both have a value, the other's is used.

    With ``override=false`` the table keeps its own.
    """
    return merged_tables("merge", table, other, lambda own, key, _: override or key not in own)


def merged_tables(
    name: str, table: Any, other: Any, is_replaced: Callable[[Mapping[Any, Any], Any, Any], bool]
) -> dict[str, Any]:
    """Merge another table into a table, including nested tables; the other's value counts where ``is_replaced``.

    That takes the table, the key and the other's value. ``name`` is the filter's, for errors.
    """
    if not (isinstance(table, Mapping) and isinstance(other, Mapping)):
        raise TypeError(f"{name}: only tables can be merged")
    merged = dict(table)
    for key, value in other.items():
        own = merged.get(key)
        if isinstance(own, Mapping) and isinstance(value, Mapping):
            merged[key] = merged_tables(name, own, value, is_replaced)
        elif is_replaced(merged, key, value):
            merged[key] = value
    return merged


def explode(tree: Any) -> dict[str, Any]:
    """Turn the pairs of a tree, or a table whose keys are paths, into nested tables, split at each slash of the keys.

    A key that is empty or ends in a slash names a folder, and is left out. Raises ValueError if a key is both a value
    and a folder.
    """
    known = tree.items() if isinstance(tree, Mapping) else ((pair.key, pair.value) for pair in tree)
    root: dict[str, Any] = {}
    for path, value in known:
        *folders, name = [step for step in str(path).split("/") if step] or [""]
        if not name or str(path).endswith("/"):
            continue
        place = root
        for folder in folders:
            place = place.setdefault(folder, {})
            if not isinstance(place, dict):
                raise ValueError(f"explode: {folder!r} in {str(path)!r} is a value and a folder at once")  # noqa: TRY004  # the data are wrong
        if name in place:
            raise ValueError(f"explode: {str(path)!r} is a value and a folder at once, or there twice")
        place[name] = value
    return root


def contains_all(items: Any, wanted: Any) -> bool:
    """Return whether a list contains every one of the wanted items, or a text every one of the wanted parts."""
    return all(one in items for one in _each(wanted))


def contains_any(items: Any, wanted: Any) -> bool:
    """Return whether a list contains at least one of the wanted items; false if no items are wanted."""
    return any(one in items for one in _each(wanted))


def contains_none(items: Any, wanted: Any) -> bool:
    """Return whether a list contains none of the wanted items."""
    return not contains_any(items, wanted)


def not_contains(items: Any, wanted: Any) -> bool:
    """Return whether a list lacks the wanted item, or at least one of several."""
    return not contains_all(items, wanted)


def _each(wanted: Any) -> Iterable[Any]:
    """Return the wanted items; a text or a number is a single item."""
    return (wanted,) if isinstance(wanted, str | int | float) else wanted


def split_map(value: Any, between_pairs: str, between_key_and_value: str) -> dict[str, str]:
    """Split a text such as ``a=1,b=2`` into a table; parts without the second separator are left out."""
    parts = (part.partition(between_key_and_value) for part in str(text_of(value)).split(between_pairs))
    return {key: item for key, separator, item in parts if separator}


@pass_environment
def natural_sort(
    environment: Environment,
    values: Iterable[Any],
    reverse: bool = False,  # noqa: FBT001, FBT002  # templates write reverse=true, as with sort
    attribute: str | None = None,
) -> list[Any]:
    """Sort so that numbers in texts count as numbers: web-2 before web-10. Equal values keep their order."""
    shown: Callable[[Any], Any] = (
        make_attrgetter(environment, attribute) if attribute is not None else lambda item: item
    )
    return sorted(values, key=lambda item: _natural(str(text_of(shown(item)))), reverse=reverse)


def _natural(text: str) -> tuple[tuple[Any, ...], str]:
    """Return the sort key of a text: its words and numbers; texts that differ only in zeros have a fixed order."""
    parts: list[Any] = list(_DIGITS.split(text.casefold()))
    parts[1::2] = [(len(number), number) for digits in parts[1::2] for number in (digits.lstrip("0"),)]
    return tuple(parts), text
