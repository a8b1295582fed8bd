"""Check that data in a rendered configuration are only values: the last defence behind quoting.

A text consists of pieces: the template's own text, and registered values. Each registered piece must stand where one
harmless word in its place would stand: same directives, same blocks, same arguments. It may not be a directive's name,
and no part of an argument that makes nginx load code or files. Must not know who registered it, or what follows.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache

from ctemplate.core.values import dataclass
from ctemplate.nginx.language.authority import (
    NO_ROUTES,
    AnyOf,
    KnownRoutes,
    Routes,
    addressed_hosts,
    misplaced_paths,
    named_hosts,
    routes_of,
    unjudged_goals,
)
from ctemplate.nginx.language.directives import INNER, LOADS, OPENS, VALUE_BLOCKS
from ctemplate.nginx.language.file_paths import climbs, opened_arguments, parameter_choices
from ctemplate.nginx.language.goals import Goal
from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.manner import has_manner, manner, patterns
from ctemplate.nginx.language.parser import Directive, parse_config, walk
from ctemplate.nginx.language.scoped_names import Name
from ctemplate.nginx.language.skeleton import Shape, departure, skeleton
from ctemplate.nginx.language.unique_names import Clash, Uses, name_clashes, uses_of

MAX_PART_TRIALS = 400
"""Maximum number of parses to find the pieces that break a text; after that all remaining pieces count as misplaced."""

GAP = "\x03"
"""Prefix of the name of a directive that replaces a part that was checked separately."""

_PATTERN = re.compile(rb"[][*?+(){}|^$\\]")
_MARK = re.compile(rb"\x01(\d+)\x02")
_KNOWN_FORMS = 64
"""Texts with harmless values whose facts are remembered: parts of the same form, which differ in their values alone."""
_KNOWN_LENGTH = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a text; ``data`` is the number of its registered value, None for a template's own text."""

    text: bytes
    data: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MisplacedValue:
    """A registered value that is more than a value, and the reason; ``data`` is its number."""

    data: int
    reason: str
    is_misplaced: bool = True
    """Whether no value at all is allowed in this place."""
    rests_on_others: bool = False
    """Whether it may be only a value once other values are present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueReport:
    """What is wrong with the values in a text: those that are more than values, else the names used twice."""

    findings: tuple[MisplacedValue, ...] = ()
    clashes: tuple[Clash, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPart:
    """The facts about a text whose values are only values: its names, its routes, and the blocks around its gaps."""

    uses: Uses
    routes: Routes
    gaps: Mapping[bytes, bytes]

    def renumbered(self, numbers: Sequence[int]) -> CheckedPart:
        """Return the same with other numbers of the registered values: ``numbers`` has one for each from 0 on."""
        if not numbers:
            return self
        uses, routes = self.uses.renumbered(numbers), self.routes.renumbered(numbers)
        return CheckedPart(uses=uses, routes=routes, gaps=self.gaps)


class UnreadableText(ValueError):
    """Even with harmless values the text is not nginx's language: it cannot be checked. Has nginx's message."""


def examine(
    pieces: Sequence[Piece],
    *,
    inside: bytes = b"",
    taken: frozenset[Name] = frozenset(),
    known: KnownRoutes = NO_ROUTES,
) -> ValueReport:
    """Report every value that changes the structure, names a directive, or makes nginx load, open or contact it.

    ``inside`` names the block that includes this text, if any; ``taken`` are names of other files, and ``known`` says
    where else nginx may go. Raises UnreadableText if the text is valid with the real values only; if it is never valid,
    there is nothing to report: nginx will refuse the text itself.
    """
    if all(piece.data is None for piece in pieces):
        return ValueReport()
    check = _Check(pieces, inside)
    found = check.harmless.misplaced or check.breaking() or check.path_traversals() or check.taking()
    found = found or check.misdirected(taken, known)
    return ValueReport(findings=found) if found else ValueReport(clashes=check.clashes(taken, known))


def names_used(
    pieces: Sequence[Piece],
    wanted: Container[Name] = (),
    *,
    inside: bytes = b"",
    known: KnownRoutes = NO_ROUTES,
) -> tuple[tuple[Name, frozenset[int]], ...]:
    """Return each name that a text uses, each time with the numbers of the values in it; none of an unreadable text.

    Of names that one block needs alone, these are those that begin like the ``wanted`` ones (``beginning``). Hosts in
    targets that are instances' addresses, as far as ``known``, count as names of upstreams.
    """
    try:
        check = _Check(pieces, inside)
    except UnreadableText:
        return ()
    if check.real is None or not check.is_intact:
        return ()
    found = uses_of(check.both, wanted=wanted)
    hosts = addressed_hosts((routes_of(check.both, inside=inside),), known)
    return (*found.names, *found.ports, *hosts.items())


def gap(number: int) -> Piece:
    """Return the piece that replaces an omitted part of a text; ``CheckedPart.gaps`` has its text without the end."""
    return Piece(text=f"{GAP}{number};\n".encode())


def check_part(pieces: Sequence[Piece], *, inside: bytes, variable: bytes = b"") -> CheckedPart | None:
    """Return the facts about a text in which ``examine`` would find no misplaced value; None if that is uncertain.

    The caller, which knows all parts, checks the routes and the names that the text uses.

    Its gaps may stand for any texts that pass the check separately inside the same blocks and end with a line break, so
    that no comment continues after them. A gap inside a comment or an argument is not among ``CheckedPart.gaps``.
    """
    numbers: dict[int, int] = {}
    numbered = [
        piece if piece.data is None else Piece(text=piece.text, data=numbers.setdefault(piece.data, len(numbers)))
        for piece in pieces
    ]
    try:
        check = _Check(numbered, inside)
    except UnreadableText:
        return None
    if check.real is None or not check.is_intact or check.harmless.misplaced:
        return None
    if check.path_traversals() or check.taking():
        return None
    found = CheckedPart(
        uses=uses_of(check.both),
        routes=routes_of(check.both, inside=inside, variable=variable),
        gaps=check.harmless.gaps,
    )
    return found.renumbered(tuple(numbers))


def _misplaced(walked: Iterable[tuple[int, bytes, Directive]]) -> Iterator[MisplacedValue]:
    """Yield the values in a place where no value is allowed."""
    for _, parent, directive in walked:
        if parent in VALUE_BLOCKS:
            continue
        name = directive.name
        yield from _found(name, "would be the name of a directive")
        if LOADS.fullmatch(name):
            for argument in directive.args:
                yield from _found(argument, f"would choose what {_shown(name)!r} loads")
        elif OPENS.fullmatch(name) and directive.args and (start := _MARK.match(directive.args[0])):
            yield MisplacedValue(data=int(start[1]), reason=f"would choose the file that {_shown(name)!r} opens")
        elif found := tuple(parameter_choices(directive)):
            yield from (MisplacedValue(data=number, reason=reason) for number, reason in found)
        elif name in INNER and directive.args and (start := _MARK.match(directive.args[-1])):
            yield MisplacedValue(data=int(start[1]), reason=f"would choose where {_shown(name)!r} goes")


def _astray(goal: Goal, seen: str) -> str:
    """Return why a target is not permitted; ``seen`` says which configuration's upstreams are known."""
    name = _shown(goal.directive)
    if not goal.is_variable:
        known = "" if goal.kind is None else f"no upstream of this configuration{seen and f' ({seen})'} and "
        return f"would choose where {name!r} goes, and names {known}no instance's address"
    if name.startswith("$"):
        return f"would set {name!r}, which decides where the template's own text goes; give that variable another name"
    return (
        f"is part of the name of a variable that decides where {name!r} goes; write the upstream's name in its place, "
        "or set the variable once, in the same block, before all other directives"
    )


def _found(text: bytes, reason: str) -> Iterator[MisplacedValue]:
    return (MisplacedValue(data=int(number), reason=reason) for number in _MARK.findall(text))


def _shown(name: bytes) -> str:
    return name.decode("ascii", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Harmless:
    """The facts about a text with harmless values alone.

    ``walked`` are its directives, each with its depth and the block that holds it; ``opening`` and ``special`` are the
    positions among these of directives that open files, or in which some texts have a meaning of their own.
    """

    directives: tuple[Directive, ...]
    walked: tuple[tuple[int, bytes, Directive], ...]
    shapes: tuple[Shape, ...]
    misplaced: tuple[MisplacedValue, ...]
    opening: tuple[int, ...]
    special: tuple[int, ...]
    gaps: Mapping[bytes, bytes]

    @classmethod
    def of(cls, text: bytes, inside: bytes) -> _Harmless:
        """Read a text; raises NginxSyntaxError."""
        directives = parse_config(text, where="", inside=inside)
        walked = tuple(walk(directives, inside=inside))
        return cls(
            directives=directives,
            walked=walked,
            shapes=tuple(skeleton(directives, inside=inside)),
            misplaced=tuple(_misplaced(walked)),
            opening=tuple(at for at, (_, parent, one) in enumerate(walked) if _may_climb(parent, one)),
            special=tuple(at for at, (_, parent, one) in enumerate(walked) if has_manner(parent, one)),
            gaps={one.name: parent for _, parent, one in walked if one.name.startswith(GAP.encode())},
        )


_known_harmless = lru_cache(maxsize=_KNOWN_FORMS)(_Harmless.of)


def _may_climb(parent: bytes, like: Directive) -> bool:
    """Whether a registered value is part of a file's path."""
    return parent not in VALUE_BLOCKS and any(_MARK.search(like.args[at]) for at, _ in opened_arguments(like))


_NOTHING = _Harmless.of(b"", b"")


class _Check:
    """Parses of one text with some of its values real and the others harmless."""

    def __init__(self, pieces: Sequence[Piece], inside: bytes) -> None:
        self._pieces = pieces
        self._inside = inside
        self._trials = 0
        self.real = self._read(None)
        self.harmless = _NOTHING
        self._is_readable = True
        text = b"".join(self._texts(frozenset()))
        read = _known_harmless if len(text) <= _KNOWN_LENGTH else _Harmless.of
        try:
            self.harmless = read(text, inside)
        except NginxSyntaxError as exc:
            if self.real is not None:
                raise UnreadableText(f"line {exc.line}: {exc.what}") from exc
            self._is_readable = False

    @cached_property
    def is_intact(self) -> bool:
        """Return whether the values leave the structure unchanged."""
        return self._is_readable and not self._differs(self.real)

    @cached_property
    def both(self) -> list[tuple[int, bytes, Directive, Directive]]:
        """Each directive with its depth, the block that holds it and its like; only of an intact text."""
        walked = zip(walk(self.real or (), inside=self._inside), self.harmless.walked, strict=True)
        return [(depth, parent, one, like) for (depth, parent, one), (_, _, like) in walked]

    def breaking(self) -> tuple[MisplacedValue, ...]:
        """Return the values that change the structure."""
        if not self._is_readable or self.is_intact:
            return ()
        suspects = tuple(dict.fromkeys(piece.data for piece in self._pieces if piece.data is not None))
        reason = "would change the structure of the configuration"
        return tuple(MisplacedValue(data=number, reason=reason, is_misplaced=False) for number in self._among(suspects))

    def path_traversals(self) -> tuple[MisplacedValue, ...]:
        """Return the values that make a ``..`` step out of a file's folder, in a text whose structure is intact.

        A single value never makes one; two of them side by side may, and so may one after the template's own dot.
        """
        if not self._is_readable or self.real is None:
            return ()
        return tuple(
            MisplacedValue(
                data=int(mark[1]),
                reason=f"would leave the folder of the file that {_shown(like.name)!r} opens",
                is_misplaced=False,
            )
            for _, _, one, like in map(self.both.__getitem__, self.harmless.opening)
            for index, _ in opened_arguments(like)
            if (mark := _MARK.search(like.args[index])) and climbs(one.args[index], like.args[index])
        )

    def taking(self) -> tuple[MisplacedValue, ...]:
        """Return the values that change how nginx interprets an argument, or that are part of a regular expression."""
        if not self._is_readable or self.real is None:
            return ()
        found: list[MisplacedValue] = []
        if not self.harmless.special:
            return ()
        special = {piece.data: piece.text for piece in self._pieces if _PATTERN.search(piece.text)}
        for _, parent, one, like in map(self.both.__getitem__, self.harmless.special):
            if (taken := manner(parent, one)) != (expected := manner(parent, like)):
                words = zip((like.name, *like.args), taken, expected, strict=True)
                reason = f"would choose how {_shown(parent if parent in VALUE_BLOCKS else like.name)!r} takes it"
                found += (finding for word, is_so, was in words if is_so != was for finding in _found(word, reason))
            for word in patterns(parent, like):
                reason = "holds more than letters, and is part of a regular expression"
                found += (finding for finding in _found(word, reason) if finding.data in special)
        return tuple(replace(finding, is_misplaced=False) for finding in found)

    def misdirected(self, taken: frozenset[Name], known: KnownRoutes) -> tuple[MisplacedValue, ...]:
        """Return the values that choose where nginx goes, in a text whose structure is intact.

        If none of the values in a target leads to an allowed destination, no value is allowed there.
        """
        if not self._is_readable or self.real is None:
            return ()
        found = routes_of(self.both, inside=self._inside, variable=known.variable)
        own = {name for name, _ in uses_of(self.both).names}
        files = tuple(
            MisplacedValue(data=number, reason=f"would choose a file through '${_shown(variable)}'", is_misplaced=False)
            for variable, number in misplaced_paths((found,), known)
        )
        return files or tuple(
            MisplacedValue(
                data=number,
                reason=_astray(goal, known.seen),
                is_misplaced=is_general,
                rests_on_others=True,
            )
            for goal, is_general in unjudged_goals((found,), AnyOf((own, taken, known.upstreams)), known)
            for number in sorted(goal.data)
        )

    def clashes(self, taken: frozenset[Name], known: KnownRoutes) -> tuple[Clash, ...]:
        """Return the names that are used twice, in a text whose structure is intact."""
        if not self._is_readable or self.real is None:
            return ()
        found = routes_of(self.both, inside=self._inside, variable=known.variable)
        hosts = known.hosts | named_hosts((found,))
        addressed = addressed_hosts((found,), known)
        return name_clashes(uses_of(self.both), taken=taken | hosts, hosts=addressed)

    def _among(self, suspects: tuple[int, ...]) -> tuple[int, ...]:
        """Return the suspects that break the text alone; if there are none, the shortest run that breaks it."""
        if len(suspects) == 1 or self._trials > MAX_PART_TRIALS:
            return suspects
        middle = len(suspects) // 2
        halves = (half for half in (suspects[:middle], suspects[middle:]) if self._changes_structure(half))
        return tuple(number for half in halves for number in self._among(half)) or self._needed(suspects)

    def _needed(self, suspects: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shortest run of suspects that still breaks the text; they usually stand side by side."""
        spare = (
            bisect_left(range(len(suspects)), x=True, key=lambda count: not self._changes_structure(suspects[count:]))
            - 1
        )
        suspects = suspects[max(spare, 0) :]
        needed = bisect_left(range(len(suspects)), x=True, key=lambda count: self._changes_structure(suspects[:count]))
        return suspects[:needed]

    def _changes_structure(self, real: Collection[int]) -> bool:
        self._trials += 1
        return self._differs(self._read(frozenset(real)))

    def _differs(self, found: tuple[Directive, ...] | None) -> bool:
        return found is None or departure(found, iter(self.harmless.shapes), inside=self._inside) is not None

    def _read(self, real: frozenset[int] | None) -> tuple[Directive, ...] | None:
        try:
            return self._parsed(real)
        except NginxSyntaxError:
            return None

    def _parsed(self, real: frozenset[int] | None) -> tuple[Directive, ...]:
        """Parse the text with these values real, or with all values real for None."""
        text = b"".join(self._texts(real))
        return parse_config(text, where="", inside=self._inside)

    def _texts(self, real: frozenset[int] | None) -> Iterator[bytes]:
        """Yield the pieces; adjacent values together become one harmless word."""
        follows = False
        for piece in self._pieces:
            if piece.data is None or real is None or piece.data in real:
                follows = follows and not piece.text
                yield piece.text
            elif not follows:
                follows = True
                yield b"\x01%d\x02" % piece.data
