"""Filters that group, merge and cut values as consul-template does, for templates that ``ctemplate convert`` wrote.

Pure; must not know environments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jinja2

from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.template.language.grouping import Groups, groups_by_key, merged_tables
from ctemplate.template.safety.tainted_text import text_of

_NO_NAME = lazy_pattern("[^a-zA-Z0-9_-]")
_NUMBER = lazy_pattern(r"[+-]?[0-9]+")
_AS_NUMBER = "|int"


def go_by_meta(instances: Iterable[Any], keys: str) -> Groups:
    """Group instances as ``byMeta`` does: by the values of meta keys (``"zone,weight|int"``), made one name."""
    wanted = str(keys).split(",")
    return groups_by_key(("_".join(_meta_part(one.meta, key) for key in wanted), one) for one in instances)


def _meta_part(meta: Mapping[str, Any], key: str) -> str:
    is_number = key.endswith(_AS_NUMBER)
    name = key.removesuffix(_AS_NUMBER)
    value = str(text_of(meta.get(name) or ("0" if is_number else f"_no_{name}_")))
    if not is_number:
        return _NO_NAME.sub("_", value)
    if not _NUMBER.fullmatch(value):
        raise ValueError(f"go_by_meta: {name} is no whole number")
    return f"{int(value):05d}"


def go_merge(table: Any, other: Any, override: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002  # as templates write
    """Merge another table into a table as ``mergeMap`` does, where empty values count as absent."""

    def is_replaced(own: Mapping[Any, Any], key: Any, value: Any) -> bool:
        return override or (value is not None and not own.get(key))

    return merged_tables("go_merge", table, other, is_replaced)


def go_slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    """Cut a list, or a text counted in bytes, as Go's ``slice`` does; a place beyond the end is an error."""
    if isinstance(value, jinja2.Undefined):
        raise TypeError("go_slice: nothing to cut")
    whole = str(text_of(value)).encode("utf-8", "surrogatepass") if isinstance(value, str) else tuple(value)
    stop = len(whole) if end is None else end
    if not 0 <= start <= stop <= len(whole):
        raise ValueError(f"go_slice: {start} to {stop} of {len(whole)}")
    part = whole[start:stop]
    return part.decode() if isinstance(part, bytes) else list(part)


GO_TABLE_FILTERS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (go_by_meta, go_merge, go_slice)
}
"""The filters by their names."""
