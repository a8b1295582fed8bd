"""What the converter says of a template: what it could not convert, and what is worth a look though it did."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ARTICLE = re.compile(r"\ba(?= [aeiou])")
PARSED_PRINTS = (
    "parsed values print '<no value>' where they are missing, and numbers as Go's floats: | go_text keeps that"
)
"""What is said where parsed values are printed; ``-tidy`` prints them otherwise."""

TEXTUAL_PREFIX = (
    "consul-template takes a prefix without '/' at its end for the beginning of any path; here it names a folder"
)
KEY_WAITS = "consul-template renders nothing before this key is there; here a key that is not there counts as empty"
SAID_ONCE = frozenset([PARSED_PRINTS, TEXTUAL_PREFIX])
"""What is said of a template at its first place alone."""


@dataclass(frozen=True, slots=True)
class ConversionFinding:
    """Something that could not be converted: where it stands, what it is, what to write instead."""

    where: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"

    @property
    def sentence(self) -> str:
        """What is said without the place."""
        what = _ARTICLE.sub("an", self.what)
        return f"cannot convert {what}" + (f"; {self.advice}" if self.advice else "")


@dataclass(frozen=True, slots=True)
class ConversionNotice:
    """Something that was converted as it is written, and may not be what was meant."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: note: {self.what}"
