"""The base of every table of the configuration: a frozen value that a file, an option or the environment may set.

The module that uses a setting declares it, as a field of such a table, with its default and the reason for it; the
configuration's schema composes the tables, so that each default is in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from ctemplate.core.durations import Duration, Share

Count = Annotated[int, Meta(ge=1)]

if TYPE_CHECKING:
    Seconds = float
    Part = float
    Addresses = tuple[str, ...]
else:
    Seconds = Duration
    """A time: any number of seconds in code, a duration's text in a file."""

    Part = Share
    """A part of the whole: a number from 0 to 1 in code, also a percentage's text in a file."""

    class Addresses(tuple):
        """Addresses in order of preference, in a file a list or one text with commas."""

        __slots__ = ()


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration; unknown keys are errors."""


def parse_addresses(value: object) -> Addresses:
    """Return the addresses of a list or a text; raises ValueError with a sentence."""
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(each, str) for each in listed):
        raise ValueError(f"must be text or a list of texts, got {value!r}")
    return Addresses(each.strip() for each in listed)
