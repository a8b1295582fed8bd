"""Parts of a text that were proven to contain data only as values: unchanged parts stay proven.

A text of many services is long, and a change affects a few lines. So the text is cut after closed blocks; each part is
proven once, and then the rest of the text with gaps in place of the parts. Of the next text only the parts that changed
are proven, as long as the rest stays the same. In case of doubt the text counts as unproven here, and is examined as a
whole. Must not know templates, or the owners of data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from itertools import groupby
from typing import NamedTuple

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.authority import NO_ROUTES, KnownRoutes, settled_routes
from ctemplate.nginx.language.directives import HOLDS_SERVERS
from ctemplate.nginx.language.unique_names import Uses
from ctemplate.nginx.language.value_check import GAP, CheckedPart, Piece, ValueReport, check_part, gap
from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template.safety.shared_names import SharedNames
from ctemplate.template.safety.tainted_text import pieces
from ctemplate.template.safety.text_parts import CLOSED, CutText, Part, TextChange

_OUTLINE = -1


class Proven(NamedTuple):
    """The block that a part was proven for, and the result; None where it could not be proven by itself."""

    inside: bytes
    checked: CheckedPart | None


@dataclass(slots=True, kw_only=True)
class _LastProof:
    """A text that was proven, part by part.

    ``gaps`` has the gap that stood for each part, ``_OUTLINE`` for a part of the rest; ``insides`` the block around
    each gap, and ``proofs`` what was found of each part.
    """

    cut: CutText
    gaps: list[int]
    insides: Sequence[bytes]
    proofs: list[CheckedPart | None]
    names: SharedNames
    rest: CheckedPart

    @property
    def checked(self) -> list[CheckedPart]:
        """What was found of the rest and of the parts."""
        return [self.rest, *(proof for proof in self.proofs if proof is not None)]


@dataclass(slots=True)
class Parts:
    """The parts of one template's text, from one proof to the next.

    The parts of the text before the last one stay known: where a service wants another's name, texts with it and
    without it take turns. ``report`` has the names that the last text uses twice if nothing else is wrong with it; it
    is None if that is uncertain.
    """

    _proven: dict[Part, Proven] = field(default_factory=dict)
    _last: _LastProof | None = None
    _earlier: dict[Part, Proven] = field(default_factory=dict)
    report: ValueReport | None = None

    def without_last(self) -> Parts:
        """Return the parts for a text at a place that permits other things than that of the last one."""
        return Parts(self._proven, _earlier=self._earlier)

    def uses(self, text: str, shadow: str, inside: bytes) -> tuple[Uses, ...]:
        """Return the names in a proven text; none where it cannot be read."""
        if self._last is not None and (self._last.cut.text, self._last.cut.shadow) == (text, shadow):
            return tuple(part.uses for part in self._last.checked)
        whole = pieces(text, shadow)
        found = None if whole is None else check_part(as_bytes(whole), inside=inside)
        return () if found is None else (found.uses,)

    def are_valid(self, text: str, shadow: str, place: ConfigPlace, known: KnownRoutes = NO_ROUTES) -> bool:
        """Whether the text contains data only as values, without a name conflict; False where in doubt.

        The place and what is known have to permit what they permitted for the last text.
        """
        last, self._last, self.report = self._last, None, None
        if last is not None:
            follows, self.report = self._follows(last, text, shadow, place, known)
            self._last = last if follows else None
            if follows or self.report is not None:
                return follows
        if GAP in text or text.count(CLOSED) != shadow.count(CLOSED):
            return False
        before, self._earlier, self._proven = {**self._earlier, **self._proven}, self._proven, {}
        self._last = self._whole(CutText.of(text, shadow, depth=0 if place.inside else 1), before, place, known)
        return self._last is not None

    def _follows(
        self, last: _LastProof, text: str, shadow: str, place: ConfigPlace, known: KnownRoutes
    ) -> tuple[bool, ValueReport | None]:
        """Return whether the text is valid since its changed parts are, and what else is wrong where these are valid.

        The last proof then is that of this text.
        """
        change = last.cut.change(text, shadow)
        number = None if change is None else _gap_of(change, last)
        if change is None or number is None:
            return False, None
        span = slice(change.start, change.end)
        found = [self._proof(part, last.insides[number], known).checked for part in change.parts]
        before = [proof for proof in last.proofs[span] if proof is not None]
        now = [proof for proof in found if proof is not None]
        if len(now) != len(found) or any(GAP in part.text for part in change.parts):
            return False, None
        left = {part: proven for part in last.cut.parts[span] if (proven := self._proven.pop(part, None)) is not None}
        self._earlier = left if len(left) > len(last.cut.parts) // 2 else {}
        for part, proof in zip(change.parts, now, strict=True):
            self._proven[part] = Proven(last.insides[number], proof)
        last.cut.apply(change, text, shadow)
        last.proofs[span], last.gaps[span] = now, [number] * len(now)
        if last.names.take(before, now, place, known):
            return True, None
        last.names = SharedNames(last.checked, place, known)
        return last.names.fit, None if last.names.fit else last.names.report(last.checked, place, known)

    def _whole(
        self, cut: CutText, before: dict[Part, Proven], place: ConfigPlace, known: KnownRoutes
    ) -> _LastProof | None:
        """Return the proof of a text of which only single parts may be known."""
        outline: list[Piece] = []
        left_out: list[list[Part]] = []
        gaps: list[int] = []
        for part, depth in zip(cut.parts, cut.depths, strict=True):
            around = place.inside or (b"http" if depth else b"")
            self._proven[part] = before.get(part) or self._proof(part, around, known)
        for is_valid, run in groupby(cut.parts, lambda part: self._proven[part].checked is not None):
            parts = list(run)
            gaps += [len(left_out) if is_valid else _OUTLINE] * len(parts)
            if is_valid:
                outline.append(gap(len(left_out)))
                left_out.append(parts)
                continue
            for part in parts:
                own = pieces(part.text, part.shadow)
                if own is None:
                    return None
                outline += as_bytes(own)
        rest = check_part(outline, inside=place.inside, variable=known.variable)
        if rest is None or len(rest.gaps) != len(left_out) or not HOLDS_SERVERS.issuperset(rest.gaps.values()):
            return None
        insides = tuple(rest.gaps.values())
        proofs: list[CheckedPart | None] = []
        for number, part in zip(gaps, cut.parts, strict=True):
            proof = None if number == _OUTLINE else self._proof(part, insides[number], known).checked
            if proof is None and number != _OUTLINE:
                return None
            proofs.append(proof)
        names = SharedNames([rest, *(proof for proof in proofs if proof is not None)], place, known)
        found = _LastProof(cut=cut, gaps=gaps, insides=insides, proofs=proofs, names=names, rest=rest)
        if not names.fit:
            self.report = names.report(found.checked, place, known)
        return found if names.fit else None

    def _proof(self, part: Part, inside: bytes, known: KnownRoutes) -> Proven:
        """Return the proof of a part for this block."""
        proven = self._proven.get(part) or self._earlier.get(part)
        if proven is None or proven.inside != inside:
            proven = Proven(inside, _checked(part, inside, known) if part.is_balanced else None)
        self._proven[part] = proven
        return proven


def _gap_of(change: TextChange, last: _LastProof) -> int | None:
    """Return the gap that held all parts that changed, and still holds some; None where the rest changed as well."""
    gaps, numbers = last.gaps, set(last.gaps[change.start : change.end])
    around = {gaps[at] for at in (change.start - 1, change.end) if 0 <= at < len(gaps)}
    numbers = numbers or around
    number = next(iter(numbers)) if len(numbers) == 1 else _OUTLINE
    return number if number != _OUTLINE and (change.parts or number in around) else None


def _checked(part: Part, inside: bytes, known: KnownRoutes) -> CheckedPart | None:
    """Return the check of a part that consists of whole directives with data only as values.

    Its addresses are judged now: while the part is unchanged, so are the registrations that it was made from.
    """
    own = pieces(part.text, part.shadow)
    found = None if own is None else check_part(as_bytes(own), inside=inside)
    if found is None:
        return None
    return CheckedPart(uses=found.uses, routes=settled_routes(found.routes, known.addresses), gaps=found.gaps)


def as_bytes(cut: Iterable[tuple[str, int | None]]) -> list[Piece]:
    """Return a text's pieces as nginx reads them."""
    return [Piece(text=text.encode("utf-8", "surrogateescape"), data=number) for text, number in cut]
