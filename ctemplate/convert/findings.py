"""What the converter says of a template: what it could not convert, and what is worth a look though it did."""

from __future__ import annotations

from dataclasses import dataclass

PARSED_PRINTS = (
    "parsed values print '<no value>' where they are missing, and numbers as Go's floats: | go_text keeps that"
)
"""What is said once where parsed values are printed; ``-tidy`` prints them otherwise."""


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
        return f"cannot convert {self.what}" + (f"; {self.advice}" if self.advice else "")


@dataclass(frozen=True, slots=True)
class ConversionNotice:
    """Something that was converted as it is written, and may not be what was meant."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: note: {self.what}"
