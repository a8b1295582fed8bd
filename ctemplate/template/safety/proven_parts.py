"""Parts of a text that were proven to contain data only as values: unchanged parts stay proven.

A text of many services is long, and a change affects a few lines. So the text is cut after closed blocks; each part is
proven once, and then the rest of the text with gaps in place of the parts. In case of doubt the text counts as unproven
here, and is examined as a whole. Must not know templates, or the owners of data.
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
    """A section of a text and of its placeholder text; whether it seems to close all blocks that it opens."""

    text: str
    shadow: str
    is_balanced: bool


class Proven(NamedTuple):
    """The block that a part was proven for, and the result; None where it could not be proven by itself."""

    inside: bytes
    checked: CheckedPart | None


class Parts:
    """The parts of one template's text, from one proof to the next."""

    def __init__(self) -> None:
        self._before: dict[Part, Proven] = {}
        self._now: dict[Part, Proven] = {}

    def are_valid(self, text: str, shadow: str, place: ConfigPlace, known: KnownRoutes = NO_ROUTES) -> bool:
        """Whether the text contains data only as values, without a name conflict; False where in doubt."""
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
        """Return the proof of a part; with ``again`` it has to be for this block."""
        if not part.is_balanced:
            return Proven(inside, None)
        proven = self._now.get(part) or self._before.get(part)
        if proven is None or (again and proven.inside != inside):
            proven = Proven(inside, _checked(part, inside, known))
        self._now[part] = proven
        return proven


def _cut(text: str, shadow: str, *, depth: int) -> Iterator[Part]:
    """Cut a text after closed blocks, at most ``depth`` deep in other blocks, by counting braces.

    Only a template's own braces count, whatever they mean: the proof detects a wrong cut.
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
    """Return the check of a part that consists of whole directives with data only as values.

    Its addresses are judged now: while the part is unchanged, so are the registrations that it was made from.
    """
    own = pieces(part.text, part.shadow)
    found = None if own is None else check_part(as_bytes(own), inside=inside)
    return None if found is None else replace(found, routes=settled_routes(found.routes, known.addresses))


def _fit_together(uses: Sequence[Uses], routes: Sequence[Routes], place: ConfigPlace, known: KnownRoutes) -> bool:
    """Whether the parts of one text use no name twice, and lead only to permitted targets."""
    if may_clash(uses, taken=place.taken | known.hosts | named_hosts(routes)):
        return False
    own = {name for one in uses for name, _ in one.names}
    return next(unjudged_goals(routes, AnyOf((own, place.taken, known.upstreams)), known), None) is None


def as_bytes(cut: Iterable[tuple[str, int | None]]) -> list[Piece]:
    """Return a text's pieces as nginx reads them."""
    return [Piece(text=text.encode("utf-8", "surrogateescape"), data=number) for text, number in cut]
