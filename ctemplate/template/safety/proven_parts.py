"""Parts of a text that were proven to hold data as values alone: while they stand in it unchanged, they stay proven.

A text of many services is long, and a change touches a few lines of it. So it is cut after blocks that close, each part
is proven by itself, once, and the rest of the text with gaps in place of these parts. Where anything is in doubt the
text counts as unproven here, and has to be examined as a whole. Must not know templates, or whose data it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from ctemplate.nginx.language.authority import (
    NO_ROUTES,
    AnyOf,
    KnownRoutes,
    Routes,
    named_hosts,
    settled_routes,
    unjudged_goals,
)
from ctemplate.nginx.language.directives import HOLDS_SERVERS
from ctemplate.nginx.language.unique_names import Uses, may_clash
from ctemplate.nginx.language.value_check import GAP, CheckedPart, Piece, check_part, gap
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template.safety.tainted_text import pieces

_CLOSED = "}\n"


class Part(NamedTuple):
    """A stretch of a text and of its shadow; whether it opens and closes the same number of blocks, as it seems."""

    text: str
    shadow: str
    is_balanced: bool


class Proven(NamedTuple):
    """The block that a part was proven for, and what it tells; None where it could not be proven by itself."""

    inside: bytes
    checked: CheckedPart | None


class Parts:
    """The parts of one template's text, from one proof to the next."""

    def __init__(self) -> None:
        self._before: dict[Part, Proven] = {}
        self._now: dict[Part, Proven] = {}

    def are_valid(self, text: str, shadow: str, place: ConfigPlace, known: KnownRoutes = NO_ROUTES) -> bool:
        """Whether the text holds data as values alone, and clashes with nothing; False where in doubt."""
        if GAP in text or text.count(_CLOSED) != shadow.count(_CLOSED):
            return False
        self._before, self._now = self._now, {}
        try:
            return self._are_valid(_cut(text, shadow, depth=0 if place.inside else 1), place, known)
        finally:
            self._before = {}

    def _are_valid(self, parts: Iterable[Part], place: ConfigPlace, known: KnownRoutes) -> bool:
        outline: list[Piece] = []
        left_out: list[list[Part]] = []
        around = place.inside or b"http"
        for is_valid, run in groupby(parts, lambda part: self._proven(part, around, known).checked is not None):
            if is_valid:
                outline.append(gap(len(left_out)))
                left_out.append(list(run))
                continue
            for part in run:
                own = pieces(part.text, part.shadow)
                if own is None:
                    return False
                outline += as_bytes(own)
        rest = check_part(outline, inside=place.inside, variable=known.variable)
        if rest is None or len(rest.gaps) != len(left_out) or not HOLDS_SERVERS.issuperset(rest.gaps.values()):
            return False
        found = [rest]
        for inside, proven in zip(rest.gaps.values(), left_out, strict=True):
            for part in proven:
                proof = self._proven(part, inside, known, again=True).checked
                if proof is None:
                    return False
                found.append(proof)
        return _fit_together([one.uses for one in found], [one.routes for one in found], place, known)

    def _proven(self, part: Part, inside: bytes, known: KnownRoutes, *, again: bool = False) -> Proven:
        """Return what was proven of a part; ``again`` where it has to be so for this very block."""
        if not part.is_balanced:
            return Proven(inside, None)
        proven = self._now.get(part) or self._before.get(part)
        if proven is None or (again and proven.inside != inside):
            proven = Proven(inside, _checked(part, inside, known))
        self._now[part] = proven
        return proven


def _cut(text: str, shadow: str, *, depth: int) -> Iterator[Part]:
    """Cut a text after blocks that close, no deeper in other blocks than ``depth``, as far as counting braces tells.

    Only a template's own braces count, and what they mean is not asked: a wrong cut is found out by the proof.
    """
    texts, shadows = text.split(_CLOSED), shadow.split(_CLOSED)
    start = begun = now = 0
    for number, own in enumerate(shadows):
        now += own.count("{") - own.count("}") - 1
        if now <= depth and number < len(shadows) - 1:
            yield _part(texts, shadows, start, number + 1, is_balanced=now == begun)
            start, begun = number + 1, now
    yield Part(_CLOSED.join(texts[start:]), _CLOSED.join(shadows[start:]), is_balanced=False)


def _part(texts: Sequence[str], shadows: Sequence[str], start: int, end: int, *, is_balanced: bool) -> Part:
    return Part(_joined(texts[start:end]), _joined(shadows[start:end]), is_balanced)


def _joined(lines: Sequence[str]) -> str:
    return _CLOSED.join(lines) + _CLOSED


def _checked(part: Part, inside: bytes, known: KnownRoutes) -> CheckedPart | None:
    """Return what a part tells that reads as whole directives, in which data are values alone.

    Addresses in it are judged now: while the part stands, so do the registrations that it was made from.
    """
    own = pieces(part.text, part.shadow)
    found = None if own is None else check_part(as_bytes(own), inside=inside)
    return None if found is None else replace(found, routes=settled_routes(found.routes, known.addresses))


def _fit_together(uses: Sequence[Uses], routes: Sequence[Routes], place: ConfigPlace, known: KnownRoutes) -> bool:
    """Whether the parts of one text use no name twice, and go where they may."""
    if may_clash(uses, taken=place.taken | known.hosts | named_hosts(routes)):
        return False
    own = {name for one in uses for name, _ in one.names}
    return next(unjudged_goals(routes, AnyOf((own, place.taken, known.upstreams)), known), None) is None


def as_bytes(cut: Iterable[tuple[str, int | None]]) -> list[Piece]:
    """Return a text's pieces as nginx reads them."""
    return [Piece(text=text.encode("utf-8", "surrogateescape"), data=number) for text, number in cut]
