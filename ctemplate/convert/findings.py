"""The converter's findings about parts that could not be converted, and notices about parts to review."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ARTICLE = re.compile(r"\ba(?= [aeiou])")
PARSED_PRINTS = (
    "parsed values print '<no value>' where they are missing, and numbers as Go's floats: | go_text keeps that"
)
"""The notice for printed parsed values; ``-tidy`` prints them differently."""

TEXTUAL_PREFIX = (
    "consul-template takes a prefix without '/' at its end for the beginning of any path; here it names a folder"
)
KEY_WAITS = "consul-template renders nothing before this key exists; here a missing key counts as empty"
SAID_ONCE = frozenset([PARSED_PRINTS, TEXTUAL_PREFIX])
"""The notice that only the first such place of a template gets."""


@dataclass(frozen=True, slots=True)
class ConversionFinding:
    """A part that could not be converted: its place, its text, and what to write instead."""

    where: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"

    @property
    def sentence(self) -> str:
        """Return the finding without its place."""
        what = _ARTICLE.sub("an", self.what)
        return f"cannot convert {what}" + (f"; {self.advice}" if self.advice else "")


@dataclass(frozen=True, slots=True)
class ConversionNotice:
    """A part that was converted literally, and may not be what the author meant."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: note: {self.what}"
