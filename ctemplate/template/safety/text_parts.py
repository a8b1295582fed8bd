"""A text cut after closed blocks, and which of its parts a new version of the text leaves unchanged.

Must not know nginx's language beyond its braces, or what a part's proof is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from itertools import accumulate
from typing import NamedTuple

from ctemplate.core.values import dataclass

CLOSED = "}\n"
"""The end of a part: a closing brace that ends a line."""


class Part(NamedTuple):
    """A section of a text and of its placeholder text; whether it seems to close all blocks that it opens."""

    text: str
    shadow: str
    is_balanced: bool


class TextChange(NamedTuple):
    """The parts ``start`` to ``end`` of a text, and the parts that replace them, each with its depth."""

    start: int
    end: int
    parts: tuple[Part, ...]
    depths: tuple[int, ...]


def cut(text: str, shadow: str, *, depth: int, begun: int = 0) -> Iterator[tuple[Part, int]]:
    """Cut a text after closed blocks, at most ``depth`` deep in other blocks, by counting braces.

    ``begun`` is how deep the text begins; each part comes with how deep it begins. What follows the last cut is the
    last part, also if it is empty. Only a template's own braces count, whatever they mean: a proof detects a wrong cut.
    """
    texts, shadows = text.split(CLOSED), shadow.split(CLOSED)
    start, now = 0, begun
    for number, own in enumerate(shadows[:-1]):
        now += own.count("{") - own.count("}") - 1
        if now <= depth:
            part = Part(_joined(texts[start : number + 1]), _joined(shadows[start : number + 1]), now == begun)
            yield part, begun
            start, begun = number + 1, now
    yield Part(CLOSED.join(texts[start:]), CLOSED.join(shadows[start:]), is_balanced=False), begun


@dataclass(slots=True)
class CutText:
    """A text and its parts; ``ends`` are where the parts end, in the text and in the placeholder text."""

    text: str
    shadow: str
    depth: int
    parts: list[Part]
    depths: list[int]
    ends: tuple[list[int], list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.ends = _ends(self.parts)

    @classmethod
    def of(cls, text: str, shadow: str, *, depth: int) -> CutText:
        """Cut a text."""
        found = list(cut(text, shadow, depth=depth))
        return cls(text, shadow, depth, [part for part, _ in found], [begun for _, begun in found])

    def change(self, text: str, shadow: str) -> TextChange | None:
        """Return which parts a new version replaces; None where the parts after them would be cut differently."""
        ends = self.ends
        both = ((self.text, text, ends[0]), (self.shadow, shadow, ends[1]))
        start = min(_equal_start(*versions) for versions in both)
        rest = min(_equal_rest(*versions, start) for versions in both)
        end = len(self.parts) - rest
        old_starts = [own[start - 1] if start else 0 for own in ends]
        old_ends = [own[end - 1] if end else 0 for own in ends]
        new_ends = [len(text) - len(self.text) + old_ends[0], len(shadow) - len(self.shadow) + old_ends[1]]
        middle, marked = text[old_starts[0] : new_ends[0]], shadow[old_starts[1] : new_ends[1]]
        if middle.count(CLOSED) != marked.count(CLOSED) or end < start:
            return None
        begun = self.depths[start] if start < len(self.depths) else 0
        found = list(cut(middle, marked, depth=self.depth, begun=begun))
        if rest:
            left, after = found.pop()
            if left.text or left.shadow or after != self.depths[end]:
                return None
        return TextChange(start, end, tuple(part for part, _ in found), tuple(at for _, at in found))

    def apply(self, change: TextChange, text: str, shadow: str) -> None:
        """Take the new version of the text."""
        versions = ((self.text, text), (self.shadow, shadow))
        for own, (before, now), new in zip(self.ends, versions, _ends(change.parts), strict=True):
            start, moved = own[change.start - 1] if change.start else 0, len(now) - len(before)
            if moved:
                own[change.end :] = [end + moved for end in own[change.end :]]
            own[change.start : change.end] = [start + end for end in new]
        self.text, self.shadow = text, shadow
        self.parts[change.start : change.end] = change.parts
        self.depths[change.start : change.end] = change.depths


def _ends(parts: Sequence[Part]) -> tuple[list[int], list[int]]:
    """Return where parts end that follow each other, in the text and in the placeholder text."""
    texts, shadows = [part.text for part in parts], [part.shadow for part in parts]
    return list(accumulate(map(len, texts))), list(accumulate(map(len, shadows)))


def _equal_start(before: str, now: str, ends: Sequence[int]) -> int:
    """Return how many parts, by their ends, are the same at the start of both versions."""
    low, high, known = 0, len(ends) - 1, 0  # the last part has no end of its own
    while low < high:
        middle = (low + high + 1) // 2
        end = ends[middle - 1]
        if before[known:end] == now[known:end]:
            low, known = middle, end
        else:
            high = middle - 1
    return low


def _equal_rest(before: str, now: str, ends: Sequence[int], start: int) -> int:
    """Return how many parts are the same at the end of both versions, besides those at the start."""
    moved, first = len(now) - len(before), ends[start - 1] if start else 0
    low, high, known = 0, len(ends) - start, len(before)
    while low < high:
        middle = (low + high + 1) // 2
        at = ends[len(ends) - middle - 1] if middle < len(ends) else 0
        if at + moved >= first and before[at:known] == now[at + moved : known + moved]:
            low, known = middle, at
        else:
            high = middle - 1
    return low


def _joined(lines: Sequence[str]) -> str:
    return CLOSED.join(lines) + CLOSED
